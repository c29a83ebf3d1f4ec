"""The simulated market in the wire format of Massive (formerly Polygon): REST lists and stream events."""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from aiquant.sources.simulator.clock import Clock
from aiquant.sources.simulator.market import MINUTE_NS, Market, Trades
from aiquant.sources.simulator.wire import Request, Response, reply

_ZONE = ZoneInfo("America/New_York")
_FIRST_SEQUENCE = 1000


class Massive:
    """Answers of the REST interface."""

    def __init__(self, market: Market, clock: Clock) -> None:
        self.market, self.clock = market, clock

    def answer(self, request: Request, origin: str) -> Response:
        """The reply to a request."""
        query = dict(request.query)
        if "cursor" in query:
            query = json.loads(base64.urlsafe_b64decode(query["cursor"]))
        parts = request.path.strip("/").split("/")
        try:
            if request.path.startswith("/v2/aggs/ticker/"):
                return self._aggregates(parts, query, origin, request.path)
            if request.path.startswith("/v3/trades/"):
                return self._trades(parts[2], query, origin, request.path)
        except (ValueError, KeyError, IndexError):
            return error(400, "Could not parse the parameters.")
        if request.path == "/v3/reference/splits":
            return self._list(self._splits(query), query, origin, request.path)
        if request.path == "/v3/reference/dividends":
            return self._list(self._dividends(query), query, origin, request.path)
        if request.path == "/v3/reference/tickers":
            return self._list(self._tickers(query), query, origin, request.path)
        return error(404, "Data not found.", "message")

    def _aggregates(self, parts: list[str], query: dict[str, str], origin: str, path: str) -> Response:
        symbol, count, span = parts[3], int(parts[5]), parts[6]
        first, last = _moment(parts[7], False), _moment(parts[8], True)
        limit = min(int(query.get("limit", "5000")), 50_000)
        rows: list[dict[str, Any]] = []
        adjusted = query.get("adjusted", "true") == "true"
        if symbol in self.market.index:
            make = self._day_bars if span == "day" else self._minute_bars
            rows = make(symbol, first, last, count * (60 if span == "hour" else 1), adjusted, limit + 1)
        following = rows[limit]["t"] if len(rows) > limit else None
        body: dict[str, Any] = {"ticker": symbol, "queryCount": len(rows[:limit]), "adjusted": adjusted}
        body |= {"resultsCount": len(rows[:limit]), "status": "OK", "request_id": "sim"}
        if rows:
            body["results"] = rows[:limit]
        if following is not None:
            rest = "/".join(["", *parts[:7], str(following), parts[8]])
            body["next_url"] = f"{origin}{rest}?cursor={_cursor(query)}"
        return reply(body)

    def _day_bars(self, symbol: str, first: int, last: int, _: int, adjusted: bool, most: int) -> list[dict[str, Any]]:
        market, i, rows = self.market, self.market.index[symbol], list[dict[str, Any]]()
        now = self.clock.now_ns()
        for at in range(len(market.sessions)):
            start = _midnight_ms(market.sessions.dates[at].item())
            if start < first or start > last or not market.trading(symbol, at):
                continue
            if market.closes_ns[at] > now or len(rows) == most:
                break
            f = market.factor[i, at] if adjusted else 1.0
            row = {"v": float(market.minutes(symbol, at).volume.sum() * f), "o": market.open[i, at] / f}
            row |= {"c": market.close[i, at] / f, "h": market.high[i, at] / f, "l": market.low[i, at] / f, "t": start}
            rows.append(row)
        return [{k: round(float(v), 6) if k != "t" else v for k, v in row.items()} for row in rows]

    def _minute_bars(
        self, symbol: str, first: int, last: int, minutes: int, adjusted: bool, most: int
    ) -> list[dict[str, Any]]:
        market, i, rows = self.market, self.market.index[symbol], list[dict[str, Any]]()
        now = self.clock.now_ns()
        begin = int(np.searchsorted(market.closes_ns, first * 10**6, side="right"))
        for at in range(begin, len(market.sessions)):
            if market.opens_ns[at] > min(last * 10**6, now) or len(rows) >= most:
                break
            if not market.trading(symbol, at):
                continue
            bars = market.minutes(symbol, at)
            f = market.factor[i, at] if adjusted else 1.0
            window = minutes * MINUTE_NS
            group = bars.start_ns // window
            for key in np.unique(group):
                inside = group == key
                start, end = int(key) * window, int(key) * window + window
                if start // 10**6 < first or start // 10**6 > last or end > now:
                    continue
                rows.append(
                    {
                        "v": round(float(bars.volume[inside].sum() * f), 4),
                        "vw": round(float(np.average(bars.close[inside], weights=bars.volume[inside]) / f), 4),
                        "o": round(float(bars.open[inside][0] / f), 6),
                        "c": round(float(bars.close[inside][-1] / f), 6),
                        "h": round(float(bars.high[inside].max() / f), 6),
                        "l": round(float(bars.low[inside].min() / f), 6),
                        "t": start // 10**6,
                        "n": int(bars.trades[inside].sum()),
                    }
                )
        return rows[:most]

    def _trades(self, symbol: str, query: dict[str, str], origin: str, path: str) -> Response:
        first = int(query.get("timestamp.gte", "0"))
        before = min(int(query.get("timestamp.lt", str(2**62))), self.clock.now_ns())
        limit = min(int(query.get("limit", "1000")), 50_000)
        rows: list[dict[str, Any]] = []
        if symbol in self.market.index:
            at, found = self.market.trades(symbol, max(first, int(self.market.opens_ns[0])), before, limit)
            rows = [_trade(found, j) for j in range(len(found.number))]
        body: dict[str, Any] = {"results": rows, "status": "OK", "request_id": "sim"}
        if rows:
            going_on = {**query, "timestamp.gte": str(rows[-1]["sip_timestamp"] + 1)}
            more = self.market.trades(symbol, rows[-1]["sip_timestamp"] + 1, before, 1)[0] >= 0
            if more:
                body["next_url"] = f"{origin}{path}?cursor={_cursor(going_on)}"
        return reply(body)

    def _list(self, rows: list[dict[str, Any]], query: dict[str, str], origin: str, path: str) -> Response:
        limit, offset = int(query.get("limit", "10")), int(query.get("offset", "0"))
        body: dict[str, Any] = {"results": rows[offset : offset + limit], "status": "OK", "request_id": "sim"}
        if len(rows) > offset + limit:
            body["next_url"] = f"{origin}{path}?cursor={_cursor({**query, 'offset': str(offset + limit)})}"
        return reply(body)

    def _splits(self, query: dict[str, str]) -> list[dict[str, Any]]:
        today = self.clock.now().date().isoformat()
        rows = []
        for split in self.market.splits:
            day = split.day.isoformat()
            inside = query.get("execution_date.gte", "") <= day <= min(query.get("execution_date.lte", today), today)
            if inside and query.get("ticker") in (None, split.symbol):
                to, old = (int(split.ratio), 1) if split.ratio >= 1 else (1, round(1 / split.ratio))
                rows.append(
                    {"execution_date": day, "split_from": old, "split_to": to, "ticker": split.symbol, "id": day}
                )
        return sorted(rows, key=lambda r: (r["execution_date"], r["ticker"]))

    def _dividends(self, query: dict[str, str]) -> list[dict[str, Any]]:
        rows = []
        today = self.clock.now().date().isoformat()
        for i, company in enumerate(self.market.companies):
            if i % 2 or query.get("ticker") not in (None, company.symbol):
                continue
            for at in range(30 + i, len(self.market.sessions), 63):
                day = self.market.sessions.dates[at].item()
                low, high = query.get("ex_dividend_date.gte", ""), query.get("ex_dividend_date.lte", today)
                if low <= day.isoformat() <= min(high, today) and self.market.trading(company.symbol, at):
                    declared = (day - timedelta(days=14)).isoformat()
                    row = {"cash_amount": 0.25, "currency": "USD", "declaration_date": declared, "frequency": 4}
                    rows.append(
                        {**row, "ex_dividend_date": day.isoformat(), "ticker": company.symbol, "id": f"{i}-{at}"}
                    )
        return sorted(rows, key=lambda r: (str(r["ex_dividend_date"]), str(r["ticker"])))

    def _tickers(self, query: dict[str, str]) -> list[dict[str, Any]]:
        day = np.datetime64(query.get("date") or self.clock.now().date().isoformat())
        at = int(np.searchsorted(self.market.sessions.dates, day))
        rows = []
        for company in self.market.companies:
            gone = company.delisted is not None and company.delisted <= at
            if company.listed > at or gone is (query.get("active", "true") == "true"):
                continue
            row = {"ticker": company.symbol, "name": company.name, "market": "stocks", "active": not gone}
            row["list_date"] = self.market.sessions.dates[company.listed].item().isoformat()
            if gone and company.delisted is not None:
                row["delisted_utc"] = f"{self.market.sessions.dates[company.delisted - 1].item()}T21:00:00Z"
            rows.append(row)
        return rows


def stream_trade(symbol: str, found: Trades, j: int) -> dict[str, Any]:
    """A trade as the stream tells it: the time in milliseconds."""
    told = {"ev": "T", "sym": symbol, "i": str(50_000 + int(found.number[j])), "x": int(found.exchange[j])}
    told |= {"p": float(found.price[j]), "s": int(found.size[j]), "t": int(found.time_ns[j]) // 10**6}
    told |= {"q": _FIRST_SEQUENCE + 3 * int(found.number[j]), "z": 3, "c": [14, 41]}
    return told | ({"trfi": 202} if told["x"] == 4 else {})


def stream_minute(symbol: str, row: dict[str, Any]) -> dict[str, Any]:
    """A minute bar as the stream tells it."""
    told = {"ev": "AM", "sym": symbol, "v": int(row["v"]), "av": int(row["v"]), "op": row["o"], "vw": row["vw"]}
    told |= {k: row[k] for k in ("o", "c", "h", "l")}
    return told | {"a": row["vw"], "z": int(row["v"] / row["n"]), "s": row["t"], "e": row["t"] + 60_000}


def error(status: int, text: str, name: str = "error") -> Response:
    """A refusal in the vendor's form."""
    return reply({"status": "ERROR" if status != 403 else "NOT_AUTHORIZED", "request_id": "sim", name: text}, status)


def _trade(found: Trades, j: int) -> dict[str, Any]:
    told = {"conditions": [12, 41], "exchange": int(found.exchange[j]), "id": str(50_000 + int(found.number[j]))}
    told |= {"price": float(found.price[j]), "size": float(found.size[j]), "tape": 3}
    told |= {"sequence_number": _FIRST_SEQUENCE + 3 * int(found.number[j]), "sip_timestamp": int(found.time_ns[j])}
    told["participant_timestamp"] = int(found.time_ns[j]) - 1000
    return told | ({"trf_id": 202, "trf_timestamp": int(found.time_ns[j]) - 500} if told["exchange"] == 4 else {})


def _moment(text: str, end: bool) -> int:
    """Milliseconds of a date (New York) or of milliseconds."""
    if text.isdigit():
        return int(text)
    return _midnight_ms(date.fromisoformat(text)) + (86_399_999 if end else 0)


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, time(), _ZONE).timestamp()) * 1000


def _cursor(query: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(query).encode()).decode()
