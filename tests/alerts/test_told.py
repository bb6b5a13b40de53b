"""What an alert of a served model says, told by the rows that people send."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftline.alerts.message import AlertView, describe_alert
from driftline.config.load import load
from driftline.profiles import Classification
from driftline.service.runtime import Service
from driftline.statistics import measures
from tests.support.churn import START
from tests.support.steps import deliver, work

INPUTS = "abcdefgz"


def serve(
    folder: Path, rules: str, reference: pl.DataFrame, features: str, window: str = "1d", timezone: str = "UTC"
) -> Service:
    """A binary model ``m`` on a reference, with these rules; the tests step it."""
    reference.write_parquet(folder / "reference.parquet")
    (folder / "driftline.yaml").write_text(
        f"""
models:
  m:
    task: binary
    columns: {{prediction: prediction, label: label, features: [{features}]}}
    window: {window}
    timezone: {timezone}
    labels: {{expected_within: 2d, accepted_for: 90d}}
    reference: {{path: reference.parquet}}
    alerts: {{rules: [{rules}]}}
storage: ./data
"""
    )
    return Service(load(folder / "driftline.yaml"))


def right_in(share: float, rows: int) -> pl.DataFrame:
    """Predictions and labels of which that share agrees."""
    label = [index % 2 for index in range(rows)]
    return pl.DataFrame(
        {
            "prediction": [truth if index < share * rows else 1 - truth for index, truth in enumerate(label)],
            "label": label,
        }
    )


def send(
    service: Service, rows: pl.DataFrame, inputs: Callable[[int], dict[str, Any]], day: int, labelled: int
) -> None:
    """The rows of one day, the first so many of them with their labels; then the day after next begins."""
    said = [
        {
            "id": f"{day}-{index}",
            "time": (START + timedelta(days=day, minutes=index)).isoformat(),
            "features": inputs(index),
            "prediction": one["prediction"],
        }
        for index, one in enumerate(rows.iter_rows(named=True))
    ]
    truth = [
        {"id": f"{day}-{index}", "label": label, "time": (START + timedelta(days=day, hours=23)).isoformat()}
        for index, label in enumerate(rows["label"][:labelled])
    ]
    deliver(service, "predictions", said)
    deliver(service, "labels", truth)
    later = {**said[0], "id": f"later-{day}", "time": (START + timedelta(days=day + 3, minutes=1)).isoformat()}
    deliver(service, "predictions", [later])
    work(service)


def the_alert(service: Service) -> AlertView:
    [alert] = service.views.alerts("m")
    return alert


def test_the_input_that_moved_most_comes_first_whatever_it_is_called(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    reference = right_in(0.95, 1000).with_columns(pl.Series(name, rng.normal(size=1000)) for name in INPUTS)
    rule = "{name: accuracy-low, measure: accuracy, below: 0.9}"
    service = serve(tmp_path, rule, reference, ",".join(INPUTS))

    def inputs(index: int) -> dict[str, Any]:
        moved = {name: float(rng.normal() + 0.5) for name in "abcdef"}
        return moved | {"g": float(rng.normal()), "z": float(rng.normal() + 50)}

    send(service, right_in(0.5, 400), inputs, 0, labelled=400)
    alert = the_alert(service)
    assert alert.findings is not None
    assert alert.findings.inputs_changed[0] == "z"
    assert {*alert.findings.inputs_changed} == {*"abcdefz"}
    assert alert.findings.sentences[0].startswith("Input z changed")
    assert [line for line in describe_alert(alert) if "more input" in line] == ["2 more inputs changed."]
    service.stop()


PAGE = "{name: accuracy-low, measure: accuracy, below: 0.9, severity: page}"


def test_early_labels_alone_page_nobody_and_the_rule_says_what_it_waits_for(tmp_path: Path) -> None:
    """Defaults are known first: of these the model was wrong in half, of all rows in one of twenty."""
    service = serve(tmp_path, PAGE, right_in(0.95, 400).with_columns(x=pl.lit(1.0)), "x")
    rows = pl.concat([right_in(0.5, 20), right_in(1.0, 180)])
    send(service, rows, lambda _: {"x": 1.0}, 0, labelled=20)
    assert service.views.alerts("m") == []
    window = service.views.windows("m")[0]
    [verdict] = window.verdicts
    assert (window.summary.stage, window.summary.coverage.value) == ("judged", 0.1)
    assert (verdict.state, verdict.value) == ("nodata", 0.5)
    assert verdict.reason.startswith("20 of 200 rows are labelled (10 %); this rule waits for 50 % (min_coverage)")
    late = [
        {"id": f"0-{index}", "label": label, "time": (START + timedelta(days=60)).isoformat()}
        for index, label in enumerate(rows["label"])
    ]
    deliver(service, "labels", late)
    work(service)
    assert service.views.alerts("m") == []
    assert [(one.state, one.value) for one in service.views.windows("m")[0].verdicts] == [("ok", 0.95)]
    service.stop()


def test_a_rule_that_is_told_so_fires_on_few_labels_and_says_how_many(tmp_path: Path) -> None:
    rule = PAGE.replace("severity", "min_coverage: 0.1, severity")
    service = serve(tmp_path, rule, right_in(0.95, 400).with_columns(x=pl.lit(1.0)), "x")
    rows = pl.concat([right_in(0.5, 20), right_in(1.0, 180)])
    send(service, rows, lambda _: {"x": 1.0}, 0, labelled=20)
    assert describe_alert(the_alert(service))[-1] == "20 of 200 rows are labelled (10 %)."
    service.stop()


def test_label_drift_waits_too_and_label_coverage_does_not(tmp_path: Path) -> None:
    rules = (
        "{name: labels-moved, measure: label_drift, above: 1}, {name: few-labels, measure: label_coverage, below: 0.5}"
    )
    service = serve(tmp_path, rules, right_in(0.95, 400).with_columns(x=pl.lit(1.0)), "x")
    rows = pl.DataFrame({"prediction": [1] * 200, "label": [1] * 60 + [0] * 140})
    send(service, rows, lambda _: {"x": 1.0}, 0, labelled=60)
    states = {one.rule: one.state for one in service.views.windows("m")[0].verdicts}
    assert states == {"labels-moved": "nodata", "few-labels": "breach"}
    service.stop()


def test_low_and_high_are_those_of_95_percent_and_the_bound_is_the_rules_own(tmp_path: Path) -> None:
    service = serve(tmp_path, PAGE.replace("severity", "confidence: 0.8, severity"), right_in(0.95, 400), "")
    send(service, right_in(0.8, 200), lambda _: {}, 0, labelled=200)
    alert, window = the_alert(service), service.views.windows("m")[0]
    shown = window.summary.performance["accuracy"]
    rows = Classification({("0", "0"): 80, ("1", "1"): 80, ("0", "1"): 20, ("1", "0"): 20})
    wide, own = (
        measures(rows, confidence=level)["accuracy"] for level in (0.95, 0.6)
    )  # one-sided 80 %: two-sided 60 %
    assert (alert.low, alert.high) == (shown.low, shown.high) == (wide.low, wide.high)
    assert (alert.bound, alert.confidence) == (pytest.approx(own.high), 0.8)
    [verdict] = window.verdicts
    assert (verdict.low, verdict.high, verdict.bound) == (alert.low, alert.high, alert.bound)
    assert f"upper bound {alert.bound:.3g} (80 %, n = 200)" in verdict.reason
    service.stop()


def test_a_measure_without_an_interval_has_no_bound(tmp_path: Path) -> None:
    rules = "{name: moved, measure: prediction_drift, above: 1}"
    service = serve(tmp_path, rules, right_in(0.95, 400), "")
    send(service, pl.DataFrame({"prediction": [1] * 200, "label": [1] * 200}), lambda _: {}, 0, labelled=0)
    alert = the_alert(service)
    assert (alert.low, alert.high, alert.bound, alert.confidence) == (None, None, None, 0.95)
    service.stop()


@pytest.mark.parametrize(
    ("window", "timezone", "said"),
    [
        ("1h", "UTC", "2024-03-01 00:00 to 01:00 UTC"),
        ("1h", "Europe/Berlin", "2024-03-01 01:00 to 02:00 CET"),
        ("30min", "Asia/Kolkata", "2024-03-01 05:30 to 06:00 IST"),
        ("1d", "Europe/Berlin", "2024-03-01 to 2024-03-02 (Europe/Berlin)"),
        ("1d", "UTC", "2024-03-01 to 2024-03-02"),
    ],
)
def test_people_read_of_windows_in_the_models_time_zone(tmp_path: Path, window: str, timezone: str, said: str) -> None:
    service = serve(tmp_path, PAGE, right_in(0.95, 400), "", window, timezone)
    send(service, right_in(0.0, 30), lambda _: {}, 0, labelled=30)
    alerts = service.views.alerts("m")
    first = min(alerts, key=lambda alert: alert.window.start)
    assert describe_alert(first)[1] == f"m: accuracy-low: window {said}"
    service.stop()
