"""A frame with one column of scores, as `send` and `log_frame` make it: by column as by row, and never slowly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.events import Kind, Schema, Task, parse_predictions
from driftline.monitoring.frames import FrameCame, checked_predictions
from driftline.store.framed import PredictionFrame
from driftline.web.arrow_rows import rows_of_frame
from driftline.web.frame_columns import came_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BINARY = Schema(Task.BINARY, {"x": Kind.NUMERIC}, ("no", "yes"), positive="yes")
SCHEMAS = {
    "binary": BINARY,
    "of which no class is positive": Schema(Task.BINARY, {"x": Kind.NUMERIC}, ("no", "yes")),
    "multiclass": Schema(Task.MULTICLASS, {"x": Kind.NUMERIC}, ("no", "yes", "maybe")),
    "regression": Schema(Task.REGRESSION, {"x": Kind.NUMERIC}),
}
SCORES = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")]))


def frame_of(scores: list[Any], **more: Any) -> pl.DataFrame:
    rows = len(scores)
    said = {
        "id": [f"id {row}" for row in range(rows)],
        "prediction": ["yes", "no"] * (rows // 2) + ["yes"] * (rows % 2),
    }
    return pl.DataFrame({**said, "score": scores, "feature.x": [0.5] * rows, **more})


def checked(came: FrameCame, schema: Schema) -> PredictionFrame | None:
    return checked_predictions(came, schema, arrived=NOW, new_id=str, time_format=None)


@given(st.lists(SCORES, min_size=1, max_size=6), st.sampled_from([*SCHEMAS]))
def test_what_is_taken_by_column_are_the_events_that_the_rows_are(scores: list[float | None], of: str) -> None:
    schema, frame = SCHEMAS[of], frame_of(scores)
    came = came_of(frame, "prediction", schema.positive)
    quick = came and checked(came, schema)
    slow = parse_predictions(rows_of_frame(frame), schema, arrived=NOW, new_id=str)
    if quick is not None:
        assert not slow.refused and quick.rows() == list(slow.good)
    if of == "binary" and not slow.refused:
        assert quick is not None


@pytest.mark.parametrize("kind", [pl.Float64, pl.Float32, pl.Int8])
def test_a_lone_score_is_that_of_the_positive_class(kind: Any) -> None:
    frame = frame_of([0, 1, None]).with_columns(pl.col("score").cast(kind))
    came = came_of(frame, "prediction", "yes")
    quick = came and checked(came, BINARY)
    assert quick is not None and [one.score for one in quick.rows()] == [{"yes": 0.0}, {"yes": 1.0}, {}]


def test_a_lone_score_beside_those_of_classes_is_left_to_the_rows() -> None:
    assert came_of(frame_of([0.5], **{"score.no": [0.5]}), "prediction", "yes") is None
    came = came_of(frame_of(["0.5"]), "prediction", "yes")
    assert came is not None and checked(came, BINARY) is None
