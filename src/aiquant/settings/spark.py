"""Settings of Spark: for features of more symbols than one machine computes."""

from __future__ import annotations

from pydantic import Field, field_validator

from aiquant.settings.base import Section


class SparkSettings(Section):
    """The session of ``--engine spark``, for features and for training."""

    master: str = Field("local[2]", description="Master of the cluster, or local[N] for N cores of this machine.")
    jars: str | None = Field(
        None, description="Folder of the jars of Delta; default: where scripts/spark_jars.py puts them."
    )
    conf: tuple[str, ...] = Field((), description="Further settings of the session, each as name=value.")
    bars_per_task: int = Field(250_000, ge=1, description="Bars, about, that a task computes together.")

    train_workers: int = Field(
        1, ge=1, description="Tasks that train a model together: `aiquant train --engine spark`."
    )

    @field_validator("conf")
    @classmethod
    def _are_pairs(cls, told: tuple[str, ...]) -> tuple[str, ...]:
        for pair in told:
            if "=" not in pair or pair.startswith("="):
                raise ValueError(f"{pair!r} is not name=value")
        return told

    @property
    def pairs(self) -> dict[str, str]:
        """``conf`` by name."""
        return dict(pair.split("=", 1) for pair in self.conf)
