"""Gates: each closes for what it is there for, and none lets through what is not better."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftline.errors import UnknownNameError, UsageError
from driftline.events import Task
from driftline.rules.contest import Contest, decide, judge_contest
from driftline.rules.contestants import Entry, Rows, Settings
from driftline.rules.gates import Gate

N = 600
DAY = 86_400.0


def binary(seed: int = 0, n: int = N, *, old: float = 0.75, new: float = 0.85) -> tuple[Entry, Entry, Rows]:
    """Two versions that are right so often, on n rows of 30 days."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array(["0", "1"]), n)
    rows = Rows(
        Task.BINARY,
        truth,
        seconds=np.sort(rng.random(n)) * 30 * DAY,
        segments={"region": rng.choice(np.array(["north", "south"]), n)},
        classes=("0", "1"),
        positive="1",
    )
    return entry("v1", rng, truth, old), entry("v2", rng, truth, new), rows


def entry(version: str, rng: np.random.Generator, truth: np.ndarray, right: float) -> Entry:
    said = np.where(rng.random(len(truth)) < right, truth, np.where(truth == "1", "0", "1"))
    score = np.where(said == "1", right, 1 - right)
    return Entry(version, said, np.ones(len(truth), np.bool_), {"1": score}, rng.gamma(2, 0.01, len(truth)))


def gate(contest: Contest, name: str) -> Gate:
    return next(one for one in contest.gates if one.name == name)


def test_a_better_challenger_is_promoted_and_says_why() -> None:
    old, new, rows = binary()
    contest = judge_contest(old, new, rows, Settings(measure="accuracy"))
    assert contest.decision == "promote"
    assert contest.reason.startswith("On 600 rows its accuracy is better: 0.8")
    assert {one.name: one.passed for one in contest.gates} == {
        "answers": True,
        "signature": True,
        "rows": True,
        "leakage": None,
        "latency": True,
        "better": True,
        "floor": None,
        "segments": True,
        "calibration": True,
        "prediction shift": True,
    }
    assert [one.value for one in contest.segments] == ["north", "south"]
    assert sum(one.rows for one in contest.over_time) == N
    assert msgspec.json.decode(msgspec.json.encode(contest), type=Contest) == contest


def test_the_measure_of_a_binary_model_with_scores_is_the_auc() -> None:
    old, new, rows = binary()
    assert judge_contest(old, new, rows, Settings()).measure == "roc_auc"
    assert judge_contest(replace(old, scores={}), new, rows, Settings()).measure == "accuracy"
    with pytest.raises(UnknownNameError, match="measure of a contest of binary models 'mae'"):
        judge_contest(old, new, rows, Settings(measure="mae"))


def test_one_that_is_worse_or_the_same_is_held() -> None:
    old, new, rows = binary()
    assert judge_contest(new, old, rows, Settings()).decision == "hold"
    same = judge_contest(old, replace(old, version="v2"), rows, Settings())
    assert (same.decision, same.difference.value) == ("hold", 0.0)


def test_margin_and_improvement_move_the_bar() -> None:
    old, new, rows = binary(3, new=0.76)
    found = judge_contest(old, new, rows, Settings(measure="accuracy")).difference
    assert found.low is not None and found.low < 0
    assert judge_contest(old, new, rows, Settings(measure="accuracy")).decision == "hold"
    assert judge_contest(old, new, rows, Settings(measure="accuracy", margin=-found.low + 0.001)).decision == "promote"
    clear = binary(new=0.95)
    assert judge_contest(*clear, Settings(measure="accuracy", improvement=0.1)).decision == "promote"
    assert judge_contest(*clear, Settings(measure="accuracy", improvement=0.3)).decision == "hold"


@pytest.mark.parametrize(
    "bad",
    [
        {"margin": -0.1},
        {"margin": 0.1, "improvement": 0.1},
        {"confidence": 0.5},
        {"margin": math.nan},
        {"improvement": math.inf},
        {"floor": math.nan},
        {"least_rows": 0},
        {"least_class_rows": -5},
    ],
)
def test_settings_that_make_no_sense(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Settings(**bad)  # type: ignore[arg-type]


def closed_by(name: str, reason: str, old: Entry, new: Entry, rows: Rows, **settings: Any) -> None:
    contest = judge_contest(old, new, rows, Settings(measure="accuracy", **settings))
    assert contest.decision == "hold"
    assert gate(contest, name).passed is False
    assert reason in gate(contest, name).reason
    assert gate(contest, name).reason in contest.reason


def test_rows_without_an_answer() -> None:
    old, new, rows = binary()
    answered = np.arange(N) >= 3
    closed_by("answers", "v2 has no answer to 3 of 600 rows", old, replace(new, answered=answered), rows)


def test_a_class_that_nobody_knows() -> None:
    old, new, rows = binary()
    said = new.predictions.astype("<U8")
    said[0] = "maybe"
    closed_by("answers", "predicts 'maybe', which is no class", old, replace(new, predictions=said), rows)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_scores_that_are_no_probabilities(bad: float) -> None:
    old, new, rows = binary()
    score = new.scores["1"].copy()
    score[7] = bad
    closed_by(
        "signature", "1 scores of '1' by v2 are missing, or outside", old, replace(new, scores={"1": score}), rows
    )


def test_scores_that_the_champion_gave_and_it_does_not() -> None:
    old, new, rows = binary()
    closed_by("signature", "v2 gives no score of 1", old, replace(new, scores={}), rows)


def test_too_few_rows_and_rows_of_one_class() -> None:
    closed_by("rows", "99 labelled rows have an answer of both; 100 are needed", *binary(n=99))
    old, new, rows = binary()
    closed_by("rows", "All labels are the same", old, new, replace(rows, labels=np.full(N, "1")))


@pytest.mark.parametrize("measure", ["recall", "f1", "balanced_accuracy", "precision", "roc_auc"])
def test_too_few_rows_of_the_class_that_a_measure_is_of(measure: str) -> None:
    """One hit on the one positive row is no better recall."""
    truth = np.where(np.arange(200) == 7, "1", "0")
    old = Entry("v1", np.full(200, "0"), np.ones(200, np.bool_), {"1": np.full(200, 0.2)})
    said = np.where(np.arange(200) < 8, "1", "0")
    new = Entry("v2", said, np.ones(200, np.bool_), {"1": np.where(said == "1", 0.9, 0.1)})
    rows = Rows(Task.BINARY, truth, classes=("0", "1"), positive="1")
    contest = judge_contest(old, new, rows, Settings(measure=measure))
    assert contest.decision == "hold"
    few, what = ("0", "predicted to be") if measure == "precision" else ("1", "of")
    assert contest.reason.startswith(f"{few} rows are {what} the class 1, which the {measure} rests on; 30 are needed.")
    assert judge_contest(old, new, rows, Settings(measure="accuracy")).reason.startswith("On 200 rows")


def test_rows_of_one_day_hold_and_say_so() -> None:
    old, new, rows = binary(new=0.99)
    day = replace(rows, seconds=np.arange(N, dtype=np.float64))
    contest = judge_contest(old, new, day, Settings(measure="accuracy"))
    assert contest.decision == "hold"
    assert contest.reason == "accuracy: all rows are of one day: how far days differ cannot be told."
    assert judge_contest(old, new, replace(rows, seconds=None), Settings(measure="accuracy")).decision == "promote"


def test_training_that_reaches_into_the_contest() -> None:
    old, new, rows = binary()
    assert rows.seconds is not None
    closed_by("leakage", "rows of the contest are from the time", old, new, replace(rows, trained_until=DAY))
    before = replace(rows, trained_until=float(rows.seconds.min()) - 1)
    assert gate(judge_contest(old, new, before, Settings()), "leakage").passed is True


def test_a_slow_one() -> None:
    old, new, rows = binary()
    closed_by("latency", "Its latency", old, replace(new, latency_seconds=old.latency_seconds * 2.5), rows)
    quick = [replace(one, latency_seconds=np.full(20, seconds)) for one, seconds in ((old, 1e-5), (new, 9e-3))]
    assert gate(judge_contest(*quick, rows, Settings()), "latency").passed is True


def test_one_below_the_floor() -> None:
    closed_by("floor", "is below the floor of 0.9", *binary(), floor=0.9)
    old, new, rows = regression()
    contest = judge_contest(old, new, rows, Settings(floor=0.5))
    assert gate(contest, "floor").reason.endswith("is above the floor of 0.5.")
    assert contest.decision == "hold"


def test_a_segment_that_pays_for_the_others() -> None:
    old, new, rows = binary(n=2000, new=0.95)
    south = rows.segments["region"] == "south"
    said = np.where(south & (np.arange(2000) % 3 == 0), np.where(rows.labels == "1", "0", "1"), rows.labels)
    closed_by("segments", "It is worse for region = south", old, replace(new, predictions=said), rows)


def test_small_segments_are_not_judged_and_many_are_corrected_for() -> None:
    old, new, rows = binary()
    tiny = replace(rows, segments={"who": np.where(np.arange(N) < 29, "few", "many")})
    assert [one.value for one in judge_contest(old, new, tiny, Settings()).segments] == ["many"]
    rng = np.random.default_rng(5)
    closed = 0
    for seed in range(100):  # equal in every one of 15 segments
        old, new, rows = binary(seed, n=900, new=0.75)
        many = replace(rows, segments={"who": rng.choice(np.array([f"s{i}" for i in range(15)]), 900)})
        closed += gate(judge_contest(old, new, many, Settings(measure="accuracy")), "segments").passed is False
    assert closed <= stats.binom.ppf(0.999, 100, 0.05)


def test_a_segment_is_held_against_a_challenger_no_oftener_than_said_where_days_have_luck() -> None:
    """Equal models; on each day one of them is luckier. Without blocks of days, a fifth of the segments were worse."""
    closed = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        day = np.arange(1500) // 50
        luck, truth = rng.normal(0, 0.1, 30)[day], np.full(1500, "a")
        said = [np.where(rng.random(1500) < 0.8 + sign * luck / 2, "a", "b") for sign in (1, -1)]
        old, new = (Entry(f"v{index}", one, np.ones(1500, np.bool_)) for index, one in enumerate(said))
        truth[:2] = "b"
        rows = Rows(Task.BINARY, truth, day * DAY, {"all": np.full(1500, "x")}, ("a", "b"), "a")
        closed += gate(judge_contest(old, new, rows, Settings(measure="accuracy")), "segments").passed is False
    assert closed <= stats.binom.ppf(0.999, 150, 0.05)


def test_probabilities_that_are_none() -> None:
    old, new, rows = binary()
    sure = np.where(new.predictions == "1", 1.0, 0.0) * 0.4 + 0.6
    closed_by("calibration", "Its calibration error is", old, replace(new, scores={"1": sure}), rows)


def test_predictions_that_run_away_from_the_labels() -> None:
    rng = np.random.default_rng(2)
    truth = np.where(rng.random(2000) < 0.95, "0", "1")
    rows = Rows(Task.BINARY, truth, classes=("0", "1"), positive="1")
    wide = Entry("v1", np.where(rng.random(2000) < 0.7, truth, "1"), np.ones(2000, np.bool_))
    narrow = Entry("v2", np.full(2000, "0"), np.ones(2000, np.bool_))
    contest = judge_contest(narrow, wide, rows, Settings(measure="recall"))
    assert gate(contest, "better").passed is True  # of the rare class
    assert gate(contest, "prediction shift").passed is False
    assert contest.decision == "hold"


# ---- other tasks ------------------------------------------------------------------------------------------------


def regression(seed: int = 0, *, new: float = 1.0, n: int = N) -> tuple[Entry, Entry, Rows]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 10, n)
    there = np.ones(n, np.bool_)
    old = Entry("v1", truth + rng.normal(0, 2, n), there)
    return old, Entry("v2", truth + rng.normal(0, new, n), there), Rows(Task.REGRESSION, truth, np.arange(n) * 3600.0)


def test_a_regression_is_judged_by_its_absolute_error() -> None:
    old, new, rows = regression()
    contest = judge_contest(old, new, rows, Settings())
    assert (contest.decision, contest.measure) == ("promote", "mae")
    assert judge_contest(new, old, rows, Settings()).decision == "hold"
    broken = new.predictions.astype(np.float64).copy()
    broken[0] = np.inf
    held = judge_contest(old, replace(new, predictions=broken), rows, Settings())
    assert held.reason == "1 predictions of v2 are no finite numbers."


@pytest.mark.parametrize("measure", ["mae", "rmse"])
@pytest.mark.parametrize("unit", [2.0**1000, 2.0**-1000])
def test_the_unit_of_a_regression_is_nothing_to_a_contest(measure: str, unit: float) -> None:
    old, new, rows = regression()
    there, whole = (
        judge_contest(
            replace(old, predictions=old.predictions * of),  # type: ignore[arg-type]
            replace(new, predictions=new.predictions * of),  # type: ignore[arg-type]
            replace(rows, labels=rows.labels * of),  # type: ignore[arg-type]
            Settings(measure=measure),
        )
        for of in (unit, 1.0)
    )
    assert there.decision == whole.decision == "promote"
    assert there.difference.first is not None and whole.difference.first is not None
    assert there.difference.first == pytest.approx(whole.difference.first * unit)
    assert there.difference.low == pytest.approx((whole.difference.low or 0) * unit)


def test_errors_that_are_no_numbers_hold_and_break_nothing() -> None:
    _, new, rows = regression()
    most = np.where(np.arange(N) % 2, 1.7e308, -1.7e308)
    contest = judge_contest(
        Entry("v1", -most, np.ones(N, np.bool_)), replace(new, predictions=most), replace(rows, labels=most), Settings()
    )
    assert (contest.decision, contest.reason) == ("hold", "mae: some errors are too large to be numbers.")


def test_a_regression_that_is_off_on_one_side() -> None:
    old, new, rows = regression()
    shifted = replace(new, predictions=rows.labels.astype(np.float64) + 1.5)
    contest = judge_contest(old, shifted, rows, Settings(measure="rmse"))
    assert gate(contest, "better").passed is True
    assert gate(contest, "prediction shift").passed is False


def test_a_former_champion_comes_back_only_if_it_is_better() -> None:
    old, new, rows = binary(old=0.9, new=0.7)
    back = judge_contest(new, old, rows, Settings(), role="previous")
    assert (back.decision, back.challenger) == ("rollback", "v1")
    assert back.reason.startswith("v1 does better than its successor v2:")
    assert judge_contest(old, new, rows, Settings(), role="previous").decision == "hold"


# ---- what a champion owes ---------------------------------------------------------------------------------------


def test_one_answer_that_a_champion_owes_counts_against_it_and_keeps_it_no_longer() -> None:
    old, new, rows = regression()
    said = old.predictions.astype(np.float64).copy()
    said[3] = np.nan
    contest = judge_contest(replace(old, predictions=said), new, rows, Settings())
    assert contest.decision == "promote"
    assert "v1 gave no value for 1 of 600" in gate(contest, "rows").reason
    assert contest.reason.endswith("One answer of v1 is missing and counts as its worst.")
    worst = np.abs(old.predictions - rows.labels)[np.arange(N) != 3].max()  # type: ignore[operator]
    whole = judge_contest(old, new, rows, Settings()).difference
    assert contest.difference.second is not None and whole.second is not None
    error = abs(float(old.predictions[3]) - float(rows.labels[3]))
    assert contest.difference.second == pytest.approx(whole.second + (worst - error) / N)


def test_rows_that_a_champion_gave_no_score_for_are_left_out_of_a_measure_of_scores() -> None:
    """Scores may be logged for some predictions only: those without are no errors of it."""
    old, new, rows = binary(new=0.95)
    score = np.where(np.arange(N) % 3 == 0, np.nan, old.scores["1"])
    score[1] = 7.0
    unscored = replace(old, scores={"1": score})
    contest = judge_contest(unscored, new, rows, Settings())
    assert (contest.decision, contest.measure, contest.difference.n) == ("promote", "roc_auc", 399)
    assert "v1 gave no score for 201 of 600: they are left out." in gate(contest, "rows").reason
    there = np.isfinite(score) & (score <= 1)
    alone = judge_contest(*(at(one, there) for one in (old, new)), rows_at(rows, there), Settings())
    assert contest.difference == alone.difference
    assert judge_contest(unscored, new, rows, Settings(measure="accuracy")).difference.n == N


def at(entry: Entry, there: np.ndarray) -> Entry:
    scores = {name: score[there] for name, score in entry.scores.items()}
    return replace(entry, predictions=entry.predictions[there], answered=entry.answered[there], scores=scores)


def rows_at(rows: Rows, there: np.ndarray) -> Rows:
    assert rows.seconds is not None
    segments = {name: values[there] for name, values in rows.segments.items()}
    return replace(rows, labels=rows.labels[there], seconds=rows.seconds[there], segments=segments)


def test_days_are_those_that_are_given() -> None:
    """The days of a model's time zone, where they are not those of UTC."""
    old, new, rows = binary(new=0.95)
    contest = judge_contest(old, new, replace(rows, days=np.arange(N) % 7), Settings(measure="accuracy"))
    assert contest.difference.method == "t of 7 days"


def test_rows_that_a_champion_was_not_asked_for_are_left_out() -> None:
    old, new, rows = binary(new=0.95)
    asked = np.arange(N) < 300
    contest = judge_contest(replace(old, answered=asked, asked=asked), new, rows, Settings())
    assert (contest.decision, contest.difference.n) == ("promote", 300)
    assert "v1 did not answer 300 of 600: they are left out." in gate(contest, "rows").reason


@given(st.integers(0, 10**6), st.floats(0, 0.6))
def test_whatever_a_champion_owes_a_challenger_that_is_worse_where_both_answered_is_held(
    seed: int, share: float
) -> None:
    old, new, rows = binary(seed, n=300, old=0.95, new=0.7)
    answered = np.random.default_rng(seed).random(300) >= share
    contest = judge_contest(replace(old, answered=answered), new, rows, Settings(measure="accuracy", least_rows=50))
    assert contest.decision == "hold"


# ---- laws -------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from(["better", "floor", "rows"]), st.sampled_from([True, False, None])), max_size=5)
)
def test_nothing_is_promoted_past_a_closed_gate_or_without_having_been_compared(
    gates: list[tuple[str, bool | None]],
) -> None:
    made = [Gate(name, passed, f"{name} {passed}") for name, passed in gates]
    decision, reason = decide(made, "v1", "v2", "challenger")
    assert reason
    if decision == "promote":
        assert all(passed is not False for _, passed in gates)
        assert next(passed for name, passed in gates if name == "better") is True


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_equal_challengers_are_promoted_no_oftener_than_said(kind: str) -> None:
    """400 contests; `python -m benchmarks.contests` does 1,000 of each kind."""
    promoted = 0
    for seed in range(400):
        parts = binary(seed, new=0.75, n=300) if kind == "binary" else regression(seed, new=2.0, n=300)
        promoted += judge_contest(*parts, Settings()).decision == "promote"
    assert promoted <= stats.binom.ppf(0.999, 400, 0.05)


@given(st.integers(0, 10**6), st.data())
def test_no_answers_whatever_break_a_contest(seed: int, data: st.DataObject) -> None:
    """Hostile answers: always a decision, never an error, and never NaN in what is stored."""
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(1, 130))
    truth = rng.choice(np.array(["0", "1", "2"]), n)
    odd = st.sampled_from([0.0, 1.0, 0.5, np.nan, np.inf, -1.0])
    entries = []
    for version in ("v1", "v2"):
        scored = data.draw(st.sets(st.sampled_from("012")))
        scores = {name: np.array(data.draw(st.lists(odd, min_size=n, max_size=n))) for name in scored}
        said = rng.choice(np.array(["0", "1", "2", "x", ""]), n)
        entries.append(Entry(version, said, rng.random(n) < data.draw(st.sampled_from([0.5, 1.0])), scores))
    rows = Rows(
        Task.MULTICLASS,
        truth,
        seconds=data.draw(st.sampled_from([None, np.zeros(n), np.arange(n) * 1e5])),
        segments={"s": truth},
        classes=data.draw(st.sampled_from([(), ("0", "1", "2")])),
    )
    measure = data.draw(st.sampled_from([None, "f1", "roc_auc", "log_loss", "brier"]))
    contest = judge_contest(*entries, rows, Settings(measure=measure, least_rows=1, least_segment_rows=2))
    assert contest.decision in ("promote", "hold")
    assert b"nan" not in msgspec.json.encode(contest).lower()
