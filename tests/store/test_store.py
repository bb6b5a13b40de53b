"""The stores alone: what an earlier release left is kept, what is broken says so, the log gives back what it took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from driftline.errors import StorageError
from driftline.events import WHOLE, Kind, Label, Prediction, Schema, Slice, Task, Window
from driftline.store import migrations
from driftline.store.database import open_database
from driftline.store.log import EventLog
from driftline.store.logged import LoggedLabel, LoggedPrediction
from driftline.store.outbox import Outbox
from driftline.store.overview import Overview
from driftline.store.state import State

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = Window(NOON - timedelta(hours=12), NOON + timedelta(hours=12))


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'state.db'}"


def at_revision(folder: Path, revision: str, *statements: str) -> None:
    """A database as an earlier release left it."""
    with sa.create_engine(url(folder)).begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for one in statements:
            connection.execute(sa.text(one))


def test_what_waits_in_a_database_of_an_earlier_release_goes_on_waiting(tmp_path: Path) -> None:
    at_revision(
        tmp_path,
        "0003",
        "INSERT INTO notifications (channel, model, alert, body, attempts, due_at, last_error, state) "
        f"VALUES ('c', 'm', 'a', '{{}}', 0, {int(NOON.timestamp()) * 1_000_000}, '', 'waiting')",
    )
    with State(open_database(url(tmp_path))).read() as read:
        [row] = Outbox(read.connection).waiting("c", 10)
    assert (row.alert, row.due_at, row.refusals) == ("a", NOON, 0)


def test_what_was_known_of_all_versions_and_of_each_is_known_of_these_slices(tmp_path: Path) -> None:
    summary = "INSERT INTO summaries (model, start, version, body) VALUES ('m', 0, '{}', x'{}')"
    of_all = msgspec.msgpack.encode(
        {"start": 0, "end": 9, "stage": "open", "predictions": 1, "labelled": 0, "coverage": {"value": None}}
        | {"performance": {}, "drift": {}, "prediction_drift": None, "label_drift": None}
    )
    at_revision(
        tmp_path,
        "0008",
        summary.format("*", of_all.hex()),
        summary.format("", "02"),
        summary.format("a b%", "03"),
        "INSERT INTO windows VALUES ('m', 0, 'a b%', 9, 1, 0, x'00', 0, 1, 0, 3, NULL)",
        "INSERT INTO judgements (model, rule, window_start, window_end, judged_at, state, n, threshold, reason,"
        " current) VALUES ('m', 'low', 0, 9, 9, 'breach', 1, 0.5, '', 1)",
        "INSERT INTO alerts (id, model, rule, measure, severity, title, status, started_at, last_end, window_start,"
        " window_end, n, threshold, findings, fired_at, acknowledged_by, acknowledged_reason, muted)"
        " VALUES ('a', 'm', 'low', 'accuracy', 'page', 't', 'firing', 0, 9, 0, 9, 1, 0.5, 'null', 9, '', '', '')",
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    with State(open_database(url(tmp_path))).read() as read:
        assert Overview(read.connection).summaries({"m": epoch})["m"] == {
            WHOLE: of_all,
            Slice(""): b"\x02",
            Slice("a b%"): b"\x03",
        }
        assert [one.slice for one in (*read.judgements.find("m"), *read.alerts.find("m"))] == [WHOLE, WHOLE]
        assert read.judgements.breaches_in_a_row("m", "low") == 1
        [row] = read.windows.between("m")
    assert (row.revision, row.segments) == (3, None)


@pytest.mark.parametrize(("sync", "level"), [(True, 2), (False, 1)])
def test_what_must_be_durable_waits_for_the_disk(tmp_path: Path, sync: bool, level: int) -> None:
    with open_database(url(tmp_path), sync_commits=sync).connect() as connection:
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar_one() == level
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_what_is_deleted_is_not_written_once_more(tmp_path: Path) -> None:
    """Some builds of SQLite write zeros over it, at the price of writing it: 2 says where that costs no write."""
    with open_database(url(tmp_path)).connect() as connection:
        assert connection.execute(sa.text("PRAGMA secure_delete")).scalar_one() == 2


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is not a database, and long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="cannot be opened"):
        open_database(url(tmp_path))


# ---- the log --------------------------------------------------------------------------------------------------------

SCHEMA = Schema(Task.MULTICLASS, {"x": Kind.NUMERIC, "k": Kind.CATEGORICAL}, ("rain", "sun"))


def logged(seq: int, id: str, *, time: datetime = NOON, version: str = "v") -> LoggedPrediction:
    features: dict[str, float | str | None] = {"x": 1.5, "k": "a"}
    event = Prediction(
        id=id, time=time, version=version, features=features, prediction="sun", score={"sun": 0.7}, latency_seconds=None
    )
    return LoggedPrediction(seq, event)


def labelled(seq: int, id: str, label: str) -> LoggedLabel:
    return LoggedLabel(seq, NOON, Label(id=id, label=label, time=NOON))


def test_a_window_has_its_rows_each_with_the_newest_label(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "my lake, ünï #1", SCHEMA)
    assert (log.window_rows(DAY, "v").height, log.times_and_versions(), log.last_seq("labels")) == (0, [], 0)
    rows = [logged(1, "a"), logged(1, "b"), logged(1, "next", time=DAY.end), logged(1, "other", version="w")]
    log.append_predictions(rows, through=1)
    log.append_labels([labelled(2, "a", "sun")], through=2)
    log.append_labels([labelled(3, "a", "rain"), labelled(3, "next", "rain")], through=3)
    found = EventLog(tmp_path / "my lake, ünï #1", SCHEMA).window_rows(DAY, "v")
    assert sorted(found.select("id", "label").rows()) == [("a", "rain"), ("b", None)]


def test_what_the_log_has_is_not_appended_again(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    log.append_predictions([logged(1, "a"), logged(2, "b")], through=2)
    again = EventLog(tmp_path, SCHEMA)
    again.append_predictions([logged(1, "a"), logged(2, "b"), logged(3, "c")], through=3)
    assert (again.count("predictions"), again.last_seq("predictions")) == (3, 3)


def test_many_small_appends_are_brought_together(tmp_path: Path) -> None:
    log = EventLog(tmp_path, SCHEMA)
    for seq in range(1, 55):
        log.append_predictions([logged(seq, str(seq))], through=seq)
    assert (log.count("predictions"), log.last_seq("predictions")) == (54, 54)
    assert log.window_rows(DAY, "v").height == 54


def test_values_that_are_all_different_have_no_dictionary_and_what_repeats_has_one(tmp_path: Path) -> None:
    EventLog(tmp_path, SCHEMA).append_predictions([logged(1, "a"), logged(2, "b")], through=2)
    [file] = (tmp_path / "predictions").glob("*.parquet")
    group = parquet.ParquetFile(file).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    plain = {one.path_in_schema for one in columns if not one.has_dictionary_page}
    assert plain == {"id", *(one.path_in_schema for one in columns if one.physical_type == "DOUBLE")}
    assert {one.path_in_schema for one in columns if one.is_stats_set} >= {"seq", "time", "version"}
    assert {one.compression for one in columns} == {"ZSTD"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=12).filter(lambda name: "\x00" not in name and name.isprintable()))
def test_features_may_be_called_whatever_a_person_thinks_of(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    schema = Schema(Task.MULTICLASS, {name: Kind.NUMERIC, "a b,;{}()=\t": Kind.NUMERIC}, ("rain", "sun"))
    log = EventLog(tmp_path_factory.mktemp("log"), schema)
    row = logged(1, "a")
    event = Prediction(
        id="a",
        time=NOON,
        version="v",
        features={name: 2.5, "a b,;{}()=\t": 1.0},
        prediction="sun",
        score=row.prediction.score,
        latency_seconds=None,
    )
    log.append_predictions([LoggedPrediction(1, event)], through=1)
    assert log.window_rows(DAY, "v")[f"feature.{name}"].to_list() == [2.5]


def test_a_log_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a file where the table should be")
    with pytest.raises(StorageError, match="predictions"):
        EventLog(tmp_path, SCHEMA).append_predictions([logged(1, "a")], through=1)
