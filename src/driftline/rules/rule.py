"""Rules: a measure, a threshold and the bad side of it, for how many windows, and how severe an alert is."""

from __future__ import annotations

import enum
import math
import re
from typing import Literal

import msgspec

from driftline.errors import UsageError
from driftline.events import WHOLE, Segment, Slice
from driftline.rules.topic import feature_measure, of_segments, rests_on_labels
from driftline.text.numbers import exact

MEASURE_NAME = re.compile(r"[A-Za-z_][\w.]*")
"""What a measure may be called in a rule."""


class Severity(enum.StrEnum):
    """How urgent an alert is, the most urgent first: wake somebody, look today, keep for the record."""

    PAGE = "page"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the most urgent; sort by it.

        >>> sorted([Severity.INFO, Severity.PAGE], key=lambda severity: severity.rank)
        [<Severity.PAGE: 'page'>, <Severity.INFO: 'info'>]
        """
        return list(Severity).index(self)


class Rule(msgspec.Struct, frozen=True):
    """Alert when a measure lies below, or above, a threshold in ``for_windows`` judged windows in a row.

    Give exactly one of ``below`` and ``above``. A value at the threshold is fine, unless ``inclusive`` (``<=``, ``>=``)
    makes it a breach. ``confidence`` in (0.5, 1) is the one-sided level of the bound that has to lie beyond the
    threshold: with 0.95, a model whose true measure is at the threshold breaches in at most 5 % of windows. A window
    with fewer than ``min_samples`` rows is not judged. Nor is one with a smaller share of labelled rows than
    ``min_coverage`` (0 to 1), by a rule that rests on labels: where the delay depends on the outcome, rows whose labels
    come first are not like the others.

    A rule is judged on all rows together. Each slice has an alert of its own where it is judged on each segment
    (``segment`` is *all*), on one segment, on each version (``version`` is *each*) or on one version.

    An alert ends at the first ok window; with ``clear`` only at one whose value has come back that far (hysteresis),
    and with ``keep_firing_for`` N only after N + 1 such windows in a row. Raises `UsageError` for a rule that
    contradicts this.

    >>> rule = Rule("accuracy-low", "accuracy", below=0.75, for_windows=2, severity=Severity.PAGE)
    >>> rule.condition, rule.title
    ('accuracy < 0.75', 'Model accuracy below threshold!')
    """

    name: str
    measure: str
    below: float | None = None
    above: float | None = None
    for_windows: int = 1
    severity: Severity = Severity.WARNING
    confidence: float = 0.95
    min_samples: int = 1
    inclusive: bool = False
    clear: float | None = None
    keep_firing_for: int = 0
    min_coverage: float = 0.5
    segment: Segment | str = "none"
    version: str = "all"

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise UsageError("a rule came without a name; give it one, such as 'accuracy-low'")
        if not MEASURE_NAME.fullmatch(self.measure) and feature_measure(self.measure) is None:
            raise UsageError(
                f"rule {self.name!r}: {self.measure!r} is not the name of a measure; "
                "it starts with a letter and goes on with letters, digits, _ and ., such as 'accuracy'"
            )
        if (self.below is None) == (self.above is None):
            came = "neither" if self.below is None else "both"
            raise UsageError(f"rule {self.name!r}: {came} of `below` and `above` came; give exactly one")
        if not math.isfinite(self.threshold):
            raise UsageError(f"rule {self.name!r}: the threshold came as {self.threshold}; it is a finite number")
        if self.for_windows < 1:
            raise UsageError(f"rule {self.name!r}: for_windows came as {self.for_windows}; it is 1 or more")
        if self.severity not in list(Severity):
            known = ", ".join(Severity)
            raise UsageError(f"rule {self.name!r}: severity came as {self.severity!r}; it is one of {known}")
        msgspec.structs.force_setattr(self, "severity", Severity(self.severity))
        if not 0.5 < self.confidence < 1:
            raise UsageError(
                f"rule {self.name!r}: confidence came as {self.confidence}; it lies between 0.5 and 1, such as 0.95"
            )
        if self.min_samples < 0:
            raise UsageError(f"rule {self.name!r}: min_samples came as {self.min_samples}; it is 0 or more")
        if not 0 <= self.min_coverage <= 1:
            raise UsageError(
                f"rule {self.name!r}: min_coverage came as {self.min_coverage}; it is a share from 0 to 1, such as 0.5"
            )
        self._check_end()
        self._check_slice()

    def _check_slice(self) -> None:
        if not isinstance(self.segment, Segment) and self.segment not in ("none", "all"):
            raise UsageError(
                f"rule {self.name!r}: segment came as {self.segment!r}; it is none, all, or a column with its value, "
                "such as {season: winter}"
            )
        if self.segment != "none" and self.version != "all":
            raise UsageError(
                f"rule {self.name!r}: both `segment` and `version` came; segments are of all versions together, "
                "give one of the two"
            )
        if self.segment != "none" and not of_segments(self.measure):
            raise UsageError(
                f"rule {self.name!r}: `segment` is for rules on performance and on label_coverage; "
                f"{self.measure} is only known of all rows, leave it out"
            )

    def judges(self, slice: Slice) -> bool:
        """Return whether the rule is judged on this slice of a window's rows.

        >>> Rule("low", "accuracy", below=0.75, segment="all").judges(Slice(segment=Segment("season", "winter")))
        True
        """
        if self.segment != "none":
            return slice.segment is not None and self.segment in ("all", slice.segment)
        if self.version != "all":
            return slice.version is not None and self.version in ("each", slice.version)
        return slice == WHOLE

    def _check_end(self) -> None:
        if self.keep_firing_for < 0:
            raise UsageError(f"rule {self.name!r}: keep_firing_for came as {self.keep_firing_for}; it is 0 or more")
        if self.clear is not None and (not math.isfinite(self.clear) or self.breached_by(self.clear)):
            side = "at or above" if self.comparison == "below" else "at or below"
            raise UsageError(
                f"rule {self.name!r}: clear came as {self.clear}; an alert ends where all is well, {side} "
                f"the threshold {exact(self.threshold)}"
            )

    @property
    def comparison(self) -> Literal["below", "above"]:
        """The side of the threshold on which a breach lies."""
        return "below" if self.below is not None else "above"

    @property
    def threshold(self) -> float:
        """The number that the measure is compared with."""
        number = self.below if self.below is not None else self.above
        assert number is not None  # __post_init__
        return number

    @property
    def operator(self) -> str:
        """``<``, ``<=``, ``>`` or ``>=``."""
        return ("<" if self.comparison == "below" else ">") + ("=" if self.inclusive else "")

    @property
    def title(self) -> str:
        """The first line of an alert; the same for every value, so that receivers can group alerts."""
        return f"Model {self.measure} {self.comparison} threshold!"

    @property
    def least_coverage(self) -> float:
        """The share of a window's rows that must be labelled before it is judged; 0 where no label is needed."""
        return self.min_coverage if rests_on_labels(self.measure) else 0.0

    @property
    def condition(self) -> str:
        """The condition of a breach as an expression, without ``for``."""
        return f"{self.measure} {self.operator} {exact(self.threshold)}"

    @property
    def expression(self) -> str:
        """The whole rule as an expression, as `parse_expression` reads it.

        >>> Rule("recall-low", "recall", below=0.6, for_windows=3).expression
        'recall < 0.6 for 3'
        """
        return self.condition + (f" for {self.for_windows}" if self.for_windows > 1 else "")

    @property
    def words(self) -> str:
        """The expression, followed by the segment or version that it is judged on, if any.

        >>> Rule("low", "accuracy", below=0.75, segment=Segment("season", "winter")).words
        'accuracy < 0.75 (season = winter)'
        >>> Rule("low", "accuracy", below=0.75, version="each").words
        'accuracy < 0.75 (each version)'
        """
        if isinstance(self.segment, Segment):
            return f"{self.expression} ({self.segment.words})"
        if self.segment == "all":
            return f"{self.expression} (each segment)"
        if self.version == "all":
            return self.expression
        return f"{self.expression} ({'each version' if self.version == 'each' else f'version = {self.version}'})"

    def cleared_by(self, number: float | None) -> bool:
        """Return whether the value of an ok window has come back far enough (``clear``) to end an alert."""
        if self.clear is None or number is None:
            return True
        return number >= self.clear if self.comparison == "below" else number <= self.clear

    def breached_by(self, number: float) -> bool:
        """Return whether a number breaches the threshold."""
        if number == self.threshold:
            return self.inclusive
        return (number < self.threshold) == (self.comparison == "below")


def difference(old: Rule, new: Rule) -> str:
    """Say in words how two rules of the same name differ; empty where they do not.

    >>> old = Rule("low", "accuracy", below=0.75)
    >>> difference(old, Rule("low", "accuracy", below=0.5, for_windows=2, severity=Severity.PAGE))
    'accuracy < 0.75 → accuracy < 0.5, for 1 → 2, severity warning → page'
    """
    found = [f"{old.condition} → {new.condition}"] if old.condition != new.condition else []
    for name in (
        "for_windows",
        "severity",
        "confidence",
        "min_samples",
        "min_coverage",
        "clear",
        "keep_firing_for",
        "segment",
        "version",
    ):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            words = [_said(one) for one in (before, after)]
            found.append(f"{name.removesuffix('_windows')} {words[0]} → {words[1]}")
    return ", ".join(found)


def _said(value: float | str | Segment | None) -> str:
    if isinstance(value, Segment):
        return value.words
    return "none" if value is None else value if isinstance(value, str) else exact(value)
