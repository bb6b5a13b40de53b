"""The quick way takes what the row by row way takes, as the same events, and leaves everything else to it."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.events import Kind, Schema, Task, parse_labels, parse_predictions
from driftline.events.columns import Came, quick_labels, quick_predictions
from driftline.events.typed import TypedReader

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
FEATURES = {
    "age": Kind.NUMERIC,
    "plan of 'all'": Kind.CATEGORICAL,
    "since": Kind.DATETIME,
    "words": Kind.TEXT,
    "vector": Kind.EMBEDDING,
    "odd": Kind.UNSUPPORTED,
}
BINARY = Schema(Task.BINARY, FEATURES, ("0", "1"), "1")
SCHEMAS = (
    BINARY,
    replace(BINARY, missing=("-999", "gone", "1"), single=("age",)),
    Schema(Task.MULTICLASS, FEATURES, ("rain", "sun", "0.5")),
    Schema(Task.MULTICLASS, FEATURES),
    Schema(Task.REGRESSION, FEATURES, single=("age",)),
    Schema(Task.BINARY),
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -999, 1.0, -0.0, 0.5, 2, 1e300, 10**400, 17, 1_709_294_400]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", " NA ", "gone", "1", "0", "17.0", "rain", "sun", "no\n", "\x00", "a.b", "é", "x" * 300, "*"]),
    st.sampled_from(["2024-03-01T00:00:00Z", "2024-03-01 00:00:00+05:30", "2024-03-09T00:00:00Z", "2024-03-01"]),
    st.sampled_from(["1899-12-31T23:59:59Z", "1900-01-01T00:30:00+01:00", "0001-01-01T00:00:00+01:00", "20240301"]),
)
NESTED = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from(["a", "b"]), SCALARS))


def rows_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def mostly(values: list[Any], others: st.SearchStrategy[Any] = SCALARS) -> st.SearchStrategy[Any]:
    """Good values, and now and then another: else hardly any batch of several rows would be good."""
    return st.integers(0, 15).flatmap(lambda at: others if at == 0 else st.sampled_from(values))


PREDICTIONS = st.fixed_dictionaries(
    {"prediction": mostly(["1", "0", 1, True, 0.5, "rain"])},
    optional={
        "id": mostly(["a", "b-1", 17, "17.0", 2.5, None]),
        "time": mostly(["2024-03-01T00:00:00Z", "2024-02-29T23:59:59.1234567+05:30", 1_709_200_000, None, "NA"]),
        "version": mostly(["1.4", 2, 2.0, "", None]),
        "latency_seconds": mostly([0.0, 1, 2.5, None]),
        "role": mostly(["live", "live", "shadow"]),
        "score": mostly([0.5, 1, None], st.one_of(SCALARS, rows_of({"1": SCALARS, "0": SCALARS, "rain": SCALARS})))
        | rows_of({"1": mostly([0.5, 1, None]), "0": mostly([0, 0.25])}),
        "features": rows_of(
            {
                "age": mostly([1, 2.5, None]),
                "plan of 'all'": mostly(["a", "b", 17, True, None]),
                "since": mostly(["2024", 20240101, 1.7e9, None]),
                "words": mostly(["some words", None]),
                "vector": mostly([[1, 2.5, None], None], NESTED),
                "odd": NESTED,
            }
        ),
    },
)
LABELS = st.fixed_dictionaries(
    {"id": mostly(["a", 17, "17.0"]), "label": mostly(["1", 0, 1.0, True])},
    optional={"time": mostly(["2024-03-01T00:00:00Z", 1_709_200_000, None])},
)
WAYS = st.sampled_from(["array", "lines", "lines with an end"])


def body_of(rows: list[Any], way: str) -> bytes:
    if way == "array":
        return json.dumps(rows).encode()
    return "\n".join(map(json.dumps, rows)).encode() + (b"\n" if way != "lines" else b"")


@given(st.sampled_from(SCHEMAS), st.lists(PREDICTIONS, min_size=1, max_size=4), WAYS)
@example(BINARY, [{"prediction": True}, {"prediction": 1}], "array")
@example(BINARY, [{"prediction": 1, "score": {"1": 1, "0": None}}, {"prediction": 0, "score": 0.5}], "lines")
@example(SCHEMAS[4], [{"prediction": 1.5, "score": {}}], "array")
def test_predictions_are_the_same_events_by_both_ways(schema: Schema, rows: list[Any], way: str) -> None:
    numbers, again = itertools.count(), itertools.count()
    came = TypedReader(schema).predictions(body_of(rows, way), lines=way != "array")
    quick = came and quick_predictions(came, schema, arrived=NOW, new_id=lambda: f"new {next(numbers)}")
    parsed = parse_predictions(json.loads(json.dumps(rows)), schema, arrived=NOW, new_id=lambda: f"new {next(again)}")
    if quick is not None:
        assert not parsed.refused
        assert repr(quick.rows()) == repr(list(parsed.good))  # -0.0 is not 0.0, and every time is UTC
        assert len(quick) == len(rows)


@given(st.sampled_from(SCHEMAS), st.lists(LABELS, min_size=1, max_size=4), WAYS)
def test_labels_are_the_same_events_by_both_ways(schema: Schema, rows: list[Any], way: str) -> None:
    came = TypedReader(schema).labels(body_of(rows, way), lines=way != "array")
    quick = came and quick_labels(came, schema, arrived=NOW)
    parsed = parse_labels(json.loads(json.dumps(rows)), schema, arrived=NOW)
    if quick is not None:
        assert not parsed.refused
        assert repr(quick.rows()) == repr(list(parsed.good))


GOOD = {
    "id": "a-1",
    "time": "2024-03-01T00:00:00Z",
    "version": "1.4",
    "prediction": "1",
    "score": {"1": 0.5, "0": 0.5},
    "latency_seconds": 0.25,
    "features": {"age": 4, "plan of 'all'": "a", "since": "2024", "words": "w", "vector": [1, 2.5], "odd": {"a": 1}},
}
GOODS = [
    GOOD,
    {"prediction": 1},
    {**GOOD, "score": 1, "id": 17, "time": 1_709_200_000},
    {**GOOD, "features": {"plan of 'all'": 17}, "version": 2},
    {**GOOD, "features": {"age": None, "words": "NA"}, "score": None, "latency_seconds": None, "time": None},
]


@pytest.mark.parametrize("way", ["array", "lines", "lines with an end"])
@pytest.mark.parametrize("row", GOODS, ids=lambda row: str(len(str(row))))
def test_what_senders_send_is_taken_the_quick_way(row: dict[str, Any], way: str) -> None:
    came = TypedReader(BINARY).predictions(body_of([row, row], way), lines=way != "array")
    assert came is not None
    quick = quick_predictions(came, BINARY, arrived=NOW, new_id=lambda: "new")
    assert quick is not None
    assert len(quick.rows()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"prediction": "2"},
        {"prediction": None},
        {"id": "a\nb"},
        {"id": ""},
        {"time": (NOW + timedelta(days=2)).isoformat()},
        {"time": "2024-03-01T00:00:00"},
        {"time": "1899-01-01T00:00:00Z"},
        {"version": "*"},
        {"latency_seconds": -1},
        {"score": 1.5},
        {"score": {"1": -0.1}},
        {"score": {"2": 0.1}},
        {"features": {"age": "4"}},
        {"features": {"age": True}},
        {"features": {"agee": 4}},
        {"role": "shadow"},
        {"more": 1},
    ],
    ids=str,
)
def test_one_row_that_is_not_plain_has_the_batch_looked_at_row_by_row(change: dict[str, Any]) -> None:
    came = TypedReader(BINARY).predictions(body_of([GOOD, {**GOOD, **change}], "array"), lines=False)
    assert came is None or quick_predictions(came, BINARY, arrived=NOW, new_id=lambda: "new") is None


@pytest.mark.parametrize("name", ['12"', "a\\b", "two\nlines", "é\x7f"])
def test_a_feature_or_class_of_any_name_is_taken(name: str) -> None:
    schema = Schema(Task.BINARY, {"age": Kind.NUMERIC, name: Kind.NUMERIC}, ("no", name), name)
    row = {"id": "a", "prediction": name, "score": {name: 0.5}, "features": {"age": 1, name: 2.5}}
    for rows in ([row, {**row, "score": 0.5}], [{**row, "score": 0.5, "features": {"age": 1}}]):
        came = TypedReader(schema).predictions(body_of(rows, "array"), lines=False)
        quick = came and quick_predictions(came, schema, arrived=NOW, new_id=lambda: "new")
        parsed = parse_predictions(rows, schema, arrived=NOW, new_id=lambda: "new")
        assert len(parsed.good) == len(rows)
        if quick is not None:
            assert quick.rows() == list(parsed.good)
    assert came is not None, "a row without the feature is taken the quick way"


PART = st.sampled_from(
    [b'{"prediction":1}', b"\n", b"\r", b" ", b",", b'{"prediction":\n1}', b'{"prediction":0}', b"{"]
)


@given(st.lists(PART, max_size=7))
def test_lines_are_rows_only_where_each_is_one(parts: list[bytes]) -> None:
    body = b"".join(parts)
    came = TypedReader(BINARY).predictions(body, lines=True)
    if came is not None:
        rows = [json.loads(line) for line in body.removesuffix(b"\n").split(b"\n")]
        assert [row["prediction"] for row in rows] == came.targets


@pytest.mark.parametrize(
    "body",
    [
        b'{"prediction":1,"features":{"odd":[{}\n{}]}}',
        b'{"prediction":1,"features":{"odd":[{}\n{}]}},{"prediction":1}',
        b'{"prediction":1} {"prediction":1}',
        b"[" * 10_000,
        b'[{"prediction":1' + b"0" * 5_000 + b"}]",
        b"\xff",
        b"",
    ],
)
def test_what_is_not_json_or_not_of_the_types_is_left_to_the_other_way(body: bytes) -> None:
    reader = TypedReader(replace(BINARY, task=Task.REGRESSION, positive=None, classes=()))
    assert reader.predictions(body, lines=True) is None
    assert reader.labels(body, lines=False) is None


def test_no_rows_are_no_events() -> None:
    quick = quick_predictions(Came(0, []), BINARY, arrived=NOW, new_id=lambda: "new")
    assert quick is not None
    assert (len(quick), quick.rows()) == (0, [])
    labels = quick_labels(Came(0, [], []), BINARY, arrived=NOW)
    assert labels is not None
    assert labels.rows() == []
