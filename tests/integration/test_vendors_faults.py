"""Each vendor against each fault of the simulator: overcome, set aside, or told in one sentence with a remedy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aiquant.errors import AiquantError
from aiquant.settings import SimulatorSettings, from_values
from aiquant.sources import base, http, limits
from aiquant.sources.base import Batch, Query
from aiquant.sources.checkpoints import Checkpoint
from aiquant.sources.contract import check_batches, check_keys, table_of
from aiquant.sources.http import VendorFault
from aiquant.sources.simulator.faults import Fault
from aiquant.sources.simulator.server import Simulator

SECRETS = ("simulated-key", "simulated key of the pseudonyms", "sim_trader_")
TABLES = {"polygon": "bars", "newsapi": "news", "x": "tweets"}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(port=0, symbols=4, speed=1), slow_s=0.8) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Pauses between attempts are cut to a hundredth: what is tested is what happens, not how long it takes."""
    plain = limits.Backoff.next
    monkeypatch.setattr(limits.Backoff, "next", lambda self: plain(self) / 100)
    running.requests.clear()
    yield running
    running.faults.clear()


def query(simulator: Simulator, vendor: str) -> Query:
    today = simulator.clock.now().date()
    symbols = tuple(c.symbol for c in simulator.market.companies if c.delisted is None and c.listed == 0)[:2]
    if vendor == "polygon":
        return Query(symbols, today - timedelta(days=200), today - timedelta(days=1))
    return Query(symbols, today - timedelta(days=20), text="shares") if vendor == "newsapi" else Query(symbols)


def vendor_of(simulator: Simulator, vendor: str, **more: Any) -> Any:
    told = simulator.settings()
    sizes = {"polygon": 40, "newsapi": 10, "x": 10}
    told[vendor] |= {"attempts": 4, "page_size": sizes[vendor], "timeout_s": 5.0, **more}
    return base.vendor(vendor, from_values(told))


def ask(simulator: Simulator, vendor: str, told: Query | None = None, **more: Any) -> list[Batch]:
    source = vendor_of(simulator, vendor, **more)
    return list(source.history(TABLES[vendor], told or query(simulator, vendor)))


def facts(batches: list[Batch], vendor: str) -> set[str]:
    names = {"polygon": ("symbol", "event_time", "close"), "newsapi": ("article_id",), "x": ("post_id",)}[vendor]
    return {str([row[n] for n in names]) for b in batches for row in b.rows.to_pylist()}


PASSING = ["429", "500", "502", "cut", "drop", "slow", "skew"]


@pytest.mark.parametrize("vendor", TABLES)
@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_by_itself_costs_nothing(simulator: Simulator, vendor: str, kind: str) -> None:
    whole = facts(ask(simulator, vendor), vendor)
    simulator.faults.add(Fault(kind, times=2, after=1))
    more = {"timeout_s": 0.4} if kind == "slow" else {}
    batches = ask(simulator, vendor, **more)
    assert facts(batches, vendor) == whole and whole
    check_batches(batches, SECRETS)


@pytest.mark.parametrize("vendor", TABLES)
@pytest.mark.parametrize("kind", ["400", "401", "403", "404", "429-cap", "redirect", "huge"])
def test_what_does_not_pass_is_asked_once(
    simulator: Simulator, vendor: str, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "429-cap" and vendor == "polygon":
        pytest.skip("the vendor has no such cap")
    caplog.set_level(logging.DEBUG)
    simulator.faults.add(Fault(kind, times=-1))
    with pytest.raises(VendorFault) as caught:
        ask(simulator, vendor, replace(query(simulator, vendor), symbols=query(simulator, vendor).symbols[:1]))
    fault = caught.value
    assert fault.final and fault.remedy and fault.endpoint.startswith("/")
    assert fault.status == {"redirect": 302, "huge": 200, "429-cap": 429}.get(kind) or str(fault.status) == kind
    assert len(simulator.requests) == 1
    for secret in SECRETS:
        assert secret not in str(fault) and secret not in caplog.text


@pytest.mark.parametrize("vendor", TABLES)
@pytest.mark.parametrize("kind", ["429", "500", "502", "cut", "drop"])
def test_what_does_not_end_is_told_after_all_attempts(simulator: Simulator, vendor: str, kind: str) -> None:
    simulator.faults.add(Fault(kind, times=-1))
    one = replace(query(simulator, vendor), symbols=query(simulator, vendor).symbols[:1])
    with pytest.raises(VendorFault) as caught:
        ask(simulator, vendor, one, attempts=2)
    assert not caught.value.final and caught.value.remedy
    assert len(simulator.requests) == 2


@pytest.mark.parametrize("vendor", TABLES)
@pytest.mark.parametrize("kind", ["nan", "types"])
def test_a_bad_value_costs_one_row_only(simulator: Simulator, vendor: str, kind: str) -> None:
    whole = facts(ask(simulator, vendor), vendor)
    simulator.faults.add(Fault(kind, times=1))
    batches = ask(simulator, vendor)
    letters = [letter for b in batches for letter in b.letters.to_pylist()]
    assert len(letters) == 1 and ("not finite" in letters[0]["reason"] or "is not a" in letters[0]["reason"])
    assert len(whole - facts(batches, vendor)) <= 1
    check_batches(batches, SECRETS)


@pytest.mark.parametrize("vendor", ["polygon", "x"])
def test_a_page_token_that_repeats_ends_the_walk_and_the_next_run_goes_on(simulator: Simulator, vendor: str) -> None:
    whole = facts(ask(simulator, vendor), vendor)
    simulator.faults.add(Fault("repeat", times=3))
    told = replace(query(simulator, vendor), checkpoint=Checkpoint())
    got: list[Batch] = []
    with pytest.raises(VendorFault, match="its page token repeats"):
        for batch in vendor_of(simulator, vendor).history(TABLES[vendor], told):
            got.append(batch)
            told.checkpoint.advance(batch.position)
    assert len(simulator.requests) < 60
    simulator.faults.clear()
    got += ask(simulator, vendor, told)
    assert facts(got, vendor) == whole


def test_newsapi_pages_that_repeat_end(simulator: Simulator) -> None:
    moment = (simulator.clock.now() - timedelta(days=1)).isoformat()
    articles = [{"title": "t", "url": f"https://news.example/{n}", "publishedAt": moment} for n in range(10)]
    page = {"status": "ok", "totalResults": 99, "articles": articles}
    for _ in range(12):
        simulator.serve("/everything", 200, page)
    try:
        with pytest.raises(VendorFault, match="its pages repeat"):
            ask(simulator, "newsapi")
        assert len(simulator.requests) < 12
    finally:
        simulator._canned.clear()


def test_a_page_token_to_another_host_is_not_followed(simulator: Simulator) -> None:
    simulator.faults.add(Fault("elsewhere"))
    with pytest.raises(VendorFault, match="another host") as caught:
        ask(simulator, "polygon")
    assert caught.value.final


@pytest.mark.parametrize("vendor", TABLES)
def test_a_vendor_that_is_not_there(vendor: str, simulator: Simulator) -> None:
    with pytest.raises(VendorFault, match="failed: ConnectError") as caught:
        ask(simulator, vendor, base_url="http://127.0.0.1:9", attempts=2)
    assert "base_url" in caught.value.remedy


@pytest.mark.parametrize(
    ("vendor", "setting"),
    [("polygon", "api_key"), ("newsapi", "api_key"), ("x", "bearer_token"), ("x", "pseudonym_key")],
)
def test_a_missing_key_is_told_before_anything_is_asked(simulator: Simulator, vendor: str, setting: str) -> None:
    with pytest.raises(AiquantError, match=f"setting {vendor}.{setting} is missing.*AIQUANT_{vendor.upper()}__"):
        ask(simulator, vendor, **{setting: None})
    assert not simulator.requests


def test_a_reset_of_the_vendors_clock_is_waited_for_by_its_clock(simulator: Simulator) -> None:
    """An hour between its clock and ours must not become an hour of waiting, nor none."""
    headers = {"date": "Mon, 02 Mar 2026 10:00:00 GMT", "x-rate-limit-reset": "1772445630"}
    assert http.asked_wait(headers) == pytest.approx(30.5)


def test_x_stops_at_its_budget(simulator: Simulator) -> None:
    got: list[Batch] = []
    with pytest.raises(VendorFault, match="the budget of 25 reads a day is used up") as caught:
        for batch in vendor_of(simulator, "x", reads_per_day=25).history("tweets", query(simulator, "x")):
            got.append(batch)
    assert 10 <= sum(b.rows.num_rows for b in got) <= 25 and caught.value.final
    assert "reads_per_day" in caught.value.remedy


def test_all_tables_of_polygon_with_faults_on_the_way(simulator: Simulator) -> None:
    today = simulator.clock.now().date()
    told = replace(query(simulator, "polygon"), first=today - timedelta(days=4), last=today - timedelta(days=1))
    simulator.faults.add(*(Fault(kind, times=1, after=n) for n, kind in enumerate(PASSING[:-2])))
    batches = list(vendor_of(simulator, "polygon", page_size=5000, attempts=8).history("ticks", told))
    check_batches(batches, SECRETS)
    check_keys(batches, table_of("ticks"))
    market = simulator.market
    for symbol in told.symbols:
        at = [i for i, d in enumerate(market.sessions.dates) if told.first <= d.item() <= told.last]  # type: ignore
        expected = sum(len(market.day_trades(symbol, i).price) for i in at)
        assert sum((b.rows["symbol"].to_pylist()).count(symbol) for b in batches) == expected
