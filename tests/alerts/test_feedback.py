"""What people say of a running model's windows and alarms, and what comes of it."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from driftline.cli.accept import command
from driftline.cli.backtest import command as backtest
from driftline.config.load import load
from driftline.errors import DriftlineError
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from driftline.web.app import create_app
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.daily import by_backtest, said
from tests.support.steps import deliver, work

CHANGED = 16
"""The day from which on customers are older."""


def days(service: Service, numbers: Sequence[int], *, older_from: int = CHANGED, older: float = 25.0) -> None:
    """Send 48 predictions a day, and judge."""
    for day in numbers:
        rng = np.random.default_rng(day)
        truth = rng.integers(0, 2, 48)
        said = np.where(rng.random(48) < 0.9, truth, 1 - truth)
        scores = np.clip(np.where(said == 1, 0.8, 0.2) + rng.normal(0, 0.05, 48), 0.01, 0.99)
        ages = rng.normal(40 + (older if day >= older_from else 0), 10, 48)
        rows, labels = list[dict[str, Any]](), list[dict[str, Any]]()
        for i in range(48):
            id, moment = f"{day}-{i}", day + i / 50
            row = prediction(id, moment, said=int(said[i]), score=float(scores[i]), age=float(ages[i]))
            row["features"]["plan"] = str(rng.choice(["basic", "pro"]))
            rows.append(row)
            labels.append(label(id, moment, truth=int(truth[i])))
        deliver(service, "predictions", rows)
        deliver(service, "labels", labels)
    work(service)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a service leaves that has seen 8 days after the change, of which the detector has told."""
    found = tmp_path_factory.mktemp("changed")
    path = write_config(found)
    path.write_text(path.read_text().replace("budget: none", "budget: 1 per 90d"))
    service = Service(load(path))
    days(service, range(CHANGED + 9))
    service.stop()
    return found


@pytest.fixture
def service(folder: Path, tmp_path: Path) -> Iterator[Service]:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    service = Service(load(tmp_path / "driftline.yaml"))
    yield service
    service.stop()


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(create_app(service), raise_server_exceptions=False)


def alarms(service: Service, status: str | None = None) -> list[Any]:
    return [one for one in service.views.alerts(MODEL, status=status) if one.rule == "budget"]


def day(number: int) -> str:
    return (START + timedelta(days=number)).isoformat()


def test_what_is_accepted_ends_the_alarm_and_is_normal_from_then_on(service: Service, client: TestClient) -> None:
    [alarm] = alarms(service, "firing")
    answer = client.post(f"/api/v1/models/{MODEL}/accept", json={"since": day(CHANGED), "reason": "a new market"})
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert {**said, "id": "", "at": ""} == {
        "id": "",
        "model": MODEL,
        "since": day(CHANGED).replace("+00:00", "Z"),
        "windows": 8,
        "by": "api",
        "at": "",
    }
    work(service)
    assert alarms(service, "firing") == []
    [ended] = [one for one in alarms(service) if one.id == alarm.id]
    assert ended.status == "resolved"
    assert ended.history[-1].reason == "api accepted it as the new normal: a new market"
    days(service, range(CHANGED + 9, CHANGED + 16))
    assert alarms(service, "firing") == []
    [row] = client.get(f"/api/v1/models/{MODEL}/feedback").json()["feedback"]
    assert (row["kind"], row["by"], row["reason"], row["applied"]) == ("accept", "api", "a new market", True)


def test_what_was_expected_ends_and_is_told_again_if_it_goes_on(service: Service, client: TestClient) -> None:
    [alarm] = alarms(service, "firing")
    body = {"kind": "expected", "alert": alarm.id, "reason": "a campaign", "by": "ann"}
    assert client.post(f"/api/v1/models/{MODEL}/feedback", json=body).status_code == 201
    work(service)
    assert alarms(service, "firing") == []
    assert alarms(service)[0].history[-1].reason == "ann said that it was expected: a campaign"
    days(service, range(CHANGED + 9, CHANGED + 11))
    [again] = alarms(service, "firing")
    assert again.id != alarm.id


def test_an_ignored_column_alarms_no_more_and_the_others_do(service: Service, client: TestClient) -> None:
    body = {"kind": "ignore", "column": "age", "reason": "it is a guess", "by": "ann"}
    assert client.post(f"/api/v1/models/{MODEL}/feedback", json=body).status_code == 201
    work(service)
    [ended] = alarms(service)
    assert ended.status == "resolved"
    assert "ann ignores the column age: it is a guess" in ended.history[-2].reason + ended.history[-1].reason
    days(service, range(CHANGED + 9, CHANGED + 12))
    assert [one.status for one in alarms(service)] == ["resolved"]


@pytest.mark.parametrize("kind", ["accept", "expected", "missed", "incident", "ignore"])
def test_a_backtest_a_rebuild_and_late_labels_know_what_was_said(
    service: Service, client: TestClient, tmp_path: Path, kind: str
) -> None:
    """Law: a backtest of the served windows, and a state that is built anew, say what the service says."""
    about: dict[str, dict[str, Any]] = {
        "accept": {"since": day(CHANGED)},
        "expected": {"alert": alarms(service)[0].id},
        "ignore": {"column": "age"},
    }
    body = {"kind": kind, "by": "ann", **about.get(kind, {"since": day(CHANGED), "until": day(CHANGED + 3)})}
    assert client.post(f"/api/v1/models/{MODEL}/feedback", json=body).status_code == 201
    work(service)
    days(service, range(CHANGED + 9, CHANGED + 11))
    wrong = [label(f"{CHANGED + 9}-{i}", CHANGED + 11, truth=i % 2) for i in range(48)]
    for some in (wrong[:20], wrong[20:]):  # corrected late, and in two parts
        deliver(service, "labels", some)
        work(service)
    judged, told = said(service), alarms(service)
    assert judged == by_backtest(service)[: len(judged)]
    if kind not in ("missed", "incident"):  # these change what is learnt later
        assert judged != by_backtest(service, heard=False)[: len(judged)]
    done = CliRunner().invoke(backtest, [f"served:{MODEL}", "--config", str(tmp_path / "driftline.yaml"), "--json"])
    found = [one for one in json.loads(done.stdout)["alerts"] if one["rule"] == "budget"]
    lives = [one for one in told if one.status == "firing" or kind != "ignore"]  # what was told of age is no alert now
    assert {datetime.fromisoformat(one["window"]["start"]): one["until"] is None for one in found} == {
        one.window.start: one.status == "firing" for one in lives
    }
    [model] = service.models.values()
    assert rebuild(model, service.state).differing == ()
    work(service)
    assert (said(service), alarms(service)) == (judged, told)


def test_a_pass_after_it_has_nothing_to_do(service: Service, client: TestClient) -> None:
    client.post(f"/api/v1/models/{MODEL}/accept", json={"since": day(CHANGED)})
    assert work(service)
    before = service.views.alerts(MODEL)
    assert work(service) == []
    assert service.views.alerts(MODEL) == before


def test_the_card_of_the_alert_shows_what_moved_and_what_can_be_said(service: Service, client: TestClient) -> None:
    page = client.get(f"/models/{MODEL}").text
    assert 'data-moved="age"' in page
    assert "location moved +" in page
    assert "Suspected: the inputs moved: age." in page
    assert 'data-detector="alarm"' in page
    for button, body in (
        ("This is the new normal", {"since": day(CHANGED)}),
        ("Expected this once", {"kind": "expected", "alert": alarms(service)[0].id}),
    ):
        [written] = re.findall(rf'data-body="([^"]+)"[^>]*>{button}<', page)
        assert json.loads(html.unescape(written)) == body


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("accept", {"since": day(CHANGED + 3)}, 400, "5 windows have closed since 2024-03-20"),
        ("accept", {"since": "2024-03-17T00:00:00"}, 400, "since came without a time zone"),
        ("accept", {}, 400, "since"),
        ("feedback", {"kind": "ignore"}, 400, "`column` is missing; ignore needs it"),
        ("feedback", {"kind": "ignore", "column": "agee"}, 404, "unknown feature of churn 'agee'; known: age, plan"),
        ("feedback", {"kind": "incident", "since": day(3), "until": day(2)}, 400, "is not after since"),
        ("feedback", {"kind": "incident", "since": day(3), "column": "age"}, 400, "`column` came for incident"),
        ("feedback", {"kind": "expected", "alert": "none"}, 404, "none"),
        ("feedback", {"kind": "other"}, 400, "other"),
        *(
            (path, {**more, "since": beyond}, 400, "allowed are the years 1900 to 9998")
            for beyond in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1899-12-31T23:59:59Z")
            for path, more in (("accept", {}), ("feedback", {"kind": "missed"}))
        ),
    ],
)
def test_what_cannot_be_said_is_refused(
    service: Service, client: TestClient, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post(f"/api/v1/models/{MODEL}/{path}", json=body)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert client.get(f"/api/v1/models/{MODEL}/feedback").json() == {"feedback": []}


def test_an_unknown_model_is_not_found(client: TestClient) -> None:
    assert client.post("/api/v1/models/other/accept", json={"since": day(0)}).status_code == 404


def test_the_command_accepts_for_a_service_that_runs(service: Service, tmp_path: Path) -> None:
    options = ["--config", str(tmp_path / "driftline.yaml"), "--by", "ann"]
    done = CliRunner().invoke(command, [MODEL, "--since", "2024-03-17", *options])
    assert (done.exit_code, done.output) == (0, "8 windows since 2024-03-17 are the new normal of churn, says ann.\n")
    work(service)
    assert alarms(service, "firing") == []
    for wrong, reason in (("2024-03-20", "5 windows"), ("soon", "came; allowed is a day or a time")):
        failed = CliRunner().invoke(command, [MODEL, "--since", wrong, *options])
        assert isinstance(failed.exception, DriftlineError)
        assert reason in str(failed.exception)
