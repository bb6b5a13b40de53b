"""`driftline explain` and the same over HTTP: where a threshold came from, and the verdict again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fastapi.testclient import TestClient

from driftline.cli.explain import command
from driftline.config.load import load
from driftline.errors import UnknownNameError
from driftline.service.runtime import Service
from driftline.store.alerts import AlertRow
from driftline.web.app import create_app
from tests.support.histories import BEGIN, REFERENCE_DAYS, days_of_rows, write_model
from tests.support.steps import deliver, work

CHANGED, DAYS = 6, 10
MODEL = "churn"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service has judged a history that changes: an alert of the detector, and one of a rule."""
    folder = tmp_path_factory.mktemp("explain")
    path = write_model(folder)
    path.write_text(path.read_text() + f"storage: {folder / 'data'}\n")
    service = Service(load(path))
    send(service, days_of_rows(DAYS, changed=CHANGED).rows(named=True))
    service.stop()
    return path


def send(service: Service, rows: list[dict[str, Any]]) -> None:
    predictions, labels = list[dict[str, Any]](), list[dict[str, Any]]()
    for index, row in enumerate(rows):
        id, time = str(index), row["time"].isoformat()
        features = {name: row[name] for name in ("wind", "kind")}
        predictions.append({"id": id, "time": time, "features": features, "prediction": row["p"]})
        labels.append({"id": id, "label": row["y"], "time": time})
    deliver(service, "predictions", predictions)
    deliver(service, "labels", labels)
    work(service)


def alerts(service: Service) -> dict[str, AlertRow]:
    with service.state.read() as read:
        return {one.rule: one for one in read.alerts.find(MODEL)}


def run(config: Path, alert: str, *options: str) -> Result:
    return CliRunner().invoke(command, [alert, "--config", str(config), *options], standalone_mode=False)


def test_an_alert_is_explained_and_comes_out_the_same(config: Path) -> None:
    service = Service(load(config))
    known = alerts(service)
    client = TestClient(create_app(service), base_url="http://127.0.0.1")
    told = {}
    for rule in ("budget", "accuracy-low"):
        row = known[rule]
        done = run(config, row.id, "--json")
        assert done.exception is None and done.return_value == 0, done.exception
        told[rule] = json.loads(done.stdout)
        assert client.get(f"/api/v1/alerts/{row.id}/explanation").json() == told[rule]
        assert told[rule]["alert"] == row.id
        assert {"series", "baseline", "season", "share", "lookback"} <= told[rule]["threshold"].keys()
        rerun = told[rule]["rerun"]
        assert (rerun["verdict"], rerun["value"], rerun["same"]) == ("breach", row.value, True)
    origin = told["budget"]["threshold"]
    assert origin["baseline"]["windows"] == REFERENCE_DAYS
    assert origin["baseline"]["start"] == f"{BEGIN:%Y-%m-%dT%H:%M:%SZ}"
    assert origin["baseline"]["end"] == f"{BEGIN + timedelta(days=REFERENCE_DAYS):%Y-%m-%dT%H:%M:%SZ}"
    assert 0 < origin["share"] < 1 and origin["lookback"] == 1 and ": " in origin["series"]
    assert told["accuracy-low"]["threshold"] == {
        "series": "accuracy",
        "baseline": None,
        "season": None,
        "share": None,
        "lookback": 2,
        "value": 0.8,
    }
    assert client.get("/api/v1/alerts/nobody/explanation").status_code == 404
    service.stop()


def test_people_read_it_in_words(config: Path) -> None:
    service = Service(load(config))
    row = alerts(service)["budget"]
    service.stop()
    lines = run(config, row.id).stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    words = " ".join(lines)
    assert f"Alert {row.id}: budget of churn fired on the window of 2025-02-09." in words
    assert "Held against: 28 windows from 2025-01-06 to 2025-02-03." in words
    assert lines[-1] == "The verdict is the same."


def test_a_verdict_that_differs_is_told_with_its_reason(config: Path) -> None:
    service = Service(load(config))
    row = alerts(service)["accuracy-low"]
    service.stop()
    text = config.read_text()
    try:
        config.write_text(text.replace("below: 0.8", "below: 0.2"))
        changed = run(config, row.id)
        config.write_text(text.replace("accuracy-low", "renamed"))
        gone = run(config, row.id)
    finally:
        config.write_text(text)
    assert (changed.return_value, gone.return_value) == (1, 1)
    assert "Judged again: ok" in changed.stdout
    assert "the rule is not configured any more" in " ".join(gone.stdout.split())
    assert gone.stdout.endswith("The verdict differs from the one that fired.\n")


def test_an_unknown_alert_is_refused(config: Path) -> None:
    assert isinstance(run(config, "nobody").exception, UnknownNameError)
