"""Flat rows of a file are the same events as the JSON of them: named by the model's own columns, read as files are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import DataError
from driftline.profiles import Columns
from driftline.web.arrow_rows import as_events, rows_of_frame

COLUMNS = Columns(
    id="key",
    time="when",
    prediction="guess",
    score={"rain": "p_rain"},
    label="truth",
    ignore=("note",),
    segments=("id",),
)


def predictions(frame: pl.DataFrame, columns: Columns = COLUMNS) -> list[dict[str, Any]]:
    return rows_of_frame(as_events(frame, "predictions", columns))


def test_columns_get_the_names_of_their_parts_and_the_rest_are_features() -> None:
    frame = pl.DataFrame(
        {
            "key": [7],
            "when": [datetime(2024, 3, 1, 12)],
            "guess": ["sun"],
            "p_rain": [0.25],
            "truth": ["rain"],
            "note": ["x"],
            "id": ["north"],
            "wind": [4.5],
            "latency_seconds": [0.1],
        }
    )
    [row] = predictions(frame)
    assert row == {
        "id": "7",
        "time": "2024-03-01T12:00:00+00:00",
        "prediction": "sun",
        "score": {"rain": 0.25},
        "features": {"id": "north", "wind": 4.5},
        "latency_seconds": 0.1,
    }
    [label] = rows_of_frame(as_events(frame, "labels", COLUMNS))
    assert label == {"id": "7", "time": "2024-03-01T12:00:00+00:00", "label": "rain"}


def test_a_model_that_names_its_features_gets_no_others() -> None:
    frame = pl.DataFrame({"wind": [4.5], "temp": [1.0], "prediction": ["sun"]})
    assert predictions(frame, Columns(features=("wind",))) == [{"features": {"wind": 4.5}, "prediction": "sun"}]


@pytest.mark.parametrize(
    ("came", "time"),
    [
        (date(2024, 3, 1), "2024-03-01T00:00:00+00:00"),
        (datetime(2024, 3, 1, 12, tzinfo=UTC), "2024-03-01T12:00:00+00:00"),
        ("2024-03-01 12:00", "2024-03-01T12:00:00+00:00"),
        (1_709_294_400, "2024-03-01T12:00:00+00:00"),
        ("no time", "no time"),
    ],
)
def test_times_are_those_that_a_check_of_the_file_reads(came: Any, time: str) -> None:
    [row] = predictions(pl.DataFrame({"time": [came]}), Columns())
    assert row["time"] == time


@pytest.mark.parametrize("frame", [{"features": [{"x": 1.0}], "key": ["a"]}, {"feature.x": [1.0], "key": ["a"]}])
def test_what_is_named_already_is_left(frame: dict[str, Any]) -> None:
    came = pl.DataFrame(frame)
    assert as_events(came, "predictions", COLUMNS).equals(came)


NO_TEXTS: list[Any] = [[1, 2], {"a": 1}, timedelta(1), b"\xff", True, None, float("nan")]


@pytest.mark.parametrize("part", ["id", "time"])
@pytest.mark.parametrize("came", NO_TEXTS, ids=repr)
def test_ids_and_times_of_any_type_are_left_to_be_refused_by_row(part: str, came: Any) -> None:
    found = as_events(pl.DataFrame({part: [came]}, strict=False), "labels", Columns())
    assert (found.columns, found.height) == ([part], 1)


def test_two_columns_of_one_part_are_one_too_many() -> None:
    with pytest.raises(DataError, match="leave one out"):
        predictions(pl.DataFrame({"key": ["a"], "id": ["b"]}), Columns(id="key"))


NAMES = st.lists(st.sampled_from(["a", "id", "time", "label", "prediction", "score", "b.c", "version"]), unique=True)


@given(NAMES, st.sampled_from(["predictions", "labels"]))
def test_no_column_is_lost_but_those_that_an_event_has_no_place_for(names: list[str], kind: Any) -> None:
    frame = pl.DataFrame({name: ["2024-03-01"] for name in names})
    found = as_events(frame, kind, Columns())
    fields = {"labels": {"id", "time", "label"}}.get(kind)
    kept = [name for name in names if name != "label"] if fields is None else [name for name in names if name in fields]
    parts = {"id", "time", "version", "prediction", "score", "label"}
    assert found.columns == [name if name in parts else f"feature.{name}" for name in kept]
