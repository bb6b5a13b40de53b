"""Paired differences: they agree with reference implementations and hold their level, and none is without ground."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from driftline.events import Task
from driftline.statistics.catalogue import CATALOGUE, lower_is_better, paired_measures
from driftline.statistics.influence import Answers
from driftline.statistics.paired import difference, rarest_of, time_blocks, value_of
from driftline.statistics.significance import holm

CLASSIFICATION, REGRESSION = paired_measures(Task.BINARY), paired_measures(Task.REGRESSION)
CLASSES = np.array(["a", "b", "c"])


def classifier(rng: np.random.Generator, labels: np.ndarray, right: float) -> Answers:
    """Right so often; scores that rank the true class mostly first."""
    said = np.where(rng.random(len(labels)) < right, labels, rng.choice(CLASSES, len(labels)))
    raw = {name: rng.random(len(labels)) + (labels == name) * right for name in CLASSES.tolist()}
    total = np.sum(list(raw.values()), axis=0)
    return Answers(labels, said, {name: score / total for name, score in raw.items()})


def labels(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice(CLASSES, n, p=[0.5, 0.3, 0.2])


def regression(rng: np.random.Generator, truth: np.ndarray, spread: float) -> Answers:
    return Answers(truth, truth + rng.normal(0, spread, len(truth)))


@pytest.mark.parametrize("measure", ["brier", "log_loss", "roc_auc"])
@pytest.mark.parametrize("side", [0, 1])
def test_rows_without_a_score_have_a_reason(measure: str, side: int) -> None:
    rng = np.random.default_rng(1)
    truth = labels(rng, 60)
    both = [classifier(rng, truth, 0.8), classifier(rng, truth, 0.6)]
    gone = {name: np.where(np.arange(60) % 5, score, np.nan) for name, score in both[side].scores.items()}
    both[side] = Answers(truth, both[side].predictions, gone)
    found = difference(measure, *both)
    assert (found.value, bool(found.problem)) == (None, True)
    assert value_of(measure, both[side]) is None


@pytest.mark.parametrize("measure", ["log_loss", "brier"])
def test_scores_that_are_too_large_win_nothing(measure: str) -> None:
    rng = np.random.default_rng(2)
    truth = labels(rng, 200)
    honest = classifier(rng, truth, 0.7)
    sure = Answers(truth, honest.predictions, dict.fromkeys(CLASSES.tolist(), np.full(200, 0.99)))
    even = Answers(truth, honest.predictions, dict.fromkeys(CLASSES.tolist(), np.full(200, 1 / 3)))
    assert value_of(measure, sure) == pytest.approx(value_of(measure, even))


# ---- values -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(5, 200), st.floats(0.05, 0.99))
def test_values_are_those_of_scikit_learn(seed: int, n: int, right: float) -> None:
    rng = np.random.default_rng(seed)
    truth = labels(rng, n)
    one = classifier(rng, truth, right)
    there = sorted({*truth.tolist(), *one.predictions.tolist()})
    assert value_of("accuracy", one) == pytest.approx(metrics.accuracy_score(truth, one.predictions))
    assert value_of("f1", one) == pytest.approx(
        metrics.f1_score(truth, one.predictions, labels=there, average="macro", zero_division=0)
    )
    each = metrics.precision_score(truth, one.predictions, labels=there, average=None, zero_division=np.nan)
    assert value_of("precision", one) == pytest.approx(np.nanmean(each))
    each = metrics.recall_score(truth, one.predictions, labels=there, average=None, zero_division=np.nan)
    assert value_of("recall", one) == pytest.approx(np.nanmean(each))
    assert value_of("recall", one, "a") == pytest.approx(
        metrics.recall_score(truth == "a", one.predictions == "a", zero_division=0) if (truth == "a").any() else None  # type: ignore[arg-type]
    )
    matrix = np.stack([one.scores[name] for name in CLASSES.tolist()], axis=1)
    assert value_of("log_loss", one) == pytest.approx(metrics.log_loss(truth, matrix, labels=CLASSES.tolist()))
    if 0 < (truth == "a").sum() < n:
        auc = metrics.roc_auc_score(truth == "a", one.scores["a"])
        assert value_of("roc_auc", one, "a") == pytest.approx(auc)
        assert value_of("brier", one, "a") == pytest.approx(metrics.brier_score_loss(truth == "a", one.scores["a"]))


@given(st.integers(0, 10**6), st.integers(2, 200))
def test_errors_are_those_of_scikit_learn(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 10, n)
    one = regression(rng, truth, 2.0)
    assert value_of("mae", one) == pytest.approx(metrics.mean_absolute_error(truth, one.predictions))
    assert value_of("rmse", one) == pytest.approx(metrics.root_mean_squared_error(truth, one.predictions))


# ---- intervals ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(3, 300), st.sampled_from([0.8, 0.9, 0.95]))
def test_a_mean_of_losses_is_the_paired_t_test(seed: int, n: int, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 10, n)
    one, other = regression(rng, truth, 1.0), regression(rng, truth, 2.0)
    found = difference("mae", one, other, confidence=confidence)
    losses = [np.abs(who.predictions.astype(float) - truth) for who in (one, other)]
    theirs = stats.ttest_rel(losses[1], losses[0])
    low, high = theirs.confidence_interval(confidence)
    assert (found.value, found.low, found.high) == pytest.approx((losses[1].mean() - losses[0].mean(), low, high))
    assert found.p_better == pytest.approx(stats.ttest_rel(losses[0], losses[1], alternative="less").pvalue)
    assert found.p_better is not None and found.p_worse is not None
    assert found.p_better + found.p_worse == pytest.approx(1)


@given(st.integers(0, 10**6), st.integers(4, 60), st.integers(4, 60))
def test_the_auc_is_delongs(seed: int, m: int, n: int) -> None:
    """Against DeLong, DeLong & Clarke-Pearson (1988) written out over all pairs of rows."""
    rng = np.random.default_rng(seed)
    truth = np.array(["a"] * m + ["b"] * n)
    scores = [np.round(rng.random(m + n) + (truth == "a") * 0.5, 1) / 2 for _ in range(2)]  # with ties
    one, other = (Answers(truth, truth, {"a": score}) for score in scores)
    found = difference("roc_auc", one, other, positive="a", confidence=0.9)
    psi = [np.sign(s[:m, None] - s[None, m:]) / 2 + 0.5 for s in scores]
    tens, ones = np.stack([p.mean(axis=1) for p in psi]), np.stack([p.mean(axis=0) for p in psi])
    contrast = np.array([1.0, -1.0])
    variance = contrast @ (np.cov(tens) / m + np.cov(ones) / n) @ contrast
    assert found.value == pytest.approx(psi[0].mean() - psi[1].mean())
    assert found.low is not None and found.value is not None
    parts = [(np.var(contrast @ one, ddof=1) / count, count - 1) for one, count in ((tens, m), (ones, n))]
    whole = sum(part for part, _ in parts)
    welch = whole**2 / sum(part**2 / dof for part, dof in parts) if whole else m + n - 1
    reach = stats.t.ppf(0.95, welch) * np.sqrt(max(variance, 0.0) * (m + n) / (m + n - 1))
    assert found.value - found.low == pytest.approx(reach, abs=1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))
def test_accuracy_is_mcnemars_exact_test(won: int, lost: int, same: int) -> None:
    n = won + lost + same
    if n < 2:
        return
    truth = np.array(["a"] * n)
    one = Answers(truth, np.array(["a"] * won + ["b"] * lost + ["a"] * same))
    other = Answers(truth, np.array(["b"] * won + ["a"] * lost + ["a"] * same))
    found = difference("accuracy", one, other, confidence=0.9)
    assert found.value == pytest.approx((won - lost) / n)
    assert found.low is not None and found.high is not None and found.p_better is not None
    assert found.low <= found.value <= found.high
    if won + lost:
        exact = stats.binomtest(won, won + lost, alternative="greater").pvalue
        assert found.p_better == pytest.approx(exact)
        assert not (found.low > 0 and exact > 0.05)
    else:
        assert (found.p_better, found.p_worse) == (1.0, 1.0)
    turned = difference("accuracy", other, one, confidence=0.9)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


@given(st.integers(0, 10**6), st.sampled_from(CLASSIFICATION), st.booleans())
def test_a_model_is_no_better_than_itself_and_turns_with_its_rival(seed: int, measure: str, blocked: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = labels(rng, 90)
    one, other = classifier(rng, truth, 0.7), classifier(rng, truth, 0.5)
    blocks = time_blocks(np.arange(90) * 40_000.0) if blocked else None
    same = difference(measure, one, one, blocks=blocks)
    assert (same.value, same.p_better) == (0.0, 1.0)
    assert same.low is not None and same.low <= 0
    found, turned = (difference(measure, *pair, blocks=blocks) for pair in ((one, other), (other, one)))
    assert found.value is not None and found.low is not None and found.high is not None
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))
    better = value_of(measure, one), value_of(measure, other)
    assert better[0] is not None and better[1] is not None
    assert found.value == pytest.approx((better[0] - better[1]) * (-1 if lower_is_better(measure) else 1))


@given(st.integers(0, 10**6), st.sampled_from(paired_measures()))
def test_influences_sum_to_nothing_and_tell_what_leaving_a_row_out_does(seed: int, measure: str) -> None:
    """First order: the jackknife of the rows, to the order of 1/n²."""
    rng = np.random.default_rng(seed)
    n = 150
    one = regression(rng, rng.normal(0, 10, n), 2.0) if measure in REGRESSION else classifier(rng, labels(rng, n), 0.7)
    value, influence = CATALOGUE[measure].paired.influence(one, None)
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    for row in range(0, n, 30):
        without = np.arange(n) != row
        left = value_of(measure, one.at(without))
        assert left is not None
        assert value - left == pytest.approx(influence[row], abs=0.05 * abs(value) / 10 + 2e-3)


@given(st.integers(0, 10**6), st.sampled_from(paired_measures()), st.integers(2, 9))
def test_neither_the_order_of_rows_nor_the_numbers_of_days_are_anything(seed: int, measure: str, days: int) -> None:
    rng = np.random.default_rng(seed)
    n = 80
    if measure in REGRESSION:
        truth = rng.normal(0, 10, n)
        one, other = regression(rng, truth, 2.0), regression(rng, truth, 3.0)
    else:
        truth = labels(rng, n)
        one, other = classifier(rng, truth, 0.7), classifier(rng, truth, 0.5)
    blocks = rng.integers(0, days, n)
    blocks[:days] = np.arange(days)
    found = difference(measure, one, other, blocks=blocks)
    order, numbers = rng.permutation(n), rng.permutation(1_000)[:days]

    def turned(who: Answers) -> Answers:
        scores = {name: score[order] for name, score in who.scores.items()}
        return Answers(who.labels[order], who.predictions[order], scores)

    again = difference(measure, turned(one), turned(other), blocks=numbers[blocks][order])
    for name in ("value", "low", "high", "p_better", "p_worse", "first", "second"):
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=1e-6, abs=1e-9), name
    assert again.method == found.method == f"t of {days} days"


@given(st.integers(0, 10**6), st.sampled_from(["precision", "recall", "f1", "balanced_accuracy", "roc_auc"]))
def test_bounds_and_p_values_say_the_same_however_few_rows_carry_a_measure(seed: int, measure: str) -> None:
    rng = np.random.default_rng(seed)
    truth = np.where(rng.permutation(200) < rng.integers(3, 40), "a", "b")
    one, other = classifier(rng, truth, 0.7), classifier(rng, truth, 0.5)
    found = difference(measure, one, other, positive="a", confidence=0.9)
    if found.problem or found.low == found.high:
        return
    assert found.low is not None and found.high is not None and found.p_better is not None and found.p_worse is not None
    assert found.low <= (found.value or 0) <= found.high
    assert (found.low > 0) == (found.p_better < 0.05) and (found.high < 0) == (found.p_worse < 0.05)
    assert found.p_better + found.p_worse == pytest.approx(1)


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=30), st.integers(0, 10**6))
def test_the_rarest_class_is_the_one_with_the_fewest_rows(names: list[str], seed: int) -> None:
    truth = np.array(names)
    said = np.random.default_rng(seed).permutation(truth)
    pair = Answers(truth, truth), Answers(truth, said)
    counts = {name: names.count(name) for name in set(names)}
    for measure in ("recall", "balanced_accuracy", "f1", "precision", "roc_auc"):
        found = rarest_of(measure, *pair)
        assert found is not None and found[1] == counts[found[0]] == min(counts.values())
    assert rarest_of("recall", *pair, "a") == ("a", names.count("a"))
    assert rarest_of("accuracy", *pair) is None and rarest_of("log_loss", *pair) is None


# ---- levels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["accuracy", "f1", "roc_auc", "log_loss", "mae", "rmse"])
@pytest.mark.parametrize("blocked", [False, True])
def test_equal_models_differ_significantly_no_oftener_than_said(measure: str, blocked: bool) -> None:
    """1,000 contests of models that are equal by construction: one-sided 5 %, and what chance adds to that."""
    rng = np.random.default_rng(17)
    wins, n = 0, 240
    blocks = time_blocks(np.arange(n) * 8_640.0) if blocked else None
    for _ in range(1000):
        if measure in REGRESSION:
            truth = rng.normal(0, 10, n)
            one, other = regression(rng, truth, 2.0), regression(rng, truth, 2.0)
        else:
            truth = labels(rng, n)
            one, other = classifier(rng, truth, 0.7), classifier(rng, truth, 0.7)
        found = difference(measure, one, other, blocks=blocks, confidence=0.9)
        assert found.low is not None
        wins += found.low > 0
    assert wins <= stats.binom.ppf(0.999, 1000, 0.05)


def test_rows_that_depend_on_each_other_need_their_blocks() -> None:
    """Days on which one of two equal models is right more often: rows alone promise too much, blocks do not."""
    rng = np.random.default_rng(3)
    days, a_day = 30, 40
    wins = {"rows": 0, "blocks": 0}
    for _ in range(300):
        luck = np.repeat(rng.normal(0, 0.15, (days, 2)), a_day, axis=0)
        truth = np.array(["a"] * (days * a_day))
        said = [np.where(rng.random(len(truth)) < 0.75 + luck[:, who], "a", "b") for who in range(2)]
        one, other = (Answers(truth, answer) for answer in said)
        blocks = time_blocks(np.repeat(np.arange(days), a_day) * 86_400.0)
        wins["rows"] += (difference("accuracy", one, other, confidence=0.9).low or 0) > 0
        wins["blocks"] += (difference("accuracy", one, other, blocks=blocks, confidence=0.9).low or 0) > 0
    assert wins["blocks"] <= stats.binom.ppf(0.999, 300, 0.05)
    assert wins["rows"] > 2 * wins["blocks"]


@pytest.mark.parametrize("days", [3, 7, 30])
@pytest.mark.parametrize("uneven", [False, True])
def test_equal_models_with_lucky_days_differ_no_oftener_than_said(days: int, uneven: bool) -> None:
    rng = np.random.default_rng(days)
    wins, n = 0, 600
    for _ in range(400):
        shares = rng.dirichlet(np.ones(days)) if uneven else np.full(days, 1 / days)
        day = np.sort(rng.choice(days, n, p=shares))
        luck, truth = rng.normal(0, 0.1, days)[day], np.array(["a"] * n)
        said = [np.where(rng.random(n) < 0.8 + sign * luck / 2, "a", "b") for sign in (1, -1)]
        one, other = (Answers(truth, answer) for answer in said)
        wins += (difference("accuracy", one, other, blocks=day, confidence=0.9).low or 0) > 0
    assert wins <= stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize("measure", ["recall", "balanced_accuracy", "f1", "precision", "roc_auc"])
@pytest.mark.parametrize("blocked", [False, True])
def test_equal_models_with_few_positives_differ_no_oftener_than_said(measure: str, blocked: bool) -> None:
    rng = np.random.default_rng(8)
    wins, n = 0, 500
    blocks = np.arange(n) * 30 // n if blocked else None
    for _ in range(500):
        truth = np.where(rng.permutation(n) < 20, "1", "0")
        pair = []
        for _ in range(2):
            right = rng.random(n) < np.where(truth == "1", 0.5, 0.99)
            score = np.clip(0.5 + np.where(truth == "1", 0.1, -0.1) + rng.normal(0, 0.15, n), 0, 1)
            pair.append(Answers(truth, np.where(right, truth, np.where(truth == "1", "0", "1")), {"1": score}))
        found = difference(measure, *pair, blocks=blocks, positive="1", confidence=0.9)
        wins += (found.low or 0) > 0
    assert wins <= stats.binom.ppf(0.999, 500, 0.05)


# ---- edges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "rows", "scores", "problem"),
    [
        ("accuracy", 1, {}, "1 rows are too few"),
        ("accuracy", 0, {}, "0 rows are too few"),
        ("roc_auc", 5, {}, "are of one class only, or have no scores"),
        ("log_loss", 5, {}, "no score of their label"),
        ("brier", 5, {}, "there are no scores"),
    ],
)
def test_what_cannot_be_had_has_a_reason(measure: str, rows: int, scores: dict[str, np.ndarray], problem: str) -> None:
    one = Answers(np.array(["a"] * rows), np.array(["a"] * rows), scores)
    found = difference(measure, one, one)
    assert problem in found.problem
    assert (found.value, found.low, found.p_better) == (None, None, None)


def test_a_class_of_one_row_and_one_block_are_no_crash() -> None:
    truth = np.array(["a", "b", "b", "b"])
    one, other = (
        Answers(truth, truth, {"a": np.array(score)}) for score in ([0.9, 0.1, 0.2, 0.3], [0.1, 0.9, 0.2, 0.3])
    )
    found = difference("roc_auc", one, other, positive="a")
    assert found.low is not None and np.isfinite(found.low)
    assert "all rows are of one day" in difference("accuracy", one, other, blocks=np.zeros(4, np.int64)).problem


@given(st.lists(st.floats(-1e9, 4e9), max_size=200))
def test_blocks_are_the_days_in_their_order(moments: list[float]) -> None:
    seconds = np.array(moments, np.float64)
    blocks, days = time_blocks(seconds), np.floor(seconds / 86_400)
    assert (np.unique(blocks) == np.arange(len(np.unique(days)))).all()
    assert ((blocks[:, None] < blocks) == (days[:, None] < days)).all()


def test_equal_days_are_the_t_test_of_the_days() -> None:
    """With as many rows each day, and days that differ more than chance has rows differ, the days are the sample."""
    rng = np.random.default_rng(4)
    days, a_day = 6, 50
    luck = np.repeat(rng.normal(0, 3, days), a_day)
    truth = np.zeros(days * a_day)
    one, other = Answers(truth, np.abs(rng.normal(5, 0.1, len(truth)))), Answers(truth, 5 + luck)
    found = difference("mae", one, other, blocks=np.repeat(np.arange(days), a_day), confidence=0.9)
    losses = np.abs(other.predictions) - np.abs(one.predictions)  # type: ignore[arg-type]
    theirs = stats.ttest_1samp(losses.reshape(days, a_day).mean(axis=1), 0.0)
    low, high = theirs.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.method == "t of 6 days"


@given(st.integers(0, 10**6), st.integers(2, 12))
def test_days_of_very_different_size_give_wider_intervals_than_equal_ones(seed: int, days: int) -> None:
    """The degrees of freedom are at most days - 1, and those alone where every day has as many rows."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 100, days)
    blocks = np.repeat(np.arange(days), sizes)
    truth = rng.normal(0, 10, len(blocks))
    one, other = regression(rng, truth, 2.0), regression(rng, truth, 2.0)
    found = difference("mae", one, other, blocks=blocks, confidence=0.9)
    assert found.value is not None and found.high is not None and found.p_better is not None
    t = stats.t.ppf(0.95, days - 1)
    losses = np.abs(other.predictions - truth) - np.abs(one.predictions - truth)  # type: ignore[operator]
    plain = np.sqrt(days / (days - 1) * np.sum(np.bincount(blocks, losses - losses.mean()) ** 2)) / len(truth)
    rows = losses.std(ddof=1) / np.sqrt(len(truth))
    assert found.high - found.value >= min(t * plain, t * rows) - 1e-9
    assert (found.p_better < 0.05) == (found.low is not None and found.low > 0)


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(0, 5))
def test_holm_never_makes_a_p_value_smaller_and_keeps_their_order(p_values: list[float], larger: int) -> None:
    found = holm(p_values)
    assert holm(p_values, len(p_values) + larger).tolist() == holm([*p_values, *[1.0] * larger])[: len(found)].tolist()
    assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0).all()
    if p_values:
        assert min(found) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
