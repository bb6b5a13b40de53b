"""``columns.time_format`` holds for events as for the reference: JSON, NDJSON and Arrow, predictions and labels."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import example, given
from hypothesis import strategies as st

from driftline.config.load import load
from driftline.events import Schema, Task, parse_labels
from driftline.monitoring.event_times import times_read
from driftline.profiles.frame import times_of
from driftline.service.runtime import Service
from driftline.web.app import create_app
from driftline.web.requests import ARROW, JSON, NDJSON
from tests.support.churn import MODEL, START, write_config
from tests.support.steps import NOW, work

FORMATS = ["%d/%m/%Y %H:%M", "%Y%m%d%H%M%S", "%d.%m.%Y %H:%M:%S %z", "%d-%b-%y", "s", "ms", "us", "ns"]
OF_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC))
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())


def written(moment: datetime, time_format: str) -> str | int:
    moment = moment.replace(microsecond=0)
    if time_format in OF_UNITS:
        return int(moment.timestamp()) * OF_UNITS[time_format]
    return moment.strftime(time_format)


@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from(FORMATS))
def test_events_are_read_as_a_column_of_the_reference_is(moments: list[datetime], time_format: str) -> None:
    came = [written(moment, time_format) for moment in moments]
    read = times_read([{"time": one} for one in came], time_format).moments
    assert [read[one] for one in came] == times_of(pl.Series(came), time_format).to_list()


@given(st.lists(ANYTHING, max_size=8), st.sampled_from(FORMATS))
@example(["\ud800", float("nan"), float("inf"), 10**400, -(10**400), 1e19, 10**17, "9" * 30, "01/01/0001 00:00"], "s")
def test_whatever_comes_as_a_time_is_read_or_refused(came: list[Any], time_format: str) -> None:
    rows: list[Any] = [{"id": str(index), "label": 1.0, "time": time} for index, time in enumerate(came)]
    times = times_read([*rows, "no row", None, {}], time_format)
    parsed = parse_labels(rows, Schema(Task.REGRESSION), arrived=NOW, times=times)
    assert len(parsed.good) + len(parsed.refused) == len(rows)
    assert all(one.time.tzinfo is not None for one in parsed.good)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, Service]]:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("{time: time,", "{time: time, time_format: '%m/%d/%Y %H:%M',"))
    service = Service(load(config))
    yield TestClient(create_app(service)), service
    service.stop()


def body(rows: list[dict[str, Any]], content_type: str) -> bytes:
    if content_type == JSON:
        return json.dumps(rows).encode()
    if content_type == NDJSON:
        return "\n".join(map(json.dumps, rows)).encode()
    sink = io.BytesIO()
    pl.DataFrame(rows).write_ipc_stream(sink)
    return sink.getvalue()


@pytest.mark.parametrize("content_type", [JSON, NDJSON, ARROW])
def test_every_door_reads_times_by_the_format(served: tuple[TestClient, Service], content_type: str) -> None:
    client, service = served
    moments = [START + timedelta(days=1, hours=hour) for hour in range(3)]
    spelled = [f"{moments[0]:%m/%d/%Y %H:%M}", moments[1].isoformat(), f"{moments[2]:%m/%d/%Y %H:%M}"]
    rows = [
        {"id": f"{index}", "time": time, "prediction": 1, "features": {"age": 4.0, "plan": "pro"}}
        for index, time in enumerate(spelled)
    ]
    labels = [{"id": f"{index}", "label": 1, "time": time} for index, time in enumerate(spelled)]
    for kind, batch in (("predictions", rows), ("labels", labels)):
        answer = client.post(
            f"/api/v1/models/{MODEL}/{kind}", content=body(batch, content_type), headers={"Content-Type": content_type}
        )
        assert answer.status_code == 202, answer.text
    work(service)
    known = service.models[MODEL].log.known_rows()
    assert dict(zip(known["id"], known["time"], strict=True)) == {f"{i}": time for i, time in enumerate(moments)}


def test_a_time_that_is_not_written_so_is_refused_by_naming_the_format(served: tuple[TestClient, Service]) -> None:
    client, _ = served
    answer = client.post(f"/api/v1/models/{MODEL}/labels", json=[{"id": "a", "label": 1, "time": "31/01/2024 12:00"}])
    (row,) = answer.json()["error"]["rows"]
    assert answer.status_code == 422 and row["field"] == "time"
    assert "came '31/01/2024 12:00'; allowed is time_format '%m/%d/%Y %H:%M', RFC 3339" in row["reason"]
