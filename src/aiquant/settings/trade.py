"""Settings of trading: where orders go, and what stops one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from aiquant.settings.base import Section


class TradeSettings(Section):
    """Accounts that trade session by session, and the checks that each order has to pass."""

    broker: str = Field("paper", description="Where orders go: paper (simulated here), alpaca, or an installed one.")
    live: bool = Field(False, description="Whether orders with real money may be sent; see also trade.account_id.")
    account_id: str | None = Field(None, description="The broker's number of the account that may trade real money.")
    max_order: float = Field(1.0, gt=0, description="Largest order, share of equity; orders that only reduce are free.")
    max_order_value: float | None = Field(None, gt=0, description="Largest order in currency; none: no such limit.")
    max_position: float = Field(1.0, gt=0, description="Largest position, share of equity.")
    max_gross: float = Field(2.0, gt=0, description="Largest gross exposure (sum of sizes), share of equity.")
    price_collar: float = Field(
        0.5, gt=0, description="Largest move of a close against the one before; a larger one is taken for a mistake."
    )
    max_daily_loss: float = Field(
        0.2, gt=0, le=1, description="Loss since the close before, share of equity, that stops the account."
    )
    max_age: int = Field(5, ge=0, description="Sessions without a bar after which a symbol's price is too old.")
    max_delay_hours: float = Field(
        24.0, gt=0, description="Hours after a close in which its orders may still be sent to a broker."
    )
    lateness_seconds: float = Field(
        900.0, ge=0, description="How long after its close a session waits for bars that are missing (--follow)."
    )
    every_seconds: float = Field(2.0, gt=0, description="Pause between two looks at what came in (--follow).")
    metrics_port: int | None = Field(
        None, ge=1, le=65_535, description="Serves metrics for Prometheus on the loopback interface (--follow)."
    )


class AlpacaSettings(Section):
    """Alpaca's trading API. Keys of its paper and of its live accounts differ."""

    base_url: str | None = Field(None, description="REST; default: Alpaca's paper or live address.")
    key_id: SecretStr | None = Field(None, description="Key (environment or secrets only).")
    secret_key: SecretStr | None = Field(None, description="Secret of the key (environment or secrets only).")
    time_in_force: Literal["day", "opg", "cls"] = Field("day", description="day, or only at the open or the close.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer that end a request.")
    attempts: int = Field(4, ge=1, le=20, description="How often a request that met the limit of requests is sent.")
    retry_s: float = Field(3.0, gt=0, description="Seconds between these.")
