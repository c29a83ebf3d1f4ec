"""``core``: a small set of plain, well-known features of daily bars; nothing in it was tuned.

Only closes are needed: where a source has no opens, ranges or volumes, the features that read them are NaN.
"""

from __future__ import annotations

DESCRIPTION = "21 plain, well-known features of prices and volumes"
PARTIAL_WINDOWS = False

_RETURN = "$close/Ref($close, 1)-1"
_JT = "Jegadeesh and Titman (1993)"

DEFINITIONS: list[tuple[str, str, str, str]] = [
    ("return_1", _RETURN, "Return of the last session: short-term reversal", "Jegadeesh (1990)"),
    ("return_5", "$close/Ref($close, 5)-1", "Return of the last week", "Lehmann (1990)"),
    ("return_10", "$close/Ref($close, 10)-1", "Return of the last two weeks", "Lehmann (1990)"),
    ("return_21", "$close/Ref($close, 21)-1", "Return of the last month", "Jegadeesh (1990)"),
    ("return_63", "$close/Ref($close, 63)-1", "Return of the last quarter", _JT),
    ("return_126", "$close/Ref($close, 126)-1", "Return of the last half year", _JT),
    (
        "momentum_12_1",
        "Ref($close, 21)/Ref($close, 252)-1",
        "Return of the last twelve months without the last one",
        "Jegadeesh and Titman (1993), skipping a month as Fama and French do",
    ),
    ("volatility_10", f"Std({_RETURN}, 10)", "Standard deviation of daily returns over two weeks", "standard"),
    ("volatility_21", f"Std({_RETURN}, 21)", "Standard deviation of daily returns over a month", "standard"),
    ("volatility_63", f"Std({_RETURN}, 63)", "Standard deviation of daily returns over a quarter", "standard"),
    ("skewness_63", f"Skew({_RETURN}, 63)", "Skewness of daily returns over a quarter", "Amaya et al. (2015)"),
    ("gap_10", "$close/Mean($close, 10)-1", "Close against its 10-day mean", "Brock, Lakonishok and LeBaron (1992)"),
    ("gap_50", "$close/Mean($close, 50)-1", "Close against its 50-day mean", "Brock, Lakonishok and LeBaron (1992)"),
    ("gap_200", "$close/Mean($close, 200)-1", "Close against its 200-day mean", "Brock, Lakonishok and LeBaron (1992)"),
    (
        "up_share_14",
        "Sum(Greater($close-Ref($close, 1), 0), 14)/(Sum(Abs($close-Ref($close, 1)), 14)+1e-12)",
        "Gains as a share of all moves over 14 sessions (relative strength with plain means)",
        "Wilder (1978)",
    ),
    ("high_52w", "$close/Max($close, 252)-1", "Distance to the highest close of a year", "George and Hwang (2004)"),
    (
        "volume_ratio",
        "Mean($volume, 5)/(Mean($volume, 63)+1e-12)",
        "Volume of the last week against that of a quarter",
        "Gervais, Kaniel and Mingelgrin (2001)",
    ),
    (
        "volume_surprise",
        "Log(($volume+1)/(Mean($volume, 21)+1))",
        "Today's volume against the month's, as a logarithm",
        "Gervais, Kaniel and Mingelgrin (2001)",
    ),
    ("range_21", "Mean(($high-$low)/$close, 21)", "Mean range of the day over a month", "Parkinson (1980)"),
    (
        "overnight_21",
        "Mean($open/Ref($close, 1)-1, 21)",
        "Mean return from close to open over a month",
        "Lou, Polk and Skouras (2019)",
    ),
    (
        "intraday_21",
        "Mean($close/$open-1, 21)",
        "Mean return from open to close over a month",
        "Lou, Polk and Skouras (2019)",
    ),
]
"""``(name, formula, description, source)``."""
