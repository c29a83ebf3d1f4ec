"""Element-wise operators and the writing of results: a small program that is run on a block of cells at a time.

What lies between bars and features so stays in the processor's cache, and a graph costs no call a node. Every operator
here rounds as IEEE 754 says, so a value does not depend on how the cells are divided into blocks.
"""

from __future__ import annotations

import numpy as np

from aiquant.features.kernels.tables import inner, kernel

BLOCK = 1024
"""Cells that are computed at a time: with some ten operands they fit the innermost cache."""

CODES = {name: code for code, name in enumerate(("Add", "Sub", "Mul", "Div", "Over", "Guarded", "Write"))}
CODES |= {name: 10 + code for code, name in enumerate(("Greater", "Less", "Abs", "Neg", "Sign", "If"))}
CODES |= {name: 16 + code for code, name in enumerate(("IfKnown", "Copy", "Single"))}
CODES |= {name: 20 + code for code, name in enumerate(("Gt", "Ge", "Lt", "Le", "Eq", "Ne", "And", "Or", "Not"))}
"""Numbers of the instructions. Besides operators: ``Copy``; ``IfKnown``, NaN where the condition is; ``Over``, a
division that is NaN where b is 0; ``Guarded``, one by b = c + tiny (:func:`aiquant.features.elementwise.divide`);
``Single``, the value rounded to float32; ``Write``, a row of the result."""

ADD, SUB, MUL, DIV, OVER, GUARDED, WRITE = range(7)
GREATER, LESS, ABS, NEG, SIGN, IF, IF_KNOWN, COPY, SINGLE = range(10, 19)
GT, GE, LT, LE, EQ, NE, AND, OR, NOT = range(20, 29)

ROUNDED, KNOWN = 1, 2
"""Flags of an instruction: the result is rounded to float32; it is NaN where ``a`` or ``b`` is."""


@inner
def _arithmetic(op, y, a, b, c):  # type: ignore[no-untyped-def]
    if op == ADD:
        for j in range(y.size):
            y[j] = a[j] + b[j]
    elif op == SUB:
        for j in range(y.size):
            y[j] = a[j] - b[j]
    elif op == MUL:
        for j in range(y.size):
            y[j] = a[j] * b[j]
    elif op == DIV:
        for j in range(y.size):
            y[j] = a[j] / b[j]
    elif op == OVER:
        for j in range(y.size):
            y[j] = np.nan if b[j] == 0.0 else a[j] / b[j]
    elif op == GUARDED:
        for j in range(y.size):
            y[j] = np.nan if (c[j] == 0.0) & (a[j] != 0.0) else a[j] / b[j]


@inner
def _choice(op, y, a, b, c):  # type: ignore[no-untyped-def]
    if op == COPY:
        for j in range(y.size):
            y[j] = a[j]
    elif op == GREATER:
        for j in range(y.size):
            y[j] = a[j] if a[j] > b[j] else (b[j] if b[j] >= a[j] else np.nan)
    elif op == LESS:
        for j in range(y.size):
            y[j] = a[j] if a[j] < b[j] else (b[j] if b[j] <= a[j] else np.nan)
    elif op == ABS:
        for j in range(y.size):
            y[j] = abs(a[j])
    elif op == NEG:
        for j in range(y.size):
            y[j] = -a[j]
    elif op == SIGN:
        for j in range(y.size):
            y[j] = 1.0 if a[j] > 0.0 else (-1.0 if a[j] < 0.0 else (0.0 if a[j] == 0.0 else np.nan))
    elif op == IF:
        for j in range(y.size):
            y[j] = b[j] if a[j] != 0.0 else c[j]
    elif op == IF_KNOWN:
        for j in range(y.size):
            y[j] = np.nan if a[j] != a[j] else (b[j] if a[j] != 0.0 else c[j])
    elif op == SINGLE:
        for j in range(y.size):
            y[j] = np.float32(a[j])


@inner
def _truth(op, y, a, b):  # type: ignore[no-untyped-def]
    if op == GT:
        for j in range(y.size):
            y[j] = 1.0 if a[j] > b[j] else 0.0
    elif op == GE:
        for j in range(y.size):
            y[j] = 1.0 if a[j] >= b[j] else 0.0
    elif op == LT:
        for j in range(y.size):
            y[j] = 1.0 if a[j] < b[j] else 0.0
    elif op == LE:
        for j in range(y.size):
            y[j] = 1.0 if a[j] <= b[j] else 0.0
    elif op == EQ:
        for j in range(y.size):
            y[j] = 1.0 if a[j] == b[j] else 0.0
    elif op == NE:
        for j in range(y.size):
            y[j] = 1.0 if a[j] != b[j] else 0.0
    elif op == AND:
        for j in range(y.size):
            y[j] = 1.0 if (a[j] != 0.0) & (b[j] != 0.0) else 0.0
    elif op == OR:
        for j in range(y.size):
            y[j] = 1.0 if (a[j] != 0.0) | (b[j] != 0.0) else 0.0
    elif op == NOT:
        for j in range(y.size):
            y[j] = 1.0 if a[j] == 0.0 else 0.0


@inner
def _flagged(flags, y, a, b):  # type: ignore[no-untyped-def]
    if flags & ROUNDED:
        for j in range(y.size):
            y[j] = np.float32(y[j])
    if flags & KNOWN:
        for j in range(y.size):
            y[j] = np.nan if (a[j] != a[j]) | (b[j] != b[j]) else y[j]


@inner
def _write(row, value, begin, old, k, edges, cells, finite):  # type: ignore[no-untyped-def]
    """The cells of the block that are rows of the result; those before the cell ``old`` have no value yet."""
    nothing = np.float32(np.nan)
    end = begin + value.size
    largest = np.float32(np.finfo(np.float32).max) if finite else np.float32(np.inf)
    while k < cells.size and cells[k] < end:
        first, last = max(cells[k], begin), min(cells[k] + edges[k + 1] - edges[k], end)
        source = value[first - begin : last - begin]
        at = edges[k] + first - cells[k]
        target = row[at : at + last - first]
        for j in range(source.size):
            v = np.float32(source[j])
            target[j] = v if abs(v) <= largest else nothing
        for j in range(min(old - first, source.size)):
            target[j] = nothing
        k += 1


@kernel("void(i8[:, ::1], f8[:, ::1], f8[:, ::1], i8[::1], i8[::1], i8, i8[::1], i8[::1], b1, f4[:, ::1], i8)")
def run_program(  # type: ignore[no-untyped-def]
    code, constants, rows, starts, ages, skip, edges, cells, finite, out, at
):
    """Run a program on all cells.

    Parameters
    ----------
    code
        int64, (instructions, 6): a code, the row it fills, its operands a, b and c, flags. An operand below 0 is the
        constant −1 − operand. ``Write`` fills a row of ``out``; its b is the look-back, 0 where partial windows count.
    constants
        float64, (constants, :data:`BLOCK`): each repeated.
    rows
        float64, (values, cells).
    starts, skip
        As in :func:`aiquant.features.kernels.sums.rolling_sums`.
    ages
        int64, (symbols,): slots of each symbol's history before its first cell.
    edges, cells
        int64, (runs + 1,) and (runs,): rows of ``out`` between which the cells stand without a gap, and the first cell
        of each such run.
    finite
        Whether to write NaN for what no float32 can hold.
    out
        float32, (results, rows of all).
    at
        Place in ``out`` of the first row.
    """
    k = 0
    for s in range(starts.size - 1):
        for begin in range(starts[s] + skip, starts[s + 1], BLOCK):
            end = min(begin + BLOCK, starts[s + 1])
            n = end - begin
            while k < cells.size and cells[k] + edges[k + 1] - edges[k] <= begin:
                k += 1
            for i in range(code.shape[0]):
                op, flags = code[i, 0], code[i, 5]
                a = rows[code[i, 2], begin:end] if code[i, 2] >= 0 else constants[-1 - code[i, 2], :n]
                if op == WRITE:
                    old = starts[s] - ages[s] + code[i, 3]
                    _write(out[code[i, 1], at:], a, begin, old, k, edges, cells, finite)
                    continue
                b = rows[code[i, 3], begin:end] if code[i, 3] >= 0 else constants[-1 - code[i, 3], :n]
                c = rows[code[i, 4], begin:end] if code[i, 4] >= 0 else constants[-1 - code[i, 4], :n]
                y = rows[code[i, 1], begin:end]
                if op < GREATER:
                    _arithmetic(op, y, a, b, c)
                elif op < GT:
                    _choice(op, y, a, b, c)
                else:
                    _truth(op, y, a, b)
                if flags:
                    _flagged(flags, y, a, b)
