"""The terms that a tearsheet uses, explained for a reader who meets them for the first time."""

from __future__ import annotations

GLOSSARY: dict[str, tuple[str, str]] = {
    "rank-ic": (
        "Rank IC",
        "Information coefficient by ranks: the Spearman correlation, date by date, of the forecasts with the forward "
        "returns that followed, averaged over dates. 0 is chance, 1 is perfect foresight.",
    ),
    "t-statistic": (
        "t-statistic",
        "A mean divided by its standard error, here with the Newey–West correction for overlapping labels. "
        "Between −2 and 2, chance explains the mean well enough.",
    ),
    "icir": ("ICIR", "Mean of the rank IC divided by its standard deviation over dates: how steady it was."),
    "adjusted-ic": (
        "Rank IC, turnover-adjusted",
        "The rank IC for as much trading as forecasts cause that are new each time: rank IC ÷ √(1 − ρ), ρ being the "
        "correlation of forecasts with those of the next holding period.",
    ),
    "break-even": (
        "Costs that use up the spread",
        "What may be paid on each trade, as a share of it, until the highest fifth of forecasts less the lowest has "
        "earned nothing.",
    ),
    "r2": (
        "R² against forecasting 0",
        "1 less the squared errors of the forecasts over those of forecasting 0 for all, out of sample. Below 0 the "
        "sizes of the forecasts are worse than no forecast, whatever their order. The t-statistic is that of Diebold "
        "and Mariano.",
    ),
    "calibration": (
        "Calibration",
        "Whether a forecast means what it says: by least squares the outcome should rise by 1 where the forecast does.",
    ),
    "forward-return": (
        "Forward return, horizon",
        "The return from the fill after a decision to the fill a given number of sessions (the horizon) later: "
        "what the forecasts try to order.",
    ),
    "sharpe": (
        "Sharpe ratio",
        "Mean return above the risk-free rate divided by the deviation of returns, annualised by the exchange "
        "calendar's own count of sessions. The interval says which true values the data allow.",
    ),
    "sharpe-probability": (
        "Probability that Sharpe exceeds 0",
        "The probabilistic Sharpe ratio: how likely the true ratio is above 0, given the length, the skewness and the "
        "fat tails of the returns.",
    ),
    "deflated": (
        "Deflated Sharpe ratio",
        "The probability that the true Sharpe ratio exceeds what the best of as many skill-less variants "
        "as were tried would show by luck.",
    ),
    "track-record": (
        "Minimum track record",
        "Sessions after which a Sharpe ratio such as this one, with its skewness and fat tails, would exceed 0 at 95%.",
    ),
    "factors": (
        "Factors",
        "Returns that many strategies share: of the market; of large less small symbols (by dollar volume), "
        "past winners less losers (a year, without the last month), wild less calm ones, "
        "and last week's losers less its winners. What is held in each is known at the close before.",
    ),
    "brinson": (
        "Allocation and selection",
        "Allocation is what more or less weight in a sector than the market's gave, selection what other symbols "
        "within it gave (Brinson and Fachler 1985; effects of the sessions are linked by Carino 1999).",
    ),
    "regimes": (
        "Kinds of markets",
        "Calm, usual and wild: thirds of the market's volatility over 63 sessions, among all known until then. Rising: "
        "the market stands above its mean of 200 sessions.",
    ),
    "overfitting": (
        "Probability of overfitting",
        "How often the strategy that was best in one half of history lay below the median in the other, over all ways "
        "to halve it (Bailey and others 2017). One half is what noise shows.",
    ),
    "superiority": (
        "Superior ability, p-value",
        "How often the best of all would look so much better than the first one by luck alone "
        "(Hansen 2005). Small values speak against luck.",
    ),
    "sortino": ("Sortino ratio", "As the Sharpe ratio, with the deviation of the losses alone."),
    "calmar": ("Calmar ratio", "Return a year divided by the depth of the maximum drawdown."),
    "annual-return": ("Return a year", "The constant yearly rate that leads from the first mark to the last (CAGR)."),
    "volatility": ("Volatility", "Standard deviation of daily returns, annualised."),
    "drawdown": ("Drawdown", "How far the account stands below its highest mark so far."),
    "turnover": (
        "Turnover, one-way",
        "Half of everything bought and sold, as a multiple of equity: 1× means that the whole account was replaced "
        "once.",
    ),
    "costs": (
        "Costs",
        "Commission (basis points of the traded notional) and slippage (the price moved against the trade by some "
        "basis points). 1 basis point is 0.01%.",
    ),
    "exposure": (
        "Exposure, gross and net",
        "Sum of the sizes of all positions, and of positions with their sign, as shares of equity.",
    ),
    "walk-forward": (
        "Walk-forward, purge, embargo",
        "The model is refitted again and again on the past alone and tested on what follows. Training rows whose "
        "label reaches into the test are purged; an embargo leaves a further gap.",
    ),
    "paths": (
        "Combinatorial purged cross-validation",
        "History is cut into groups; every choice of a few of them is forecast by a model that was fitted on the "
        "others, purged. Put together, the forecasts make several histories, each of which can be judged and traded.",
    ),
    "leakage": (
        "Leakage",
        "Information that was not known at the time of a decision. It makes a backtest look far better than anything "
        "that could have been traded.",
    ),
    "survivorship": (
        "Survivorship",
        "A universe of survivors leaves out the companies that failed or were bought: past returns look better than "
        "anyone could have earned.",
    ),
    "adjustment": (
        "Adjusted prices",
        "Prices from which splits, and perhaps dividends, were taken out, so that returns can be read off them.",
    ),
    "gate": ("Gate", "The checks that a model must pass before it may take the place of the one in use."),
}
"""Key of an anchor → term and its meaning, in the order in which the glossary prints them."""
