"""Drives a service without its threads: each test decides what happens when."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from driftline.monitoring.accept import Batch, checked_rows
from driftline.monitoring.admission import Admission
from driftline.monitoring.alerting import AlertEvent
from driftline.monitoring.draining import drain
from driftline.monitoring.judging import judge_windows, refresh_labels
from driftline.monitoring.model import MonitoredModel
from driftline.retrain.options import RetrainConfig
from driftline.service.runtime import Service
from driftline.store.state import State
from tests.support.churn import label, prediction

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def deliver(
    service: Service, kind: Literal["predictions", "labels"], rows: Sequence[Any], key: str | None = None
) -> int:
    """Do what the HTTP route does."""
    model = next(iter(service.models.values()))
    batch = Batch(kind, rows, key, msgspec.json.encode(rows))
    admission = Admission(model.schema, (), ())
    return service.inbox.accept(checked_rows(model, admission, batch, NOW, lambda: str(uuid.uuid4())))


def work(service: Service) -> list[AlertEvent]:
    """Do what the worker does in one round."""
    events: list[AlertEvent] = []
    for model in service.models.values():
        while drain(model, service.inbox, service.state):
            pass
        refresh_labels(model, service.state)
        events += judge_windows(model, service.state, NOW, lambda work, events, now: None)
    return events


def retrained(service: Service) -> tuple[State, MonitoredModel, RetrainConfig | None]:
    """What a person's request for a challenger of the one model takes."""
    [model] = service.models.values()
    return service.state, model, service.config.retrain.get(model.name)


def a_day(day: int, *, right: int, wrong: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A day of predictions, half of either class, and its labels two hours later."""
    predictions, labels = [], []
    for index in range(right + wrong):
        said = index % 2
        truth = said if index < right else 1 - said
        id = f"{day}-{index}"
        predictions.append(prediction(id, day + index / 1000, said=said, score=0.9 if said else 0.1))
        labels.append(label(id, day + 0.5, truth=truth))
    return predictions, labels


def send_day(service: Service, day: int, *, right: int, wrong: int) -> None:
    predictions, labels = a_day(day, right=right, wrong=wrong)
    deliver(service, "predictions", predictions)
    deliver(service, "labels", labels)
