"""Alerts over HTTP come in parts, and the parts are the whole."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from driftline.service.runtime import Service
from driftline.web.app import create_app
from driftline.web.ui import model
from tests.support.alert_rows import alert_row
from tests.support.churn import MODEL, START
from tests.support.steps import send_day, work

ALERTS = "/api/v1/alerts"


def put(service: Service, id: str, day: int, status: str = "resolved", model: str = MODEL) -> None:
    start, end = START + timedelta(days=day), START + timedelta(days=day + 1)
    row = alert_row(id, start, end, model=model, status=status, ended_at=end if status != "firing" else None)
    with service.state.work() as work:
        work.alerts.put(row)


@pytest.fixture
def client(service: Service) -> TestClient:
    for number in range(10):  # two of each day
        put(service, f"a{number}", number // 2, "firing" if number == 1 else "resolved")
    put(service, "z", 9, model="another")
    return TestClient(create_app(service), raise_server_exceptions=False)


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["alerts"]]


@pytest.mark.parametrize("address", [ALERTS, f"/api/v1/models/{MODEL}/alerts"])
@pytest.mark.parametrize("limit", [1, 3, 4, 11, 1000])
def test_who_follows_the_links_sees_every_alert_once_in_order(client: TestClient, address: str, limit: int) -> None:
    whole, seen, query = ids(client.get(address)), list[str](), f"?limit={limit}&status=resolved"
    while query:
        answer = client.get(address + query)
        seen += ids(answer)
        found = re.fullmatch(r'<(\?.*)>; rel="next"', answer.headers.get("Link", "<>"))
        query = found[1] if found else ""
    assert seen == [one for one in whole if one != "a1"]
    assert seen[-2:] == ["a2", "a0"] or seen[-3:] == ["a2", "a3", "a0"]  # the newest window first, then by id


def test_without_a_limit_there_is_no_link_unless_there_are_a_thousand(client: TestClient) -> None:
    answer = client.get(ALERTS)
    assert ids(answer)[0] == "z" and "Link" not in answer.headers


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many"])
def test_a_limit_out_of_range_is_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"{ALERTS}?{query}")
    assert answer.status_code == 400 and "limit" in answer.json()["error"]["message"]


def test_an_unknown_alert_to_go_on_from_is_refused(client: TestClient) -> None:
    answer = client.get(f"{ALERTS}?before=nothing")
    assert answer.status_code == 404 and "nothing" in answer.json()["error"]["message"]


def test_the_page_shows_what_fires_and_what_is_asked_for_beside_the_newest(
    service: Service, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_day(service, 0, right=4, wrong=0)
    work(service)
    monkeypatch.setattr(model, "ALERTS_SHOWN", 3)
    text = client.get(f"/models/{MODEL}?alert=a3").text
    shown = re.findall(r'data-alert="(\w+)"', text)
    assert shown == ["a1", "a8", "a9", "a6", "a3"]  # the one that fires, the newest three, and the one asked for
    assert "Older alerts are not shown" in text
    monkeypatch.setattr(model, "ALERTS_SHOWN", 100)
    assert "Older alerts are not shown" not in client.get(f"/models/{MODEL}?alert=z").text
