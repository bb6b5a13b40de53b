"""What people decide on the page of an alert is done by the service, under their name, and only by who may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from driftline.access.callers import Role
from driftline.access.options import Auth
from driftline.access.tokens import create_token
from driftline.alerts.stages import matches
from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.store.alerts import AlertRow
from driftline.store.outbox import Outbox
from driftline.web.access import Gate
from driftline.web.acting import as_it_is
from driftline.web.app import create_app
from tests.support.alert_rows import alert_row
from tests.support.churn import MODEL
from tests.support.retraining import NOW, configured, day

PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A model that has gone wrong, and fires."""
    service = Service(load(configured(tmp_path_factory.mktemp("acting"), "manual")))
    for number in range(8):
        day(service, number)
    yield service
    service.stop()


@pytest.fixture
def alert(service: Service) -> str:
    return next(one.id for one in service.views.alerts(status="firing") if one.rule == "accuracy-low")


@pytest.fixture
def http(service: Service) -> TestClient:
    """Nobody has to sign in."""
    return TestClient(create_app(service), follow_redirects=False)


def test_the_page_of_a_real_alert_has_all_its_parts(http: TestClient, alert: str) -> None:
    page = http.get(f"/alerts/{alert}")
    assert page.status_code == 200
    for part in ("Firing", "How sure", 'data-rerun="same"', "Ask for a challenger", "Before, during and after"):
        assert part in page.text, part
    assert http.get(f"/models/{MODEL}/rules").status_code == 200


def test_somebody_takes_an_alert_on_without_a_script(http: TestClient, alert: str, service: Service) -> None:
    form = {"action": "acknowledge", "by": " ann ", "reason": "ours & <i>soon</i>"}
    led = http.post(f"/alerts/{alert}", data=form)
    assert led.status_code == 303
    page = http.get(led.headers["location"]).text
    assert "Acknowledged by <b>ann</b>" in page and "ours &amp; &lt;i&gt;soon&lt;/i&gt;" in page
    assert service.views.changes(limit=1)[0].action == "acknowledge"


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("alert", {"id"}),
        ("rule", {"model", "rule"}),
        ("model", {"model"}),
    ],
)
def test_a_silence_is_of_what_was_chosen_and_for_so_long(
    http: TestClient, alert: str, service: Service, what: str, match: set[str]
) -> None:
    form = {"action": "silence", "by": "ann", "reason": "planned", "for": "8h", "what": what}
    assert http.post(f"/alerts/{alert}", data=form).status_code == 303
    with service.state.read() as read:
        newest, row = Outbox(read.connection).silences()[0], read.alerts.get(alert)
    assert set(newest.match) == match and (newest.by, newest.reason) == ("ann", "planned")
    assert (newest.ends_at - newest.starts_at).total_seconds() == 8 * 3600
    assert row is not None and matches(newest.match, row)


def test_a_name_that_looks_like_a_pattern_silences_nothing_else() -> None:
    def row(model: str) -> AlertRow:
        return replace(alert_row("a", NOW, NOW), model=model)

    for name in ("a*", "a?b", "[ab]c", "plain", "]["):
        assert matches({"model": as_it_is(name)}, row(name))
        assert not matches({"model": as_it_is(name)}, row(f"{name}x"))
        assert not matches({"model": as_it_is(name)}, row("abc"))


def test_somebody_asks_for_a_challenger_once(http: TestClient, alert: str, service: Service) -> None:
    form = {"action": "ask", "by": "ann", "reason": "it turned"}
    assert http.post(f"/alerts/{alert}", data=form).status_code == 303
    [asked] = service.views.requests(MODEL)
    assert (asked.by, asked.reason, asked.trigger) == ("ann", "it turned", "manual")
    again = http.post(f"/alerts/{alert}", data=form)
    assert again.status_code == 409 and 'class="problem"' in again.text
    assert f'data-request="{asked.id}"' in http.get(f"/alerts/{alert}").text


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"action": "acknowledge", "by": "ann", "reason": "  "}, "Say why."),
        ({"action": "acknowledge", "by": "", "reason": "why"}, "Say who you are."),
        ({"action": "acknowledge", "by": "ann", "reason": "x" * 1001}, "allowed are 1000"),
        ({"action": "silence", "by": "ann", "reason": "why", "for": "soon", "what": "alert"}, "soon"),
        (
            {"action": "silence", "by": "ann", "reason": "why", "for": "1h", "what": "all"},
            "allowed is alert, rule, model",
        ),
        ({"action": "silence", "by": "ann", "reason": "why"}, "neither of `for`"),
        ({"action": "accept", "by": "ann", "reason": "why"}, ""),
        ({"action": "expected", "by": "ann", "reason": "why"}, ""),
        ({"action": "<b>", "by": "ann", "reason": "why"}, "allowed is acknowledge, silence, ask, accept, expected"),
        ({}, "allowed is acknowledge"),
    ],
)
def test_what_makes_no_sense_is_said(http: TestClient, alert: str, form: dict[str, str], problem: str) -> None:
    answer = http.post(f"/alerts/{alert}", data=form)
    assert answer.status_code in (400, 409) and problem.replace("<", "&lt;") in answer.text
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize("body", [b"", b"\xff", b"a=" + b"b" * 100_000, b"&".join([b"a=b"] * 100)])
def test_a_form_that_is_none_does_nothing(http: TestClient, alert: str, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert http.post(f"/alerts/{alert}", content=body, headers=headers).status_code == 400


def test_who_has_signed_in_acts_by_their_name_and_only_from_the_page(service: Service, alert: str) -> None:
    now = datetime.now(UTC)
    token = create_token(service.state, "bob", Role.ADMIN, now, models=[MODEL], by="root")
    reader = create_token(service.state, "eve", Role.READ, now, by="root")
    app = create_app(service, Gate(service.state, Auth(), required=True))
    http = TestClient(app, follow_redirects=False, raise_server_exceptions=False)
    form = {"action": "acknowledge", "by": "somebody else", "reason": "mine"}
    assert http.post(f"/alerts/{alert}", data=form).status_code == 401
    http.post("/sign-in", data={"token": token})
    page = http.get(f"/alerts/{alert}", headers=PAGE).text
    assert 'name="by"' not in page
    [csrf] = set(re.findall(r'name="csrf" value="([0-9a-f]{128})"', page))
    for wrong in ({}, {"csrf": ""}, {"csrf": "0" * 128}):
        assert http.post(f"/alerts/{alert}", data=form | wrong).status_code == 403
    assert http.post(f"/alerts/{alert}", data=form | {"csrf": csrf}).status_code == 303
    assert service.views.alert(alert).acknowledged.by == "bob"  # type: ignore[union-attr]
    other = TestClient(app, follow_redirects=False)
    other.post("/sign-in", data={"token": reader})
    page = other.get(f"/alerts/{alert}", headers=PAGE).text
    assert '<form method="post" action="/alerts' not in page and 'class="reader"' in page
    refused = other.post(f"/alerts/{alert}", data=form, headers={"X-CSRF-Token": "0" * 64})
    assert refused.status_code == 403
