"""What a person sees: stations and progress on standard error, the result on standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.jobs.journal import Journal, Listener, Station

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress, TaskID


class Terminal(Listener):
    """Shows stations as they come; a bar moves only where a person looks on."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.out = stderr()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def started(self, name: str) -> None:
        if self.quiet or not self.out.is_terminal:
            return
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._close()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=self.out,
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(name, total=None, count="")

    def advanced(self, name: str, done: int, total: int | None) -> None:
        if self._bar is not None and self._task is not None:
            count = f"{done:,}" if total is None else f"{done:,}/{total:,}"
            self._bar.update(self._task, completed=done, total=total, count=count)

    def ended(self, station: Station) -> None:
        self._close()
        if self.quiet:
            return
        rows = f"{station.rows:>12,} rows" if station.rows is not None else " " * 17
        line = f"  {station.name:<26}{rows}{station.seconds:>9.2f} s{station.peak_mib:>8,} MiB  {station.note}"
        self.out.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)

    def noted(self, text: str) -> None:
        if not self.quiet:
            self.out.print(f"  note: {text}", highlight=False, markup=False, soft_wrap=True, style="yellow")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._task = None


class Console:
    """The two ways in which a verb answers: text for a person, or one JSON object for a program."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.journal = Journal(Terminal(quiet=as_json))

    def say(self, *text: str) -> None:
        """Tell a person something on the way, on standard error."""
        for part in text:
            stderr().print(part, highlight=False, markup=False)

    def answer(self, result: Any, *text: Any) -> None:
        """Print ``result`` as JSON, or ``text`` (strings and rich tables) for a person."""
        if self.as_json:
            print(json.dumps(plain(result), indent=2))
            return
        out = stdout()
        for part in text:
            out.print(part, highlight=False, soft_wrap=isinstance(part, str))


def stderr() -> RichConsole:
    """A console on standard error."""
    from rich.console import Console as RichConsole

    return RichConsole(stderr=True)


def stdout() -> RichConsole:
    """A console on standard output; wide where it is not a terminal, so that nothing is cut."""
    from rich.console import Console as RichConsole

    return RichConsole(width=None if sys.stdout.isatty() else 160)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> Any:
    """A plain table; numbers to the right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        numeric = any(isinstance(row[at], int | float) and not isinstance(row[at], bool) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(cell(value)) for value in row))
    return made


def cell(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(cell(part) for part in value)
    return str(value)


def plain(value: Any) -> Any:
    """Data that JSON can hold: dates as ISO 8601, paths as text, numbers that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "item") and not isinstance(value, str | bytes):  # a numpy scalar
        return plain(value.item())
    if isinstance(value, bytes):
        return value.hex()
    return value
