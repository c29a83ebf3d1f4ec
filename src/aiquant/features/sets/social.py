"""``social``: how much was posted on a symbol, by how many, how much of it was repeated, and in what tone.

A post counts in the first bar that closes when it is known or later: see :mod:`aiquant.features.attaching`. What tone
a post has is known once the table ``scores`` holds its score.
"""

from __future__ import annotations

DESCRIPTION = "Number, novelty, authors, repetition and sentiment of posts"
PARTIAL_WINDOWS = True

PARTS: dict[str, str] = {
    "week": "Sum($post_count, 5)",
    "quarter": "Sum($post_count, 63)",
}
"""What formulas share."""

_CROWD = "Antweiler and Frank (2004)"
_MOOD = "Bollen, Mao and Zeng (2011)"

DEFINITIONS: list[tuple[str, str, str, str]] = [
    ("posts_1", "$post_count", "Posts of the bar", _CROWD),
    ("posts_5", "@week", "Posts of 5 bars", _CROWD),
    ("posts_21", "Sum($post_count, 21)", "Posts of 21 bars", _CROWD),
    (
        "buzz",
        "Log((@week + 1)/(@quarter*5/63 + 1))",
        "Posts of 5 bars against the usual number",
        "Sprenger et al. (2014)",
    ),
    ("buzz_rank", "CSRank(@week)", "Rank by posts of 5 bars", "Sprenger et al. (2014)"),
    ("authors_5", "Sum($post_authors, 5)", "Authors, bar by bar, over 5 bars", _CROWD),
    ("breadth_5", "Sum($post_authors, 5)/@week", "Authors a post: low where few post much", _CROWD),
    ("novelty_5", "Sum($post_novel, 5)/@week", "Share of texts that are new", _CROWD),
    ("repeats_5", "Sum($post_repeats, 5)/@week", "Share of retweets", "Sprenger et al. (2014)"),
    ("sentiment_1", "$post_sentiment", "Mean score of the posts of the bar", _MOOD),
    ("sentiment_5", "Mean($post_sentiment, 5)", "Mean score of 5 bars", _MOOD),
    (
        "sentiment_change",
        "Mean($post_sentiment, 5) - Mean($post_sentiment, 63)",
        "Mean score of 5 bars against 63",
        _MOOD,
    ),
    ("disagreement_5", "Mean($post_sentiment_std, 5)", "Mean spread of the scores of a bar", _CROWD),
]
"""``(name, formula, description, source)``."""
