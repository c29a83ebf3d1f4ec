"""Commits that meet a rival's are tried again: read anew, compare anew, write anew."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from deltalake.exceptions import CommitFailedError

from aiquant.errors import Unreachable
from aiquant.lake import faults

T = TypeVar("T")


def retried(retries: int, name: str, place: str, attempt: Callable[[], T]) -> T:
    """What ``attempt`` gives; it is called again, after a growing and random pause, when a rival committed first.

    Parameters
    ----------
    retries
        How often it is called again at the most.
    attempt
        Opens the table anew each time.

    Raises
    ------
    Unreachable
        When rivals committed during each try.
    """
    for tries in range(retries + 1):
        if tries:
            time.sleep(random.uniform(0, min(1.0, 0.02 * 2**tries)))
        try:
            return attempt()
        except CommitFailedError as error:
            if not faults.is_conflict(error):
                raise
    raise Unreachable(
        f"table {name} at {place}: other processes wrote it during each of {retries + 1} tries",
        "run it again when they are done, or raise lake.commit_retries",
    )
