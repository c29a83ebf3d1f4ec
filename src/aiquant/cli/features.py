"""``aiquant features``: compute features, and look at their definitions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, WorkspaceOption

app = typer.Typer()


@app.command(epilog="Example: aiquant features build --set alpha158 --out features.parquet")
def build(
    name: Annotated[str | None, typer.Option("--set", help="Feature set; default: the setting features.set.")] = None,
    qlib_compat: Annotated[
        bool | None, typer.Option("--qlib-compat", help="Keep Qlib's own edge cases.", show_default=False)
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Build all rows, whatever is there already.")] = False,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            help="Build a panel of what could be known at this time (UTC), into the file of --out alone.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="Where to compute: local, or spark (settings: section spark).")] = "local",
    out: Annotated[Path | None, typer.Option(help="Write to this file besides (.parquet, .csv, .arrow).")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute a feature set for the bars of the lake: what is new, and what corrections touch."""
    from aiquant.jobs import features as job

    console = Console(as_json)
    opened = options.workspace(workspace, None, features__set=name, features__qlib_compat=qlib_compat)
    moment = None if as_of is None else as_of.replace(tzinfo=UTC)
    done = job.build(opened, console.journal, out, full, moment, engine)
    places = [f"table features_{done.set}"] * (moment is None) + [str(done.out)] * (done.out is not None)
    counts = "" if done.whole else f" {done.new:,} new, {done.recomputed:,} recomputed, {done.unchanged:,} unchanged."
    console.answer(
        done,
        f"{done.features} features of set {done.set} (version {done.version}) for {done.rows:,} bars of "
        f"{done.symbols:,} symbols, in {' and '.join(places)}.{counts}",
    )


@app.command("list", epilog="Example: aiquant features list")
def list_(as_json: JsonOption = False) -> None:
    """List the feature sets."""
    from aiquant.features import catalogue

    sets = [catalogue.get(name) for name in catalogue.names()]
    rows = [(s.name, len(s.features), s.lookback, s.version) for s in sets]
    told = [dict(zip(("name", "features", "lookback", "version"), row, strict=True)) for row in rows]
    Console(as_json).answer({"sets": told}, table(["set", "features", "look-back (sessions)", "version"], rows))


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
