"""The ASGI middleware: what an application answers is logged, and the application does not notice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.client import Monitor
from driftline.client.asgi import ID_HEADER, PredictionMiddleware
from driftline.errors import UsageError
from tests.support.sdk_server import SLOW_SECONDS, Server, monitoring, served

HEADER = ID_HEADER.decode()


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as one:
        yield one


def application(monitor: Monitor, **settings: Any) -> FastAPI:
    app = FastAPI()

    @app.post("/predict")
    def predict(features: dict[str, Any]) -> Any:
        if features.get("wind") == 99:
            raise HTTPException(409, "a storm")
        return {"prediction": "rain", "score": {"rain": 0.7, "sun": 0.3}, **features.get("more", {})}

    @app.post("/many")
    async def many(rows: list[dict[str, float]]) -> list[int]:
        return [int(row["wind"] > 3) for row in rows][: len(rows) if len(rows) < 4 else 1]

    @app.post("/inside")
    def inside(body: dict[str, Any]) -> JSONResponse:
        return JSONResponse({"data": {"class": body["inputs"]["wind"]}}, headers={HEADER: "theirs"})

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        await request.body()
        return StreamingResponse(iter([b'{"pre', b'diction": 1}']))

    @app.post("/text")
    def text() -> PlainTextResponse:
        return PlainTextResponse("rain")

    @app.get("/predict")
    def page() -> str:
        return "a form"

    paths = ["/predict", "/many", "/inside", "/stream", "/text"]
    app.add_middleware(PredictionMiddleware, monitor=monitor, **({"paths": paths} | settings))
    return app


def test_answers_are_logged_with_an_id_that_the_caller_learns(server: Server) -> None:
    with monitoring(server) as monitor, TestClient(application(monitor)) as client:
        answer = client.post("/predict", json={"wind": 4.1})
        assert answer.json() == {"prediction": "rain", "score": {"rain": 0.7, "sun": 0.3}}
        assert uuid.UUID(answer.headers[HEADER]).version == 7
        own = client.post("/predict", json={"wind": 1, "more": {"id": "order-1", "version": "v9"}})
        assert own.headers[HEADER] == "order-1"
        streamed = client.post("/stream", json={"wind": 2})
        assert client.post("/predict", json={"wind": 99}).headers.get(HEADER) is None
        assert client.get("/predict").text == '"a form"'
        assert monitor.flush(SLOW_SECONDS) and not monitor.stats.dropped
    first, second, third = server.rows("predictions")
    assert (first["id"], first["features"], first["prediction"]) == (answer.headers[HEADER], {"wind": 4.1}, "rain")
    assert first["score"] == {"rain": 0.7, "sun": 0.3} and first["latency_seconds"] > 0
    assert (second["id"], second["version"]) == ("order-1", "v9")
    assert (third["id"], third["prediction"]) == (streamed.headers[HEADER], 1)


@pytest.mark.parametrize(
    ("time", "sent"), [("2013-01-01T12:00:00-08:00", "2013-01-01T20:00:00Z"), ("2013-01-01", "2013-01-01T00:00:00Z")]
)
def test_the_time_in_an_answer_is_that_of_the_prediction(server: Server, time: str, sent: str) -> None:
    """JSON has no moments: it comes as a text."""
    with monitoring(server) as monitor:
        TestClient(application(monitor)).post("/predict", json={"wind": 1.0, "more": {"time": time}})
        assert monitor.flush(SLOW_SECONDS)
    [row] = server.rows("predictions")
    assert row["time"] == sent


def test_a_time_that_is_none_is_counted(server: Server) -> None:
    with monitoring(server) as monitor:
        TestClient(application(monitor)).post("/predict", json={"wind": 1.0, "more": {"time": "noon"}})
        monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"cannot be encoded": 1}


def test_lists_are_logged_item_by_item(server: Server) -> None:
    with monitoring(server) as monitor, TestClient(application(monitor)) as client:
        answer = client.post("/many", json=[{"wind": 1.0}, {"wind": 5.0}])
        client.post("/many", json=[{"wind": 1.0}] * 5)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"features and results do not pair": 1}
    assert server.ids() == [f"{answer.headers[HEADER]}-{number}" for number in range(2)]
    assert [row["prediction"] for row in server.rows("predictions")] == [0, 1]


def test_parts_of_the_bodies_are_picked_and_an_id_of_the_application_is_kept(server: Server) -> None:
    with monitoring(server) as monitor:
        picks = {"features": lambda body: body["inputs"], "result": lambda body: body["data"]["class"]}
        client = TestClient(application(monitor, **picks))
        assert client.post("/inside", json={"inputs": {"wind": 3}}).headers[HEADER] == "theirs"
        assert client.post("/predict", json={"wind": 3}).status_code == 200
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"body cannot be read: KeyError": 1}
    [row] = server.rows("predictions")
    assert (row["id"], row["features"], row["prediction"]) == ("theirs", {"wind": 3}, 3)


@pytest.mark.parametrize(
    ("path", "most_bytes", "reason"),
    [("/text", 2**20, "body is no JSON"), ("/predict", 20, "body too large")],
)
def test_what_cannot_be_logged_is_counted_and_answered(path: str, most_bytes: int, reason: str) -> None:
    with monitoring("http://127.0.0.1:9") as monitor:
        client = TestClient(application(monitor, most_bytes=most_bytes))
        assert client.post(path, json={"wind": 1.0}).status_code == 200
        assert monitor.stats.dropped == {reason: 1}


@settings(max_examples=40)
@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(200, 599))
def test_no_body_changes_an_answer_or_raises(came: bytes, went: bytes, status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        assert await request.body() == came
        await Response(went, status)(scope, receive, send)

    async def call(target: Any) -> httpx.Response:
        transport = httpx.ASGITransport(target)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/predict", content=came)

    monitor = Monitor("weather", "http://127.0.0.1:9", flush_seconds=3600.0)
    plain, logged = asyncio.run(call(app)), asyncio.run(call(PredictionMiddleware(app, monitor)))
    monitor.close(0.0)
    assert (plain.status_code, plain.content) == (logged.status_code, logged.content)
    assert set(logged.headers.items()) - set(plain.headers.items()) <= {(HEADER, logged.headers.get(HEADER))}
    assert monitor.stats.logged == (200 <= status < 300)


def test_an_exception_before_the_body_is_the_servers_to_answer(server: Server) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError

    with monitoring(server) as monitor:
        client = TestClient(PredictionMiddleware(app, monitor), raise_server_exceptions=False)
        assert client.post("/predict").status_code == 500
        assert monitor.stats.logged == 0


def test_the_end_of_the_application_sends_what_waits(server: Server) -> None:
    with monitoring(server, flush_seconds=3600.0) as monitor:
        with TestClient(application(monitor)) as client:
            client.post("/predict", json={"wind": 4.1})
            assert not server.requests
        assert len(server.ids()) == 1


@pytest.mark.parametrize("paths", ["/predict", ["predict"], [5]])
def test_paths_that_are_none_are_refused(paths: Any) -> None:
    with pytest.raises(UsageError, match="allowed is a list of paths"):
        PredictionMiddleware(lambda *_: None, Monitor("weather"), paths)  # type: ignore[arg-type,return-value]


def test_generators_are_refused_in_words() -> None:
    async def later(features: Any) -> Any:
        yield 1

    class Model:
        def __call__(self, features: Any) -> Any:
            yield 1

    with monitoring("http://127.0.0.1:9") as monitor:
        for function in (later, Model(), lambda features: (yield features)):
            with pytest.raises(UsageError, match="is a generator, whose result is not known when it returns"):
                monitor.watch(function)
