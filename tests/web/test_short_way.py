"""What asks by the short way to the doors of events is answered as by the usual way, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from driftline.access.callers import Role
from driftline.access.options import Auth
from driftline.access.tokens import create_token
from driftline.config.load import load
from driftline.errors import EventError, RefusedRow, StorageError
from driftline.net.limits import QueueFullError
from driftline.service.runtime import Service
from driftline.web.access import Gate
from driftline.web.app import create_app
from driftline.web.events import EventDoor, ShortWay
from tests.support.churn import MODEL, prediction, write_config

ROWS = [prediction("a", 0.1, said=1)]
OTHERS_QUERY = "?another=1"
"""What the short way does not know, and the usual way ignores."""

SAID = ("content-type", "www-authenticate", "retry-after", "allow", "location", "link")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(load(write_config(tmp_path_factory.mktemp("short"))))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    app = create_app(service, Gate(service.state, Auth(), required=True))
    return TestClient(app, follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def tokens(service: Service) -> dict[str, dict[str, str]]:
    now = datetime.now(UTC)
    made = {role.value: create_token(service.state, role.value, role, now, by="root") for role in Role}
    made["elsewhere"] = create_token(service.state, "elsewhere", Role.ADMIN, now, models=["other"], by="root")
    long_ago = now - timedelta(days=2)
    made["expired"] = create_token(service.state, "old", Role.ADMIN, long_ago, lasts=timedelta(days=1), by="root")
    made["none such"] = "dl_nothing"
    found = {name: {"Authorization": f"Bearer {token}"} for name, token in made.items()}
    return found | {"nobody": {}, "a cookie": {"Cookie": f"driftline={made['admin']}"}, "basic": {"Authorization": "x"}}


def said(answer: Any) -> tuple[Any, ...]:
    return answer.status_code, answer.content, {name: answer.headers.get(name) for name in SAID}


def both(client: TestClient, method: str, path: str, **asked: Any) -> tuple[Any, Any]:
    return said(client.request(method, path, **asked)), said(client.request(method, path + OTHERS_QUERY, **asked))


WHO = ("read", "write", "admin", "elsewhere", "expired", "none such", "nobody", "a cookie", "basic")


@pytest.mark.parametrize("kind", ["predictions", "labels"])
@pytest.mark.parametrize("who", WHO)
def test_who_asks_is_asked_as_ever(client: TestClient, tokens: dict[str, Any], who: str, kind: str) -> None:
    rows = ROWS if kind == "predictions" else [{"id": "a", "label": 1}]
    for model in (MODEL, "other", "none"):
        short, usual = both(client, "POST", f"/api/v1/models/{model}/{kind}", json=rows, headers=tokens[who])
        assert short == usual
        assert (short[0] == 202) is (model == MODEL and who in ("write", "admin"))


PATHS = [
    "//api/v1/models/{}/predictions",
    "/api/v1/models//predictions",
    "/api/v1/models/{}/predictions/",
    "/api/v1/models/{}//predictions",
    "/api/v1/models/{}%2Fpredictions",
    "/api/v1/models/%2e%2e/predictions",
    "/api/v1/models/a%2Fb/predictions",
    "/api/v1/models/{}%00/predictions",
    "/api/v1/models/{}%0A/predictions",
    "/api/v1/models/%1B%5B31m/predictions",
    "/api/v1/models/%ff%fe/predictions",
    "/api/v1/models/{}/predictions%0A",
    "/API/v1/models/{}/predictions",
    "/api/v1/models/" + "x" * 5000 + "/labels",
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_odd_paths_lead_where_they_ever_led(client: TestClient, tokens: dict[str, Any], path: str) -> None:
    for who in ("write", "nobody"):
        short, usual = both(client, "POST", path.format(MODEL), json=ROWS, headers=tokens[who])
        location = short[2].pop("location"), usual[2].pop("location")
        assert short == usual
        assert (location[0] or "") + (OTHERS_QUERY if location[0] else "") == (location[1] or "")
        assert short[0] < 500


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_taken(client: TestClient, tokens: dict[str, Any], method: str) -> None:
    short, usual = both(client, method, f"/api/v1/models/{MODEL}/labels", headers=tokens["admin"])
    assert short == usual
    assert short[0] == 405


ASKED: dict[str, dict[str, Any]] = {
    "no type": {"content": b"[]"},
    "another type": {"content": b"[]", "headers": {"Content-Type": "text/csv"}},
    "another coding": {"json": [], "headers": {"Content-Encoding": "br"}},
    "no gzip": {"json": [], "headers": {"Content-Encoding": "gzip"}},
    "no JSON": {"content": b"[{", "headers": {"Content-Type": "application/json"}},
    "no rows": {"json": {"a": 1}},
    "a bad row": {"json": [{"id": "\x1b[31m", "prediction": "no"}]},
    "no frame": {"content": b"no", "headers": {"Content-Type": "application/vnd.apache.parquet"}},
    "an empty key": {"json": [], "headers": {"Idempotency-Key": ""}},
    "two keys": {"json": [], "headers": [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]},
    "too many bytes": {"content": b"[", "headers": {"Content-Type": "application/json", "Content-Length": "9" * 30}},
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_refused_is_refused_in_the_same_words(client: TestClient, tokens: dict[str, Any], name: str) -> None:
    asked = dict(ASKED[name])
    headers = [*dict(asked.pop("headers", {})).items()] if name != "two keys" else asked.pop("headers")
    asked["headers"] = [*headers, *tokens["write"].items()]
    short, usual = both(client, "POST", f"/api/v1/models/{MODEL}/predictions", **asked)
    assert short == usual
    assert 400 <= short[0] < 500
    assert b"\x1b" not in short[1]


@pytest.mark.parametrize("query", ["on_error=quarantine", "on_error=refuse", "on_error=", "on_error=x", "on_error=%71"])
def test_on_error_is_read_as_ever(client: TestClient, tokens: dict[str, Any], query: str) -> None:
    path, asked = f"/api/v1/models/{MODEL}/predictions?{query}", {"json": [{}], "headers": tokens["write"]}
    assert said(client.post(path, **asked)) == said(client.post(f"{path}&another=1", **asked))


FAULTS = [
    KeyError("a fault of ours"),
    OSError(28, "No space left on device"),
    MemoryError(),
    RecursionError(),
    sa.exc.OperationalError("INSERT …", {}, Exception("database or disk is full")),
    sa.exc.TimeoutError("QueuePool limit reached"),
    StorageError("away"),
    QueueFullError("full"),
    EventError([RefusedRow(0, "id", "is empty")]),
    pl.exceptions.PanicException("a panic of Polars"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_faults_are_answered_alike(
    client: TestClient, tokens: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    async def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(EventDoor, "post", fail)
    short, usual = both(client, "POST", f"/api/v1/models/{MODEL}/labels", json=[], headers=tokens["write"])
    assert short == usual
    assert short[0] == {EventError: 422, QueueFullError: 429, StorageError: 503}.get(
        type(fault), 503 if isinstance(fault, sa.exc.SQLAlchemyError) else 500
    )


def test_the_short_way_is_taken_and_the_usual_one_with_another_query(
    client: TestClient, tokens: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    pass_on = ShortWay.__call__

    async def watched(self: ShortWay, scope: Any, receive: Any, send: Any) -> None:
        await pass_on(self, scope, receive, send)
        asked.append(type(scope["route"]).__name__)

    monkeypatch.setattr(ShortWay, "__call__", watched)
    both(client, "POST", f"/api/v1/models/{MODEL}/labels", json=[], headers=tokens["write"])
    assert asked == ["_Route", "APIRoute"]
