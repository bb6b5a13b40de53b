"""Notice scores that seem to belong to another class than the configured one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from driftline.lookalikes import shown, shown_all
from driftline.statistics.measure import Measure
from driftline.text.numbers import figures

_EVEN = 0.5


class Doubt(NamedTuple):
    """What is doubtful about a score, and what to configure instead: the ``positive`` class, or a ``score``'s class and
    column.

    >>> Doubt("the score is of the other class", positive="fraud").for_command
    'the score is of the other class; say --positive fraud'
    >>> Doubt("the score is of the other class", score=("fraud", "s")).for_file
    'the score is of the other class; say `columns: {score: {fraud: s}}`'
    """

    words: str
    positive: str = ""
    score: tuple[str, str] | None = None

    @property
    def for_command(self) -> str:
        """The doubt, and the command-line option to give."""
        if self.positive:
            return f"{self.words}; say --positive {shown(self.positive)}"
        return self.words if self.score is None else f"{self.words}; say --score {'='.join(map(shown, self.score))}"

    @property
    def for_file(self) -> str:
        """The doubt, and the key to write in driftline.yaml."""
        if self.positive:
            return f"{self.words}; say `positive: {shown(self.positive)}`"
        if self.score is None:
            return self.words
        return f"{self.words}; say `columns: {{score: {{{': '.join(map(shown, self.score))}}}}}`"


def doubtful(reference: Measure | None, current: Measure | None) -> bool:
    """Return whether the ROC AUC's whole interval lies below 0.5, on the current rows and, if known, on the reference.

    If only the current AUC is below 0.5, the model has become worse; then the class is not in doubt.

    >>> low, high = Measure("roc_auc", 0.1, 0.08, 0.13, n=900), Measure("roc_auc", 0.9, 0.87, 0.92, n=900)
    >>> doubtful(None, low), doubtful(low, low), doubtful(high, low), doubtful(None, high)
    (True, True, False, False)
    """
    if not _is_below(current):
        return False
    return reference is None or reference.value is None or _is_below(reference)


def _is_below(measure: Measure | None) -> bool:
    return measure is not None and measure.value is not None and measure.high is not None and measure.high < _EVEN


def doubt_of(
    current: Measure, positive: str, other: str | None, score: str | Mapping[str, str] | None, *, said: bool
) -> Doubt:
    """Describe the doubt about a score whose ROC AUC is below 0.5; ``said``: the user named the positive class.

    >>> low = Measure("roc_auc", 0.086, 0.07, 0.104, n=900)
    >>> doubt_of(low, "ok", "fraud", "s", said=False).for_command
    'ROC AUC 0.086 (0.070 to 0.104) is below 0.5: the score is probably of the other class; say --positive fraud'
    >>> doubt_of(low, "ok", "fraud", "s", said=True).score
    ('fraud', 's')
    """
    assert current.value is not None
    value, low, high = figures(current.value, current.low or 0.0, current.high or 0.0)
    begin = f"ROC AUC {value} ({low} to {high}) is below 0.5"
    if isinstance(score, Mapping) and len(score) > 1:
        return Doubt(f"{begin}: the scores of {' and '.join(shown_all(score).values())} are probably exchanged")
    words = f"{begin}: the score is probably of the other class"
    if other is None:
        return Doubt(words)
    if isinstance(score, str):
        return Doubt(words, score=(other, score)) if said else Doubt(words, positive=other)
    return Doubt(words, score=(other, next(iter((score or {"": "COLUMN"}).values()))))
