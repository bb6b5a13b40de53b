"""Sessions of Spark on this machine: in one process, or with executors that are processes of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOCAL, CLUSTER = "local[2]", "local-cluster[2,1,1024]"


@contextmanager
def session(master: str, python: str = sys.executable, **settings: Any) -> Iterator[Any]:
    """A session of Spark that listens on loopback alone; its executors run this Python, or another one."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is None:  # the Java of an earlier session may have ended, with its page
        SparkContext._gateway = SparkContext._jvm = None
    own = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.executor.memory": "1g",
        "spark.network.timeout": "600s",  # this machine may be busy
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.session.timeZone": "America/Los_Angeles",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master(master).appName("driftline")
    for name, value in (own | {name.replace("_", "."): value for name, value in settings.items()}).items():
        builder = builder.config(name, str(value))
    before = dict(os.environ)
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": python}
    if python != sys.executable:  # those have what is installed there, and nothing of this process
        os.environ.pop("PYTHONPATH", None)
    started = builder.getOrCreate()
    started.sparkContext.setLogLevel("OFF")
    try:
        yield started
    finally:
        started.stop()
        os.environ.clear()
        os.environ |= before
