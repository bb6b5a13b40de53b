"""The law of states, for every state there is: any split of the rows, merged in any order, has the same
bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import CodecError, DriftlineError
from driftline.events import Kind, Schema, Task
from driftline.profiles import (
    CategoricalColumn,
    Classification,
    NumericColumn,
    Profile,
    Regression,
    ScorePair,
    WindowProfile,
    profile_rows,
)
from driftline.profiles.blocks import Blocks, Keys
from driftline.profiles.delays import LabelDelays
from driftline.profiles.segments import SegmentProfiles, profile_segments
from driftline.sketches import CategoryCounts, ExactSum, Grid, GridSketch, KeySample, Moments, decode, encode

GRID = Grid(centre=2.5, scale=0.5)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ANY_FLOATS = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 1.0, 5.0, 1e308, -1e308, 5e-324]))
NAMES = st.sampled_from(["rain", "sun", "fog", "", "ünï", "0", "1"])
PROBABILITIES = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))


def floats(rows: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(rows, np.float64)


def series(rows: list[Any], dtype: Any) -> pl.Series:
    return pl.Series("x", rows, dtype=dtype, strict=False)


def classification(rows: list[Any]) -> Classification:
    return Classification.of(
        series([row[0] for row in rows], pl.String),
        series([row[1] for row in rows], pl.String),
        {
            "rain": series([row[2] for row in rows], pl.Float64),
            "sun": series([row[3] for row in rows], pl.Float64),
        },
    )


def two_classes(rows: list[Any]) -> Classification:
    """Of a binary model, without the score columns that say nothing about these rows."""
    scores = {name: series([row[at] for row in rows], pl.Float64) for at, name in ((2, "rain"), (3, "sun"))}
    labels, predictions = (series([row[at] for row in rows], pl.String) for at in (0, 1))
    told = {name: column for name, column in scores.items() if column.count()}
    return Classification.of(labels, predictions, told, positive="rain")


def regression(rows: list[Any]) -> Regression:
    labels, predictions = (series([row[at] for row in rows], pl.Float64) for at in (0, 1))
    return Regression.of(labels, predictions, centre=2.5)


HOURS = st.one_of(st.integers(470_000, 470_200), st.integers(-(10**6), 10**7))


def keys(rows: list[Any], at: int) -> Keys:
    return Keys(1, np.array([row[at] for row in rows], np.int64))


def blocks(rows: list[Any], span: int) -> Blocks:
    sums = {f"l {name}": np.array([row[1] * (row[2] == name) for row in rows], np.int64) for name in ("rain", "sun")}
    return Blocks.of(keys(rows, 0)._replace(span=span), sums)


def by_hour(rows: list[Any]) -> Classification:
    labels, predictions = (series([row[at] for row in rows], pl.String) for at in (0, 1))
    scores = {name: series([row[at] for row in rows], pl.Float64) for at, name in ((2, "rain"), (3, "sun"))}
    return Classification.of(labels, predictions, scores, keys=keys(rows, 4))


def regression_by_hour(rows: list[Any]) -> Regression:
    labels, predictions = (series([row[at] for row in rows], pl.Float64) for at in (0, 1))
    return Regression.of(labels, predictions, centre=2.5, keys=keys(rows, 2), unit=0.5)


def profile(rows: list[Any]) -> Profile:
    columns = {
        "name": CategoricalColumn.of(series([row[0] for row in rows], pl.String)),
        "number": NumericColumn.of(series([row[1] for row in rows], pl.Float64), GRID),
    }
    return Profile(len(rows), columns) if rows else Profile()


def window(rows: list[Any]) -> WindowProfile:
    features = {"name": Kind.CATEGORICAL, "number": Kind.NUMERIC}
    schema = Schema(Task.BINARY, features, ("rain", "sun"), "rain")
    frame = pl.DataFrame(
        {
            "feature.name": series([row[0] for row in rows], pl.String),
            "feature.number": series([row[1] for row in rows], pl.Float64),
            "prediction": series([row[2] for row in rows], pl.String),
            "label": series([row[3] for row in rows], pl.String),
            "score.rain": series([row[4] for row in rows], pl.Float64),
            "latency_seconds": series([row[5] for row in rows], pl.Float64),
        }
    )
    return profile_rows(frame, schema, {"feature.number": GRID})


def segments(rows: list[Any]) -> SegmentProfiles:
    told = {"name": ("rain", "sun"), "zone": ("north",)}
    schema = Schema(Task.BINARY, dict.fromkeys(told, Kind.CATEGORICAL), ("rain", "sun"), "rain", segments=told)
    columns = ("feature.name", "feature.zone", "prediction", "label")
    frame = pl.DataFrame({name: series([row[at] for row in rows], pl.String) for at, name in enumerate(columns)})
    return profile_segments(frame, schema, {})


@dataclass(frozen=True)
class Case:
    kind: type
    make: Callable[[list[Any]], Any]
    row: st.SearchStrategy[Any]


def times_of(rows: list[Any]) -> tuple[pl.Series, pl.Series]:
    """When rows were predicted and labelled, in seconds since 1970."""
    predicted, labelled = ([None if row[at] is None else row[at] * 1_000_000 for row in rows] for at in (0, 1))
    moment = pl.Datetime("us", "UTC")
    return series(predicted, pl.Int64).cast(moment), series(labelled, pl.Int64).cast(moment)


SECONDS = st.integers(-(10**10), 10**10)
MAYBE_NAMES = st.one_of(st.none(), NAMES)
CLASSES = st.sampled_from(["rain", "sun"])
CASES = [
    Case(ExactSum, lambda rows: ExactSum.of(floats(rows)), FLOATS),
    Case(Moments, lambda rows: Moments.of(floats(rows)), FLOATS),
    Case(GridSketch, lambda rows: GridSketch.of(floats(rows), GRID), FLOATS),
    Case(CategoryCounts, CategoryCounts.of, st.tuples(NAMES, st.integers(0, 5))),
    Case(NumericColumn, lambda rows: NumericColumn.of(series(rows, pl.Float64), GRID), ANY_FLOATS),
    Case(CategoricalColumn, lambda rows: CategoricalColumn.of(series(rows, pl.String)), MAYBE_NAMES),
    Case(
        ScorePair,
        lambda rows: ScorePair(
            GridSketch.of(floats([x for x, good in rows if good])),
            GridSketch.of(floats([x for x, good in rows if not good])),
        ),
        st.tuples(FLOATS, st.booleans()),
    ),
    Case(
        Classification,
        classification,
        st.tuples(MAYBE_NAMES, MAYBE_NAMES, PROBABILITIES, PROBABILITIES),
    ),
    Case(Classification, two_classes, st.tuples(CLASSES, CLASSES, PROBABILITIES, PROBABILITIES)),
    Case(Regression, regression, st.tuples(ANY_FLOATS, ANY_FLOATS)),
    Case(Blocks, lambda rows: blocks(rows, 1), st.tuples(HOURS, st.integers(-(2**36), 2**36), NAMES)),
    Case(Blocks, lambda rows: blocks(rows, 0), st.tuples(st.integers(0, 127), st.integers(0, 9), NAMES)),
    Case(Classification, by_hour, st.tuples(NAMES, NAMES, PROBABILITIES, PROBABILITIES, HOURS)),
    Case(Regression, regression_by_hour, st.tuples(ANY_FLOATS, ANY_FLOATS, HOURS)),
    Case(LabelDelays, lambda rows: LabelDelays.of(*times_of(rows)), st.tuples(SECONDS, st.none() | SECONDS)),
    Case(Profile, profile, st.tuples(MAYBE_NAMES, ANY_FLOATS)),
    Case(
        WindowProfile,
        window,
        st.tuples(
            MAYBE_NAMES,
            ANY_FLOATS,
            CLASSES,
            st.one_of(st.none(), CLASSES),
            PROBABILITIES,
            st.one_of(st.none(), st.floats(0, 10)),
        ),
    ),
    Case(
        SegmentProfiles,
        segments,
        st.tuples(MAYBE_NAMES, st.one_of(st.none(), st.just("north")), CLASSES, st.one_of(st.none(), CLASSES)),
    ),
]
every_state = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.__name__)


@every_state
@given(data=st.data())
def test_any_split_merged_in_any_order_has_the_same_bytes(case: Case, data: st.DataObject) -> None:
    rows = data.draw(st.lists(case.row, max_size=30))
    places = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    parts = [case.make([row for row, place in zip(rows, places, strict=True) if place == at]) for at in range(4)]
    order = data.draw(st.permutations(parts))
    whole = case.make(rows)
    left = reduce(lambda a, b: a.merge(b), order)
    right = order[0].merge(order[1].merge(order[2].merge(order[3])))
    assert encode(left) == encode(whole)
    assert encode(right) == encode(whole)


@every_state
@given(data=st.data())
def test_the_empty_state_changes_nothing_and_the_codec_gives_back_an_equal_state(
    case: Case, data: st.DataObject
) -> None:
    state = case.make(data.draw(st.lists(case.row, max_size=20)))
    whole = encode(state)
    assert encode(case.kind().merge(state)) == whole
    assert encode(state.merge(case.kind())) == whole
    back = decode(whole, case.kind)
    assert back == state
    assert encode(back) == whole


@every_state
def test_no_rows_give_a_state_that_adds_nothing(case: Case) -> None:
    assert encode(case.make([]).merge(case.kind())) == encode(case.kind().merge(case.make([])))


# ---- hostile bytes -----------------------------------------------------------------------------------------


def refused_or_a_state(data: bytes, kind: type) -> None:
    """Decoding strangers' bytes gives a state of the kind or `CodecError`, and nothing else."""
    try:
        state = decode(data, kind)
    except CodecError:
        return
    assert isinstance(state, kind)


@every_state
@given(data=st.data())
def test_truncated_bytes_are_refused(case: Case, data: st.DataObject) -> None:
    whole = encode(case.make(data.draw(st.lists(case.row, max_size=5))))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CodecError):
        decode(whole[:cut], case.kind)


@every_state
@given(data=st.data())
def test_damaged_bytes_are_a_codec_error_or_a_state(case: Case, data: st.DataObject) -> None:
    whole = bytearray(encode(case.make(data.draw(st.lists(case.row, max_size=5)))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    refused_or_a_state(bytes(whole), case.kind)


@every_state
@given(noise=st.binary(max_size=60))
def test_random_bytes_are_a_codec_error_or_a_state(case: Case, noise: bytes) -> None:
    with pytest.raises(CodecError):
        decode(noise if not noise.startswith(b"DLS\x01") else b"", case.kind)
    refused_or_a_state(b"DLS\x01" + noise, case.kind)


@every_state
@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xc6\xff\xff\xff\xff",  # as many bytes
        b"\x91" * 5000 + b"\xc0",  # nested five thousand deep
        b"\xdf\xff\xff\xff\xff",  # a mapping of as many
        b"\xc0",
        b"\x90",
        b"",
    ],
    ids=["huge array", "huge bytes", "deep", "huge map", "nil", "empty array", "nothing"],
)
def test_impossible_lengths_and_depths_are_refused(case: Case, body: bytes) -> None:
    with pytest.raises(CodecError):
        decode(b"DLS\x01" + body, case.kind)


IMPOSSIBLE: dict[str, tuple[type, list[Any]]] = {
    "a category twice": (CategoryCounts, [[["a", 1], ["a", 2]], b""]),
    "categories out of order": (CategoryCounts, [[["b", 1], ["a", 2]], b""]),
    "a category that never came": (CategoryCounts, [[["a", 0]], b""]),
    "a negative count": (CategoryCounts, [[["a", -1]], b""]),
    "a negative bucket": (CategoryCounts, [[["a", 1]], b"\xff" * 8 * 1024]),
    "a cell of NaN": (GridSketch, [[0.0, 1.0], b"\x00\x00\xff\xff", b"\x01" + bytes(7) + b"\x01" + bytes(7)]),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_states_that_no_rows_can_give_are_refused(name: str) -> None:
    kind, fields = IMPOSSIBLE[name]
    with pytest.raises(CodecError):
        decode(b"DLS\x01" + msgspec.msgpack.encode(fields), kind)


def test_too_few_keys_for_a_sample_are_all_there_are() -> None:
    """Bytes may say that more rows came than their keys stand for; what is asked of them has an answer all the same."""
    one = np.array([1], np.uint64)
    assert KeySample(30, one, np.array([1])).distinct() == (1.0, 1.0, 1.0)
    assert CategoryCounts({"a": 1}, np.zeros(1024, np.int64)).distinct() == (1.0, 1.0, 1.0)
    assert CategoryCounts({}, np.zeros(1024, np.int64)).threshold == (1 << 64) - 1


@every_state
def test_a_state_of_another_class_is_refused(case: Case) -> None:
    other = Moments if case.kind is not Moments else Regression
    with pytest.raises(CodecError):
        decode(encode(other()), case.kind)


def test_an_unknown_version_says_so() -> None:
    with pytest.raises(CodecError, match=r"version 9.*upgrade"):
        decode(b"DLS\x09\x90", Moments)


@given(st.lists(st.tuples(ANY_FLOATS, ANY_FLOATS), max_size=10), st.integers(0, 2**64))
def test_a_decoded_state_merges_or_says_why_not(rows: list[Any], seed: int) -> None:
    """What passes the codec after damage may be merged: the worst that happens is an error of ours."""
    whole = bytearray(encode(regression(rows)))
    rng = np.random.default_rng(seed)
    whole[int(rng.integers(4, len(whole)))] = int(rng.integers(0, 256))
    try:
        state = decode(bytes(whole), Regression)
        state.merge(regression(rows))
    except DriftlineError:
        pass


# ---- what the sketches promise -----------------------------------------------------------------------------


@given(st.lists(FLOATS, max_size=50))
def test_an_exact_sum_is_fsum(values: list[float]) -> None:
    try:
        expected = math.fsum(values)
    except OverflowError:  # fsum gives up on intermediate overflow; the exact sum does not
        return
    assert ExactSum.of(floats(values)).value == expected


@given(st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=50))
def test_moments_agree_with_numpy(values: list[float]) -> None:
    moments = Moments.of(floats(values))
    scale = float(np.abs(values).max()) or 1.0
    assert moments.mean is not None and moments.variance is not None
    assert moments.mean == pytest.approx(float(np.mean(values)), rel=1e-12, abs=1e-12 * scale)
    assert moments.variance == pytest.approx(float(np.var(values, ddof=1)), rel=1e-9, abs=1e-12 * scale**2)


GRIDS = st.builds(Grid, st.floats(-1e6, 1e6), st.sampled_from([0.001, 0.5, 1.0, 3.0, 1024.0]))


@given(GRIDS, st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_within_one_cell(grid: Grid, values: list[float], q: float) -> None:
    found = GridSketch.of(floats(values), grid).quantile(q)
    rank = max(math.ceil(q * len(values)) - 1, 0)
    exact = sorted(values)[rank]
    width = max(abs(exact - grid.centre) * 2**-7, 1e-37 * grid.scale)
    rounding = 1e-6 * (abs(exact) + abs(grid.centre))
    assert found is not None
    assert abs(found - exact) <= width * 1.01 + rounding


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-20, 1e20), st.floats(-1e20, -1e-20)), min_size=1), st.floats(0, 1))
def test_a_quantile_that_is_0_is_0_itself(values: list[float], q: float) -> None:
    """Not a number next to it, such as 3e-42, which nobody has sent."""
    exact = sorted(values)[max(math.ceil(q * len(values)) - 1, 0)]
    assert (GridSketch.of(floats(values)).quantile(q) == 0.0) == (exact == 0.0)


@given(GRIDS, st.floats(), st.floats())
def test_cells_are_in_order_of_the_values(grid: Grid, a: float, b: float) -> None:
    if not (math.isfinite(a) and math.isfinite(b)):
        return
    low, high = grid.cells_of(floats([min(a, b), max(a, b)])).tolist()
    assert low <= high


@given(st.floats(-1e37, 1e37))
def test_a_value_lies_in_its_cell(value: float) -> None:
    grid = Grid()
    cell = grid.cells_of(floats([value]))
    single = float(np.float32(value))
    assert grid.lower_edges(cell)[0] <= single <= grid.upper_edges(cell)[0]


@settings(max_examples=20)
@given(st.permutations(range(257)))
def test_whole_numbers_to_256_have_a_cell_each(numbers: list[int]) -> None:
    both = floats([*numbers, *(-n for n in numbers)])
    assert len(GridSketch.of(both).cells) == 2 * 257 - 1
