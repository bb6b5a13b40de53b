"""Tries a rule with another threshold on what was judged before: without a look at the rows, and with the same outcome.

A verdict keeps what was compared with the threshold, so that it can be compared with another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftline.rules.backtest import Backtest, Track, backtest_of
from driftline.rules.history import JudgedWindow
from driftline.rules.rule import Rule
from driftline.rules.verdict import State, Verdict, interval_confidence, judge
from driftline.statistics.measure import Measure


def tried(rule: Rule, verdict: Verdict) -> Verdict:
    """Return what a rule says of a window, from the verdict of one with another threshold, ``for`` or end.

    Both rules are on the same side of one measure, at the same confidence, and ask for as many rows and labels.

    Law: it is what `judge` says of that measure by the rule itself.

    >>> known = judge(Rule("low", "accuracy", below=0.75), Measure("accuracy", 0.7, 0.66, 0.74, 400, confidence=0.9))
    >>> tried(Rule("low", "accuracy", below=0.72), known).reason
    'accuracy is 0.7, below 0.72, but chance may explain it: its upper bound 0.74 (95 %, n = 400) is not'
    """
    if verdict.state is State.NODATA:
        return Verdict(
            rule.name,
            State.NODATA,
            verdict.value,
            verdict.low,
            verdict.high,
            verdict.n,
            rule.threshold,
            verdict.reason,
            verdict.bound,
            rule.confidence,
        )
    low, high = (None, verdict.bound) if rule.comparison == "below" else (verdict.bound, None)
    compared = Measure(rule.measure, verdict.value, low, high, verdict.n, confidence=interval_confidence(rule))
    return judge(rule, compared, shown=Measure(rule.measure, verdict.value, verdict.low, verdict.high, verdict.n))


def try_rule(model: str, rule: Rule, tracks: Sequence[Track], timezone: str) -> tuple[Backtest, Backtest]:
    """Return what has fired by the rule of some tracks, one for each slice, and what would have fired by this one.

    Both are made from the same windows, by the code of `driftline backtest`.
    """
    windows = sorted({one.window for track in tracks for one in track.judged}, key=lambda window: window.start)
    others = [
        Track(rule, track.slice, [JudgedWindow(one.window, tried(rule, one.verdict)) for one in track.judged])
        for track in tracks
    ]
    before, after = (backtest_of(model, windows, some, timezone=timezone) for some in (tracks, others))
    return before, after
