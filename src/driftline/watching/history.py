"""What the page of ``driftline watch`` shows: the last evaluations and alerts, of which a bounded number is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from driftline.rules import AlertState, State, TransitionKind, Verdict
from driftline.statistics.measure import Measure
from driftline.watching.schedule import Evaluation, Monitor, Watching

MOST_EVALUATIONS, MOST_ALERTS, MOST_MEASURES = 240, 40, 12
"""So many are kept: of evaluations and alerts the newest, of measures those with an alert and the first ones."""


@dataclass(frozen=True, slots=True)
class Past:
    """One evaluation: when it ended, its measures by name, the names of rules in breach, and what went wrong."""

    at: datetime
    seconds: float
    measures: dict[str, Measure]
    breaches: frozenset[str]
    failure: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PastAlert:
    """An alert of a rule: the verdict that fired it, and when it ended, None while it fires."""

    monitor: Monitor
    fired: datetime
    verdict: Verdict
    resolved: datetime | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The state of a running `watch` with its newest evaluations and alerts, in order of time; replaced as a whole."""

    watching: Watching
    evaluations: tuple[Past, ...] = ()
    alerts: tuple[PastAlert, ...] = ()
    left_out: int = 0
    """How many measures of the last evaluation are not kept."""

    def after(self, watching: Watching, evaluation: Evaluation) -> History:
        """Return the history with one more evaluation."""
        ruled = {monitor.rule.measure for monitor in watching.monitors}
        shown = sorted(evaluation.measures, key=lambda one: one.name not in ruled)[:MOST_MEASURES]
        outcome, measured = evaluation.outcome, evaluation.outcome.measured
        past = Past(
            outcome.at,
            outcome.seconds,
            {one.name: one for one in evaluation.measures if one in shown},
            frozenset(monitor.rule.name for monitor, _ in evaluation.monitors if monitor.state is State.BREACH),
            outcome.failure,
            measured.problem if measured is not None else "",
        )
        return History(
            watching,
            (*self.evaluations, past)[-MOST_EVALUATIONS:],
            _alerts(self.alerts, evaluation),
            len(evaluation.measures) - len(shown),
        )

    @property
    def firing(self) -> tuple[PastAlert, ...]:
        """The alerts that are firing."""
        names = {one.rule.name for one in self.watching.monitors if one.machine.state is AlertState.FIRING}
        return tuple(one for one in self.alerts if one.resolved is None and one.monitor.rule.name in names)


def _alerts(alerts: tuple[PastAlert, ...], evaluation: Evaluation) -> tuple[PastAlert, ...]:
    at = evaluation.outcome.at
    for monitor, transition in evaluation.monitors:
        if transition is None:
            continue
        if transition.kind is TransitionKind.RESOLVED:
            alerts = tuple(
                replace(one, resolved=at)
                if one.resolved is None and one.monitor.rule.name == monitor.rule.name
                else one
                for one in alerts
            )
        else:
            alerts = (*alerts, PastAlert(monitor, at, transition.verdict))
    ended = [one for one in alerts if one.resolved is not None]
    dropped = {id(one) for one in ended[: max(len(ended) - MOST_ALERTS, 0)]}
    return tuple(one for one in alerts if id(one) not in dropped)
