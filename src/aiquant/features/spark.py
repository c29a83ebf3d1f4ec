"""Features on Spark: the same engine, called for groups of bars wherever Spark runs it.

Only this module imports pyspark (extra ``spark``). It knows tables, groups and a function from bars to rows; which rows
belong together, and what is computed of them, is said by the caller.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from aiquant.errors import MissingError, Unreachable, UsageError, require
from aiquant.schemas import BARS

if TYPE_CHECKING:
    import polars as pl

    from aiquant.settings import SparkSettings

VERSION = "4.2.0"
"""Of Spark; the jars lie in a folder of that name."""

GROUP = "group"
"""Column that says which bars are computed together."""

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # as all other files of the lake have them
}
_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",  # its default of 50 is for logs of a cluster
    "spark.ui.showConsoleProgress": "false",
}


def session(settings: SparkSettings) -> Any:
    """The running session, or a new one as the settings describe it.

    Raises
    ------
    MissingExtra
        Without pyspark.
    MissingError
        Without Java, or without the jars of Delta.
    Unreachable
        When the session does not start.
    """
    sql = require("pyspark.sql", "spark")
    running = sql.SparkSession.getActiveSession()
    if running is not None:
        return running
    told = {**_DELTA, **(_LOCAL if settings.master.startswith("local") else {}), **settings.pairs}
    if not {"spark.jars", "spark.jars.packages"} & told.keys():
        told["spark.jars"] = _jars(settings)
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise MissingError("Spark needs Java, and there is none on the path", "install Java 17, or set JAVA_HOME")
    if settings.master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master(settings.master).appName("aiquant")
    for name, value in told.items():
        builder = builder.config(name, value)
    with _hushed() as log:
        try:
            made = builder.getOrCreate()
        except Exception as error:  # Spark's and py4j's errors share no class of their own
            problem = _first_error(log) or _first_line(error)
            raise Unreachable(
                f"Spark does not start on {settings.master}: {problem}", "check spark.master and spark.conf"
            ) from error
    made.sparkContext.setLogLevel("ERROR")
    return made


@contextmanager
def _hushed() -> Iterator[IO[bytes]]:
    """What a JVM that starts here writes on standard error goes to a file without a name, not to the terminal.

    It keeps that file for its life: what fails in a task comes back as an error.
    """
    with tempfile.TemporaryFile() as log:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _first_error(log: IO[bytes]) -> str | None:
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in lines if "Error" in line or "Exception" in line), None)


def _jars(settings: SparkSettings) -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    default = os.environ.get("SPARK_JARS") or cache / "aiquant" / f"spark-{VERSION}"
    folder = Path(settings.jars or default).expanduser()
    if not any(folder.glob("delta-spark*.jar")):
        raise MissingError(
            f"Spark needs the jars of Delta, and there are none in {folder}",
            "fetch them with scripts/spark_jars.py, set spark.jars, or name them in spark.conf (spark.jars.packages)",
        )
    return ",".join(str(jar) for jar in sorted(folder.glob("*.jar")))


def computed(
    session: Any,
    place: str,
    version: int,
    interval: str,
    groups: pl.DataFrame,
    function: Callable[[int, pa.Table], pa.Table],
    schema: pa.Schema,
) -> Any:
    """Rows of all groups, as a Spark frame that is not computed yet.

    Parameters
    ----------
    place, version
        Where the table of bars lies, and its Delta version.
    groups
        ``group`` (int32), ``symbol``, ``origin``, ``until``: which bars (of these dates; null for no bound) belong to
        which group. A bar may belong to several.
    function
        From the number of a group and its bars (all versions, sorted) to rows. It is pickled: what it holds should be
        small, and its modules be installed where the tasks run.
    schema
        Of the rows.
    """
    functions = require("pyspark.sql.functions", "spark")
    types = require("pyspark.sql.pandas.types", "spark")
    bars = session.read.format("delta").option("versionAsOf", version).load(place)
    bars = bars.where(functions.col("interval") == interval).select(*BARS.schema.names)
    told = functions.broadcast(
        session.createDataFrame(groups.to_arrow().cast(_GROUPS)).withColumnRenamed("symbol", "s")
    )
    inside = (
        (functions.col("symbol") == functions.col("s"))
        & (functions.col("origin").isNull() | (functions.col("date") >= functions.col("origin")))
        & (functions.col("until").isNull() | (functions.col("date") < functions.col("until")))
    )
    grouped = bars.join(told, inside).select(GROUP, *BARS.schema.names).repartition(GROUP).groupBy(GROUP)

    def task(rows: pa.Table) -> pa.Table:
        own = rows.select(BARS.schema.names).cast(BARS.schema)
        order = [("symbol", "ascending"), ("event_time", "ascending"), ("known_from", "ascending")]
        return function(rows[GROUP][0].as_py(), own.sort_by(order)).cast(schema)

    return grouped.applyInArrow(task, types.from_arrow_schema(schema))


_GROUPS = pa.schema([(GROUP, pa.int32()), ("symbol", pa.string()), ("origin", pa.date32()), ("until", pa.date32())])


def collect(frame: Any, schema: pa.Schema) -> pa.Table:
    """All rows of a frame.

    Raises
    ------
    UsageError
        When a task fails, with its reason.
    """
    try:
        return frame.toArrow().cast(schema)
    except Exception as error:
        raise _explained(error) from error


def write(frame: Any, place: str, advance: Callable[[int, int | None], None]) -> None:
    """Put the rows of a frame in the place of a Delta table's, in one commit.

    Parameters
    ----------
    advance
        Told now and then how many tasks are done, and of how many.

    Raises
    ------
    UsageError
        When a task fails, with its reason.
    """
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(frame.sparkSession.sparkContext, done, advance), daemon=True)
    watching.start()
    try:
        frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(place)
    except Exception as error:
        raise _explained(error) from error
    finally:
        done.set()
        watching.join()


def _watch(context: Any, done: threading.Event, advance: Callable[[int, int | None], None]) -> None:
    """Tell how far the tasks of the running stages are."""
    tracker = context.statusTracker()
    while not done.wait(0.5):
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        told = [stage for stage in stages if stage is not None]
        if told:
            advance(sum(stage.numCompletedTasks for stage in told), sum(stage.numTasks for stage in told))


def _explained(error: BaseException) -> UsageError:
    """A task's own error where Spark tells it, else the first line of Spark's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("aiquant.errors.")]
    told = own[-1].split(":", 1)[1].strip() if own else _first_line(error)
    return UsageError(f"Spark could not compute the features: {told}")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
