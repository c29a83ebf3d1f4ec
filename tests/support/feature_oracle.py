"""What every operator means, in plain Python and exact fractions, written from the definitions alone; slow.

One node at a time: given the values of its arguments in all cells, the value in each cell, with what rounding may do to
it. A whole expression is right when each of its nodes is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from aiquant.features.expressions import Expression
from aiquant.features.operators import decay_length, newest_weight

NAN = math.nan
FLAT, QLIB_FLAT, TINY = 1e-10, 2e-5, 1e-9
HUGE, MINUTE = 1e60, 1e-60
"""Numbers beyond these leave float64 when they are multiplied a few times; nothing is said of them."""


@dataclass(frozen=True)
class Told:
    """A value, how far rounding may carry it, and whether it stands so near to a threshold that it may be NaN."""

    value: float
    slack: float = 0.0
    maybe: bool = False

    def allows(self, got: float) -> bool:
        """Whether a computed value may stand for this one."""
        if math.isnan(got) and (math.isnan(self.value) or self.maybe):
            return True
        if math.isinf(self.value) or math.isinf(got):
            return got == self.value or self.slack == math.inf
        return abs(got - self.value) <= self.slack


NOTHING = Told(NAN)
ANYTHING = Told(0.0, math.inf, True)


@dataclass(frozen=True)
class Place:
    """Where cells stand: ``starts`` of the symbols, ``slot`` of each cell, the ``first`` slot of each session."""

    starts: Sequence[int]
    slot: Sequence[int]
    first: Sequence[int]
    there: Sequence[bool]

    def session(self, cell: int) -> int:
        """Session of a cell."""
        return int(np.searchsorted(self.first, self.slot[cell], side="right")) - 1

    def head(self, cell: int) -> int:
        """First cell of the cell's symbol."""
        return max(s for s in self.starts[:-1] if s <= cell)


def expected(
    node: Expression, values: dict[str, Sequence[float]], place: Place, partial: bool, compat: bool
) -> list[Told]:
    """What a node's value may be in each cell; ``values`` of all nodes by digest."""
    args = [values[arg.digest] for arg in node.args]
    cells = range(len(place.slot))
    assert node.operator is not None
    family = node.operator.family
    if any(HUGE < abs(v) < math.inf or 0 < abs(v) < MINUTE for arg in args for v in arg):
        return [ANYTHING] * len(cells)
    if family == "elementwise":
        return _elementwise(node, values, cells, compat)
    if family == "shift":
        return [_shifted(node, args[0], place, j, compat) for j in cells]
    if family == "session":
        return [_of_session(node, args, place, j) for j in cells]
    if family == "cross":
        return _of_dates(node, args, place)
    span = decay_length(node.numbers[0]) if node.operator.numbers[0] == "span" else int(node.numbers[0])
    least = 1 if partial else (span + 1) // 2
    told = []
    for j in cells:
        begin = max(place.head(j), j + 1 - span)
        told.append(_of_window(node, [arg[begin : j + 1] for arg in args], least, compat))
    return told


# --- cell by cell


def _kind(node: Expression) -> str:
    """Under ``compat``: "single" for float32 columns, "number" for constants, "double" for the rest."""
    kinds: dict[str, str] = {}
    stack = [node]
    while stack:
        top = stack[-1]
        missing = [a for a in top.args if a.digest not in kinds]
        if missing:
            stack += missing
            continue
        stack.pop()
        below = [kinds[a.digest] for a in (top.args[1:] if top.op == "If" else top.args)]
        if top.op in ("field", "constant"):
            kind = "single" if top.op == "field" else "number"
        elif top.op in TRUTH or top.op == "Sign":
            kind = "single"
        elif top.op in ("Ref", "Delta"):
            kind = "single" if below[0] == "single" else "double"
        elif top.operator is not None and top.operator.family == "elementwise":
            kind = "single" if "single" in below and "double" not in below else "double"
        else:
            kind = "double"
        kinds[top.digest] = kind
    return kinds[node.digest]


TRUTH: dict[str, Callable[[float, float], bool]] = {
    "Gt": lambda a, b: a > b,
    "Ge": lambda a, b: a >= b,
    "Lt": lambda a, b: a < b,
    "Le": lambda a, b: a <= b,
    "Eq": lambda a, b: a == b,
    "Ne": lambda a, b: a != b,
    "And": lambda a, b: a != 0 and b != 0,
    "Or": lambda a, b: a != 0 or b != 0,
    "Not": lambda a, b: a == 0,
}


def _elementwise(node: Expression, values: dict[str, Sequence[float]], cells: range, compat: bool) -> list[Told]:
    args = [list(values[a.digest]) for a in node.args]
    single = compat and _kind(node) == "single"
    if compat and (single or node.op in TRUTH):
        data = node.args[1:] if node.op == "If" else node.args
        if "double" not in [_kind(a) for a in data] and any(_kind(a) == "single" for a in data):
            args = [[float(np.float32(v)) for v in arg] for arg in args]
    base = None if compat else _guarded(node)
    told = []
    for j in cells:
        a, *more = (arg[j] for arg in args)
        if node.op == "Div" and not compat:
            told.append(_quotient(a, more[0], None if base is None else values[base.digest][j]))
            continue
        value = _cell(node.op, a, *more, compat=compat)
        value = float(np.float32(value)) if single else value
        loose = (4e-7 if single else 1e-12) if node.op in ("Log", "Power") else 0.0
        told.append(Told(value, loose * max(1.0 if node.op == "Log" else 0.0, abs(value)) if loose else 0.0))
    return told


def _guarded(node: Expression) -> Expression | None:
    """The b of a / (b + tiny)."""
    if node.op != "Div" or node.args[1].op != "Add":
        return None
    left, right = node.args[1].args
    for tiny, base in ((right, left), (left, right)):
        if tiny.op == "constant" and 0 < tiny.numbers[0] <= TINY and base.op != "constant":
            return base
    return None


def _quotient(a: float, b: float, base: float | None) -> Told:
    if b == 0 if base is None else base == 0 and a != 0:
        return NOTHING
    return Told(_divided(a, b))


def _divided(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


def _power(a: float, b: float, compat: bool) -> float:
    try:
        value = a**b
    except ZeroDivisionError:
        return (-math.inf if math.copysign(1, a) < 0 and b % 2 == 1 else math.inf) if compat else NAN
    except OverflowError:
        return (-math.inf if a < 0 and b % 2 == 1 else math.inf) if compat else NAN
    return NAN if isinstance(value, complex) else value


def _cell(op: str, a: float, b: float = 0.0, c: float = 0.0, *, compat: bool) -> float:
    if op in TRUTH:
        unknown = math.isnan(a) or (op != "Not" and math.isnan(b))
        return NAN if unknown and not compat else float(TRUTH[op](a, b))
    if op == "If":
        return NAN if math.isnan(a) and not compat else b if a != 0 else c
    if op in ("Greater", "Less"):
        return NAN if math.isnan(a) or math.isnan(b) else (max if op == "Greater" else min)(a, b)
    if op == "Log":
        return math.log(a) if a > 0 else -math.inf if a == 0 and compat else NAN
    if op == "Power":
        return _power(a, b, compat)
    if op == "Sign":
        return a if math.isnan(a) else float((a > 0) - (a < 0))
    return {
        "Add": lambda: a + b,
        "Sub": lambda: a - b,
        "Mul": lambda: a * b,
        "Div": lambda: _divided(a, b),
        "Abs": lambda: abs(a),
        "Neg": lambda: -a,
    }[op]()


def _shifted(node: Expression, arg: Sequence[float], place: Place, j: int, compat: bool) -> Told:
    by = int(node.numbers[0])
    before = arg[j - by] if j - by >= place.head(j) else NAN
    value = before if node.op == "Ref" else arg[j] - before
    return Told(float(np.float32(value)) if compat and _kind(node) == "single" else value)


# --- windows


def _of_window(node: Expression, windows: list[Sequence[float]], least: int, compat: bool) -> Told:
    """Value of a window, oldest value first; shorter than the node's where the history begins."""
    op, w = node.op, list(windows[0])
    known = [v for v in w if math.isfinite(v)]
    n = len(known)
    if op == "Count":
        return Told(float(n))
    if op in ("Corr", "Cov"):
        return _of_pairs(op, w, list(windows[1]), least, compat)
    if op == "EMA":
        return _decayed(w, newest_weight(node.numbers[0]))
    if op == "UpShare":
        enough = n >= max(least, 1) and len(w) >= 2
        return Told(sum(b > a for a, b in zip(w, w[1:], strict=False)) / (len(w) - 1)) if enough else NOTHING
    fewest = {"Var": 2, "Std": 2, "Slope": 2, "Rsquare": 2, "Resi": 2, "Skew": 3, "Kurt": 4}.get(op, 1)
    if n < max(least, fewest):
        return NOTHING
    if op in ("Sum", "Mean", "Product", "Mad", "Var", "Std", "Skew", "Kurt"):
        return _moment(op, [Fraction(v) for v in known])
    if op in ("Slope", "Rsquare", "Resi"):
        return _line(op, w, compat)
    if op == "WMA":
        return _weighted(w, int(node.numbers[0]), compat)
    if op in ("Max", "Min", "IdxMax", "IdxMin"):
        best = (max if op.endswith("Max") else min)(known)
        gap = next((k for k, v in enumerate(w) if not math.isfinite(v)), None)
        place = gap if compat and gap is not None else w.index(best)
        return Told(best if op in ("Max", "Min") else place + 1.0)
    if op == "Rank":
        today = w[-1]
        ties = known.count(today)
        below = sum(v < today for v in known)
        return Told((below + (ties + 1) / 2) / n, 1e-12) if math.isfinite(today) else NOTHING
    quantile = 0.5 if op == "Med" else node.numbers[1]
    return Told(_quantile(known, quantile), 1e-12 * max(map(abs, known)))


def _quantile(known: list[float], quantile: float) -> float:
    ordered, place = sorted(known), Fraction(quantile) * (len(known) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return float(Fraction(ordered[low]) + (Fraction(ordered[high]) - Fraction(ordered[low])) * (place - low))


def _moment(op: str, x: list[Fraction]) -> Told:
    n, size = len(x), float(max(abs(v) for v in x))
    mean = sum(x, Fraction(0)) / n
    if op in ("Sum", "Mean"):
        return Told(float(mean * n if op == "Sum" else mean), 1e-13 * n * size)
    if op == "Product":
        product = math.prod(x)
        return Told(float(product), 1e-12 * abs(float(product)))
    m = [float(sum((v - mean) ** k for v in x)) for k in range(5)]
    if op == "Mad":
        return Told(float(sum(abs(v - mean) for v in x) / n), 1e-13 * n * size)
    if op in ("Var", "Std"):
        value = m[2] / (n - 1) if op == "Var" else math.sqrt(m[2] / (n - 1))
        return Told(value, 1e-6 * value)
    flat = _flat(math.sqrt(m[2] / n), FLAT * math.sqrt(float(mean) ** 2 + m[2] / n))
    if flat is None or m[2] == 0:
        return NOTHING
    if op == "Skew":
        value = n * math.sqrt(n - 1) / (n - 2) * m[3] / m[2] ** 1.5
    else:
        spread = m[2] / (n - 1)
        value = n * (n + 1) / ((n - 1) * (n - 2) * (n - 3)) * m[4] / spread**2
        value -= 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    noise = size * 1e-15 / math.sqrt(m[2] / n)
    return Told(value, (1e-7 + 100 * noise) * (1 + abs(value)), flat)


def _flat(deviation: float, threshold: float) -> bool | None:
    """None where a window is flat, True where it may be called so by rounding."""
    if deviation < threshold * 0.5 or deviation == 0:
        return None
    return deviation < threshold * 2


def _line(op: str, w: list[float], compat: bool) -> Told:
    points = [(Fraction(k), Fraction(v)) for k, v in enumerate(w) if math.isfinite(v)]
    n, size = len(points), max(abs(v) for v in w if math.isfinite(v))
    mp, my = sum(p for p, _ in points) / n, sum(y for _, y in points) / n
    sxx = sum((p - mp) ** 2 for p, _ in points)
    syy = float(sum((y - my) ** 2 for _, y in points))
    sxy = sum((p - mp) * (y - my) for p, y in points)
    slope = sxy / sxx
    if op == "Slope":
        return Told(float(slope), 1e-13 * n * size)
    if op == "Resi":
        if not math.isfinite(w[-1]):
            return NOTHING
        return Told(float(Fraction(w[-1]) - (my + slope * (len(w) - 1 - mp))), 1e-12 * n * size)
    scale = QLIB_FLAT if compat else FLAT * math.sqrt(float(my) ** 2 + syy / n)
    flat = _flat(math.sqrt(syy / (n - 1)), scale)
    return NOTHING if flat is None else Told(min(1.0, float(slope * sxy) / syy), 1e-7, flat)


def _weighted(w: list[float], window: int, compat: bool) -> Told:
    known = [(k, Fraction(v)) for k, v in enumerate(w) if math.isfinite(v)]
    size = float(max(abs(v) for _, v in known))
    if compat:
        have = len(w)
        if have == 1:
            return NOTHING
        total = sum(k * v for k, v in known) / Fraction(have * (have - 1), 2) / len(known)
        return Told(float(total), 1e-12 * size)
    weights = [window - (len(w) - 1 - k) for k, _ in known]
    value = sum(q * v for q, (_, v) in zip(weights, known, strict=True)) / sum(weights)
    return Told(float(value), 1e-12 * size * window)


def _decayed(w: list[float], newest: float) -> Told:
    keep = 1 - Fraction(newest)
    terms = [(keep ** (len(w) - 1 - k), Fraction(v)) for k, v in enumerate(w) if math.isfinite(v)]
    total = sum(q for q, _ in terms)
    if total == 0:
        return NOTHING
    return Told(float(sum(q * v for q, v in terms) / total), 1e-11 * float(max(abs(v) for _, v in terms)))


def _of_pairs(op: str, x: list[float], y: list[float], least: int, compat: bool) -> Told:
    pairs = [(Fraction(a), Fraction(b)) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    n = len(pairs)
    if n < max(least, 2):
        return NOTHING
    mx, my = sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n
    sxx, syy = float(sum((a - mx) ** 2 for a, _ in pairs)), float(sum((b - my) ** 2 for _, b in pairs))
    sxy = float(sum((a - mx) * (b - my) for a, b in pairs))
    if op == "Cov":
        size = float(max(abs(a) for a, _ in pairs) * max(abs(b) for _, b in pairs))
        return Told(sxy / (n - 1), 1e-12 * n * size)
    if compat:
        flats = [_flat(_deviation(series), QLIB_FLAT) for series in (x, y)]
        flats += [_flat(math.sqrt(s), 0.0) for s in (sxx, syy)]
    else:
        flats = [_flat(math.sqrt(s / n), FLAT * math.sqrt(float(m) ** 2 + s / n)) for s, m in ((sxx, mx), (syy, my))]
    if None in flats:
        return NOTHING
    return Told(sxy / math.sqrt(sxx) / math.sqrt(syy), 1e-6, any(flats))


def _deviation(series: list[float]) -> float:
    known = [Fraction(v) for v in series if math.isfinite(v)]
    mean = sum(known) / len(known)
    return math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1)) if len(known) > 1 else math.inf


# --- sessions


def _of_session(node: Expression, args: list[Sequence[float]], place: Place, j: int) -> Told:
    head, session = place.head(j), place.session(j)
    if node.op in ("SessionLast", "SessionAgo"):
        then = session - int(node.numbers[0])
        own = [k for k in range(head, j) if place.session(k) == then]
        if node.op == "SessionLast":
            return Told(next((args[0][k] for k in reversed(own) if math.isfinite(args[0][k])), NAN))
        into = place.slot[j] - place.first[session]
        same = [k for k in own if place.slot[k] - place.first[then] == into]
        return Told(args[0][same[0]] if same else NAN)
    own = [k for k in range(head, j + 1) if place.session(k) == session]
    x = [tuple(arg[k] for arg in args) for k in own if all(math.isfinite(arg[k]) for arg in args)]
    if node.op == "SessionCount":
        return Told(float(len(x)))
    if not x:
        return NOTHING
    first = [Fraction(v[0]) for v in x]
    total, size = sum(first), float(max(abs(v) for v in first)) * len(x)
    if node.op == "SessionRatio":
        below = [Fraction(v[1]) for v in x]
        if abs(sum(below)) <= 1e-9 * sum(abs(v) for v in below):
            return NOTHING if not any(below) else ANYTHING
        near = float(sum(abs(v) for v in below) / abs(sum(below)))
        value = float(total / sum(below))
        return Told(value, 1e-13 * near * (size / float(abs(sum(below))) + abs(value)))
    return {
        "SessionFirst": lambda: Told(float(first[0])),
        "SessionSum": lambda: Told(float(total), 1e-14 * size),
        "SessionMean": lambda: Told(float(total / len(x)), 1e-14 * size),
        "SessionMax": lambda: Told(float(max(first))),
        "SessionMin": lambda: Told(float(min(first))),
    }[node.op]()


# --- dates


def _of_dates(node: Expression, args: list[Sequence[float]], place: Place) -> list[Told]:
    told = [NOTHING] * len(place.slot)
    for slot in sorted(set(place.slot)):
        date = [j for j in range(len(place.slot)) if place.slot[j] == slot and place.there[j]]
        part = [j for j in date if all(math.isfinite(arg[j]) for arg in args)]
        if node.op in ("CSMean", "CSStd", "CSSum", "CSCount", "CSQuantile"):
            value = _aggregate(node, [args[0][j] for j in part])
            for j in date:
                told[j] = value
        elif node.op == "CSResidual":
            for j, value in zip(part, _residuals([args[0][j] for j in part], [args[1][j] for j in part]), strict=True):
                told[j] = value
        else:
            groups = {args[1][j] for j in part} if len(args) == 2 else {None}
            for group in groups:
                own = [j for j in part if group is None or args[1][j] == group]
                values = [args[0][j] for j in own]
                for j in own:
                    told[j] = _compared(node, args[0][j], values)
    return told


def _spread(x: list[float]) -> tuple[float, float, bool | None]:
    """Mean, sample deviation, and whether it is flat."""
    exact = [Fraction(v) for v in x]
    mean = sum(exact) / len(x)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in exact) / (len(x) - 1)) if len(x) > 1 else 0.0
    return float(mean), deviation, _flat(deviation, FLAT * math.sqrt(sum(v * v for v in exact) / len(x)))


def _aggregate(node: Expression, x: list[float]) -> Told:
    if node.op == "CSCount":
        return Told(float(len(x)))
    if not x:
        return NOTHING
    size = max(map(abs, x)) * len(x)
    mean, deviation, flat = _spread(x)
    if node.op == "CSStd":
        return NOTHING if flat is None else Told(deviation, 1e-15 * size + 1e-12 * deviation, flat)
    if node.op == "CSQuantile":
        return Told(_quantile(x, node.numbers[0]), 1e-12 * size)
    return Told(mean if node.op == "CSMean" else float(sum(map(Fraction, x))), 1e-14 * size)


def _residuals(y: list[float], x: list[float]) -> list[Told]:
    if len(x) < 3 or _spread(x)[2] is None:
        return [NOTHING] * len(x)
    a, b = [Fraction(v) for v in x], [Fraction(v) for v in y]
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    slope = sum((p - ma) * (q - mb) for p, q in zip(a, b, strict=True)) / sum((p - ma) ** 2 for p in a)
    slack = 1e-5 * max(map(abs, y))
    maybe = bool(_spread(x)[2])
    return [Told(float(q - mb - slope * (p - ma)), slack, maybe) for p, q in zip(a, b, strict=True)]


def _compared(node: Expression, today: float, x: list[float]) -> Told:
    op, n, size = node.op, len(x), max(map(abs, x))
    rank = sum(v < today for v in x) + (x.count(today) + 1) / 2
    if op in ("CSRank", "CSGroupRank"):
        return Told(rank / n, 1e-15)
    if op == "CSBucket":
        return Told(float(math.ceil(Fraction(rank) * int(node.numbers[0]) / n)))
    if op == "CSScale":
        total = sum(abs(Fraction(v)) for v in x)
        return Told(float(Fraction(today) / total), 1e-13) if total else NOTHING
    if op == "CSWinsorize":
        low, high = _quantile(x, node.numbers[0]), _quantile(x, 1 - node.numbers[0])
        return Told(min(max(today, low), high), 1e-12 * size)
    mean, deviation, flat = _spread(x)
    if op == "CSGroupMean":
        return Told(mean, 1e-14 * size * n)
    if op in ("CSDemean", "CSNeutralize"):
        return Told(float(Fraction(today) - sum(map(Fraction, x)) / n), 1e-14 * size * n)
    if flat is None:
        return NOTHING
    return Told((today - mean) / deviation, 1e-9 + 1e-14 * n * size / deviation, flat)
