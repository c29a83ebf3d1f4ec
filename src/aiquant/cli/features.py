"""``aiquant features``: compute features, and look at their definitions."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.jobs.feature_work import Built

app = typer.Typer()


@app.command(epilog="Example: aiquant features build --set alpha158 --out features.parquet")
def build(
    names: Annotated[
        str | None,
        typer.Option(
            "--set", metavar="SET,SET", help="Feature sets, joined by commas; default: the setting features.set."
        ),
    ] = None,
    qlib_compat: Annotated[
        bool | None, typer.Option("--qlib-compat", help="Keep Qlib's own edge cases.", show_default=False)
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Build all rows, whatever is there already.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar=options.MOMENT,
            help="Build a panel of what could be known at this time (UTC, or with a zone: …T14:30Z; a date: its end), "
            "into the file of --out alone.",
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="local|spark", help="Where to compute: local, or spark (settings: section spark).")
    ] = "local",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file besides (.parquet, .csv, .arrow).")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute a feature set for the bars of the lake: what is new, and what corrections touch."""
    from aiquant.jobs import features as job

    from aiquant.errors import UsageError

    console, moment = Console(as_json), options.moment(as_of, "--as-of")
    chosen: list[str | None] = [*options.words(names)] if names is not None else [None]
    if len(chosen) > 1 and out is not None:
        raise UsageError("one file holds one set, and --set names several", "leave --out away, or name one set")
    built = []
    for name in chosen:
        opened = options.workspace(workspace, None, features__set=name, features__qlib_compat=qlib_compat)
        built.append(job.build(opened, console.journal, out, full, moment, engine))
    console.answer(built[0] if len(built) == 1 else {"sets": built}, *(_sentence(done, moment) for done in built))


def _sentence(done: Built, as_of: datetime | None) -> str:
    places = [f"table features_{done.set}"] * (as_of is None) + [str(done.out)] * (done.out is not None)
    counts = "" if done.whole else f" {done.new:,} new, {done.recomputed:,} recomputed, {done.unchanged:,} unchanged."
    known = "" if as_of is None else f", as known at {as_of:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"{done.features} features of set {done.set} (version {done.version}) for {done.rows:,} bars of "
        f"{done.symbols:,} symbols, in {' and '.join(places)}{known}.{counts}"
    )


@app.command("list", epilog="Example: aiquant features list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the feature sets: those of the catalogue, and those of TOML files in the workspace and in this folder."""
    from aiquant.jobs import feature_sets

    sets = feature_sets.known(workspace)
    rows = [(s.name, len(s.features), s.lookback, s.version, place) for s, place in sets]
    told = [dict(zip(("name", "features", "lookback", "version", "file"), row, strict=True)) for row in rows]
    shown = rows if any(place for _, place in sets) else [row[:4] for row in rows]
    columns = ["set", "features", "look-back (sessions)", "version", "file"]
    Console(as_json).answer({"sets": told}, table(columns[: len(shown[0])], shown))


@app.command(epilog="Example: aiquant features show core")
def show(
    name: Annotated[str, typer.Argument(metavar="SET", help="Name of the set.")] = "core", as_json: JsonOption = False
) -> None:
    """Show each feature of a set: formula, look-back, description, source; and the parts that formulas name."""
    from aiquant.features import catalogue

    found = catalogue.get(name)
    rows = [(f.name, f.formula, f.lookback, f.description, f.source) for f in found.features]
    told = [dict(zip(("name", "formula", "lookback", "description", "source"), row, strict=True)) for row in rows]
    parts = [(f"@{part}", formula) for part, formula in found.parts.items()]
    Console(as_json).answer(
        {"name": found.name, "version": found.version, "features": told, "parts": dict(found.parts)},
        table(["feature", "formula", "look-back", "description", "source"], rows),
        *([table(["part", "formula"], parts)] if parts else []),
    )
