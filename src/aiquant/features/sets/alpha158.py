"""``alpha158``: the 158 features of Qlib's handler of that name, its names and its formulas.

Windows may be partial, as in Qlib. Without ``qlib_compat`` the operators' traps are corrected
(:mod:`aiquant.features.operators`); with it the values are Qlib's own. ``$vwap`` has to be in the bars, else VWAP0 is
NaN.
"""

from __future__ import annotations

DESCRIPTION = "The 158 price and volume features of Qlib's Alpha158"
PARTIAL_WINDOWS = True
WINDOWS = (5, 10, 20, 30, 60)
SOURCE = "Qlib, qlib/contrib/data/loader.py (Alpha158DL)"

_UP = "Greater($close-Ref($close, 1), 0)"
_DOWN = "Greater(Ref($close, 1)-$close, 0)"
_MOVE = "Abs($close-Ref($close, 1))"
_VOLUME_UP = "Greater($volume-Ref($volume, 1), 0)"
_VOLUME_DOWN = "Greater(Ref($volume, 1)-$volume, 0)"
_VOLUME_MOVE = "Abs($volume-Ref($volume, 1))"
_TURNED = "Abs($close/Ref($close, 1)-1)*$volume"

_OF_THE_BAR = [
    ("KMID", "($close-$open)/$open", "Body of the bar against the open"),
    ("KLEN", "($high-$low)/$open", "Range of the bar against the open"),
    ("KMID2", "($close-$open)/($high-$low+1e-12)", "Body of the bar against its range"),
    ("KUP", "($high-Greater($open, $close))/$open", "Upper shadow against the open"),
    ("KUP2", "($high-Greater($open, $close))/($high-$low+1e-12)", "Upper shadow against the range"),
    ("KLOW", "(Less($open, $close)-$low)/$open", "Lower shadow against the open"),
    ("KLOW2", "(Less($open, $close)-$low)/($high-$low+1e-12)", "Lower shadow against the range"),
    ("KSFT", "(2*$close-$high-$low)/$open", "Close against the middle of the range, by the open"),
    ("KSFT2", "(2*$close-$high-$low)/($high-$low+1e-12)", "Close against the middle of the range, by the range"),
    ("OPEN0", "$open/$close", "Open against the close"),
    ("HIGH0", "$high/$close", "High against the close"),
    ("LOW0", "$low/$close", "Low against the close"),
    ("VWAP0", "$vwap/$close", "Volume-weighted mean price against the close"),
]

_OF_A_WINDOW = [
    ("ROC", "Ref($close, {d})/$close", "Close {d} bars ago against today's (the usual rate of change turned over)"),
    ("MA", "Mean($close, {d})/$close", "Mean close of {d} bars against today's"),
    ("STD", "Std($close, {d})/$close", "Deviation of the close over {d} bars against today's"),
    ("BETA", "Slope($close, {d})/$close", "Slope of the close over {d} bars against today's"),
    ("RSQR", "Rsquare($close, {d})", "How straight the close's line through {d} bars is"),
    ("RESI", "Resi($close, {d})/$close", "Today's distance from the line through {d} bars"),
    ("MAX", "Max($high, {d})/$close", "Highest high of {d} bars against the close"),
    ("MIN", "Min($low, {d})/$close", "Lowest low of {d} bars against the close"),
    ("QTLU", "Quantile($close, {d}, 0.8)/$close", "80 % quantile of the close over {d} bars against today's"),
    ("QTLD", "Quantile($close, {d}, 0.2)/$close", "20 % quantile of the close over {d} bars against today's"),
    ("RANK", "Rank($close, {d})", "Rank of today's close among those of {d} bars"),
    (
        "RSV",
        "($close-Min($low, {d}))/(Max($high, {d})-Min($low, {d})+1e-12)",
        "Place of the close between lowest low and highest high of {d} bars",
    ),
    ("IMAX", "IdxMax($high, {d})/{d}", "Place of the highest high in {d} bars"),
    ("IMIN", "IdxMin($low, {d})/{d}", "Place of the lowest low in {d} bars"),
    ("IMXD", "(IdxMax($high, {d})-IdxMin($low, {d}))/{d}", "Time from the lowest low to the highest high in {d} bars"),
    ("CORR", "Corr($close, Log($volume+1), {d})", "Correlation of close and logarithm of volume over {d} bars"),
    (
        "CORD",
        "Corr($close/Ref($close,1), Log($volume/Ref($volume, 1)+1), {d})",
        "Correlation of the changes of close and volume over {d} bars",
    ),
    ("CNTP", "Mean($close>Ref($close, 1), {d})", "Share of bars that closed higher among {d}"),
    ("CNTN", "Mean($close<Ref($close, 1), {d})", "Share of bars that closed lower among {d}"),
    (
        "CNTD",
        "Mean($close>Ref($close, 1), {d})-Mean($close<Ref($close, 1), {d})",
        "Share of higher less share of lower closes among {d}",
    ),
    ("SUMP", f"Sum({_UP}, {{d}})/(Sum({_MOVE}, {{d}})+1e-12)", "Gains as a share of all moves over {d} bars"),
    ("SUMN", f"Sum({_DOWN}, {{d}})/(Sum({_MOVE}, {{d}})+1e-12)", "Losses as a share of all moves over {d} bars"),
    (
        "SUMD",
        f"(Sum({_UP}, {{d}})-Sum({_DOWN}, {{d}}))/(Sum({_MOVE}, {{d}})+1e-12)",
        "Gains less losses as a share of all moves over {d} bars",
    ),
    ("VMA", "Mean($volume, {d})/($volume+1e-12)", "Mean volume of {d} bars against today's"),
    ("VSTD", "Std($volume, {d})/($volume+1e-12)", "Deviation of the volume over {d} bars against today's"),
    (
        "WVMA",
        f"Std({_TURNED}, {{d}})/(Mean({_TURNED}, {{d}})+1e-12)",
        "Variation of the volume-weighted absolute return over {d} bars",
    ),
    (
        "VSUMP",
        f"Sum({_VOLUME_UP}, {{d}})/(Sum({_VOLUME_MOVE}, {{d}})+1e-12)",
        "Rises of volume as a share of all its moves over {d} bars",
    ),
    (
        "VSUMN",
        f"Sum({_VOLUME_DOWN}, {{d}})/(Sum({_VOLUME_MOVE}, {{d}})+1e-12)",
        "Falls of volume as a share of all its moves over {d} bars",
    ),
    (
        "VSUMD",
        f"(Sum({_VOLUME_UP}, {{d}})-Sum({_VOLUME_DOWN}, {{d}}))/(Sum({_VOLUME_MOVE}, {{d}})+1e-12)",
        "Rises less falls of volume as a share of all its moves over {d} bars",
    ),
]

DEFINITIONS: list[tuple[str, str, str, str]] = [
    *((name, formula, description, SOURCE) for name, formula, description in _OF_THE_BAR),
    *(
        (f"{name}{d}", formula.format(d=d), description.format(d=d), SOURCE)
        for name, formula, description in _OF_A_WINDOW
        for d in WINDOWS
    ),
]
"""``(name, formula, description, source)``."""
