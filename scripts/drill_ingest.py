"""The fault drill: kill -9 at random moments over producer, consumers and broker, on a real Kafka; then count.

Usage: ``python scripts/drill_ingest.py [--rounds N] [--messages N] [--seed N]``

Three parts: one consumer; two in a group, whose partitions change hands with every kill; a disk that fills up.
In each a producer sends numbered trades, unreadable messages among them, from where its checkpoint stands, and
``aiquant stream consume`` stores them. At the end every trade has to be in the lake once, with the values that it
was sent with, and every unreadable message once among the dead letters. The last line is ``lost 0, doubled 0``, or
else the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent))
import kafka

from aiquant import schemas
from aiquant.lake import Lake
from aiquant.settings import StreamSettings, from_values

FIRST = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
SYMBOLS = 40
POISON_EVERY = 997
"""Each trade whose number this divides is followed by an unreadable message."""
_CHUNK = 250


@dataclass
class Part:
    """One part of the drill: its own topic, group, lake and workspace."""

    name: str
    folder: Path
    broker: kafka.Broker
    messages: int
    rate: int
    consumers: int = 1
    lake: Path | None = None
    rows: list[tuple[object, ...]] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, object]:
        return {
            "brokers": self.broker.address,
            "topics": {name: f"{self.name}-{name}" for name in ("ticks", "bars", "news", "tweets", "dead_letters")},
            "group": f"drill-{self.name}",
            "session_seconds": 2,
            "batch_rows": 4000,
            "batch_seconds": 0.3,
            "partitions": 4,
        }

    @property
    def stream(self) -> StreamSettings:
        return from_values({"stream": self.settings}).stream

    @property
    def lake_root(self) -> Path:
        return self.lake or self.folder / "lake"


@dataclass(frozen=True)
class Verdict:
    """What the count says; ``wrong`` are rows with other values than were sent."""

    stored: int
    distinct: int
    lost: int
    doubled: int
    wrong: int
    letters: int
    letters_lost: int
    letters_doubled: int

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.letters_lost or self.letters_doubled)


def trades(numbers: np.ndarray) -> pa.Table:
    """The trades of these numbers: every value follows from the number."""
    micros = int(FIRST.timestamp() * 1e6) + numbers.astype(np.int64) * 1_000
    time_ = pl.Series(micros).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {
            "symbol": [f"S{n % SYMBOLS:02d}" for n in numbers.tolist()],
            "date": time_.dt.date(),
            "event_time": time_,
            "event_ns": micros * 1_000,
            "price": 10 + numbers % 1009 / 100,
            "size": 1.0 + numbers % 7,
            "exchange": "XDRL",
            "trade_id": [str(n) for n in numbers.tolist()],
            "sequence": numbers.astype(np.int64),
            "ingest_time": time_,
            "source": "drill",
        }
    )
    return schemas.conform(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), schemas.TICKS)


def judge(lake_root: Path, messages: int) -> Verdict:
    """Count what the lake holds against what was sent."""
    lake = Lake(lake_root)
    ticks = pl.DataFrame(pl.from_arrow(lake.read("ticks", history=True, missing_ok=True)))
    stored = ticks["trade_id"].cast(pl.Int64).to_numpy()
    distinct = np.unique(stored)
    told = pl.DataFrame(pl.from_arrow(trades(stored)))
    facts = [name for name in told.columns if name not in ("ingest_time", "log_partition", "log_offset")]
    wrong = sum(not ticks[name].equals(told[name]) for name in facts)
    doubled_offsets = int(ticks.select("log_partition", "log_offset").is_duplicated().sum())
    letters = pl.DataFrame(pl.from_arrow(lake.read("dead_letters", history=True, missing_ok=True)))
    poison = {str(n) for n in range(0, messages, POISON_EVERY)}
    found = set(letters["payload"].str.strip_prefix("poison ").to_list())
    return Verdict(
        stored=len(stored),
        distinct=len(distinct),
        lost=messages - int(np.isin(np.arange(messages), distinct).sum()),
        doubled=len(stored) - len(distinct) + doubled_offsets,
        wrong=wrong,
        letters=len(letters),
        letters_lost=len(poison - found),
        letters_doubled=int(letters["place"].is_duplicated().sum()),
    )


def batches(messages: int, rate: int, cursor: str | None) -> Iterator[object]:
    """A vendor's feed of numbered trades, from where it stood."""
    from aiquant.sources.base import Batch
    from aiquant.sources.checkpoints import Position

    at, begun, sent = int(cursor or 0), time.monotonic(), 0
    while at < messages:
        numbers = np.arange(at, min(at + _CHUNK, messages))
        at, sent = at + len(numbers), sent + len(numbers)
        # a vendor's page may span several batches: whoever is killed within it sends its beginning again
        reached = Position("drill", str(at)) if at % (8 * _CHUNK) == 0 or at == messages else None
        letters = schemas.DEAD_LETTERS.schema.empty_table()
        yield Batch(trades(numbers), letters, table="ticks", position=reached)
        time.sleep(max(0.0, sent / rate - (time.monotonic() - begun)))


def produce(address: str, name: str, messages: int, rate: int, folder: Path) -> None:
    """The producer's process: the loop of ``aiquant stream produce`` over a feed of ours."""
    from confluent_kafka import Producer as Client

    from aiquant.jobs import produce as job
    from aiquant.jobs.journal import Journal
    from aiquant.sources.base import Query
    from aiquant.sources.checkpoints import Checkpoint
    from aiquant.streams.producer import Producer

    part = Part(name, folder, kafka.Broker.__new__(kafka.Broker), messages, rate)
    part.broker.address = address
    poison = Client({"bootstrap.servers": address, "enable.idempotence": True, "log_level": 0})

    class Poisoning(Producer):
        """Sends an unreadable message behind some of the rows."""

        def send(self, table: str, rows: pa.Table) -> int:
            for number in rows["sequence"].to_pylist():
                if number % POISON_EVERY == 0:
                    poison.produce(part.stream.topics.ticks, key=str(number), value=f"poison {number}")
            return super().send(table, rows)

        def flush(self, timeout: float = 600.0) -> None:
            if poison.flush(timeout):
                raise RuntimeError("unreadable messages were not delivered")
            super().flush(timeout)

    query = Query(checkpoint=Checkpoint(folder / "feed.json"))
    producer = Poisoning(part.stream)
    feed = batches(messages, rate, query.checkpoint.cursor("drill"))
    job.send(producer, feed, query, Journal(), job.Produced("ticks", "drill"))  # type: ignore[arg-type]
    producer.close()
    (folder / "sent").touch()


class Crew:
    """The processes of a part: started, killed, started again."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (part.folder / "processes.log").open("ab")

    def names(self) -> list[str]:
        return ["producer", *(f"consumer {i + 1}" for i in range(self.part.consumers))]

    def start(self, name: str) -> None:
        part = self.part
        if name == "producer":
            told = ["--produce", part.broker.address, part.name, str(part.messages), str(part.rate), str(part.folder)]
            command = [sys.executable, str(Path(__file__).resolve()), *told]
        else:
            command = [sys.executable, "-c", "from aiquant.cli.main import main; main()", "stream", "consume", "ticks"]
            command += ["-w", str(part.folder), "--set", f"lake.root={part.lake_root}"]
        environment = {**os.environ, **_environment(part.settings)}
        self.processes[name] = subprocess.Popen(
            command, env=environment, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
        )

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes[name]
        if process.poll() is None:
            process.send_signal(how)
            process.wait(60)

    def revive(self) -> list[str]:
        """Start those again that ended by themselves (a broker that was away for long); their names."""
        ended = []
        for name, process in list(self.processes.items()):
            if process.poll() is not None and not (name == "producer" and (self.part.folder / "sent").exists()):
                ended.append(name)
                self.start(name)
        return ended

    def close(self) -> None:
        for name in self.processes:
            self.kill(name)
        self._log.close()


def _environment(settings: dict[str, object]) -> dict[str, str]:
    told = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            told.update({f"AIQUANT_STREAM__{name}__{k}".upper(): str(v) for k, v in value.items()})
        else:
            told[f"AIQUANT_STREAM__{name}".upper()] = str(value)
    return told


def rounds_of_kills(part: Part, rounds: int, chance: random.Random, say: bool = True) -> Verdict:
    """Kill one of the processes in each round, let everything finish, and count."""
    crew = _begin(part)
    try:
        victims = [*crew.names(), "broker"]
        weights = [1.0] + [1.6 / part.consumers] * part.consumers + [0.4]
        stored = 0
        for number in range(1, rounds + 1):
            _progress(part, stored)
            moment = chance.uniform(0.0, 1.2)
            time.sleep(moment)
            victim = chance.choices(victims, weights)[0]
            if victim == "producer" and (part.folder / "sent").exists():
                victim = crew.names()[1]
            begun = time.monotonic()
            gentle = victim.startswith("consumer") and chance.random() < 0.2
            if victim == "broker":
                part.broker.kill()
                part.broker.start()
            else:
                crew.kill(victim, signal.SIGTERM if gentle else signal.SIGKILL)
                crew.start(victim)
            ended, stored = crew.revive(), _stored(part)
            row = (
                part.name,
                number,
                victim,
                "TERM" if gentle else "KILL",
                moment,
                stored,
                time.monotonic() - begun,
            )
            part.rows.append(row)
            if say:
                told = f"  also started again: {', '.join(ended)}" if ended else ""
                print(
                    f"{row[0]:<8}{row[1]:>5}  {row[2]:<12}{row[3]:<5}{row[4]:>7.2f}{row[5]:>12,}{row[6]:>8.1f}{told}",
                    flush=True,
                )
        _finish(part, crew)
    finally:
        crew.close()
    return judge(part.lake_root, part.messages)


def full_disk(part: Part, mib: int = 4, say: bool = True) -> Verdict | None:
    """The lake's disk fills up while it is written, and is made free again; None where no small disk can be mounted."""
    disk = part.folder / "disk"
    disk.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        return None
    part.lake = disk / "lake"
    try:
        crew = _begin(part)
        try:
            for number in (1, 2):
                ballast = disk / "ballast"
                _progress(part, _stored(part))
                with ballast.open("wb", buffering=0) as stream:
                    try:
                        while True:
                            stream.write(bytes(4096))
                    except OSError:
                        pass
                begun = time.monotonic()
                while crew.processes["consumer 1"].poll() is None and time.monotonic() - begun < 20:
                    time.sleep(0.05)
                code = crew.processes["consumer 1"].poll()
                held = _stored(part)
                ballast.unlink()
                crew.revive()
                part.rows.append((part.name, number, "disk full", f"rc {code}", 0.0, held, time.monotonic() - begun))
                if say:
                    row = part.rows[-1]
                    print(
                        f"{row[0]:<8}{row[1]:>5}  {row[2]:<12}{row[3]:<5}{'':>7}{row[5]:>12,}{row[6]:>8.1f}", flush=True
                    )
                if code != 3:
                    raise SystemExit(f"error: the consumer met a full disk with exit code {code}, not 3")
            _finish(part, crew)
        finally:
            crew.close()
        return judge(part.lake_root, part.messages)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def _begin(part: Part) -> Crew:
    from aiquant.jobs import workspace
    from aiquant.streams import topics

    workspace.create(part.folder)
    topics.init(part.stream)
    crew = Crew(part)
    for name in crew.names():
        crew.start(name)
    return crew


def _finish(part: Part, crew: Crew, timeout: float = 600.0) -> None:
    """Let the rest be sent at full speed, wait until all is read, then stop the consumers in good order."""
    deadline = time.monotonic() + timeout
    part.rate = 1_000_000
    crew.kill("producer")
    crew.revive()
    while not (part.folder / "sent").exists() or _waiting(part) > 0:
        if time.monotonic() > deadline:
            break  # what is missing then counts as lost
        crew.revive()
        time.sleep(0.2)
    for name in crew.names()[1:]:
        crew.kill(name, signal.SIGTERM)


def _progress(part: Part, stored: int) -> None:
    """Wait until rows arrive again, so that a kill meets processes at work."""
    deadline = time.monotonic() + 15
    while _stored(part) <= stored and time.monotonic() < deadline:
        if (part.folder / "sent").exists() and _waiting(part) == 0:
            return  # all is there
        time.sleep(0.05)


def _stored(part: Part) -> int:
    """Rows of the table by its log, 0 where it is not there yet."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        actions = DeltaTable(str(part.lake_root / "ticks")).get_add_actions(flatten=True)
    except DeltaError:
        return 0
    return int(sum(pa.table(actions)["num_records"].to_pylist()))


def _waiting(part: Part) -> int:
    """Messages between what the table's ledger says and the end of the topic."""
    from confluent_kafka import Consumer, TopicPartition

    from aiquant.lake.ledger import Ledger

    topic = part.stream.topics.ticks
    places = [(topic, i) for i in range(part.stream.partitions)]
    stands = Ledger(Lake(part.lake_root), "ticks", part.stream.group).positions(places)
    client = Consumer({"bootstrap.servers": part.broker.address, "group.id": "drill-count", "log_level": 0})
    try:
        return sum(client.get_watermark_offsets(TopicPartition(*p), timeout=10)[1] - stands[p] for p in places)
    finally:
        client.close()


def run(rounds: int, messages: int, seed: int, folder: Path, parts: tuple[str, ...] = ("one", "group", "disk")) -> bool:
    """The whole drill; whether nothing was lost and nothing doubled."""
    chance = random.Random(seed)
    share = {"one": 0.6, "group": 0.4}
    broker = kafka.Broker(folder / "kafka")
    broker.start()
    print(f"{'part':<8}{'round':>5}  {'victim':<12}{'how':<5}{'after s':>7}{'rows stored':>12}{'s':>8}")
    verdicts: dict[str, Verdict] = {}
    try:
        for name in parts:
            total = 30_000 if name == "disk" else int(messages * share[name])
            turns = int(rounds * share.get(name, 0))
            # slow enough for the stream to last about as long as its rounds
            rate = 2500 if name == "disk" else max(500, int(total / (turns * 4.5)))
            part = Part(
                name,
                folder / name,
                broker,
                total,
                rate,
                2 if name == "group" else 1,
            )
            part.folder.mkdir(parents=True)
            verdict = full_disk(part) if name == "disk" else rounds_of_kills(part, turns, chance)
            if verdict is None:
                print("disk     not run: a small disk cannot be mounted here")
            else:
                verdicts[name] = verdict
    finally:
        broker.stop()
    heads = ("sent", "stored", "lost", "doubled", "wrong", "letters", "lost", "doubled")
    print(f"\n{'part':<8}" + "".join(f"{head:>10}" for head in heads))
    for name, v in verdicts.items():
        sent = v.distinct + v.lost
        print(
            f"{name:<8}{sent:>10,}{v.stored:>10,}{v.lost:>10}{v.doubled:>10}{v.wrong:>10}"
            f"{v.letters:>10}{v.letters_lost:>10}{v.letters_doubled:>10}"
        )
    lost = sum(v.lost + v.letters_lost + v.wrong for v in verdicts.values())
    doubled = sum(v.doubled + v.letters_doubled for v in verdicts.values())
    print(f"lost {lost}, doubled {doubled}")
    return bool(verdicts) and all(v.good for v in verdicts.values())


def main() -> int:
    """Run the drill."""
    if sys.argv[1:2] == ["--produce"]:
        address, name, messages, rate, folder = sys.argv[2:]
        produce(address, name, int(messages), int(rate), Path(folder))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="a new folder for what the drill leaves; default: none is left")
    told = parser.parse_args()
    print(f"seed {told.seed}: {told.messages:,} messages, {told.rounds} rounds", flush=True)
    folder = told.keep or Path(tempfile.mkdtemp(prefix="aiquant-drill-"))
    try:
        return 0 if run(told.rounds, told.messages, told.seed, folder) else 1
    except kafka.Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    finally:
        if told.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
