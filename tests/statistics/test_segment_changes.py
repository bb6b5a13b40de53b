"""What became worse is found, small samples are not judged, and many segments do not find what is not there."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.profiles import Classification, Performance, Regression
from driftline.statistics.catalogue import CATALOGUE, performance_measures
from driftline.statistics.segment_changes import ColumnChange, segment_changes
from driftline.statistics.split import NO_SEGMENT
from driftline.statistics.worse import Pair, falls, falls_among, falls_by_class


def binary(right: int, wrong: int) -> Classification:
    """Rows of one class, so many called by its name."""
    return Classification({("a", "a"): right, ("a", "b"): wrong} if wrong else {("a", "a"): right})


def together(parts: Mapping[str, Pair]) -> Pair:
    sides: list[Performance | None] = [None, None]
    for pair in parts.values():
        for at in (0, 1):
            one, other = sides[at], pair[at]
            sides[at] = other if one is None else one if other is None else one.merge(other)  # type: ignore[arg-type]
    return sides[0], sides[1]


def found_by(parts: Mapping[str, Pair], measure: str = "accuracy", **options: object) -> ColumnChange:
    [found] = segment_changes(measure, {"season": parts}, together(parts), least_rows=30, **options)  # type: ignore[arg-type]
    return found


def test_the_segment_that_fell_is_first_and_the_change_is_its_own() -> None:
    parts: dict[str, Pair] = {
        "autumn": (binary(450, 50), binary(225, 25)),
        "spring": (binary(450, 50), binary(125, 125)),
        "winter": (binary(450, 50), binary(224, 26)),
    }
    found = found_by(parts)
    assert [one.state for one in found.segments] == ["worse", "no worse", "no worse"]
    spring = found.segments[0]
    assert spring.value == "spring" and spring.change == pytest.approx(-0.4)
    assert spring.change_low is not None and spring.change_high is not None
    assert spring.change_low < -0.4 < spring.change_high < 0
    assert spring.within == pytest.approx(-0.4 / 3) and spring.mix == 0.0
    assert found.change == pytest.approx(sum(one.contribution or 0.0 for one in found.segments))
    assert (found.mix or 0.0) + (found.within or 0.0) == pytest.approx(found.change) and not found.problem


def test_a_segment_with_few_rows_is_not_judged_however_bad_it_looks() -> None:
    found = found_by({"big": (binary(900, 100), binary(450, 50)), "small": (binary(500, 0), binary(0, 29))})
    small = next(one for one in found.segments if one.value == "small")
    assert small.state == "not judged" and small.reason == (
        "too few rows: now there are 29, where at least 30 are needed"
    )
    assert small.current.value is None and small.current.problem == "too few rows: 29"
    assert small.within == pytest.approx((500 / 1500 + 29 / 529) / 2 * -1.0)  # the sum is exact all the same


@pytest.mark.parametrize("side", [0, 1])
def test_a_segment_of_one_side_only_is_mix(side: int) -> None:
    alone: Pair = (binary(60, 40), None) if side == 0 else (None, binary(60, 40))
    found = found_by({"old": (binary(90, 10), binary(90, 10)), "odd": alone})
    odd = next(one for one in found.segments if one.value == "odd")
    assert odd.state == "not judged" and odd.within == 0.0 and odd.mix != 0.0 and odd.change is None
    assert (odd.reference.problem, odd.current.problem)[1 - side] == "no labelled rows"


def test_an_improvement_is_not_worse() -> None:
    found = found_by({"a": (binary(50, 50), binary(90, 10)), "b": (binary(50, 50), binary(50, 50))})
    assert {one.state for one in found.segments} == {"no worse"}


def test_a_change_below_what_counts_is_not_worse() -> None:
    n = 10**7
    assert not falls((binary(9 * n, n), binary(9 * n - n // 10, n + n // 10)))  # one point, of ten million rows
    assert falls((binary(9 * n, n), binary(9 * n - n // 3, n + n // 3)))


def test_measures_without_a_split_are_judged_and_say_so() -> None:
    rng = np.random.default_rng(3)
    label = pl.Series(rng.choice(["a", "b"], 2000))
    blind = label.to_frame("l").select(pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("b")).otherwise("l"))
    parts: dict[str, Pair] = {
        "one": (Classification.of(label, label), Classification.of(label, blind.to_series())),
        "two": (Classification.of(label, label), Classification.of(label, label)),
    }
    found = found_by(parts, "recall", positive="a")
    assert found.mix is found.within is None and found.problem.startswith("recall is no mean over rows")
    assert [(one.value, one.state) for one in found.segments] == [("one", "worse"), ("two", "no worse")]
    assert found.reference == 1.0 and found.current is not None and found.current < 0.8
    assert found.problem.endswith("; accuracy, log_loss, brier are")
    assert [one.current.share for one in found.segments] == [0.5, 0.5]


def test_errors_that_grew_are_found_in_a_regression() -> None:
    rng = np.random.default_rng(4)
    truth = pl.Series(rng.normal(0, 1, 400))

    def of(spread: float) -> Regression:
        return Regression.of(truth, truth + pl.Series(rng.normal(0, spread, 400)))

    found = found_by({"calm": (of(1.0), of(1.0)), "storm": (of(1.0), of(2.0))}, "mae")
    assert [(one.value, one.state) for one in found.segments] == [("storm", "worse"), ("calm", "no worse")]
    skewed = Regression.of(truth, truth + 3.0)
    assert [one.measure for one in falls((of(1.0), skewed), names=["bias", "error_p50"])] == ["bias"]


def test_rows_of_no_segment_stand_at_their_place() -> None:
    parts: dict[str, Pair] = {"a": (binary(90, 10), binary(90, 10))}
    whole: Pair = (binary(180, 20), binary(120, 80))
    [found] = segment_changes("accuracy", {"season": parts}, whole, least_rows=30)
    rest = next(one for one in found.segments if one.value == NO_SEGMENT)
    assert rest.state == "not judged" and rest.within == pytest.approx(-0.3) and rest.current.rows == 100


def test_without_labels_on_one_side_nothing_is_said() -> None:
    [found] = segment_changes("accuracy", {"s": {"a": (binary(90, 10), None)}}, (binary(90, 10), None), least_rows=30)
    assert found.problem == "one side has no labelled rows" and found.change is found.mix is None
    assert segment_changes("accuracy", {}, (None, None), least_rows=30) == ()


def test_the_document_has_no_number_that_is_none() -> None:
    text = msgspec.json.encode(found_by({"a": (binary(90, 10), binary(0, 1)), "b": (None, binary(1, 0))}))
    assert b"nan" not in text.lower() and b"inf" not in text.lower()


# ---- many segments --------------------------------------------------------------------------------------------------


def _dealt(rng: np.random.Generator, segments: int, fallen: int, n: int = 200) -> dict[int, Pair]:
    right = rng.binomial(n, 0.8, (2, segments))
    right[1, :fallen] = rng.binomial(n, 0.66, fallen)
    return {at: (binary(int(r[0]), n - int(r[0])), binary(int(r[1]), n - int(r[1]))) for at, r in enumerate(right.T)}


def test_among_many_that_did_not_change_hardly_any_is_found() -> None:
    rng = np.random.default_rng(5)
    alarms = sum(bool(falls_among(_dealt(rng, 40, 0), least_rows=30, names=["accuracy"])) for _ in range(100))
    assert alarms <= 4  # at half of 1 % for 40 together: 5 and more come less than once in 50 000 runs
    alone = sum(any(falls(pair, names=["accuracy"]) for pair in _dealt(rng, 40, 0).values()) for _ in range(100))
    assert alone > alarms


def test_holm_finds_at_least_what_equal_shares_of_the_level_do() -> None:
    rng, more = np.random.default_rng(6), 0
    for _ in range(15):
        parts = _dealt(rng, 20, 16)
        equal = {key for key, pair in parts.items() if falls(pair, names=["accuracy"], sure=1 - 0.01 / len(parts))}
        found = set(falls_among(parts, least_rows=30, names=["accuracy"]))
        assert equal <= found <= set(range(16))
        more += len(found) - len(equal)
    assert more > 0


def test_parts_come_in_their_order() -> None:
    parts = _dealt(np.random.default_rng(7), 8, 8)
    found = list(falls_among(parts, least_rows=30))
    assert len(found) > 1 and found == sorted(found)


# ---- one way --------------------------------------------------------------------------------------------------------

_counts = st.fixed_dictionaries({pair: st.integers(0, 60) for pair in [(a, b) for a in "xyz" for b in "xyz"]})
_classified = _counts.map(lambda counts: Classification({pair: n for pair, n in counts.items() if n}))
_numbers = st.lists(st.floats(-1e154, 1e154), min_size=2, max_size=12)
_regressed = st.tuples(_numbers, st.integers(0, 2**32 - 1)).map(
    lambda given: Regression.of(
        pl.Series(given[0]), pl.Series(np.random.default_rng(given[1]).permutation(np.array(given[0]) * 1.5))
    )
)


@given(pair=st.tuples(_classified, _classified) | st.tuples(_regressed, _regressed))
def test_nothing_becomes_worse_both_ways(pair: Pair) -> None:
    names = performance_measures()
    there, back = ({one.measure: one for one in falls(sides, names=names)} for sides in (pair, pair[::-1]))
    assert there.keys().isdisjoint(back)
    assert not falls((pair[0], pair[0]), names=names)
    for name, one in there.items():
        assert CATALOGUE[name].better is not None
        assert abs(abs(one.became[0]) - abs(one.was[0])) >= one.least or one.was[0] * one.became[0] < 0
    classes = [falls_by_class(sides, least_rows=1) for sides in (pair, pair[::-1])]
    for name in classes[0].keys() & classes[1]:
        assert not {one.measure for one in classes[0][name]} & {one.measure for one in classes[1][name]}


# ---- classes --------------------------------------------------------------------------------------------------------


def _classes(rng: np.random.Generator, classes: int, right: float, n: int = 200) -> Classification:
    names = [f"c{at:02}" for at in range(classes)]
    labels = np.repeat(names, n)
    hit = rng.random(len(labels)) < right
    return Classification.of(pl.Series(labels), pl.Series(np.where(hit, labels, np.roll(labels, n))))


def test_the_class_that_fell_is_found_and_among_many_hardly_any_by_chance() -> None:
    rng = np.random.default_rng(8)
    alarms = sum(
        bool(falls_by_class((_classes(rng, 20, 0.8), _classes(rng, 20, 0.8)), least_rows=30)) for _ in range(30)
    )
    assert alarms <= 4  # three measures a class, each at half of 1 % for 20 classes together
    before, now = _classes(rng, 3, 0.9), _classes(rng, 3, 0.9)
    moved = dict(now.confusion)
    lost = moved["c01", "c01"] // 2
    moved["c01", "c01"] -= lost
    moved["c01", "c02"] = moved.get(("c01", "c02"), 0) + lost
    found = falls_by_class((before, Classification(moved)), least_rows=30)
    assert "recall" in [one.measure for one in found["c01"]]
    assert "recall" not in [one.measure for name in ("c00", "c02") for one in found.get(name, ())]
    assert not falls_by_class((before, Classification(moved)), least_rows=201)  # none has so many rows
    assert not falls_by_class((None, before), least_rows=30) and not falls_by_class((before, None), least_rows=30)
