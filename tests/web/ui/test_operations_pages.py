"""The pages of what was set aside and of the service itself: bounded, in words, and without markup from outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.store.outbox import Outbox
from driftline.store.tables import NOTIFICATIONS, QUARANTINE
from driftline.web.app import create_app
from driftline.web.system import system_of
from driftline.web.ui import pages
from driftline.web.ui.quarantine import ROW_BYTES, ROWS_SHOWN
from tests.support.churn import MODEL, prediction, write_config
from tests.support.effort import counted
from tests.support.steps import NOW, deliver, work
from tests.web.ui.fabricate import MODEL as WEATHER
from tests.web.ui.fabricate import healthy, set_aside
from tests.web.ui.test_fleet import seen
from tests.web.ui.test_pages import Elements, client, plain

MORE = "notify: [{webhook: 'http://127.0.0.1:1/hook', name: desk}]\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a receiver."""
    service = Service(load(write_config(tmp_path_factory.mktemp("system"), MORE)))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def http(service: Service) -> TestClient:
    return TestClient(create_app(service))


# ---- what was set aside ---------------------------------------------------------------------------------------------


def test_rows_that_were_set_aside_stand_with_their_reasons() -> None:
    page = seen(set_aside(), f"/models/{WEATHER}/quarantine")
    assert [one["data-row"] for one in page.having("data-row")] == ["3", "2", "1"]
    words = plain(page.words)
    assert "came 'strong', a text; allowed is a number <b>features.wind1" in words
    assert '{"id":"<script>alert(1)</script>","wind":"strong"}' in words and "b" not in {tag for tag, _ in page.found}
    assert "Refused or set aside so far: type 3." in words and "Older rows" not in words
    assert "x" * 500 in words and "x" * ROW_BYTES not in words and "x…" in words


def test_where_nothing_was_set_aside_it_says_how_rows_come_there() -> None:
    assert "on_error=quarantine" in seen(healthy(), f"/models/{WEATHER}/quarantine").words
    answer = client(healthy()).get("/models/<b>/quarantine")
    assert answer.status_code == 404 and "&lt;b&gt;" in answer.text


def test_older_rows_are_on_pages_of_their_own_and_little_is_read(service: Service, http: TestClient) -> None:
    row = {
        "model": MODEL,
        "kind": "labels",
        "arrived_at": NOW,
        "field": "",
        "reason": "why",
        "row": b'"' + b"y" * 50_000 + b'"',
    }
    rows = [row | {"row_index": place, "arrived_at": NOW + timedelta(seconds=place)} for place in range(ROWS_SHOWN + 5)]
    with service.state.work() as work_:
        work_.connection.execute(QUARANTINE.insert(), rows)
    found, address = list[str](), ""
    for _ in range(2):
        with counted() as effort:
            answer = http.get(f"/models/{MODEL}/quarantine{address}")
        assert len(effort.statements) <= 5 and len(answer.text) < 200_000
        page = Elements(answer.text)
        found += [one["data-row"] for one in page.having("data-row")]
        address = next((one["href"] for one in page.having("href") if "before" in one["href"]), "")
    assert len(found) == len(set(found)) == ROWS_SHOWN + 5 and found == sorted(found, key=int, reverse=True)
    assert "There are no older ones" in http.get(f"/models/{MODEL}/quarantine?before={found[-1]}").text
    for bad in ("x", "0", "9" * 30):
        assert http.get(f"/models/{MODEL}/quarantine?before={bad}").status_code == 400
    told = http.get(f"/api/v1/models/{MODEL}/quarantine?limit=1").json()["rows"]
    assert str(told[0]["id"]) == found[0]


def test_a_refused_row_of_a_batch_comes_to_the_page(service: Service, http: TestClient) -> None:
    bad = prediction("bad", 0.1, said=1) | {"features": {"age": "old", "plan": "pro"}}
    answer = http.post(f"/api/v1/models/{MODEL}/predictions?on_error=quarantine", json=[bad])
    assert answer.json() == {"accepted": 0, "quarantined": 1}
    page = plain(Elements(http.get(f"/models/{MODEL}/quarantine").text).words)
    assert "age" in page and '"old"' in page and "Refused or set aside so far" in page


# ---- the service ----------------------------------------------------------------------------------------------------


def test_the_page_of_the_service_tells_what_waits_who_is_told_and_what_is_kept(
    service: Service, http: TestClient
) -> None:
    deliver(service, "predictions", [prediction("waits", 0.1, said=1)])
    with service.state.work() as work_:
        outbox = Outbox(work_.connection)
        for name in ("a", "b"):
            outbox.add("desk", MODEL, name, b"{}", NOW)
        first = outbox.waiting("desk", 1)[0].id
        outbox.postpone([first], batch=first, due_at=NOW, last_error="it refused <i>the connection</i>", refused=False)
    words = plain(Elements(http.get("/system").text).words)
    assert "Events waiting1" in words and f"{MODEL}1" in words and "Lagnone" not in words
    assert "desk webhook 0 2 0 1 it refused <i>the connection</i>" in words
    assert "state.db" in words and "Keeps windowsforever" in words and "Everything is processed" in words
    work(service)
    again = plain(Elements(http.get("/system").text).words)
    assert "Events waiting0" in again and "Lagnone" in again
    with service.state.work() as work_:
        work_.connection.execute(NOTIFICATIONS.update().where(NOTIFICATIONS.c.id == first).values(state="refused"))
    assert "desk webhook 0 1 1 1 –" in plain(Elements(http.get("/system").text).words)


def test_what_is_wrong_with_the_service_is_read_aloud(service: Service) -> None:
    view = dataclasses.replace(
        system_of(service), problems={"churn": "its log is <gone>"}, warnings={"disk": "it is nearly full"}
    )
    app = FastAPI()
    app.include_router(pages(healthy(), system=lambda: view, now=lambda: NOW))
    page = Elements(TestClient(app).get("/system").text)
    assert [one["data-problem"] for one in page.having("data-problem")] == ["churn"]
    assert [one["data-news"] for one in page.having("data-news")] == ["churn: its log is <gone>"]
    assert "⚠️ System" in page.words and "Everything is processed" not in page.words and "nearly full" in page.words


def test_the_page_of_the_service_takes_few_statements(service: Service, http: TestClient) -> None:
    with counted() as effort:
        assert http.get("/system").status_code == 200
    assert len(effort.statements) <= 26 and effort.writes == []


def test_it_tells_all_processes_of_a_shared_database(tmp_path: Path, empty_address: str) -> None:
    more = f"database: {empty_address}\n" if empty_address.startswith("postgresql") else ""
    service = Service(load(write_config(tmp_path, more)))
    try:
        view = system_of(service)
        assert len(view.processes) == 1 and view.processes[0].pid > 0 and view.database_bytes > 10_000
        assert view.free_bytes is not None and service.views.fleet_mark()
        assert [one.name for one in service.views.fleet()] == [MODEL]
    finally:
        service.stop()
