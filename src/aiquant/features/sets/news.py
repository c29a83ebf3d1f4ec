"""``news``: how much was written on a symbol, how much of it was new, and in what tone.

An article counts in the first bar that closes when it is known or later: see :mod:`aiquant.features.attaching`. What
tone an article has is known once the table ``scores`` holds its score.
"""

from __future__ import annotations

DESCRIPTION = "Number, novelty, publishers and sentiment of articles"
PARTIAL_WINDOWS = True

PARTS: dict[str, str] = {
    "week": "Sum($news_count, 5)",
    "quarter": "Sum($news_count, 63)",
}
"""What formulas share."""

_TETLOCK = "Tetlock (2007)"
_FANG = "Fang and Peress (2009)"

DEFINITIONS: list[tuple[str, str, str, str]] = [
    ("articles_1", "$news_count", "Articles of the bar", _FANG),
    ("articles_5", "@week", "Articles of 5 bars", _FANG),
    ("articles_21", "Sum($news_count, 21)", "Articles of 21 bars", _FANG),
    (
        "attention",
        "Log((@week + 1)/(@quarter*5/63 + 1))",
        "Articles of 5 bars against the usual number",
        "Barber and Odean (2008)",
    ),
    ("attention_rank", "CSRank(@week)", "Rank by articles of 5 bars", "Barber and Odean (2008)"),
    ("novel_5", "Sum($news_novel, 5)", "Articles of 5 bars with a title that is new", "Tetlock (2011)"),
    ("novelty_21", "Sum($news_novel, 21)/Sum($news_count, 21)", "Share of new titles among 21 bars", "Tetlock (2011)"),
    ("publishers_5", "Sum($news_publishers, 5)", "Publishers, bar by bar, over 5 bars", _FANG),
    ("silence_63", "Mean($news_count == 0, 63)", "Share of 63 bars without an article", _FANG),
    ("sentiment_1", "$news_sentiment", "Mean score of the articles of the bar", _TETLOCK),
    ("sentiment_5", "Mean($news_sentiment, 5)", "Mean score of 5 bars", _TETLOCK),
    ("sentiment_21", "Mean($news_sentiment, 21)", "Mean score of 21 bars", _TETLOCK),
    (
        "sentiment_change",
        "Mean($news_sentiment, 5) - Mean($news_sentiment, 63)",
        "Mean score of 5 bars against that of 63",
        _TETLOCK,
    ),
    (
        "disagreement_21",
        "Mean($news_sentiment_std, 21)",
        "Mean spread of the scores of a bar",
        "Antweiler and Frank (2004)",
    ),
]
"""``(name, formula, description, source)``."""
