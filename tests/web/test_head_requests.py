"""HEAD is answered as GET is, without the body."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.web.access import Gate
from driftline.web.app import create_app, create_small_app
from tests.support.churn import MODEL, write_config

PAGES = ("/", f"/models/{MODEL}", f"/models/{MODEL}/rules", "/audit", "/system", "/static/page.css", "/api/docs")
ANSWERS = ("/health", "/ready", "/api/v1/models", f"/api/v1/models/{MODEL}/windows", "/api/openapi.json")
REFUSED = ("/nowhere", "/models/nobody", "/api/v1/models/nobody", f"/models/{MODEL}?start=never")
_OF_THE_MOMENT = {"date", "content-length", "etag"}  # of what says how long it has run


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(load(write_config(tmp_path_factory.mktemp("heads"))))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    return TestClient(create_app(service), headers={"Accept": "text/html, */*"})


@pytest.mark.parametrize("path", [*PAGES, *ANSWERS, *REFUSED])
def test_head_has_the_status_and_the_headers_of_get(client: TestClient, path: str) -> None:
    head, full = client.head(path), client.get(path)
    assert head.status_code == full.status_code and head.content == b"" and full.content
    assert {*head.headers} == {*full.headers} and int(head.headers["content-length"]) > 0
    for name in {*full.headers} - _OF_THE_MOMENT:
        assert head.headers[name] == full.headers[name], name


def test_a_page_that_has_not_changed_is_304_to_head_too(client: TestClient) -> None:
    tag = client.head(f"/models/{MODEL}").headers["etag"]
    assert client.head(f"/models/{MODEL}", headers={"If-None-Match": tag}).status_code == 304


def test_head_opens_no_door_that_get_does_not(service: Service) -> None:
    gate = Gate(service.state, service.config.auth, required=True)
    shut = TestClient(create_app(service, gate), follow_redirects=False)
    for path in ("/api/v1/models", "/metrics", f"/models/{MODEL}"):
        assert shut.head(path).status_code == shut.get(path).status_code == 401
    assert shut.head("/", headers={"Accept": "text/html"}).headers["location"].endswith("/sign-in?next=%2F")
    assert shut.head(f"/api/v1/models/{MODEL}/predictions").status_code == 405  # there is no GET of it


def test_head_of_a_process_that_takes_no_events(service: Service) -> None:
    client = TestClient(create_small_app(service, Gate(service.state, service.config.auth, required=False)))
    assert client.head("/health").status_code == 200 and client.head("/health").content == b""
