"""``aiquant features apply|materialize|get|frame``: features for serving and training."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.jobs.feature_store import Online

app = typer.Typer()

_WIDEST = 6
"""Symbols whose values a person is shown side by side."""

OneSetOption = Annotated[
    str | None, typer.Option("--set", metavar="SET", help="Feature set; default: the setting features.set.")
]


@app.command("apply", epilog="Example: aiquant features apply")
def apply(
    names: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SET", help="A feature set (repeatable); default: all of the catalogue."),
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make Feast's registry from the catalogue: a view for each set, a service for its version."""
    from aiquant.jobs import feature_store as job

    done = job.apply(options.workspace(workspace), names or ())
    rows = list(zip(done.views, done.services, strict=True))
    gone = [f"Removed, as the catalogue has no such version: {', '.join(done.removed)}."] if done.removed else []
    Console(as_json).answer(done, table(["view", "service"], rows, title=f"project {done.project}"), *gone)


@app.command(
    "materialize",
    epilog="Example: aiquant features materialize --set core; aiquant features materialize --to 2024-06-28",
)
def materialize(
    name: OneSetOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar=options.MOMENT, help="Only rows from this time on (UTC, or with a zone: …T14:30Z)."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to", metavar=options.MOMENT, help="Only rows to this time, as known then (UTC; a date: its end)."
        ),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Empty the online store of this set first.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove values of other versions of the set, which nobody serves any more.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the newest features of each symbol from the lake into the online store."""
    from aiquant.jobs import feature_store as job

    console = Console(as_json)
    opened = options.workspace(workspace)
    done = job.materialize(
        opened,
        console.journal,
        name,
        options.moment(start, "--from", begin=True),
        options.moment(end, "--to"),
        anew,
        prune,
    )
    newest = f", the newest of {done.newest:%Y-%m-%d %H:%M} UTC" if done.newest else ""
    console.answer(
        done,
        f"{done.rows:,} of {done.symbols:,} symbols of set {done.set} (version {done.version}) are new in {done.store}"
        f"{newest}.",
        *([f"Removed values of version {', '.join(done.pruned)}."] if done.pruned else []),
    )


@app.command(
    "get", epilog="Example: aiquant features get --symbols AAPL,MSFT --set core --features return_5,volatility_20"
)
def get(
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B", help="Joined by commas; default: all that are there.")
    ] = None,
    name: OneSetOption = None,
    features: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Joined by commas; default: all of the set.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read values of the online store with their ages: fresh, stale (older than online.ttl), or missing."""
    from aiquant.jobs import feature_store as job

    asked = None if symbols is None else [symbol.upper() for symbol in options.words(symbols)]
    chosen = None if features is None else options.words(features)
    found = job.get(options.workspace(workspace), asked, name, chosen)
    rows = found.values.to_pylist()
    Console(as_json).answer(_told(found, rows), *_shown(found, rows))


@app.command(
    "frame",
    epilog="Example: aiquant features frame --entities trades.csv --set core --ttl 5d --out frame.parquet",
)
def frame(
    entities: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="File with the columns symbol and event_time (with time zone), and any others."
        ),
    ],
    names: Annotated[str, typer.Option("--set", metavar="SET,SET", help="Feature sets, joined by commas.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File of the result (.parquet, .csv, .arrow).")],
    ttl: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN", help="Oldest age of a value, as 5d or 36h, or none; default: the setting online.ttl."
        ),
    ] = None,
    full_names: Annotated[bool, typer.Option("--full-names", help="Call features SET__FEATURE.")] = False,
    times: Annotated[bool, typer.Option("--times", help="Add the times of the row that each value is from.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add features to rows of a file, as they were known at each row's time: never later ones, never restated ones."""
    from aiquant.jobs import training_frames as job
    from aiquant.settings.base import span

    console = Console(as_json)
    opened = options.workspace(workspace)
    age = opened.settings.online.lifetime if ttl is None else None if ttl == "none" else span(ttl)
    done = job.frame(opened, console.journal, entities, options.words(names), out, age, full_names, times)
    counts = "; ".join(f"{matched:,} with values of {name}" for name, matched in done.matched.items())
    console.answer(done, f"{done.rows:,} rows with {done.features} features in {done.out}: {counts}.")


def _told(found: Online, rows: list[dict[str, Any]]) -> dict[str, Any]:
    apart = ("symbol", "state", "event_time", "known_from", "age")
    values = [
        {
            "symbol": row["symbol"],
            "state": row["state"],
            "event_time": row["event_time"],
            "known_from": row["known_from"],
            "age_seconds": None if row["age"] is None else row["age"].total_seconds(),
            "features": {name: value for name, value in row.items() if name not in apart},
        }
        for row in rows
    ]
    return {"set": found.set, "version": found.version, "store": found.store, "ttl": found.ttl, "values": values}


def _shown(found: Online, rows: list[dict[str, Any]]) -> list[Any]:
    """Times of all symbols; values side by side where there are few."""
    ages = [(r["symbol"], r["state"], r["event_time"], r["known_from"], _age(r["age"])) for r in rows]
    parts: list[Any] = [table(["symbol", "state", "event time", "known from", "age"], ages)]
    features = found.values.schema.names[5:]
    if len(rows) <= _WIDEST:
        lines = [(name, *(row[name] for row in rows)) for name in features]
        parts.append(table([f"set {found.set}", *(row["symbol"] for row in rows)], lines))
    else:
        parts.append(f"{len(features)} features each: see them with --json, or of up to {_WIDEST} symbols.")
    stale, missing = ([row["symbol"] for row in rows if row["state"] == state] for state in ("stale", "missing"))
    if stale:
        parts.append(
            f"{len(stale)} of {len(rows)} symbols are stale: their row is older than {found.ttl} (online.ttl)."
        )
    if missing:
        shown = ", ".join(missing[:_WIDEST]) + (f" and {len(missing) - _WIDEST} more" if len(missing) > _WIDEST else "")
        parts.append(f"{len(missing)} of {len(rows)} symbols are not in the store: {shown}.")
    return parts


def _age(age: timedelta | None) -> str | None:
    """An age to two units: ``3 d 4 h``."""
    if age is None:
        return None
    seconds = int(age.total_seconds())
    units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)]
    parts = []
    for unit, size in units:
        parts.append((seconds // size, unit))
        seconds %= size
    first = next((at for at, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])
