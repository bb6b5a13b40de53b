"""The rows of a run: the right ones, as of a moment, under the names and types of the reference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.errors import DataError
from driftline.events import Label, Prediction, Window
from driftline.profiles import Columns, infer_schema
from driftline.retrain.rows import (
    EVALUATION,
    REFERENCE,
    TRAINING,
    RowsRecord,
    read_evaluation,
    split,
    typed,
    write_rows,
)
from driftline.store.log import EventLog, Mark, Table
from driftline.store.logged import LoggedLabel, LoggedPrediction

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
COLUMNS = Columns(id="nr", time="at", prediction="said", score="p", label="truth")
REFERENCE_ROWS = pl.DataFrame(
    {
        "nr": ["r1", "r2"],
        "at": [START, START],
        "said": [0, 1],
        "p": [0.2, 0.9],
        "truth": [0, 1],
        "age": [40, 30],
        "wind": [1.5, 2.5],
        "plan": ["basic", "pro"],
    }
)
SCHEMA = infer_schema(REFERENCE_ROWS, COLUMNS)


def prediction(number: int, day: float, **changes: Any) -> LoggedPrediction:
    features = {"age": 40.0 + number, "wind": 0.5, "plan": "pro", **changes.pop("features", {})}
    one = Prediction(
        id=f"p{number}",
        time=START + day * DAY,
        version="v1",
        features=features,
        prediction="1",
        score={"1": 0.75},
        latency_seconds=None,
    )
    return LoggedPrediction(changes.pop("seq", number), one)


def label(number: int, day: float, truth: str, seq: int) -> LoggedLabel:
    return LoggedLabel(seq, START + day * DAY, Label(id=f"p{number}", label=truth, time=START + (day + 1) * DAY))


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    log = EventLog(tmp_path / "log", SCHEMA)
    log.append_predictions([prediction(number, number) for number in range(1, 11)], through=10)
    log.append_labels([label(number, number, str(number % 2), 20) for number in range(1, 10)], through=20)
    return log


def written(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / name)


def test_training_ends_where_evaluation_begins_and_only_labelled_rows_are_there(log: EventLog, tmp_path: Path) -> None:
    parts = split(START + 12 * DAY, train_on=6 * DAY, evaluate_on=5 * DAY)
    record = write_rows(tmp_path / "run", log, parts, SCHEMA, COLUMNS, REFERENCE_ROWS)
    training, evaluation = written(tmp_path / "run", TRAINING), written(tmp_path / "run", EVALUATION)
    assert training["nr"].to_list() == [f"p{number}" for number in range(1, 7)]
    assert evaluation["nr"].to_list() == ["p7", "p8", "p9"]  # p10 has no label
    assert training["at"].max() < parts.evaluation.start <= evaluation["at"].min()  # type: ignore[operator]
    assert (record.training.rows, record.evaluation.rows) == (6, 3)
    assert (record.training.end, record.evaluation.begin) == (parts.evaluation.start, parts.evaluation.start)
    assert written(tmp_path / "run", REFERENCE).equals(REFERENCE_ROWS)


def test_the_rows_that_are_judged_by_are_sealed(log: EventLog, tmp_path: Path) -> None:
    parts = split(START + 12 * DAY, train_on=6 * DAY, evaluate_on=5 * DAY)
    record = write_rows(tmp_path / "run", log, parts, SCHEMA, COLUMNS, REFERENCE_ROWS)
    path = tmp_path / "run" / EVALUATION
    rows = read_evaluation(tmp_path / "run", record)
    assert rows.equals(pl.read_parquet(path))
    content = path.read_bytes()
    for changed in (content[:-1], b"", content + b"x"):
        path.write_bytes(changed)
        with pytest.raises(DataError, match="is not as it was handed out"):
            read_evaluation(tmp_path / "run", record)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_evaluation(tmp_path / "run", record)


def test_names_and_types_are_those_of_the_reference(log: EventLog, tmp_path: Path) -> None:
    parts = split(START + 12 * DAY, train_on=6 * DAY, evaluate_on=5 * DAY)
    write_rows(tmp_path / "run", log, parts, SCHEMA, COLUMNS, REFERENCE_ROWS)
    training, evaluation = written(tmp_path / "run", TRAINING), written(tmp_path / "run", EVALUATION)
    for name in ("truth", "age", "wind", "plan"):
        assert training.schema[name] == REFERENCE_ROWS.schema[name]
    assert evaluation["truth"].to_list() == [1, 0, 1]
    assert evaluation.select("said", "p", "version").row(0) == (1, 0.75, "v1")
    assert not {"said", "p"} & set(training.columns)  # what the champion said is nothing to learn from


def test_the_same_marks_give_the_same_rows_whatever_came_later(log: EventLog, tmp_path: Path) -> None:
    parts = split(START + 12 * DAY, train_on=6 * DAY, evaluate_on=5 * DAY)
    record = write_rows(tmp_path / "run", log, parts, SCHEMA, COLUMNS, REFERENCE_ROWS)
    record = msgspec.json.decode(msgspec.json.encode(record), type=RowsRecord)
    marks: dict[Table, Mark] = {"predictions": record.predictions, "labels": record.labels}
    before = log.labelled_rows(parts.training, marks)
    log.append_predictions([prediction(30, 3, seq=30)], through=30)
    log.append_labels([label(2, 2, "1", 31), label(30, 3, "1", 31)], through=31)
    assert log.labelled_rows(parts.training, marks).equals(before)
    now = log.labelled_rows(parts.training, log.marks())
    assert len(now) == len(before) + 1
    assert now.filter(id="p2")["label"].to_list() == ["1"] != before.filter(id="p2")["label"].to_list()


def test_without_labelled_rows_it_says_so_and_writes_nothing(log: EventLog, tmp_path: Path) -> None:
    parts = split(START + 40 * DAY, train_on=40 * DAY, evaluate_on=5 * DAY)
    with pytest.raises(DataError, match="no labelled row to judge by in 2026-02-05"):
        write_rows(tmp_path / "run", log, parts, SCHEMA, COLUMNS, REFERENCE_ROWS)
    assert not (tmp_path / "run").exists()
    empty = EventLog(tmp_path / "none", SCHEMA)
    with pytest.raises(DataError, match="no labelled row to learn from"):
        write_rows(tmp_path / "run", empty, parts, SCHEMA, COLUMNS, REFERENCE_ROWS)
    assert empty.labelled_rows(Window(START, START + DAY), empty.marks()).is_empty()


def test_a_column_that_the_reference_types_otherwise_is_kept_as_it_came(log: EventLog, tmp_path: Path) -> None:
    log.append_predictions([prediction(40, 3, seq=40, features={"age": 40.5})], through=40)
    log.append_labels([label(40, 3, "1", 41)], through=41)
    parts = split(START + 12 * DAY, train_on=6 * DAY, evaluate_on=5 * DAY)
    write_rows(tmp_path / "run", log, parts, SCHEMA, replace(COLUMNS, id=None), REFERENCE_ROWS)
    training = written(tmp_path / "run", TRAINING)
    assert training.schema["age"] == pl.Float64
    assert 40.5 in training["age"].to_list()
    assert "id" in training.columns


@given(
    st.lists(
        st.none() | st.integers(-(2**40), 2**40) | st.booleans() | st.sampled_from([0.5, 1e300, -0.0]), max_size=8
    ),
    st.sampled_from([pl.Int8, pl.Int64, pl.UInt16, pl.Float32, pl.Boolean, pl.String, pl.Categorical]),
)
def test_no_value_changes_with_its_type(values: list[Any], dtype: type[pl.DataType]) -> None:
    numbers = [None if value is None else float(value) for value in values]
    rows = pl.DataFrame({"x": pl.Series(numbers, dtype=pl.Float64)})
    cast = typed(rows, {"x": dtype()})["x"]
    if cast.dtype.is_numeric() or cast.dtype == pl.Boolean:
        assert [None if one is None else float(one) for one in cast.to_list()] == numbers
    assert cast.null_count() == rows["x"].null_count()


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Date, pl.List(pl.Float64)])
def test_moments_stay_moments_whatever_the_reference_writes_them_as(dtype: pl.DataType) -> None:
    """A reference in CSV has texts in the column of its times."""
    rows = pl.DataFrame({"date": [START, None, START + 3 * DAY / 2]})
    assert typed(rows, {"date": dtype})["date"].to_list() == rows["date"].to_list()
