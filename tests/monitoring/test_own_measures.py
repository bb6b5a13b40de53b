"""Measures of one's own in a configuration: the same number in a check and in a window, and rules on them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import driftline
from driftline.cli import check as check_command
from driftline.config.load import load
from driftline.errors import UsageError
from driftline.monitoring import own
from driftline.service.runtime import Service
from driftline.sources.own import Replicates
from tests.support.churn import MODEL, reference_rows, write_config
from tests.support.steps import a_day, deliver, work

FUNCTIONS = """
def cost(rows):
    missed = (rows["label"] == "1") & (rows["prediction"] == "0")
    return (5 * missed.sum() + (rows["label"] == "0").sum()) / rows["age"].mean()

def broken(rows):
    return rows["agee"].sum()
"""
LABELS = "labels: {expected_within: 2d, accepted_for: 30d}"
MEASURES = '\n    measures: {cost: "costs.py:cost", bad: "costs.py:broken"}'
RULES = """\
        - {name: costly, measure: cost, above: 0.5, severity: page}
        - {name: b, measure: bad, below: 1}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "costs.py").write_text(FUNCTIONS)
    path = write_config(tmp_path)
    text = path.read_text().replace(LABELS, LABELS + MEASURES)
    head, _, rest = text.partition("      rules:\n")
    path.write_text(f"{head}      rules:\n{RULES}storage:{rest.partition('storage:')[2]}")
    return path


def test_a_window_and_a_file_of_its_rows_have_the_same_number(config: Path) -> None:
    service = Service(load(config))
    for day in (1, 4):
        predictions, labels = a_day(day, right=30, wrong=30)
        deliver(service, "predictions", predictions)
        deliver(service, "labels", labels)
    events = work(service)
    window = service.views.windows(MODEL)[0].summary
    cost, bad = window.performance["cost"], window.performance["bad"]
    service.stop()
    rows = [
        {**row["features"], **row, "label": label["label"]}
        for row, label in zip(*a_day(1, right=30, wrong=30), strict=True)
    ]
    file = pl.DataFrame(rows).select("age", "plan", "prediction", "score", "label")
    file.write_parquet(config.parent / "today.parquet")
    reference = str(config.parent / "reference.parquet")
    reference_rows().drop("time").write_parquet(reference)
    config.write_text(config.read_text().replace("time: time, ", ""))
    options = [reference, str(config.parent / "today.parquet"), "--config", str(config), "--json"]
    done = CliRunner().invoke(check_command.command, options, standalone_mode=False)
    document = json.loads(done.stdout)
    assert done.return_value == 1
    found = document["performance"]["cost"]
    assert (cost.value, cost.n) == (pytest.approx(found["value"]), found["n"]) and cost.n == 60
    assert cost.low is not None and cost.high is not None and cost.value is not None
    assert cost.low < cost.value < cost.high and found["low"] < found["value"] < found["high"]
    [alert] = [event.alert for event in events if event.alert.rule == "costly" and event.alert.value == cost.value]
    assert alert.measure == "cost" and alert.bound is not None and alert.bound > 0.5
    [told] = [one for one in document["alerts"] if one["kind"] == "rule"]
    assert (told["rule"], told["measure"]) == ("costly", "cost")
    assert "agee" in bad.problem and [one["state"] for one in document["rules"]] == ["breach", "nodata"]


def test_python_takes_functions_as_they_are() -> None:
    rows = reference_rows().drop("time")
    report = driftline.check(
        rows,
        rows,
        label="label",
        prediction="prediction",
        rules=["hits < 1"],
        measures={"hits": lambda rows: (rows["label"] == rows["prediction"]).mean()},
    )
    assert report.performance is not None
    assert report.performance["hits"].value == report.performance["accuracy"].value
    assert report.rules[0].state == "breach"
    with pytest.raises(UsageError, match="'recall' is a measure already"):
        driftline.check(rows, rows, label="label", prediction="prediction", measures={"recall": len})


def test_a_function_that_took_too_long_is_waited_for_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All models wait for the worker: one slow function costs its limit once, not once a window."""
    monkeypatch.setattr(own, "TIME_LIMIT", timedelta(0))
    monkeypatch.setattr(own, "_TOO_SLOW", {})
    asked: list[str] = []

    def slow(place: str, rows: pl.DataFrame, blocks: object) -> Replicates:
        asked.append(place.rpartition(":")[2])
        return Replicates(None, rows.height, problem="it took longer")

    monkeypatch.setattr(own, "replicates_apart", slow)
    service = Service(load(config))
    for day in (1, 2, 3):
        predictions, labels = a_day(day, right=30, wrong=30)
        deliver(service, "predictions", predictions)
        deliver(service, "labels", labels)
    work(service)
    problems = {one.summary.performance["cost"].problem for one in service.views.windows(MODEL)[:2]}
    service.stop()
    assert sorted(asked) == ["broken", "cost"]
    assert problems == {"it took longer", "it took longer; it is asked again after a restart"}
