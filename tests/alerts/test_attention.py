"""People and alerts: acknowledging, silencing, listing; what only the clock can say; rules on columns."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from driftline import clock
from driftline.cli.main import main
from driftline.config.load import Config, load
from driftline.errors import UsageError
from driftline.monitoring.alerting import AlertEvent, end_orphans
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.staleness import check_arrivals, store_event
from driftline.rules import ChangeKind, Severity
from driftline.service.runtime import Service
from driftline.views.offline import read_alerts
from driftline.web.app import create_app
from tests.support.churn import MODEL, prediction, write_config
from tests.support.receiver import Server
from tests.support.steps import NOW, deliver, send_day, work


@pytest.fixture
def firing(service: Service) -> Service:
    """A service with one firing alert."""
    send_day(service, 0, right=30, wrong=30)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    work(service)
    return service


@pytest.fixture
def client(firing: Service) -> TestClient:
    return TestClient(create_app(firing), raise_server_exceptions=False)


def the_alert(service: Service) -> str:
    [alert] = service.views.alerts(MODEL, status="firing")
    return alert.id


# ---- acknowledging --------------------------------------------------------------------------------------------


def test_an_acknowledgement_says_who_and_why_and_stays_in_the_history(firing: Service, client: TestClient) -> None:
    answer = client.post(f"/api/v1/alerts/{the_alert(firing)}/ack", json={"by": "ann", "reason": "on it"})
    assert answer.status_code == 200
    assert (answer.json()["acknowledged"]["by"], answer.json()["acknowledged"]["reason"]) == ("ann", "on it")
    assert answer.json()["history"][-1] | {"at": None} == {
        "at": None,
        "kind": "acknowledged",
        "reason": "by ann: on it",
    }
    assert client.get("/api/v1/alerts").json()["alerts"][0]["acknowledged"]["by"] == "ann"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"by": "ann"}', {}, 400),
        (b'{"by": "", "reason": "x"}', {}, 400),
        (b'{"by": "ann", "reason": "x", "more": 1}', {}, 400),
        (b"not json", {}, 400),
        (b'{"by": "ann", "reason": "x"}', {"Content-Type": "text/plain"}, 415),  # what a form can send
        (b'{"by": "ann", "reason": "' + b"x" * 2000 + b'"}', {}, 400),
    ],
)
def test_what_is_no_acknowledgement_is_refused(
    firing: Service, client: TestClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    path = f"/api/v1/alerts/{the_alert(firing)}/ack"
    answer = client.post(path, content=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == status
    assert "message" in answer.json()["error"]
    assert client.get("/api/v1/alerts").json()["alerts"][0]["acknowledged"] is None


def test_only_a_known_and_firing_alert_can_be_acknowledged(firing: Service, client: TestClient) -> None:
    body = {"by": "ann", "reason": "x"}
    assert client.post("/api/v1/alerts/nothing/ack", json=body).status_code == 404
    id = the_alert(firing)
    send_day(firing, 2, right=60, wrong=0)
    deliver(firing, "predictions", [prediction("later", 3.5, said=1)])
    work(firing)
    assert client.post(f"/api/v1/alerts/{id}/ack", json=body).status_code == 409


# ---- silences -------------------------------------------------------------------------------------------------


def test_a_silence_is_made_listed_and_ended(client: TestClient) -> None:
    made = client.post("/api/v1/silences", json={"match": {"model": "ch*"}, "by": "ann", "reason": "x", "for": "2h"})
    assert made.status_code == 201
    id = made.json()["id"]
    assert [one["id"] for one in client.get("/api/v1/silences").json()["silences"]] == [id]
    assert client.delete(f"/api/v1/silences/{id}").status_code == 200
    assert client.get("/api/v1/silences").json()["silences"] == []
    assert [one["id"] for one in client.get("/api/v1/silences?all=true").json()["silences"]] == [id]
    assert client.delete("/api/v1/silences/nothing").status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"match": {}},
        {"match": {"colour": "red"}},
        {"for": None},
        {"for": "soon"},
        {"ends_at": "2090-01-01T00:00:00Z"},
        {"for": None, "ends_at": "2020-01-01T00:00:00Z"},
        {"for": None, "ends_at": "2090-01-01T00:00:00"},
        {"starts_at": "2020-01-01T00:00:00Z"},
        {"for": "999999w"},
        {"for": None, "ends_at": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_what_is_no_silence_is_refused(client: TestClient, change: dict[str, Any]) -> None:
    body = {"match": {"model": "*"}, "by": "ann", "reason": "x", "for": "2h"} | change
    answer = client.post("/api/v1/silences", json={name: value for name, value in body.items() if value is not None})
    assert answer.status_code in (400, 404)
    assert client.get("/api/v1/silences?all=true").json()["silences"] == []


def test_a_silenced_alert_is_told_when_the_silence_ends(tmp_path: Path, wait: Callable[..., None]) -> None:
    receiver = Server()
    service = Service(load(write_config(tmp_path, f'notify: [{{webhook: "{receiver.url}", severity: [page]}}]')))
    client = TestClient(create_app(service))
    made = client.post("/api/v1/silences", json={"match": {"model": "*"}, "by": "ann", "reason": "x", "for": "2h"})
    service.start()
    send_day(service, 0, right=30, wrong=30)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    service.wake()
    wait(lambda: any(one.muted for one in service.views.alerts(MODEL)))
    assert receiver.got == []
    client.delete(f"/api/v1/silences/{made.json()['id']}")
    wait(lambda: bool(receiver.got))
    [message] = [one.json for one in receiver.got]
    assert (message["event"], message["alert"]["muted"]) == ("fired", "")
    [alert] = service.views.alerts(MODEL, status="firing")
    assert [step.kind for step in alert.history] == ["fired", "muted", "unmuted"]
    service.stop()
    receiver.close()


@pytest.fixture
def wait() -> Callable[..., None]:
    def until(true: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 30
        while not true():
            assert time.monotonic() < give_up, "it did not come to pass"
            time.sleep(0.05)

    return until


# ---- the command line -----------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "driftline", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_line_lists_acknowledges_and_silences(firing: Service, tmp_path: Path) -> None:
    config = ["--config", tmp_path / "driftline.yaml"]
    code, table = run("alerts", *config)
    assert code == 1
    header, row = table.splitlines()
    assert header.split() == ["alert", "severity", "model", "rule", "since", "value", "limit"]
    assert row.split()[1:4] == ["page", "churn", "accuracy-low"] and row.split()[-2:] == ["0.5", "0.75"]
    assert max(len(header), len(row)) <= 80
    code, said = run("ack", the_alert(firing), "--reason", "on it", "--by", "ann", *config)
    assert (code, said) == (0, "accuracy-low of churn is acknowledged by ann.\n")
    assert "acknowledged by ann: on it" in run("alerts", *config)[1]
    code, said = run("silence", *config, "add", "--match", "model=churn", "--for", "2h", "--reason", "x", "--by", "ann")
    assert code == 0
    id = said.partition(":")[0]
    assert f"{id}: model=churn, " in run("silence", *config, "list")[1]
    assert run("silence", *config, "end", id) == (0, f"{id} is over.\n")
    assert run("silence", *config, "list") == (0, "There is no silence.\n")
    assert run("silence", *config, "add", "--match", "churn", "--for", "2h", "--reason", "x")[0] == 2
    code, document = run("alerts", "--json", *config)
    assert '"accuracy-low"' in document


def test_a_test_message_reaches_its_receiver_or_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Server()
    more = f'notify:\n  - {{webhook: "{receiver.url}", name: ops}}\n  - {{webhook: "http://127.0.0.1:9/", name: gone}}'
    path = str(write_config(tmp_path, more))

    def notify(name: str) -> Any:
        with pytest.raises(SystemExit) as left:
            main(["notify", "test", name, "--config", path])
        return left.value.code

    assert notify("ops") == 0
    [message] = [one.json for one in receiver.got]
    assert message["title"] == f"{MODEL}: 🔔 Test: This is a test of Driftline; nothing is wrong."
    assert notify("gone") == 2
    assert notify("nobody") == 2
    said = capsys.readouterr()
    assert said.out == "ops took the message.\n"
    assert "ConnectError" in said.err and "known: gone, ops" in said.err
    receiver.close()


# ---- the clock ------------------------------------------------------------------------------------------------


def looked_at(config: ModelConfig, service: Service, now: datetime, started: datetime) -> AlertEvent | None:
    """What has changed about the staleness of one model."""
    return next(iter(check_arrivals([config], service.state, now, started)), None)


def test_a_model_that_nothing_arrives_of_is_an_alert_until_something_does(service: Service) -> None:
    config, started = replace(service.config.models[MODEL], stale_after=timedelta(hours=3)), NOW

    def look(hours: float) -> AlertEvent | None:
        now = NOW + timedelta(hours=hours)
        event = looked_at(config, service, now, started)
        if event is not None:
            with service.state.work() as work:
                store_event(work, event, now)
        return event

    assert look(3) is None
    deliver(service, "predictions", [prediction("a", 0.0, said=1)])
    work(service)
    assert look(3) is None
    fired = look(3.5)
    assert fired is not None
    assert (fired.kind, fired.alert.rule, fired.alert.value) == (ChangeKind.FIRED, "monitor-stale", 3.5)
    assert look(4) is None
    with service.state.work() as change:
        stored = change.models.get(MODEL)
        assert stored is not None
        change.models.put(replace(stored, last_arrival=NOW + timedelta(hours=5)))
    resolved = look(5.1)
    assert resolved is not None
    assert (resolved.kind, resolved.alert.id) == (ChangeKind.RESOLVED, fired.alert.id)
    assert look(6) is None
    again = look(9)
    assert again is not None
    assert again.alert.id != fired.alert.id
    started = NOW + timedelta(hours=20)
    assert look(20) is None  # nothing has come meanwhile: a new start does not end it


def test_a_model_that_never_received_anything_is_stale_from_the_start_on(service: Service) -> None:
    started = NOW - timedelta(hours=1)
    config = replace(service.config.models[MODEL], stale_after=timedelta(hours=3))
    assert looked_at(config, service, NOW + timedelta(hours=2), started) is None
    event = looked_at(config, service, NOW + timedelta(hours=3), started)
    assert event is not None
    assert (event.alert.rule, event.alert.value) == ("monitor-stale", 4.0)
    assert event.reason == "nothing has ever arrived, and this service waits since 2025-12-31 23:00 UTC"
    with service.state.work() as change:
        store_event(change, event, NOW)
    assert looked_at(config, service, NOW + timedelta(hours=5), started) is None  # told once
    deliver(service, "predictions", [prediction("a", 0.0, said=1)])
    work(service)
    resolved = looked_at(config, service, NOW + timedelta(hours=5), started)
    assert resolved is not None
    assert resolved.reason == "events arrive again: the newest on 2026-01-01 00:00 UTC"


@pytest.mark.parametrize(("hours", "kind"), [(4, "changed"), (9, "resolved")])
def test_another_time_of_waiting_holds_for_an_alert_that_fires(service: Service, hours: int, kind: str) -> None:
    config = replace(service.config.models[MODEL], stale_after=timedelta(hours=3))
    event = looked_at(config, service, NOW + timedelta(hours=5), NOW)
    assert event is not None
    with service.state.work() as change:
        store_event(change, event, NOW)
    config = replace(config, stale_after=timedelta(hours=hours))
    moved = looked_at(config, service, NOW + timedelta(hours=6), NOW)
    assert moved is not None
    assert (moved.kind.value, moved.reason) == (kind, f"the rule was changed: stale_after 3 hours → {hours} hours")
    with service.state.work() as change:
        store_event(change, moved, NOW)
    again = looked_at(config, service, NOW + timedelta(hours=6.5), NOW)
    assert again is None


def test_what_could_not_arrive_while_the_service_was_down_is_not_missed(service: Service) -> None:
    config = replace(service.config.models[MODEL], stale_after=timedelta(hours=3))
    deliver(service, "predictions", [prediction("a", 0.0, said=1)])
    work(service)
    started = NOW + timedelta(hours=50)
    assert looked_at(config, service, started + timedelta(hours=3), started) is None
    event = looked_at(config, service, started + timedelta(hours=4), started)
    assert event is not None
    assert event.reason == "nothing has arrived since 2026-01-01 00:00 UTC"


def test_alerts_of_what_is_configured_no_longer_end(firing: Service) -> None:
    with firing.state.work() as change:
        assert end_orphans(change, {MODEL: {"accuracy-low", "recall-low"}}, NOW) == []
        [event] = end_orphans(change, {MODEL: {"recall-low"}}, NOW)
        assert event.reason == "the rule was removed from the configuration"
    assert firing.views.alerts(MODEL, status="firing") == []


def test_what_a_receiver_was_told_survives_a_restart(tmp_path: Path, wait: Callable[..., None]) -> None:
    receiver = Server()
    config = load(write_config(tmp_path, f'notify: [{{webhook: "{receiver.url}", severity: [page]}}]'))
    for _ in range(2):
        service = Service(config)
        service.start()
        send_day(service, 0, right=30, wrong=30)
        deliver(service, "predictions", [prediction("next", 1.5, said=1)])
        service.wake()
        wait(lambda: bool(receiver.got) and service.idle)  # noqa: B023 - called before the next turn
        service.stop()
    assert [one.json["event"] for one in receiver.got] == ["fired"]
    receiver.close()


def test_a_secret_that_the_environment_lacks_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(write_config(tmp_path, "notify: [{webhook: 'env:DRIFTLINE_TEST_HOOK'}]"))
    monkeypatch.delenv("DRIFTLINE_TEST_HOOK", raising=False)
    service = Service(config)
    with pytest.raises(UsageError, match="the environment has no DRIFTLINE_TEST_HOOK"):
        service.start()
    service.stop()


# ---- rules on columns -----------------------------------------------------------------------------------------

COLUMN_RULES = """\
        - {name: gaps, measure: missing_ratio, above: 0.2}
        - {name: moved, measure: drifted_features_ratio, above: 0.4}
        - {name: said, measure: prediction_drift, above: 1}
"""


def test_rules_on_columns_are_judged_when_the_window_is_over_without_waiting_for_labels(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("storage:", COLUMN_RULES + "storage:"))
    service = Service(load(path))
    rows = [prediction(str(i), i / 1000, said=1, age=None if i % 2 else 90.0 + i % 7) for i in range(400)]
    deliver(service, "predictions", rows)
    assert work(service) == []
    deliver(service, "predictions", [prediction("next", 1.1, said=1)])
    fired = {event.alert.rule: event.alert for event in work(service)}
    assert set(fired) == {"gaps", "moved", "said"}
    assert fired["gaps"].value == 0.5
    assert fired["moved"].value == 1.0  # age, and the plan that is always "pro"
    assert (fired["said"].value or 0) > 1
    assert {one.severity for one in fired.values()} == {Severity.WARNING.value}
    service.stop()


def test_alerts_can_be_read_beside_a_running_service(firing: Service, config: Config) -> None:
    [alert] = read_alerts(config)
    assert alert.id == the_alert(firing)
    assert datetime.now(UTC) - clock.now() < timedelta(minutes=1)
