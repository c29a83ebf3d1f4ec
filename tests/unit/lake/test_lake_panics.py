from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiquant.lake.panics import hushed_when_tight

PANIC = (
    b"\nthread 'tokio-rt-worker' (30064) panicked at /x/object_store/src/buffered.rs:369:41:\nAlready shut down\n"
    b"stack backtrace:\n   0: core::panicking::panic_fmt\n"
    b"note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n"
)
MORE_THAN_ANY_DISK = 1 << 60


def test_a_panic_is_held_back_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with hushed_when_tight(str(tmp_path / "not" / "there"), MORE_THAN_ANY_DISK):
        os.write(2, b"before\n" + PANIC)
        os.write(2, b"after\n")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "before\nafter\nlater\n"


def test_an_error_inside_passes_and_standard_error_comes_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="full"), hushed_when_tight(str(tmp_path), MORE_THAN_ANY_DISK):
        os.write(2, PANIC + b"kept\n")
        raise OSError("full")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "kept\nlater\n"


def test_with_room_on_the_disk_nothing_is_redirected(tmp_path: Path) -> None:
    before = os.fstat(2).st_ino
    with hushed_when_tight(str(tmp_path), -(1 << 60)):
        assert os.fstat(2).st_ino == before
    with hushed_when_tight(str(tmp_path), MORE_THAN_ANY_DISK):
        assert os.fstat(2).st_ino != before
    assert os.fstat(2).st_ino == before
