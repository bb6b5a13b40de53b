"""Rows that share the luck of a day or of a customer: no alert where nothing changed, through every door."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import driftline
from driftline.checks.report import Report
from driftline.config.load import load
from driftline.errors import ConfigError, DataError, UnknownNameError
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from tests.support.steps import NOW, deliver, work

START = datetime(2024, 1, 1, tzinfo=UTC)
TASKS = ("binary", "regression")


def side(
    rng: np.random.Generator, task: str, luck: float = 0.5, *, days: int = 60, a_day: int = 40, worse: float = 0.0
) -> pl.DataFrame:
    """Rows of days, or of as many customers, each of which has its own luck; in no order."""
    day = np.repeat(np.arange(days), a_day)
    own, n = rng.normal(0, luck, days)[day], days * a_day
    if task == "binary":
        truth = rng.random(n) < 0.5
        right = rng.random(n) < 1 / (1 + np.exp(-(1.35 - 2 * worse) - own))
        made = {"y": truth.astype(int), "p": (truth == right).astype(int)}
    else:
        y = rng.normal(0, 10, n)
        made = {"y": y, "p": y + rng.normal(0, 1 + worse, n) * np.exp(own)}
    days_and_names = pl.DataFrame({"day": day}).select(
        t=pl.lit(START) + pl.duration(days="day"), who=pl.format("c{}", "day")
    )
    rows = days_and_names.with_columns(**{name: pl.Series(values) for name, values in made.items()})
    return rows[rng.permutation(n).tolist()]


def check(before: pl.DataFrame, now: pl.DataFrame, task: str, **options: str) -> Report:
    drop = [name for name in ("t", "who") if name not in options.values()]
    frames = (before.drop(drop), now.drop(drop))
    ignored = [name for name in ("who",) if name in options.values()]
    return driftline.check(
        *frames, label="y", prediction="p", task=task, multivariate="none", ignore=ignored, **options
    )


def alerts(found: Report) -> list[str]:
    return [alert.message for alert in found.alerts if alert.kind == "performance"]


@pytest.mark.parametrize("options", [{"time": "t"}, {"cluster": "who"}], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_days_and_customers_with_their_own_luck_are_no_alert(task: str, options: dict[str, str]) -> None:
    """19 to 22 of 100 for MAE and 8 for accuracy by rows; now at most 2 of 100, so 3 of 25 have a chance of 1 %."""
    rng = np.random.default_rng(1)
    told = [alerts(check(side(rng, task), side(rng, task), task, **options)) for _ in range(25)]
    assert sum(map(bool, told)) <= 2


@pytest.mark.parametrize("task", TASKS)
def test_what_became_worse_is_told_all_the_same(task: str) -> None:
    rng = np.random.default_rng(2)
    for luck in (0.0, 0.3):
        found = check(side(rng, task, luck), side(rng, task, luck, worse=0.4), task, time="t")
        assert alerts(found)


def test_independent_rows_are_told_as_soon_with_times_as_without() -> None:
    rng = np.random.default_rng(3)
    pairs = [(side(rng, "binary", 0.0), side(rng, "binary", 0.0, worse=0.14)) for _ in range(20)]
    with_times, without = (
        sum(bool(alerts(check(*pair, "binary", **options))) for pair in pairs) for options in ({"time": "t"}, {})
    )
    assert without >= 8
    assert with_times >= 0.7 * without


def test_the_order_of_rows_and_their_files_do_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = side(rng, "regression")
    rows.write_csv(tmp_path / "rows.csv")
    rows.sort("t").write_parquet(tmp_path / "rows.parquet", row_group_size=500)
    options = {"label": "y", "prediction": "p", "time": "t", "task": "regression", "multivariate": "none"}
    kinds = [rows, tmp_path / "rows.csv", tmp_path / "rows.parquet", rows.to_arrow()]
    found = [driftline.check(kind, kind, **options).performance["mae"] for kind in kinds]
    for one in found[1:]:
        assert (one.low, one.high) == pytest.approx((found[0].low, found[0].high))


def test_the_command_and_its_configuration_take_a_cluster(tmp_path: Path) -> None:
    rows = side(np.random.default_rng(5), "binary", 1.0)
    rows.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "driftline.yaml").write_text(
        "models:\n  m:\n    task: binary\n    reference: {path: rows.parquet}\n"
        "    columns: {label: y, prediction: p, features: [who], cluster: who}\n"
    )
    wide = {}
    for name, words in {
        "alone": ["--label", "y", "--prediction", "p", "--ignore", "t"],
        "option": ["--label", "y", "--prediction", "p", "--ignore", "t", "--cluster", "who"],
        "configuration": ["--config", "driftline.yaml"],
    }.items():
        command = [sys.executable, "-m", "driftline", "check", "rows.parquet", "rows.parquet", "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        accuracy = json.loads(done.stdout)["performance"]["accuracy"]
        wide[name] = accuracy["high"] - accuracy["low"]
    assert wide["option"] == wide["configuration"] > 1.5 * wide["alone"]


def test_clusters_that_cannot_be_are_refused(tmp_path: Path) -> None:
    rows = side(np.random.default_rng(6), "binary").head(100)
    with pytest.raises(UnknownNameError, match="custmer"):
        driftline.check(rows, rows, label="y", prediction="p", cluster="custmer")
    lists = rows.with_columns(who=pl.concat_list("y", "p"))
    with pytest.raises(DataError, match="cluster column 'who'"):
        driftline.check(lists, lists, label="y", prediction="p", cluster="who")
    for columns, words in (
        ("label: y, cluster: y", "is also label"),
        ("features: [a], cluster: b", "is not one of `features`"),
    ):
        path = tmp_path / "driftline.yaml"
        path.write_text(f"models:\n  m:\n    reference: {{path: rows.parquet}}\n    columns: {{{columns}}}\n")
        with pytest.raises(ConfigError, match=words):
            load(path)


def test_rows_without_a_cluster_are_one(tmp_path: Path) -> None:
    rows = side(np.random.default_rng(7), "binary").with_columns(who=pl.when(pl.col("who") != "c0").then("who"))
    found = driftline.check(rows, rows, label="y", prediction="p", cluster="who", ignore=["who", "t"])
    assert found.performance is not None
    assert found.performance["accuracy"].low < found.performance["accuracy"].value


@pytest.mark.parametrize("cluster", [None, "who"])
def test_a_served_window_is_as_unsure_as_its_hours_or_customers(tmp_path: Path, cluster: str | None) -> None:
    """One hour in three all goes wrong: 240 rows of a day say no more than 24 hours. A rebuild finds the same."""
    named = "" if cluster is None else f", cluster: {cluster}"
    pl.DataFrame({"who": ["a", "b"] * 50, "prediction": ["0", "1"] * 50, "label": ["0", "1"] * 50}).write_parquet(
        tmp_path / "reference.parquet"
    )
    (tmp_path / "driftline.yaml").write_text(
        "models:\n  m:\n    task: binary\n    reference: {path: reference.parquet}\n    window: 1d\n"
        f"    columns: {{prediction: prediction, label: label, features: [who]{named}}}\nstorage: ./data\n"
    )
    service = Service(load(tmp_path / "driftline.yaml"))
    hours = [(hour, row) for hour in range(24) for row in range(10)]
    day = datetime(2025, 12, 30, tzinfo=UTC)
    predictions = [
        {
            "id": f"{hour}-{row}",
            "time": (day + timedelta(hours=hour, minutes=row)).isoformat(),
            "features": {"who": f"customer {hour}"},
            "prediction": "1",
        }
        for hour, row in hours
    ]
    deliver(service, "predictions", predictions)
    labels = [
        {"id": f"{hour}-{row}", "label": "1" if hour % 3 else "0", "time": NOW.isoformat()} for hour, row in hours
    ]
    deliver(service, "labels", labels)
    work(service)
    found = service.views.windows("m")[0].summary.performance["accuracy"]
    assert found.value == pytest.approx(2 / 3)
    assert found.high - found.low > 0.35  # of independent rows it is 0.12
    model = next(iter(service.models.values()))
    assert rebuild(model, service.state).differing == ()
    service.stop()
