"""The table of a feature set in the lake: written whole, or mended where what it was made from has changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import polars as pl
import pyarrow as pa

from aiquant.jobs import feature_plan
from aiquant.jobs.feature_plan import Part
from aiquant.lake import Lake
from aiquant.lake.derived import UNCHANGED, Change, Derived
from aiquant.schemas import BARS, FEATURES, Table, features_table

KEY = ["symbol", "event_time"]
_NONE = -1
"""Stands for a table that is not there where only whole numbers can be kept."""

OWN_TIME = pl.col("known_from") == pl.col("event_time")
"""Rows as they were known at their own time; rows that a stream computed again later stand beside them."""


@dataclass(frozen=True)
class Changes:
    """What a mending did.

    Attributes
    ----------
    new, recomputed
        Rows that were added, and rows that got other values or went.
    """

    new: int
    recomputed: int


@dataclass(frozen=True)
class Origin:
    """What a table of features was made from.

    Attributes
    ----------
    recipe
        Digest of all that decides its values beside the data: definitions, kernels, settings.
    versions
        Delta versions of the tables that were read; None for one that was not there.
    identities
        What tells each of these tables from one that was made in its place later.
    """

    recipe: int
    versions: dict[str, int | None]
    identities: dict[str, int | None]

    def follows(self, before: Origin) -> bool:
        """Whether the tables of ``before`` are the same ones still."""
        return all(before.identities[name] in (None, self.identities[name]) for name in self.versions)

    def numbers(self) -> dict[str, int]:
        """As whole numbers by name."""
        told = {**self.versions, **{_identity(name): number for name, number in self.identities.items()}}
        return {"recipe": self.recipe, **{n: _NONE if v is None else v for n, v in told.items()}}


def origin_of(lake: Lake, recipe: int, versions: dict[str, int | None]) -> Origin:
    """The origin of what is made from these versions of the lake's tables."""
    found = {name: None if version is None else lake.identity(name) for name, version in versions.items()}
    return Origin(recipe, versions, {n: None if v is None else int(UUID(v)) >> 68 for n, v in found.items()})


def _identity(name: str) -> str:
    return f"{name}:identity"


class FeatureTable:
    """The table of one feature set."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.table: Table = features_table(name)
        self._lake = lake
        self._derived = Derived(lake, self.table)

    @property
    def version(self) -> int | None:
        """Its Delta version, None where it is not there."""
        return self._lake.version(self.table)

    def origin(self, tables: Iterable[str], version: int | None = None) -> Origin | None:
        """What it, or a version, was made from; None where it is not there, or was not made by a build."""
        names = list(tables)
        told = self._derived.made_from(["recipe", *names, *map(_identity, names)], version)
        if told["recipe"] is None:
            return None
        known = {name: None if number == _NONE else number for name, number in told.items()}
        return Origin(told["recipe"], {n: known[n] for n in names}, {n: known[_identity(n)] for n in names})

    def bars_version(self) -> int | None:
        """Version of the lake's bars that it was made from; None where that is not told, or they are others now."""
        before = self.origin([BARS.name])
        if before is None:
            return None
        now = origin_of(self._lake, before.recipe, {BARS.name: self._lake.version(BARS)})
        return before.versions[BARS.name] if now.follows(before) else None

    def columns(self) -> list[str]:
        """Its columns."""
        return self._derived.columns()

    def read(self, part: Part | None = None, columns: list[str] | None = None, version: int | None = None) -> pa.Table:
        """Its rows as they were known at their own time, all or those of a part, sorted by symbol and event_time."""
        wanted = OWN_TIME if part is None else OWN_TIME & _of(part)
        return self._lake.read(self.table, columns, where=wanted, version=version, history=True)

    def rows(self) -> int:
        """How many rows were known at their own time."""
        told = self._lake.scan(self.table, ["event_time", "known_from"], ordered=False, history=True)
        return int(told.filter(OWN_TIME).select(pl.len()).collect(engine="streaming").item())

    def rewrite(self, schema: pa.Schema, rows: Callable[[], Iterator[pa.Table]], origin: Origin) -> int:
        """Put ``rows`` in the place of all that is there; the Delta version."""
        return self._derived.write(schema, rows, origin.numbers())

    def rewrite_by(self, write: Callable[[str], None], origin: Origin) -> int:
        """As :meth:`rewrite`, by an engine that commits by itself; ``write`` is told where the table lies.

        Until the last remark the table tells no origin, so that a build that died is built whole by the next one.
        """
        if self.version is not None:
            self._derived.remark({"recipe": _NONE})
        write(str(self._lake.place(self.table)))
        return self._derived.remark(origin.numbers())

    def mend(
        self,
        schema: pa.Schema,
        rows: Callable[[Part], Iterator[pa.Table]],
        parts: list[Part],
        before: Origin,
        origin: Origin,
        extent: pl.DataFrame,
        folder: Path,
    ) -> Changes | None:
        """Compute ``parts`` and write what is new or has changed: one commit, or none but a remark.

        Rows that are there already with equal values, from an earlier build or a stream, are left alone. What is
        computed waits in a file below ``folder``, and is compared with the very version that the commit follows.

        Parameters
        ----------
        before, origin
            What the table was made from when ``parts`` were planned, and what it is made from afterwards.

        Returns
        -------
        Changes or None
            None, and nothing is written, where another build came first: ``parts`` may not be all that differs then.
        """
        last = extent["last"].max()
        with tempfile.TemporaryFile(dir=folder) as file:  # without a name: nothing is left behind by a kill
            spool = _Spool(file, schema)
            for part in parts:
                for computed in rows(part):
                    spool.add(computed, part)
            spool.close()

            def decide(version: int) -> Change | None:
                if self.origin(before.versions, version) != before:
                    return None
                spool.compare(lambda computed, part: self._stored(computed, part, last, version))
                if spool.changed:
                    where = feature_plan.condition(parts, len(extent), last.isoformat())  # type: ignore[union-attr]
                    return Change(spool.all, "part", where)
                return Change(spool.added, "more") if spool.new else UNCHANGED

            done = self._derived.settle(schema, decide, origin.numbers())
            return None if done is None else Changes(spool.new, spool.changed)

    def _stored(self, computed: pa.Table, part: Part, last: Any, version: int) -> pl.DataFrame:
        symbols = tuple(pl.Series(computed["symbol"]).unique().to_list())
        wanted = OWN_TIME & _of(Part(symbols, part.since, part.until)) & (pl.col("event_time") <= last)
        columns = computed.column_names
        return pl.DataFrame(self._lake.read(self.table, columns, where=wanted, version=version, history=True))


def _of(part: Part) -> pl.Expr:
    """The rows of a part; the range of symbols besides, so that files and row groups of others are passed over."""
    name, day = pl.col("symbol"), pl.col("date")
    wanted = name.is_between(pl.lit(min(part.symbols)), pl.lit(max(part.symbols))) & name.is_in(list(part.symbols))
    if part.since is not None:
        wanted = wanted & (day >= part.since)
    return wanted if part.until is None else wanted & (day < part.until)


class _Spool:
    """Rows that were computed, on disk, and how they differ from those that are stored."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self.new = self.changed = 0
        self._file = file
        self._parts: list[Part] = []
        self._masks: list[pa.Array] = []
        self._sink = pa.PythonFile(file, mode="w")
        self._writer = pa.ipc.new_file(self._sink, schema)

    def add(self, computed: pa.Table, part: Part) -> None:
        """Keep a table of rows of a part."""
        if computed.num_rows:
            (batch,) = computed.combine_chunks().to_batches()
            self._writer.write_batch(batch)
            self._parts.append(part)

    def close(self) -> None:
        """No rows follow."""
        self._writer.close()
        self._file.flush()
        self._source = pa.PythonFile(self._file, mode="r")
        self._told = pa.ipc.open_file(self._source)

    def compare(self, stored: Callable[[pa.Table, Part], pl.DataFrame]) -> None:
        """Compare each table with the stored rows that it stands for."""
        self.new, self.changed, self._masks = 0, 0, []
        for computed, part in zip(self.all(), self._parts, strict=True):
            fresh, changed = _compare(pl.DataFrame(computed), stored(computed, part))
            self.new += int(fresh.sum())
            self.changed += changed
            self._masks.append(fresh.to_arrow())

    def all(self) -> Iterator[pa.Table]:
        """Every row."""
        for at in range(self._told.num_record_batches):
            yield pa.Table.from_batches([self._told.get_batch(at)])

    def added(self) -> Iterator[pa.Table]:
        """Rows of keys that are not stored."""
        for rows, mask in zip(self.all(), self._masks, strict=True):
            if (kept := rows.filter(mask)).num_rows:
                yield kept


def _compare(computed: pl.DataFrame, stored: pl.DataFrame) -> tuple[pl.Series, int]:
    """For each computed row whether its key is not stored, and how many stored rows differ or have to go."""
    names = [name for name in computed.columns if name not in FEATURES.schema.names]
    if stored.is_empty():
        return pl.Series([True]).new_from_index(0, len(computed)), 0
    first = stored.select(KEY).with_row_index("at").unique(KEY, keep="any")  # a key that stands twice counts as changed
    at = computed.select(KEY).join(first, on=KEY, how="left", maintain_order="left")["at"]
    there = at.is_not_null()
    mine, theirs = computed.filter(there), stored.select(pl.all().gather(at.drop_nulls()))
    differs = pl.Series([False]).new_from_index(0, len(mine))
    for name in names:
        differs = differs | mine[name].ne_missing(theirs[name])
    return ~there, int(differs.sum()) + len(stored) - len(mine)
