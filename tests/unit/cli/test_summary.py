"""What a person reads of results, and on the way to them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as RichConsole

from aiquant.cli import summary
from aiquant.cli.console import Terminal
from aiquant.jobs.ingest import Ingested
from aiquant.jobs.journal import Station


def test_rows_that_were_set_aside_are_told() -> None:
    assert summary.set_aside(None) == []
    clean = Ingested("bars", "files", rows=1200, symbols=3)
    assert summary.set_aside(clean) == ["Taken in: 1,200 rows of 3 symbol(s). Set aside: 0 row(s)."]
    clean.dead_letters, clean.reasons = 5, {"high is below low": 4, "close is not above 0": 1}
    told = summary.set_aside(clean)
    assert told[0].endswith("Set aside: 5 row(s): high is below low (4); close is not above 0 (1).")
    assert "dead_letters" in told[1]


@pytest.mark.parametrize(
    ("version", "aliases", "last"),
    [
        (None, (), "It is not registered."),
        (3, (), "It is registered as version 3, and is not in use."),
        (3, ("champion",), "version 3 and stays in use until somebody changes that: aiquant models rollback"),
    ],
)
def test_a_refusal_says_what_becomes_of_the_model(version: int | None, aliases: tuple[str, ...], last: str) -> None:
    told = summary.gate("refused", ["the t-statistic is 1"], version, aliases)
    assert told[:2] == ["The gate refused the model:", "  · the t-statistic is 1"] and last in told[2]


def test_a_pass_names_the_version() -> None:
    assert summary.gate("promoted", [], 4, ("champion",)) == [
        "The gate promoted the model: it is registered as version 4, the champion."
    ]


def test_a_bar_counts_what_is_done_of_how_many() -> None:
    seen = Terminal(quiet=False)
    seen.out = RichConsole(file=io.StringIO(), force_terminal=True, width=100)
    seen.started("trials")
    seen.advanced("trials", 2, 50)
    assert seen._bar is not None
    seen._bar.refresh()
    seen.ended(Station("trials", rows=50))
    assert "2/50" in seen.out.file.getvalue()  # type: ignore[attr-defined]
