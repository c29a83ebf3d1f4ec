"""Servers that integration tests need, started once for the session."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="session")
def scripts() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the folder ``scripts``."""
    from importlib import import_module

    sys.path.insert(0, str(SCRIPTS))
    yield import_module
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="session")
def kafka(scripts: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Kafka broker (KRaft) on a free port of the loopback interface; in CI a missing one is a failure."""
    module = scripts("kafka")
    try:
        broker = module.Broker(tmp_path_factory.mktemp("kafka"))
        broker.start()
    except module.Missing as error:
        if os.environ.get("CI"):
            pytest.fail(f"no Kafka: {error}")
        pytest.skip(f"no Kafka: {error}")
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def redis_module(scripts: Callable[[str], ModuleType]) -> ModuleType:
    """How a Redis server is started; where it is not installed tests are skipped, in CI that is a failure."""
    import shutil

    pytest.importorskip("redis", reason="needs the extra feast")
    module = scripts("redis_server")
    if shutil.which("redis-server") is None:
        told = "no redis-server: apt-get install redis-server"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return module


@pytest.fixture(scope="session")
def redis_server(redis_module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Redis on a free port of the loopback interface, without persistence."""
    server = redis_module.Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
