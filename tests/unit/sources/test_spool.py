"""Frames put aside and read again."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from aiquant.errors import Unreachable
from aiquant.sources import spool


@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_frames_come_back_in_their_order_as_often_as_asked(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(spool, "MEMORY_BYTES", memory)
    frames = [pl.DataFrame({"a": [i, i + 1], "b": ["x", None]}) for i in range(5)]
    with spool.Spool() as put_aside:
        for frame in [*frames, frames[0].clear()]:
            put_aside.write(frame)
        for _ in range(2):
            assert pl.concat(put_aside.frames()).equals(pl.concat(frames))


def test_nothing_written() -> None:
    with spool.Spool() as put_aside:
        assert list(put_aside.frames()) == []


def test_no_room_for_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spool, "MEMORY_BYTES", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with spool.Spool() as put_aside, pytest.raises(Unreachable, match="TMPDIR"):
        put_aside.write(pl.DataFrame({"a": list(range(10))}))
