"""What the rules of a model say now, how often they have fired, and what they would fire by another threshold."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from driftline.errors import UnknownNameError
from driftline.events import WHOLE, Slice, Window
from driftline.monitoring.alerting import judged_window
from driftline.monitoring.options import ModelConfig
from driftline.rules import JudgedWindow, Rule, Verdict
from driftline.rules.backtest import Backtest, Track
from driftline.rules.trying import tried, try_rule
from driftline.store.judgements import Judgement
from driftline.store.state import Work

TRIED_WINDOWS = 365
"""A threshold is tried on so many of the newest judged windows."""

_TRIED_ROWS = 4 * TRIED_WINDOWS
"""Of a rule on many slices so many verdicts are read, of fewer windows."""


class RuleView(msgspec.Struct, frozen=True):
    """A rule, its verdicts on the newest judged window by slice, how often it fired, and how many alerts fire now."""

    rule: Rule
    verdicts: list[tuple[Slice, Verdict]]
    fired: int
    firing: int
    corrected: int


class RulesView(msgspec.Struct, frozen=True):
    """The rules of a model in the order of the configuration; ``window`` is the newest judged one, if there is one."""

    window: Window | None
    rules: list[RuleView]


class TriedView(msgspec.Struct, frozen=True):
    """A rule as it is configured and as it was tried, on the same windows.

    ``slice`` is the one whose windows are drawn: that of which the rule said most. ``windows`` are its verdicts, by
    the rule that was tried.
    """

    configured: Rule
    rule: Rule
    before: Backtest
    after: Backtest
    slice: Slice
    windows: list[JudgedWindow]


def rules_of(read: Work, config: ModelConfig) -> RulesView:
    """Return the rules of a model: three statements, however long its history is."""
    newest = read.windows.newest_settled_start(config.name)
    names = [rule.name for rule in config.rules]
    judged: list[Judgement] = []
    if newest is not None and names:
        judged = read.judgements.find(config.name, rules=names, window_start=newest)
    counts = read.alerts.count(config.name)
    return RulesView(
        None if not judged else Window(judged[0].window_start, judged[0].window_end),
        [
            RuleView(
                rule,
                [(one.slice, judged_window(one).verdict) for one in judged if one.rule == rule.name],
                sum(number for (name, _), number in counts.items() if name == rule.name),
                counts.get((rule.name, "firing"), 0),
                counts.get((rule.name, "corrected"), 0),
            )
            for rule in config.rules
        ],
    )


def try_on_history(read: Work, config: ModelConfig, rule: Rule) -> TriedView:
    """Try a rule on the newest windows that the one of its name has judged.

    Raises `UnknownNameError` where none of that name is configured.
    """
    configured = next((one for one in config.rules if one.name == rule.name), None)
    if configured is None:
        raise UnknownNameError(f"rule of {config.name}", rule.name, [one.name for one in config.rules])
    whole = configured.segment == "none" and configured.version == "all"
    rows = _newest(read.judgements.newest_of_all(config.name, rule.name, TRIED_WINDOWS if whole else _TRIED_ROWS))
    by_slice: dict[Slice, list[JudgedWindow]] = {} if rows else {WHOLE: []}
    for row in rows:
        by_slice.setdefault(row.slice, []).append(judged_window(row))
    tracks = [Track(configured, slice, judged) for slice, judged in sorted(by_slice.items())]
    before, after = try_rule(config.name, rule, tracks, config.window.timezone)
    shown = max(tracks, key=lambda track: len(track.judged))  # the first of equals
    said = [JudgedWindow(one.window, tried(rule, one.verdict)) for one in shown.judged]
    return TriedView(configured, rule, before, after, shown.slice, said)


def _newest(rows: Sequence[Judgement]) -> list[Judgement]:
    """Leave out the windows of which not all slices may have been read, and all but the newest `TRIED_WINDOWS`."""
    starts = sorted({row.window_start for row in rows})
    begin = starts[1:][-TRIED_WINDOWS:] if len(rows) == _TRIED_ROWS else starts[-TRIED_WINDOWS:]
    return [row for row in rows if begin and row.window_start >= begin[0]]
