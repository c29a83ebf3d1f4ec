"""The average of several forecasters: J. M. Bates, C. W. J. Granger, *The Combination of Forecasts*, Operational
Research Quarterly 20 (1969), 451–468."""

from __future__ import annotations

import json
import tempfile
from base64 import b64decode, b64encode
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import UsageError
from aiquant.learning.forecasters import artefacts
from aiquant.learning.forecasters.base import Forecaster, check_rows, check_width
from aiquant.settings import Settings

PREFIX = "average:"


class Average:
    """Each member's forecast, centred and scaled by the training rows, with equal weights.

    Scaled, because members may forecast in units of their own (a rank, a return, a score). Where some members have no
    forecast of a row, those that have one count.
    """

    kind = "average"

    def __init__(self, members: list[Forecaster]) -> None:
        self.members = members
        self.name = PREFIX + ",".join(member.name for member in members)
        self.features: tuple[str, ...] = ()
        self._mean = np.zeros(len(members))
        self._scale = np.ones(len(members))

    @classmethod
    def create(cls, settings: Settings) -> Self:
        """Of the members that ``settings.learning.model`` names: ``average:xgboost,ridge``.

        Raises
        ------
        UsageError
            When fewer than two are named, or one twice.
        """
        from aiquant.learning import forecasters

        model = settings.learning.model
        names = [name.strip() for name in model.removeprefix(PREFIX).split(",") if name.strip()]
        if not model.startswith(PREFIX) or len(set(names)) != len(names) or len(names) < 2:
            raise UsageError(
                f"{model!r} names no average of several forecasters", "write for example: average:xgboost,ridge"
            )
        return cls([forecasters.create(name, settings) for name in names])

    @classmethod
    def restore(cls, header: artefacts.Header, payload: bytes) -> Self:
        """From an artefact."""
        from aiquant.learning import forecasters

        told = json.loads(payload)
        members = []
        for member in told["members"]:
            own = artefacts.Header(**member["header"] | {"features": tuple(member["header"]["features"])})
            members.append(forecasters.restore(own, b64decode(member["payload"])))
        forecaster = cls(members)
        forecaster.features = header.features
        forecaster._mean, forecaster._scale = np.array(told["mean"]), np.array(told["scale"])
        return forecaster

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        *,
        features: tuple[str, ...],
        times: NDArray[np.datetime64],
        seed: int,
        weight: NDArray[np.float32] | None = None,
        label_end: NDArray[np.datetime64] | None = None,
        threads: int = 1,
    ) -> None:
        """Fit one member after the other, and find the scale of each. See :meth:`Forecaster.fit`."""
        check_rows(self.name, features, X, y)
        for place, member in enumerate(self.members):
            member.fit(
                X, y, features=features, times=times, seed=seed, weight=weight, label_end=label_end, threads=threads
            )
            forecast = member.predict(X)
            known = forecast[np.isfinite(forecast)]
            self._mean[place] = known.mean() if len(known) else 0.0
            deviation = float(known.std()) if len(known) else 0.0
            self._scale[place] = 1 / deviation if deviation > 1e-12 else 0.0  # one that says nothing has no say
        self.features = features

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """See :meth:`Forecaster.predict`."""
        check_width(self.name, self.features, X)
        total, count = np.zeros(len(X)), np.zeros(len(X))
        for member, mean, scale in zip(self.members, self._mean, self._scale, strict=True):
            scaled = (member.predict(X) - mean) * scale
            known = np.isfinite(scaled)
            total[known] += scaled[known]
            count += known
        with np.errstate(invalid="ignore"):
            forecast: NDArray[np.float64] = total / count
        return forecast

    def explain(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """The members' contributions, scaled as their forecasts are."""
        check_width(self.name, self.features, X)
        total, count = np.zeros((len(X), len(self.features) + 1)), np.zeros(len(X))
        for member, mean, scale in zip(self.members, self._mean, self._scale, strict=True):
            told = member.explain(X) * scale
            told[:, -1] -= mean * scale
            known = np.isfinite(told).all(axis=1)
            total[known] += told[known]
            count += known
        with np.errstate(invalid="ignore"):
            told = total / count[:, None]
        return told

    def importance(self) -> dict[str, float]:
        """Mean of the members' shares, of those that use features at all."""
        told = [shares for member in self.members if (shares := member.importance())]
        return (
            {name: sum(shares.get(name, 0.0) for shares in told) / len(told) for name in self.features} if told else {}
        )

    def save(self, folder: Path) -> str:
        """The members' artefacts in one JSON file. See :meth:`Forecaster.save`."""
        check_width(self.name, self.features, np.empty((0, len(self.features)), dtype=np.float32))
        members: list[dict[str, object]] = []
        libraries: dict[str, str] = {}
        with tempfile.TemporaryDirectory(prefix="aiquant-") as place:
            for number, member in enumerate(self.members):
                member.save(Path(place) / str(number))
                header, payload = artefacts.read(Path(place) / str(number))
                members.append({"header": asdict(header), "payload": b64encode(payload).decode()})
                libraries |= header.libraries
        told = {"members": members, "mean": self._mean.tolist(), "scale": self._scale.tolist()}
        names = [member.name for member in self.members]
        header = artefacts.Header(self.kind, self.features, "members.json", {"members": names}, libraries)
        return artefacts.write(folder, header, json.dumps(told).encode())
