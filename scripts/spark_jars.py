"""The jars that Spark needs to read and write the lake's tables (Delta) and Kafka.

Usage: ``python scripts/spark_jars.py`` fetches them once, with Maven, into a folder outside of the project
(``SPARK_JARS``, default ``~/.cache/aiquant/spark-<version>``), and prints the value of ``spark.jars``. Java 17 is
needed.

Spark's own way (``spark.jars.packages``) would fetch them at each first start, from its own cache, and fails where that
cache is incomplete.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SPARK, DELTA = "4.2.0", "4.4.0"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>aiquant</groupId><artifactId>spark-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>io.delta</groupId><artifactId>delta-spark_4.2_2.13</artifactId><version>{DELTA}</version></dependency>
    <dependency>
      <groupId>org.apache.spark</groupId><artifactId>spark-sql-kafka-0-10_2.13</artifactId><version>{SPARK}</version>
    </dependency>
  </dependencies>
</project>
"""
_NEEDED = (
    "delta-spark",
    "delta-storage",
    "delta-kernel",
    "unitycatalog",
    "spark-sql-kafka",
    "spark-token-provider-kafka",
    "kafka-clients",
    "commons-pool2",
)
"""Beginnings of the names; what else Maven brings, Spark has itself."""


class Missing(Exception):
    """Java, Maven or the jars are not there."""


def jars() -> list[Path]:
    """The jars, fetched with Maven where they are not there yet.

    Raises
    ------
    Missing
        Without Java, Maven, or a way to the jars.
    """
    if shutil.which("java") is None:
        raise Missing("Spark needs Java 17, and there is no java on the path")
    folder = place()
    if not any(folder.glob("delta-spark*.jar")):
        _fetch(folder)
    return sorted(jar for jar in folder.glob("*.jar") if jar.name.startswith(_NEEDED))


def place() -> Path:
    """Where the jars lie, or would lie."""
    told = os.environ.get("SPARK_JARS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(told) if told else cache / "aiquant" / f"spark-{SPARK}"


def settings() -> dict[str, str]:
    """Settings of a local session that reads and writes the lake."""
    return {
        "spark.jars": ",".join(str(jar) for jar in jars()),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",  # its default of 50 is for logs of a cluster
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
    }


def _fetch(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise Missing(f"there are no jars in {folder}, and no Maven (mvn) on the path to fetch them")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        Path(made, "pom.xml").write_text(_POM)
        copy = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"]
        done = subprocess.run(copy, cwd=made, capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"Maven cannot fetch Spark's jars: {(done.stdout + done.stderr).strip()[-300:]}")
        kept = Path(made, "kept")
        kept.mkdir()
        for jar in Path(made, "lib").glob("*.jar"):
            if jar.name.startswith(_NEEDED):
                jar.rename(kept / jar.name)
        try:
            kept.rename(folder)
        except OSError:  # another process was faster
            if not any(folder.glob("delta-spark*.jar")):
                raise


def main() -> int:
    """Print the value of ``spark.jars``."""
    try:
        print(settings()["spark.jars"])
    except Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
