"""Rows of a source → checks → lake; what breaks an invariant → dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from aiquant import calendars, schemas
from aiquant.errors import DataError, UsageError
from aiquant.jobs import hours
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.sources.base import Batch, Layout


@dataclass
class Ingested:
    """What an ingest did.

    Attributes
    ----------
    rows
        Good rows that the source held, whether they were new or not.
    inserted, revised, unchanged
        What became of them in the lake.
    duplicates
        Rows that said what another row had said.
    dead_letters
        Rows that were set aside.
    reasons
        Their reasons, with how often each occurred; "…" stands for what differs from row to row.
    findings
        What the checks of quality saw, by kind.
    """

    table: str
    source: str
    rows: int = 0
    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    symbols: int = 0
    first: str | None = None
    last: str | None = None
    version: int | None = None
    notes: list[str] = field(default_factory=list)


def bars(
    workspace: Workspace,
    journal: Journal,
    source: str = "sample",
    path: Path | None = None,
    columns: dict[str, str] | None = None,
    layout: str | None = None,
    strict: bool = False,
) -> Ingested:
    """Take bars of a source into the lake.

    Parameters
    ----------
    source
        ``sample``, ``files``, or the name of a plug-in.
    path, columns, layout
        For ``files``: where they are, which column is which, and whether the form is ``long`` or ``wide``.
    strict
        Refuse the whole source at its first bad row.

    Raises
    ------
    AiquantError
        When the source cannot be read, or ``strict`` and a row is bad.
    """
    from aiquant.sources import base

    data = workspace.settings.data
    if source == "files" and path is None:
        raise UsageError("ingest from files needs a path", "say: aiquant ingest bars --source files --path prices.csv")
    with journal.station(f"ingest {source}") as station:
        parts: list[pa.Table] = []
        done = Ingested("bars", source)
        letters: list[pa.Table] = []
        for batch in base.get(source).bars(data, path, columns=columns, layout=_layout(layout), strict=strict):
            parts.append(batch.rows)
            done.duplicates += batch.duplicates
            letters.append(batch.letters)
            _remember(batch.notes, done, journal)
            journal.progress(f"ingest {source}")(sum(len(p) for p in parts), None)
        rows = pa.concat_tables(parts) if parts else schemas.BARS.schema.empty_table()
        findings = schemas.FINDINGS.schema.empty_table()
        rows, outside = hours.regular(rows, data, source)
        letters.append(outside)
        if data.screen and rows.num_rows:
            rows, screened, findings = _screen(workspace, rows, source, pa.concat_tables(letters))
            letters.append(screened)
            if strict and screened.num_rows:
                first = screened.slice(0, 1).to_pylist()[0]
                raise DataError(f"{first['place']}: {first['reason']}", "leave out --strict to set bad rows aside")
        bad = pa.concat_tables(letters) if letters else schemas.DEAD_LETTERS.schema.empty_table()
        _write(workspace, schemas.BARS, rows, bad, findings, done)
        station.rows = done.rows
    _warn_of_nothing(done, journal)
    return done


def actions(workspace: Workspace, journal: Journal, path: Path, columns: dict[str, str] | None = None) -> Ingested:
    """Take splits, dividends and delistings of a file into ``corporate_actions``."""
    from aiquant.sources import files

    batch = files.read_actions(path, workspace.settings.data, columns=columns)
    return _take(workspace, journal, schemas.CORPORATE_ACTIONS, batch)


def universe(workspace: Workspace, journal: Journal, path: Path, columns: dict[str, str] | None = None) -> Ingested:
    """Take the members of a universe, from when to when, of a file into ``universe``."""
    from aiquant.sources import files

    batch = files.read_universe(path, workspace.settings.data, columns=columns)
    return _take(workspace, journal, schemas.UNIVERSE, batch)


def classification(
    workspace: Workspace, journal: Journal, path: Path, columns: dict[str, str] | None = None
) -> Ingested:
    """Take sectors, industries and shares outstanding of a file into ``classification``."""
    from aiquant.sources import files

    batch = files.read_classification(path, workspace.settings.data, columns=columns)
    return _take(workspace, journal, schemas.CLASSIFICATION, batch)


def news(workspace: Workspace, journal: Journal, path: Path, columns: dict[str, str] | None = None) -> Ingested:
    """Take articles of a file into ``news``."""
    from aiquant.sources import articles, linking

    companies = workspace.settings.newsapi.companies
    linker = linking.load(Path(companies) if companies else None)
    return _take(workspace, journal, schemas.NEWS, articles.read_news(path, workspace.settings.data, linker, columns))


def _take(workspace: Workspace, journal: Journal, table: schemas.Table, batch: Batch) -> Ingested:
    with journal.station(f"ingest {table.name}") as station:
        done = Ingested(table.name, "files")
        _remember(batch.notes, done, journal)
        _write(workspace, table, batch.rows, batch.letters, schemas.FINDINGS.schema.empty_table(), done)
        station.rows = done.rows
    return done


def _layout(told: str | None) -> Layout | None:
    if told is None:
        return None
    if told == "long":
        return "long"
    if told == "wide":
        return "wide"
    raise UsageError(
        f"--layout {told}: not known", "use long (a row for a symbol and a time) or wide (a column a symbol)"
    )


CONTEXT = timedelta(days=20)
"""How far back the lake's own bars are laid before new ones, so that these are judged against neighbours."""


def _screen(
    workspace: Workspace, rows: pa.Table, source: str, letters: pa.Table
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """What the new rows look like among their neighbours: those that stay, dead letters, and findings."""
    from aiquant.lake import quality

    span = pc.min_max(rows["date"]).as_py()
    before = _stored(workspace, rows, span["min"])
    whole = pa.concat_tables([before, rows]) if before.num_rows else rows
    first = min(span["min"], pc.min(whole["date"]).as_py())
    sessions = calendars.sessions(workspace.settings.data.calendar, first, span["max"])
    screened = quality.screen(whole, sessions, source, set_aside=letters)
    if not before.num_rows:
        return screened.rows, screened.letters, screened.findings
    new = pc.field("date") >= span["min"]
    return screened.rows.filter(new), screened.letters.filter(new), screened.findings.filter(new)


def _stored(workspace: Workspace, rows: pa.Table, first: date) -> pa.Table:
    """Bars of the same symbols and interval that the lake has from shortly before ``first``."""
    import polars as pl

    symbols = rows["symbol"].unique().to_pylist()
    just_before = pl.col("date").is_between(first - CONTEXT, first, closed="left")
    wanted = just_before & (pl.col("interval") == rows["interval"][0].as_py()) & pl.col("symbol").is_in(symbols)
    return workspace.lake.read(schemas.BARS, where=wanted, missing_ok=True)


def _write(
    workspace: Workspace, table: schemas.Table, rows: pa.Table, bad: pa.Table, findings: pa.Table, done: Ingested
) -> None:
    """Dead letters first: a row is never in neither place, whenever the process dies."""
    if bad.num_rows:
        workspace.lake.write(schemas.DEAD_LETTERS, bad)
    if findings.num_rows:
        workspace.lake.write(schemas.FINDINGS, findings)
    if rows.num_rows:
        written = workspace.lake.write(table, rows)
        done.inserted, done.revised, done.unchanged = written.inserted, written.revised, written.unchanged
        done.version = written.version
    done.rows, done.dead_letters = rows.num_rows, bad.num_rows
    done.reasons = _kinds(_count(bad["reason"]))
    done.findings = _count(findings["kind"])
    if rows.num_rows:
        done.symbols = _symbols(rows)
        if "date" in rows.column_names:
            span = pc.min_max(rows["date"]).as_py()
            done.first, done.last = span["min"].isoformat(), span["max"].isoformat()


def _symbols(rows: pa.Table) -> int:
    """How many symbols the rows are of; articles name several each."""
    if "symbol" in rows.column_names:
        return int(pc.count_distinct(rows["symbol"]).as_py())
    named = pc.unique(pc.list_flatten(pc.split_pattern(rows["symbols"].combine_chunks(), ",")))
    return len([symbol for symbol in named.to_pylist() if symbol])


def _count(values: pa.ChunkedArray) -> dict[str, int]:
    counted = {pair["values"]: pair["counts"] for pair in values.value_counts().to_pylist()}
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


_OF_ONE_ROW = re.compile(r"'[^']*'|\S+:\d+(?=:)|\b\d[\d.,^+-]*\d|\b\d")


def _kinds(reasons: dict[str, int]) -> dict[str, int]:
    """Reasons that differ only in the value or the place they name are one, so that a summary stays short."""
    alike: dict[str, dict[str, int]] = {}
    for reason, count in reasons.items():
        alike.setdefault(_OF_ONE_ROW.sub("…", reason), {})[reason] = count
    told = {kind if len(same) > 1 else next(iter(same)): sum(same.values()) for kind, same in alike.items()}
    return dict(sorted(told.items(), key=lambda pair: (-pair[1], pair[0])))


def _remember(notes: Iterable[str], done: Ingested, journal: Journal) -> None:
    for note in notes:
        if note not in done.notes:
            done.notes.append(note)
        journal.note(note)


def _warn_of_nothing(done: Ingested, journal: Journal) -> None:
    if not done.rows:
        done.notes.append("no good row came in")
        journal.note("no good row came in")
