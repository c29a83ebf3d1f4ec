"""One row of features as one value: a header, and a block of float32.

======  ====  ==========================================================================================
offset  size  content
======  ====  ==========================================================================================
0       3     ``AQF``
3       1     layout, 1
4       4     CRC-32 of all that follows
8       8     ``event_time``: microseconds since 1970 plus 2⁶³, big-endian, so that bytes sort as times do
16      8     ``known_from``, the same
24      8     version of the feature set
32      4     CRC-32 of the names of the features, joined by line feeds
36      4     number of features, little-endian
40      4 n   values, float32, little-endian
======  ====  ==========================================================================================
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.features.catalogue import FeatureSet

MAGIC, LAYOUT = b"AQF", 1
CHECKED_FROM, HEADER = 8, 40
_BIAS = np.uint64(1 << 63)


@dataclass(frozen=True)
class View:
    """What is kept of each symbol: the features of one version of one set.

    Attributes
    ----------
    name
        Name of the feature set.
    version
        Its version; values of another version are other values, and are kept apart.
    features
        Names, in the order in which they are packed.
    """

    name: str
    version: str
    features: tuple[str, ...]

    @classmethod
    def of(cls, feature_set: FeatureSet) -> View:
        """The view of a set of the catalogue."""
        return cls(feature_set.name, feature_set.version, tuple(f.name for f in feature_set.features))

    @cached_property
    def stamp(self) -> bytes:
        """The version as 8 bytes: 16 hex digits as they are, of anything else a digest."""
        if re.fullmatch("[0-9a-f]{16}", self.version):
            return bytes.fromhex(self.version)
        return hashlib.sha256(self.version.encode()).digest()[:8]

    @cached_property
    def names_digest(self) -> int:
        """CRC-32 of the names in their order."""
        return zlib.crc32("\n".join(self.features).encode())

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each feature stands in a packed row."""
        return {name: at for at, name in enumerate(self.features)}

    @cached_property
    def record(self) -> np.dtype[Any]:
        """A packed row as numpy sees it."""
        fields = [
            ("magic", "S3"),
            ("layout", "u1"),
            ("crc", "<u4"),
            ("event_time", ">u8"),
            ("known_from", ">u8"),
            ("stamp", "V8"),
            ("names", "<u4"),
            ("count", "<u4"),
            ("values", "<f4", (len(self.features),)),
        ]
        return np.dtype(fields)


@dataclass(frozen=True)
class Packed:
    """Rows ready to be stored, one a symbol.

    Attributes
    ----------
    symbols
        Length n.
    event_times, known_from
        int64, shape (n,): microseconds since 1970.
    values
        The packed rows.
    """

    symbols: list[str]
    event_times: NDArray[np.int64]
    known_from: NDArray[np.int64]
    values: list[bytes]


def pack(view: View, rows: pa.Table) -> Packed:
    """The newest row of each symbol, packed; of equal ``event_time`` the one that was known last counts.

    Parameters
    ----------
    rows
        In the schema FEATURES, with all features of the view as float32 or as numbers that are cast to it.

    Raises
    ------
    DataError
        When a feature is not there, or rows do not conform to the schema.
    """
    missing = [name for name in view.features if name not in rows.column_names]
    if missing:
        raise DataError(
            f"rows for the online store lack {missing[0]} of feature set {view.name} (version {view.version})"
            + (f", and {len(missing) - 1} more" if len(missing) > 1 else ""),
            "build the features anew with: aiquant features build",
        )
    kept = [*schemas.FEATURES.schema.names, *view.features]
    conformed = schemas.conform(rows.select(kept), schemas.FEATURES)
    frame = pl.DataFrame(conformed).sort("symbol", "event_time", "known_from", maintain_order=True)
    frame = frame.unique("symbol", keep="last", maintain_order=True)
    out = np.zeros(frame.height, view.record)
    out["magic"], out["layout"] = MAGIC, LAYOUT
    event_times, known_from = (frame[n].dt.epoch("us").to_numpy() for n in ("event_time", "known_from"))
    out["event_time"], out["known_from"] = _biased(event_times), _biased(known_from)
    out["stamp"] = np.void(view.stamp)
    out["names"], out["count"] = view.names_digest, len(view.features)
    for at, name in enumerate(view.features):
        out["values"][:, at] = frame[name].cast(pl.Float32).fill_null(np.nan).to_numpy()
    size, plain = view.record.itemsize, out.tobytes()
    starts = range(0, len(plain), size)
    out["crc"] = [zlib.crc32(plain[start + CHECKED_FROM : start + size]) for start in starts]
    whole = out.tobytes()
    values = [whole[start : start + size] for start in starts]
    return Packed(frame["symbol"].to_list(), event_times, known_from, values)


def unpack(view: View, symbols: Sequence[str], values: Sequence[bytes | None], names: Sequence[str]) -> pa.Table:
    """Packed rows as columns, in the order given; a symbol without a value has nulls.

    Returns
    -------
    pyarrow.Table
        ``symbol``, ``event_time``, ``known_from`` (UTC, microseconds) and ``names`` as float32.

    Raises
    ------
    DataError
        When a value is not what :func:`pack` made for this view; names the symbol.
    """
    found = np.array([value is not None for value in values], bool)
    size = view.record.itemsize
    for symbol, value in zip(symbols, values, strict=True):
        if value is not None and (len(value) != size or zlib.crc32(value[CHECKED_FROM:]) != _crc(value)):
            raise _bad(view, symbol, value)
    records = np.frombuffer(b"".join(value for value in values if value is not None), view.record)
    good = (records["magic"] == MAGIC) & (records["layout"] == LAYOUT) & (records["names"] == view.names_digest)
    good &= records["stamp"] == np.void(view.stamp)
    if not good.all():
        at = np.flatnonzero(found)[int(np.argmin(good))]
        raise _bad(view, symbols[at], values[at] or b"")
    place = np.where(found, np.cumsum(found) - 1, 0)
    columns: list[pa.Array] = [pa.array(list(symbols), pa.string())]
    for name in ("event_time", "known_from"):
        moments = _spread((records[name].astype(np.uint64) ^ _BIAS).view(np.int64), place, found)
        columns.append(pa.array(moments, pa.int64(), mask=~found).cast(schemas.TIME))
    chosen = [view.places[name] for name in names]
    columns += _columns(np.ascontiguousarray(_spread(records["values"], place, found)[:, chosen].T, np.float32), found)
    fields = [schemas.FEATURES.schema.field("symbol")]
    fields += [pa.field(n, schemas.TIME) for n in ("event_time", "known_from")]
    fields += [pa.field(name, pa.float32()) for name in names]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _columns(block: NDArray[np.float32], found: NDArray[np.bool_]) -> list[pa.Array]:
    """Each row of a block as a column; they share one mask, and nothing is copied."""
    valid = None if found.all() else pa.array(found).buffers()[1]
    values, size = pa.py_buffer(block), 4 * len(found)
    return [
        pa.Array.from_buffers(pa.float32(), len(found), [valid, values.slice(at * size, size)])
        for at in range(len(block))
    ]


def _biased(moments: NDArray[np.int64]) -> NDArray[np.uint64]:
    flipped: NDArray[np.uint64] = moments.astype(np.int64).view(np.uint64) ^ _BIAS
    return flipped


def _crc(value: bytes) -> int:
    return int.from_bytes(value[4:8], "little")


def _spread(rows: NDArray[Any], place: NDArray[np.intp], found: NDArray[np.bool_]) -> NDArray[Any]:
    """Rows at the places of those that were asked for; what stands in the other places is masked."""
    if len(rows):
        return rows[place] if not found.all() else rows
    return np.zeros((len(found), *rows.shape[1:]), rows.dtype)


def _bad(view: View, symbol: str, value: bytes) -> DataError:
    """Why a value cannot be read."""
    if value[:3] != MAGIC:
        why = "not written by aiquant"
    elif value[3:4] != bytes([LAYOUT]):
        why = f"in layout {value[3] if len(value) > 3 else '?'}, this version of aiquant reads layout {LAYOUT}"
    elif len(value) < HEADER or zlib.crc32(value[CHECKED_FROM:]) != _crc(value):
        why = "damaged: its checksum does not fit"
    elif value[24:32] != view.stamp:
        why = f"of version {value[24:32].hex()} of the set, not {view.version}"
    else:
        why = "of other features, or of the same in another order"
    return DataError(
        f"the online value of {symbol} in set {view.name} is {why}",
        "write it anew with: aiquant features materialize --anew",
    )
