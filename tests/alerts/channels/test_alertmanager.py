"""Alertmanager: the real one, that is killed, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given

from driftline.alerts.channels.alertmanager import ALIVE_FOR, OVER_IN, SILENCED_FOR, Alertmanager, alert_of
from driftline.alerts.message import Acknowledgement, Event, Notice
from driftline.errors import UnavailableError, UnreachableError
from tests.alerts.channels.conftest import HOSTILE, NOW, message, notice, notices, view
from tests.support.receiver import Answer, Server, strict_json
from tests.support.servers import Alertmanager as Process
from tests.support.servers import until

# ---- What it is told


def posted(server: Server, act: Callable[[Alertmanager], None]) -> list[dict[str, Any]]:
    server.answers.append(Answer(200))
    act(Alertmanager(server.url + "/prefix/", now=lambda: NOW))
    [request] = server.got
    assert request.path == "/prefix/api/v2/alerts"
    found: list[dict[str, Any]] = request.json
    return found


def test_a_firing_alert(server: Server) -> None:
    [alert] = posted(server, lambda channel: channel.send(message(notice(url="https://driftline.example/alerts/1"))))
    assert alert == {
        "labels": {
            "alertname": "accuracy-low",
            "service": "driftline",
            "severity": "page",
            "model": "churn",
            "rule": "accuracy-low",
            "measure": "accuracy",
            "alert_id": "0123456789abcdef",
        },
        "annotations": {
            "summary": "churn: Model accuracy below threshold!",
            "description": "churn: ⚠️ Alert: Model accuracy below threshold!\n"
            "accuracy-low: window 2024-03-01 to 2024-03-02\n"
            "accuracy 0.512 [0.45, 0.57], n = 1200, threshold 0.75\n"
            "Input rain changed: 52 % → 0 % (gone).\nOther inputs stable: wind.",
            "value": "0.512",
            "value_now": "0.512",
            "threshold": "0.75",
            "window_start": "2024-03-01T00:00:00+00:00",
            "window_end": "2024-03-02T00:00:00+00:00",
            "outcome": "firing",
        },
        "startsAt": "2026-11-23T11:30:15.250000Z",
        "endsAt": "2026-11-23T12:35:15.250000Z",
        "generatorURL": "https://driftline.example/alerts/1",
    }


def test_an_alert_that_ended_ends_when_it_did(server: Server) -> None:
    ended = NOW - timedelta(minutes=20)
    what = message(notice(Event.RESOLVED, "accuracy is 0.9 again", ended_at=ended))
    [alert] = posted(server, lambda channel: channel.send(what))
    assert alert["endsAt"] == "2026-11-23T12:10:15.250000Z"
    assert (alert["annotations"]["outcome"], alert["annotations"]["reason"]) == ("resolved", "accuracy is 0.9 again")


def test_who_acknowledged_is_told(server: Server) -> None:
    taken = Acknowledgement("ann", NOW, "on it")
    [alert] = posted(server, lambda channel: channel.send(message(notice(Event.REPEATED, acknowledged=taken))))
    assert alert["annotations"]["acknowledged_by"] == "ann"


def test_of_several_notices_of_an_alert_the_last_holds(server: Server) -> None:
    what = message(notice(), notice(id="other"), notice(Event.RESOLVED))
    found = {alert["labels"]["alert_id"]: alert for alert in posted(server, lambda channel: channel.send(what))}
    assert {id: alert["annotations"]["outcome"] for id, alert in found.items()} == {
        "0123456789abcdef": "resolved",
        "other": "firing",
    }


def test_what_fires_is_kept_and_what_ended_is_over(server: Server) -> None:
    server.answers += [Answer(200, {}, b"[]"), Answer(200)]
    several = [notice(id="a"), notice(Event.RESOLVED, id="b", ended_at=NOW), notice(Event.REPEATED, id="c")]
    Alertmanager(server.url, now=lambda: NOW).keep(several)
    asked, told = server.got
    assert asked.path == "/api/v2/silences?filter=service%3D%22driftline%22"
    ends = {alert["labels"]["alert_id"]: datetime.fromisoformat(alert["endsAt"]) for alert in told.json}
    assert ends == {"a": NOW + ALIVE_FOR, "b": NOW, "c": NOW + ALIVE_FOR}


def test_without_an_alert_nothing_is_sent(server: Server) -> None:
    channel = Alertmanager(server.url, now=lambda: NOW)
    channel.keep([])
    channel.send(message(notice(Event.OVER)))
    assert server.got == []


MUTED = "silenced by ann until 2026-11-23 14:30 UTC: planned"


def matcher(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value, "isRegex": False, "isEqual": True}


def there(id: str, alert: str, ends: timedelta, *, by: str = "Driftline", state: str = "active") -> dict[str, Any]:
    """A silence as Alertmanager says it."""
    return {
        "id": id,
        "createdBy": by,
        "comment": MUTED,
        "startsAt": (NOW - timedelta(hours=1)).isoformat(),
        "endsAt": (NOW + ends).isoformat(),
        "matchers": [matcher("service", "driftline"), matcher("alert_id", alert)],
        "status": {"state": state},
        "updatedAt": NOW.isoformat(),
    }


def test_what_is_muted_is_silenced_before_it_is_posted(server: Server) -> None:
    server.answers += [Answer(200, {}, b"[]"), Answer(200, {}, b'{"silenceID": "s1"}'), Answer(200)]
    Alertmanager(server.url, now=lambda: NOW).keep([notice(id="a", muted=MUTED), notice(id="b")])
    _, silence, alerts = server.got
    assert silence.path == "/api/v2/silences"
    assert silence.json == {
        "matchers": [matcher("service", "driftline"), matcher("alert_id", "a")],
        "startsAt": "2026-11-23T12:25:15.250000Z",
        "endsAt": "2026-11-23T12:35:15.250000Z",
        "createdBy": "Driftline",
        "comment": MUTED,
    }
    assert [alert["labels"]["alert_id"] for alert in alerts.json] == ["a", "b"]


def test_silences_are_prolonged_and_taken_away_but_never_those_of_others(server: Server) -> None:
    known = [
        there("long", "a", SILENCED_FOR),
        there("short", "b", SILENCED_FOR / 3),
        there("muted no longer", "c", SILENCED_FOR),
        there("of ann", "c", SILENCED_FOR, by="ann"),
        there("of another Driftline", "elsewhere", SILENCED_FOR),
        there("past", "d", -SILENCED_FOR, state="expired"),
    ]
    server.answers += [Answer(200, {}, msgspec.json.encode(known)), *[Answer(200)] * 4]
    channel = Alertmanager(server.url, now=lambda: NOW)
    channel.keep([notice(id="a", muted=MUTED), notice(id="b", muted=MUTED), notice(id="c"), notice(id="d")])
    _, gone, prolonged, alerts = server.got
    assert gone.path == "/api/v2/silence/muted%20no%20longer"
    assert (prolonged.json["id"], prolonged.json["matchers"][1]["value"]) == ("short", "b")
    assert datetime.fromisoformat(prolonged.json["endsAt"]) == NOW + SILENCED_FOR
    assert datetime.fromisoformat(prolonged.json["startsAt"]) == NOW - timedelta(hours=1)
    assert len(alerts.json) == 4
    channel.send(message(notice(Event.RESOLVED, id="a", ended_at=NOW)))  # whoever knows of it is told of its end
    assert [request.path for request in server.got[4:]] == ["/api/v2/silence/long", "/api/v2/alerts"]


def test_where_it_cannot_be_silenced_nobody_is_called_and_the_others_are_kept(server: Server) -> None:
    server.answers += [Answer(500), Answer(200)]
    known = msgspec.structs.replace(notice(id="b", muted=MUTED), told=Event.FIRED)
    with pytest.raises(UnavailableError, match="status 500"):
        Alertmanager(server.url, now=lambda: NOW).keep([notice(id="a", muted=MUTED), known, notice(id="c")])
    assert [alert["labels"]["alert_id"] for alert in server.got[-1].json] == ["b", "c"]


def test_a_silence_that_is_over_there_holds_nothing_up(server: Server) -> None:
    known = msgspec.json.encode([there("s", "a", SILENCED_FOR)])
    server.answers += [Answer(200, {}, known), Answer(500, {}, b"already expired"), Answer(200)]
    Alertmanager(server.url, now=lambda: NOW).keep([notice(id="a")])
    assert [request.path for request in server.got][1:] == ["/api/v2/silence/s", "/api/v2/alerts"]


def test_a_silence_that_could_not_be_taken_away_is_tried_again(server: Server) -> None:
    known = Answer(200, {}, msgspec.json.encode([there("s", "a", SILENCED_FOR)]))
    channel = Alertmanager(server.url, now=lambda: NOW)
    server.answers += [known, Answer(503), Answer(200)]
    channel.keep([notice(id="a")])
    server.answers += [known, Answer(200), Answer(200)]
    channel.keep([notice(id="a")])
    channel.send(message(notice(id="a")))
    lifted = [request.path for request in server.got if request.path.startswith("/api/v2/silence/")]
    assert lifted == ["/api/v2/silence/s"] * 2


def test_labels_are_the_same_all_its_life_and_have_no_value_in_them() -> None:
    life = [
        notice(event, f"reason of {event}", value=value, value_now=value, threshold=value, n=int(100 * value))
        for event, value in zip(Event, (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.57, 0.6), strict=True)
    ]
    assert len({msgspec.json.encode(alert_of(one, NOW)["labels"]) for one in life}) == 1


@given(notices)
def test_an_alert_is_strict_json_that_does_not_end_before_it_starts(one: Notice) -> None:
    found = strict_json(msgspec.json.encode(alert_of(one, NOW)))
    starts, ends = (datetime.fromisoformat(found[name]) for name in ("startsAt", "endsAt"))
    assert starts <= ends
    if one.alert.status == "firing":
        assert ends >= NOW + ALIVE_FOR or ends == starts
    assert all(found["annotations"].values())


def test_nobody_there() -> None:
    with pytest.raises(UnreachableError):
        Alertmanager("http://127.0.0.1:9", now=lambda: NOW).send(message())


def ended_after_telling(server: Server, *, started: datetime, told: Event | None) -> dict[str, Any]:
    """What is posted of an alert that ended, to an Alertmanager that started at a time."""
    server.answers += [Answer(200, {}, msgspec.json.encode({"uptime": started, "versionInfo": {}})), Answer(200)]
    one = msgspec.structs.replace(notice(Event.RESOLVED), told=told)
    Alertmanager(server.url, now=lambda: NOW).send(message(one))
    [alert] = server.got[-1].json
    return dict(alert)


def test_one_that_started_since_it_was_told_is_told_again_that_it_fired(server: Server) -> None:
    alert = ended_after_telling(server, started=NOW - timedelta(minutes=1), told=Event.FIRED)
    assert alert["annotations"]["outcome"] == "resolved"
    assert datetime.fromisoformat(alert["endsAt"]) == NOW + OVER_IN
    assert [request.path for request in server.got] == ["/api/v2/status", "/api/v2/alerts"]


def test_one_that_was_there_all_the_time_is_told_of_the_end(server: Server) -> None:
    alert = ended_after_telling(server, started=NOW - timedelta(days=1), told=Event.FIRED)
    assert datetime.fromisoformat(alert["endsAt"]) == NOW


@pytest.mark.parametrize("told", [None, Event.RESOLVED, Event.CORRECTED])
def test_what_it_was_not_told_or_heard_the_end_of_does_not_fire_again(server: Server, told: Event | None) -> None:
    server.answers.append(Answer(200))
    one = msgspec.structs.replace(notice(Event.CORRECTED), told=told)
    Alertmanager(server.url, now=lambda: NOW).send(message(one))
    [request] = server.got
    assert datetime.fromisoformat(request.json[0]["endsAt"]) == NOW


# ---- What the real one makes of it


@pytest.fixture
def alertmanager(tmp_path: Path, server: Server) -> Iterator[Process]:
    process = Process(tmp_path / "alertmanager", server.url + "/hook")
    yield process
    process.kill()


def channel_to(process: Process) -> Alertmanager:
    return Alertmanager(process.url, now=lambda: datetime.now(UTC))


def held(process: Process) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{process.url}/api/v2/alerts", trust_env=False, verify=False).json()
    return found


def noted(process: Process) -> bool:
    """Whether a notification was answered: what Alertmanager saves of whom it told."""
    metrics = httpx.get(f"{process.url}/metrics", trust_env=False, verify=False).text
    return 'alertmanager_notification_latency_seconds_count{integration="webhook"} 1' in metrics


def said(event: Event = Event.FIRED, **changes: Any) -> Notice:
    """A notice of an alert that fired a minute ago; when it ended, it did so just now."""
    now = datetime.now(UTC)
    ended = {"ended_at": now - timedelta(seconds=1)} if event in (Event.RESOLVED, Event.CORRECTED) else {}
    return notice(event, **({"fired_at": now - timedelta(minutes=1)} | ended | changes))


def outcomes(server: Server) -> list[tuple[str, str]]:
    """What Alertmanager told its receiver, in order: its word for it, and ours."""
    alerts = [alert for request in server.got for alert in request.json["alerts"]]
    return [(alert["status"], alert["annotations"]["outcome"]) for alert in alerts]


def test_an_alert_fires_and_is_resolved_and_telling_it_again_changes_nothing(
    alertmanager: Process, server: Server
) -> None:
    channel, fired = channel_to(alertmanager), said()
    for _ in range(3):
        channel.send(message(fired))
        channel.keep([fired])
    server.wait_for(lambda got: len(got) == 1)
    [alert] = held(alertmanager)
    assert alert["status"]["state"] == "active"
    assert alert["labels"]["alertname"] == "accuracy-low"
    resolved = message(said(Event.RESOLVED, fired_at=fired.alert.fired_at))
    for _ in range(3):
        channel.send(resolved)
    server.wait_for(lambda got: len(got) == 2)
    assert outcomes(server) == [("firing", "firing"), ("resolved", "resolved")]
    assert held(alertmanager) == []


def test_a_corrected_alert_is_over_and_says_so(alertmanager: Process, server: Server) -> None:
    channel, fired = channel_to(alertmanager), said()
    channel.send(message(fired))
    server.wait_for(lambda got: len(got) == 1)
    channel.send(message(said(Event.CORRECTED, fired_at=fired.alert.fired_at)))
    server.wait_for(lambda got: len(got) == 2)
    assert outcomes(server)[-1] == ("resolved", "corrected")
    channel.send(message(said(Event.REOPENED, fired_at=fired.alert.fired_at)))
    server.wait_for(lambda got: len(got) == 3)
    assert outcomes(server)[-1] == ("firing", "firing")


def test_after_a_kill_it_has_forgotten_and_is_told_again(alertmanager: Process, server: Server) -> None:
    fired = said()
    channel_to(alertmanager).send(message(fired))
    server.wait_for(lambda got: len(got) == 1)
    alertmanager.kill()
    alertmanager.start()
    assert held(alertmanager) == []
    channel = channel_to(alertmanager)
    channel.keep([fired])
    [alert] = held(alertmanager)
    assert alert["status"]["state"] == "active"
    assert datetime.fromisoformat(alert["startsAt"]) == fired.alert.fired_at.replace(
        microsecond=fired.alert.fired_at.microsecond // 1000 * 1000
    )
    # Killed, it forgot whom it had told, too.
    server.wait_for(lambda got: len(got) == 2)
    channel.send(message(said(Event.RESOLVED, fired_at=fired.alert.fired_at)))
    server.wait_for(lambda got: len(got) == 3)
    assert outcomes(server) == [("firing", "firing"), ("firing", "firing"), ("resolved", "resolved")]


def test_what_ended_while_it_was_restarted_is_resolved(alertmanager: Process, server: Server) -> None:
    fired = said()
    channel_to(alertmanager).send(message(fired))
    until(lambda: noted(alertmanager), "Alertmanager has noted that its receiver knows")
    alertmanager.stop()
    with pytest.raises(UnreachableError):
        channel_to(alertmanager).send(message(said(Event.RESOLVED, fired_at=fired.alert.fired_at)))
    alertmanager.start()
    channel_to(alertmanager).send(message(said(Event.RESOLVED, fired_at=fired.alert.fired_at)))
    server.wait_for(lambda got: len(got) == 2)
    assert outcomes(server) == [("firing", "firing"), ("resolved", "resolved")]


def test_it_takes_whatever_names_there_are(alertmanager: Process, server: Server) -> None:
    several = [
        said(id=f"alert {at}", model=text, rule=text or "r", measure=text, title=text, url=text, value=float("nan"))
        for at, text in enumerate(HOSTILE)
    ]
    channel_to(alertmanager).send(message(*several))
    assert len(held(alertmanager)) == len(HOSTILE)
    far = view(fired_at=datetime(1999, 1, 1, tzinfo=UTC), ended_at=datetime(1998, 1, 1, tzinfo=UTC))
    channel_to(alertmanager).send(message(msgspec.structs.replace(said(Event.RESOLVED), alert=far)))
