"""A log that two processes write, one of which was paused: each row is there once, whoever commits first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import LeaseLostError, StorageError
from driftline.store import erasing, tidy
from driftline.store import log as log_module
from driftline.store.blobs import Folder
from driftline.store.log import EventLog
from tests.store.test_tidy import SCHEMA, append, ids, rows_of


def expected(*seqs: int) -> list[str]:
    return sorted(f"{seq}-{index}" for seq in seqs for index in range(2))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=12))
def test_writers_that_do_not_know_of_each_other_add_nothing_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]]
) -> None:
    """Each has its own idea of what comes next, as two that took the same batches have; a commit is compared first."""
    folder = tmp_path_factory.mktemp("log")
    logs = [EventLog(folder, SCHEMA), EventLog(folder, SCHEMA)]
    at = [0, 0]
    for first, number in steps:
        who = int(first)
        append(logs[who], at[who] + 1, at[who] + number)
        at[who] += number
    assert ids(EventLog(folder, SCHEMA)) == expected(*range(1, max(at) + 1))


@pytest.mark.parametrize("there", [0, 2], ids=["no table yet", "a table"])
def test_a_writer_that_is_paused_in_the_midst_of_an_append_does_not_append_what_the_next_one_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    paused, other = EventLog(tmp_path, SCHEMA), EventLog(tmp_path, SCHEMA)
    append(paused, 1, there)
    real: Callable[..., Any] = log_module.write_deltalake

    def write(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(log_module, "write_deltalake", real)
        other.append_predictions(rows_of(there + 1, 2), through=there + 1)  # it wakes up after this
        real(*args, **kwargs)

    monkeypatch.setattr(log_module, "write_deltalake", write)
    paused.append_predictions([*rows_of(there + 1, 2), *rows_of(there + 2, 2)], through=there + 2)
    assert ids(EventLog(tmp_path, SCHEMA)) == expected(*range(1, there + 3))


def test_who_takes_a_log_over_shuts_out_its_last_writer(tmp_path: Path) -> None:
    first = EventLog(tmp_path, SCHEMA, token=1)
    append(first, 1, 2)
    second = EventLog(tmp_path, SCHEMA, token=2)
    second.take_over()
    with pytest.raises(LeaseLostError):
        append(first, 3, 3)
    with pytest.raises(LeaseLostError):
        EventLog(tmp_path, SCHEMA, token=1).take_over()
    append(second, 3, 3)
    second.take_over()  # again: there is nothing to do
    assert second.highest_token() == 2
    assert ids(second) == expected(1, 2, 3)


def test_a_takeover_in_the_midst_of_an_append_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = EventLog(tmp_path, SCHEMA, token=1)
    append(first, 1, 2)
    real: Callable[..., Any] = log_module.write_deltalake

    def write(*args: Any, **kwargs: Any) -> None:
        EventLog(tmp_path, SCHEMA, token=2).take_over()
        real(*args, **kwargs)

    monkeypatch.setattr(log_module, "write_deltalake", write)
    with pytest.raises(LeaseLostError):
        append(first, 3, 3)
    assert ids(EventLog(tmp_path, SCHEMA)) == expected(1, 2)


def test_a_log_that_is_written_all_the_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, other = EventLog(tmp_path, SCHEMA), EventLog(tmp_path, SCHEMA)
    append(log, 1, 1)
    real: Callable[..., Any] = log_module.write_deltalake
    seqs = iter(range(2, 50))

    def write(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(log_module, "write_deltalake", real)
        append(other, seq := next(seqs), seq)
        monkeypatch.setattr(log_module, "write_deltalake", write)
        real(*args, **kwargs)

    monkeypatch.setattr(log_module, "write_deltalake", write)
    with pytest.raises(StorageError, match="is written by somebody else all the time"):
        log.append_predictions(rows_of(99, 2), through=99)
    assert "99-0" not in ids(EventLog(tmp_path, SCHEMA))


def test_a_reader_sees_what_another_process_appends(tmp_path: Path) -> None:
    writer, reader = EventLog(tmp_path, SCHEMA, token=1), EventLog(tmp_path, SCHEMA).for_readers()
    assert reader.last_seq("predictions") == 0
    for seq in (1, 2):
        append(writer, seq, seq)
        assert reader.last_seq("predictions") == seq
        assert ids(reader) == expected(*range(1, seq + 1))
    assert reader.for_readers() is reader


def test_a_paused_writer_neither_merges_over_a_commit_nor_deletes_what_the_next_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EventLog(tmp_path, SCHEMA, token=1)
    append(first, 1, 9)
    second = EventLog(tmp_path, SCHEMA, token=2)
    table, stray = tmp_path / "predictions", tmp_path / "predictions" / "stray.parquet"
    real = tidy.Tidier._strays

    def strays(self: tidy.Tidier, *args: Any) -> Any:
        if self.token == 1:
            second.take_over()
            stray.touch()  # which the second one is about to commit
        return real(self, *args)

    monkeypatch.setattr(tidy.Tidier, "_strays", strays)
    fresh = EventLog(tmp_path, SCHEMA, token=1)
    with pytest.raises(LeaseLostError):
        append(fresh, 10, 10)  # the tenth file: it would merge them
    assert stray.exists()
    assert DeltaTable(str(table)).transaction_version(tidy.LEASE) == 2
    assert ids(second.for_readers()) == expected(*range(1, 11))


def test_a_paused_writer_that_erases_deletes_no_file_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is paused after it has seen that it is the writer, and before it looks at what there is."""
    first, second = EventLog(tmp_path, SCHEMA, token=1), EventLog(tmp_path, SCHEMA, token=2)
    append(first, 1, 3)
    assert first.erase("predictions", pl.col("seq") == 2).files == 1
    real = tidy.Tidier._strays

    def strays(self: tidy.Tidier, *args: Any) -> Any:
        monkeypatch.setattr(tidy.Tidier, "_strays", real)
        second.take_over()
        append(second, 4, 4)
        return real(self, *args)

    monkeypatch.setattr(tidy.Tidier, "_strays", strays)
    with pytest.raises(LeaseLostError):
        first.delete_erased()
    assert ids(second.for_readers()) == expected(1, 3, 4)
    assert second.delete_erased() and ids(second.for_readers()) == expected(1, 3, 4)
    assert len(list((tmp_path / "predictions").glob("*.parquet"))) == 3


def test_a_writer_that_is_paused_while_it_erases_takes_no_row_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = EventLog(tmp_path, SCHEMA, token=1), EventLog(tmp_path, SCHEMA, token=2)
    append(first, 1, 2)
    real = erasing.commit

    def commit(*args: Any) -> None:
        monkeypatch.setattr(erasing, "commit", real)
        second.take_over()
        append(second, 3, 3)
        assert second.erase("predictions", pl.col("seq") == 1).rows == 2
        real(*args)

    monkeypatch.setattr(erasing, "commit", commit)
    for _ in range(2):
        with pytest.raises(LeaseLostError):
            first.erase("predictions", pl.col("seq") <= 2)
    assert second.delete_erased() and ids(second.for_readers()) == expected(2, 3)


def test_who_reads_while_another_process_erases_reads_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = EventLog(tmp_path, SCHEMA, token=1)
    append(writer, 1, 3)
    reader, real = writer.for_readers(), EventLog._names

    def names(self: EventLog, *args: Any) -> Any:
        monkeypatch.setattr(EventLog, "_names", real)
        assert writer.erase("predictions", pl.col("seq") == 2).rows == 2 and writer.delete_erased()
        return real(self, *args)

    for read in (ids, lambda log: sorted(log.rows_of(expected(1, 2, 3, 4))["id"])):
        monkeypatch.setattr(EventLog, "_names", names)
        assert read(reader) == expected(1, 3)
        writer = EventLog(tmp_path / "again", SCHEMA, token=1)
        append(writer, 1, 3)
        reader = writer.for_readers()
    next((tmp_path / "again" / "predictions").glob("*.parquet")).unlink()  # which no version says
    with pytest.raises(StorageError, match="cannot be read"):
        reader.count("predictions")


def test_no_two_holders_of_a_lease_write_a_file_of_one_name(tmp_path: Path) -> None:
    names = {tidy.Tidier(Folder(tmp_path), token).name_of(2, 7) for token in (None, 1, 2)}
    assert len(names) == 3
    assert {tidy.LiveFile(name, 1, 1).tier for name in names} == {2}


def test_a_merge_does_not_take_the_place_of_a_commit_that_came_first(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    append(log, 1, 3)
    folder = tmp_path / "predictions"
    before = (folder / "_delta_log" / f"{2:020}.json").read_bytes()
    with pytest.raises(FileExistsError, match="was written by somebody else"):
        tidy.commit(Folder(folder), 2, [], next(folder.glob("*.parquet")).name)
    assert (folder / "_delta_log" / f"{2:020}.json").read_bytes() == before
    assert not [*(folder / "_delta_log").glob(".*")]


def test_what_other_processes_may_read_stays_for_a_minute_whatever_room_it_takes(tmp_path: Path) -> None:
    alone, shared = EventLog(tmp_path / "alone", SCHEMA), EventLog(tmp_path / "shared", SCHEMA, token=1)
    for log in (alone, shared):
        append(log, 1, 30)
    folders = [tmp_path / name / "predictions" for name in ("alone", "shared")]
    assert len({len(tidy.live_sizes(DeltaTable(str(one)))) for one in folders}) == 1
    files = [len([*one.glob("*.parquet")]) for one in folders]
    assert files[1] == 30 + 3 > files[0]
