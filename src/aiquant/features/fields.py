"""What an expression may read: columns of the bars, the calendar, and what was attached to the bars.

================ ====================================================================================
bar fields       columns of :data:`aiquant.schemas.BARS`
calendar fields  computed from the slot alone, so that they are there without a bar too
                 (:mod:`aiquant.features.calendarfields`)
attached fields  columns that a table of events or of classes adds to the bars
                 (:mod:`aiquant.features.attaching`)
================ ====================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Field:
    """What the language knows of one field.

    Attributes
    ----------
    name
        As written behind the ``$``.
    kind
        Where it comes from: see the module.
    meaning
        One line for the reference.
    tables
        Tables of the lake that an attached field is made from.
    """

    name: str
    kind: Literal["bar", "calendar", "attached"]
    meaning: str
    tables: tuple[str, ...] = ()

    @property
    def sessions(self) -> int:
        """Sessions before the current one whose bars and events its value depends on."""
        return 1 if self.kind == "attached" and "classification" not in self.tables else 0


_NEWS, _POSTS = ("news",), ("tweets",)
_NEWS_SCORES, _POST_SCORES, _CLASSES = ("news", "scores"), ("tweets", "scores"), ("classification",)

_ALL = (
    Field("open", "bar", "first price"),
    Field("high", "bar", "highest price"),
    Field("low", "bar", "lowest price"),
    Field("close", "bar", "last price"),
    Field("volume", "bar", "shares traded"),
    Field("vwap", "bar", "volume-weighted mean price"),
    Field("weekday", "calendar", "1 (Monday) to 7"),
    Field("month", "calendar", "1 to 12"),
    Field("session_of_month", "calendar", "1 for the month's first session"),
    Field("sessions_left_in_month", "calendar", "sessions that follow in the month; 0 for its last one"),
    Field("sessions_left_in_quarter", "calendar", "sessions that follow in the quarter; 0 for its last one"),
    Field("days_since_session", "calendar", "days since the session before: 1, after a weekend 3"),
    Field("days_to_session", "calendar", "days until the session that follows: 1, before a weekend 3"),
    Field("session_minutes", "calendar", "length of the session in minutes; short before some holidays"),
    Field("minute_of_session", "calendar", "minutes from the open to the slot's close"),
    Field("minutes_left", "calendar", "minutes from the slot's close to the session's"),
    Field("news_count", "attached", "articles on the symbol that became known in the slot", _NEWS),
    Field("news_novel", "attached", "those whose title was not seen on the symbol in the week before", _NEWS),
    Field("news_publishers", "attached", "distinct publishers of these articles", _NEWS),
    Field("news_sentiment", "attached", "mean score of the articles on the symbol scored in the slot", _NEWS_SCORES),
    Field("news_sentiment_std", "attached", "standard deviation (n − 1) of these scores", _NEWS_SCORES),
    Field("post_count", "attached", "posts on the symbol that became known in the slot", _POSTS),
    Field("post_novel", "attached", "those whose text was not seen on the symbol in the week before", _POSTS),
    Field("post_authors", "attached", "distinct authors of these posts", _POSTS),
    Field("post_repeats", "attached", "retweets among these posts", _POSTS),
    Field("post_sentiment", "attached", "mean score of the posts on the symbol scored in the slot", _POST_SCORES),
    Field("post_sentiment_std", "attached", "standard deviation (n − 1) of these scores", _POST_SCORES),
    Field("sector", "attached", "sector of the symbol, as a number that names it", _CLASSES),
    Field("industry", "attached", "industry of the symbol, as a number that names it", _CLASSES),
    Field("subindustry", "attached", "subindustry of the symbol, as a number that names it", _CLASSES),
    Field("cap", "attached", "market capitalisation: close times shares outstanding", _CLASSES),
)

FIELDS: dict[str, Field] = {field.name: field for field in _ALL}
"""All fields by name."""

BAR = tuple(field.name for field in _ALL if field.kind == "bar")
CALENDAR = tuple(field.name for field in _ALL if field.kind == "calendar")
ATTACHED = tuple(field.name for field in _ALL if field.kind == "attached")


def tables(names: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Tables of the lake that the fields of these names are made from, besides the bars, sorted."""
    return tuple(sorted({table for name in names for table in FIELDS[name].tables}))
