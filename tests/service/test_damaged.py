"""Bytes of waiting batches that are damaged on the disk: set aside with the reason, never read as another value."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import DataError
from driftline.events import Label, Prediction
from driftline.service.config import load
from driftline.service.http import create_app
from driftline.service.runtime import Service
from driftline.store.sealed import sealed, unsealed
from tests.service.conftest import MODEL, label, prediction, write_config
from tests.service.steps import NOW, deliver, work

EVENTS = [
    Prediction(
        id=f"{index}",
        time=NOW,
        version="v\xc1",
        features={"age": index / 7, "plan": None},
        prediction="1",
        score={"1": 0.25},
        latency_seconds=None,
    )
    for index in range(3)
]
LABELS = [Label(id="a", label=float("1.5"), time=NOW), Label(id="b", label="yes", time=NOW)]
SEALED = sealed(EVENTS)


def test_what_was_sealed_is_read_again_and_so_is_what_an_earlier_release_wrote() -> None:
    for kind, events in (("predictions", EVENTS), ("labels", LABELS), ("predictions", [])):
        assert unsealed(sealed(events), kind) == events
        assert unsealed(msgspec.msgpack.encode(events), kind) == events


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_no_flipped_bit_is_read_as_anything(place: int, bit: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1 << bit
    with pytest.raises(DataError, match="damaged"):
        unsealed(bytes(damaged), "predictions")


@given(st.binary(max_size=60) | st.integers(0, len(SEALED)).map(lambda end: SEALED[:end]), st.text(max_size=12))
def test_no_bytes_break_the_reading(body: bytes, kind: str) -> None:
    for one in (kind, "predictions", "labels"):
        try:
            found = unsealed(body, one)
        except DataError:
            continue
        assert found == [] or body == SEALED


def flip(data: Path, where: Callable[[bytes], int]) -> int:
    """Flip a bit of the oldest waiting batch; return its number."""
    with sqlite3.connect(data / "state.db") as database:
        seq, body = database.execute("SELECT seq, body FROM inbox ORDER BY seq LIMIT 1").fetchone()
        damaged = bytearray(body)
        damaged[where(body)] ^= 0x10
        database.execute("UPDATE inbox SET body = ? WHERE seq = ?", (bytes(damaged), seq))
    database.close()
    return int(seq)


WHERE: dict[str, Callable[[bytes], int]] = {
    "structure": lambda body: 0,
    "a number": lambda body: body.index(msgspec.msgpack.encode(40.5)) + 3,  # it stays a number: another one
    "the seal": lambda body: len(body) - 1,
}


@pytest.mark.parametrize("where", WHERE)
def test_a_damaged_batch_is_set_aside_with_its_bytes_and_the_rest_goes_on(
    tmp_path: Path, service: Service, where: str
) -> None:
    bad = [prediction(f"bad-{index}", 0.1, said=1, age=40.5) for index in range(3)]
    deliver(service, "predictions", bad)
    deliver(service, "predictions", [prediction("good", 0.2, said=1)])
    deliver(service, "labels", [label("good", 0.3, truth=1)])
    flip(tmp_path / "data", WHERE[where])
    work(service)
    assert service.models[MODEL].log.known_rows()["id"].to_list() == ["good"]
    assert service.inbox.waiting_events() == {}
    (aside,) = service.inbox.quarantined(MODEL, most=10)
    assert "the stored bytes of this batch of 3 events are damaged" in aside.reason
    kept = base64.b64decode(json.loads(bytes(aside.row))["body"])
    assert b"bad-1" in kept
    client = TestClient(create_app(service))
    assert client.get("/ready").json()["warnings"] == {"poisoned": {MODEL: 3}}
    assert "driftline_poisoned_events_total{" in client.get("/metrics").text
    (shown,) = client.get(f"/api/v1/models/{MODEL}/quarantine").json()["rows"]
    assert "damaged" in shown["reason"]


def test_a_start_that_takes_the_inbox_anew_sets_it_aside_too(tmp_path: Path) -> None:
    """A state that is older than the log recalls from it, and gives what waits new numbers."""
    config = load(write_config(tmp_path))
    service = Service(config)
    deliver(service, "predictions", [prediction("first", 0.1, said=1)])
    work(service)
    deliver(service, "predictions", [prediction("bad", 0.1, said=1)])
    deliver(service, "predictions", [prediction("good", 0.2, said=1)])
    service.stop()
    flip(tmp_path / "data", WHERE["structure"])
    with sqlite3.connect(tmp_path / "data" / "state.db") as database:
        database.execute("UPDATE models SET log_marks = ?", (msgspec.msgpack.encode({}),))
    database.close()
    again = Service(config)
    try:
        again._rebuild(MODEL)
        work(again)
        assert sorted(again.models[MODEL].log.known_rows()["id"]) == ["first", "good"]
        assert len(again.inbox.quarantined(MODEL, most=10)) == 1
    finally:
        again.stop()
