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
from driftline.events.columns import Came, LabelColumns, PredictionColumns, quick_labels, quick_predictions
from driftline.events.values import AS_THEY_ARE
from driftline.monitoring.admission import Admission
from driftline.monitoring.event_times import read_by_format, times_read
from driftline.monitoring.frames import FrameCame, checked_labels, checked_predictions
from driftline.monitoring.hiding import Hiding
from driftline.monitoring.model import MonitoredModel
from driftline.net.limits import QueueFullError
from driftline.store.deliveries import Delivery
from driftline.store.framed import PredictionFrame

QUEUE_LIMIT_EVENTS = 5_000_000

Kind = Literal["predictions", "labels"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as they came, decoded.

    ``key`` names the batch: one that comes again under it is not stored again; ``digest`` is of its body. With
    ``quarantine`` good rows go on and bad ones are kept aside; without it one bad row refuses all.
    """

    kind: Kind
    rows: Sequence[Any]
    key: str | None = None
    digest: bytes = b""
    quarantine: bool = False


def require_room(model: str, waiting: int) -> None:
    """Raise `QueueFullError` while more events of a model wait than may."""
    if waiting > QUEUE_LIMIT_EVENTS:
        raise QueueFullError(f"more than {QUEUE_LIMIT_EVENTS} events of {model} wait to be processed; try again later")


def checked_columns(
    model: MonitoredModel, admission: Admission, kind: Kind, came: Came, arrived: datetime, new_id: Callable[[], str]
) -> PredictionColumns | LabelColumns | None:
    """Check a batch by column; None where it has to be checked row by row, as with columns that are to be hidden."""
    if model.config.store:
        return None
    times = AS_THEY_ARE
    if (time_format := model.config.columns.time_format) is not None:
        times = read_by_format(came.times or (), time_format)
    columns: PredictionColumns | LabelColumns | None
    if kind == "predictions":
        columns = quick_predictions(came, model.schema, arrived=arrived, new_id=new_id, times=times)
    else:
        columns = quick_labels(came, model.schema, arrived=arrived, times=times)
    return columns if columns is not None and admission.admits(columns) else None


def checked_frame(
    model: MonitoredModel,
    admission: Admission,
    kind: Kind,
    came: FrameCame,
    arrived: datetime,
    new_id: Callable[[], str],
) -> PredictionFrame | LabelColumns | None:
    """Check a batch that came as a frame; None as for `checked_columns`."""
    if model.config.store:
        return None
    written, schema = model.config.columns.time_format, model.schema
    columns: PredictionFrame | LabelColumns | None
    if kind == "predictions":
        columns = checked_predictions(came, schema, arrived=arrived, new_id=new_id, time_format=written)
    else:
        columns = checked_labels(came, schema, arrived=arrived, time_format=written)
    return columns if columns is not None and admission.admits(columns) else None


def checked_rows(
    model: MonitoredModel, admission: Admission, batch: Batch, arrived: datetime, new_id: Callable[[], str]
) -> Delivery:
    """Check a batch row by row; raise `EventError` with every bad row, unless they are to be set aside."""
    if (hiding := Hiding.of(model.config)) is not None:
        batch = replace(batch, rows=hiding.events(batch.rows, batch.kind, model.schema))
    times = times_read(batch.rows, model.config.columns.time_format)
    parsed: ParsedPredictions | ParsedLabels
    if batch.kind == "predictions":
        checked = parse_predictions(batch.rows, model.schema, arrived=arrived, times=times, new_id=new_id)
        parsed = admission.predictions(checked, batch.rows)
    else:
        parsed = admission.labels(parse_labels(batch.rows, model.schema, arrived=arrived, times=times), batch.rows)
    if not batch.quarantine:
        require_all_good(parsed)
    return Delivery(model.name, batch.kind, arrived, parsed.good, parsed.refused, batch.key, batch.digest)


def refusal(model: str, kind: Kind, arrived: datetime, error: EventError) -> Delivery:
    """Return what is left of a batch that was refused: the count of its bad rows, by kind of event and field."""
    counted = Counter(refusal_reason(kind, row.field) for row in error.rows)
    return Delivery(model, kind, arrived, counted=counted)
