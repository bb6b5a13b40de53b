"""Bodies over a limit: refused before the memory is taken, and said in words."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from driftline.errors import DataError
from driftline.net.limits import Limits, QueueFullError, TooLargeError
from driftline.service.runtime import Service
from driftline.web.app import create_app
from driftline.web.decode import Bodies
from driftline.web.requests import JSON, NDJSON, rows_of
from tests.support.churn import MODEL, prediction

LIMITS = Limits()
PREDICTIONS = f"/api/v1/models/{MODEL}/predictions"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]), st.booleans())
def test_lines_and_arrays_say_the_same(rows: list[Any], end: bytes, marked: bool) -> None:
    mark = b"\xef\xbb\xbf" if marked else b""
    lines = mark + end.join(msgspec.json.encode(row) for row in rows) + end
    assert rows_of(lines, NDJSON, LIMITS) == rows_of(mark + msgspec.json.encode(rows), JSON, LIMITS)


BOMBS = {
    "numbers": b"[" + b"0," * 15_000_000 + b"0]",
    "objects": b"[" + b"{}," * 10_000_000 + b"{}]",
    "lists": b"[" + b"[]," * 10_000_000 + b"[]]",
    "one wide row": b"[[" + b"0," * 15_000_000 + b"0]]",
    "rows": b"[" + b"0," * 200_000 + b"0]",
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("content_type", [JSON, NDJSON])
def test_json_that_would_take_much_more_memory_than_its_text_is_refused(kind: str, content_type: str) -> None:
    body = BOMBS[kind]
    if content_type == NDJSON:
        body = body[1:-1].replace(b"},", b"}\n").replace(b"],", b"]\n")
        body = body.replace(b"0,", b"0\n") if kind in ("numbers", "rows") else body
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="limits"):
            rows_of(body, content_type, LIMITS)
        assert tracemalloc.get_traced_memory()[1] < LIMITS.unpacked_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
def test_as_many_rows_as_are_allowed_are_taken_and_one_more_is_not(content_type: str) -> None:
    row, between = b'{"prediction":1,"features":{"age":4.5}}', b"," if content_type == JSON else b"\n"
    limits = replace(LIMITS, rows=1_000)

    def body(rows: int) -> bytes:
        joined = between.join([row] * rows)
        return b"[" + joined + b"]" if content_type == JSON else joined

    assert len(rows_of(body(1_000), content_type, limits)) == 1_000
    with pytest.raises(TooLargeError, match="1,001 rows"):
        rows_of(body(1_001), content_type, limits)


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b" ", b"\t", b"\x0b", b"\x0c", b"a", b"\xc2\xa0", b'{"a": 1}', b"[1,\n2]"]))
)
def test_a_line_is_what_stands_between_line_ends_without_blanks_around_it(parts: list[bytes]) -> None:
    body = b"".join(parts)
    lines = [line.strip() for line in body.replace(b"\r", b"\n").split(b"\n")]
    assert rows_of(body, NDJSON, LIMITS) == [row for line in lines if line for row in rows_of(line, NDJSON, LIMITS)]
    assert len(rows_of(body, NDJSON, LIMITS)) == sum(map(bool, lines))


@pytest.mark.parametrize("blank", [b"\n", b" \r\n", b"\r", b"\t\x0b \n"])
def test_blank_lines_cost_no_work_each(blank: bytes) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        assert rows_of(blank * 100_000, NDJSON, LIMITS) == []
    finally:
        sys.setprofile(None)
    assert calls < 1_000


def test_empty_lines_are_no_rows_and_take_no_memory() -> None:
    tracemalloc.start()
    try:
        body = b"\n" * 20_000_000
        tracemalloc.reset_peak()
        assert rows_of(body, NDJSON, LIMITS) == []
        assert tracemalloc.get_traced_memory()[1] < len(body) + 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"[" * 10**6, b'{"a":' * 10**6, b'[{"id":' + b"9" * 10**6 + b"}]", b'["\\ud800"]'])
def test_json_that_no_decoder_likes_is_rows_or_an_error_in_words(body: bytes) -> None:
    for content_type in (JSON, NDJSON):
        said = ""
        try:
            rows_of(body, content_type, LIMITS)
        except DataError as error:
            said = str(error)
        assert len(said) < 500


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def small(service: Service, **limits: Any) -> TestClient:
    service.config = replace(service.config, limits=replace(service.config.limits, **limits))
    return TestClient(create_app(service), raise_server_exceptions=False)


@pytest.mark.parametrize("stated", [True, False], ids=["its length is stated", "it comes in chunks"])
def test_a_body_over_the_limit_is_413_and_is_not_read_to_its_end(service: Service, stated: bool) -> None:
    client = small(service, body_bytes=1_000)
    sent = 0

    def chunks() -> Any:
        nonlocal sent
        while sent < 10**6:
            sent += 500
            yield b"x" * 500

    headers = {"Content-Type": JSON} | ({"Content-Length": str(10**6)} if stated else {})
    answer = client.post(PREDICTIONS, content=b"x" * 10**6 if stated else chunks(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "TooLargeError")
    assert "limits.body in driftline.yaml" in answer.json()["error"]["message"]


def test_a_batch_over_a_limit_is_413_and_nothing_of_it_is_stored(service: Service) -> None:
    client = small(service, rows=2)
    rows = [prediction(str(place), 0.1, said=1) for place in range(3)]
    for query in ("", "?on_error=quarantine"):
        answer = client.post(PREDICTIONS + query, json=rows)
        assert (answer.status_code, "3 rows" in answer.json()["error"]["message"]) == (413, True)
    assert service.inbox.waiting_events() == {}
    assert client.post(PREDICTIONS, json=rows[:2]).status_code == 202


def test_all_bodies_together_are_bounded_and_room_comes_back() -> None:
    bodies = Bodies(100)

    def request(size: int) -> Request:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        return Request({"type": "http", "headers": [], "method": "POST"}, receive)

    async def run() -> None:
        held = [bodies.hold(request(100)) for _ in range(8)]
        for one in held:
            await one.__aenter__()
        with pytest.raises(QueueFullError):
            async with bodies.hold(request(1)):
                pass
        await held[0].__aexit__(None, None, None)
        async with bodies.hold(request(100)) as body:
            assert len(body) == 100

    asyncio.run(run())


@pytest.mark.parametrize("key", ["", "x" * 257, "a\x1b[31m"])
def test_a_key_that_is_no_name_is_refused(service: Service, key: str) -> None:
    answer = small(service).post(PREDICTIONS, json=[], headers={"Idempotency-Key": key.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]["message"][:15]) == (400, "Idempotency-Key")
