"""Workspaces: found from inside, never overwritten, files whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aiquant.errors import DataError, MissingError, Unreachable, UsageError
from aiquant.jobs import tables, workspace


def test_a_workspace_is_found_from_a_folder_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.create(tmp_path / "w")
    inside = tmp_path / "w" / "deep" / "er"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert workspace.open_().root == tmp_path / "w"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError, match="aiquant init"):
        workspace.open_()
    monkeypatch.setenv("AIQUANT_WORKSPACE", str(tmp_path / "w"))
    assert workspace.open_().root == tmp_path / "w"


def test_the_template_says_the_defaults(tmp_path: Path) -> None:
    from aiquant import settings

    made = workspace.create(tmp_path / "w", name='quo"te')
    assert made.settings.fingerprint() == settings.load(None).fingerprint()


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        workspace.create(tmp_path / "f")


def test_runs_are_those_with_a_manifest_oldest_first(tmp_path: Path) -> None:
    made = workspace.create(tmp_path)
    with pytest.raises(MissingError, match="aiquant run"):
        made.latest_run()
    for at, name in enumerate(["b", "a", "half"]):
        folder = made.runs / name
        folder.mkdir(parents=True)
        if name != "half":
            (folder / "manifest.json").write_text("{}")
            os.utime(folder / "manifest.json", ns=(at, at))
    assert made.run_ids() == ["b", "a"] and made.latest_run() == "a"
    with pytest.raises(MissingError, match="half"):
        made.run_folder("half")


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    workspace.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        workspace.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    path.write_text("{half")
    with pytest.raises(DataError, match="x.json"):
        workspace.read_json(path)


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_tables_are_written_in_the_form_of_the_ending(tmp_path: Path, ending: str) -> None:
    import polars as pl
    import pyarrow as pa

    rows = pa.table({"symbol": ["A", "B"], "x": pa.array([1.5, None], pa.float32())})
    path = tmp_path / f"new/t.{ending}"
    tables.write(rows, path)
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "arrow": pl.read_ipc}[ending](path)
    assert read["symbol"].to_list() == ["A", "B"] and read["x"].to_list() == [1.5, None]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_unknown_ending_or_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    import pyarrow as pa

    with pytest.raises(UsageError, match=r"\.xls"):
        tables.write(pa.table({"a": [1]}), tmp_path / "t.xls")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable):
        tables.write(pa.table({"a": [1]}), tmp_path / "file" / "t.csv")


def test_a_file_that_lacks_something_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"data": {"bars": {}}}')
    told = workspace.read_json(tmp_path / "manifest.json")
    assert told == {"data": {"bars": {}}} and told.get("seed") is None
    with pytest.raises(DataError, match="manifest.json: holds no 'version'"):
        told["data"]["bars"]["version"]
