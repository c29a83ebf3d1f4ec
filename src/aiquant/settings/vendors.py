"""Settings of the vendors of data, and of the simulator that answers like them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from aiquant.settings.base import Section


class PolygonSettings(Section):
    """Massive (formerly Polygon.io): prices and trades."""

    base_url: str = Field("https://api.massive.com", description="REST; https://api.polygon.io is the old host.")
    websocket_url: str = Field(
        "wss://socket.massive.com/stocks", description="Live feed; wss://delayed.massive.com/stocks on delayed plans."
    )
    api_key: SecretStr | None = Field(None, description="Key (environment or secrets only).")
    calls: int = Field(5, ge=1, description="Requests that the plan allows in period_s: 5 a minute on the free one.")
    period_s: float = Field(60.0, gt=0, description="Seconds in which so many requests are allowed.")
    concurrency: int = Field(4, ge=1, le=64, description="Requests in flight at once.")
    page_size: int = Field(50_000, ge=10, le=50_000, description="Rows a page.")
    adjusted: bool = Field(False, description="Ask for bars adjusted for splits; default: as traded.")
    symbols: tuple[str, ...] = Field((), description="Symbols of the live feed; empty: all.")
    minute_bars: bool = Field(False, description="Bring minute bars beside the trades in the live feed.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer that end a request.")
    attempts: int = Field(6, ge=1, le=20, description="How often a request is sent before it counts as failed.")
    quiet_s: float = Field(30.0, gt=0, description="Seconds without an answer to a ping that end a connection.")
    overlap_s: float = Field(10.0, ge=0, description="Seconds before a gap that are asked for again.")


class NewsApiSettings(Section):
    """NewsAPI: articles."""

    base_url: str = Field("https://newsapi.org/v2", description="REST.")
    api_key: SecretStr | None = Field(None, description="Key (environment or secrets only).")
    calls: int = Field(50, ge=1, description="Requests that the plan allows in period_s: 50 in 12 h on the free one.")
    period_s: float = Field(43_200.0, gt=0, description="Seconds in which so many requests are allowed.")
    endpoint: Literal["everything", "top-headlines"] = Field("everything", description="Which feed is polled.")
    query: str = Field("", max_length=500, description="Search expression; default: made of the symbols asked for.")
    language: str | None = Field("en", description="Two letters (ISO 639-1); none: all languages.")
    domains: tuple[str, ...] = Field((), description="Sites to which the search is narrowed.")
    country: str | None = Field("us", description="Country of the top headlines.")
    category: str | None = Field("business", description="Category of the top headlines.")
    page_size: int = Field(100, ge=1, le=100, description="Articles a page.")
    poll_s: float = Field(900.0, gt=0, description="Seconds between two looks of the live feed.")
    companies: str | None = Field(None, description="TOML file that adds company names to the table of tickers.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer that end a request.")
    attempts: int = Field(5, ge=1, le=20, description="How often a request is sent before it counts as failed.")


class XSettings(Section):
    """X (formerly Twitter), API v2: posts."""

    base_url: str = Field("https://api.x.com/2", description="REST and stream; https://api.twitter.com/2 is the old.")
    bearer_token: SecretStr | None = Field(None, description="App-only token (environment or secrets only).")
    pseudonym_key: SecretStr | None = Field(
        None, description="Key of the authors' pseudonyms, 32 or more random characters (environment or secrets only)."
    )
    mode: Literal["search", "stream"] = Field("search", description="Live feed: recent search, or filtered stream.")
    query: str = Field("", max_length=512, description="Search expression; default: cashtags of the symbols.")
    rules: tuple[str, ...] = Field((), description="Rules of the filtered stream, at most 1024 characters each.")
    reads_per_day: int = Field(10_000, ge=1, description="Posts that may be read in a UTC day: 0.005 USD each.")
    calls: int = Field(450, ge=1, description="Searches that are allowed in period_s.")
    period_s: float = Field(900.0, gt=0, description="Seconds in which so many searches are allowed.")
    page_size: int = Field(100, ge=10, le=100, description="Posts a page.")
    poll_s: float = Field(60.0, gt=0, description="Seconds between two searches of the live feed.")
    heartbeat_s: float = Field(20.0, gt=0, description="Seconds without a sign of life that end a stream.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer that end a request.")
    attempts: int = Field(5, ge=1, le=20, description="How often a request is sent before it counts as failed.")


class SimulatorSettings(Section):
    """The seeded market of `aiquant simulate`."""

    seed: int = Field(7, ge=0, description="Seed of prices, news and posts.")
    port: int = Field(8640, ge=0, le=65_535, description="HTTP port on loopback; the WebSocket takes the next one.")
    symbols: int = Field(20, ge=1, le=400, description="Companies in the market.")
    speed: float = Field(1.0, gt=0, description="Simulated seconds a second.")
    trades_a_minute: float = Field(30.0, gt=0, description="Trades a minute and symbol, on average.")
