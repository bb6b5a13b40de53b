"""WAPE and MASE are those of the literature, with intervals; a naive forecast is one of rows in order of time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import driftline
from driftline.errors import CodecError
from driftline.events import Kind, Schema, Task
from driftline.profiles import Reference, Regression
from driftline.profiles.blocks import Keys
from driftline.profiles.naive import Naive, NaiveTally, naive_of
from driftline.sketches import decode, encode
from driftline.sketches.codec import MAGIC, VERSION
from driftline.statistics import measures
from driftline.statistics.influence import Answers
from driftline.statistics.paired import difference, value_of

START = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = st.floats(-1e6, 1e6)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=60)
SERIES = st.lists(st.tuples(st.integers(0, 400), NUMBERS, st.sampled_from("abc")), min_size=1, max_size=60)


def regression(rows: list[tuple[float, float]], **more: object) -> Regression:
    labels, said = (pl.Series([row[side] for row in rows], dtype=pl.Float64) for side in (0, 1))
    return Regression.of(labels, said, **more)  # type: ignore[arg-type]


def frame(rows: list[tuple[int, float, str]], *, clusters: bool = False) -> pl.DataFrame:
    times = [START + timedelta(hours=hour) for hour, _, _ in rows]
    found = pl.DataFrame({"time": times, "label": [label for _, label, _ in rows]})
    return found.with_columns(pl.Series("cluster", [name for *_, name in rows])) if clusters else found


def plain_mase(train: np.ndarray, true: np.ndarray, said: np.ndarray) -> float:
    """Hyndman & Koehler (2006), as sktime's ``MeanAbsoluteScaledError`` with ``sp=1`` has it."""
    return float(np.mean(np.abs(true - said)) / np.mean(np.abs(train[1:] - train[:-1])))


# ---- WAPE --------------------------------------------------------------------------------------------------


@given(ROWS)
def test_wape_is_the_plain_ratio_of_sums(rows: list[tuple[float, float]]) -> None:
    true, said = np.array(rows).T
    found = measures(regression(rows), names=["wape", "mae"])["wape"]
    size = np.abs(true).sum()
    assume(size == 0 or size > 1e-20)
    if size == 0:
        assert found.problem == "every label is 0"
        return
    assert found.value == pytest.approx(np.abs(said - true).sum() / np.abs(true).sum(), rel=1e-9)
    assert found.low is not None and found.high is not None and 0 <= found.low <= found.value <= found.high
    assert found.n == len(rows)


@given(ROWS, st.integers(-3, 8))
def test_wape_has_no_unit(rows: list[tuple[float, float]], power: int) -> None:
    scale = 2.0**power
    one, other = (measures(regression(side))["wape"] for side in (rows, [(scale * a, scale * b) for a, b in rows]))
    assert other.problem == one.problem
    if one.value is not None:
        assert (other.value, other.low) == pytest.approx((one.value, one.low), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("labels", ["normal", "lognormal"])
@pytest.mark.parametrize("n", [400, 2_000])
def test_its_interval_holds_the_truth(labels: str, n: int) -> None:
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(150):
        true = rng.lognormal(0, 1, n) if labels == "lognormal" else rng.normal(50, 10, n)
        said = true * (1 + rng.normal(0, 0.1, n)) + rng.normal(0, 1, n)
        found = measures(Regression.of(pl.Series(true), pl.Series(said)), names=["wape"])["wape"]
        exact = expected_error(labels) / (np.exp(0.5) if labels == "lognormal" else 50.0)
        assert found.low is not None and found.high is not None
        held += found.low <= exact <= found.high
    assert held >= 150 * 0.92


def expected_error(labels: str) -> float:
    """E abs(N(0, 0.01 y² + 1)) over the labels, by a large sample."""
    rng = np.random.default_rng(0)
    y = rng.lognormal(0, 1, 400_000) if labels == "lognormal" else rng.normal(50, 10, 400_000)
    return float(np.sqrt(2 / np.pi) * np.sqrt(0.01 * y**2 + 1).mean())


def test_rows_of_one_day_widen_it_as_they_do_the_mae() -> None:
    rng = np.random.default_rng(4)
    days = np.repeat(np.arange(60), 20)
    true = rng.normal(1013.0, 2.0, len(days))  # far from 0, beside how far they are spread
    said = true + rng.normal(0, 1, 60)[days] + rng.normal(0, 0.1, len(days))
    found = [
        measures(Regression.of(pl.Series(true), pl.Series(said), centre=1013.0, keys=keys, unit=2.0), naive=known)
        for keys in (None, Keys(1, 24 * days))
        for known in [naive_of(frame([(hour, float(hour % 2), "") for hour in range(50)]))]
    ]
    for name in ("wape", "mase"):
        wider = [(side[name].high - side[name].low) / (side["mae"].high - side["mae"].low) for side in found]
        assert wider[1] == pytest.approx(wider[0], rel=0.05)
        assert found[1][name].high - found[1][name].low > 2 * (found[0][name].high - found[0][name].low)


@given(st.integers(0, 10**6))
def test_two_models_are_compared_by_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.gamma(2, 50, 200)
    one, other = (Answers(true, true + rng.normal(0, sd, 200)) for sd in (5, 10))
    found = difference("wape", one, other)
    exact = [np.abs(who.predictions - true).sum() / true.sum() for who in (one, other)]
    assert (found.first, found.second) == pytest.approx(exact) and found.value == pytest.approx(exact[1] - exact[0])
    assert found.low is not None and found.low > 0
    assert value_of("wape", Answers(true * 0, true)) is None


# ---- profiles of an earlier release ------------------------------------------------------------------------


def as_before(state: Regression, fields: int = 2) -> Regression:
    """What an earlier release wrote of the same rows: without the newest fields."""
    plain = msgspec.msgpack.decode(encode(state)[len(MAGIC) + 1 :])
    return decode(MAGIC + bytes([VERSION]) + msgspec.msgpack.encode(plain[:-fields]), Regression)


@given(ROWS, ROWS)
@example(
    [(0.0, 0.0)] * 2, [(0.0, 0.0), (2.7e-162, 0.0)]
)  # the mean of its squares is above 0, and too small for a float
def test_older_profiles_read_as_before_and_say_what_they_lack(
    old: list[tuple[float, float]], new: list[tuple[float, float]]
) -> None:
    before, now = regression(old), regression(new)
    found = as_before(before)
    ours, theirs = measures(before), measures(found)
    assert {name: one for name, one in ours.items() if name != "wape"} == {
        name: one for name, one in theirs.items() if name != "wape"
    }
    assert (
        theirs["wape"].value is None
        and f"{len(old)} rows were profiled by an earlier release" in theirs["wape"].problem
    )
    both = measures(found.merge(now))["wape"]
    assert both.n == len(old) + len(new) and f"{len(old)} rows were profiled" in both.problem
    with pytest.raises(CodecError):
        decode(encode(before)[:-1], Regression)


def test_an_older_reference_has_no_naive_forecast() -> None:
    rows = frame([(hour, float(hour), "a") for hour in range(30)]).with_columns(pl.col("label").alias("prediction"))
    reference = Reference.of(rows, Schema(Task.REGRESSION, {}))
    assert reference.naive.error == 1.0 and decode(encode(reference), Reference) == reference
    plain = msgspec.msgpack.decode(encode(reference)[len(MAGIC) + 1 :])
    older = decode(
        MAGIC + bytes([VERSION]) + msgspec.msgpack.encode(plain[: Reference.__struct_fields__.index("naive")]),
        Reference,
    )
    found = measures(reference.profile.performance, naive=older.naive)["mase"]
    assert found.value is None and "earlier release" in found.problem


# ---- MASE --------------------------------------------------------------------------------------------------


@given(st.lists(NUMBERS, min_size=2, max_size=50), ROWS)
def test_mase_is_hyndmans_and_sktimes(train: list[float], rows: list[tuple[float, float]]) -> None:
    true, said = np.array(rows).T
    naive = naive_of(frame([(hour, label, "") for hour, label in enumerate(train)]))
    found = measures(regression(rows), naive=naive)
    mase, mae = found["mase"], found["mae"]
    if not np.abs(np.diff(train)).mean() > 1e-30:
        assert "do not change" in mase.problem
        return
    assert mase.value == pytest.approx(plain_mase(np.array(train), true, said), rel=1e-9)
    ratio = mase.value / mae.value if mae.value else 0.0
    assert (mase.low, mase.high) == pytest.approx((mae.low * ratio, mae.high * ratio)) or not ratio


@given(SERIES, st.integers(1, 5), st.booleans())
def test_batches_in_order_of_time_are_as_one(rows: list[tuple[int, float, str]], parts: int, clusters: bool) -> None:
    ordered = sorted(rows, key=lambda row: row[0])
    whole, tally = naive_of(frame(ordered, clusters=clusters)), NaiveTally()
    for part in np.array_split(np.arange(len(ordered)), parts):
        tally.add(frame([ordered[at] for at in part], clusters=clusters))
    assert tally.naive() == whole
    names = sorted({name for *_, name in rows}) if clusters else [None]
    each = [np.abs(np.diff([y for _, y, name in ordered if names == [None] or name == one])) for one in names]
    steps = np.concatenate(each)
    if whole.error is not None:
        assert whole.error == pytest.approx(steps.mean(), rel=1e-12, abs=1e-300) and whole.steps == len(steps)


def test_each_series_has_a_naive_forecast_of_its_own() -> None:
    rows = [(hour, 1000.0 * (name == "b") + hour, name) for name in "ab" for hour in range(20)]  # one after the other
    assert naive_of(frame(rows, clusters=True)).error == 1.0
    tied = naive_of(frame(rows))
    assert tied.error is None and "20 rows of the reference have the time of the one before" in tied.problem


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "no two labels with times"),
        ([(0, 1.0, "")], "no two labels with times"),
        ([(0, 1.0, ""), (1, float("nan"), ""), (2, float("inf"), "")], "no two labels with times"),
    ],
)
def test_what_has_no_naive_forecast_says_why(rows: list[tuple[int, float, str]], problem: str) -> None:
    naive = naive_of(frame(rows) if rows else pl.DataFrame({"label": [1.0, 2.0]}))
    assert naive.error is None and problem in naive.problem
    assert measures(regression([(1.0, 2.0), (3.0, 4.0)]), naive=naive)["mase"].problem == naive.problem


def test_a_model_without_an_error_has_a_mase_of_0() -> None:
    true = pl.Series(np.arange(60.0))
    exact = Regression.of(true, true, keys=Keys(1, 24 * np.arange(60)))
    found = measures(exact, naive=naive_of(frame([(hour, float(hour), "") for hour in range(9)])))
    assert (found["mase"].value, found["wape"].value) == (0.0, 0.0)


def test_rows_that_go_back_in_time_from_batch_to_batch_are_no_order() -> None:
    tally = NaiveTally()
    for hours in ((5, 6), (1, 2)):
        tally.add(frame([(hour, 1.0, "") for hour in hours]))
    assert "not in order of time" in tally.naive().problem


def test_without_a_reference_there_is_no_naive_forecast() -> None:
    assert "no reference" in measures(regression([(1.0, 2.0), (3.0, 4.0)]))["mase"].problem
    assert Naive().error is None


def test_a_check_has_both() -> None:
    rng = np.random.default_rng(1)
    n = 1500
    walk = 100 + np.cumsum(rng.normal(0, 1, n))
    rows = pl.DataFrame(
        {"t": [START + timedelta(hours=at) for at in range(n)], "y": walk, "p": walk + rng.normal(0, 0.3, n)}
    )
    found = driftline.check(rows, rows.tail(700), time="t", label="y", prediction="p", task="regression")
    true, said = rows.tail(700)["y"].to_numpy(), rows.tail(700)["p"].to_numpy()
    assert found.performance["mase"].value == pytest.approx(plain_mase(walk, true, said))
    assert found.performance["wape"].value == pytest.approx(np.abs(true - said).sum() / np.abs(true).sum())
    told = json.loads(found.to_json())["performance"]
    assert told["mase"]["low"] < told["mase"]["value"] < 1 < 1 / told["mase"]["high"]
    without = driftline.check(rows.drop("t"), rows.drop("t"), label="y", prediction="p", task="regression")
    assert "name the time column" in without.performance["mase"].problem
    assert {Kind.NUMERIC} == {Kind(column.kind) for name, column in found.columns.items() if name == "y"}
