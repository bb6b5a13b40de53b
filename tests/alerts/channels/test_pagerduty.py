"""PagerDuty: an incident for each alert, opened and resolved once however often it is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from driftline.alerts.channels.pagerduty import KEY_LIMIT, SUMMARY_LIMIT, PagerDuty, actions, event_of
from driftline.alerts.message import Acknowledgement, Event, Message, Notice
from driftline.errors import RefusedError, UnavailableError
from tests.alerts.channels.conftest import NOW, message, notice, notices, units
from tests.support.receiver import Answer, Server, strict_json

SIZE_LIMIT_BYTES = 512_000


def sent(server: Server, what: Message) -> list[dict[str, Any]]:
    server.answers += [Answer(202, {}, b'{"status": "success"}')] * 2 * len(what.notices)
    before = len(server.got)
    PagerDuty("R0UT1NG", url=server.url + "/").send(what)
    assert {request.path for request in server.got[before:]} <= {"/v2/enqueue"}
    return [request.json for request in server.got[before:]]


def test_an_alert_opens_an_incident(server: Server) -> None:
    [event] = sent(server, message(notice(url="https://driftline.example/alerts/1")))
    assert event == {
        "routing_key": "R0UT1NG",
        "event_action": "trigger",
        "dedup_key": "driftline-0123456789abcdef",
        "payload": {
            "summary": "churn: accuracy-low: accuracy 0.512 [0.45, 0.57], n = 1200, threshold 0.75",
            "source": "churn",
            "severity": "critical",
            "timestamp": "2026-11-23T11:30:15.250000Z",
            "component": "churn",
            "group": "churn",
            "class": "accuracy-low",
            "custom_details": {
                "model": "churn",
                "rule": "accuracy-low",
                "measure": "accuracy",
                "value": "0.512",
                "value_now": "0.512",
                "interval": "0.45 to 0.57",
                "threshold": "0.75",
                "n": 1200,
                "window_start": "2024-03-01T00:00:00Z",
                "window_end": "2024-03-02T00:00:00Z",
                "findings": ["Input rain changed: 52 % → 0 % (gone).", "Other inputs stable: wind."],
            },
        },
        "client": "Driftline",
        "client_url": "https://driftline.example/alerts/1",
        "links": [{"href": "https://driftline.example/alerts/1", "text": "Open in Driftline"}],
    }


@pytest.mark.parametrize(
    ("event", "done"),
    [
        (Event.FIRED, ["trigger"]),
        (Event.REOPENED, ["trigger"]),
        (Event.REPEATED, ["trigger"]),
        (Event.RESOLVED, ["resolve"]),
        (Event.CORRECTED, ["resolve"]),
        (Event.TEST, ["trigger", "resolve"]),
        (Event.CHANGED, ["trigger"]),
        (Event.OVER, []),
    ],
)
def test_what_is_done_of_each_event_to_the_same_incident(server: Server, event: Event, done: list[str]) -> None:
    taken = Acknowledgement("ann", NOW, "on it")
    events = sent(server, message(notice(event, acknowledged=taken)))
    assert [one["event_action"] for one in events] == done
    assert {one["dedup_key"] for one in events} <= {"driftline-0123456789abcdef"}
    assert ["payload" in one for one in events] == [action == "trigger" for action in done]


@pytest.mark.parametrize(
    ("severity", "there"),
    [("page", "critical"), ("warning", "warning"), ("info", "info"), ("strange", "warning")],
)
def test_severities(server: Server, severity: str, there: str) -> None:
    [event] = sent(server, message(notice(severity=severity)))
    assert event["payload"]["severity"] == there


def test_a_test_does_not_wake_people(server: Server) -> None:
    assert sent(server, message(notice(Event.TEST)))[0]["payload"]["severity"] == "info"


def test_a_refused_event_does_not_hold_up_the_others(server: Server) -> None:
    server.answers += [Answer(202), Answer(400, {}, b"invalid event"), Answer(202)]
    with pytest.raises(RefusedError, match="status 400: invalid event"):
        PagerDuty("k", url=server.url).send(message(*(notice(id=str(at)) for at in range(3))))
    assert [request.json["dedup_key"][-1] for request in server.got] == ["0", "1", "2"]


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(server: Server) -> None:
    server.answers += [Answer(202), Answer(429, {"Retry-After": "17"}, b"key R0UT1NG is busy")]
    with pytest.raises(UnavailableError) as caught:
        PagerDuty("R0UT1NG", url=server.url).send(message(*(notice(id=str(at)) for at in range(3))))
    assert caught.value.retry_after == 17
    assert "R0UT1NG" not in str(caught.value)
    assert len(server.got) == 2


@given(notices)
def test_limits_are_kept_whatever_the_alert(one: Notice) -> None:
    for action in actions(one.event):
        body = msgspec.json.encode(event_of(one, action, "key"))
        event = strict_json(body)
        assert len(body) <= SIZE_LIMIT_BYTES
        assert len(event["dedup_key"]) <= KEY_LIMIT
        if action == "trigger":
            assert 1 <= units(event["payload"]["summary"]) <= SUMMARY_LIMIT
            assert event["payload"]["source"]
            assert event["payload"]["severity"] in {"critical", "error", "warning", "info"}


@given(notices, notices)
def test_two_alerts_have_two_incidents(one: Notice, other: Notice) -> None:
    same = one.alert.id == other.alert.id
    keys = {event_of(it, "resolve", "key")["dedup_key"] for it in (one, other)}
    assert len(keys) == (1 if same else 2)
