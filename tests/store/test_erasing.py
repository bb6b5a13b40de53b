"""Rows are taken out of the log for good: no file and no version has their bytes, and the others are as they were."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.errors import StorageError
from driftline.events import Label
from driftline.store import erasing
from driftline.store.log import EventLog
from driftline.store.logged import LoggedLabel
from tests.store.test_tidy import DAY, NOON, SCHEMA, append, ids, rows_of


def bytes_with(folder: Path, text: str) -> list[Path]:
    """The files below a folder that have a text in their bytes; columns of texts are stored as they are, or by zstd."""
    return [one for one in folder.rglob("*") if one.is_file() and text.encode() in _unpacked(one)]


def _unpacked(file: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix == ".parquet":
        content += repr(pl.read_parquet(file).to_dicts()).encode()
    return content


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 23), st.sets(st.integers(1, 23), max_size=12), st.integers(1, 3))
def test_exactly_the_rows_that_are_meant_are_gone(
    tmp_path_factory: pytest.TempPathFactory, last: int, gone: set[int], most: int
) -> None:
    """However they lie in the files, in as many steps as it takes; and what comes later is appended as ever."""
    folder = tmp_path_factory.mktemp("log")
    log = EventLog(folder, SCHEMA)
    append(log, 1, last)
    marks = log.marks()["predictions"].seq
    wanted = [f"{seq}-0" for seq in gone]
    taken = 0
    while True:
        erased = log.erase("predictions", pl.col("id").is_in(wanted), most_files=most)
        taken += erased.rows
        if not erased.more:
            break
    assert log.delete_erased()
    left = sorted(
        f"{seq}-{index}" for seq in range(1, last + 1) for index in range(2) if f"{seq}-{index}" not in wanted
    )
    assert ids(log) == left == ids(EventLog(folder, SCHEMA))
    assert taken == len([seq for seq in gone if seq <= last])
    assert log.last_seq("predictions") == EventLog(folder, SCHEMA).last_seq("predictions") == marks
    append(log, last + 1, last + 3)
    assert len(ids(log)) == len(left) + 6
    assert not EventLog(folder, SCHEMA).missing_files(whole=True)


def test_no_byte_of_a_row_is_left_in_any_file_or_version(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 55)
    log.append_labels([LoggedLabel(60, NOON, Label(id=f"{seq}-0", label="1", time=NOON)) for seq in (7, 8)], through=60)
    assert bytes_with(tmp_path, "7-0'")
    for table in ("predictions", "labels"):
        assert log.erase(table, pl.col("id") == "7-0").rows == 1
    assert bytes_with(tmp_path, "'7-0'")  # in files that were replaced
    assert log.delete_erased()
    assert not bytes_with(tmp_path, "'7-0'")
    first = DeltaTable(str(tmp_path / "predictions"), version=0)
    with pytest.raises(Exception, match=r"not found|No such file|os error 2"):
        pl.scan_delta(first).collect()
    assert log.window_rows(DAY, "v").filter(id="8-0")["label"].to_list() == ["1"]


def test_a_log_of_which_nothing_is_left_is_empty_and_goes_on(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 12)
    assert log.erase("predictions", pl.lit(True)).rows == 24
    assert log.erase("shadow", pl.lit(True)).rows == 0  # there is no such table yet
    assert log.delete_erased()
    for one in (log, EventLog(tmp_path, SCHEMA)):
        assert ids(one) == [] and one.count("predictions") == 0
        assert one.newest_time() is None and one.written_at() is None and one.times_and_versions() == []
        assert one.known_rows().height == 0 and one.last_seq("predictions") == 12
    append(log, 12, 13)  # the first of them was there before
    assert ids(EventLog(tmp_path, SCHEMA)) == ["13-0", "13-1"]


def test_files_are_whole_while_somebody_reads_them(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 3)
    with log._scan("predictions") as rows:
        assert log.erase("predictions", pl.col("time") < NOON + timedelta(seconds=3)).rows == 4
        assert not log.delete_erased()
        assert rows is not None and rows.collect().height == 6
    assert log.delete_erased() and len(list((tmp_path / "predictions").glob("*.parquet"))) == 1
    assert rows_of(3, 2)[0].prediction.id in ids(log)


def test_what_was_cut_off_leaves_no_checksum_behind_of_a_file_that_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between a file and its commit; what is erased then makes a file of the same name."""
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 1)

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "commit", end)
        with pytest.raises(KeyboardInterrupt):
            log.erase("predictions", pl.col("id") == "1-0")
    [cut_off] = (tmp_path / "predictions").glob("tier-0-*.parquet")
    log = EventLog(tmp_path, SCHEMA)
    assert log.erase("predictions", pl.col("id") == "1-1").rows == 1
    assert cut_off.exists() and log.delete_erased()
    assert ids(EventLog(tmp_path, SCHEMA)) == ["1-0"]
    assert not EventLog(tmp_path, SCHEMA).missing_files(whole=True)


def test_events_that_cannot_be_processed_are_taken_out_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is looked at once, however many they are, and an id of another batch stays."""
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 3)
    looked: list[Path] = []
    real = pl.scan_parquet
    monkeypatch.setattr(pl, "scan_parquet", lambda source, **rest: looked.append(source) or real(source, **rest))
    log.remove("predictions", [(1, "1-0"), (1, "1-1"), (2, "2-1"), (3, "2-0"), (2, "3-0")])
    assert ids(log) == ["2-0", "3-0", "3-1"]
    assert len([one for one in looked if "tier-0" not in str(one)]) == 3


def test_no_row_is_taken_out_of_a_file_that_is_damaged_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 1)
    append(EventLog(tmp_path / "other", SCHEMA), 1, 2)
    [file] = (tmp_path / "predictions").glob("*.parquet")
    other = max((tmp_path / "other" / "predictions").glob("*.parquet"), key=lambda one: one.stat().st_mtime_ns)
    file.write_bytes(other.read_bytes())
    log = EventLog(tmp_path, SCHEMA)
    for told in (lambda: log.erase("predictions", pl.lit(True)), log.require_undamaged):
        with pytest.raises(StorageError, match=f"{file.name} of the event log is damaged.*driftline rebuild"):
            told()
    assert file.read_bytes() == other.read_bytes()
