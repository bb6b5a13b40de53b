"""The same events by every door: the same rows in the inbox, and the same answer by the short way and the usual one."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import cramjam
import polars as pl
import pytest
from fastapi.testclient import TestClient

from driftline.service.runtime import Service
from driftline.web.app import create_app
from driftline.web.requests import ARROW, JSON, NDJSON, PARQUET
from tests.support.churn import MODEL, label, prediction

PREDICTIONS, LABELS = (f"/api/v1/models/{MODEL}/{kind}" for kind in ("predictions", "labels"))
ROWS = [
    prediction(str(place), 0.1 * place, said=place % 2, age=30.5 + place) | {"score": {"1": 0.25}} for place in range(5)
]
ROWS[1]["features"] = {"plan": "basic"}
ROWS[2]["score"] = {"1": 1, "0": None}
ROWS[3] |= {"latency_seconds": 0.5, "version": "v2"}
TRUTHS = [label(str(place), 1, truth=place % 2) for place in range(5)]


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(create_app(service), raise_server_exceptions=False)


def frame_of(rows: list[dict[str, Any]], *, structs: bool) -> pl.DataFrame:
    flat = []
    for row in rows:
        scores = row.get("score", {})
        one = {name: value for name, value in row.items() if name not in ("features", "score")}
        one |= {f"feature.{name}": value for name, value in row.get("features", {}).items()}
        flat.append(one | {f"score.{name}": value for name, value in scores.items()})
    frame = pl.DataFrame(flat, infer_schema_length=None).with_columns(pl.col("time").str.to_datetime(time_zone="UTC"))
    if not structs:
        return frame
    inner = [name for name in frame.columns if name.startswith("feature.")]
    packed = pl.struct(pl.col(name).alias(name.removeprefix("feature.")) for name in inner).alias("features")
    return frame.with_columns(packed).drop(inner)


def body_of(rows: list[dict[str, Any]], form: str) -> tuple[bytes, str]:
    if form == JSON:
        return json.dumps(rows).encode(), JSON
    if form == NDJSON:
        return "\n".join(map(json.dumps, rows)).encode(), NDJSON
    sink = io.BytesIO()
    frame = frame_of(rows, structs=form == "structs")
    if form == PARQUET:
        frame.write_parquet(sink)
        return sink.getvalue(), PARQUET
    frame.write_ipc_stream(sink)
    return sink.getvalue(), ARROW


PACK = {"": lambda body: body, "gzip": gzip.compress, "zstd": lambda body: bytes(cramjam.zstd.compress(body))}


def test_the_same_events_by_every_door_are_the_same_rows(client: TestClient, service: Service) -> None:
    sent = [
        (path, rows, form, coding)
        for path, rows in ((PREDICTIONS, ROWS), (LABELS, TRUTHS))
        for form in (JSON, NDJSON, ARROW, "structs", PARQUET)
        for coding in PACK
        if not (path == LABELS and form == "structs")
    ]
    for path, rows, form, coding in sent:
        body, content_type = body_of(rows, form)
        headers = {"Content-Type": content_type} | ({"Content-Encoding": coding} if coding else {})
        answer = client.post(path, content=PACK[coding](body), headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 5}), (form, coding, answer.text)
    taken = service.inbox.take(MODEL, most_events=10**6)
    assert len(taken) == len(sent)
    predictions = [row.predictions for row in taken if row.kind == "predictions"]
    labels = [row.labels for row in taken if row.kind == "labels"]
    assert all(one == predictions[0] for one in predictions)
    assert all(one == labels[0] for one in labels)
    by_column = sum(not isinstance(row.events, list) for row in taken)
    assert by_column >= len(sent) - 1  # the first names versions that nobody knew, and is looked at row by row


def test_a_packed_batch_of_any_size_is_taken(client: TestClient, service: Service) -> None:
    rows = [prediction(str(place), 0.1, said=1) for place in range(20_000)]
    body = json.dumps(rows).encode()
    assert len(body) > 2_000_000
    for coding in ("gzip", "zstd"):
        headers = {"Content-Type": JSON, "Content-Encoding": coding}
        assert client.post(PREDICTIONS, content=PACK[coding](body), headers=headers).json() == {"accepted": 20_000}
    assert service.inbox.waiting_events() == {MODEL: 40_000}


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_packed_bomb_is_413_and_bad_rows_are_told_as_ever(client: TestClient, coding: str) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": coding}
    answer = client.post(PREDICTIONS, content=PACK[coding](b" " * 300_000_000), headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "TooLargeError")
    answer = client.post(PREDICTIONS, content=PACK[coding](json.dumps([ROWS[0], {}]).encode()), headers=headers)
    assert (answer.status_code, answer.json()["error"]["rows"][0]["index"]) == (422, 1)


def test_a_key_knows_its_batch_packed_or_not(client: TestClient, service: Service) -> None:
    body, headers = json.dumps(ROWS).encode(), {"Content-Type": JSON, "Idempotency-Key": "k"}
    assert client.post(PREDICTIONS, content=body, headers=headers).status_code == 202
    packed = client.post(PREDICTIONS, content=gzip.compress(body), headers=headers | {"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()) == (202, {"accepted": 5})
    assert client.post(PREDICTIONS, content=body[:-1] + b" ]", headers=headers).status_code == 409
    assert service.inbox.waiting_events() == {MODEL: 5}


ASKED: list[tuple[str, dict[str, Any]]] = [
    (PREDICTIONS, {"json": ROWS}),
    (LABELS, {"json": TRUTHS}),
    (PREDICTIONS, {"json": [{"prediction": 7}]}),
    (PREDICTIONS, {"content": b"{"}),
    (PREDICTIONS, {"content": b"[]", "headers": {"Content-Type": "text/plain"}}),
    (PREDICTIONS, {"json": [], "headers": {"Idempotency-Key": ""}}),
    (PREDICTIONS, {"json": [], "headers": {"Content-Encoding": "br"}}),
    ("/api/v1/models/nope/predictions", {"json": []}),
    ("/api/v1/models/%63hurn/labels", {"json": TRUTHS}),
]


@pytest.mark.parametrize("place", range(len(ASKED)))
@pytest.mark.parametrize("on_error", ["refuse", "quarantine"])
def test_the_short_way_answers_as_the_usual_one(client: TestClient, place: int, on_error: str) -> None:
    path, request = ASKED[place]
    request = {**request, "headers": {"Content-Type": JSON, **request.get("headers", {})}}
    short = client.post(f"{path}?on_error={on_error}", **request)
    usual = client.post(f"{path}?on_error={on_error}&usual=1", **request)
    assert (short.status_code, short.json()) == (usual.status_code, usual.json())
    known = {"content-type", "content-length", "retry-after"}
    assert {k: v for k, v in short.headers.items() if k in known} == {
        k: v for k, v in usual.headers.items() if k in known
    }


def test_another_way_to_treat_errors_is_refused(client: TestClient) -> None:
    assert client.post(f"{PREDICTIONS}?on_error=ignore", json=ROWS).status_code == 400
    assert client.get(PREDICTIONS).status_code == 405
