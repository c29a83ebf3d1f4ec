"""``calendar``: where a bar stands in the session, the week, the month and the quarter; no price is read."""

from __future__ import annotations

DESCRIPTION = "Place in the session, week, month and quarter; turns of months, and days around holidays"
PARTIAL_WINDOWS = False

_PLAIN = "exchange calendar"

DEFINITIONS: list[tuple[str, str, str, str]] = [
    ("weekday", "$weekday", "1 (Monday) to 7", "French (1980)"),
    ("month", "$month", "1 to 12", "Rozeff and Kinney (1976)"),
    ("january", "$month == 1", "Whether it is January", "Rozeff and Kinney (1976)"),
    ("winter_half", "($month >= 11) | ($month <= 4)", "November to April", "Bouman and Jacobsen (2002)"),
    ("session_of_month", "$session_of_month", "1 for the month's first session", _PLAIN),
    ("sessions_left_in_month", "$sessions_left_in_month", "0 for the month's last session", _PLAIN),
    (
        "turn_of_month",
        "($sessions_left_in_month == 0) | ($session_of_month <= 3)",
        "The month's last session and the first three",
        "Lakonishok and Smidt (1988)",
    ),
    ("sessions_left_in_quarter", "$sessions_left_in_quarter", "0 for the quarter's last session", _PLAIN),
    (
        "quarter_end",
        "$sessions_left_in_quarter <= 4",
        "The quarter's last five sessions, when books are dressed",
        "Lakonishok et al. (1991)",
    ),
    ("days_since_session", "$days_since_session", "Days since the session before", "French and Roll (1986)"),
    ("days_to_session", "$days_to_session", "Days until the session that follows", _PLAIN),
    (
        "before_holiday",
        "$days_to_session > If($weekday == 5, 3, 1)",
        "Whether a day follows on which the exchange is closed out of turn",
        "Ariel (1990)",
    ),
    ("session_minutes", "$session_minutes", "Length of the session", _PLAIN),
    ("minute_of_session", "$minute_of_session", "Minutes from the open", "Wood, McInish and Ord (1985)"),
    ("minutes_left", "$minutes_left", "Minutes to the close", "Wood, McInish and Ord (1985)"),
]
"""``(name, formula, description, source)``."""
