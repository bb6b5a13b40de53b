"""Whatever features and classes are called: the log tells them apart, and gives them back under their names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from driftline.errors import DataError
from driftline.events import Kind, Prediction, Schema, Task, Window
from driftline.events.values import UNKNOWN_CLASSES_LIMIT
from driftline.store.columns import ColumnNames, escape, unescape
from driftline.store.log import EventLog
from driftline.store.logged import LoggedPrediction

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = Window(NOON - timedelta(hours=12), NOON + timedelta(hours=12))

any_name = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
alike = st.text(st.sampled_from("aAßsS%~5İiIıK\u212a\x00\n"), max_size=4)


@given(any_name | alike)
def test_an_escaped_name_can_be_read_again_and_is_the_same_in_either_case(name: str) -> None:
    written = escape(name)
    assert unescape(written) == name
    assert written == written.casefold() == written.lower()
    assert written.isprintable()


@given(st.lists(alike, unique=True), st.lists(alike, unique=True))
@example(["V1", "v1"], ["v1"])
@example(["~a", "A", "a"], [])
def test_no_two_names_share_a_column_and_a_column_keeps_its_name(first: list[str], second: list[str]) -> None:
    names = ColumnNames([], [f"feature.{one}" for one in first])
    columns = {one: names.column(f"feature.{one}") for one in first}
    assert len({column.casefold() for column in columns.values()}) == len(first)
    later = ColumnNames(columns.values(), [f"feature.{one}" for one in second])
    for one in {*first, *second}:
        assert later.column(f"feature.{one}") == columns.get(one, later.column(f"feature.{one}"))
    assert len({later.column(f"feature.{one}").casefold() for one in {*first, *second}}) == len({*first, *second})
    assert {later.canonical().get(column, column) for column in columns.values()} == {f"feature.{one}" for one in first}


@given(any_name.filter(lambda name: name.isprintable() and not name.startswith("~")))
def test_an_ordinary_name_is_its_own_column(name: str) -> None:
    assert ColumnNames([]).column(f"score.{name}") == f"score.{name}"


def logged(seq: int, features: dict[str, float | str | None], score: dict[str, float]) -> LoggedPrediction:
    event = Prediction(
        id=str(seq), time=NOON, version="v", features=features, prediction="a", score=score, latency_seconds=None
    )
    return LoggedPrediction(seq, event)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(alike | any_name, unique=True, max_size=5), st.lists(alike, unique=True, max_size=4))
@example(["V1", "v1"], ["Rain", "rain", "sun\x00"])
def test_any_names_come_back_from_the_log(
    tmp_path_factory: pytest.TempPathFactory, features: list[str], classes: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    schema = Schema(Task.MULTICLASS, dict.fromkeys(features, Kind.NUMERIC), tuple(classes))
    values: dict[str, float | str | None] = {name: float(place) for place, name in enumerate(features)}
    scores = {name: place / 10 for place, name in enumerate(classes)}
    for seq in (1, 2):  # the second time the columns are there
        log = EventLog(folder, schema)
        log.append_predictions([logged(seq, values, scores)], through=seq)
    found = EventLog(folder, schema).window_rows(DAY, "v")
    for name in features:
        assert found[f"feature.{name}"].to_list() == [values[name]] * 2
    for name in classes:
        assert found[f"score.{name}"].to_list() == [scores[name]] * 2
    assert set(found.columns) == {*log.prediction_columns(), "label"}


def test_a_log_of_an_earlier_release_keeps_its_columns(tmp_path: Path) -> None:
    old = Schema(Task.MULTICLASS, {"V1": Kind.NUMERIC}, ("a", "b"))
    EventLog(tmp_path, old).append_predictions([logged(1, {"V1": 1.0}, {})], through=1)
    both = Schema(Task.MULTICLASS, {"v1": Kind.NUMERIC, "V1": Kind.NUMERIC}, ("a", "b"))
    log = EventLog(tmp_path, both)
    log.append_predictions([logged(2, {"V1": 2.0, "v1": -2.0}, {})], through=2)
    found = log.window_rows(DAY, "v").sort("seq")
    assert found["feature.V1"].to_list() == [1.0, 2.0]
    assert found["feature.v1"].to_list() == [None, -2.0]


def test_a_tab_in_a_column_of_an_earlier_release_is_read_on(tmp_path: Path) -> None:
    write_deltalake(
        str(tmp_path / "predictions"),
        pl.DataFrame({"seq": [1], "id": ["a"], "time": [NOON], "version": ["v"], "feature.a\tb": [1.5]}),
        mode="append",
    )
    schema = Schema(Task.MULTICLASS, {"a\tb": Kind.NUMERIC}, ("a", "b"))
    assert EventLog(tmp_path, schema).window_rows(DAY, "v")["feature.a\tb"].to_list() == [1.5]


def test_scores_of_classes_that_the_model_does_not_have_are_refused(tmp_path: Path) -> None:
    log = EventLog(tmp_path, Schema(Task.MULTICLASS, {}, ("rain", "sun")))
    with pytest.raises(DataError, match="'snow'; the model's classes are rain, sun"):
        log.append_predictions([logged(1, {}, {"snow": 0.5})], through=1)
    assert log.count("predictions") == 0


def test_the_columns_of_unknown_classes_are_bounded(tmp_path: Path) -> None:
    log = EventLog(tmp_path, Schema(Task.MULTICLASS, {}))
    seq, refused = 0, 0
    for seq in range(1, UNKNOWN_CLASSES_LIMIT + 11):
        try:
            log.append_predictions([logged(seq, {}, {f"class {seq}": 0.5})], through=seq)
        except DataError:
            refused += 1
    assert refused == 10
    log.append_predictions([logged(seq + 1, {}, {"class 1": 0.25}), logged(seq + 1, {}, {})], through=seq + 1)
    assert sum(name.startswith("score.") for name in log.prediction_columns()) == UNKNOWN_CLASSES_LIMIT
