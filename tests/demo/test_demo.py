"""The main job, as a user runs it: the incident of April 2013 out of the data, over HTTP, in one process."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score

from driftline.demo.weather import FEATURES, read_weather
from tests.support.receiver import Server, serving

MODEL = "seattle-weather"


@dataclass(frozen=True)
class Demo:
    """A demo that has told its story and serves on."""

    summary: dict[str, Any]
    told: str
    address: str
    data: Path
    receiver: Server

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What the webhook got, each with the key that it came with."""
        return [{"key": one.headers["idempotency-key"], **one.json} for one in self.receiver.got]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=30, trust_env=False, verify=False)

    def api(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/api/v1/models/{MODEL}/{what}").json()[what]
        return found


@pytest.fixture(scope="module")
def receiver() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, receiver: Server) -> Iterator[Demo]:
    """``driftline demo --json`` with a webhook, while it serves on; ended by SIGTERM, which must end it with 0."""
    data = tmp_path_factory.mktemp("demo") / "kept"
    told = (data.parent / "told.txt").open("w+")
    command = [
        sys.executable,
        "-m",
        "driftline",
        "demo",
        "--json",
        "--port",
        "0",
        "--data",
        str(data),
        "--webhook",
        f"{receiver.url}/hook",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        told.seek(0)
        text = told.read()
        assert line, text
        summary = json.loads(line)
        yield Demo(summary, text, re.sub("/models/.*", "", summary["url"]), data, receiver)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == ""  # one JSON document, and nothing else
    finally:
        process.kill()
        process.communicate()
        told.close()


def of_april(demo: Demo, rule: str) -> list[dict[str, Any]]:
    return [one for one in demo.api("alerts") if one["rule"] == rule and one["window"]["start"].startswith("2013-04")]


def test_the_summary_has_what_the_contract_names(demo: Demo) -> None:
    assert set(demo.summary) >= {
        "model", "events", "labels", "windows", "first_alert", "worst_accuracy", "alerts", "corrected", "url",
    }  # fmt: skip
    assert (demo.summary["model"], demo.summary["events"], demo.summary["windows"]) == (MODEL, 1095, 36)
    assert demo.summary["labels"] == 1095
    assert set(demo.summary["first_alert"]) == {"rule", "measure", "value", "threshold", "window"}


def test_the_first_alert_is_that_of_april_2013(demo: Demo) -> None:
    first = demo.summary["first_alert"]
    assert first["measure"] == "accuracy"
    assert first["window"]["start"] <= "2013-04-04" < first["window"]["end"]
    assert first["value"] < first["threshold"]
    assert demo.summary["worst_accuracy"] < 0.3
    assert min(alert["window"]["start"] for alert in demo.api("alerts")) == first["window"]["start"]


def test_it_says_what_changed_and_what_did_not(demo: Demo) -> None:
    [first] = of_april(demo, "accuracy-low")
    told = " ".join(first["findings"]["sentences"])
    assert first["findings"]["inputs_stable"] == ["precipitation", "temp_max", "temp_min", "wind"]
    assert "rain 52 % → 0 % (gone)" in told
    assert re.search(r"fog 1\.\d % → \d\d %", told)
    assert "⚠️ Alert: Model accuracy below threshold!" in demo.told
    assert "Inputs stable: precipitation, temp_max, temp_min, wind." in demo.told


def test_the_detector_has_one_alarm_that_suspects_the_labels(demo: Demo) -> None:
    """It opens with the incident, after three months without a false alarm, and is about nothing but labels."""
    [alarm] = of_april(demo, "budget")
    assert alarm == next(alert for alert in demo.api("alerts") if alert["rule"] == "budget")
    assert alarm["findings"]["named"][:2] == ["accuracy", "label"] and alarm["findings"]["inputs_changed"] == []
    assert "label_coverage" not in demo.told
    said = (
        "⚠️ Alert: Label fault suspected: accuracy, label\n   seattle-weather: budget: window 2013-04-01 to 2013-05-01"
    )
    assert said in demo.told
    assert "Suspected: the labels moved; inputs and predictions did not." in demo.told
    page = demo.get(f"/models/{MODEL}?alert={alarm['id']}").text
    assert "Label fault suspected: accuracy, label" in page and "accuracy: moved from 0.748 to 0.3" in page


def test_the_corrected_labels_correct_the_alert(demo: Demo) -> None:
    assert demo.summary["corrected"] > 0
    [first] = of_april(demo, "accuracy-low")
    assert first["status"] == "corrected"
    assert first["value"] < 0.75 < first["value_now"]
    assert [step["kind"] for step in first["history"]][-1] == "corrected"


def test_no_challenger_is_trained_on_broken_labels_and_a_better_one_wins_on_mended_ones(demo: Demo) -> None:
    said = demo.summary["retraining"]
    assert "the labels cannot be trusted: 0 of 31 labels are 'rain', which was 52 % of the reference" in said["refused"]
    assert (said["decision"], said["stage"]) == ("promote", "waiting")
    [request] = demo.get(f"/api/v1/models/{MODEL}/retraining").json()["requests"]
    contest = request["contest"]["difference"]
    weather = read_weather().filter(pl.col("date").dt.year() == 2015)
    assert contest["n"] == len(weather) == 365
    assert contest["second"] < 0.81 and contest["first"] > 0.82
    assert f'data-request="{request["id"]}"' in demo.get(f"/models/{MODEL}").text


def test_a_loop_that_does_not_look_at_labels_would_have_promoted_a_worse_model(demo: Demo) -> None:
    """What the page of the demo says of it: on the broken labels the challenger wins, by the true ones it is worse."""
    rows = read_weather().with_columns(year=pl.col("date").dt.year())
    answers = []
    for years in ([2012], [2012, 2013, 2014]):
        known = rows.filter(pl.col("year").is_in(years))
        forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=0)
        forest.fit(known.select(FEATURES).to_numpy(), known["weather"].to_list())
        answers.append(forest.predict(rows.filter(year=2015).select(FEATURES).to_numpy()))
    judged = rows.filter(year=2015)
    broken, true = (
        [round(100 * accuracy_score(judged[name].to_list(), one)) for one in answers]
        for name in ("weather", "weather_corrected")
    )
    assert (broken, true) == ([42, 62], [80, 62])


def test_the_webhook_got_each_word_once_and_in_order(demo: Demo) -> None:
    notices = [notice for message in demo.messages for notice in message["notices"]]
    events = [notice["event"] for notice in notices]
    by_rule = {
        rule: [one["event"] for one in notices if one["alert"]["rule"] == rule] for rule in ("accuracy-low", "budget")
    }
    assert by_rule["accuracy-low"][:2] == ["fired", "resolved"]
    assert by_rule["budget"] == ["fired", "changed", "resolved"]  # also about the ROC AUC; it is one alarm
    assert events.count("corrected") == demo.summary["corrected"]
    assert demo.messages[0]["alert"]["title"] == "Model accuracy below threshold!"
    assert "⚠️ Alert: Model accuracy below threshold!" in demo.messages[0]["text"]
    assert len({notice["key"] for notice in notices}) == len(notices)


def test_scikit_learn_the_api_the_page_and_the_metrics_agree(demo: Demo) -> None:
    predictions = pl.read_delta(str(demo.data / "data" / "log" / MODEL / "predictions"))
    truth = read_weather().select(
        id=pl.format("seattle-{}", pl.col("date").dt.date()),
        label="weather_corrected",
        month=pl.col("date").dt.strftime("%Y-%m"),
    )
    rows = predictions.join(truth, on="id")
    assert len(rows) == 1095
    windows = demo.api("windows")
    classes = ["drizzle", "fog", "rain", "snow", "sun"]
    for window in windows:
        month = rows.filter(month=window["start"][:7])
        label, said = month["label"].to_list(), month["prediction"].to_list()
        known = {name: view["value"] for name, view in window["performance"].items()}
        assert known["accuracy"] == pytest.approx(accuracy_score(label, said), abs=1e-9)
        assert known["precision"] == pytest.approx(
            precision_score(label, said, average="macro", zero_division=0), abs=1e-9
        )
        assert known["recall"] == pytest.approx(recall_score(label, said, average="macro", zero_division=0), abs=1e-9)
        assert known["f1"] == pytest.approx(f1_score(label, said, average="macro", zero_division=0), abs=1e-9)
        scores = month.select(f"score.{name}" for name in classes).to_numpy()
        assert known["log_loss"] == pytest.approx(log_loss(label, scores, labels=classes), rel=1e-9)
    newest = windows[-1]["performance"]["accuracy"]["value"]
    families = text_string_to_metric_families(demo.get("/metrics").text)
    [exposed] = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "driftline_performance" and sample.labels["metric"] == "accuracy"
    ]
    assert exposed == pytest.approx(newest, abs=1e-9)


def test_an_input_that_is_out_of_season_is_called_so_and_one_in_season_is_not(demo: Demo) -> None:
    by_month = {window["start"][:7]: window for window in demo.api("windows")}
    assert not any(view["drifted"] for view in by_month["2013-01"]["drift"].values())
    assert by_month["2013-06"]["drift"]["temp_max"]["drifted"]  # June 2012 was cold


def test_what_it_kept_is_what_the_log_says_to_the_byte(demo: Demo, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "rebuild", MODEL, "--config", str(demo.data / "driftline.yaml")]
    beside = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert beside.returncode == 2
    assert "in use by another driftline" in beside.stderr
    shutil.copytree(demo.data / "data", tmp_path / "copy")
    copied = [*command, "--data", str(tmp_path / "copy"), "--json"]
    result = subprocess.run(copied, capture_output=True, text=True, timeout=60, check=False)
    said = {"model": MODEL, "windows": 36, "differing": [], "left": 0}
    assert (result.returncode, json.loads(result.stdout)) == (0, said)
