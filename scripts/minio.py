"""An object store for developers and tests: MinIO, one node, on the loopback interface alone.

Usage: ``python scripts/minio.py [--port 9000] [--data DIR]`` runs it until Ctrl-C; ``--build`` only builds it.

It is built once, with Go, into a folder outside of the project (``MINIO_BINARY``, default ``~/.cache/aiquant/minio``):
150 MB, minutes. Not for production: one disk, no TLS, keys that everybody knows.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
ACCESS_KEY, SECRET_KEY = "aiquant-test", "aiquant-test-secret"
REGION = "us-east-1"
_PORTS = range(20000, 32000)


class Missing(Exception):
    """MinIO is not there, and cannot be built or started."""


class Store:
    """One store with a folder of its own.

    Parameters
    ----------
    folder
        For its data and log.
    port
        Default: a free one.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._binary = binary()

    @property
    def options(self) -> dict[str, str]:
        """How the store is reached, by the names of the AWS variables."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self, timeout: float = 60.0) -> None:
        """Start it, and return when it answers.

        Raises
        ------
        Missing
            When it ends at once, or does not answer in time.
        """
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        log = (self.folder / "minio.log").open("ab")
        self._process = subprocess.Popen(
            [str(self._binary), "server", str(data), "--address", f"127.0.0.1:{self.port}", "--quiet"],
            env={
                **os.environ,
                "MINIO_ROOT_USER": ACCESS_KEY,
                "MINIO_ROOT_PASSWORD": SECRET_KEY,
                "MINIO_BROWSER": "off",
            },
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        deadline = time.monotonic() + timeout
        while not _answers(self.address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Missing(f"MinIO does not answer; see {self.folder / 'minio.log'}")
            time.sleep(0.1)

    def make_bucket(self, name: str) -> str:
        """Make a bucket; its address."""
        import pyarrow.fs as pafs

        pafs.S3FileSystem(
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            endpoint_override=self.address.removeprefix("http://"),
            scheme="http",
            region=REGION,
            allow_bucket_creation=True,
        ).create_dir(name)
        return f"s3://{name}"

    def wait(self) -> None:
        """Wait until it ends."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


def place() -> Path:
    """Where the binary lies, or would lie."""
    told = os.environ.get("MINIO_BINARY")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(told) if told else cache / "aiquant" / "minio"


def binary() -> Path:
    """The binary.

    Raises
    ------
    Missing
        When it was not built yet.
    """
    if not place().is_file():
        raise Missing(f"there is no MinIO at {place()}; build it once with: python scripts/minio.py --build")
    return place()


def build() -> Path:
    """Build the binary with Go where it is not there yet.

    Raises
    ------
    Missing
        Without Go, or when the build fails.
    """
    if place().is_file():
        return place()
    if shutil.which("go") is None:
        raise Missing("MinIO is built with Go, and there is no go on the path")
    place().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place().parent) as made:
        done = subprocess.run(
            ["go", "install", MODULE], env={**os.environ, "GOBIN": made}, capture_output=True, text=True
        )
        if done.returncode:
            raise Missing(f"MinIO cannot be built: {done.stderr.strip()[-300:]}")
        os.replace(Path(made, "minio"), place())
    return place()


def _free_port() -> int:
    for port in random.SystemRandom().sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Missing("there is no free port on the loopback interface")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/minio/health/live", timeout=1) as told:
            return bool(told.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """Run a store until Ctrl-C, or only build it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", action="store_true", help="only build it, where it is not there yet")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--data", type=Path, help="kept between runs; default: a temporary folder")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aiquant-minio-") as scratch:
        try:
            print(f"MinIO lies at {build()}")
            if told.build:
                return 0
            store = Store(told.data or Path(scratch), told.port)
            store.start()
        except Missing as error:
            print(f"error: {error}", file=sys.stderr)
            return 3
        print(f"MinIO answers on {store.address} (keys {ACCESS_KEY} / {SECRET_KEY}); Ctrl-C ends it", flush=True)
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        try:
            store.wait()
        except KeyboardInterrupt:
            pass
        finally:
            store.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
