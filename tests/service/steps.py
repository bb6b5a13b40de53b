"""Drives a service without its threads: each test decides what happens when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from driftline.events import parse_labels, parse_predictions, require_all_good
from driftline.service.alerting import AlertEvent
from driftline.service.draining import drain
from driftline.service.judging import judge_windows, refresh_labels
from driftline.service.runtime import Service
from driftline.store.inbox import Delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def deliver(
    service: Service, kind: Literal["predictions", "labels"], rows: Sequence[Any], key: str | None = None
) -> int:
    """Do what the HTTP route does."""
    model = next(iter(service.models.values()))
    parse = parse_predictions if kind == "predictions" else parse_labels
    parsed = parse(rows, model.schema, arrived=NOW)
    require_all_good(parsed)
    body = msgspec.json.encode(rows)
    return service.inbox.accept(Delivery(model.name, kind, NOW, parsed.good, (), key, body))


def work(service: Service) -> list[AlertEvent]:
    """Do what the worker does in one round."""
    events: list[AlertEvent] = []
    for model in service.models.values():
        while drain(model, service.inbox, service.state):
            pass
        refresh_labels(model, service.state)
        events += judge_windows(model, service.state, NOW, lambda work, events, now: None)
    return events
