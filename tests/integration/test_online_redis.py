"""The online store in a real Redis: the same promises as in SQLite, several writers, and what a server can refuse."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiquant import schemas
from aiquant.errors import DataError, SettingsError, Unreachable
from aiquant.features.online import OnlineStore, View, open_store
from aiquant.settings import OnlineSettings

VIEW = View("pair", "0123456789abcdef", ("up", "down"))
T = datetime(2024, 3, 1, 21, tzinfo=UTC)


def rows(*told: tuple[str, datetime, datetime, float]) -> pa.Table:
    """``(symbol, event_time, known_from, up)``; down is minus up."""
    columns = list(zip(*told, strict=True))
    return pa.table(
        {
            "symbol": pa.array(columns[0], pa.string()),
            "date": pa.array([moment.date() for moment in columns[1]], pa.date32()),
            "event_time": pa.array(columns[1], schemas.TIME),
            "known_from": pa.array(columns[2], schemas.TIME),
            "up": pa.array(columns[3], pa.float32()),
            "down": pa.array([-up for up in columns[3]], pa.float32()),
        }
    )


def redis_store(address: str, **more: Any) -> OnlineStore:
    return open_store(OnlineSettings(store="redis", address=address, **more), Path())


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    if request.param == "sqlite":
        opened = open_store(OnlineSettings(), tmp_path)
    else:
        opened = redis_store(request.getfixturevalue("redis_server").address, project=f"p{abs(hash(tmp_path))}")
    yield opened
    opened.close()


def test_values_come_back_to_the_bit_with_nulls_for_what_is_not_there(store: OnlineStore) -> None:
    odd = np.float32(0.1)
    told = store.write(VIEW, rows(("B", T, T, odd), ("Ä/:", T, T, float("nan")), ("A", T, T, float("inf"))))
    assert (told.rows, told.newest) == (3, T)
    read = store.read(VIEW, ["A", "X", "B", "Ä/:"], now=T + timedelta(hours=3))
    assert read["event_time"].to_pylist() == [T, None, T, T]
    assert read["up"].to_pylist()[:3] == [float("inf"), None, odd] and np.isnan(read["up"][3].as_py())
    assert read["age"].to_pylist()[:2] == [timedelta(hours=3), None]
    assert store.symbols(VIEW) == ["A", "B", "Ä/:"]
    assert store.versions("pair") == [VIEW.version] and store.versions("pai") == []
    store.drop(VIEW)
    assert store.symbols(VIEW) == [] and store.read(VIEW, ["A"])["up"].to_pylist() == [None]
    assert store.read(VIEW, []).num_rows == 0


# Times that differ in the low half, in the high half, before 1970, and in one microsecond only.
MOMENTS = [T, T + timedelta(microseconds=1), T + timedelta(days=1), T + timedelta(days=900), T - timedelta(days=30000)]
WRITES = st.lists(
    st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(MOMENTS), st.sampled_from(MOMENTS)), min_size=1),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES)
def test_whatever_the_order_the_newest_row_of_all_stays(store: OnlineStore, writes: Any) -> None:
    store.drop(VIEW)
    best: dict[str, tuple[datetime, datetime]] = {}
    for batch in writes:
        expected = dict(best)
        for symbol, event, known in batch:
            expected[symbol] = max(expected.get(symbol, (event, known)), (event, known))
        stamped = [(s, e, k, float(MOMENTS.index(e) * 10 + MOMENTS.index(k))) for s, e, k in batch]
        changed = store.write(VIEW, rows(*stamped)).rows
        assert changed == sum(best.get(symbol) != moment for symbol, moment in expected.items())
        best = expected
    read = store.read(VIEW, sorted(best))
    for symbol, event, known, up in zip(*(read[n].to_pylist() for n in ("symbol", "event_time", "known_from", "up"))):
        assert (event, known) == best[symbol]
        assert up == MOMENTS.index(event) * 10 + MOMENTS.index(known)


def test_three_writers_at_once_leave_the_newest_of_all(redis_server: Any) -> None:
    moments = [T + timedelta(minutes=minute) for minute in range(80)]
    symbols = [f"S{at}" for at in range(20)]

    def write(turn: int) -> None:
        writer = redis_store(redis_server.address, project="rivals")
        for at in np.random.default_rng(turn).permutation(len(moments)):
            writer.write(VIEW, rows(*((symbol, moments[at], moments[at], float(at)) for symbol in symbols)))
        writer.close()

    threads = [threading.Thread(target=write, args=(turn,)) for turn in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = redis_store(redis_server.address, project="rivals").read(VIEW, symbols)
    assert read["up"].to_pylist() == [79.0] * 20
    assert read["event_time"].to_pylist() == [moments[-1]] * 20


def test_more_symbols_than_one_call_takes(redis_server: Any) -> None:
    store = redis_store(redis_server.address, project="many")
    many = [f"S{at:05d}" for at in range(1_234)]
    assert store.write(VIEW, rows(*((s, T, T, float(at)) for at, s in enumerate(many)))).rows == 1_234
    assert store.read(VIEW, many[::-1])["up"].to_pylist() == [float(at) for at in range(1_234)][::-1]


def test_a_server_that_goes_is_unreachable_and_one_that_comes_back_is_used(redis_module: Any, tmp_path: Path) -> None:
    server = redis_module.Redis(tmp_path)
    store = redis_store(server.address, timeout_seconds=1.0)
    with pytest.raises(Unreachable, match=f"{server.address}, the online store, does not answer"):
        store.read(VIEW, ["A"])
    server.start()
    store.write(VIEW, rows(("A", T, T, 1.0)))
    server.stop()
    with pytest.raises(Unreachable):
        store.write(VIEW, rows(("A", T, T, 1.0)))
    again = redis_module.Redis(tmp_path, port=server.port)
    again.start()
    try:
        assert store.write(VIEW, rows(("A", T, T, 1.0))).rows == 1  # the same call, after the server came back empty
    finally:
        again.stop()


def test_a_full_server_is_unreachable_and_a_read_goes_on(redis_module: ModuleType, tmp_path: Path) -> None:
    server = redis_module.Redis(tmp_path, options={"maxmemory": "1500kb", "maxmemory-policy": "noeviction"})
    server.start()
    try:
        store = redis_store(server.address)
        with pytest.raises(Unreachable, match="is full"):
            for start in range(0, 100_000, 2_000):
                store.write(VIEW, rows(*((f"S{at}", T, T, 1.0) for at in range(start, start + 2_000))))
        assert store.read(VIEW, ["S0"])["up"].to_pylist() == [1.0]
    finally:
        server.stop()


def test_a_password_is_needed_and_never_told(redis_module: ModuleType, tmp_path: Path) -> None:
    server = redis_module.Redis(tmp_path, options={"requirepass": "correct horse"})
    server.start()
    try:
        assert redis_store(server.address, password="correct horse").write(VIEW, rows(("A", T, T, 1.0))).rows == 1
        for wrong in ({}, {"password": "battery staple"}):
            with pytest.raises(SettingsError, match="AIQUANT_ONLINE__PASSWORD") as caught:
                redis_store(server.address, **wrong).read(VIEW, ["A"])
            assert "staple" not in str(caught.value)
    finally:
        server.stop()


def test_tls_with_a_certificate_that_is_trusted_and_one_that_is_not(redis_module: ModuleType, tmp_path: Path) -> None:
    authority, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", authority],
        check=True,
        capture_output=True,
    )
    port = redis_module.free_port()
    options = {"tls-port": str(port), "tls-cert-file": str(authority), "tls-key-file": str(key)}
    options |= {"tls-ca-cert-file": str(authority), "tls-auth-clients": "no", "port": "0"}
    server = redis_module.Redis(tmp_path, options=options)
    try:
        server.start()
        trusting = redis_store(f"127.0.0.1:{port}", tls=True, ca_file=str(authority))
        assert trusting.write(VIEW, rows(("A", T, T, 1.0))).rows == 1
        with pytest.raises(SettingsError, match="certificate"):
            redis_store(f"127.0.0.1:{port}", tls=True).read(VIEW, ["A"])
        with pytest.raises(Unreachable):
            redis_store(f"127.0.0.1:{port}", timeout_seconds=2.0).read(VIEW, ["A"])
        with pytest.raises(SettingsError, match="online.ca_file: there is no file"):
            redis_store(f"127.0.0.1:{port}", tls=True, ca_file="nowhere.pem")
    finally:
        server.stop()


def test_what_others_keep_under_our_key_is_told_not_overwritten(redis_server: Any) -> None:
    import redis

    client = redis.Redis(port=redis_server.port)
    store = redis_store(redis_server.address, project="foreign")
    client.hset("aiquant:foreign:pair:0123456789abcdef", "A", b"somebody's own")
    with pytest.raises(DataError, match="A in set pair is not written by aiquant"):
        store.read(VIEW, ["A"])
    with pytest.raises(DataError, match="what aiquant did not write"):
        store.write(VIEW, rows(("A", T, T, 1.0)))
    client.delete("aiquant:foreign:pair:0123456789abcdef")
    client.set("aiquant:foreign:pair:0123456789abcdef", b"a string")
    with pytest.raises(DataError, match="what aiquant did not write"):
        store.read(VIEW, ["A"])
    client.close()
