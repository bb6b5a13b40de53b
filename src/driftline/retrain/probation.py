"""The probation of a new champion: judge it by the windows that it answered itself.

The version in a window's rows says whose window it is: what the predecessor still answers after the promotion counts
neither for nor against the new champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from driftline.monitoring.assess import rule_facts
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.summary import summarize
from driftline.profiles import WindowProfile
from driftline.rules import JudgedWindow, Rule, alerts_of, verdict_on
from driftline.rules import State as VerdictState
from driftline.rules.topic import Topic, topic_of
from driftline.sketches import decode
from driftline.store.retraining import RetrainingRow
from driftline.store.state import Work
from driftline.store.windows import WindowRow


@dataclass(frozen=True, slots=True)
class Answered:
    """The judged, labelled windows that a champion on probation has answered: start and revision of each, in order.

    ``version`` is the version in its rows; empty for a model whose predictions never have one.
    """

    version: str
    windows: tuple[tuple[datetime, int], ...]


def answered_since(read: Work, row: RetrainingRow) -> Answered:
    """Return the windows that a champion on probation has answered since its promotion; reads no profiles."""
    assert row.live_from is not None  # set with the stage
    unversioned = read.counters.versions(row.model) == [""]
    version = "" if unversioned else row.version
    found = read.windows.judged_of_version(row.model, version, row.live_from)
    # Without versions, a window that began before the promotion may have rows of either champion.
    return Answered(version, tuple(one for one in found if not unversioned or one[0] >= row.live_from))


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a probation: the rule whose alert fires (``breached``, empty without), and how many windows count.

    A window counts if a rule on performance has a verdict on it; without such rules every labelled window counts.
    """

    answered: Answered
    breached: str
    judged: int


def standing(model: MonitoredModel, read: Work, answered: Answered) -> Standing:
    """Judge the windows of a champion on probation by themselves, without other versions' rows and alerts."""
    starts = {start for start, _ in answered.windows}
    rules = [one for one in model.config.rules if _is_of(one, answered.version)]
    if not starts or not rules:
        return Standing(answered, "", len(starts))
    found = read.windows.between(model.name, start=min(starts), version=answered.version)
    rows = [row for row in found if row.start in starts]
    verdicts = {rule.name: [_judged(model, rule, row) for row in rows] for rule in rules}
    spoken = {
        one.window.start
        for judged in verdicts.values()
        for one in judged
        if one.verdict.state is not VerdictState.NODATA
    }
    bad = next((rule.name for rule in rules if alerts_of(rule, verdicts[rule.name])), "")
    return Standing(answered, bad, len(spoken))


def _is_of(rule: Rule, version: str) -> bool:
    """Return whether a rule is on the performance of all rows of a version."""
    whole = rule.segment == "none" and rule.version in ("all", "each", version)
    return whole and topic_of(rule.measure) is Topic.PERFORMANCE


def _judged(model: MonitoredModel, rule: Rule, row: WindowRow) -> JudgedWindow:
    profile = decode(row.profile, WindowProfile)
    months = model.config.window.months_of(row.window)
    positive = model.schema.positive
    summary = summarize(
        row.window,
        row.version,
        "judged",
        profile,
        model.reference,
        months=months,
        positive=positive,
        more=[rule.measure],
    )
    return JudgedWindow(row.window, verdict_on(rule, rule_facts(model, profile, summary)))


def judged_windows(count: int) -> str:
    """Return a number of judged windows in words."""
    return f"{count or 'no'} judged window{'' if count == 1 else 's'}"
