"""The contest: may a challenger take the champion's place? Gates, each a pure function, and a decision with its reason.

The gate that decides is *better*: the lower end of the interval of the difference on the same rows has to be above
minus ``margin``, or above ``improvement``. With neither, a challenger that is no better is promoted in at most
``1 - confidence`` of contests (one-sided), 5 % by default. All other gates can only keep it from being promoted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import UnknownNameError, UsageError
from driftline.events import Task
from driftline.lookalikes import differs_by, in_quotes, shown, twin
from driftline.statistics.catalogue import CATALOGUE, lower_is_better, paired_measures
from driftline.statistics.distances import class_distance
from driftline.statistics.influence import Answers, Floats, Texts, errors_of
from driftline.statistics.paired import Difference, difference, rarest_of, time_blocks, value_of
from driftline.statistics.scores import calibration_error_of
from driftline.statistics.significance import holm
from driftline.text.numbers import decimals_of, exact, figures, fixed, level, number

Decision = Literal["promote", "hold", "rollback"]
Role = Literal["challenger", "previous"]

_PERIODS = 20
_MOSTLY = 0.5
_QUICK_SECONDS = 0.01  # nobody minds less


class Settings(msgspec.Struct, frozen=True):
    """What a challenger has to be to win.

    ``measure`` None chooses one: ROC AUC of a binary model with scores, else accuracy; MAE of a regression. It has to
    be better by more than ``improvement``, or no worse than ``margin``, both in units of the measure and 0 or more.
    ``floor`` is the worst value of the measure that will do, whatever the champion does. A measure that the rows of one
    class carry needs ``least_class_rows`` of each. Segments with fewer than ``least_segment_rows`` are not judged.
    ``latency_times`` the champion's 95th percentile of latency is the most, and ``calibration_more`` above its
    calibration error, ``shift_more`` above its distance from the labels. ``better`` says of a measure of one's own
    which values are.
    """

    measure: str | None = None
    margin: float = 0.0
    improvement: float = 0.0
    floor: float | None = None
    confidence: float = 0.95
    least_rows: int = 100
    least_class_rows: int = 30
    least_segment_rows: int = 30
    latency_times: float = 2.0
    calibration_more: float = 0.05
    shift_more: float = 0.10
    better: Literal["higher", "lower"] | None = None

    def __post_init__(self) -> None:
        numbers = {"margin": self.margin, "improvement": self.improvement, "floor": self.floor or 0.0}
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise UsageError(f"{name} {exact(value)} came; it is a number in units of the measure")
        counts = {name: getattr(self, name) for name in ("least_rows", "least_class_rows", "least_segment_rows")}
        for name, count in counts.items():
            if count < 1:
                raise UsageError(f"{name} {count} came; it is a number of rows, 1 or more")
        if self.margin < 0 or self.improvement < 0 or (self.margin and self.improvement):
            raise UsageError(
                f"margin {exact(self.margin)} and improvement {exact(self.improvement)} came; "
                "one of them is above 0, or neither"
            )
        if not 0.5 < self.confidence < 1:
            raise UsageError(f"confidence {exact(self.confidence)} came; it is above 0.5 and below 1")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one version says of the n rows of a contest.

    ``predictions`` has the shape (n,): class names, or float64 of a regression. ``answered``, shape (n,), is False
    where there is no prediction. ``scores`` are by class, each of shape (n,), NaN where there is none.
    ``latency_seconds`` are as many as were measured, perhaps none. ``asked``, shape (n,), is False where the version
    was not asked at all, None where it was asked everywhere: an answer that it owes counts against it. ``origin`` says
    in words whose word the answers are, where that is not the log's.
    """

    version: str
    predictions: Texts | Floats
    answered: npt.NDArray[np.bool_]
    scores: Mapping[str, Floats] = field(default_factory=dict)
    latency_seconds: Floats = field(default_factory=lambda: np.zeros(0))
    asked: npt.NDArray[np.bool_] | None = None
    origin: str = ""

    def owes(self, task: Task) -> npt.NDArray[np.bool_]:
        """Rows, shape (n,), for which it was asked and gave no class, or no finite number."""
        gave = self.answered
        if task is Task.REGRESSION:
            gave = gave & np.isfinite(np.asarray(self.predictions, np.float64))
        return ~gave if self.asked is None else self.asked & ~gave

    def unscored(self, measure: str) -> npt.NDArray[np.bool_]:
        """Rows, shape (n,), that lack a score of a class that it scores mostly, for a measure of scores: left out.

        To have given no score is no error, and no row to compare by.
        """
        lacking = np.zeros(len(self.answered), np.bool_)
        if measure in CATALOGUE and CATALOGUE[measure].needs_scores and self.answered.any():
            for score in self.scores.values():
                fits = (score >= 0) & (score <= 1)
                if fits[self.answered].mean() > _MOSTLY:
                    lacking |= self.answered & ~fits
        return lacking


@dataclass(frozen=True, slots=True)
class Rows:
    """The labelled rows of a contest: n labels, and for each row its moment in seconds and its value of each segment.

    ``seconds`` is None where the rows have no time. ``classes`` are those that a model may predict, empty where any.
    ``trained_until`` is the moment in seconds at which the challenger's training ended, None where nobody said.
    ``days``, shape (n,), numbers the day of each row where days are not those of UTC.
    """

    task: Task
    labels: Texts | Floats
    seconds: Floats | None = None
    segments: Mapping[str, Texts] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    positive: str | None = None
    trained_until: float | None = None
    days: npt.NDArray[np.int64] | None = None

    def blocks(self, there: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
        """The day of some rows, numbered from 0 on; None where the rows have no time."""
        if self.days is not None:
            return np.unique(self.days[there], return_inverse=True)[1].astype(np.int64)
        return None if self.seconds is None else time_blocks(self.seconds[there])


class Gate(msgspec.Struct, frozen=True):
    """One question: whether the challenger passed (None: it could not be asked, and keeps nobody out), and why."""

    name: str
    passed: bool | None
    reason: str
    evidence: dict[str, Any] = {}


class PositiveView(msgspec.Struct, frozen=True):
    """The class that precision, recall, F1, ROC AUC and a lone score speak of in a binary model.

    ``guessed`` is whether nobody said so, and ``by`` what it was guessed by. ``doubt`` says, where the ROC AUC is below
    0.5, that the score seems to be of the other class, and what to do.
    """

    name: str = msgspec.field(name="class")
    guessed: bool
    by: str | None = None
    doubt: str | None = None

    @property
    def shown(self) -> str:
        """The class as it can be told from others."""
        return shown(self.name)

    @property
    def words(self) -> str:
        """The class, and by what it was guessed, in words."""
        return f"{self.shown}, {self.by}" if self.guessed else self.shown


class Contest(msgspec.Struct, frozen=True):
    """The decision with its reason, every gate, and the difference that decided. It is stored as JSON.

    ``positive`` is there where the contest turns on a positive class. ``notes`` say what was taken for granted of the
    rows.
    """

    decision: Decision
    reason: str
    measure: str
    champion: str
    challenger: str
    rows: int
    settings: Settings
    difference: Difference
    gates: list[Gate]
    segments: list[SegmentDifference]
    over_time: list[Period]
    positive: PositiveView | None = None
    notes: tuple[str, ...] = ()


class OwnMeasure(NamedTuple):
    """A measure of one's own: its name, and the difference of both on those of the n rows that a mask has."""

    name: str
    between: Callable[[npt.NDArray[np.bool_]], Difference]


class Period(msgspec.Struct, frozen=True):
    """The measure of both on one of up to 20 equal parts of the rows, in order of time: [begin, end] in seconds."""

    begin: float
    end: float
    rows: int
    champion: float | None
    challenger: float | None


class SegmentDifference(msgspec.Struct, frozen=True):
    """The difference within one value of a segment; ``p_worse`` is adjusted for all of them (Holm)."""

    segment: str
    value: str
    difference: Difference
    p_worse: float


def judge_contest(
    champion: Entry,
    challenger: Entry,
    rows: Rows,
    settings: Settings,
    *,
    role: Role = "challenger",
    own: OwnMeasure | None = None,
) -> Contest:
    """Hold the contest. With the role ``previous`` it asks whether a former champion has to come back.

    By a measure of one's ``own`` the two are compared where both have answered, on all rows together.

    Raises `UnknownNameError` for a measure that the task does not have.
    """
    measure = measure_of(champion, challenger, rows, settings) if own is None else own.name
    gates = [
        answers_gate(challenger, rows),
        scores_gate(champion, challenger),
        rows_gate(champion, challenger, rows, measure, settings),
        leakage_gate(rows),
        latency_gate(champion, challenger, settings),
    ]
    found = Difference(measure, n=len(rows.labels), problem="not compared: an earlier gate is closed")
    segments: list[SegmentDifference] = []
    over_time: list[Period] = []
    if all(gate.passed is not False for gate in gates):
        owed = champion.owes(rows.task)
        answered = champion.answered & ~owed & challenger.answered & ~champion.unscored(measure)
        both = answered | (owed & challenger.answered)
        one, other = _answers(challenger, rows, both), _answers_at_worst(champion, rows, owed, both)
        blocks = rows.blocks(both)
        confidence = 2 * settings.confidence - 1  # two-sided, of which one side is used
        if own is not None:
            found, owed = own.between(answered), np.zeros_like(owed)
        else:
            found = difference(measure, one, other, blocks=blocks, positive=rows.positive, confidence=confidence)
            segments = _segments(measure, one, other, rows, both, blocks, settings)
        if owed.any():
            found = _where_both_answered(found, champion, challenger, rows, answered, settings)
        if rows.seconds is not None and own is None:
            over_time = _periods(measure, one, other, rows.seconds[both], rows.positive)
        gates += [
            better_gate(found, settings, _owing(champion, owed)),
            floor_gate(found, settings),
            segments_gate(segments, settings),
            calibration_gate(one, other, rows, settings),
            shift_gate(one, other, rows, settings),
        ]
    decision, reason = decide(gates, champion.version, challenger.version, role)
    return Contest(
        decision=decision,
        reason=reason,
        measure=measure,
        champion=champion.version,
        challenger=challenger.version,
        rows=len(rows.labels),
        settings=settings,
        difference=found,
        gates=gates,
        segments=segments,
        over_time=over_time,
    )


def decide(gates: list[Gate], champion: str, challenger: str, role: Role) -> tuple[Decision, str]:
    """The decision that gates come to: every one that was asked has to be passed, and *better* has to be asked."""
    closed = [gate for gate in gates if gate.passed is False]
    better = next((gate for gate in gates if gate.name == "better"), None)
    if closed:
        more = f" ({len(closed) - 1} more gates are closed.)" if len(closed) > 1 else ""
        return "hold", f"{closed[0].reason}{more}"
    if better is None or better.passed is None:
        return "hold", better.reason if better is not None else "The two could not be compared."
    if role == "previous":
        return "rollback", f"{challenger} does better than its successor {champion}: {better.reason}"
    return "promote", better.reason


def measure_of(champion: Entry, challenger: Entry, rows: Rows, settings: Settings) -> str:
    """The measure of the contest; raises `UnknownNameError` for one that the task does not have."""
    known = paired_measures(rows.task)
    if settings.measure is not None:
        if settings.measure not in known:
            raise UnknownNameError(f"measure of a contest of {rows.task} models", settings.measure, known)
        return settings.measure
    if rows.task is Task.REGRESSION:
        return "mae"
    scored = rows.positive in champion.scores and rows.positive in challenger.scores
    return "roc_auc" if rows.task is Task.BINARY and scored else "accuracy"


def less_is_better(measure: str, settings: Settings) -> bool:
    """Whether the smaller of two values of the measure of a contest is the better one."""
    return lower_is_better(measure) if settings.better is None else settings.better == "lower"


# ---- gates ---------------------------------------------------------------------------------------------------------


def answers_gate(challenger: Entry, rows: Rows) -> Gate:
    """Smoke test: every row has an answer, of a kind that the task knows."""
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
    """Signature: the challenger scores the classes that the champion scores, with probabilities."""
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
    """Enough rows that both have answered, of each class that carries the measure, and labels that are not the same."""
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
        return Gate("rows", False, "All labels are the same: nothing can be told from them.", evidence)
    one, other = _answers(challenger, rows, both), _answers(champion, rows, both)
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
    """Which rows the champion did not answer, and whose word its answers are."""
    n = len(rows.labels)
    words = f" {champion.version} did not answer {others} of {n}: they are left out." if others else ""
    if unscored:
        words += f" {champion.version} gave no score for {unscored} of {n}: they are left out."
    if owed:
        words += f" {champion.version} gave no value for {owed} of {n}: it counts as its worst."
    return f"{words} {champion.origin}".rstrip() if champion.origin else words


def leakage_gate(rows: Rows) -> Gate:
    """Training ended before the first row of the contest."""
    if rows.trained_until is None or rows.seconds is None or not len(rows.seconds):
        return Gate("leakage", None, "Nobody said when the challenger's training data ended.")
    first = float(rows.seconds.min())
    evidence = {"trained_until": rows.trained_until, "first_row": first}
    if rows.trained_until > first:
        known = int((rows.seconds < rows.trained_until).sum())
        return Gate("leakage", False, f"{known} rows of the contest are from the time it was trained on.", evidence)
    return Gate("leakage", True, "Its training data ended before the first row of the contest.", evidence)


def latency_gate(champion: Entry, challenger: Entry, settings: Settings) -> Gate:
    """The 95th percentile of latency is at most so many times the champion's, or at most 10 ms."""
    if not len(champion.latency_seconds) or not len(challenger.latency_seconds):
        return Gate("latency", None, "The latency of one of them is not known.")
    then, now = (float(np.quantile(one.latency_seconds, 0.95)) for one in (champion, challenger))
    evidence = {"champion_p95_seconds": then, "challenger_p95_seconds": now}
    slow = now > max(settings.latency_times * then, _QUICK_SECONDS)
    reason = f"Its latency (95th percentile) is {number(now)} s, the champion's {number(then)} s."
    return Gate("latency", not slow, reason, evidence)


def better_gate(found: Difference, settings: Settings, about: str = "") -> Gate:
    """It is better by more than chance explains, or no worse than the margin. ``about`` ends the reason."""
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
    """It is good enough by itself, whatever the champion does."""
    if settings.floor is None or found.first is None:
        return Gate("floor", None, "No floor was set.")
    less = less_is_better(found.measure, settings)
    below = found.first > settings.floor if less else found.first < settings.floor
    side = "above" if less else "below"
    value = fixed(found.first, decimals_of(found.first - settings.floor))
    reason = f"Its {found.measure} of {value} is {'' if below else 'not '}{side} the floor of {exact(settings.floor)}."
    return Gate("floor", not below, reason, {"value": found.first, "floor": settings.floor})


def segments_gate(segments: list[SegmentDifference], settings: Settings) -> Gate:
    """No segment for which it is worse by more than chance explains, all of them taken together (Holm)."""
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
    """Its probabilities are about as right as the champion's: the mean of the classes."""
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
    """What it predicts is spread about as the labels are, or not much less so than what the champion predicts."""
    if rows.task is Task.REGRESSION:
        labels = np.asarray(one.labels, np.float64)
        unit = float(np.abs(labels).max(initial=0.0)) or 1.0  # squares of the largest numbers are none
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


# ---- numbers -------------------------------------------------------------------------------------------------------


def _answers(entry: Entry, rows: Rows, both: npt.NDArray[np.bool_]) -> Answers:
    scores = {name: score for name, score in entry.scores.items() if not np.isnan(score[both]).any()}
    return Answers(rows.labels, entry.predictions, scores).at(both)


def _answers_at_worst(entry: Entry, rows: Rows, owed: npt.NDArray[np.bool_], both: npt.NDArray[np.bool_]) -> Answers:
    """The answers of a version on some rows, with its worst one where it owes one: a fault is no way to stay champion.

    That is no class of all, its largest absolute error, and the lowest score that it gave a true class, or the highest
    that it gave another.
    """
    gave = both & ~owed
    predictions: Texts | Floats
    if rows.task is Task.REGRESSION:
        said, true = np.asarray(entry.predictions, np.float64), np.asarray(rows.labels, np.float64)
        with np.errstate(over="ignore"):
            worst = float(np.abs(said[gave] - true[gave]).max(initial=0.0))
            predictions = np.where(owed, true + worst, said)
    else:
        predictions = np.where(owed, "", entry.predictions)
    scores = {}
    for name, score in entry.scores.items():
        fits = (score >= 0) & (score <= 1)
        true_class = rows.labels == name
        low = float(score[fits & true_class].min(initial=1.0))
        high = float(score[fits & ~true_class].max(initial=0.0))
        if fits[gave].all():
            scores[name] = np.where(owed, np.where(true_class, low, high), score)
    return Answers(rows.labels, predictions, scores).at(both)


def _where_both_answered(
    found: Difference,
    champion: Entry,
    challenger: Entry,
    rows: Rows,
    answered: npt.NDArray[np.bool_],
    settings: Settings,
) -> Difference:
    """The difference as it is, or that on the rows that both answered where the challenger is worse there.

    What a champion owes speaks against it, and never for a challenger that is worse wherever the two can be compared.
    """
    pair = (_answers(challenger, rows, answered), _answers(champion, rows, answered))
    blocks = rows.blocks(answered)
    confidence = 2 * settings.confidence - 1
    there = difference(found.measure, *pair, blocks=blocks, positive=rows.positive, confidence=confidence)
    limit = settings.improvement - settings.margin
    return there if there.value is not None and there.value < limit else found


def _owing(champion: Entry, owed: npt.NDArray[np.bool_]) -> str:
    if not (count := int(owed.sum())):
        return ""
    some = "One answer" if count == 1 else f"{count} answers"
    verb = "is missing and counts" if count == 1 else "are missing and count"
    return f" {some} of {champion.version} {verb} as its worst."


def _segments(
    measure: str,
    one: Answers,
    other: Answers,
    rows: Rows,
    both: npt.NDArray[np.bool_],
    blocks: npt.NDArray[np.int64] | None,
    settings: Settings,
) -> list[SegmentDifference]:
    found: list[tuple[str, str, Difference]] = []
    for segment, of_all in rows.segments.items():
        values = of_all[both]
        for value in np.unique(values).tolist():
            inside = values == value
            if inside.sum() < settings.least_segment_rows:
                continue
            pair = one.at(inside), other.at(inside)
            rarest = rarest_of(measure, *pair, rows.positive)
            if rarest is not None and rarest[1] < settings.least_class_rows:
                continue
            part = difference(measure, *pair, blocks=None if blocks is None else blocks[inside], positive=rows.positive)
            found.append((segment, value, part))
    adjusted = holm([1.0 if part.p_worse is None else part.p_worse for _, _, part in found]).tolist()
    return [
        SegmentDifference(segment, value, part, p) for (segment, value, part), p in zip(found, adjusted, strict=True)
    ]


def _periods(measure: str, one: Answers, other: Answers, seconds: Floats, positive: str | None) -> list[Period]:
    found = []
    for part in np.array_split(np.argsort(seconds, kind="stable"), min(_PERIODS, len(seconds))):
        inside = np.zeros(len(seconds), np.bool_)
        inside[part] = True
        then, now = (value_of(measure, who.at(inside), positive) for who in (other, one))
        found.append(Period(float(seconds[part[0]]), float(seconds[part[-1]]), len(part), then, now))
    return found


def _calibration_error(answers: Answers, classes: list[str]) -> float:
    errors = [calibration_error_of(answers.scores[name], answers.labels == name) for name in classes]
    return math.fsum(errors) / len(errors)
