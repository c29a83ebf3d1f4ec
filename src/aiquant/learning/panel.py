"""The panel: features known at t beside the return that follows, one row per symbol and decision time.

Rows are sorted by ``event_time`` and symbol, so that every stretch of time is one slice of the arrays. A row whose
label is not known yet stays: it cannot be trained on, but it can be forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning import matrix, targets
from aiquant.learning.matrix import Features
from aiquant.learning.targets import Target
from aiquant.schemas import TIME


@dataclass(frozen=True, eq=False)
class Panel:
    """What forecasters learn from; all arrays have one entry per row.

    Attributes
    ----------
    X
        ``float32``, shape (n, k), C order: the features; NaN where a feature is missing or not finite.
    features
        Names of the k columns of ``X``.
    y
        ``float32``, shape (n,): what is learnt, see :func:`aiquant.learning.targets.learnt`; NaN where it is not known.
    target
        Of what kind it is.
    horizon
        Bars held.
    forward_return
        ``float64``, shape (n,): the raw label, a fraction; NaN where it is not known.
    symbols
        ``int32``, shape (n,): position in ``symbol_names``.
    symbol_names
        In ascending order.
    dates
        ``datetime64[D]``, shape (n,): exchange-local dates.
    event_time
        ``datetime64[us]``, shape (n,), UTC: the time of the decision.
    label_start, label_end
        ``datetime64[us]``, shape (n,), UTC: the fills that open and close the position; NaT where there is no label.
    """

    X: NDArray[np.float32]
    features: tuple[str, ...]
    y: NDArray[np.float32]
    target: Target
    horizon: int
    forward_return: NDArray[np.float64]
    symbols: NDArray[np.int32]
    symbol_names: tuple[str, ...]
    dates: NDArray[np.datetime64]
    event_time: NDArray[np.datetime64]
    label_start: NDArray[np.datetime64]
    label_end: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Rows that can be trained on, shape (n,)."""
        return np.isfinite(self.y) & ~np.isnat(self.label_end)

    def learnt(self) -> pa.Table:
        """What each row is asked to forecast, where that is known: ``symbol``, ``event_time`` and ``learnt``."""
        rows = np.flatnonzero(self.labelled)
        names = pa.DictionaryArray.from_arrays(pa.array(self.symbols[rows]), pa.array(self.symbol_names, pa.string()))
        return pa.table(
            {
                "symbol": names.cast(pa.string()),
                "event_time": pa.array(self.event_time[rows], pa.timestamp("us")).cast(TIME),
                "learnt": pa.array(self.y[rows]),
            }
        )


def build(
    features: Features,
    labels: pa.Table,
    target: Target = "rank",
    universe: pa.Table | None = None,
    horizon: int | None = None,
    scaled: bool = False,
    on_disk: bool = False,
) -> Panel:
    """Join features and labels by symbol and decision time.

    Besides its inputs this needs the matrix ``X`` once, a few columns of it more, and the keys. Of features that come
    in portions one is held at a time, so that the whole of them is in memory once.

    Parameters
    ----------
    features
        Schema ``FEATURES`` and one numeric column per feature: a table, or portions of one.
    labels
        Schema ``LABELS``, of one horizon, and the conditions that the target needs.
    target, scaled
        What is learnt: see :func:`aiquant.learning.targets.learnt`.
    universe
        Schema ``UNIVERSE``, of one universe: rows of symbols that were not known to be members at the time are left
        out. Where the table holds several versions of a membership, the newest one known at the row's time counts.
    horizon
        Bars held; by default that of the labels. Needed where there may be no label, for forecasts alone.

    on_disk
        Whether ``X`` lies in a file beside the system's temporary ones (``TMPDIR``), from where it is read as it is
        needed; the file is gone with the panel.

    Raises
    ------
    DataError
        When there are no rows, no features, or neither a label nor a horizon, when a feature is not a number, or when a
        key stands twice.
    """
    rows = matrix.keys(features).with_row_index("row")
    rows = _members(rows, universe) if universe is not None else rows
    held = _horizon(labels, horizon)
    joined = _join(rows, labels)
    if joined.is_empty():
        raise DataError("no feature row is left to learn from", "check the dates of the bars and of the universe")
    X, names = matrix.fill(features, joined, on_disk)
    codes = joined["symbol"].rank("dense").cast(pl.Int32).to_numpy() - 1
    returns = joined["forward_return"].to_numpy()
    return Panel(
        X=X,
        features=names,
        y=targets.learnt(joined, target, held, scaled),
        target=target,
        horizon=held,
        forward_return=returns,
        symbols=codes.astype(np.int32),
        symbol_names=tuple(joined["symbol"].unique().sort().to_list()),
        dates=joined["date"].to_numpy().astype("datetime64[D]"),
        event_time=_moments(joined["event_time"]),
        label_start=_moments(joined["label_start"]),
        label_end=_moments(joined["label_end"]),
    )


def _members(rows: pl.DataFrame, universe: pa.Table) -> pl.DataFrame:
    """The rows of symbols that were members at the row's date, as far as was known at the row's time."""
    table = pl.DataFrame(pl.from_arrow(universe))
    told = table["universe"].unique().sort().to_list()
    if len(told) > 1:
        raise DataError(f"the table of members holds several universes: {', '.join(told)}", "give one of them")
    versions = (
        table.sort("known_from")
        .with_columns(
            # What is known first holds from the moment it could be known, a correction from when it was taken in.
            valid_from=pl.when(pl.col("known_from") == pl.col("known_from").min().over("symbol", "member_from"))
            .then(pl.min_horizontal("event_time", "known_from"))
            .otherwise("known_from"),
        )
        .with_columns(valid_to=pl.col("valid_from").shift(-1).over("symbol", "member_from", order_by="known_from"))
        .select("symbol", "member_from", "member_to", "valid_from", "valid_to")
    )
    inside = (
        rows.lazy()
        .join(versions.lazy(), on="symbol")
        .filter(
            pl.col("date") >= pl.col("member_from"),
            pl.col("member_to").is_null() | (pl.col("date") <= pl.col("member_to")),
            pl.col("event_time") >= pl.col("valid_from"),
            pl.col("valid_to").is_null() | (pl.col("event_time") < pl.col("valid_to")),
        )
        .select("row")
        .unique()
        .collect()
    )
    return rows.join(inside, on="row", how="semi")


def _horizon(labels: pa.Table, asked: int | None) -> int:
    found = sorted(labels["horizon"].unique().to_pylist())
    if not found and asked is None:
        raise DataError(
            "no label is known: the history is shorter than the label's window",
            "give more history, or set labels.horizon to fewer bars",
        )
    if len({*found, *([asked] if asked else [])}) > 1:
        asked_for = f" where {asked} was asked for" if asked else ""
        raise DataError(f"labels of horizon {', '.join(map(str, found))}{asked_for}", "give labels of one horizon")
    return int(found[0] if found else asked or 0)


def _join(rows: pl.DataFrame, labels: pa.Table) -> pl.DataFrame:
    columns = ["symbol", "event_time", "label_start", "label_end", "forward_return"]
    columns += [name for name in targets.CONDITIONS if name in labels.column_names]
    known = pl.DataFrame(pl.from_arrow(labels.select(columns)))
    joined = rows.join(known, on=["symbol", "event_time"], how="left").sort("event_time", "symbol")
    keys = [pl.col("event_time"), pl.col("symbol")]  # sorted by them: a key that stands twice follows itself
    twice = joined.select(pl.all_horizontal(key == key.shift() for key in keys).fill_null(False)).to_series()
    if twice.any():
        first = joined.filter(twice).row(0, named=True)
        raise DataError(f"features or labels hold {first['symbol']} at {first['event_time']} more than once")
    return joined


def _moments(column: pl.Series) -> NDArray[np.datetime64]:
    return column.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
