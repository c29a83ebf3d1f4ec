"""A Redis server for tests and benchmarks: Debian's ``redis-server`` on a free loopback port, nothing kept on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path


class Missing(Exception):
    """There is no redis-server, or it does not start."""


class Redis:
    """A server process.

    Parameters
    ----------
    folder
        Where its log goes.
    options
        More options of the server, as ``requirepass``; those with several values are lists.
    """

    def __init__(
        self, folder: Path, port: int | None = None, options: dict[str, str | list[str]] | None = None
    ) -> None:
        self.folder, self.port, self.options = folder, port or free_port(), options or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        Missing
            When it is not installed, or ends at once.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("redis-server is not installed (Debian: apt-get install redis-server)")
        told: list[str] = []
        for name, value in {"bind": "127.0.0.1", "port": str(self.port), "save": "", **self.options}.items():
            told += [f"--{name}", *(value if isinstance(value, list) else [value])]
        log = open(self.folder / "redis.log", "ab")
        with log:
            self._process = subprocess.Popen(
                [program, "--appendonly", "no", "--dir", str(self.folder), *told], stdout=log, stderr=log
            )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise Missing(f"redis-server ended at once: {(self.folder / 'redis.log').read_text()[-300:]}")
            port = int(self.options.get("tls-port", self.port))  # type: ignore[arg-type]
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise Missing("redis-server did not answer within 20 s")

    def stop(self) -> None:
        """End it at once; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
