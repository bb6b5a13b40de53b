"""Profiles on Spark, as it is: `make test-engines` installs it. The same bytes as from one process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pyarrow.parquet as pq
import pytest

pytest.importorskip("pyspark", reason="make test-engines runs it")

from driftline import spark
from driftline.engines.stored import open_profiles
from driftline.errors import UsageError
from driftline.profiles.carried import KEYS, told_apart
from driftline.profiles.table import as_frame, profile_batches
from tests.engines.sessions import CLUSTER, LOCAL, session
from tests.engines.workload import layout, rows_of, write_parts

LAYOUT = layout()
EXECUTOR = os.environ.get("DRIFTLINE_EXECUTOR_PYTHON")
"""A Python that has this package and PyArrow, and nothing else: no Spark, no pandas, none of the tests."""


@pytest.fixture(scope="module", params=[LOCAL, CLUSTER])
def started(request: pytest.FixtureRequest) -> Iterator[Any]:
    master = request.param
    python = {"python": EXECUTOR} if master == CLUSTER and EXECUTOR else {}
    with session(master, **python) as one:
        yield one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of uneven size: one is empty, the first ones lack a column, nine rows of ten are of one window."""
    folder = tmp_path_factory.mktemp("parts")
    write_parts(folder)
    return folder


def on_one_machine(folder: Path, by: Any) -> pl.DataFrame:
    frames = (pl.read_parquet(file) for file in sorted(folder.glob("*.parquet")))
    layout = told_apart(LAYOUT, by)
    return as_frame(profile_batches(frames, layout), layout)


@pytest.mark.parametrize("by", [KEYS, ["window", "segment"], []], ids=str)
def test_the_bytes_are_those_of_one_machine(started: Any, folder: Path, by: Any) -> None:
    table = spark.profile_files([str(folder)], LAYOUT, by, session=started)
    assert as_frame(table, told_apart(LAYOUT, by)).equals(on_one_machine(folder, by))


def test_any_split_into_partitions_gives_the_same_bytes_and_so_do_files_of_the_result(
    started: Any, folder: Path, tmp_path: Path
) -> None:
    """More partitions than rows in some, so that many are empty; stored by Spark, and read without it."""
    rows = started.read.option("mergeSchema", True).parquet(str(folder)).repartition(70)
    where = tmp_path / "profiles.parquet"
    spark.profile(rows, LAYOUT, ["window"], model="shop").write.parquet(str(where))
    stored = open_profiles(str(where / "*.parquet"))
    assert (stored.layout, stored.model) == (told_apart(LAYOUT, ["window"]), "shop")
    assert as_frame(stored.table, stored.layout).equals(on_one_machine(folder, ["window"]))
    assert pl.read_parquet(where / "*.parquet")["start"].is_unique().all()


def test_a_task_merges_the_profiles_of_few_partitions(
    started: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows are of one profile, so all partitions have a part of it; each task says how many it was given."""
    own, where = spark.merge_group, str(tmp_path)

    def counted(some: Any, carried: bytes) -> Any:
        import os

        open(f"{where}/{os.getpid()}-{os.urandom(4).hex()}-{some.num_rows}", "x").close()
        return own(some, carried)

    monkeypatch.setattr(spark, "merge_group", counted)
    monkeypatch.setattr(spark, "FAN_IN", 3)
    rows = started.read.option("mergeSchema", True).parquet(str(folder)).repartition(8)
    table = spark.profile_table(rows, LAYOUT, [])
    assert as_frame(table, told_apart(LAYOUT, [])).equals(on_one_machine(folder, []))
    assert sorted(int(path.name.rpartition("-")[2]) for path in tmp_path.iterdir()) == [2, 3, 3, 3]


@pytest.mark.parametrize("victim", ["worker", "executor"])
def test_what_is_killed_midway_is_done_again_and_counts_once(started: Any, tmp_path: Path, victim: str) -> None:
    """The Python process of a task, or the executor that it belongs to with all that it has done, ends by SIGKILL.

    The rows of one partition wait, half of them given out, until that happens; the second time they do not.
    """
    if started.sparkContext.master != CLUSTER:
        pytest.skip("Spark in one process does nothing twice")
    frames = [rows_of(80, part) for part in range(4)]
    for part, frame in enumerate(frames):
        # Without the types of Arrow in it: Spark takes no large lists from what is mapped.
        pq.write_table(frame.to_arrow(), tmp_path / f"part-{part}.parquet", store_schema=False)
    where = str(tmp_path)

    def rows(batches: Any) -> Any:
        import os
        import time

        import pyarrow.parquet as pq

        for number in (one for batch in batches for one in batch.column(0).to_pylist()):
            table = pq.read_table(f"{where}/part-{number}.parquet")
            yield from table.slice(0, 40).to_batches()
            if number == 2 and not os.path.exists(f"{where}/waits"):
                with open(f"{where}/waits.new", "w") as file:
                    file.write(str(os.getpid()))
                os.rename(f"{where}/waits.new", f"{where}/waits")
                time.sleep(300)
            yield from table.slice(40).to_batches()

    killed: list[str] = []

    def kill() -> None:
        waits = tmp_path / "waits"
        for _ in range(2_000):
            if waits.exists():
                break
            time.sleep(0.1)
        process = psutil.Process(int(waits.read_text()))
        if victim == "executor":
            process = next(one for one in process.parents() if one.name() == "java")
        killed.append(process.name())  # while it is there to say it
        os.kill(process.pid, signal.SIGKILL)

    schema = started.read.parquet(str(tmp_path / "part-0.parquet")).schema
    made = started.range(0, len(frames), 1, len(frames)).mapInArrow(rows, schema)
    killer = threading.Thread(target=kill)
    killer.start()
    table = spark.profile_table(made, LAYOUT, ["version", "segment"])
    killer.join()
    layout = told_apart(LAYOUT, ["version", "segment"])
    assert len(killed) == 1 and ("java" in killed[0]) == (victim == "executor")
    assert as_frame(table, layout).equals(as_frame(profile_batches(frames, layout), layout))


def test_what_cannot_be_profiled_is_refused_before_anything_runs(started: Any, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"a polars\..*DataFrame came; driftline.spark takes a DataFrame of Spark"):
        spark.profile(rows_of(3), LAYOUT)
    with pytest.raises(UsageError, match=r"a stream came.*foreachBatch"):
        spark.profile(started.readStream.format("rate").load(), LAYOUT)
    rows = started.read.parquet(str(folder))
    with pytest.raises(UsageError, match=r"no column 'at'"):
        spark.profile(rows.drop("at"), LAYOUT)
    with pytest.raises(UsageError, match=r"'said' comes more than once"):
        spark.profile(rows.select("*", rows["said"]), LAYOUT)
