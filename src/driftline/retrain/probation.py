"""Probation of a new champion: what the windows that it answered itself say of it, and how long it goes on.

A window is the version's by the version that its rows carry: what its predecessor still answers after the promotion is
neither held against it nor counted for it.
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
    """The judged windows with labels that a champion on probation has answered: start and revision of each, in order.

    ``version`` is under which name its rows came: empty in a model whose predictions never carry one.
    """

    version: str
    windows: tuple[tuple[datetime, int], ...]


def answered_since(read: Work, row: RetrainingRow) -> Answered:
    """Return what a champion on probation has answered since its promotion; no profile is read."""
    assert row.live_from is not None  # set with the stage
    unversioned = read.counters.versions(row.model) == [""]
    version = "" if unversioned else row.version
    found = read.windows.judged_of_version(row.model, version, row.live_from)
    # By the name alone nobody could tell whose rows a window has that began before the promotion.
    return Answered(version, tuple(one for one in found if not unversioned or one[0] >= row.live_from))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a champion on probation stands: the rule that an alert would fire by, empty without, and the judged windows.

    A window counts where some rule on performance has a verdict on it; without such rules every one with labels does.
    """

    answered: Answered
    breached: str
    judged: int


def standing(model: MonitoredModel, read: Work, answered: Answered) -> Standing:
    """Judge the windows of a champion on probation by themselves: alerts of other versions' rows are none of it."""
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
    """So many judged windows, in words."""
    return f"{count or 'no'} judged window{'' if count == 1 else 's'}"
