"""What all sections of the settings have in common."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from aiquant.errors import SettingsError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Section(BaseModel):
    """Base of all sections: unknown names are refused, values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def span(text: str) -> timedelta:
    """A span of time as settings and options write it: ``90s``, ``15m``, ``36h``, ``5d``.

    Raises
    ------
    SettingsError
        When it is written in another way, or longer than a timedelta can be.
    """
    found = re.fullmatch(r"([1-9][0-9]*)([smhd])", text)
    try:
        if found:
            return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        pass
    raise SettingsError(f"{text!r} is no span of time", "write for example 90s, 15m, 36h or 5d")
