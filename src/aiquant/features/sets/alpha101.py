"""``alpha101``: the formulas of "101 Formulaic Alphas" (Z. Kakushadze, Wilmott 84, 2016, arXiv:1601.00991).

Written from the paper's appendix A, one for one. Where it leaves a choice, this is how it was read:

- ``rank`` is the average rank among the date's symbols, ``ts_rank`` that among the window's values, each divided by
  their number (the paper states no scale).
- ``ts_argmax`` and ``ts_argmin`` count from the window's oldest slot, which is 1; the first of equal values counts.
- A window of d days holds today and the d − 1 slots before; a number that is not whole is rounded down, as the paper
  says. ``decay_linear`` gives the newest value the weight d.
- ``signedpower(x, a)`` is x to the power of a, as the paper's own definition says; alpha 1, which squares, depends on
  it. Powers that are no real number are empty.
- ``min`` and ``max`` of two expressions are the smaller and the larger one; of an expression and a number of days
  (alpha 29) they are those of the window, as the paper says.
- ``adv{d}`` is the mean of close times volume, the paper's daily dollar volume. Where a formula sets it against
  ``volume`` (alphas 7, 17, 21, 39, 43, 47, 100) the volume is meant in dollars too, or the comparison would be one of
  shares with dollars.
- A truth value is 1 or 0; one of an unknown operand is empty.
- A constant ``c`` within ``(x * c) + (y * (1 - c))`` is kept, also where x is y.
- Alpha 48 sums ``((delta(close, 1) / delay(close, 1))^2)``, the squared return, as printed.

Needed besides open, high, low, close and volume: ``$vwap`` (43 alphas), the groups ``$sector``, ``$industry`` and
``$subindustry`` (18) and ``$cap`` (alpha 56). What is not there leaves these alphas empty and the others as they are.
"""

from __future__ import annotations

DESCRIPTION = "The 101 Formulaic Alphas of Kakushadze (2016)"
PARTIAL_WINDOWS = False

SOURCE = "Kakushadze (2016), appendix A"

PARTS: dict[str, str] = {
    "returns": "$close/Ref($close, 1) - 1",
    "dollars": "$close*$volume",
    **{f"adv{d}": f"Mean(@dollars, {d})" for d in (5, 10, 15, 20, 30, 40, 50, 60, 81, 120, 150, 180)},
    "middle": "($high + $low)/2",
    "place": "(($close - $low) - ($high - $close))/($high - $low)",
    "bend": "(Ref($close, 20) - Ref($close, 10))/10 - (Ref($close, 10) - $close)/10",
    "turned": "Delta(Sum($close, 100)/100, 100)/Ref($close, 100)",
    "earned": "Sum($open, 5)*Sum(@returns, 5)",
    "spread": "($high - $low)/(Sum($close, 5)/5)",
    "open_low": "$open*0.147155 + $low*(1 - 0.147155)",
}
"""What formulas share."""

_FORMULAS: dict[int, tuple[str, str]] = {
    1: (
        "CSRank(IdxMax(If(@returns < 0, Std(@returns, 20), $close)**2, 5)) - 0.5",
        "Day of the largest close, or deviation after losses, in a week",
    ),
    2: (
        "-1*Corr(CSRank(Delta(Log($volume), 2)), CSRank(($close - $open)/$open), 6)",
        "Growth of volume against the day's move",
    ),
    3: ("-1*Corr(CSRank($open), CSRank($volume), 10)", "Opens against volume"),
    4: ("-1*Rank(CSRank($low), 9)", "Low among its own of two weeks"),
    5: (
        "CSRank($open - Sum($vwap, 10)/10)*(-1*Abs(CSRank($close - $vwap)))",
        "Open against the mean price of two weeks, by the close against today's",
    ),
    6: ("-1*Corr($open, $volume, 10)", "Open against volume"),
    7: (
        "If(@adv20 < @dollars, (-1*Rank(Abs(Delta($close, 7)), 60))*Sign(Delta($close, 7)), -1)",
        "Reversal of a large week's move on a busy day",
    ),
    8: ("-1*CSRank(@earned - Ref(@earned, 10))", "Change of opens times returns over two weeks"),
    9: (
        "If(0 < Min(Delta($close, 1), 5), Delta($close, 1), "
        "If(Max(Delta($close, 1), 5) < 0, Delta($close, 1), -1*Delta($close, 1)))",
        "Today's move, turned over unless the week went one way",
    ),
    10: (
        "CSRank(If(0 < Min(Delta($close, 1), 4), Delta($close, 1), "
        "If(Max(Delta($close, 1), 4) < 0, Delta($close, 1), -1*Delta($close, 1))))",
        "Alpha 9 over four days, ranked",
    ),
    11: (
        "(CSRank(Max($vwap - $close, 3)) + CSRank(Min($vwap - $close, 3)))*CSRank(Delta($volume, 3))",
        "Mean price against the close, by the growth of volume",
    ),
    12: ("Sign(Delta($volume, 1))*(-1*Delta($close, 1))", "Reversal when volume rose"),
    13: ("-1*CSRank(Cov(CSRank($close), CSRank($volume), 5))", "Covariance of close and volume"),
    14: (
        "(-1*CSRank(Delta(@returns, 3)))*Corr($open, $volume, 10)",
        "Change of returns by the correlation of open and volume",
    ),
    15: ("-1*Sum(CSRank(Corr(CSRank($high), CSRank($volume), 3)), 3)", "Correlation of highs and volume"),
    16: ("-1*CSRank(Cov(CSRank($high), CSRank($volume), 5))", "Covariance of highs and volume"),
    17: (
        "((-1*CSRank(Rank($close, 10)))*CSRank(Delta(Delta($close, 1), 1)))*CSRank(Rank(@dollars/@adv20, 5))",
        "Place of the close, its acceleration and volume",
    ),
    18: (
        "-1*CSRank((Std(Abs($close - $open), 5) + ($close - $open)) + Corr($close, $open, 10))",
        "Moves within the day and their spread",
    ),
    19: (
        "(-1*Sign(($close - Ref($close, 7)) + Delta($close, 7)))*(1 + CSRank(1 + Sum(@returns, 250)))",
        "Reversal of a week by the return of a year",
    ),
    20: (
        "((-1*CSRank($open - Ref($high, 1)))*CSRank($open - Ref($close, 1)))*CSRank($open - Ref($low, 1))",
        "Gap at the open against yesterday's bar",
    ),
    21: (
        "If((Sum($close, 8)/8 + Std($close, 8)) < Sum($close, 2)/2, -1, "
        "If(Sum($close, 2)/2 < (Sum($close, 8)/8 - Std($close, 8)), 1, "
        "If((1 < @dollars/@adv20) | (@dollars/@adv20 == 1), 1, -1)))",
        "Two days against a band of eight, else volume",
    ),
    22: (
        "-1*(Delta(Corr($high, $volume, 5), 5)*CSRank(Std($close, 20)))",
        "Change of the correlation of high and volume by volatility",
    ),
    23: ("If(Sum($high, 20)/20 < $high, -1*Delta($high, 2), 0)", "Reversal of highs above their mean"),
    24: (
        "If((@turned < 0.05) | (@turned == 0.05), -1*($close - Min($close, 100)), -1*Delta($close, 3))",
        "Reversal, from the low of 100 days when they were flat",
    ),
    25: ("CSRank((((-1*@returns)*@adv20)*$vwap)*($high - $close))", "Loss of the day by turnover and upper shadow"),
    26: ("-1*Max(Corr(Rank($volume, 5), Rank($high, 5), 5), 3)", "Correlation of ranks of volume and highs"),
    27: (
        "If(0.5 < CSRank(Sum(Corr(CSRank($volume), CSRank($vwap), 6), 2)/2), -1, 1)",
        "Correlation of volume and mean price, as a sign",
    ),
    28: (
        "CSScale((Corr(@adv20, $low, 5) + @middle) - $close)",
        "Middle of the range against the close, scaled",
    ),
    29: (
        "Min(Product(CSRank(CSRank(CSScale(Log(Sum(Min(CSRank(CSRank(-1*CSRank(Delta($close - 1, 5)))), 2), 1))))), 1)"
        ", 5) + Rank(Ref(-1*@returns, 6), 5)",
        "Lowest rank of a week's reversal, and returns of a week ago",
    ),
    30: (
        "((1 - CSRank((Sign($close - Ref($close, 1)) + Sign(Ref($close, 1) - Ref($close, 2))) "
        "+ Sign(Ref($close, 2) - Ref($close, 3))))*Sum($volume, 5))/Sum($volume, 20)",
        "Three days' signs by the week's share of volume",
    ),
    31: (
        "(CSRank(CSRank(CSRank(WMA(-1*CSRank(CSRank(Delta($close, 10))), 10)))) + CSRank(-1*Delta($close, 3))) "
        "+ Sign(CSScale(Corr(@adv20, $low, 12)))",
        "Reversals of two weeks and three days, and turnover against lows",
    ),
    32: (
        "CSScale(Sum($close, 7)/7 - $close) + 20*CSScale(Corr($vwap, Ref($close, 5), 230))",
        "Distance to the week's mean, and the year's drift",
    ),
    33: ("CSRank(-1*(1 - $open/$close)**1)", "Open against the close"),
    34: (
        "CSRank((1 - CSRank(Std(@returns, 2)/Std(@returns, 5))) + (1 - CSRank(Delta($close, 1))))",
        "Calm of two days within the week, and reversal",
    ),
    35: (
        "(Rank($volume, 32)*(1 - Rank(($close + $high) - $low, 16)))*(1 - Rank(@returns, 32))",
        "Volume without a rise of price and range",
    ),
    36: (
        "(((2.21*CSRank(Corr($close - $open, Ref($volume, 1), 15)) + 0.7*CSRank($open - $close)) "
        "+ 0.73*CSRank(Rank(Ref(-1*@returns, 6), 5))) + CSRank(Abs(Corr($vwap, @adv20, 6)))) "
        "+ 0.6*CSRank((Sum($close, 200)/200 - $open)*($close - $open))",
        "Five ranks of moves, volume and trend",
    ),
    37: (
        "CSRank(Corr(Ref($open - $close, 1), $close, 200)) + CSRank($open - $close)",
        "Yesterday's move against closes, and today's",
    ),
    38: ("(-1*CSRank(Rank($close, 10)))*CSRank($close/$open)", "Place of the close by the day's gain"),
    39: (
        "(-1*CSRank(Delta($close, 7)*(1 - CSRank(WMA(@dollars/@adv20, 9)))))*(1 + CSRank(Sum(@returns, 250)))",
        "Reversal of a week on low volume by the year's return",
    ),
    40: ("(-1*CSRank(Std($high, 10)))*Corr($high, $volume, 10)", "Spread of highs by their correlation with volume"),
    41: ("($high*$low)**0.5 - $vwap", "Geometric middle of the range against the mean price"),
    42: ("CSRank($vwap - $close)/CSRank($vwap + $close)", "Mean price against the close"),
    43: ("Rank(@dollars/@adv20, 20)*Rank(-1*Delta($close, 7), 8)", "Volume by the week's reversal"),
    44: ("-1*Corr($high, CSRank($volume), 5)", "Highs against ranks of volume"),
    45: (
        "-1*((CSRank(Sum(Ref($close, 5), 20)/20)*Corr($close, $volume, 2))"
        "*CSRank(Corr(Sum($close, 5), Sum($close, 20), 2)))",
        "Level of a month, and two short correlations",
    ),
    46: ("If(0.25 < @bend, -1, If(@bend < 0, 1, -1*($close - Ref($close, 1))))", "Bend of 20 days, else reversal"),
    47: (
        "((CSRank(1/$close)*@dollars)/@adv20)*(($high*CSRank($high - $close))/(Sum($high, 5)/5)) "
        "- CSRank($vwap - Ref($vwap, 5))",
        "Volume of low-priced symbols by the upper shadow, less the week's move",
    ),
    48: (
        "CSNeutralize((Corr(Delta($close, 1), Delta(Ref($close, 1), 1), 250)*Delta($close, 1))/$close, $subindustry)"
        "/Sum((Delta($close, 1)/Ref($close, 1))**2, 250)",
        "Today's move by its autocorrelation, within subindustries",
    ),
    49: ("If(@bend < -1*0.1, 1, -1*($close - Ref($close, 1)))", "Bend of 20 days below −0.1, else reversal"),
    50: ("-1*Max(CSRank(Corr(CSRank($volume), CSRank($vwap), 5)), 5)", "Correlation of volume and mean price"),
    51: ("If(@bend < -1*0.05, 1, -1*($close - Ref($close, 1)))", "Bend of 20 days below −0.05, else reversal"),
    52: (
        "((-1*Min($low, 5) + Ref(Min($low, 5), 5))*CSRank((Sum(@returns, 240) - Sum(@returns, 20))/220))"
        "*Rank($volume, 5)",
        "Fall of the low by the year's return and volume",
    ),
    53: (
        "-1*Delta((($close - $low) - ($high - $close))/($close - $low), 9)",
        "Change of the close's place in the range",
    ),
    54: (
        "(-1*(($low - $close)*$open**5))/(($low - $high)*$close**5)",
        "Place of the close by the day's move",
    ),
    55: (
        "-1*Corr(CSRank(($close - Min($low, 12))/(Max($high, 12) - Min($low, 12))), CSRank($volume), 6)",
        "Place in the range of 12 days against volume",
    ),
    56: (
        "0 - 1*(CSRank(Sum(@returns, 10)/Sum(Sum(@returns, 2), 3))*CSRank(@returns*$cap))",
        "Returns of two weeks within the last days', by size",
    ),
    57: (
        "0 - 1*(($close - $vwap)/WMA(CSRank(IdxMax($close, 30)), 2))",
        "Close against the mean price by the age of the high",
    ),
    58: (
        "-1*Rank(WMA(Corr(CSNeutralize($vwap, $sector), $volume, 3), 7), 5)",
        "Mean price within sectors against volume",
    ),
    59: (
        "-1*Rank(WMA(Corr(CSNeutralize($vwap*0.728317 + $vwap*(1 - 0.728317), $industry), $volume, 4), 16), 8)",
        "Mean price within industries against volume",
    ),
    60: (
        "0 - 1*(2*CSScale(CSRank(@place*$volume)) - CSScale(CSRank(IdxMax($close, 10))))",
        "Place of the close by volume, and the age of the high",
    ),
    61: ("CSRank($vwap - Min($vwap, 16)) < CSRank(Corr($vwap, @adv180, 17))", "Rise from the low against turnover"),
    62: (
        "(CSRank(Corr($vwap, Sum(@adv20, 22), 9)) "
        "< CSRank((CSRank($open) + CSRank($open)) < (CSRank(@middle) + CSRank($high))))*-1",
        "Turnover's correlation against open and range",
    ),
    63: (
        "(CSRank(WMA(Delta(CSNeutralize($close, $industry), 2), 8)) "
        "- CSRank(WMA(Corr($vwap*0.318108 + $open*(1 - 0.318108), Sum(@adv180, 37), 13), 12)))*-1",
        "Move within industries against turnover's correlation",
    ),
    64: (
        "(CSRank(Corr(Sum($open*0.178404 + $low*(1 - 0.178404), 12), Sum(@adv120, 12), 16)) "
        "< CSRank(Delta(@middle*0.178404 + $vwap*(1 - 0.178404), 3)))*-1",
        "Turnover's correlation against the move of three days",
    ),
    65: (
        "(CSRank(Corr($open*0.00817205 + $vwap*(1 - 0.00817205), Sum(@adv60, 8), 6)) "
        "< CSRank($open - Min($open, 13)))*-1",
        "Turnover's correlation against the rise of opens",
    ),
    66: (
        "(CSRank(WMA(Delta($vwap, 3), 7)) "
        "+ Rank(WMA((($low*0.96633 + $low*(1 - 0.96633)) - $vwap)/($open - @middle), 11), 6))*-1",
        "Move of the mean price, and lows against it",
    ),
    67: (
        "(CSRank($high - Min($high, 2))"
        "**CSRank(Corr(CSNeutralize($vwap, $sector), CSNeutralize(@adv20, $subindustry), 6)))*-1",
        "Rise of highs to the power of a correlation within groups",
    ),
    68: (
        "(Rank(Corr(CSRank($high), CSRank(@adv15), 8), 13) "
        "< CSRank(Delta($close*0.518371 + $low*(1 - 0.518371), 1)))*-1",
        "Correlation of highs and turnover against the day's move",
    ),
    69: (
        "(CSRank(Max(Delta(CSNeutralize($vwap, $industry), 2), 4))"
        "**Rank(Corr($close*0.490655 + $vwap*(1 - 0.490655), @adv20, 4), 9))*-1",
        "Rise within industries to the power of turnover's correlation",
    ),
    70: (
        "(CSRank(Delta($vwap, 1))**Rank(Corr(CSNeutralize($close, $industry), @adv50, 17), 17))*-1",
        "Move to the power of a correlation within industries",
    ),
    71: (
        "Greater(Rank(WMA(Corr(Rank($close, 3), Rank(@adv180, 12), 18), 4), 15), "
        "Rank(WMA(CSRank(($low + $open) - ($vwap + $vwap))**2, 16), 4))",
        "The larger of a correlation and of lows and opens against the mean price",
    ),
    72: (
        "CSRank(WMA(Corr(@middle, @adv40, 8), 10))/CSRank(WMA(Corr(Rank($vwap, 3), Rank($volume, 18), 6), 2))",
        "Two correlations of price and volume, one by the other",
    ),
    73: (
        "Greater(CSRank(WMA(Delta($vwap, 4), 2)), Rank(WMA((Delta(@open_low, 2)/@open_low)*-1, 3), 16))*-1",
        "The larger of two moves",
    ),
    74: (
        "(CSRank(Corr($close, Sum(@adv30, 37), 15)) "
        "< CSRank(Corr(CSRank($high*0.0261661 + $vwap*(1 - 0.0261661)), CSRank($volume), 11)))*-1",
        "Correlation with turnover against that with volume",
    ),
    75: (
        "CSRank(Corr($vwap, $volume, 4)) < CSRank(Corr(CSRank($low), CSRank(@adv50), 12))",
        "A short correlation against a long one",
    ),
    76: (
        "Greater(CSRank(WMA(Delta($vwap, 1), 11)), "
        "Rank(WMA(Rank(Corr(CSNeutralize($low, $sector), @adv81, 8), 19), 17), 19))*-1",
        "The larger of a move and a correlation within sectors",
    ),
    77: (
        "Less(CSRank(WMA((@middle + $high) - ($vwap + $high), 20)), CSRank(WMA(Corr(@middle, @adv40, 3), 5)))",
        "The smaller of the range against the mean price and a correlation",
    ),
    78: (
        "CSRank(Corr(Sum($low*0.352233 + $vwap*(1 - 0.352233), 19), Sum(@adv40, 19), 6))"
        "**CSRank(Corr(CSRank($vwap), CSRank($volume), 5))",
        "One correlation to the power of another",
    ),
    79: (
        "CSRank(Delta(CSNeutralize($close*0.60733 + $open*(1 - 0.60733), $sector), 1)) "
        "< CSRank(Corr(Rank($vwap, 3), Rank(@adv150, 9), 14))",
        "Move within sectors against a correlation",
    ),
    80: (
        "(CSRank(Sign(Delta(CSNeutralize($open*0.868128 + $high*(1 - 0.868128), $industry), 4)))"
        "**Rank(Corr($high, @adv10, 5), 5))*-1",
        "Direction within industries to the power of a correlation",
    ),
    81: (
        "(CSRank(Log(Product(CSRank(CSRank(Corr($vwap, Sum(@adv10, 49), 8))**4), 14))) "
        "< CSRank(Corr(CSRank($vwap), CSRank($volume), 5)))*-1",
        "Product of ranks of a correlation against another one",
    ),
    82: (
        "Less(CSRank(WMA(Delta($open, 1), 14)), "
        "Rank(WMA(Corr(CSNeutralize($volume, $sector), $open*0.634196 + $open*(1 - 0.634196), 17), 6), 13))*-1",
        "The smaller of a move of opens and a correlation within sectors",
    ),
    83: (
        "(CSRank(Ref(@spread, 2))*CSRank(CSRank($volume)))/(@spread/($vwap - $close))",
        "Range of two days ago by volume, against today's",
    ),
    84: (
        "Rank($vwap - Max($vwap, 15), 20)**Delta($close, 4)",
        "Distance to the high to the power of the move",
    ),
    85: (
        "CSRank(Corr($high*0.876703 + $close*(1 - 0.876703), @adv30, 9))"
        "**CSRank(Corr(Rank(@middle, 3), Rank($volume, 10), 7))",
        "One correlation to the power of another",
    ),
    86: (
        "(Rank(Corr($close, Sum(@adv20, 14), 6), 20) < CSRank(($open + $close) - ($vwap + $open)))*-1",
        "Turnover's correlation against close less mean price",
    ),
    87: (
        "Greater(CSRank(WMA(Delta($close*0.369701 + $vwap*(1 - 0.369701), 1), 2)), "
        "Rank(WMA(Abs(Corr(CSNeutralize(@adv81, $industry), $close, 13)), 4), 14))*-1",
        "The larger of a move and a correlation within industries",
    ),
    88: (
        "Less(CSRank(WMA((CSRank($open) + CSRank($low)) - (CSRank($high) + CSRank($close)), 8)), "
        "Rank(WMA(Corr(Rank($close, 8), Rank(@adv60, 20), 8), 6), 2))",
        "The smaller of the bar's shape and a correlation",
    ),
    89: (
        "Rank(WMA(Corr($low*0.967285 + $low*(1 - 0.967285), @adv10, 6), 5), 3) "
        "- Rank(WMA(Delta(CSNeutralize($vwap, $industry), 3), 10), 15)",
        "A correlation less a move within industries",
    ),
    90: (
        "(CSRank($close - Max($close, 4))**Rank(Corr(CSNeutralize(@adv40, $subindustry), $low, 5), 3))*-1",
        "Distance to the high to the power of a correlation within subindustries",
    ),
    91: (
        "(Rank(WMA(WMA(Corr(CSNeutralize($close, $industry), $volume, 9), 16), 3), 4) "
        "- CSRank(WMA(Corr($vwap, @adv30, 4), 2)))*-1",
        "A correlation within industries less one with turnover",
    ),
    92: (
        "Less(Rank(WMA((@middle + $close) < ($low + $open), 14), 18), "
        "Rank(WMA(Corr(CSRank($low), CSRank(@adv30), 7), 6), 6))",
        "The smaller of the bar's shape and a correlation",
    ),
    93: (
        "Rank(WMA(Corr(CSNeutralize($vwap, $industry), @adv81, 17), 19), 7)"
        "/CSRank(WMA(Delta($close*0.524434 + $vwap*(1 - 0.524434), 2), 16))",
        "A correlation within industries by a move",
    ),
    94: (
        "(CSRank($vwap - Min($vwap, 11))**Rank(Corr(Rank($vwap, 19), Rank(@adv60, 4), 18), 2))*-1",
        "Rise from the low to the power of a correlation",
    ),
    95: (
        "CSRank($open - Min($open, 12)) < Rank(CSRank(Corr(Sum(@middle, 19), Sum(@adv40, 19), 12))**5, 11)",
        "Rise of opens against a correlation",
    ),
    96: (
        "Greater(Rank(WMA(Corr(CSRank($vwap), CSRank($volume), 3), 4), 8), "
        "Rank(WMA(IdxMax(Corr(Rank($close, 7), Rank(@adv60, 4), 3), 12), 14), 13))*-1",
        "The larger of two correlations",
    ),
    97: (
        "(CSRank(WMA(Delta(CSNeutralize($low*0.721001 + $vwap*(1 - 0.721001), $industry), 3), 20)) "
        "- Rank(WMA(Rank(Corr(Rank($low, 7), Rank(@adv60, 17), 4), 18), 15), 6))*-1",
        "A move within industries less a correlation",
    ),
    98: (
        "CSRank(WMA(Corr($vwap, Sum(@adv5, 26), 4), 7)) "
        "- CSRank(WMA(Rank(IdxMin(Corr(CSRank($open), CSRank(@adv15), 20), 8), 6), 8))",
        "A correlation less the age of another one's low",
    ),
    99: (
        "(CSRank(Corr(Sum(@middle, 19), Sum(@adv60, 19), 8)) < CSRank(Corr($low, $volume, 6)))*-1",
        "Correlation with turnover against that with volume",
    ),
    100: (
        "0 - 1*((1.5*CSScale(CSNeutralize(CSNeutralize(CSRank(@place*$volume), $subindustry), $subindustry)) "
        "- CSScale(CSNeutralize(Corr($close, CSRank(@adv20), 5) - CSRank(IdxMin($close, 30)), $subindustry)))"
        "*(@dollars/@adv20))",
        "Place of the close by volume within subindustries",
    ),
    101: ("($close - $open)/(($high - $low) + 0.001)", "The day's move against its range"),
}

DEFINITIONS: list[tuple[str, str, str, str]] = [
    (f"alpha{number}", formula, description, SOURCE) for number, (formula, description) in _FORMULAS.items()
]
"""``(name, formula, description, source)``."""
