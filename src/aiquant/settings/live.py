"""Settings of live features."""

from __future__ import annotations

from pydantic import Field

from aiquant.settings.base import Section


class LiveSettings(Section):
    """When a slot counts as complete, and how often what is remembered is saved."""

    lateness_seconds: float = Field(
        10.0, ge=0, description="How long a slot waits for bars of symbols that traded lately and are missing."
    )
    expect_slots: int = Field(
        5, ge=1, description="A symbol is waited for when it had a bar in one of so many slots before."
    )
    every_seconds: float = Field(0.5, gt=0, description="Pause between two looks at what came in.")
    checkpoint_seconds: float = Field(30.0, gt=0, description="How often the state is saved at the most.")
    buffer_bars: int = Field(
        1_000_000, ge=1, description="Bars that wait for their slot at the most; with more, slots close early."
    )
