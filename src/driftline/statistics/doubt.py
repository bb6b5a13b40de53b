"""Whether scores seem to speak of another class than they are taken for."""

from __future__ import annotations

from collections.abc import Mapping

from driftline.lookalikes import shown
from driftline.statistics.figures import figures
from driftline.statistics.measure import Measure

_EVEN = 0.5


def doubtful(reference: Measure | None, current: Measure | None) -> bool:
    """Whether the ROC AUC lies below 0.5 with its whole interval, now, and on the reference where that is known.

    A model that was right on the reference has become worse: that is another thing to say.

    >>> low, high = Measure("roc_auc", 0.1, 0.08, 0.13, n=900), Measure("roc_auc", 0.9, 0.87, 0.92, n=900)
    >>> doubtful(None, low), doubtful(low, low), doubtful(high, low), doubtful(None, high)
    (True, True, False, False)
    """
    if not _is_below(current):
        return False
    return reference is None or reference.value is None or _is_below(reference)


def _is_below(measure: Measure | None) -> bool:
    return measure is not None and measure.value is not None and measure.high is not None and measure.high < _EVEN


def doubtful_words(
    current: Measure, positive: str, other: str | None, score: str | Mapping[str, str] | None, said: bool
) -> str:
    """What is doubtful, and what to do about it.

    >>> low = Measure("roc_auc", 0.086, 0.07, 0.104, n=900)
    >>> doubtful_words(low, "ok", "fraud", "s", False)
    'ROC AUC 0.086 (0.070 to 0.104) is below 0.5: the score is probably of the other class; say --positive fraud'
    >>> doubtful_words(low, "ok", "fraud", "s", True).split(": ")[1]
    'the score is probably of the other class; say --score fraud=s'
    """
    assert current.value is not None
    value, low, high = figures(current.value, current.low or 0.0, current.high or 0.0)
    begin = f"ROC AUC {value} ({low} to {high}) is below 0.5"
    if isinstance(score, Mapping) and len(score) > 1:
        return f"{begin}: the scores of {' and '.join(shown(name, score) for name in score)} are probably exchanged"
    name = "OTHER" if other is None else shown(other, [positive])
    column = score if isinstance(score, str) else next(iter((score or {}).values()), "COLUMN")
    way = f"--positive {name}" if isinstance(score, str) and not said else f"--score {name}={shown(column)}"
    return f"{begin}: the score is probably of the other class; say {way}"
