"""How a source is found by its name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from aiquant import plugins
from aiquant.errors import MissingError, UsageError
from aiquant.settings import DataSettings
from aiquant.sources import base


class Vendor:
    def bars(self, data: DataSettings, path: Path | None = None, **_: Any) -> Any:
        return iter(())


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    def found(group: str, name: str | None = None) -> EntryPoints:
        points = EntryPoints([EntryPoint("vendor", value, group)])
        return points if name is None else points.select(name=name)

    monkeypatch.setattr(plugins, "entry_points", found)


@pytest.mark.parametrize("name", ["files", "sample"])
def test_built_in_sources_are_sources(name: str) -> None:
    assert isinstance(base.get(name), base.Source)
    assert name in base.names()


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="no source is named 'sampel'; did you mean 'sample'"):
        base.get("sampel")
    with pytest.raises(UsageError, match="known: files, newsapi, polygon, sample, x"):
        base.get("zzzzzz")


def test_an_installed_package_can_offer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "os:PathLike")
    assert "vendor" in base.names()
    monkeypatch.setattr(EntryPoint, "load", lambda self: Vendor)
    assert isinstance(base.get("vendor"), Vendor)


def test_what_is_no_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "os:sep")
    with pytest.raises(UsageError, match="source 'vendor' is not a source"):
        base.get("vendor")


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "no_such_module_at_all:Vendor")
    with pytest.raises(MissingError, match="source 'vendor' .* cannot be loaded: ModuleNotFoundError"):
        base.get("vendor")
