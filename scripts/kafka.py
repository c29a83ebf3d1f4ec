"""A Kafka broker for developers and tests: one node, KRaft, from its Maven jars, on the loopback interface alone.

Usage: ``python scripts/kafka.py [--port 9092] [--data DIR]`` runs a broker until Ctrl-C.

The jars are fetched once, with Maven, into a folder outside of the project (``KAFKA_JARS``, default
``~/.cache/aiquant/kafka-<version>``). Java 17 or later is needed. Not for production: one replica, no TLS.
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
from pathlib import Path

VERSION = "4.1.0"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>aiquant</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
  </dependencies>
</project>
"""
_LOGGING = """\
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{user}="{password}";
log.dirs={data}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.min.session.timeout.ms=1000
log.flush.interval.messages=9223372036854775807
"""
USER, PASSWORD = "developer", "not-a-secret"
"""Who may come in by the second address, which asks for a name and a password."""

_PORTS = range(20000, 32000)
"""Below the ports that systems hand out to clients: a client that looks for a dead broker must not meet itself."""


class Missing(Exception):
    """Java, Maven or the jars are not there."""


class Broker:
    """One broker with a folder of its own.

    Parameters
    ----------
    folder
        For its data, settings and log; the same folder again is the same broker again.
    port
        Port of the clients; default: a free one.
    """

    def __init__(self, folder: Path, port: int | None = None, memory: str = "512m") -> None:
        self.folder = folder
        self.port = port or _free_port()
        self.memory = memory
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._jars = jars()
        self._controller, self._sasl = _free_port(), _free_port()
        self.sasl_address = f"127.0.0.1:{self._sasl}"

    def start(self, timeout: float = 90.0) -> None:
        """Start it (again), and return when it answers.

        Raises
        ------
        Missing
            When it ends at once, or does not answer in time.
        """
        settings = self._settings()
        log = (self.folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            [*_java(self._jars, self.memory, settings), "kafka.Kafka", str(settings)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        deadline = time.monotonic() + timeout
        while not _answers(self.address):
            if self._process.poll() is not None:
                raise Missing(f"Kafka ended at once; see {self.folder / 'server.log'}")
            if time.monotonic() > deadline:
                self.kill()
                raise Missing(f"Kafka did not answer within {timeout:.0f} s; see {self.folder / 'server.log'}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def wait(self) -> None:
        """Wait until it ends."""
        if self._process is not None:
            self._process.wait()

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        assert self._process is not None
        return self._process.pid

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def _settings(self) -> Path:
        data, settings = self.folder / "data", self.folder / "kraft.properties"
        data.mkdir(parents=True, exist_ok=True)
        settings.write_text(
            _PROPERTIES.format(
                port=self.port,
                sasl=self._sasl,
                controller=self._controller,
                user=USER,
                password=PASSWORD,
                data=data,
            )
        )
        settings.with_name("log4j2.properties").write_text(_LOGGING)
        if not (data / "meta.properties").exists():
            cluster = "aiquant-local-broker-1"
            told = subprocess.run(
                [
                    *_java(self._jars, "128m", settings),
                    "kafka.tools.StorageTool",
                    "format",
                    "-t",
                    cluster,
                    "-c",
                    str(settings),
                ],
                capture_output=True,
                text=True,
            )
            if told.returncode:
                raise Missing(f"Kafka's storage cannot be made: {told.stderr.strip() or told.stdout.strip()}")
        return settings


def jars() -> Path:
    """Folder of Kafka's jars, fetched with Maven where it is not there yet.

    Raises
    ------
    Missing
        Without Java, Maven, or a way to the jars.
    """
    if shutil.which("java") is None:
        raise Missing("Kafka needs Java 17 or later, and there is no java on the path")
    told = os.environ.get("KAFKA_JARS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(told) if told else cache / "aiquant" / f"kafka-{VERSION}"
    if any(folder.glob("kafka_2.13-*.jar")):
        return folder
    if shutil.which("mvn") is None:
        raise Missing(f"there is no Kafka in {folder}, and no Maven (mvn) on the path to fetch it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        Path(made, "pom.xml").write_text(_POM)
        copy = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"]
        done = subprocess.run(copy, cwd=made, capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"Maven cannot fetch Kafka {VERSION}: {(done.stdout + done.stderr).strip()[-300:]}")
        try:
            Path(made, "lib").rename(folder)
        except OSError:  # another process was faster
            if not any(folder.glob("kafka_2.13-*.jar")):
                raise
    return folder


def _java(folder: Path, memory: str, settings: Path) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={settings.with_name('log4j2.properties')}"
    return ["java", f"-Xmx{memory}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", logging, "-cp", f"{folder}/*"]


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
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    host, port = address.split(":")
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex((host, int(port))):
            return False
    try:
        return bool(AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def main() -> int:
    """Run a broker until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--data", type=Path, help="kept between runs; default: a temporary folder")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aiquant-kafka-") as scratch:
        try:
            broker = Broker(told.data or Path(scratch), told.port)
            broker.start()
        except Missing as error:
            print(f"error: {error}", file=sys.stderr)
            return 3
        print(f"Kafka {VERSION} answers on {broker.address}; Ctrl-C ends it", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            broker.wait()
        except KeyboardInterrupt:
            pass
        finally:
            broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
