"""Compiled: where in a table of versioned rows the row stands that was known at a moment.

Rows are in the order of (group, event time, known from), so that of two rows of a group the later one is the one to
take, as soon as it is known. A row is *available* from the later of its two times on.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

_I8, _U4, _B1 = (kind[::1] for kind in (types.int64, types.uint32, types.boolean))
_GROUPS = types.Array(types.int32, 1, "C", readonly=True)
_MOMENTS = types.Array(types.int64, 1, "C", readonly=True)


@njit(types.boolean(_GROUPS, _MOMENTS, _MOMENTS), nogil=True, cache=True)
def ordered(group, event, known):  # type: ignore[no-untyped-def]
    """Whether rows are in the order of (group, event, known); groups are numbers that rise."""
    for j in range(1, group.size):
        if group[j] != group[j - 1]:
            if group[j] < group[j - 1]:
                return False
        elif event[j] < event[j - 1] or (event[j] == event[j - 1] and known[j] < known[j - 1]):
            return False
    return True


@njit(types.int64(_I8, _MOMENTS, _MOMENTS, _I8, _U4, _I8), nogil=True, cache=True)
def availability(starts, event, known, available, place, kept):  # type: ignore[no-untyped-def]
    """For each group the moments at which the row to take changes, ascending, and which row it then is.

    A row that becomes available after a later row of its group never counts: the late correction of an old event.

    Parameters
    ----------
    starts
        int64, groups + 1: where each group begins, the last entry where the last one ends.
    event, known
        int64, rows.
    available, place
        int64 and uint32, rows: filled with the moments and the rows.
    kept
        int64, groups + 1: filled with where each group begins in these.

    Returns
    -------
    int
        How many moments there are.
    """
    end = 0
    for g in range(starts.size - 1):
        kept[g] = end
        first, n, straight = end, starts[g + 1] - starts[g], True
        for j in range(starts[g], starts[g + 1]):
            moment = max(event[j], known[j])
            straight = straight and (end == first or moment >= available[end - 1])
            available[end] = moment
            place[end] = j
            end += 1
        if not straight:
            moments = available[first:end].copy()
            order = np.argsort(moments, kind="mergesort")
            newest, end = -1, first
            for k in range(n):
                if order[k] > newest:
                    newest = order[k]
                    available[end] = moments[newest]
                    place[end] = starts[g] + newest
                    end += 1
    kept[starts.size - 1] = end
    return end


@njit(types.void(_GROUPS, _MOMENTS, _I8, _I8, _U4, _MOMENTS, types.int64, _U4, _B1), nogil=True, cache=True)
def locate(group, moment, kept, available, place, event, ttl, out, missing):  # type: ignore[no-untyped-def]
    """The row that counts at each moment.

    Parameters
    ----------
    group
        int32, one per moment: its group; -1 where it has none.
    moment
        int64.
    kept, available, place
        What :func:`availability` filled.
    event
        int64, rows: a row does not count where it lies more than ``ttl`` before the moment.
    ttl
        Below 0: without limit.
    out, missing
        uint32 and bool, one per moment: the row, and whether there is none.

    Notes
    -----
    The search begins where the last one of the group ended: entity rows mostly come in an order of time.
    """
    last = kept[:-1].copy()
    for i in range(moment.size):
        g, t = group[i], moment[i]
        missing[i] = True
        if g < 0:
            continue
        low, high = kept[g], kept[g + 1]
        at = last[g]  # rows before ``at`` were available at the last moment asked for
        if at > low and available[at - 1] > t:
            high = at
        else:
            low, step = at, 1
            while low + step <= high and available[low + step - 1] <= t:
                low += step
                step *= 2
            high = min(high, low + step)
        while low < high:
            middle = (low + high) // 2
            if available[middle] <= t:
                low = middle + 1
            else:
                high = middle
        last[g] = low
        if low > kept[g]:
            row = place[low - 1]
            if ttl < 0 or t - event[row] <= ttl:
                out[i] = row
                missing[i] = False
