"""What people and programs are shown of a model, of its windows, and of what its rules say of them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from driftline.events import Segment, Slice
from driftline.monitoring.summary import WindowSummary
from driftline.rules.contest import PositiveView
from driftline.store.judgements import Judgement
from driftline.store.retention import Hold
from driftline.views.delays import LabelDelayView


class SegmentsView(msgspec.Struct, frozen=True):
    """A column that defines segments, and the values that have a segment of their own."""

    column: str
    values: list[str]


class DetectorView(msgspec.Struct, frozen=True):
    """The detector of a model: whether it is ``off``, still ``learning``, ``ok`` or in ``alarm``, and why.

    ``budget`` is the configured number of false alarms that it may raise, None if it is off; ``alarms`` counts those
    that it has raised.
    """

    state: str
    reason: str
    budget: str | None
    alarms: int


class ModelView(msgspec.Struct, frozen=True):
    """A summary of one model. ``waiting_events`` are stored but not processed yet; ``notes`` say what was guessed."""

    name: str
    task: str
    predictions: int
    labels: int
    corrected_labels: int
    duplicate_events: int
    invalid_events: int
    waiting_labels: int
    waiting_events: int
    windows: int
    watermark: datetime | None
    firing: int
    versions: list[str]
    rules: list[str]
    positive: PositiveView | None = None
    notes: list[str] = []
    segments: list[SegmentsView] = []
    detector: DetectorView | None = None
    hold: Hold | None = None
    """Who has it held: nothing of it is deleted; None where nobody has."""
    team: str = ""
    tags: list[str] = []
    docs: str = ""


class ModelDetail(ModelView, frozen=True):
    """What there is to say of one model alone; ``label_delay`` is None where no label has come with a time."""

    label_delay: LabelDelayView | None = None


class VerdictView(msgspec.Struct, frozen=True):
    """The current verdict of a rule on a window; ``bound``, at the rule's one-sided ``confidence``, was compared.

    It is on all rows, or on those of ``version`` or ``segment``.
    """

    rule: str
    state: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    reason: str
    judged_at: datetime
    bound: float | None = None
    confidence: float | None = None
    version: str | None = None
    segment: Segment | None = None

    @property
    def slice(self) -> Slice:
        """The rows of the window that the verdict is on."""
        return Slice(self.version, self.segment)

    @property
    def name(self) -> str:
        """The name of the rule, with the slice if the verdict is not on all rows."""
        return self.slice.titled(self.rule)


class WindowView(msgspec.Struct, frozen=True):
    """One window with the verdicts of all rules on it.

    ``forgotten`` is how many of the rows that it counts were erased since, and ``events`` says, where none of its rows
    is kept any more, why.
    """

    summary: WindowSummary
    verdicts: list[VerdictView]
    forgotten: int = 0
    events: str = ""


def verdict_view(one: Judgement) -> VerdictView:
    """Show the verdict of a rule on a window."""
    ends = one.low, one.high, one.n, one.threshold, one.reason, one.judged_at, one.bound, one.confidence
    return VerdictView(one.rule, one.state, one.value, *ends, one.slice.version, one.slice.segment)
