"""Settings of strategies and of sweeps over their parameters."""

from __future__ import annotations

from pydantic import Field

from aiquant.settings.base import Section


class StrategySettings(Section):
    """The strategy of the workspace and its parameters."""

    name: str = Field("sma-cross", description="Built-in, of a package, or a file strategies/NAME.py of the workspace.")
    params: dict[str, bool | int | float | str] = Field(
        {}, description="Its parameters, in the section [strategy.params] of the file."
    )


class SweepSettings(Section):
    """Many parameter sets of one strategy."""

    workers: int = Field(1, ge=1, description="Threads of the compiled families, processes of all other strategies.")
    block: int = Field(128, ge=1, description="Parameter sets whose curves are in memory at once, for each worker.")
    kept: int = Field(
        500, ge=2, description="Sets whose net returns are kept for the statistics, spread evenly; all are counted."
    )
    blocks: int = Field(10, ge=2, le=16, description="Blocks of sessions for the probability of overfitting; even.")
