"""Models that are not the tidy binary one: regression, odd columns, a bare reference, two models, one taken away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftline.config.load import load
from driftline.events import Kind, parse_labels, parse_predictions, require_all_good
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from driftline.store.deliveries import Delivery
from driftline.web.app import create_app
from tests.support.churn import START
from tests.support.steps import NOW, work

CONFIG = """
models:
  price:
    columns: {time: time, prediction: predicted, label: paid}
    window: 1d
    timezone: Europe/Berlin
    labels: {expected_within: 1d, accepted_for: 30d}
    reference: {path: price.parquet, season: yearly}
    alerts:
      rules:
        - {name: mae-high, measure: mae, above: 0.5}
        - {name: covered, measure: label_coverage, below: 0.9}
        - {name: wape-high, measure: wape, above: 0.1}
        - {name: no-better-than-naive, measure: mase, above: 1}
  bare:
    task: binary
    columns: {features: [a]}
    reference: {path: bare.parquet}
    alerts: {rules: [{name: accuracy-low, measure: accuracy, below: 0.5}]}
storage: ./data
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng, n = np.random.default_rng(0), 200
    pl.DataFrame(
        {
            "time": [START - timedelta(days=40) + timedelta(hours=index) for index in range(n)],
            "x": [float("nan") if index % 10 == 0 else float(index) for index in range(n)],
            "flag": [index % 2 == 0 for index in range(n)],
            "when": [date(2024, 1, 1)] * n,
            "empty": pl.Series([None] * n, dtype=pl.String),
            "nothing": pl.Series([None] * n, dtype=pl.Null),
            "list": [["a", "b"]] * n,
            "vector": [[1, 2]] * n,
            "constant": [1] * n,
            "predicted": rng.normal(size=n),
            "paid": [float("nan") if index == 3 else float(rng.normal()) for index in range(n)],
        }
    ).write_parquet(tmp_path / "price.parquet")
    pl.DataFrame({"a": [1, 2, 3] * 50}).write_parquet(tmp_path / "bare.parquet")
    (tmp_path / "driftline.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    service = Service(load(folder / "driftline.yaml"))
    yield service
    service.stop()


def send(service: Service, model: str, kind: Any, rows: list[dict[str, Any]]) -> None:
    parse = parse_predictions if kind == "predictions" else parse_labels
    parsed = parse(rows, service.models[model].schema, arrived=NOW)
    require_all_good(parsed)
    service.inbox.accept(Delivery(model, kind, NOW, parsed.good))


def send_prices(service: Service) -> None:
    predictions = [
        {
            "id": f"p{index}",
            "time": (START + timedelta(minutes=10 * index)).isoformat(),
            "version": "a" if index % 2 else "",
            "features": {
                "x": None if index % 3 else 1.0 * index,
                "flag": True,
                "when": "2024-01-01",
                "list": [1, [2]],
                "vector": [1],
            },
            "prediction": float(index % 7),
        }
        for index in range(300)
    ]
    day = (START + timedelta(days=1)).isoformat()
    labels = [{"id": f"p{index}", "label": index % 7 + (2 if index % 3 else 0), "time": day} for index in range(300)]
    send(service, "price", "predictions", predictions)
    send(service, "price", "labels", labels)


def test_a_regression_with_odd_columns_is_measured_and_alerted_on(service: Service, folder: Path) -> None:
    assert service.models["price"].schema.features["list"] is Kind.UNSUPPORTED
    send_prices(service)
    work(service)
    window = service.views.windows("price")[0]
    first = window.summary
    assert first.performance["mae"].value == pytest.approx(4 / 3, abs=0.02)
    assert set(first.drift) == {"constant", "empty", "flag", "nothing", "vector", "when", "x"}  # lists of texts are not
    assert first.drift["when"].value is None  # that time goes on is no drift
    assert first.drift["x"].missing_current == pytest.approx(2 / 3, abs=0.05)
    assert first.drift["flag"].drifted
    assert not first.drift["empty"].drifted
    [alert] = [one for one in service.views.alerts("price") if one.rule == "mae-high"]
    assert alert.status == "firing"
    assert alert.low is not None and alert.low > 0.5
    assert rebuild(service.models["price"], service.state).differing == ()
    paid = pl.read_parquet(folder / "price.parquet").filter(pl.col("paid").is_finite())["paid"].to_numpy()
    naive = np.abs(np.diff(paid)).mean()
    assert first.performance["mase"].value == pytest.approx(first.performance["mae"].value / naive)
    assert first.performance["wape"].value == pytest.approx((4 / 3) / (3 + 4 / 3), abs=0.02)
    [alert] = [one for one in service.views.alerts("price") if one.rule == "wape-high"]
    assert (alert.status, alert.measure) == ("firing", "wape")
    states = {verdict.rule: verdict.state for verdict in window.verdicts}
    assert states["wape-high"] == "breach" and states["no-better-than-naive"] != "nodata"


def test_a_reference_without_predictions_or_labels_still_serves(service: Service) -> None:
    old = {"id": "old", "features": {"a": 1}, "prediction": 0, "time": "1965-03-01T00:00:00Z"}
    new = {"id": "new", "features": {"a": 9}, "prediction": True, "time": "2024-01-01T00:00:00Z"}
    send(service, "bare", "predictions", [old, new])
    send(service, "bare", "labels", [{"id": "new", "label": 1, "time": "2024-01-02T00:00:00Z"}])
    work(service)
    before, after = service.views.windows("bare")
    assert (before.summary.labelled, before.verdicts[0].state) == (0, "nodata")
    assert after.summary.performance["accuracy"].value == 1.0
    assert after.summary.prediction_drift is None


def test_a_model_taken_out_of_the_configuration_is_not_shown_and_comes_back_whole(
    service: Service, folder: Path
) -> None:
    send_prices(service)
    work(service)
    seen = service.views.windows("price")
    service.stop()
    config = folder / "driftline.yaml"
    config.write_text("models:\n  bare:" + CONFIG.split("  bare:")[1])
    without = Service(load(config))
    assert [one.name for one in without.views.models()] == ["bare"]
    work(without)
    without.stop()
    config.write_text(CONFIG)
    again = Service(load(config))
    work(again)
    assert again.views.windows("price") == seen
    again.stop()


def test_every_page_and_metric_of_odd_models_is_served(service: Service) -> None:
    from fastapi.testclient import TestClient

    send_prices(service)
    work(service)
    client = TestClient(create_app(service))
    for path in ("/", "/models/price", "/models/bare", "/metrics", "/api/v1/alerts", "/api/docs"):
        assert client.get(path).status_code == 200
    assert "NaN" not in client.get("/metrics").text
