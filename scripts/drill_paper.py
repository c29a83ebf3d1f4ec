"""The drill of paper trading: kill -9 at random moments of a replayed year, then compare.

Usage: ``python scripts/drill_paper.py [--kills N] [--first YEAR] [--last YEAR] [--seed S]``

On the sample of real prices that aiquant comes with, a book of winners and losers is decided each week. One account
trades it in one go. Another is traded by processes that are killed: half of them at any moment of their life, half
within a moment of a commit of the ledger. Then

- the ledgers of both have to be the same, row by row, and the accounts after the last session, byte by byte;
- both have to be what the backtest of the same days gives, to the last bit;
- the tables that are made from the ledger have to be the same, and no order may stand there twice.

The exit code is 1 when one of these is broken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from aiquant import schemas
from aiquant.jobs import trade_book, trade_reconcile, workspace
from aiquant.jobs.workspace import Workspace
from aiquant.settings import DataSettings
from aiquant.sources import sample

ACCOUNT = "paper"
EACH_SIDE = 5
PATIENCE = 600.0
"""Seconds in which a process has to come to its end, or to a commit."""


@dataclass(frozen=True)
class Outcome:
    """What a drill found.

    Attributes
    ----------
    kills
        Processes that were killed.
    midway
        Of these, those that were killed when the year was begun and not ended.
    differences
        Sentences; none when all is the same.
    """

    kills: int
    midway: int
    sessions: int
    fills: int
    differences: tuple[str, ...]


def drill(folder: Path, kills: int, first: date, last: date, seed: int = 0) -> Outcome:
    """Trade a market twice, once disturbed, and compare."""
    calm, killed = (market(folder / name, first, last) for name in ("calm", "killed"))
    end(start(calm))
    dice = random.Random(seed)
    counted = midway = 0
    while counted < kills:
        process = start(killed)
        if dice.random() < 0.5:
            time.sleep(dice.uniform(0.0, 4.0))
        else:
            await_commit(killed, process)
            time.sleep(dice.uniform(0.0, 0.1))
        if process.poll() is not None:
            end(process)
            break  # it came to the end of the year: there is nothing left to kill
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        counted += 1
        midway += 0 < commits(killed)
    end(start(killed))
    rows = ledger(calm)
    kinds = rows["kind"].value_counts().rows()
    told = {str(kind): int(count) for kind, count in kinds}
    return Outcome(counted, midway, told.get("session", 0), told.get("fill", 0), tuple(differences(calm, killed)))


def market(root: Path, first: date, last: date) -> Workspace:
    """A workspace with the sample's bars, and a file of weights that are decided from ``first`` to ``last``."""
    made = workspace.create(root)
    batches = sample.SampleSource().bars(DataSettings())
    bars = pl.concat([pl.DataFrame(pl.from_arrow(batch.rows)) for batch in batches])
    bars = bars.filter(pl.col("date").is_between(date(first.year - 1, 1, 1), last))
    made.lake.write(schemas.BARS, bars.to_arrow().cast(schemas.BARS.schema))
    past = pl.col("close").pct_change(60).over("symbol")
    ranked = bars.sort("symbol", "date").with_columns(past=past).filter(pl.col("date") >= first)
    place = pl.col("past").rank("ordinal").over("date")
    weight = pl.when(place > pl.len().over("date") - EACH_SIDE).then(0.09).when(place <= EACH_SIDE).then(-0.09)
    weighted = ranked.with_columns(weight=weight.otherwise(0.0))
    week = weighted.filter((pl.col("date").rank("dense") - 1) % 5 == 0)
    week.select("date", "symbol", "weight").sort("date", "symbol").write_csv(root / "weights.csv")
    return made


def start(opened: Workspace) -> subprocess.Popen[bytes]:
    """A process that trades what is left of the market."""
    told = ["trade", "--paper", "--replay", "--weights", str(opened.root / "weights.csv"), "-w", str(opened.root)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "aiquant", *told, "--json"], **quiet)  # type: ignore[call-overload]


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process to end well."""
    _, said = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise SystemExit(f"aiquant trade ended with {process.returncode}:\n{said.decode()}")


def commits(opened: Workspace) -> int:
    """How often the ledger was written."""
    log = opened.root / "lake" / schemas.TRADE_LEDGER.name / "_delta_log"
    return max(0, len(list(log.glob("*.json"))) - 1) if log.is_dir() else 0


def await_commit(opened: Workspace, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has written to the ledger, or has ended."""
    before, until = commits(opened), time.monotonic() + PATIENCE
    while commits(opened) == before and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)


def ledger(opened: Workspace) -> pl.DataFrame:
    """All rows, without what differs from process to process: when they were written, and where a commit ended."""
    rows = pl.DataFrame(pl.from_arrow(opened.lake.read(schemas.TRADE_LEDGER)))
    return rows.sort("number").drop("ingest_time", "state", "detail")


def differences(calm: Workspace, killed: Workspace) -> list[str]:
    """What is not the same in both."""
    found = []
    one, other = ledger(calm), ledger(killed)
    if not one.equals(other):
        found.append(f"the ledgers differ: {len(one):,} rows undisturbed, {len(other):,} disturbed")
    if trade_book.Book(calm, ACCOUNT).state != trade_book.Book(killed, ACCOUNT).state:
        found.append("the accounts after the last session differ")
    orders = trade_book.orders(killed.lake, ACCOUNT)
    if orders["order_id"].n_unique() != len(orders) or one["number"].to_list() != list(range(len(one))):
        found.append("an order or an entry stands twice")
    name = {"run_id": trade_book.run_id(ACCOUNT)}
    tables = (schemas.TRADE_ORDERS, schemas.TARGET_WEIGHTS, schemas.FILLS, schemas.CASH_FLOWS, schemas.EQUITY)
    for table in tables:
        if not calm.lake.read(table, where=name).equals(killed.lake.read(table, where=name)):
            found.append(f"the table {table.name} differs")
    for which, opened in (("undisturbed", calm), ("disturbed", killed)):
        made = trade_reconcile.reconcile(opened, ACCOUNT)
        if not made.identical:
            found.append(f"the {which} account is not the backtest: {made.sentence()}")
    return found


def main() -> None:
    """Run the drill and say what it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=30, help="processes that are killed, as far as the market lasts")
    parser.add_argument("--first", type=int, default=2019, help="first year")
    parser.add_argument("--last", type=int, default=2019, help="last year")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aiquant-drill-") as folder:
        begun = time.monotonic()
        span = date(asked.first, 1, 1), date(asked.last, 12, 31)
        found = drill(Path(folder), asked.kills, *span, seed=asked.seed)
    print(
        f"{found.sessions:,} sessions, {found.fills:,} fills; {found.kills} processes killed, {found.midway} of them "
        f"on the way; {time.monotonic() - begun:,.0f} s"
    )
    for difference in found.differences:
        print(f"DIFFERENT: {difference}")
    if found.differences:
        sys.exit(1)
    print("The ledger is the undisturbed one, row by row, and the backtest, to the last bit.")


if __name__ == "__main__":
    main()
