"""One suite for the event log in every place: a folder, and a bucket."""

from __future__ import annotations

import gc
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from driftline.errors import StorageError
from driftline.events import Label
from driftline.sources.files import open_delta
from driftline.store import tidy
from driftline.store.blobs import Blobs, Folder
from driftline.store.log import EventLog
from driftline.store.logged import LoggedLabel
from driftline.store.s3 import Bucket
from tests.store.test_tidy import DAY, NOON, SCHEMA, append, ids, rows_of
from tests.support.s3 import S3


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """A new place of each kind, whose name has what addresses write otherwise."""
    if request.param == "folder":
        return Folder(tmp_path).within("log").within("a b%ü")
    server: S3 = request.getfixturevalue("s3")
    return Bucket.at(server.address()).within("log").within("a b%ü")


def label(seq: int, id: str, text: str) -> LoggedLabel:
    return LoggedLabel(seq, NOON, Label(id=id, label=text, time=NOON + timedelta(hours=1)))


def test_what_is_appended_is_read_again_by_every_way(place: Blobs) -> None:
    log = EventLog(place, SCHEMA)
    assert log.last_seqs() == {"predictions": 0, "labels": 0, "shadow": 0} and log.written_at() is None
    append(log, 1, 3)
    log.append_predictions(rows_of(4, 1), through=4, table="shadow")
    log.append_labels([label(5, "1-0", "0"), label(6, "1-0", "1"), label(6, "2-1", "0")], through=6)
    for one in (log, EventLog(place, SCHEMA)):
        assert one.last_seqs() == {"predictions": 3, "labels": 6, "shadow": 4}
        assert one.missing_files(whole=True) == []
        rows = one.window_rows(DAY, "v")
        assert dict(zip(rows["id"], rows["label"], strict=True)) == {
            "1-0": "1", "1-1": None, "2-0": None, "2-1": "0", "3-0": None, "3-1": None
        }  # fmt: skip
        assert sorted(one.labelled_rows(DAY, one.marks())["id"]) == ["1-0", "2-1"]
        assert one.rows_of(["3-1", "none"])["id"].to_list() == ["3-1"]
        assert one.shadow_rows("v")["id"].to_list() == ["4-0"]
        assert one.known_rows().height == 6 and one.count("labels") == 3
        assert one.counts()["predictions", "v"] == 6
        assert one.newest_time() == NOON + timedelta(seconds=3)
        assert one.written_at() is not None


def test_a_batch_that_comes_again_is_appended_once(place: Blobs) -> None:
    append(EventLog(place, SCHEMA), 1, 2)
    again = EventLog(place, SCHEMA)
    append(again, 1, 3)
    assert again.count("predictions") == 6


def test_one_event_can_be_taken_out_again(place: Blobs) -> None:
    log = EventLog(place, SCHEMA)
    append(log, 1, 2)
    log.remove("predictions", [(2, "2-1"), (1, "2-0")])
    assert ids(log) == ids(EventLog(place, SCHEMA)) == ["1-0", "1-1", "2-0"]


def test_a_copy_of_the_tables_has_the_columns_and_no_rows(place: Blobs) -> None:
    log = EventLog(place, SCHEMA)
    append(log, 1, 1)
    copy = EventLog(place.within("copy"), SCHEMA)
    copy.create_tables(log.table_schemas())
    assert copy.prediction_columns() == log.prediction_columns() and copy.count("predictions") == 0


def test_it_stays_small_and_whole_and_others_read_it(place: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "CHECKPOINT_EVERY", 7)
    monkeypatch.setattr(tidy, "OLD", timedelta())
    log = EventLog(place, SCHEMA)
    append(log, 1, 23)
    names = [one.name for one in place.within("predictions").list()]
    data = [one for one in names if one.endswith(".parquet") and "/" not in one]
    assert len(data) <= 6 and sum("tier-1" in one for one in data) == 2
    assert any("checkpoint" in one for one in names) and len([one for one in names if one.endswith(".json")]) < 23
    for one in (log, EventLog(place, SCHEMA)):
        assert len(ids(one)) == 46 and one.missing_files(whole=True) == []
    table = open_delta(place.within("predictions").root, options=place.table_options)
    assert pl.scan_delta(table, storage_options=place.scan_options).select(pl.len()).collect().item() == 46


def test_a_file_that_is_gone_is_named_and_the_rest_goes_on_where_that_is_accepted(place: Blobs) -> None:
    log = EventLog(place, SCHEMA)
    append(log, 1, 3)
    table = place.within("predictions")
    gone = next(one.name for one in table.list() if one.name.endswith(".parquet"))
    table.delete(gone)
    later = EventLog(place, SCHEMA)
    assert later.missing_files() == [table.uri(gone)]
    later.drop_missing_files()
    assert later.missing_files() == [] and len(ids(later)) == 4


def test_a_file_of_another_length_is_put_aside(place: Blobs) -> None:
    log = EventLog(place, SCHEMA)
    append(log, 1, 2)
    table = place.within("predictions")
    cut = next(one.name for one in table.list() if one.name.endswith(".parquet"))
    table.put(cut, table.get(cut)[:-9])
    later = EventLog(place, SCHEMA)
    assert later.missing_files() == [table.uri(cut)]
    later.drop_missing_files()
    assert len(ids(later)) == 2 and table.find(f"{cut}.broken") is not None


def test_a_hint_that_leads_nowhere_is_put_aside_and_a_commit_that_is_cut_is_named(place: Blobs) -> None:
    append(EventLog(place, SCHEMA), 1, 3)
    table = place.within("predictions")
    table.put("_delta_log/_last_checkpoint", b'{"version":2,"size":7}')
    later = EventLog(place, SCHEMA)
    assert len(ids(later)) == 6 and table.find("_delta_log/_last_checkpoint.broken") is not None
    commit = f"_delta_log/{2:020}.json"
    table.put(commit, table.get(commit)[:-20])
    with pytest.raises(StorageError, match="is cut off or damaged; bring back a backup"):
        ids(EventLog(place, SCHEMA))


def test_of_two_writers_the_second_finds_what_the_first_has_brought(place: Blobs) -> None:
    """The other has written what this one is about to: it finds that out from the table, not from what it remembers."""
    first, second = EventLog(place, SCHEMA), EventLog(place, SCHEMA)
    append(first, 1, 1)
    append(second, 1, 1)
    assert second.last_seq("predictions") == 1
    append(first, 2, 2)
    append(second, 2, 2)  # it has not seen the other's: its commit fails, it looks again, and there is nothing to add
    assert ids(EventLog(place, SCHEMA)) == ["1-0", "1-1", "2-0", "2-1"]
    append(second, 2, 3)
    assert ids(EventLog(place, SCHEMA)) == ["1-0", "1-1", "2-0", "2-1", "3-0", "3-1"]


def test_rows_are_erased_for_good(place: Blobs) -> None:
    log = EventLog(place, SCHEMA)
    append(log, 1, 3)
    assert log.erase("predictions", pl.col("id") == "2-0").rows == 1
    assert log.delete_erased()
    assert ids(log) == ids(EventLog(place, SCHEMA)) == ["1-0", "1-1", "2-1", "3-0", "3-1"]
    table = place.within("predictions")
    data = [one.name for one in table.list() if one.name.endswith(".parquet") and "/" not in one.name]
    assert len(data) == 3 and log.last_seq("predictions") == 3 and log.missing_files(whole=True) == []


def test_an_append_to_a_bucket_takes_a_bounded_number_of_requests_however_many_came_before(
    faulty_s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read of the metadata ends at a checkpoint."""
    monkeypatch.setattr(tidy, "FAR_CHECKPOINT_EVERY", 3)
    log = EventLog(Bucket.at(faulty_s3.address()).within("m"), SCHEMA)
    append(log, 1, 5)
    counts = []
    for first in (6, 12):
        faulty_s3.proxy.asked.clear()
        append(log, first, first + 5)
        counts.append(len(faulty_s3.proxy.asked) / 6)
    assert max(counts) <= 30
    faulty_s3.proxy.asked.clear()
    ids(log)
    first_time = len(faulty_s3.proxy.asked)
    ids(log)
    assert len(faulty_s3.proxy.asked) - first_time < first_time < 40


def test_the_tables_of_older_versions_go_without_a_search_for_garbage(place: Blobs) -> None:
    log = EventLog(place, SCHEMA)
    gc.collect()
    gc.disable()
    try:
        before = open_tables()
        for seq in range(1, 6):
            append(log, seq, seq)
            assert log.count("predictions") == 2 * seq
        assert open_tables() - before == 2  # the one that is written, and the one that was read last
    finally:
        gc.enable()


def open_tables() -> int:
    return sum(isinstance(one, DeltaTable) for one in gc.get_objects())
