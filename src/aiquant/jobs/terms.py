"""The terms of single symbols and the exchange rates that a command names files of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from aiquant import schemas

Terms = dict[str, pa.Table]
"""Tables by the arguments of :func:`aiquant.backtest.engine.run`: ``instruments``, ``fx``; what is not given is not in
it."""


def read(instruments: Path | None, fx: Path | None) -> Terms:
    """Read the files that are named.

    Raises
    ------
    MissingError
        When there is no such file.
    DataError
        When a row is wrong; the message names file and row.
    """
    from aiquant.sources import files

    found: Terms = {}
    if instruments is not None:
        found["instruments"] = files.read_instruments(instruments)
    if fx is not None:
        found["fx"] = files.read_rates(fx)
    return found


def digests(terms: Mapping[str, pa.Table]) -> dict[str, str]:
    """What makes an account another one: the digest of each table, whatever the order of its rows."""
    from aiquant.lake.digests import digest

    keys = {"instruments": schemas.INSTRUMENTS.key, "fx": schemas.FX_RATES.key}
    return {name: digest(table.sort_by([(k, "ascending") for k in keys[name]])) for name, table in terms.items()}
