"""What comes in: windows that tile time, one spelling of classes, and refusals that name row, field and
reason.
"""

from __future__ import annotations

import functools
import itertools
import math
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline import events
from driftline.errors import EventError, UsageError
from driftline.events import (
    ALL_VERSIONS,
    Kind,
    Schema,
    Task,
    Window,
    WindowSpec,
    class_name,
    is_missing,
    parse_duration,
    parse_labels,
    positive_class,
    refusal_reason,
    require_all_good,
)
from driftline.profiles.frame import times_of
from driftline.text import visible

IDS = map(str, itertools.count())
parse_predictions = functools.partial(events.parse_predictions, new_id=lambda: next(IDS))

ZONES = st.sampled_from(["UTC", "America/Los_Angeles", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"])
LENGTHS = st.sampled_from(["1min", "15min", "1h", "7h", "1d", "2d", "1w", "2w", "1mo", "5mo"])
SPECS = st.builds(WindowSpec, LENGTHS, ZONES)
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


# ---- windows -----------------------------------------------------------------------------------------------


@given(SPECS, MOMENTS)
def test_a_window_holds_its_moment_and_is_the_window_of_all_in_it(spec: WindowSpec, time: datetime) -> None:
    window = spec.window_of(time)
    assert window.start <= time < window.end
    assert spec.window_of(window.start) == window
    assert spec.window_of(window.end - timedelta(microseconds=1)) == window


@given(SPECS, MOMENTS)
def test_windows_tile_time_half_open(spec: WindowSpec, time: datetime) -> None:
    window = spec.window_of(time)
    after = spec.window_of(window.end)
    before = spec.window_of(window.start - timedelta(microseconds=1))
    assert after.start == window.end
    assert before.end == window.start
    assert not window.overlaps(after)
    assert window.overlaps(window)


@given(SPECS, st.lists(MOMENTS, max_size=20))
def test_starts_of_many_are_the_starts_of_each(spec: WindowSpec, times: list[datetime]) -> None:
    assert spec.starts_of(times) == [spec.window_of(time).start for time in times]


@given(SPECS, MOMENTS, ZONES)
def test_the_zone_in_which_a_moment_is_written_does_not_matter(spec: WindowSpec, time: datetime, zone: str) -> None:
    assert spec.window_of(time.astimezone(ZoneInfo(zone))) == spec.window_of(time)


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2013-03-10", 23), ("2013-11-03", 25), ("2013-04-04", 24)],
    ids=["spring", "autumn", "plain"],
)
def test_the_day_on_which_the_clocks_change_is_one_window(day: str, hours: int) -> None:
    zone = ZoneInfo("America/Los_Angeles")
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone)
    window = WindowSpec("1d", "America/Los_Angeles").window_of(noon)
    assert window.end - window.start == timedelta(hours=hours)
    assert window.start.astimezone(zone).isoformat()[:16] == f"{day}T00:00"


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    thursday = datetime(2013, 4, 4, 12, tzinfo=UTC)
    assert WindowSpec("1w").window_of(thursday).start == datetime(2013, 4, 1, tzinfo=UTC)
    assert WindowSpec("1mo").window_of(thursday) == Window(
        datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 5, 1, tzinfo=UTC)
    )
    assert WindowSpec("1mo").window_of(datetime(2013, 12, 31, tzinfo=UTC)).end == datetime(2014, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("length", ["1200mo", "5200w", "36500d", "99999h", "99999min"])
@given(time=st.datetimes(datetime(1900, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)), zone=ZONES)
def test_the_longest_windows_hold_every_time_that_an_event_may_have(length: str, time: datetime, zone: str) -> None:
    window = WindowSpec(length, zone).window_of(time)
    assert window.start <= time < window.end


@pytest.mark.parametrize("length", ["1201mo", "99999mo", "5201w", "36501d"])
def test_a_window_of_more_than_a_century_is_refused(length: str) -> None:
    with pytest.raises(UsageError, match="century"):
        WindowSpec(length)


@pytest.mark.parametrize("length", ["", "0d", "1y", "d", "1.5h", "-1d", "1 d", "1D", "999999d"])
def test_a_length_that_is_none_is_refused_in_words(length: str) -> None:
    with pytest.raises(UsageError, match="is not a length; write a number and one of"):
        WindowSpec(length)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "a\x00b", "/etc/localtime"])
def test_an_unknown_zone_is_refused_in_words(zone: str) -> None:
    with pytest.raises(UsageError, match="is not known; write a name such as"):
        WindowSpec("1d", zone)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5min", 300), ("1.5h", 5400), ("7d", 604800), ("2w", 1209600), ("250ms", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "-1h", "1 fortnight", "1e3s", "\u0661h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


# ---- classes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "1"),
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (False, "0"),
        (0.5, "0.5"),
        ("rain", "rain"),
        (-3.0, "-3"),
    ],
)
def test_one_class_has_one_spelling(value: object, name: str) -> None:
    assert class_name(value) == name


@given(st.one_of(st.booleans(), st.integers(), st.floats(), st.text()))
def test_the_spelling_of_a_spelling_is_itself(value: object) -> None:
    assert class_name(class_name(value)) == class_name(value)


@given(st.lists(st.text(max_size=5), max_size=6))
def test_the_positive_class_does_not_depend_on_order(names: list[str]) -> None:
    positive = positive_class(names)
    assert positive == positive_class(reversed(names))
    assert (positive is None) == (not names)
    assert positive is None or positive in names or len(set(names)) == 1  # the other one of a no-like name


def test_only_binary_models_have_a_positive_class() -> None:
    with pytest.raises(UsageError, match="only binary has one"):
        Schema(Task.MULTICLASS, positive="rain")


# ---- parsing -----------------------------------------------------------------------------------------------

NOW = datetime(2013, 4, 4, 12, tzinfo=UTC)
FEATURES = {"wind": Kind.NUMERIC, "sky": Kind.CATEGORICAL}
BINARY = Schema(Task.BINARY, FEATURES, ("no", "yes"), "yes")
MULTICLASS = Schema(Task.MULTICLASS, FEATURES, ("fog", "rain", "sun"))
REGRESSION = Schema(Task.REGRESSION, FEATURES)
SCHEMAS = st.sampled_from([BINARY, MULTICLASS, REGRESSION, Schema(Task.BINARY)])
GOOD = {
    "id": "a",
    "time": "2013-04-04T11:00:00-07:00",
    "version": 2,
    "features": {"wind": 4, "sky": True},
    "prediction": "yes",
    "score": 0.75,
    "latency_seconds": 0.01,
}


def test_a_good_row_is_checked_and_made_plain() -> None:
    parsed = parse_predictions([GOOD], BINARY, arrived=NOW)
    (row,) = parsed.good
    assert not parsed.refused
    assert (row.id, row.time, row.version) == ("a", datetime(2013, 4, 4, 18, tzinfo=UTC), "2")
    assert row.features == {"wind": 4.0, "sky": "1"}
    assert (row.prediction, row.score, row.latency_seconds) == ("yes", {"yes": 0.75}, 0.01)
    require_all_good(parsed)


def test_what_is_left_out_is_filled_in() -> None:
    first, second = parse_predictions([{"prediction": 1.0}, {"prediction": True}], MULTICLASS, arrived=NOW).good
    assert first.id != second.id
    assert (first.time, first.version, first.score, first.latency_seconds) == (NOW, "", {}, None)
    assert first.features == {"wind": None, "sky": None}
    assert first.prediction == second.prediction == "1"


def test_where_nobody_makes_ids_a_row_needs_one() -> None:
    parsed = events.parse_predictions([{"prediction": 1, "id": "a"}, {"prediction": 1}], MULTICLASS, arrived=NOW)
    assert [row.id for row in parsed.good] == ["a"]
    [(refused, _)] = parsed.refused
    assert (refused.index, refused.field, refused.reason) == (1, "id", "is missing; nobody makes one here")


def test_seconds_since_1970_are_a_time() -> None:
    (row,) = parse_predictions([{"prediction": "sun", "time": 86400.5}], MULTICLASS, arrived=NOW).good
    assert row.time == datetime(1970, 1, 2, 0, 0, 0, 500000, tzinfo=UTC)


def test_a_number_too_large_for_a_float_is_infinite() -> None:
    (row,) = parse_predictions([{"prediction": "sun", "features": {"wind": -(10**400)}}], MULTICLASS, arrived=NOW).good
    assert row.features["wind"] == -math.inf


MISTAKES = {
    "not an object": ([1, 2], "", "a row is a JSON object"),
    "no prediction": ({"prediction": ...}, "prediction", "is missing"),
    "null prediction": ({"prediction": None}, "prediction", "came null, which stands for a missing value"),
    "unknown field": ({"predicton": 1}, "predicton", "is not a known field"),
    "features a list": ({"features": []}, "features", "Expected"),
    "unknown feature": ({"features": {"wnd": 1}}, "features.wnd", "Did you mean 'wind'?"),
    "text in a number": ({"features": {"wind": "4"}}, "features.wind", "numeric"),
    "bool in a number": ({"features": {"wind": True}}, "features.wind", "numeric"),
    "list in a category": ({"features": {"sky": [1]}}, "features.sky", "categorical"),
    "long text": ({"features": {"sky": "x" * 4097}}, "features.sky", "at most 4096"),
    "NUL": ({"features": {"sky": "a\x00"}}, "features.sky", "NUL"),
    "half a surrogate": ({"features": {"sky": "\ud800"}}, "features.sky", "surrogate"),
    "empty id": ({"id": ""}, "id", "is empty"),
    "long id": ({"id": "x" * 257}, "id", "at most 256"),
    "id a list": ({"id": ["a"]}, "id", "Expected"),
    "no such time": ({"time": "yesterday"}, "time", "RFC 3339"),
    "time without zone": ({"time": "2013-04-04T12:00:00"}, "time", "without a time zone"),
    "time far off": ({"time": 1e300}, "time", "RFC 3339"),
    "future": ({"time": "2013-04-06T12:00:00Z"}, "time", "check the clock"),
    "before 1900": ({"time": "1899-01-01T00:00:00Z"}, "time", "before 1900"),
    "unknown class": ({"prediction": "maybe"}, "prediction", "no, yes"),
    "score too high": ({"score": 1.5}, "score.yes", "probability"),
    "prediction NaN": ({"prediction": math.nan}, "prediction", "allowed is the name of a class"),
    "prediction NA": ({"prediction": " NA "}, "prediction", "stands for a missing value"),
    "score a text": ({"score": "high"}, "score.yes", "probability"),
    "id NaN": ({"id": math.nan}, "id", "a unique text or number"),
    "negative latency": ({"latency_seconds": -1}, "latency_seconds", "0 or more"),
    "infinite latency": ({"latency_seconds": math.inf}, "latency_seconds", "finite"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_index_field_and_reason(mistake: str) -> None:
    change, field, words = MISTAKES[mistake]
    bad: Any = {k: v for k, v in {**GOOD, **change}.items() if v is not ...} if isinstance(change, dict) else change
    parsed = parse_predictions([GOOD, bad, GOOD], BINARY, arrived=NOW)
    assert len(parsed.good) == 2
    ((refused, raw),) = parsed.refused
    assert (refused.index, refused.field) == (1, field)
    assert words in refused.reason
    assert raw is bad
    with pytest.raises(EventError, match="row 1"):
        require_all_good(parsed)


@pytest.mark.parametrize("field", ["id", "time", "version", "prediction", "score", "latency_seconds", "label", "wind"])
@pytest.mark.parametrize("digits", [20, 400, 5000])
@pytest.mark.parametrize("schema", [BINARY, MULTICLASS, REGRESSION])
def test_whole_numbers_of_many_digits_break_nothing(schema: Schema, digits: int, field: str) -> None:
    for number in (10**digits, -(10**digits)):
        row = {"prediction": 1, field: number} if field != "wind" else {"prediction": 1, "features": {"wind": number}}
        for parsed in (
            parse_predictions([row], schema, arrived=NOW),
            parse_labels([{"id": 1, "label": 1, field: number}], schema, arrived=NOW),
        ):
            assert len(parsed.good) + len(parsed.refused) == 1


@pytest.mark.parametrize(
    ("schema", "row", "field", "words"),
    [
        (REGRESSION, {"prediction": "high"}, "prediction", "takes a number"),
        (REGRESSION, {"prediction": True}, "prediction", "takes a number"),
        (REGRESSION, {"prediction": math.inf}, "prediction", "finite"),
        (REGRESSION, {"prediction": 1, "score": 0.5}, "score", "which has none"),
        (MULTICLASS, {"prediction": math.nan}, "prediction", "name of a class"),
        (MULTICLASS, {"prediction": "sun", "score": 0.5}, "score", "object of class and probability"),
        (Schema(Task.BINARY), {"prediction": 1, "score": 0.5}, "score", "configure `positive`"),
    ],
)
def test_what_a_task_does_not_take_is_refused(schema: Schema, row: Any, field: str, words: str) -> None:
    ((refused, _),) = parse_predictions([row], schema, arrived=NOW).refused
    assert refused.field == field
    assert words in refused.reason


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"label": "yes"}, "id"),
        ({"id": 1}, "label"),
        ({"id": 1, "label": "?"}, "label"),
        (None, ""),
        ("x", ""),
    ],
)
def test_bad_labels_are_refused(row: Any, field: str) -> None:
    parsed = parse_labels([row, {"id": 7, "label": "no"}], BINARY, arrived=NOW)
    assert [(label.id, label.label, label.time) for label in parsed.good] == [("7", "no", NOW)]
    assert parsed.refused[0][0].field == field
    assert parsed.refused[0][0].reason


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
NEAR_ROWS = st.dictionaries(
    st.sampled_from(["id", "time", "version", "features", "prediction", "score", "latency_seconds", "label", "x"]),
    st.one_of(JSON, st.dictionaries(st.sampled_from(["wind", "sky", "yes", "no"]), JSON, max_size=3)),
)


@given(SCHEMAS, st.lists(st.one_of(JSON, NEAR_ROWS), max_size=4))
def test_no_json_whatever_does_more_than_be_refused(schema: Schema, rows: list[Any]) -> None:
    for parsed in (parse_predictions(rows, schema, arrived=NOW), parse_labels(rows, schema, arrived=NOW)):
        assert len(parsed.good) + len(parsed.refused) == len(rows)
        assert all(refused.reason for refused, _ in parsed.refused)
        assert [refused.index for refused, _ in parsed.refused] == sorted({r.index for r, _ in parsed.refused})
        assert all(row.time.tzinfo is UTC for row in parsed.good)


# ---- names -----------------------------------------------------------------------------------------------------------

ARRIVED = datetime(2024, 3, 1, tzinfo=UTC)
CLASSES_UNKNOWN = Schema(Task.MULTICLASS)
WEATHER = Schema(Task.MULTICLASS, {}, ("Rain", "sun"))
ACTING = st.sampled_from("\x00\n\r\t\x1b\x7f\x85\x9b\u2028\u202e\u2066\ud800")


@given(st.text(max_size=5), ACTING, st.text(max_size=5), st.sampled_from(["id", "version", "prediction", "score"]))
def test_no_name_holds_a_character_that_acts(before: str, sign: str, after: str, field: str) -> None:
    name = before + sign + after
    row: dict[str, Any] = {"prediction": "rain", field: {name: 0.5} if field == "score" else name}
    [(refused, _)] = parse_predictions([row], CLASSES_UNKNOWN, arrived=ARRIVED).refused
    assert refused.field.split(".")[0] == field
    assert visible(refused.field + refused.reason) == refused.field + refused.reason
    if field in ("id", "prediction"):
        row = {"id": "a", "label": name} if field == "prediction" else {"id": name, "label": "rain"}
        assert parse_labels([row], CLASSES_UNKNOWN, arrived=ARRIVED).refused


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=256))
def test_any_other_text_is_a_name(name: str) -> None:
    assume(name != ALL_VERSIONS and not is_missing(name))
    row = {"id": name, "version": name, "prediction": name, "score": {name: 0.5}}
    [good] = parse_predictions([row], CLASSES_UNKNOWN, arrived=ARRIVED).good
    assert (good.id, good.version, good.prediction, good.score) == (name, name, name, {name: 0.5})


@pytest.mark.parametrize(
    ("score", "field", "words"),
    [
        ({"Rain": 0.5, "sun\0": 0.5}, "score.sun\\x00", "not a class of this model; known: Rain, sun"),
        ({"Rain": 0.5, "rain": 0.5}, "score.rain", "Did you mean 'Rain'"),
        ({"snow": 1.0}, "score.snow", "not a class"),
        ({"x" * 10_000: 1.0}, "score.xxx", "not a class"),
    ],
)
def test_only_known_classes_are_scored(score: dict[str, float], field: str, words: str) -> None:
    [(refused, _)] = parse_predictions([{"prediction": "sun", "score": score}], WEATHER, arrived=ARRIVED).refused
    assert refused.field.startswith(field)
    assert len(refused.field) <= 200
    assert words in refused.reason


def test_where_classes_are_not_known_spellings_and_number_of_them_are_bounded() -> None:
    for score, words in (
        ({"Rain": 0.5, "rain": 0.5}, "by case only"),
        ({f"c{place}": 0.0 for place in range(101)}, "at most 100"),
        ({"": 0.5}, "without a name"),
        ({"x" * 257: 0.5}, "at most 256"),
    ):
        [(refused, _)] = parse_predictions(
            [{"prediction": "a", "score": score}], CLASSES_UNKNOWN, arrived=ARRIVED
        ).refused
        assert words in refused.reason
    one_class = Schema(Task.BINARY, {}, ("0",), "1")
    assert parse_predictions([{"prediction": "0", "score": {"1": 0.2}}], one_class, arrived=ARRIVED).good
    three = {"0": 0.2, "1": 0.2, "2": 0.6}
    assert parse_predictions([{"prediction": "0", "score": three}], one_class, arrived=ARRIVED).refused


def test_a_label_of_a_new_class_is_a_finding_and_is_taken() -> None:
    [label] = parse_labels([{"id": "a", "label": "snow"}], WEATHER, arrived=ARRIVED).good
    assert label.label == "snow"


def test_many_refusals_cost_no_more_each_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("driftline.events.values.did_you_mean", lambda came, known: looked.append(came) or "")
    schema = Schema(Task.REGRESSION, {f"column {place}": Kind.NUMERIC for place in range(3_000)})
    rows = [{"prediction": 1.0, "features": {f"made up {place}": 1}} for place in range(500)]
    refused = parse_predictions(rows, schema, arrived=ARRIVED).refused
    assert len(refused) == 500
    assert len(looked) <= 10
    assert max(len(row.reason) for row, _ in refused) < 1_100


@given(st.text(max_size=30))
def test_reasons_are_counted_under_a_closed_set_of_names(field: str) -> None:
    known = {"id", "time", "version", "features", "prediction", "score", "latency_seconds", "role"}
    name = refusal_reason("predictions", field).removeprefix("predictions.")
    assert name in known | {"row", "unknown_field"}


# ---- text ------------------------------------------------------------------------------------------------------------


@given(st.text())
def test_visible_text_is_one_line_that_acts_on_nothing_and_stays_as_it_is(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert visible(shown) == shown
    shown.encode()
    if text.isprintable():
        assert shown == text


# ---- one notion of missing, of time and of ids -------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, math.nan, "", "NA", " nan ", "<NA>"], ids=repr)
def test_what_is_missing_in_an_event_is_missing(missing: Any) -> None:
    row = {"id": "a", "prediction": "yes", "features": {"wind": missing, "sky": missing}, "time": missing}
    [event] = parse_predictions(
        [row | {"score": {"yes": missing}, "latency_seconds": missing}], BINARY, arrived=ARRIVED
    ).good
    assert event.features == {"wind": None, "sky": None} and event.score == {}
    assert event.time == ARRIVED and event.latency_seconds is None
    parsed = parse_labels([{"id": "a", "label": missing}], BINARY, arrived=ARRIVED)
    assert not parsed.good and parsed.refused[0][0].field == "label"


def test_spellings_of_ones_own_are_those_of_the_events_too() -> None:
    schema = replace(BINARY, missing=("", "-999"))
    rows = [{"prediction": "yes", "features": {"wind": -999, "sky": "NA"}}]
    [event] = parse_predictions(rows, schema, arrived=ARRIVED).good
    assert event.features == {"wind": None, "sky": "NA"}


@pytest.mark.parametrize("label", [17, 17.0, "17", "17.0"], ids=repr)
@pytest.mark.parametrize("prediction", [17, 17.0, "17", "17.0"], ids=repr)
def test_ids_match_as_numbers_and_texts(prediction: Any, label: Any) -> None:
    [event] = parse_predictions([{"id": prediction, "prediction": "yes"}], BINARY, arrived=ARRIVED).good
    [known] = parse_labels([{"id": label, "label": "yes"}], BINARY, arrived=ARRIVED).good
    assert event.id == known.id == "17"


@pytest.mark.parametrize(
    "time",
    [
        1364817600,
        1364817600.0,
        1364817600_000,
        1364817600_000_000,
        1364817600_000_000_000,
        "1364817600",
        "1364817600000",
        "2013-04-01T12:00:00Z",
        "2013-04-01T17:30:00+05:30",
        "2013-04-01T08:30:00-0330",
        "20130401T120000Z",
        201304011200,
        20130401120000,
    ],
    ids=repr,
)
def test_a_time_of_an_event_is_read_as_those_of_files_are(time: Any) -> None:
    [event] = parse_predictions([{"prediction": "yes", "time": time}], BINARY, arrived=ARRIVED).good
    assert event.time == datetime(2013, 4, 1, 12, tzinfo=UTC)
    if not isinstance(time, str):
        assert times_of(pl.Series([time])).to_list() == [event.time]


@given(st.floats() | st.integers())
def test_any_number_is_a_time_or_refused(number: float) -> None:
    parsed = parse_labels([{"id": "a", "label": "yes", "time": number}], BINARY, arrived=ARRIVED)
    assert len(parsed.good) + len(parsed.refused) == 1


def test_numbers_are_rounded_where_the_reference_has_32_bits() -> None:
    schema = replace(BINARY, single=("wind",))
    rows = [{"prediction": "yes", "features": {"wind": wind}} for wind in (0.1, 1e300, -1e300, 3)]
    found = [event.features["wind"] for event in parse_predictions(rows, schema, arrived=ARRIVED).good]
    assert found == [float(np.float32(0.1)), math.inf, -math.inf, 3.0]


def deep(depth: int) -> Any:
    """A list in a list in a list …, with no level of this process's own."""
    inner: Any = []
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize("depth", [10, 300, 100_000])
@pytest.mark.parametrize("kind", [Kind.CATEGORICAL, Kind.NUMERIC, Kind.UNSUPPORTED])
def test_what_is_nested_is_refused_or_kept_and_never_an_error_of_ours(depth: int, kind: Kind) -> None:
    schema = Schema(Task.REGRESSION, {"odd": kind})
    rows = [deep(depth), {"prediction": 1, "features": {"odd": deep(depth)}}, {"prediction": deep(depth)}]
    parsed = parse_predictions([*rows, {"prediction": 1}], schema, arrived=NOW)
    refused = [row.index for row, _ in parsed.refused]
    assert refused in ([0, 1, 2], [0, 2]) and len(parsed.good) + len(refused) == 4
    assert all(len(row.reason) < 500 for row, _ in parsed.refused)
    assert [row.index for row, _ in parse_labels([{"id": "a", "label": deep(depth)}], schema, arrived=NOW).refused] == [
        0
    ]


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_beyond_the_calendar_is_refused_as_a_time(time: str) -> None:
    [(row, _)] = parse_predictions([{"prediction": "rain", "time": time}], MULTICLASS, arrived=NOW).refused
    assert (row.field, row.reason[:5]) == ("time", "came ")
