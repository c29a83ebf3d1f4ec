"""``aiquant models``: registered models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.jobs.models import ModelLine, Shown

app = typer.Typer()


@app.callback()
def _models() -> None:
    """Registered models."""


@app.command("ls", epilog="Example: aiquant models ls --json")
def ls(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """List the registered versions with their aliases."""
    from aiquant.jobs import models as job

    opened = options.workspace(workspace, told)
    found = job.list_models(opened)
    rows = [
        (m.version, m.aliases, m.run_id, _gate(m.verdict, m.override), m.rank_ic_t, m.sharpe_net, m.made) for m in found
    ]
    Console(as_json).answer(
        {"models": found},
        (
            table(["version", "aliases", "run", "gate", "rank IC t", "Sharpe net", "made"], rows)
            if rows
            else "No model is registered yet."
        ),
    )


@app.command("show", epilog="Example: aiquant models show 3")
def show(
    which: Annotated[
        str | None,
        typer.Argument(metavar="VERSION|ALIAS|RUN", help="champion, challenger, previous …; default: the champion."),
    ] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a version: the verdict of the gate on it, and each time that it came into use."""
    from aiquant.jobs import models as job

    _answer(Console(as_json), job.show(options.workspace(workspace, told), which))


@app.command("compare", epilog="Example: aiquant models compare challenger champion")
def compare(
    first: Annotated[
        str | None, typer.Argument(metavar="VERSION|ALIAS", help="Default: the challenger, else the newest version.")
    ] = None,
    second: Annotated[str | None, typer.Argument(metavar="VERSION|ALIAS", help="Default: the champion.")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show two versions side by side: their figures, and the settings in which they differ."""
    from aiquant.jobs import models as job

    done = job.compare(options.workspace(workspace, told), first, second)
    names = [f"version {line.version}" for line in (done.first, done.second)]
    rows = [(name, a, b, b - a if a is not None and b is not None else None) for name, (a, b) in done.figures.items()]
    changed = [(name, a, b) for name, (a, b) in done.settings.items()]
    Console(as_json).answer(
        done,
        *(_named(line) for line in (done.first, done.second)),
        table(["figure", *names, "difference"], rows),
        table(["setting", *names], changed) if changed else "The settings are the same.",
    )


@app.command("promote", epilog="Example: aiquant models promote 3")
def promote(
    which: Annotated[
        str, typer.Argument(metavar="VERSION|ALIAS|RUN", help="Number of a version, an alias, or a run's id.")
    ],
    override: Annotated[
        str | None,
        typer.Option(metavar="WHY", help="Promote it although the gate refused it; the reason is kept for all to see."),
    ] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a version in the champion's place; exit code 4 when the gate does not let it pass.

    Where more was tried since the gate let it pass, it is judged again first.
    """
    from aiquant.jobs import models as job

    console = Console(as_json)
    _answer(console, job.promote(options.workspace(workspace, told), which, override, console.journal))


@app.command("rollback", epilog="Example: aiquant models rollback")
def rollback(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """Put the previous champion back in its place."""
    from aiquant.jobs import models as job

    _answer(Console(as_json), job.rollback(options.workspace(workspace, told)))


def _answer(console: Console, shown: Shown) -> None:
    line = shown.line
    checks = [(c["name"], c["passed"], c["value"], c["threshold"], c["why"]) for c in shown.checks]
    changes = [(p["at"], p["kind"], p["before"], p["by"], p["override"] or "") for p in shown.promotions]
    console.answer(
        shown.to_dict(),
        f"{_named(line)}, gate: {_gate(line.verdict, line.override)}",
        table(["check", "passed", "value", "threshold", "why"], checks),
        table(["in use from", "by", "after version", "account", "override"], changes) if changes else "Never in use.",
    )


def _named(line: ModelLine) -> str:
    aliases = f" ({', '.join(line.aliases)})" if line.aliases else ""
    return f"Version {line.version}{aliases}: run {line.run_id}, made {line.made}"


def _gate(verdict: str, override: str | None) -> str:
    return verdict if override is None else f"{verdict}, OVERRIDDEN: {override}"
