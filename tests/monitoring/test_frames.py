"""What comes as a frame stays one to the log: the same events as row by row, at a cost that no row adds to."""

from __future__ import annotations

import itertools
import sys
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.errors import DataError
from driftline.events import Kind, Schema, Task, parse_labels, parse_predictions
from driftline.events.columns import LabelColumns
from driftline.monitoring.admission import Admission
from driftline.monitoring.frames import checked_labels, checked_predictions
from driftline.store.framed import PredictionFrame, is_packed, logged_frame
from driftline.store.logged import LoggedPrediction, columns_frame, predictions_frame
from driftline.store.sealed import sealed, unsealed
from driftline.web.arrow_rows import rows_of_frame
from driftline.web.frame_columns import came_of

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
FEATURES = {
    "age": Kind.NUMERIC,
    "plan": Kind.CATEGORICAL,
    "since": Kind.DATETIME,
    "words": Kind.TEXT,
    "vector": Kind.EMBEDDING,
}
BINARY = Schema(Task.BINARY, FEATURES, ("0", "1"), "1")
SCHEMAS = (
    BINARY,
    replace(BINARY, missing=("-999", "gone", "1"), single=("age",)),
    Schema(Task.MULTICLASS, FEATURES, ("rain", "sun", "0.5")),
    Schema(Task.REGRESSION, FEATURES),
    Schema(Task.REGRESSION, FEATURES, single=("age",), missing=("-999",)),
)

NUMBERS = [0.0, -0.0, 0.5, 1.0, 0.1, -999.0, 1e300, float("inf"), float("nan"), None]
NAMES = ["a", "1", "0", "rain", " NA ", "gone", "17.0", "é", "no\n", "", "*", None]
MOMENTS = [NOW, NOW - timedelta(microseconds=1), NOW + timedelta(days=3), datetime(1800, 1, 1, tzinfo=UTC), None]
TYPES: list[tuple[Any, list[Any]]] = [
    (pl.Float64, NUMBERS),
    (pl.Float32, [one for one in NUMBERS if one != 1e300]),
    (pl.Int16, [0, 1, 17, -999, None]),
    (pl.Boolean, [True, False, None]),
    (pl.String, NAMES),
    (pl.Categorical, NAMES),
    (pl.Null, [None]),
    (pl.Datetime("us", "UTC"), MOMENTS),
    (pl.Datetime("ms", "Asia/Kolkata"), MOMENTS),
    (pl.Datetime("ns", "UTC"), MOMENTS),
    (pl.Datetime("us"), [None, datetime(2024, 1, 1)]),
    (pl.List(pl.Float64), [[0.5, None], [], None]),
]
LIKELY = {
    "id": (4, 2),
    "time": (7, 8, 9),
    "version": (4, 2),
    "prediction": (4, 0, 3, 2),
    "label": (4, 0, 3, 2),
    "latency_seconds": (0, 1, 6),
    "score.1": (0, 1, 6),
    "score.rain": (0,),
    "feature.age": (0, 1, 2, 6),
    "feature.plan": (4, 5, 2, 3, 0),
    "feature.since": (4, 0, 2),
    "feature.words": (4, 5),
    "feature.vector": (11,),
    "feature.other": (0,),
}
ROWS = 3


@st.composite
def frames(draw: st.DrawFn, target: str) -> pl.DataFrame:
    """Frames whose columns are mostly of a type that suits them, and whose values are mostly good."""
    columns: list[pl.Series] = []
    for name, likely in LIKELY.items():
        mine = name == target or (draw(st.integers(0, 2)) and name not in ("prediction", "label", "feature.other"))
        if not mine or (target == "label" and name not in ("id", "time", "label")):
            continue
        kind, values = TYPES[draw(st.sampled_from(likely) | st.sampled_from(range(len(TYPES))))]
        some = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
        good = [one for one in values if one in (0.5, 1.0, "a", "1", "0", NOW)] or values
        drawn = draw(st.lists(st.sampled_from(good if draw(st.integers(0, 3)) else some), min_size=ROWS, max_size=ROWS))
        columns.append(pl.Series(name, drawn, dtype=kind, strict=False))
    return pl.DataFrame(columns)


def by_row(frame: pl.DataFrame, schema: Schema, kind: str) -> Any:
    numbers = itertools.count()
    if kind == "label":
        return parse_labels(rows_of_frame(frame), schema, arrived=NOW)
    return parse_predictions(rows_of_frame(frame), schema, arrived=NOW, new_id=lambda: f"new {next(numbers)}")


def as_frame(frame: pl.DataFrame, schema: Schema) -> PredictionFrame | None:
    numbers = itertools.count()
    came = came_of(frame, "prediction")
    return came and checked_predictions(
        came, schema, arrived=NOW, new_id=lambda: f"new {next(numbers)}", time_format=None
    )


def plain(rows: int = ROWS) -> pl.DataFrame:
    """What senders send."""
    places = range(rows)
    return pl.DataFrame(
        {
            "id": [f"a-{place}" for place in places],
            "time": pl.Series([NOW - timedelta(seconds=place) for place in places], dtype=pl.Datetime("us", "UTC")),
            "version": ["1.4.2"] * rows,
            "prediction": [str(place % 2) for place in places],
            "score.1": [place / rows for place in places],
            "feature.age": [place + 0.5 for place in places],
            "feature.plan": ["basic", "full", None][:rows] * (rows // 3) + ["basic"] * (rows % 3),
            "feature.words": [f"some words {place}" for place in places],
        }
    )


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SCHEMAS), frames("prediction"))
@example(BINARY, plain())
@example(SCHEMAS[1], plain())
@example(BINARY, plain().with_columns(pl.lit(None, pl.Datetime("ns", "UTC")).alias("time")))
@example(BINARY, plain().with_columns(pl.Series("prediction", [True, False, True])))
def test_predictions_are_the_same_events_as_row_by_row(schema: Schema, frame: pl.DataFrame) -> None:
    checked = as_frame(frame, schema)
    if checked is None:
        return
    parsed = by_row(frame, schema, "prediction")
    assert not parsed.refused
    assert repr(checked.rows()) == repr(list(parsed.good))  # -0.0 is not 0.0, and every time is UTC
    again = unsealed(sealed(checked), "predictions")
    assert isinstance(again, PredictionFrame)
    assert repr(again.rows()) == repr(checked.rows())
    assert repr(again.newest) == repr(max(one.time for one in parsed.good))
    single = [LoggedPrediction(7, one) for one in parsed.good]
    assert logged_frame([(7, again)], schema).equals(predictions_frame(single, schema))
    named = {one.version for one in parsed.good}, {one.prediction for one in parsed.good}
    assert ({*checked.different("version")}, {*checked.different("prediction")}) == named
    assert {*again.scored} == {name for one in parsed.good for name in one.score}


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(SCHEMAS), frames("label"))
def test_labels_are_the_same_events_as_row_by_row(schema: Schema, frame: pl.DataFrame) -> None:
    came = came_of(frame, "label")
    checked = came and checked_labels(came, schema, arrived=NOW, time_format=None)
    if checked is not None:
        parsed = by_row(frame, schema, "label")
        assert not parsed.refused
        assert repr(checked.rows()) == repr(list(parsed.good))


@pytest.mark.parametrize("schema", [BINARY, SCHEMAS[1]], ids=["usual", "with words for what is missing"])
def test_what_senders_send_stays_a_frame(schema: Schema) -> None:
    frame = plain().with_columns(prediction=pl.lit("0"))
    checked = as_frame(frame, schema)
    assert checked is not None
    assert checked.frame["feature.age"].dtype == pl.Float64
    came = came_of(frame.select("id", "time", label="prediction"), "label")
    assert came is not None
    assert isinstance(checked_labels(came, schema, arrived=NOW, time_format=None), LabelColumns)


def test_a_frame_of_no_rows_and_one_of_many_parts_are_frames_too() -> None:
    nothing = as_frame(plain().clear(), BINARY)
    assert nothing is not None
    assert (len(nothing), nothing.rows()) == (0, [])
    parts = pl.concat([plain(), plain(), plain()], rechunk=False)
    several = as_frame(parts.with_columns(parts["id"].rechunk()), BINARY)
    assert several is not None
    assert PredictionFrame.unpacked(several.packed()).frame.equals(several.frame)
    assert PredictionFrame.unpacked(several.packed()).frame.n_chunks() == 1


def calls_of(rows: int) -> int:
    """How often a function is called from the body of a request to the rows of the log."""
    frame, calls = plain(rows).drop("feature.words"), 0  # names that are all different are each looked at

    def count(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        checked = as_frame(frame, BINARY)
        assert checked is not None
        logged_frame([(1, unsealed(sealed(checked), "predictions"))], BINARY)  # type: ignore[list-item]
    finally:
        sys.setprofile(None)
    return calls


def test_a_row_more_costs_no_call_more() -> None:
    calls_of(30)  # what is done once is done
    assert abs(calls_of(3_000) - calls_of(30)) <= 5


def test_batches_with_other_scores_are_rows_of_one_log() -> None:
    first, second = as_frame(plain(), BINARY), as_frame(plain().drop("score.1", "version"), BINARY)
    assert first is not None
    assert second is not None
    rows = logged_frame([(3, second), (5, first)], BINARY)
    assert rows["seq"].to_list() == [3, 3, 3, 5, 5, 5]
    assert rows["score.1"].to_list() == [None, None, None, *plain()["score.1"]]
    assert rows["score.0"].null_count() == rows["latency_seconds"].null_count() == 6
    single = [LoggedPrediction(3, one) for one in second.rows()] + [LoggedPrediction(5, one) for one in first.rows()]
    assert rows.equals(predictions_frame(single, BINARY))


OTHER_KIND = replace(BINARY, features={**FEATURES, "age": Kind.CATEGORICAL})


@pytest.mark.parametrize("after", [False, True], ids=["alone", "before one of the new"])
def test_a_batch_that_was_taken_under_another_configuration_is_said_to_be(after: bool) -> None:
    checked, new = (
        as_frame(plain(), BINARY),
        as_frame(plain().with_columns(pl.lit("x").alias("feature.age")), OTHER_KIND),
    )
    assert checked is not None
    assert new is not None
    with pytest.raises(DataError, match="it was taken under another configuration"):
        logged_frame([(1, checked), *([(2, new)] if after else [])], OTHER_KIND)


def test_a_feature_that_a_model_gets_while_batches_wait_is_null_in_them() -> None:
    checked = as_frame(plain(), BINARY)
    assert checked is not None
    more = replace(BINARY, features={"first": Kind.CATEGORICAL, **FEATURES, "more": Kind.NUMERIC})
    new = as_frame(plain().with_columns(pl.lit(0.5).alias("feature.more")), more)
    assert new is not None
    rows = logged_frame([(1, checked), (2, new)], more)
    assert rows["feature.more"].to_list() == [None] * ROWS + [0.5] * ROWS
    assert rows["feature.age"].to_list() == [*plain()["feature.age"]] * 2
    single = [LoggedPrediction(seq, one) for seq, came in ((1, checked), (2, new)) for one in came.rows()]
    assert rows.equals(predictions_frame(single, more))
    assert rows.equals(columns_frame([(1, checked.columns()), (2, new.columns())], more))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_frame_is_never_another_one(data: st.DataObject) -> None:
    checked = as_frame(plain(), BINARY)
    assert checked is not None
    body = bytearray(sealed(checked))
    assert is_packed(bytes(body))
    kept = data.draw(st.integers(0, len(body)))
    if kept == len(body):
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DataError, match="damaged"):
        unsealed(bytes(body[:kept]), "predictions")


@pytest.mark.parametrize("inner", [b"", b"\xff" * 40, b"\x10\0\0\0" + b"\0" * 60], ids=["nothing", "ones", "zeros"])
def test_what_is_no_frame_is_damaged_even_under_a_right_seal(inner: bytes) -> None:
    body = b"\xff\xff\xff\xff" + inner
    with pytest.raises(DataError):
        unsealed(b"".join((body, b"\xc1", zlib.crc32(body).to_bytes(4, "big"))), "predictions")


def test_new_names_of_frames_are_bounded_as_those_of_rows_are() -> None:
    admission = Admission(BINARY, versions=["1.4.2"])
    limited = Admission(BINARY)
    checked = as_frame(plain(), BINARY)
    assert checked is not None
    assert admission.admits(checked)
    for facet, _ in limited._predictions:
        facet.limit = 0
    assert not limited.admits(checked)
    assert not limited.admits(PredictionFrame.unpacked(checked.packed()))  # what is known of it is asked again
