"""The gates of a contest: each is a pure function that passes a challenger, or says why it does not.

Only *better* decides for a challenger; all others can only keep it from being promoted.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from driftline.events import Task
from driftline.lookalikes import differs_by, in_quotes, shown, twin
from driftline.rules.comparison import SegmentDifference, answers_of
from driftline.rules.contestants import Entry, Rows, Settings, less_is_better
from driftline.statistics.distances import class_distance
from driftline.statistics.influence import Answers, errors_of
from driftline.statistics.paired import Difference, rarest_of
from driftline.statistics.scores import calibration_error_of
from driftline.text.numbers import decimals_of, exact, figures, fixed, level, number

_QUICK_SECONDS = 0.01  # a latency below this is never too high


class Gate(msgspec.Struct, frozen=True):
    """The result of one check of a challenger, and the reason; ``passed`` is None where it could not be checked."""

    name: str
    passed: bool | None
    reason: str
    evidence: dict[str, Any] = {}


def answers_gate(challenger: Entry, rows: Rows) -> Gate:
    """Check that the challenger answered every row with a known class, or with a finite number for a regression."""
    missing = int((~challenger.answered).sum())
    if missing:
        reason = f"{challenger.version} has no answer to {missing} of {len(rows.labels)} rows."
        return Gate("answers", False, reason, {"missing": missing, "rows": len(rows.labels)})
    if rows.task is Task.REGRESSION:
        bad = int((~np.isfinite(np.asarray(challenger.predictions, np.float64))).sum())
        reason = (
            f"{bad} predictions of {challenger.version} are no finite numbers." if bad else "All rows are answered."
        )
        return Gate("answers", not bad, reason, {"not_finite": bad})
    unknown = sorted(set(challenger.predictions.tolist()) - set(rows.classes)) if rows.classes else []
    if unknown:
        alike = twin(unknown[0], rows.classes)
        like = f"; it differs from {in_quotes(alike, unknown)} by {differs_by(alike, unknown[0])} only" if alike else ""
        name = in_quotes(unknown[0], rows.classes)
        reason = f"{challenger.version} predicts {name}, which is no class of this model{like}."
        return Gate("answers", False, reason, {"unknown": unknown[:10]})
    return Gate("answers", True, "All rows are answered, by known classes.", {"rows": len(rows.labels)})


def scores_gate(champion: Entry, challenger: Entry) -> Gate:
    """Check that the challenger scores the classes that the champion scores, with probabilities."""
    gone = sorted(set(champion.scores) - set(challenger.scores))
    if gone:
        return Gate("signature", False, f"{challenger.version} gives no score of {', '.join(gone)}.", {"gone": gone})
    for name, score in challenger.scores.items():
        bad = int((~((score >= 0) & (score <= 1))).sum())
        if bad and name in champion.scores:
            reason = f"{bad} scores of {name!r} by {challenger.version} are missing, or outside of 0 to 1."
            return Gate("signature", False, reason, {"class": name, "bad": bad})
    if not champion.scores:
        return Gate("signature", None, "The champion gives no scores.")
    return Gate("signature", True, "It scores what the champion scores.", {"classes": sorted(champion.scores)})


def rows_gate(champion: Entry, challenger: Entry, rows: Rows, measure: str, settings: Settings) -> Gate:
    """Check that both versions answered enough rows, in total and of each class that the measure rests on."""
    owed = champion.owes(rows.task)
    unscored = champion.unscored(measure)
    both = champion.answered & ~owed & challenger.answered & ~unscored
    count, others = int(both.sum()), int((~champion.answered & ~owed).sum())
    evidence = {"rows": count, "least": settings.least_rows, "not_of_champion": others, "owed": int(owed.sum())}
    words = f"{count} labelled rows have an answer of both"
    about = _said_of(champion, rows, others, int(owed.sum()), int(unscored.sum()))
    if count < settings.least_rows:
        return Gate("rows", False, f"{words}; {settings.least_rows} are needed.{about}", evidence)
    if len(np.unique(rows.labels[both])) < 2:
        return Gate("rows", False, "All labels are the same: nothing can be concluded from them.", evidence)
    one, other = answers_of(challenger, rows, both), answers_of(champion, rows, both)
    if (rarest := rarest_of(measure, one, other, rows.positive)) is not None and rarest[1] < settings.least_class_rows:
        name, rest = rarest
        what = "predicted to be" if measure == "precision" else "of"
        reason = (
            f"{rest} rows are {what} the class {shown(name)}, which the {measure} rests on; "
            f"{settings.least_class_rows} are needed."
        )
        return Gate("rows", False, reason, {**evidence, "class": name, "of_class": rest})
    return Gate("rows", True, f"{words}.{about}", evidence)


def _said_of(champion: Entry, rows: Rows, others: int, owed: int, unscored: int) -> str:
    """Say how many rows the champion did not answer, and where its answers come from."""
    n = len(rows.labels)
    words = f" {champion.version} did not answer {others} of {n}: they are left out." if others else ""
    if unscored:
        words += f" {champion.version} gave no score for {unscored} of {n}: they are left out."
    if owed:
        words += f" {champion.version} gave no value for {owed} of {n}: it counts as its worst."
    return f"{words} {champion.origin}".rstrip() if champion.origin else words


def leakage_gate(rows: Rows) -> Gate:
    """Check that training ended before the first row of the contest."""
    if rows.trained_until is None or rows.seconds is None or not len(rows.seconds):
        return Gate("leakage", None, "Nobody said when the challenger's training data ended.")
    first = float(rows.seconds.min())
    evidence = {"trained_until": rows.trained_until, "first_row": first}
    if rows.trained_until > first:
        known = int((rows.seconds < rows.trained_until).sum())
        return Gate("leakage", False, f"{known} rows of the contest are from the time it was trained on.", evidence)
    return Gate("leakage", True, "Its training data ended before the first row of the contest.", evidence)


def latency_gate(champion: Entry, challenger: Entry, settings: Settings) -> Gate:
    """Check that its 95th percentile of latency is at most ``latency_times`` the champion's, or at most 10 ms."""
    if not len(champion.latency_seconds) or not len(challenger.latency_seconds):
        return Gate("latency", None, "The latency of one of them is not known.")
    then, now = (float(np.quantile(one.latency_seconds, 0.95)) for one in (champion, challenger))
    evidence = {"champion_p95_seconds": then, "challenger_p95_seconds": now}
    slow = now > max(settings.latency_times * then, _QUICK_SECONDS)
    reason = f"Its latency (95th percentile) is {number(now)} s, the champion's {number(then)} s."
    return Gate("latency", not slow, reason, evidence)


def better_gate(found: Difference, settings: Settings, about: str = "") -> Gate:
    """Check that it is significantly better, or worse by less than the margin. ``about`` is added to the reason."""
    if found.value is None or found.low is None or found.high is None:
        return Gate("better", None, f"{found.measure}: {found.problem}.")
    limit = settings.improvement - settings.margin
    if limit == 0:
        passed = found.low > 0 and found.p_better is not None and found.p_better <= 1 - settings.confidence
        wanted = "better"
    else:
        passed = found.low > limit
        wanted = f"better by more than {exact(limit)}" if limit > 0 else f"no worse than {exact(-limit)}"
    digits = decimals_of(found.value, found.low)
    interval = f"{level(settings.confidence)} bound {fixed(found.low, digits, sign=True)}"
    verdict = f"is {wanted}" if passed else f"is not shown to be {wanted}"
    reason = (
        f"On {found.n} rows its {found.measure} {verdict}: {fixed(found.first, digits)} against "
        f"{fixed(found.second, digits)}, {fixed(found.value, digits, sign=True)} in its favour, {interval} "
        f"({found.method}).{about}"
    )
    return Gate("better", passed, reason, {"limit": limit, "low": found.low, "high": found.high})


def floor_gate(found: Difference, settings: Settings) -> Gate:
    """Check that the challenger's measure reaches the floor, whatever the champion's is."""
    if settings.floor is None or found.first is None:
        return Gate("floor", None, "No floor was set.")
    less = less_is_better(found.measure, settings)
    below = found.first > settings.floor if less else found.first < settings.floor
    side = "above" if less else "below"
    value = fixed(found.first, decimals_of(found.first - settings.floor))
    reason = f"Its {found.measure} of {value} is {'' if below else 'not '}{side} the floor of {exact(settings.floor)}."
    return Gate("floor", not below, reason, {"value": found.first, "floor": settings.floor})


def segments_gate(segments: list[SegmentDifference], settings: Settings) -> Gate:
    """Check that it is significantly worse in no segment, with p-values adjusted for all of them (Holm)."""
    judged = [one for one in segments if not one.difference.problem]
    if not judged:
        return Gate("segments", None, "There are no segments with enough rows.")
    worse = [one for one in judged if one.p_worse <= 1 - settings.confidence]
    if worse:
        first = min(worse, key=lambda one: one.p_worse)
        values = [one.value for one in segments if one.segment == first.segment]
        found = first.difference
        digits = decimals_of(found.value)
        reason = (
            f"It is worse for {shown(first.segment)} = {shown(first.value, values)}: {fixed(found.first, digits)} "
            f"against {fixed(found.second, digits)} on {found.n} rows."
        )
        return Gate("segments", False, reason, {"worse": [f"{one.segment}={one.value}" for one in worse]})
    return Gate(
        "segments", True, f"It is significantly worse in none of {len(judged)} segments.", {"judged": len(judged)}
    )


def calibration_gate(one: Answers, other: Answers, rows: Rows, settings: Settings) -> Gate:
    """Check that its calibration error (mean over the classes) is at most ``calibration_more`` above the champion's."""
    classes = [rows.positive] if rows.positive is not None else sorted(other.scores)
    classes = [name for name in classes if name in one.scores and name in other.scores]
    if not classes:
        return Gate("calibration", None, "There are no scores to calibrate.")
    now, then = (_calibration_error(who, classes) for who in (one, other))
    own, champions = figures(now, then)
    reason = f"Its calibration error is {own}, the champion's {champions}."
    evidence = {"challenger": now, "champion": then}
    return Gate("calibration", now <= then + settings.calibration_more, reason, evidence)


def shift_gate(one: Answers, other: Answers, rows: Rows, settings: Settings) -> Gate:
    """Check that its predictions' distance from the labels is at most ``shift_more`` above the champion's.

    The distance is Jensen-Shannon's between classes; for a regression, the mean error in standard deviations of the
    labels.
    """
    if rows.task is Task.REGRESSION:
        labels = np.asarray(one.labels, np.float64)
        unit = float(np.abs(labels).max(initial=0.0)) or 1.0  # the squares of the largest floats overflow
        spread = float(np.std(labels / unit))
        if not spread:
            return Gate("prediction shift", None, "All labels are the same.")
        off = [errors_of(who) / unit for who in (one, other)]
        if not all(np.isfinite(errors).all() for errors in off):
            return Gate("prediction shift", None, "Some errors are too large to be numbers.")
        now, then = (abs(float(np.mean(errors))) / spread for errors in off)
        what = "standard deviations from the labels' mean"
    else:
        now, then = (class_distance(who.predictions, who.labels) for who in (one, other))
        what = "(Jensen-Shannon) from the labels"
    own, champions = figures(now, then)
    reason = f"Its predictions are {own} {what}, the champion's {champions}."
    return Gate("prediction shift", now <= then + settings.shift_more, reason, {"challenger": now, "champion": then})


def _calibration_error(answers: Answers, classes: list[str]) -> float:
    errors = [calibration_error_of(answers.scores[name], answers.labels == name) for name in classes]
    return math.fsum(errors) / len(errors)
