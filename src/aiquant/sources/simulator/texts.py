"""Articles and posts of the simulated market. Their tone is the one that tomorrow's prices answer to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from aiquant.sources.simulator.market import Market

_GOOD = ("beats estimates for the quarter", "raises its outlook", "wins a large order", "is upgraded by two houses")
_BAD = ("misses estimates for the quarter", "cuts its outlook", "loses a large customer", "faces an inquiry")
_PLAIN = ("names a new finance chief", "holds its annual meeting", "opens an office", "presents at a conference")
_POSTS = {
    1: ("$%s looking strong, adding here", "great numbers from $%s!!", "$%s to the moon"),
    -1: ("$%s looks weak, getting out", "terrible quarter for $%s", "shorting $%s here"),
    0: ("watching $%s today", "$%s volume is interesting", "chart of $%s https://t.co/abc123"),
}
_EPOCH_MS = 1_288_834_974_657


@dataclass(frozen=True)
class Article:
    """An article; times in whole seconds since 1970."""

    time_s: int
    symbol: str
    title: str
    description: str
    url: str
    publisher: str


@dataclass(frozen=True)
class Post:
    """A post; the author's id and name are there to be pseudonymised."""

    post_id: int
    time_ms: int
    symbol: str
    text: str
    author_id: str
    username: str
    refers_to: int | None


class Texts:
    """What is written about the companies of a market."""

    def __init__(self, market: Market) -> None:
        self.market = market

    @lru_cache(maxsize=1024)  # noqa: B019 - lives as long as its market
    def articles(self, at: int) -> list[Article]:
        """Articles of one session's day, in the order of time."""
        market, made = self.market, list[Article]()
        for i, company in enumerate(market.companies):
            if not market.trading(company.symbol, at):
                continue
            rng = np.random.default_rng([market.seed, 4, i, at])
            tone = int(market.tone[i, at])
            for number in range(int(rng.poisson(0.3)) + abs(tone)):
                words = _PLAIN if number >= abs(tone) else _GOOD if tone > 0 else _BAD
                second = int(rng.integers(market.opens_ns[at] // 10**9, market.closes_ns[at] // 10**9))
                what = words[int(rng.integers(len(words)))]
                slug = f"{company.symbol.lower()}-{at}-{number}"
                made.append(
                    Article(
                        second,
                        company.symbol,
                        f"{company.name} (NYSE: {company.symbol}) {what}",
                        f"Shares of {company.name} were in focus.",
                        f"https://news.example/{slug}",
                        f"Example Wire {1 + i % 3}",
                    )
                )
        return sorted(made, key=lambda a: (a.time_s, a.url))

    @lru_cache(maxsize=1024)  # noqa: B019
    def posts(self, at: int) -> list[Post]:
        """Posts of one session, in the order of their ids."""
        market, made = self.market, list[Post]()
        for i, company in enumerate(market.companies):
            if not market.trading(company.symbol, at):
                continue
            rng = np.random.default_rng([market.seed, 5, i, at])
            tone = int(market.tone[i, at])
            for number in range(int(rng.poisson(6)) + 6 * abs(tone)):
                mood = tone if rng.random() < 0.7 else int(rng.integers(-1, 2))
                ms = int(rng.integers(market.opens_ns[at] // 10**6, market.closes_ns[at] // 10**6))
                author = int(rng.integers(1000))
                text = _POSTS[mood][int(rng.integers(3))] % company.symbol
                if rng.random() < 0.2:
                    text = f"@{username(int(rng.integers(1000)))} {text}"
                post_id = ((ms - _EPOCH_MS) << 22) | (i << 8) | (number & 0xFF)
                refers = made[-1].post_id if made and rng.random() < 0.1 else None
                made.append(
                    Post(post_id, ms, company.symbol, text, str(9_000_000_000 + author), username(author), refers)
                )
        return sorted(made, key=lambda p: p.post_id)


def username(author: int) -> str:
    """Handle of an author; never to be found behind the door of the room."""
    return f"sim_trader_{author:03d}"


def iso(seconds: float) -> str:
    """RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
