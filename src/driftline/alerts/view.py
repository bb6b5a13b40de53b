"""An alert as people and programs are shown it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from driftline.alerts.message import Acknowledgement, AlertView, Newest, Span, StepView
from driftline.rules.findings import Findings
from driftline.store.alerts import AlertRow
from driftline.store.judgements import Judgement
from driftline.store.state import Work

_findings = msgspec.json.Decoder(Findings | None)


class OfModel(NamedTuple):
    """What the configuration says of a model that is told with its alerts."""

    timezone: str = "UTC"
    docs: str = ""


_UNKNOWN = OfModel()


def with_its_window(read: Work, row: AlertRow, recent: Sequence[Judgement]) -> list[Judgement]:
    """Return the judgements of the window that an alert fired on, and then those of the newest windows."""
    return [*read.judgements.find(row.model, rule=row.rule, slice=row.slice, window_start=row.window_start), *recent]


def alert_view(
    row: AlertRow, history: list[StepView], judged: Sequence[Judgement], models: Mapping[str, OfModel]
) -> AlertView:
    """Make the view of an alert, with what is said of ``models``; one that is configured no longer has times in UTC.

    ``judged`` is what its rule says of windows now: of the one that it fired on, and of others, the newest last.
    """
    now = next((one.value for one in reversed(judged) if one.window_start == row.window_start), None)
    newest = next((one for one in reversed(judged) if one.value is not None and one.state != "nodata"), None)
    of_model = models.get(row.model, _UNKNOWN)
    return AlertView(
        id=row.id,
        model=row.model,
        rule=row.rule,
        measure=row.measure,
        severity=row.severity,
        title=row.title,
        status=msgspec.convert(row.status, Literal["firing", "resolved", "corrected"]),
        window=Span(row.window_start, row.window_end),
        span=Span(row.started_at, row.last_end),
        value=row.value,
        low=row.low,
        high=row.high,
        n=row.n,
        threshold=row.threshold,
        worst=row.worst,
        value_now=now,
        fired_at=row.fired_at,
        ended_at=row.ended_at,
        findings=_findings.decode(row.findings),
        history=history,
        acknowledged=acknowledgement(row),
        muted=row.muted,
        bound=row.bound,
        confidence=row.confidence,
        timezone=of_model.timezone,
        newest=None if newest is None else _newest(newest),
        version=row.slice.version,
        segment=row.slice.segment,
        docs=of_model.docs,
    )


def _newest(one: Judgement) -> Newest:
    assert one.value is not None  # it was chosen so
    return Newest(Span(one.window_start, one.window_end), one.value, one.low, one.high, one.n, one.bound)


def acknowledgement(row: AlertRow) -> Acknowledgement | None:
    """Return who has acknowledged an alert, if anybody."""
    if row.acknowledged_at is None:
        return None
    return Acknowledgement(row.acknowledged_by, row.acknowledged_at, row.acknowledged_reason)
