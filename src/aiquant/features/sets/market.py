"""``market``: the state of all symbols of the date, and how each stands to it.

The index is the equal-weight mean of all symbols with a bar. What is said of the market is the same for every symbol.
"""

from __future__ import annotations

DESCRIPTION = "Index, breadth, dispersion and volatility of all symbols, and each one's beta and strength"
PARTIAL_WINDOWS = False

PARTS: dict[str, str] = {
    "change": "$close/Ref($close, 1) - 1",
    "index": "CSMean(@change)",
    "residual": "@change - @beta*@index",
    "dollars": "$close*$volume",
}
"""What formulas share."""

_CAPM = "Sharpe (1964)"
_STRESS = "Campbell, Lettau, Malkiel and Xu (2001)"

DEFINITIONS: list[tuple[str, str, str, str]] = [
    ("index_1", "@index", "Return of the index", "equal-weight mean"),
    ("index_5", "Sum(@index, 5)", "Return of the index over a week", "equal-weight mean"),
    ("index_21", "Sum(@index, 21)", "Return of the index over a month", "equal-weight mean"),
    ("index_126", "Sum(@index, 126)", "Return of the index over half a year", "Cooper, Gutierrez and Hameed (2004)"),
    ("index_volatility_21", "Std(@index, 21)", "Volatility of the index over a month", "standard"),
    (
        "volatility_regime",
        "Std(@index, 21)/Std(@index, 126)",
        "Volatility of a month against that of half a year: above 1 it rises",
        "Moreira and Muir (2017)",
    ),
    (
        "volatility_rank",
        "Rank(Std(@index, 21), 252)",
        "Place of the month's volatility among those of a year",
        "Moreira and Muir (2017)",
    ),
    ("breadth_1", "CSMean(@change > 0)", "Share of symbols that rose", "Zweig (1986)"),
    ("breadth_10", "Mean(CSMean(@change > 0), 10)", "Share of symbols that rose, over two weeks", "Zweig (1986)"),
    ("above_200", "CSMean($close > Mean($close, 200))", "Share of symbols above their 200-day mean", "standard"),
    ("highs", "CSMean($close >= Max($close, 252))", "Share of symbols at their high of a year", "standard"),
    ("lows", "CSMean($close <= Min($close, 252))", "Share of symbols at their low of a year", "standard"),
    (
        "up_volume",
        "CSSum(@dollars*(@change > 0))/CSSum(@dollars)",
        "Share of the turnover in symbols that rose",
        "Arms (1967)",
    ),
    ("dispersion_1", "CSStd(@change)", "Spread of returns across symbols", _STRESS),
    ("dispersion_21", "Mean(CSStd(@change), 21)", "Spread of returns across symbols, over a month", _STRESS),
    (
        "skew_1",
        "(CSMean(@change) - CSQuantile(@change, 0.5))/CSStd(@change)",
        "Mean less median of returns in their spreads",
        "Pearson's second coefficient",
    ),
    (
        "common_share",
        "Var(@index, 63)/CSMean(Var(@change, 63))",
        "Variance of the index in that of the mean symbol: the mean correlation",
        "Pollet and Wilson (2010)",
    ),
    ("beta", "Cov(@change, @index, 126)/Var(@index, 126)", "Sensitivity to the index over half a year", _CAPM),
    ("correlation", "Corr(@change, @index, 126)", "Correlation with the index over half a year", _CAPM),
    (
        "own_volatility",
        "Std(@residual, 21)",
        "Volatility that the index does not explain, over a month",
        "Ang, Hodrick, Xing and Zhang (2006)",
    ),
    ("own_return_21", "Sum(@residual, 21)", "Return beyond beta times the index, over a month", "Blitz et al. (2011)"),
    (
        "strength_126",
        "CSRank($close/Ref($close, 126) - 1)",
        "Rank of the half year's return",
        "Levy (1967)",
    ),
    ("turnover_share", "CSRank(Mean(@dollars, 21))", "Rank of the month's turnover", "standard"),
]
"""``(name, formula, description, source)``."""
