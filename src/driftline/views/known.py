"""Windows as they were known when each rule could judge them for the first time, before late and corrected labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from driftline.monitoring.summary import MeasureView
from driftline.rules import Rule
from driftline.store.judgements import Judgement
from driftline.views.values import VerdictView, WindowView

NOT_JUDGED = "no rule could judge this window"


def as_known_then(
    windows: Sequence[WindowView],
    first: Sequence[tuple[Judgement, VerdictView]],
    rules: Mapping[str, Rule],
) -> list[WindowView]:
    """Return the windows with the values and verdicts of their first judgements.

    Only measures that a rule judges have been kept: others are left out. Two rules on one measure saw the same value,
    unless one could judge the window earlier, by fewer labels: the earlier one's is taken.
    """
    said: dict[datetime, list[tuple[Judgement, VerdictView]]] = {}
    for one in sorted(first, key=lambda pair: pair[0].judged_at):
        said.setdefault(one[0].window_start, []).append(one)
    names = dict.fromkeys(rule.measure for rule in rules.values())
    found = []
    for window in windows:
        then = said.get(window.summary.start, [])
        values: dict[str, MeasureView] = {}
        for judgement, _ in then:
            if judgement.rule in rules:
                view = MeasureView(
                    judgement.value,
                    judgement.low,
                    judgement.high,
                    judgement.n,
                    "" if judgement.value is not None else judgement.reason,
                )
                values.setdefault(rules[judgement.rule].measure, view)
        blank = MeasureView(None, None, None, 0, NOT_JUDGED)
        performance = {name: values.get(name, blank) for name in names if name in window.summary.performance}
        summary = replace(window.summary, performance=performance)
        found.append(replace(window, summary=summary, verdicts=[verdict for _, verdict in then]))
    return found
