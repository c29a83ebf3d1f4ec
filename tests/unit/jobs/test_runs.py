"""The list of runs, also when one of them is damaged."""

from __future__ import annotations

import json
from pathlib import Path

from aiquant.jobs import runs, workspace

MANIFEST = {
    "run_id": "good",
    "created": "2024-01-02T00:00:00+00:00",
    "data": {"bars": {"version": 3}},
    "results": {"rank_ic": 0.01, "rank_ic_t": 1.5},
}


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    made = workspace.create(tmp_path)
    for name, text in (("good", json.dumps(MANIFEST)), ("bad", "{half"), ("odd", "{}")):
        (made.runs / name).mkdir(parents=True)
        (made.runs / name / "manifest.json").write_text(text)
    found = {line.run_id: line for line in runs.list_runs(made)}
    assert set(found) == {"good", "bad", "odd"}
    assert (found["good"].bars_version, found["good"].rank_ic_t, found["good"].verdict) == (3, 1.5, None)
    assert all("damaged" in (found[name].verdict or "") for name in ("bad", "odd"))
