"""Protected text is encrypted anew under the active key: what was plain, and what lies under an older one.

One partition is one commit, so that it may be stopped at any moment and called again. Files of older versions keep the
text as it was: the old key can be thrown away, and plain text is gone, once ``aiquant lake vacuum`` has deleted them.
"""

from __future__ import annotations

from dataclasses import dataclass

from deltalake import DeltaTable

from aiquant.errors import SettingsError
from aiquant.lake import catalogue, delta, faults, partitions, reading, rivals, sealing
from aiquant.lake.store import Lake
from aiquant.schemas import Table


@dataclass(frozen=True)
class Rotated:
    """What was encrypted anew: rows of partitions that were rewritten."""

    table: str
    partitions: int
    rows: int
    version: int


def rotate(lake: Lake, table: str, why: str | None = None) -> Rotated:
    """Bring a table's protected text under the active key; a second call does nothing.

    Raises
    ------
    SettingsError
        When there is no active key.
    Sealed
        When text lies under a key that is not here.
    Unreachable
        When the disk refuses, or rivals commit without pause.
    """
    if lake.vault.active is None:
        raise SettingsError(
            "there is no active key", "set AIQUANT_PRIVACY__ACTIVE_KEY to the id of one of privacy.keys"
        )
    spec, place = catalogue.resolve(table), lake.place(table)
    done = rows = 0
    with faults.told(spec.name, place):
        handle = lake.demand(spec)
        columns = handle.metadata().partition_columns
        for piece in partitions.pieces(partitions.of_files(handle), columns, most_rows=1):
            if written := _rewrite(lake, spec, piece):
                done, rows = done + 1, rows + written
        version = lake.demand(spec).version()
    if rows:
        lake.accessed("rotate-key", spec.name, sealing.protected(spec.name), rows, why)
    return Rotated(spec.name, done, rows, version)


def _rewrite(lake: Lake, spec: Table, piece: partitions.Piece) -> int:
    """Rows of the partition, if any of them has to be encrypted anew."""
    predicate = " AND ".join(f"{delta.quoted(n)} = '{v}'" for n, v in _named(piece)) or None

    def tried() -> int:
        handle = lake.demand(spec)
        if not _is_due(handle, lake, spec, piece):
            return 0
        rows = delta.scan(handle).filter(piece.condition()).collect(engine="streaming")
        delta.overwrite(handle, reading.to_arrow(rows, spec), predicate)
        return len(rows)

    return rivals.retried(lake.commit_retries, spec.name, lake.place(spec), tried)


def _named(piece: partitions.Piece) -> list[tuple[str, object]]:
    last = [(piece.last, piece.values[0])] if piece.last is not None else []
    return [*piece.fixed, *last]


def _is_due(handle: DeltaTable, lake: Lake, spec: Table, piece: partitions.Piece) -> bool:
    columns = [name for name in sealing.protected(spec.name) if lake.vault.seals(spec.name, name)]
    stored = delta.stored(handle).filter(piece.condition()).select(columns).collect(engine="streaming")
    return any((sealing.key_ids(stored[name].drop_nulls()).ne_missing(lake.vault.active)).any() for name in columns)
