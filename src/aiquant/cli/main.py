"""The command line ``aiquant``: its verbs, and how errors become one line and an exit code."""

from __future__ import annotations

import _thread
import errno
import json
import os
import sys
import threading
from typing import Annotated, NoReturn

import typer

from aiquant import __version__
from aiquant.cli import (
    backtest,
    check,
    compare,
    config,
    demo,
    doctor,
    evaluate,
    explain,
    feature_store,
    features,
    ingest,
    init,
    lake,
    models,
    optimise,
    predict,
    report,
    reproduce,
    run,
    runs,
    simulate,
    strategies,
    stream,
    trade,
    sweep,
    train,
    tune,
)
from aiquant.cli.usage import Verbs
from aiquant.errors import AiquantError, Unreachable, UsageError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

EPILOG = """\
Start here: [bold]aiquant demo[/bold]. On your own data: [bold]aiquant init DIR[/bold], then
[bold]aiquant run --source files --path prices.csv[/bold] inside of it.

Exit codes: 0 fine, 1 a check failed, 2 wrong use, 3 something needed is missing, 4 refused by policy.
"""

app = typer.Typer(
    name="aiquant",
    cls=Verbs,
    help="An AI quantitative analyst: from market data to a judged, reported trading model.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    demo,
    init,
    run,
    train,
    tune,
    sweep,
    predict,
    explain,
    optimise,
    backtest,
    report,
    compare,
    evaluate,
    reproduce,
    doctor,
    simulate,
):
    module.register(app)
features.app.add_typer(feature_store.app)
for name, group, text in (
    ("ingest", ingest.app, "Take data into the lake."),
    ("features", features.app, "Features: their definitions, computed, served, and joined to rows of yours."),
    ("lake", lake.app, "Look into the tables, and keep them in order."),
    ("stream", stream.app, "Live data through Kafka into the lake."),
    ("trade", trade.app, "Trade an account session by session, on paper or at a broker."),
    ("check", check.app, "Checks that try to prove a result wrong."),
    ("strategies", strategies.app, "Strategies: which there are, and their parameters."),
    ("new", strategies.new, "Files to begin from."),
    ("models", models.app, "Registered models."),
    ("runs", runs.app, "The runs of the workspace."),
    ("config", config.app, "Settings and where they come from."),
):
    app.add_typer(group, name=name, help=text, no_args_is_help=group is not trade.app)


def _version(asked: bool) -> None:
    if asked:
        print(f"aiquant {__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; never shows a traceback for a mistake of the user's."""
    _quieten()
    sys.unraisablehook = _unraisable
    try:
        app()
    except AiquantError as error:
        _stop(error)
    except BrokenPipeError:  # the reader of our output has gone: `aiquant … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        _stop_by_hand()
    except SystemExit as leaving:  # typer leaves by itself after an interruption or a misspelt option
        if leaving.code == INTERRUPTED:
            _stop_by_hand()
        told = getattr(leaving.__context__, "message", None)
        if leaving.code == UsageError.exit_code and told:
            _say_as_json("UsageError", told, "see --help", UsageError.exit_code)
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            _stop(_fault(error))
        _stop(
            Unreachable(f"{error.filename or 'the disk'}: {error.strerror}", "make room, or check who may write there")
        )
    except Exception as error:  # not the user's mistake but ours: say so, and keep what helps to find it
        _stop(_fault(error))


def _fault(error: Exception) -> AiquantError:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="aiquant-fault-", suffix=".txt", delete=False) as stream:
        stream.write("".join(traceback.format_exception(error)))
    problem = f"this is a fault of aiquant, not of yours: {type(error).__name__}: {error}"
    return AiquantError(problem, f"report it, with the file {stream.name}")


def _say_as_json(kind: str, problem: str, remedy: str, exit_code: int) -> None:
    if "--json" in sys.argv:
        told = {"kind": kind, "problem": problem, "remedy": remedy, "exit_code": exit_code}
        print(json.dumps({"error": told}, indent=2))


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    """An interruption that falls into a callback of the interpreter's is not lost there, and not told twice."""
    if isinstance(told.exc_value, KeyboardInterrupt):
        # A moment later and from another thread: raised at once it would end in this very hook.
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(told)


def _stop_by_hand() -> NoReturn:
    _say_as_json("Interrupted", "stopped by hand", "run it again: it goes on from what is there", INTERRUPTED)
    print("stopped", file=sys.stderr)
    sys.exit(INTERRUPTED)


def _stop(error: AiquantError) -> None:
    _say_as_json(type(error).__name__, error.problem, error.remedy, error.exit_code)
    print(f"error: {error.problem}", file=sys.stderr)
    if error.remedy:
        print(f"  try: {error.remedy}", file=sys.stderr)
    if os.environ.get("AIQUANT_DEBUG"):
        raise error
    sys.exit(error.exit_code)


def _quieten() -> None:
    """No library sends anything home, and none of them talks into a normal run."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    if not sys.warnoptions:
        import warnings

        warnings.simplefilter("ignore")
