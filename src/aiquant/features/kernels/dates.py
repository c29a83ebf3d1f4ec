"""Cross-sections: compiled loops over dates.

``values`` (float64, cells), ``order`` (int64) names the cells date by date, within a date in the order of symbols, and
``bounds`` (int64, dates + 1) says where each date begins in it. A date's result depends on its own cells alone, and
its sums run in the order of symbols, so that one date at a time gives the bits of all at once. ``kind`` is a number of
:data:`KINDS`. Cells that ``order`` does not name, and those whose value is not finite, take no part and get NaN; an
aggregate (``CSMean`` …) is the same for all cells of its date.
"""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import FLAT, inner, kernel

KINDS = {
    name: number
    for number, name in enumerate(
        (
            "CSRank",
            "CSZScore",
            "CSDemean",
            "CSScale",
            "CSBucket",
            "CSWinsorize",
            "CSMean",
            "CSStd",
            "CSSum",
            "CSCount",
            "CSQuantile",
            "CSGroupRank",
            "CSGroupZScore",
            "CSGroupMean",
            "CSNeutralize",
        )
    )
}
"""Numbers by which the kernels know what is asked for."""

_RANK, _ZSCORE, _DEMEAN, _SCALE, _BUCKET, _WINSORIZE, _MEAN, _STD, _SUM, _COUNT, _QUANTILE = range(11)
_GROUP_RANK, _GROUP_ZSCORE, _GROUP_MEAN, _NEUTRALIZE = range(11, 15)


@inner
def _moments(x, n):  # type: ignore[no-untyped-def]
    """Mean and sample standard deviation; NaN for the deviation of fewer than two values or of equal ones."""
    total = 0.0
    for k in range(n):
        total += x[k]
    mean = total / n
    centred = raw = 0.0
    for k in range(n):
        centred += (x[k] - mean) * (x[k] - mean)
        raw += x[k] * x[k]
    if n < 2:
        return mean, np.nan
    # A spread below this share of the size is the rounding noise of equal values.
    deviation = math.sqrt(centred / (n - 1.0))
    return mean, deviation if deviation > FLAT * math.sqrt(raw / n) else np.nan


@inner
def _ranks(x, n, out):  # type: ignore[no-untyped-def]
    """Average ranks, 1 for the smallest."""
    by_size = np.argsort(x[:n])
    k = 0
    while k < n:
        last = k
        while last + 1 < n and x[by_size[last + 1]] == x[by_size[k]]:
            last += 1
        for tied in range(k, last + 1):
            out[by_size[tied]] = 0.5 * (k + last) + 1.0
        k = last + 1


@inner
def _quantile(ordered, q):  # type: ignore[no-untyped-def]
    """Quantile of ascending values, linear between them."""
    place = q * (ordered.size - 1)
    below = int(math.floor(place))
    share = place - below
    if share == 0.0:
        return ordered[below]
    return ordered[below] + share * (ordered[below + 1] - ordered[below])


@inner
def _each(kind, x, n, number, out):  # type: ignore[no-untyped-def]
    """A value for each of the ``n`` symbols that take part."""
    if kind == _RANK or kind == _GROUP_RANK or kind == _BUCKET:
        _ranks(x, n, out)
        for k in range(n):
            out[k] = math.ceil(out[k] * number / n) if kind == _BUCKET else out[k] / n
        return
    if kind == _SCALE:
        size = 0.0
        for k in range(n):
            size += abs(x[k])
        for k in range(n):
            out[k] = x[k] / size if size > 0.0 else np.nan
        return
    if kind == _WINSORIZE:
        ordered = np.sort(x[:n])
        low, high = _quantile(ordered, number), _quantile(ordered, 1.0 - number)
        for k in range(n):
            out[k] = min(max(x[k], low), high)
        return
    mean, deviation = _moments(x, n)
    for k in range(n):
        if kind == _ZSCORE or kind == _GROUP_ZSCORE:
            out[k] = (x[k] - mean) / deviation
        elif kind == _GROUP_MEAN:
            out[k] = mean
        else:
            out[k] = x[k] - mean


@inner
def _aggregate(kind, x, n, number):  # type: ignore[no-untyped-def]
    if kind == _COUNT:
        return float(n)
    if n == 0:
        return np.nan
    if kind == _QUANTILE:
        return _quantile(np.sort(x[:n]), number)
    if kind == _SUM:
        total = 0.0
        for k in range(n):
            total += x[k]
        return total
    mean, deviation = _moments(x, n)
    return mean if kind == _MEAN else deviation


@inner
def _widest(bounds):  # type: ignore[no-untyped-def]
    most = 0
    for d in range(bounds.size - 1):
        most = max(most, bounds[d + 1] - bounds[d])
    return most


@kernel("void(f8[::1], i8[::1], i8[::1], i8, f8, f8[::1])")
def over_dates(values, order, bounds, kind, number, out):  # type: ignore[no-untyped-def]
    """Operators of one series.

    Parameters
    ----------
    number
        Buckets, or the quantile; else unused.
    out
        float64, (cells,), filled with NaN.
    """
    most = _widest(bounds)
    x, y = np.empty(most), np.empty(most)
    cells = np.empty(most, dtype=np.int64)
    for d in range(bounds.size - 1):
        n = 0
        for at in range(bounds[d], bounds[d + 1]):
            if math.isfinite(values[order[at]]):
                x[n] = values[order[at]]
                cells[n] = order[at]
                n += 1
        if kind >= _MEAN:
            value = _aggregate(kind, x, n, number)
            for at in range(bounds[d], bounds[d + 1]):
                out[order[at]] = value
        elif n > 0:
            _each(kind, x, n, number, y)
            for k in range(n):
                out[cells[k]] = y[k]


@kernel("void(f8[::1], f8[::1], i8[::1], i8[::1], i8, f8[::1])")
def within_groups(values, groups, order, bounds, kind, out):  # type: ignore[no-untyped-def]
    """Operators within the groups of a date; a symbol whose group is NaN takes no part. Parameters as above."""
    most = _widest(bounds)
    x, y, group = np.empty(most), np.empty(most), np.empty(most)
    cells = np.empty(most, dtype=np.int64)
    for d in range(bounds.size - 1):
        n = 0
        for at in range(bounds[d], bounds[d + 1]):
            cell = order[at]
            if math.isfinite(values[cell]) and math.isfinite(groups[cell]):
                group[n] = groups[cell]
                cells[n] = cell
                n += 1
        by_group = np.argsort(group[:n], kind="mergesort")  # keeps the order of symbols within a group
        first = 0
        while first < n:
            last = first
            while last < n and group[by_group[last]] == group[by_group[first]]:
                x[last - first] = values[cells[by_group[last]]]
                last += 1
            _each(kind, x, last - first, 0.0, y)
            for k in range(first, last):
                out[cells[by_group[k]]] = y[k - first]
            first = last


@kernel("void(f8[::1], f8[::1], i8[::1], i8[::1], f8[::1])")
def residuals(values, others, order, bounds, out):  # type: ignore[no-untyped-def]
    """Residual of the least-squares line of ``values`` on ``others`` across each date, NaN where ``others`` are equal.

    Symbols with both take part, three or more of them. Parameters as above.
    """
    most = _widest(bounds)
    y, x = np.empty(most), np.empty(most)
    cells = np.empty(most, dtype=np.int64)
    for d in range(bounds.size - 1):
        n = 0
        for at in range(bounds[d], bounds[d + 1]):
            cell = order[at]
            if math.isfinite(values[cell]) and math.isfinite(others[cell]):
                y[n], x[n] = values[cell], others[cell]
                cells[n] = cell
                n += 1
        if n < 3:
            continue
        mean_y, _ = _moments(y, n)
        mean_x, deviation = _moments(x, n)
        shared = own = 0.0
        for k in range(n):
            shared += (x[k] - mean_x) * (y[k] - mean_y)
            own += (x[k] - mean_x) * (x[k] - mean_x)
        if math.isnan(deviation):
            continue
        for k in range(n):
            out[cells[k]] = y[k] - mean_y - shared / own * (x[k] - mean_x)
