"""Settings of the portfolio: from forecasts to weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiquant.settings.base import Section


class PortfolioSettings(Section):
    """From forecasts to target weights."""

    rule: Literal["long-short", "long-only"] = Field("long-short", description="Which side of the ranking is held.")
    quantile: float = Field(0.2, gt=0, le=0.5, description="Share of the universe on each side.")
    gross: float = Field(1.0, gt=0, le=10, description="Sum of the absolute target weights.")
    rebalance: int | None = Field(None, ge=1, description="Sessions between decisions; default: the label's horizon.")
