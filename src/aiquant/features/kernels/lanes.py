"""Steps that a processor takes for several values at once, written as such: what a compiler makes of the plain loop is
five times slower where windows are short."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LANES = 8
"""Values that are moved at once; a compiler divides them for processors that take fewer."""

_VALUES = ir.VectorType(ir.DoubleType(), LANES)
_INT64 = ir.IntType(64)


def _spread(builder: Any, value: Any) -> Any:
    """A vector that holds the value in every lane."""
    unknown = ir.Constant(_VALUES, ir.Undefined)
    first = builder.insert_element(unknown, value, _INT64(0))
    return builder.shuffle_vector(first, unknown, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _slide(_: Any, held: Any, moved: Any, at: Any, gone: Any, come: Any) -> Any:
    """The type of :data:`slide`, and what writes its instructions."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (
            context.make_array(kind)(context, builder, array).data
            for kind, array in zip(signature.args[:2], args[:2], strict=True)
        )

        def lanes(data: Any, ahead: int) -> Any:
            place = builder.gep(data, [builder.add(args[2], _INT64(ahead))])
            return builder.bitcast(place, _VALUES.as_pointer())

        def below(sign: str, a: Any, b: Any) -> Any:
            return builder.fcmp_ordered(sign, a, b)

        def count(found: Any) -> Any:
            return builder.zext(builder.ctpop(builder.bitcast(found, ir.IntType(LANES))), _INT64)

        leaving, coming = _spread(builder, args[3]), _spread(builder, args[4])
        low, middle, high = (builder.load(lanes(source, ahead), align=8) for ahead in range(3))
        # Without the value that leaves, what stands here and one place before …
        here = builder.select(below("<", middle, leaving), middle, high)
        before = builder.select(below("<", low, leaving), low, middle)
        # … and with the one that comes: it stands where it lies above all before it and not above what was here.
        raised = builder.select(below(">", before, coming), before, coming)
        filled = builder.select(below("<", here, raised), here, raised)
        builder.store(filled, lanes(target, 1), align=8)
        return builder.add(count(below("<", filled, coming)), count(below("<=", filled, coming)))

    return types.int64(held, moved, types.int64, types.float64, types.float64), generate


slide: Any = intrinsic(_slide)
""":data:`LANES` places of a sorted window that moves on by one slot.

``slide(held, moved, at, gone, come)`` fills ``moved[at + 1 : at + 1 + LANES]``.

Parameters
----------
held, moved
    float64, one-dimensional: the window before and after. Each begins with −inf and ends, behind its values, with +inf.
at
    The place before the ones that are filled.
gone, come
    The value that leaves, one of those held, and the one that comes; +inf for none.

Returns
-------
int64
    How many of the values filled lie below ``come``, and how many do not lie above it, added up.
"""
