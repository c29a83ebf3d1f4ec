"""How X is asked: its refusals, three kinds of 429 among them, and the budget of paid reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiquant.settings import XSettings
from aiquant.sources.http import Service, Verdict, VendorFault, said
from aiquant.settings.keys import required
from aiquant.sources.limits import Bucket, Budget

NAME = "X"
VARIABLE = "AIQUANT_X__BEARER_TOKEN"
SEARCH = "/tweets/search/recent"
STREAM = "/tweets/search/stream"
RULES = "/tweets/search/stream/rules"


def service(settings: XSettings) -> Service:
    """How the vendor is asked.

    Raises
    ------
    SettingsError
        When the token is missing.
    """
    token = required(settings.bearer_token, "x.bearer_token")
    return Service(
        name=NAME,
        base_url=settings.base_url,
        headers={"Authorization": f"Bearer {token}"},
        secret=token,
        variable=VARIABLE,
        bucket=Bucket(settings.calls, settings.period_s),
        attempts=settings.attempts,
        timeout_s=settings.timeout_s,
        judge=judge,
    )


def judge(status: int, data: Any, headers: Mapping[str, str]) -> Verdict | None:
    """A window that is used up passes; a cap of the month and a second connection do not."""
    told = data if isinstance(data, dict) else {}
    kind = str(told.get("type", "")) + str(told.get("title", ""))
    text = said(data) or f"HTTP {status}"
    if status == 409:
        return Verdict(text, "the stream has no rules: set x.rules")
    if status != 429:
        return None
    if "usage-capped" in kind or "UsageCapExceeded" in kind:
        period = str(told.get("period", "")).lower() or "billing period"
        return Verdict(text, f"the cap of the {period} is reached: buy more, or wait for the next one")
    if told.get("connection_issue") == "TooManyConnections" or "streaming-connection" in kind:
        return Verdict(text, "another stream with this token is alive: run one, and let it be")
    return Verdict(text, "lower x.calls, or wait for the window of 15 minutes", retry=True)


def allowance(budget: Budget, page_size: int) -> int:
    """Posts that may be asked for now: at least 10, the vendor's smallest page.

    Raises
    ------
    VendorFault
        When the day's budget does not cover the smallest page.
    """
    left = min(budget.left(), page_size)
    if left < 10:
        raise VendorFault(
            NAME,
            SEARCH,
            None,
            f"the budget of {budget.per_day:,} reads a day is used up",
            "raise x.reads_per_day (each read is paid), or go on after midnight UTC",
            final=True,
        )
    return left
