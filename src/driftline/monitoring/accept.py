"""The one way in for events: rows are checked and made durable, whatever brought them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from driftline.errors import EventError
from driftline.events import (
    ParsedLabels,
    ParsedPredictions,
    parse_labels,
    parse_predictions,
    refusal_reason,
    require_all_good,
)
from driftline.monitoring.admission import Admission
from driftline.monitoring.event_times import times_read
from driftline.monitoring.hiding import Hiding
from driftline.monitoring.model import MonitoredModel
from driftline.net.limits import QueueFullError
from driftline.store.inbox import Delivery, Inbox

QUEUE_LIMIT_EVENTS = 5_000_000

Kind = Literal["predictions", "labels"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as they came, decoded, and the bytes that they were decoded from.

    ``key`` names the batch: one that comes again under it is not stored again. With ``quarantine`` good rows go on and
    bad ones are kept aside; without it one bad row refuses all.
    """

    kind: Kind
    rows: Sequence[Any]
    body: bytes
    key: str | None = None
    quarantine: bool = False


def require_room(inbox: Inbox, model: str) -> None:
    """Raise `QueueFullError` while more events of a model wait than may."""
    if inbox.waiting_events().get(model, 0) > QUEUE_LIMIT_EVENTS:
        raise QueueFullError(f"more than {QUEUE_LIMIT_EVENTS} events of {model} wait to be processed; try again later")


def accept(
    model: MonitoredModel,
    inbox: Inbox,
    admission: Admission,
    batch: Batch,
    arrived: datetime,
    new_id: Callable[[], str],
) -> tuple[int, int]:
    """Check a batch and make it durable; return how many rows were accepted, and how many set aside.

    Raises `EventError` with every bad row, which is counted.
    """
    if (hiding := Hiding.of(model.config)) is not None:
        batch = replace(batch, rows=hiding.events(batch.rows, batch.kind, model.schema))
    times = times_read(batch.rows, model.config.columns.time_format)
    parsed: ParsedPredictions | ParsedLabels
    try:
        if batch.kind == "predictions":
            checked = parse_predictions(batch.rows, model.schema, arrived=arrived, times=times, new_id=new_id)
            parsed = admission.predictions(checked, batch.rows)
        else:
            parsed = admission.labels(parse_labels(batch.rows, model.schema, arrived=arrived, times=times), batch.rows)
        if not batch.quarantine:
            require_all_good(parsed)
    except EventError as error:
        count_refused(inbox, model.name, batch.kind, error)
        raise
    delivery = Delivery(model.name, batch.kind, arrived, parsed.good, parsed.refused, batch.key, batch.body)
    return inbox.accept(delivery), len(parsed.refused)


def count_refused(inbox: Inbox, model: str, kind: Kind, error: EventError) -> None:
    """Count rows that were refused, by the kind of event and the field."""
    inbox.refuse(model, Counter(refusal_reason(kind, row.field) for row in error.rows))
