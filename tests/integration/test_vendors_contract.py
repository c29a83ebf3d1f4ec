"""The public contract, run on the three vendors behind the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from aiquant.settings import SimulatorSettings, from_values
from aiquant.sources import base
from aiquant.sources.base import Query
from aiquant.sources.contract import HistoryContract, LiveContract
from aiquant.sources.simulator.server import Simulator


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(port=0, speed=60, symbols=6, trades_a_minute=4), heartbeat_s=0.2) as running:
        yield running


class OnSimulator(HistoryContract, LiveContract):
    name = ""
    secrets = ("simulated-key", "simulated key of the pseudonyms", "sim_trader_")
    listen_s = 1.0

    @pytest.fixture(autouse=True)
    def _running(self, simulator: Simulator) -> None:
        simulator.clock.speed = 60.0
        self.simulator = simulator
        self.symbols = tuple(company.symbol for company in simulator.market.companies[:3])

    def settings(self) -> dict[str, Any]:
        told = self.simulator.settings()
        told["polygon"] |= {"page_size": 800}
        told["newsapi"] |= {"page_size": 20, "poll_s": 0.2}
        told["x"] |= {"page_size": 20, "poll_s": 0.2, "heartbeat_s": 1.0}
        return told

    def source(self) -> Any:
        return base.vendor(self.name, from_values(self.settings()))

    def query(self, table: str) -> Query:
        today = self.simulator.clock.now().date()
        spans = {"bars": 900, "ticks": 4, "corporate_actions": 1500, "universe": 2500, "news": 30}
        symbols = () if table == "universe" else self.symbols
        text = "shares" if table == "news" else None
        first = today - timedelta(days=spans[table]) if table in spans else None
        last = today - timedelta(days=2) if table in spans else None
        return Query(symbols[:1] if table == "ticks" else symbols, first, last, text=text)


class TestPolygon(OnSimulator):
    name = "polygon"

    def source(self) -> Any:
        made = super().source()
        made.tables = frozenset({"bars", "ticks", "corporate_actions", "universe"})  # the simulator has no news of it
        return made


class TestNewsApi(OnSimulator):
    name = "newsapi"


class TestX(OnSimulator):
    name = "x"


class TestXStream(OnSimulator):
    name = "x"

    def settings(self) -> dict[str, Any]:
        told = super().settings()
        told["x"]["mode"] = "stream"
        return told


del OnSimulator  # not itself a suite
