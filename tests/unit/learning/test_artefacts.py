"""Artefacts on disk: whole or not there, and never changed unseen."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from aiquant.errors import MissingError, RefusedError, Unreachable
from aiquant.learning.forecasters import artefacts
from aiquant.learning.forecasters.artefacts import Header

HEADER = Header("ridge", ("a", "b"), "coefficients.json", {"alpha": 1.0}, {"numpy": "2.0"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    digest = artefacts.write(tmp_path / "deep" / "folder", HEADER, b"payload")
    assert len(digest) == 64
    assert artefacts.read(tmp_path / "deep" / "folder", digest) == (HEADER, b"payload")
    assert artefacts.inspect(tmp_path / "deep" / "folder") == (HEADER, digest)
    assert sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir()) == ["coefficients.json", "model.json"]


def test_the_digest_covers_header_and_payload(tmp_path: Path) -> None:
    digests = {
        artefacts.write(tmp_path / "1", HEADER, b"payload"),
        artefacts.write(tmp_path / "2", HEADER, b"payloae"),
        artefacts.write(tmp_path / "3", Header("ridge", ("b", "a"), "coefficients.json", {"alpha": 1.0}), b"payload"),
    }
    assert len(digests) == 3
    assert artefacts.write(tmp_path / "4", HEADER, b"payload") in digests


def test_another_artefact_than_the_expected_one_is_refused(tmp_path: Path) -> None:
    artefacts.write(tmp_path, HEADER, b"payload")
    with pytest.raises(RefusedError, match="expected 000000000000…"):
        artefacts.read(tmp_path, "0" * 64)


@pytest.mark.parametrize("name", ["model.json", "coefficients.json"])
def test_a_file_that_is_gone_is_named(tmp_path: Path, name: str) -> None:
    artefacts.write(tmp_path, HEADER, b"payload")
    (tmp_path / name).unlink()
    with pytest.raises(MissingError, match=f"{name} is missing"):
        artefacts.read(tmp_path)


def test_a_write_that_was_cut_short_is_not_taken_for_the_model(tmp_path: Path) -> None:
    """The payload comes first: killed before the header, the old header does not vouch for the new payload."""
    artefacts.write(tmp_path, HEADER, b"old")
    (tmp_path / "coefficients.json").write_bytes(b"new")
    with pytest.raises(RefusedError):
        artefacts.read(tmp_path)
    artefacts.write(tmp_path, HEADER, b"new")
    assert artefacts.read(tmp_path)[1] == b"new"


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Unreachable, match="No space left on device; make room"):
        artefacts.write(tmp_path, HEADER, b"payload")
