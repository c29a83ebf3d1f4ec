"""Settings of the evaluation of strategies."""

from __future__ import annotations

import math
from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from aiquant.settings.base import Section


class EvaluationSettings(Section):
    """What is asked of strategies besides their figures: `--evaluate` of backtest and report, `compare`."""

    trials: int = Field(1, ge=1, description="Variants that were tried before this one; the Sharpe ratio is deflated.")
    draws: int = Field(2000, ge=100, le=100_000, description="Resamples of the bootstrap.")
    seed: int = Field(0, ge=0, description="Of the resamples.")
    cost_multiples: tuple[float, ...] = Field(
        (0.0, 0.5, 1.0, 2.0, 3.0, 5.0), description="Multiples of all costs at which a strategy is traded again."
    )
    capitals: tuple[float, ...] = Field(
        (1e5, 1e6, 1e7, 1e8, 1e9), description="Capitals with which it is traded again for the capacity curve."
    )
    impact: float = Field(1.0, ge=0, description="Market impact of the capacity curve, where [backtest] has none.")
    participation: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Most that fills of a bar's volume there, where [backtest] has none.",
    )
    blocks: int = Field(16, ge=4, le=20, description="Blocks of time of the probability of overfitting; even.")
    train: int = Field(504, ge=20, description="Sessions on which the best of several strategies is chosen.")
    test: int = Field(63, ge=1, description="Sessions for which it is then held.")
    groups: int = Field(6, ge=2, le=12, description="Stretches of time of the combinatorial paths of that choice.")
    tested: int = Field(2, ge=1, le=6, description="Stretches that are held out at a time.")

    @field_validator("cost_multiples", "capitals", mode="before")
    @classmethod
    def _from_text(cls, told: Any) -> Any:
        """``0,1,2``, as the command line gives it."""
        return [part.strip() for part in told.split(",") if part.strip()] if isinstance(told, str) else told

    @field_validator("cost_multiples", "capitals")
    @classmethod
    def _in_range(cls, told: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        for value in told:
            if not (0 <= value <= 100 if info.field_name == "cost_multiples" else 0 < value < math.inf):
                raise ValueError(
                    f"{value} is not {'from 0 to 100' if info.field_name == 'cost_multiples' else 'above 0'}"
                )
        return told

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.blocks % 2:
            raise ValueError(f"{self.blocks} blocks cannot be halved")
        if self.tested >= self.groups:
            raise ValueError(f"{self.tested} of {self.groups} groups tested leave none to choose on")
        return self
