"""What all sections of the settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: unknown names are refused, values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
