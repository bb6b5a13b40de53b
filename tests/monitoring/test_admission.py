"""New names cost memory, columns and series for good: they are bounded, and what is known always passes."""

from __future__ import annotations

import functools
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline import events
from driftline.events import ParsedPredictions, Schema, Task, parse_labels
from driftline.events.columns import Came, quick_predictions
from driftline.events.values import UNKNOWN_CLASSES_LIMIT
from driftline.monitoring.admission import NEW_CLASSES_LIMIT, NEW_VERSIONS_LIMIT, Admission

IDS = map(str, itertools.count())
parse_predictions = functools.partial(events.parse_predictions, new_id=lambda: next(IDS))

NOW = datetime(2024, 3, 1, tzinfo=UTC)
WEATHER = Schema(Task.MULTICLASS, {}, ("rain", "sun"))
UNKNOWN = Schema(Task.MULTICLASS)


def predictions(admission: Admission, schema: Schema, rows: list[dict[str, Any]]) -> ParsedPredictions:
    return admission.predictions(parse_predictions(rows, schema, arrived=NOW), rows)


def test_classes_that_the_reference_does_not_show_are_taken_up_to_a_bound() -> None:
    admission = Admission(WEATHER)
    rows = [{"id": str(place), "label": f"class {place}"} for place in range(NEW_CLASSES_LIMIT + 5)]
    parsed = admission.labels(parse_labels(rows, WEATHER, arrived=NOW), rows)
    assert len(parsed.good) == NEW_CLASSES_LIMIT
    assert [row.index for row, _ in parsed.refused] == list(range(NEW_CLASSES_LIMIT, NEW_CLASSES_LIMIT + 5))
    assert {row.field for row, _ in parsed.refused} == {"label"}
    # The bound is of the model: predictions and labels share it. What was known or taken passes as before.
    told = predictions(admission, WEATHER, [{"prediction": name} for name in ("rain", "class 7", "class 9999999")])
    assert [one.prediction for one in told.good] == ["rain", "class 7"]
    assert [(row.index, row.field) for row, _ in told.refused] == [(2, "prediction")]


def test_one_request_or_many_make_no_difference() -> None:
    names = [f"class {place}" for place in range(NEW_CLASSES_LIMIT + 50)]
    one, many = Admission(WEATHER), Admission(WEATHER)
    at_once = predictions(one, WEATHER, [{"prediction": name} for name in names])
    singly = [predictions(many, WEATHER, [{"prediction": name}]) for name in names]
    assert [row.prediction for row in at_once.good] == [row.prediction for part in singly for row in part.good]


def test_versions_are_bounded_and_those_that_are_there_pass() -> None:
    admission = Admission(WEATHER, versions=["v1"])
    rows = [{"prediction": "rain", "version": f"made up {place}"} for place in range(NEW_VERSIONS_LIMIT + 1)]
    parsed = predictions(admission, WEATHER, [*rows, {"prediction": "sun", "version": "v1"}])
    assert [(row.index, row.field) for row, _ in parsed.refused] == [(NEW_VERSIONS_LIMIT, "version")]
    assert parsed.good[-1].version == "v1"


def test_scored_classes_are_bounded_where_the_model_has_no_known_ones() -> None:
    admission = Admission(UNKNOWN, scored=["old"])
    rows = [{"prediction": "a", "score": {f"c{place}": 0.5}} for place in range(UNKNOWN_CLASSES_LIMIT + 1)]
    parsed = predictions(admission, UNKNOWN, [*rows, {"prediction": "a", "score": {"old": 0.5}}])
    assert len(parsed.good) == UNKNOWN_CLASSES_LIMIT  # of which one is the old one
    assert {row.field for row, _ in parsed.refused} == {"score"}


@pytest.mark.parametrize("second", ["RAIN", "Rain", "raIn"])
def test_two_events_may_not_score_classes_that_differ_by_case_only(second: str) -> None:
    admission = Admission(UNKNOWN, scored=["rain"])
    parsed = predictions(admission, UNKNOWN, [{"prediction": "a", "score": {second: 0.5}}])
    [(row, _)] = parsed.refused
    assert "'rain' by case only" in row.reason


@given(
    st.lists(st.tuples(st.sampled_from(["rain", "sun", "fog", ""]), st.sampled_from(["v1", "v2", "*"])), max_size=12)
)
def test_below_the_bounds_nothing_is_changed(came: list[tuple[str, str]]) -> None:
    rows = [{"id": "a", "prediction": said, "version": version} for said, version in came]
    parsed = parse_predictions(rows, WEATHER, arrived=NOW)
    assert Admission(WEATHER).predictions(parsed, rows) == parsed


NAMED = st.tuples(st.sampled_from(["rain", "fog", "hail", "snow"]), st.sampled_from(["", "v1", "v2", "v3", "V3"]))


@given(st.lists(st.lists(NAMED, min_size=1, max_size=5), max_size=4), st.integers(0, 3), st.integers(0, 3))
def test_by_column_or_row_by_row_the_same_names_are_taken(
    batches: list[list[tuple[str, str]]], classes: int, versions: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftline.monitoring.admission.NEW_CLASSES_LIMIT", classes)
        patch.setattr("driftline.monitoring.admission.NEW_VERSIONS_LIMIT", versions)
        by_column, by_row = Admission(WEATHER, versions=[""]), Admission(WEATHER, versions=[""])
    for batch in batches:
        rows = [{"prediction": said, "version": version} for said, version in batch]
        came = Came(len(rows), [said for said, _ in batch], versions=[version for _, version in batch])
        columns = quick_predictions(came, WEATHER, arrived=NOW, new_id=lambda: next(IDS))
        assert columns is not None
        fits = by_column.admits(columns)
        if not fits:  # what a route does then
            predictions(by_column, WEATHER, rows)
        assert fits is not bool(predictions(by_row, WEATHER, rows).refused)
    for said, version in itertools.product(("rain", "fog", "hail", "snow"), ("", "v1", "v2", "v3", "V3")):
        rows = [{"prediction": said, "version": version}]
        refused = [predictions(one, WEATHER, rows).refused for one in (by_column, by_row)]
        assert refused[0] == refused[1]
