"""The log stays small whatever its history: the same rows, in a bounded number of files, each rewritten a few times."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.events import Kind, Label, Prediction, Schema, Task, Window
from driftline.store import tidy
from driftline.store.blobs import Folder
from driftline.store.log import EventLog
from driftline.store.logged import LoggedLabel, LoggedPrediction

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = Window(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
SCHEMA = Schema(Task.BINARY, {"x": Kind.NUMERIC}, ("0", "1"), "1")


def rows_of(seq: int, number: int) -> list[LoggedPrediction]:
    return [
        LoggedPrediction(
            seq,
            Prediction(
                id=f"{seq}-{index}",
                time=NOON + timedelta(seconds=seq),
                version="v",
                features={"x": seq + index / 1000},
                prediction="1",
                score={"1": 0.5},
                latency_seconds=None,
            ),
        )
        for index in range(number)
    ]


def append(log: EventLog, first: int, last: int, number: int = 2) -> None:
    for seq in range(first, last + 1):
        log.append_predictions(rows_of(seq, number), through=seq)


def ids(log: EventLog) -> list[str]:
    return sorted(log.window_rows(DAY, "v")["id"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four files make a tier and ten versions a checkpoint: fewer appends have as many merges, of more tiers."""
    monkeypatch.setattr(tidy, "FILES_OF_A_TIER", 4)
    monkeypatch.setattr(tidy, "CHECKPOINT_EVERY", 10)


def bytes_of(folder: Path, pattern: str) -> int:
    return sum(one.stat().st_size for one in folder.glob(pattern))


def live_bytes(folder: Path) -> int:
    return sum(tidy.live_sizes(DeltaTable(str(folder))).values())


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each merge reads, as they happen."""
    merged: list[int] = []
    real = tidy.commit

    def commit(place: Any, version: int, files: Any, merged_into: str) -> None:
        merged.append(sum(one.size for one in files))
        real(place, version, files, merged_into)

    monkeypatch.setattr(tidy, "commit", commit)
    return merged


@pytest.mark.usefixtures("small")
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 16), st.integers(1, 30), st.booleans()), min_size=1, max_size=5))
def test_no_row_is_lost_or_doubled_by_tidying(
    tmp_path_factory: pytest.TempPathFactory, stretches: list[tuple[int, int, bool]]
) -> None:
    folder, seq, expected = tmp_path_factory.mktemp("log"), 0, []
    log = EventLog(folder, SCHEMA)
    for appends, number, restart in stretches:
        append(log, seq + 1, seq + appends, number)
        expected += [f"{seq + one + 1}-{index}" for one in range(appends) for index in range(number)]
        seq += appends
        if restart:
            log = EventLog(folder, SCHEMA)
        assert ids(log) == sorted(expected)
        assert log.last_seq("predictions") == seq
    assert ids(EventLog(folder, SCHEMA)) == sorted(expected)
    found = QueryBuilder().register("log", DeltaTable(str(folder / "predictions"))).execute("select seq, id from log")
    assert sorted(pl.DataFrame(found)["id"].to_list()) == sorted(expected)  # another reader of Delta Lake


@pytest.mark.usefixtures("small")
def test_disk_and_metadata_are_bounded_and_each_byte_is_rewritten_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged, folder = counted(monkeypatch), tmp_path / "predictions"
    log = EventLog(tmp_path, SCHEMA)
    log.append_predictions(rows_of(1, 5), through=1)
    appended = 100 * (bytes_of(folder, "*.parquet") + 50)  # all appends are nearly of one size
    for seq in range(2, 101):
        log.append_predictions(rows_of(seq, 5), through=seq)
        if seq % 10 == 0:
            live = live_bytes(folder)
            assert bytes_of(folder, "*.parquet") <= 2 * live
            assert len(list((folder / "_delta_log").iterdir())) <= 2 * tidy.CHECKPOINT_EVERY + 10
            assert len(DeltaTable(str(folder)).file_uris()) <= 3 * math.ceil(math.log(seq + 1, 4) + 1)
    assert sum(merged) <= appended * math.log(100, tidy.FILES_OF_A_TIER)
    assert len(ids(log)) == 100 * 5


def test_a_file_that_is_large_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "FULL_BYTES", 2000)
    merged = counted(monkeypatch)
    log = EventLog(tmp_path, SCHEMA)
    for seq in range(1, 26):
        log.append_predictions(rows_of(seq, 300), through=seq)
    assert merged == [] and len(ids(log)) == 25 * 300


def test_labels_and_shadows_are_tidied_too_and_the_newest_label_counts(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 1, 1)
    for seq in range(2, 35):
        label = Label(id="1-0", label=str(seq % 2), time=NOON)
        log.append_labels([LoggedLabel(seq, NOON, label)], through=seq)
        log.append_predictions(rows_of(seq, 1), through=seq, table="shadow")
    assert log.window_rows(DAY, "v")["label"].to_list() == ["0"]  # of 34, the last
    assert (log.count("labels"), log.count("shadow")) == (33, 33)
    for table in ("labels", "shadow"):
        assert len(DeltaTable(str(tmp_path / table)).file_uris()) < 12


def test_what_is_being_read_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "OLD", timedelta())
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 9)
    before = tidy.live_sizes(DeltaTable(str(tmp_path / "predictions")))
    with log._scan("predictions"):
        append(log, 10, 40)
        assert all((tmp_path / "predictions" / one).exists() for one in before)
    append(log, 41, 41)
    assert len(list((tmp_path / "predictions").glob("part-*"))) <= 10


@pytest.mark.usefixtures("small")
def test_readers_in_other_threads_see_whole_snapshots_while_it_is_tidied(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 1)
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert log.window_rows(DAY, "v").height % 2 == 0
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    append(log, 2, 32)
    done.set()
    for one in readers:
        one.join()
    assert failures == []
    assert len(ids(log)) == 64


class Crash(Exception):
    """The process dies here."""


STEPS: list[tuple[Any, str]] = [
    (pl.LazyFrame, "sink_parquet"),
    (tidy, "sync"),
    (tidy, "commit"),
    (Folder, "put_new"),
    (Path, "unlink"),
    (DeltaTable, "create_checkpoint"),
]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_a_failure_of_tidying_loses_nothing_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
) -> None:
    monkeypatch.setattr(tidy, "CHECKPOINT_EVERY", 5)
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 3)
    real: Callable[..., Any] = getattr(owner, name)
    died = list[bool]()

    def dies(*args: Any, **kwargs: Any) -> Any:
        died.append(True)
        if after:
            real(*args, **kwargs)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dies)
        append(log, 4, 10)  # never fails
    assert died
    assert ids(log) == ids(EventLog(tmp_path, SCHEMA))
    folder = tmp_path / "predictions"
    for one in (log, EventLog(tmp_path, SCHEMA)):
        last = one.last_seq("predictions")
        append(one, last + 1, last + 12)
        assert len(ids(one)) == 2 * (last + 12)
        assert bytes_of(folder, "*.parquet") <= 2 * live_bytes(folder)


def test_a_table_of_an_earlier_release_is_tidied_and_told_how_long_to_remember(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has small files, all statistics, and a week of metadata."""
    monkeypatch.setattr(tidy, "CHECKPOINT_EVERY", 15)
    from deltalake import CommitProperties, Transaction, write_deltalake

    from driftline.store.logged import predictions_frame

    for seq in range(1, 61):
        properties = CommitProperties(app_transactions=[Transaction("driftline-inbox", seq)])
        frame = predictions_frame(rows_of(seq, 2), SCHEMA)
        write_deltalake(
            str(tmp_path / "predictions"), frame, mode="append", schema_mode="merge", commit_properties=properties
        )
    log = EventLog(tmp_path, SCHEMA)
    append(log, 61, 61 + 2 * tidy.CHECKPOINT_EVERY)
    assert len(ids(log)) == 2 * (61 + 2 * tidy.CHECKPOINT_EVERY)
    table = DeltaTable(str(tmp_path / "predictions"))
    assert table.metadata().configuration.items() >= tidy.PROPERTIES.items()
    assert len(table.file_uris()) < 30
    assert len(list((tmp_path / "predictions" / "_delta_log").iterdir())) <= 2 * tidy.CHECKPOINT_EVERY + 30


def test_a_merge_says_that_no_data_changed(tmp_path: Path) -> None:
    """Who streams from the table must not take the rows for new ones."""
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 10)
    commits = sorted((tmp_path / "predictions" / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in commits[-1].read_text().splitlines()]
    changes = [one[kind]["dataChange"] for one in actions for kind in ("add", "remove") if kind in one]
    assert len(changes) == 11 and not any(changes)


@given(st.lists(st.integers(1, 2 * tidy.FULL_BYTES), max_size=40))
def test_no_merge_rewrites_more_than_two_large_files(sizes: list[int]) -> None:
    """However the files are: what waits behind a merge waits for so many bytes at most."""
    live = [tidy.LiveFile(f"{place}.parquet", size, place) for place, size in enumerate(sizes)]
    due = tidy._due(live)
    small = [one for one in live if one.size < tidy.FULL_BYTES]
    assert (due is None) is (len(small) < tidy.FILES_OF_A_TIER)
    if due is not None:
        tier, files = due
        assert files == small[: len(files)] and tier == 0
        assert 2 <= len(files) <= tidy.FILES_OF_A_TIER
        assert sum(one.size for one in files) < 2 * tidy.FULL_BYTES
