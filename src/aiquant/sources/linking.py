"""From texts to symbols: cashtags, tickers beside their exchange, and company names.

A wrong link is worse than a missing one, since it gives a company news that is not its own. So a name that is also a
common word ("Apple", "Target", "Gap") counts only with a context, and in small letters never.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from aiquant.errors import SettingsError

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6}(?:[.\-][A-Za-z]{1,2})?)(?![\w$])")
_LISTED = re.compile(
    r"\b(?:NYSE|NASDAQ|Nasdaq|NYSEARCA|NYSE Arca|AMEX|NYSEAMERICAN)\s*:\s*([A-Z]{1,6}(?:[.\-][A-Z])?)\b"
)
_BRACKETED = re.compile(r"\(([A-Z]{1,6}(?:[.\-][A-Z])?)\)")
_NOUNS = (
    "shares?|stocks?|earnings|CEO|CFO|chief executive|sales|profits?|revenues?|results|Inc|Corp|Corporation|Co|Ltd|"
    "investors|quarter|dividend|guidance|bonds|shareholders|employees|workers|executives?|IPO|store|stores"
)
_VERBS = (
    "says|said|posts|reports|unveils|beats|tops|misses|cuts|raises|hires|settles|sues|launches|plans|tells|apologizes|"
    "expects|invests|acquires|recalls|to (?:hire|cut|buy|invest|launch|sell|open|acquire|pay|close|build|stop|recall)"
)
_MARKET = re.compile(
    r"(?i)\b(?:shares?|stocks?|earnings|revenue|revenues|profits?|quarterly|quarter|CEO|CFO|investors?|shareholders?|"
    r"dividend|buyback|guidance|analysts?|upgrade[sd]?|downgrade[sd]?|market cap|Nasdaq|Dow|S&P|antitrust|tech|"
    r"chipmaker|automaker|drugmaker|retailer|company|bonds|Wall Street|FANG|FAANG|startup|billion|trillion)\b"
)
_ROLES = r"(?:retailer|chipmaker|automaker|drugmaker|airline|tech giant|giant|maker|rival|rivals|company|bank|at)\s+"
_FIELDS = {"names": list, "words": list, "context": list, "never": list, "strict": bool, "replace": bool}


@dataclass(frozen=True)
class Company:
    """How a symbol's company is called: see ``companies.toml``."""

    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    strict: bool = False


class Linker:
    """Finds symbols in texts by a table of company names."""

    def __init__(self, companies: Mapping[str, Company]) -> None:
        self.companies = dict(companies)
        self._sure = {name: symbol for symbol, c in companies.items() for name in c.names}
        self._unsure = {word: symbol for symbol, c in companies.items() for word in c.words}
        self._names = _whole(self._sure)
        self._words = _whole(self._unsure)
        self._never = {s: re.compile(_either(c.never), re.I) for s, c in companies.items() if c.never}
        self._context = {s: re.compile(rf"\b(?:{_either(c.context)})\b") for s, c in companies.items() if c.context}

    def symbols(self, text: str) -> list[str]:
        """Symbols in ascending order; cashtags count whether we know the company or not."""
        found = {_plain(m[1]) for pattern in (_CASHTAG, _LISTED) for m in pattern.finditer(text)}
        found |= {_plain(m[1]) for m in _BRACKETED.finditer(text) if _plain(m[1]) in self.companies}
        if self._names is not None:
            for match in self._names.finditer(text):
                symbol = self._sure[match[0]]
                if symbol not in found and not self._otherwise(symbol, text, match.span()):
                    found.add(symbol)
        if self._words is not None:
            for match in self._words.finditer(text):
                symbol = self._unsure[match[0]]
                if symbol not in found and self._meant(symbol, text, match):
                    found.add(symbol)
        return sorted(found)

    def joined(self, text: str) -> str:
        """As :meth:`symbols`, joined by commas."""
        return ",".join(self.symbols(text))

    def name(self, symbol: str) -> str | None:
        """The first name of a symbol's company, for a search expression."""
        company = self.companies.get(symbol)
        names = (*company.names, *company.words) if company else ()
        return names[0] if names else None

    def _otherwise(self, symbol: str, text: str, span: tuple[int, int]) -> bool:
        """Whether the word stands in a phrase that means something else."""
        never = self._never.get(symbol)
        return never is not None and any(m.start() <= span[0] and span[1] <= m.end() for m in never.finditer(text))

    def _meant(self, symbol: str, text: str, match: re.Match[str]) -> bool:
        if self._otherwise(symbol, text, match.span()):
            return False
        before, after = text[: match.start()], text[match.end() :]
        if re.match(rf"(?:(?:['’]s)?\s+(?:{_NOUNS})|\s+(?:{_VERBS}))\b", after) or re.search(_ROLES + r"$", before):
            return True
        context = self._context.get(symbol)
        if context is not None and context.search(before + " " + after):
            return True
        return not self.companies[symbol].strict and _MARKET.search(before + " " + after) is not None


def load(extra: Path | None = None) -> Linker:
    """The built-in table, and a user's own beside it.

    In the user's file a symbol that we know gets further names, or with ``replace = true`` only those.

    Raises
    ------
    SettingsError
        When the file cannot be read or is not of that form.
    """
    if extra is None:
        return _built_in()
    companies = dict(_built_in().companies)
    try:
        told = tomllib.loads(extra.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{extra}: the table of company names cannot be read: {error}", _FORM) from error
    for symbol, entry in told.items():
        new = _company(entry, f"{extra}: [{symbol}]")
        old = companies.get(symbol)
        if old is not None and not entry.get("replace"):
            new = Company(
                old.names + new.names,
                old.words + new.words,
                old.context + new.context,
                old.never + new.never,
                bool(entry.get("strict", old.strict)),
            )
        companies[symbol] = new
    return Linker(companies)


_FORM = 'write for example: [AAPL], and below it names = ["Apple Inc"]'


@lru_cache(maxsize=1)
def _built_in() -> Linker:
    text = files("aiquant.sources").joinpath("companies.toml").read_text("utf-8")
    return Linker({symbol: _company(entry, symbol) for symbol, entry in tomllib.loads(text).items()})


def _company(entry: Any, where: str) -> Company:
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: not a table of names", _FORM)
    for name, value in entry.items():
        if name not in _FIELDS or not isinstance(value, _FIELDS[name]):
            raise SettingsError(f"{where}: {name} is not known or of another type", _FORM)
        if isinstance(value, list) and not all(isinstance(text, str) and text for text in value):
            raise SettingsError(f"{where}: {name} holds what is no text", _FORM)
    lists = {name: tuple(entry.get(name, ())) for name in ("names", "words", "context", "never")}
    return Company(**lists, strict=entry.get("strict", False))


def _whole(names: Mapping[str, str]) -> re.Pattern[str] | None:
    """Whole names, the longest first; not inside of another word, a handle, an address or a sum of money."""
    return re.compile(rf"(?<![\w@#./$€£])(?:{_either(names)})(?![\w@]|\.\w)") if names else None


def _either(phrases: Any) -> str:
    return "|".join(re.escape(p) for p in sorted(phrases, key=len, reverse=True))


def _plain(ticker: str) -> str:
    return ticker.upper().replace(".", "-")
