"""Rules on one feature and on how long answers take: judged in a window as in a file, named in alerts and exports."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import driftline
from driftline.config.load import load
from driftline.errors import ConfigError
from driftline.exporters.prometheus_rules import ModelAlerts, groups_of
from driftline.rules import State
from driftline.service.runtime import Service
from driftline.store.judgements import Judgement
from tests.support.churn import MODEL, prediction, reference_rows, write_config
from tests.support.steps import deliver, work

RULES = (
    "{name: old, measure: drift.age, above: 1.5, severity: page}",
    "{name: any, measure: drift.plan, above: 0.0001}",
    "{name: gaps, measure: missing.age, above: 0.1, min_samples: 50}",
    "{name: slow, measure: latency_p95, above: 0.4}",
    "{name: moved, measure: drifted_features_ratio, above: 0.4}",
    "{name: said, measure: prediction_drift, above: 1}",
)


def serve(folder: Path, *rules: str) -> Service:
    path = write_config(folder)
    head, _, rest = path.read_text().partition("      rules:\n")
    lines = "".join(f"        - {rule}\n" for rule in rules)
    path.write_text(f"{head}      rules:\n{lines}storage:{rest.partition('storage:')[2]}")
    return Service(load(path))


def a_day(*, age: float, gaps: float, seconds: float | None = None, count: int = 200) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    found = []
    for at in range(count):
        row = prediction(f"p{at}", 1 + at / 1000, said=int(rng.integers(0, 2)), score=0.5)
        row["features"] = {
            "age": None if rng.random() < gaps else rng.normal(age, 10),
            "plan": str(rng.choice(["basic", "pro"])),
        }
        found.append(row if seconds is None else row | {"latency_seconds": seconds * rng.uniform(0.5, 1.0)})
    return [*found, prediction("later", 3, said=1, score=0.5)]  # the day is over


def judged(service: Service) -> dict[str, Judgement]:
    with service.state.read() as read:
        start = min(row.start for row in read.windows.between(MODEL))
        return {one.rule: one for one in read.judgements.find(MODEL, window_start=start)}


@pytest.mark.parametrize(("age", "gaps"), [(40.0, 0.0), (70.0, 0.3), (40.5, 0.12)])
def test_a_window_is_judged_as_a_file_of_its_rows(tmp_path: Path, age: float, gaps: float) -> None:
    service, rows = serve(tmp_path, *RULES), a_day(age=age, gaps=gaps)
    deliver(service, "predictions", rows)
    work(service)
    found = judged(service)
    file = pl.DataFrame([{**row["features"], **{k: row[k] for k in ("prediction", "score")}} for row in rows[:-1]])
    config = service.config.models[MODEL]
    columns = {"label": "label", "prediction": "prediction", "score": "score", "task": "binary"}
    report = driftline.check(reference_rows().drop("time"), file, rules=config.rules, multivariate="none", **columns)
    for same in report.rules:
        stored = found[same.rule]
        assert (stored.state, stored.value, stored.n) == (same.state.value, same.value, same.n)
        assert (stored.low, stored.high, stored.bound) == (same.low, same.high, same.bound)
        assert stored.reason == same.reason
    service.stop()


def test_their_alerts_name_the_feature_and_the_latency_is_that_of_the_window(tmp_path: Path) -> None:
    service = serve(tmp_path, *RULES)
    deliver(service, "predictions", a_day(age=80.0, gaps=0.3, seconds=1.0))
    events = work(service)
    assert {event.alert.measure for event in events} >= {"drift.age", "missing.age", "latency_p95"}
    assert [event.alert.title for event in events if event.alert.rule == "old"] == ["Model drift.age above threshold!"]
    slow = judged(service)["slow"]
    assert slow.value == pytest.approx(0.975, rel=0.03) and slow.bound is not None and 0.9 < slow.bound < slow.value
    assert judged(service)["any"].state == State.OK, "some way off by chance is no breach, however low the threshold"
    service.stop()


def test_a_rule_on_a_feature_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alerts\.rules\.0\.measure: 'agee' is not one of `features`.*'age'\?"):
        serve(tmp_path, "{name: a, measure: drift.agee, above: 0.1}")
    path = tmp_path / "driftline.yaml"
    path.write_text(path.read_text().replace(", features: [age, plan]", ""))  # the reference says what there is
    with pytest.raises(ConfigError, match=r"alerts\.rules\.0\.measure: unknown feature 'agee'.*Did you mean 'age'"):
        Service(load(path))


def test_exported_rules_carry_the_feature(tmp_path: Path) -> None:
    service = serve(tmp_path, "{name: a, measure: 'missing.age', above: 0.1}", "{name: b, measure: accuracy, below: 1}")
    rules = service.config.models[MODEL].rules
    service.stop()
    [group] = groups_of([ModelAlerts(MODEL, timedelta(days=1), None, rules)])
    first, second = (rule["labels"] for rule in group["rules"])
    assert (first["measure"], first["feature"]) == ("missing.age", "age")
    assert "feature" not in second
