"""The split of a change adds up exactly, is the same backwards, and names what was done to the rows."""

from __future__ import annotations

from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.profiles import Classification, Regression
from driftline.statistics import CATALOGUE, measures
from driftline.statistics.split import MEANS, NO_SEGMENT, RowMean, Split, row_mean, split_change, split_problem

means = st.builds(
    RowMean, st.integers(0, 10**6), st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**6)
).map(lambda one: one if one.rows else RowMean(0, Fraction(0)))
sides = st.dictionaries(st.sampled_from("abcdef"), means, max_size=6)


def _close(one: float, other: float, size: float = 1.0) -> bool:
    return abs(one - other) <= 1e-9 * max(size, abs(one), abs(other), 1e-300)


def _size(found: Split) -> float:
    return max(
        [1.0, abs(found.reference), abs(found.current), *(abs(p.mix) + abs(p.within) for p in found.parts.values())]
    )


@given(sides, sides)
def test_the_parts_add_up_to_the_change(before: dict[str, RowMean], after: dict[str, RowMean]) -> None:
    found = split_change(before, after)
    rows = [sum(one.rows for one in side.values()) for side in (before, after)]
    if not all(rows):
        assert found is None
        return
    assert found is not None
    size = _size(found)
    assert _close(found.mix + found.within, found.change, size)
    assert _close(sum(one.mix for one in found.parts.values()), found.mix, size)
    assert _close(sum(one.within for one in found.parts.values()), found.within, size)
    assert _close(found.current - found.reference, found.change, size)
    for at, share in enumerate(("share_reference", "share")):
        assert _close(sum(getattr(one, share) for one in found.parts.values()), 1.0)
        assert found.parts.keys() >= {name for name, one in (before, after)[at].items() if one.rows}


@given(sides, sides)
def test_the_way_back_is_the_same_with_the_other_sign(before: dict[str, RowMean], after: dict[str, RowMean]) -> None:
    there, back = split_change(before, after), split_change(after, before)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert (there.mix, there.within, there.change) == (-back.mix, -back.within, -back.change)
        for name, one in there.parts.items():
            assert (one.mix, one.within) == (-back.parts[name].mix, -back.parts[name].within)


@given(sides, sides, st.randoms(use_true_random=False))
def test_the_order_of_the_segments_is_nothing(
    before: dict[str, RowMean], after: dict[str, RowMean], by: object
) -> None:
    names = sorted(before, key=lambda name: by.random())  # type: ignore[attr-defined]
    one, other = split_change(before, after), split_change({name: before[name] for name in names}, after)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one._replace(parts={}) == other._replace(parts={}) and dict(one.parts) == dict(other.parts)


@given(sides, sides)
def test_a_segment_without_rows_changes_nothing(before: dict[str, RowMean], after: dict[str, RowMean]) -> None:
    empty = {"empty": RowMean(0, Fraction(0))}
    assert split_change(before | empty, after | empty) == split_change(before, after)


@given(means, means)
def test_one_segment_is_all_within(was: RowMean, now: RowMean) -> None:
    found = split_change({"all": was}, {"all": now})
    if found is not None:
        assert found.mix == 0.0 and found.within == found.change


@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1))
def test_other_shares_of_segments_that_stay_as_they_are_are_all_mix(rows: dict[str, tuple[int, int]]) -> None:
    sides = [
        {name: RowMean(n[side], Fraction(n[side]) * (ord(name) - 96)) for name, n in rows.items()} for side in (0, 1)
    ]
    found = split_change(*sides)
    assert found is not None and found.within == 0.0 and found.mix == found.change


def test_a_new_segment_is_mix_and_moves_towards_what_it_is() -> None:
    good = RowMean(80, Fraction(72))
    found = split_change({"old": good}, {"old": good, "new": RowMean(20, Fraction(2))})
    assert found is not None and found.within == 0.0 and found.mix == pytest.approx(0.74 - 0.9)
    new, old = found.parts["new"], found.parts["old"]
    assert new.mean_reference is None and new.mean == 0.1 and new.mix < 0 and old.mix < 0
    gone = split_change({"old": good, "new": RowMean(20, Fraction(2))}, {"old": good})
    assert gone is not None and gone.parts["new"].mean is None and gone.mix == -found.mix


def test_rows_of_no_segment_are_one_of_their_own() -> None:
    whole = RowMean(100, Fraction(90)), RowMean(100, Fraction(50))
    found = split_change({"a": RowMean(40, Fraction(40))}, {"a": RowMean(40, Fraction(40))}, whole)
    assert found is not None and found.change == pytest.approx(-0.4)
    assert found.parts[NO_SEGMENT].rows == 60 and found.parts[NO_SEGMENT].within == pytest.approx(-0.4)
    assert NO_SEGMENT not in (split_change({"a": whole[0]}, {"a": whole[1]}, whole) or found).parts


# ---- the sums are those of the measures -----------------------------------------------------------------------------


def _classification() -> Classification:
    labels = pl.Series(["a", "b", "a", "a", "b", "a", "b"])
    said = pl.Series(["a", "b", "b", "a", "a", "a", "b"])
    scores = pl.Series([0.9, 0.2, 0.4, 0.7, 0.6, 0.8, None])
    return Classification.of(labels, said, {"a": scores}, positive="a")


def _regression() -> Regression:
    return Regression.of(pl.Series([1.0, 2.0, 0.0, -4.0]), pl.Series([1.5, 1.0, 0.25, -4.0]))


@pytest.mark.parametrize("measure", MEANS)
def test_each_is_the_measure_that_is_shown(measure: str) -> None:
    performance = _classification() if "binary" in CATALOGUE[measure].tasks else _regression()
    shown = measures(performance, positive="a", names=[measure])[measure]
    summed = row_mean(measure, performance)
    assert summed.rows == shown.n and float(summed.mean) == pytest.approx(shown.value)
    assert row_mean(measure, None) == RowMean(0, Fraction(0))


def test_others_are_refused_in_words() -> None:
    for name in ("recall", "f1", "roc_auc", "rmse", "wape", "r2"):
        assert split_problem(name).startswith(f"{name} is no mean over rows") and "accuracy" in split_problem(name)
    assert not any(split_problem(name) for name in MEANS)
