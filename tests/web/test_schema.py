"""The API as its OpenAPI describes it, by schemathesis: whatever is sent, by whomever, is answered and never a fault.

A few requests of each operation here; many by ``make fuzz`` (``DRIFTLINE_FUZZ_EXAMPLES``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode

from driftline.access.callers import Role
from driftline.access.options import Auth
from driftline.access.tokens import create_token
from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.web.access import Gate
from driftline.web.app import create_app
from driftline.web.numbered import numbered
from tests.support.churn import MODEL, prediction, write_config
from tests.support.steps import deliver, send_day, work

EXAMPLES = int(os.environ.get("DRIFTLINE_FUZZ_EXAMPLES", "6"))
OPEN = {"/health", "/ready"}
EVENTS = {"/api/v1/models/{model}/predictions", "/api/v1/models/{model}/labels"}
HANG_SECONDS = 20
CALLERS = (None, "dl_unknown", *(role.value for role in Role))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a window, a firing alert and rows that were set aside."""
    more = "    retrain: {run: {function: 'train.py:train'}, least_labels: 1}\n"
    config = write_config(tmp_path_factory.mktemp("schema"))
    config.write_text(config.read_text().replace("storage: ./data", f"{more}storage: ./data"))
    service = Service(load(config))
    send_day(service, 0, right=30, wrong=30)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def tokens(service: Service) -> dict[str, str]:
    return {role.value: create_token(service.state, role.value, role, datetime.now(UTC), by="root") for role in Role}


def client_of(service: Service, *, required: bool) -> TestClient:
    app = numbered(create_app(service, Gate(service.state, Auth(), required=required)))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture(scope="module")
def operations(service: Service) -> dict[str, APIOperation]:
    """Each operation of the OpenAPI that the service answers with, by method and path."""
    schema = schemathesis.openapi.from_dict(client_of(service, required=False).get("/api/openapi.json").json())
    return {f"{one.ok().method.upper()} {one.ok().path}": one.ok() for one in schema.get_all_operations()}


def sent(client: TestClient, case: Case, model: bool, token: str | None) -> httpx.Response:
    """Send what was made, as it is; half of the time to the model that there is."""
    if model and "model" in case.path_parameters:
        case.path_parameters["model"] = MODEL
    made: dict[str, Any] = case.as_transport_kwargs(base_url="http://localhost")
    headers = {name: value for name, value in made["headers"].items() if name.lower() != "authorization"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = {key: made[key] for key in ("json", "files") if made.get(key) is not None}
    if made.get("data") is not None:
        body["data" if isinstance(made["data"], dict) else "content"] = made["data"]
    try:
        request = client.build_request(
            made["method"], made["url"], headers=headers, params=made.get("params"), cookies=made.get("cookies"), **body
        )
    except (httpx.InvalidURL, UnicodeError, TypeError, ValueError):
        assume(False)  # what httpx cannot write, nobody can send
    note(f"{request.method} {request.url} {dict(request.headers)} {request.content[:300]!r}")
    return client.send(request)


def may(role: str | None, operation: APIOperation) -> bool:
    """Whether a role may ask for an operation at all."""
    if operation.path in OPEN or role == "admin":
        return True
    if operation.method.upper() == "GET":
        return role == "read"
    return role == "write" and operation.path in EVENTS


def _ask(operation: APIOperation, guarded: TestClient, open_: TestClient, tokens: dict[str, str]) -> None:
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

    @given(cases, st.booleans(), st.sampled_from(CALLERS), st.booleans())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES < 100,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case, model: bool, caller: str | None, guard: bool) -> None:
        token = None if caller is None else tokens.get(caller, caller)
        began = time.monotonic()
        answer = sent(guarded if guard else open_, case, model, token)
        assert time.monotonic() - began < HANG_SECONDS
        said = (operation.path, caller, answer.status_code, answer.text[:300])
        assert answer.status_code < 500 or (operation.path == "/ready" and answer.status_code == 503), said
        assert answer.headers["X-Request-Id"]
        if answer.status_code >= 400 and operation.path not in OPEN:
            assert {"type", "message"} <= set(answer.json()["error"]), said
        if guard and answer.status_code not in (404, 405):
            # who has signed in says nothing as somebody else
            refused = answer.status_code in (401, 403) and "came as another name" not in answer.text
            assert refused is not may(caller, operation), said

    ask()


def test_every_operation_answers_whatever_comes_from_whomever(
    service: Service, tokens: dict[str, str], operations: dict[str, APIOperation]
) -> None:
    assert len(operations) > 20 and any(name.startswith("DELETE") for name in operations)
    guarded, open_ = client_of(service, required=True), client_of(service, required=False)

    for operation in operations.values():
        _ask(operation, guarded, open_, tokens)
    assert client_of(service, required=False).get("/health").status_code == 200
    work(service)  # what was accepted can be processed
