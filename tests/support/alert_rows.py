"""A stored alert, as a test needs it: what it does not say is that of a firing one on accuracy."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from driftline.store.alerts import AlertRow
from tests.support.churn import MODEL


def alert_row(id: str, start: datetime, end: datetime, **changes: Any) -> AlertRow:
    """An alert on the window from ``start`` to ``end``, which fires since that was over."""
    row = AlertRow(
        id=id,
        model=MODEL,
        rule="accuracy-low",
        measure="accuracy",
        severity="page",
        title="Model accuracy below threshold!",
        status="firing",
        started_at=start,
        last_end=end,
        window_start=start,
        window_end=end,
        value=0.5,
        low=None,
        high=None,
        n=9,
        threshold=0.75,
        worst=0.5,
        findings=b"null",
        fired_at=end,
        ended_at=None,
    )
    return replace(row, **changes)
