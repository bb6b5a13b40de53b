"""Rules of a configuration on a check: one window, judged as the service judges its windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import driftline
from driftline.checks.report import Report
from driftline.cli import check as check_command
from driftline.errors import AlertsFound, UnknownNameError
from driftline.events import Segment
from driftline.profiles import Classification
from driftline.reports.words import RULE_STATES
from driftline.rules import Rule, State, interval_confidence, judge
from driftline.statistics import EffectThresholds, measures

RULES = """
        - {name: accuracy-low, measure: accuracy, below: 0.75, for: 3, keep_firing_for: 2, severity: page}
        - {name: recall-low, measure: recall, below: 0.2}
        - {name: slow, measure: latency_p95, above: 0.5}
"""


def rows(count: int, right: float, *, age: float = 40.0, seed: int = 1) -> pl.DataFrame:
    """Labelled rows of a binary model, a given share of which it has right to within a row."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count)
    good = rng.permutation(count) < round(right * count)
    return pl.DataFrame({"age": rng.normal(age, 10.0, count), "y": truth, "p": np.where(good, truth, 1 - truth)})


def checked(current: pl.DataFrame, *rules: Rule | str, **options: Any) -> Report:
    return driftline.check(rows(1000, 0.9, seed=9), current, label="y", prediction="p", rules=rules, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows(1000, 0.9, seed=9).write_parquet(tmp_path / "reference.parquet")
    (tmp_path / "driftline.yaml").write_text(
        "models:\n  churn:\n    columns: {prediction: p, label: y}\n"
        f"    reference: {{path: reference.parquet}}\n    alerts:\n      rules:{RULES}"
    )
    return tmp_path


def run(folder: Path, current: pl.DataFrame, *options: str) -> Result:
    current.write_parquet(folder / "current.parquet")
    files = [str(folder / "reference.parquet"), str(folder / "current.parquet")]
    config = ["--config", str(folder / "driftline.yaml")]
    return CliRunner().invoke(check_command.command, [*files, *config, *options], standalone_mode=False)


def test_a_rule_of_the_configuration_fails_the_check_in_every_form(folder: Path) -> None:
    bad = rows(1000, 0.6)
    found = run(folder, bad, "--json", "--html", str(folder / "report.html"))
    assert found.return_value == 1
    document = json.loads(found.stdout)
    [alert] = [one for one in document["alerts"] if one["kind"] == "rule"]
    assert (alert["rule"], alert["severity"], alert["measure"]) == ("accuracy-low", "page", "accuracy")
    assert (alert["value"], alert["threshold"], alert["n"]) == (0.6, 0.75, 1000)
    assert alert["low"] < 0.6 < alert["bound"] < alert["high"] < 0.75
    assert document["alerts"][0] == alert, "what people asked for comes first"
    assert [(one["rule"], one["state"]) for one in document["rules"]] == [
        ("accuracy-low", "breach"),
        ("recall-low", "ok"),
        ("slow", "nodata"),
    ]
    for told in (run(folder, bad).stdout, (folder / "report.html").read_text()):
        words = " ".join(told.split())
        for part in ("accuracy-low", "page", "accuracy is 0.6", "lies below 0.75", "95 % interval 0.5"):
            assert part in words
        assert RULE_STATES["nodata"] in words and "latency_seconds" in words
    assert run(folder, bad, "--fail-on", "quality").return_value == 0
    assert run(folder, bad, "--fail-on", "rule").return_value == 1


def test_what_a_rule_cannot_judge_is_said_and_changes_nothing(folder: Path) -> None:
    unlabelled = rows(1000, 0.6).with_columns(y=pl.lit(None, pl.Int64))
    found = run(folder, unlabelled)
    assert found.return_value == 0
    words = " ".join(found.stdout.split())
    assert "3 of 3 rules could not be judged" in words
    assert "accuracy cannot be had: no labelled rows" in words
    quiet = run(folder, rows(1000, 0.9, seed=3), "--json")
    assert quiet.return_value == 0 and json.loads(quiet.stdout)["alerts"] == []


def test_without_a_column_of_labels_their_coverage_is_not_known() -> None:
    rule = Rule("unlabelled", "label_coverage", below=0.5)
    assert checked(rows(200, 0.9).drop("y"), rule).rules[0].state is State.NODATA
    none = rows(200, 0.9).with_columns(y=pl.lit(None, pl.Int64))
    assert checked(none, rule).rules[0].state is State.BREACH


@given(
    count=st.integers(5, 400),
    right=st.floats(0, 1),
    below=st.floats(0.01, 0.99),
    confidence=st.sampled_from([0.8, 0.95, 0.999]),
    min_samples=st.integers(0, 500),
    labelled=st.floats(0, 1),
    min_coverage=st.sampled_from([0.0, 0.5, 0.9]),
)
@settings(max_examples=25, deadline=None)
def test_a_file_is_judged_as_a_window_of_its_rows(
    count: int,
    right: float,
    below: float,
    confidence: float,
    min_samples: int,
    labelled: float,
    min_coverage: float,
) -> None:
    rule = Rule(
        "low", "accuracy", below=below, confidence=confidence, min_samples=min_samples, min_coverage=min_coverage
    )
    known = round(labelled * count)
    current = rows(count, right).with_columns(
        y=pl.when(pl.int_range(pl.len()) < known).then(pl.col("y")).otherwise(None)
    )
    [found] = checked(current, rule).rules
    there = current.head(known).select(pl.all().cast(pl.String))
    performance = Classification.of(there["y"], there["p"], {}) if known else None
    measure = measures(performance, confidence=interval_confidence(rule), positive="1").get("accuracy")
    if measure is None or measure.n < min_samples or known < min_coverage * count:
        assert found.state is State.NODATA
    else:
        assert found.state is judge(rule, measure).state
        assert found.bound == pytest.approx(measure.high)


def test_rules_are_expressions_too_and_unknown_names_are_mistakes() -> None:
    report = checked(rows(500, 0.6), "accuracy < 75%", "recall > 0.1")
    assert [alert.rule for alert in report.alerts if alert.kind == "rule"] == ["accuracy < 0.75", "recall > 0.1"]
    with pytest.raises(AlertsFound, match=r"rule accuracy < 0\.75 \(warning\): accuracy is 0\.6"):
        report.raise_for_alerts("rule")
    with pytest.raises(UnknownNameError, match=r"'acuracy'.*Did you mean 'accuracy'"):
        checked(rows(50, 0.9), "acuracy < 0.75")
    with pytest.raises(UnknownNameError, match=r"feature of the rule 'a' 'agee'; known: age\. Did you mean 'age'"):
        checked(rows(50, 0.9), Rule("a", "drift.agee", above=0.1))


# ---- one feature -------------------------------------------------------------------------------------------


def test_rules_on_one_feature_name_it() -> None:
    moved = rows(600, 0.9, age=60.0).with_columns(
        age=pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise("age")
    )
    drift, missing = Rule("old", "drift.age", above=1.5), Rule("gaps", "missing.age", above=0.2)
    report = checked(moved, drift, missing)
    alerts = [alert for alert in report.alerts if alert.kind == "rule"]
    assert [(alert.rule, alert.column, alert.measure) for alert in alerts] == [
        ("old", "age", "drift.age"),
        ("gaps", "age", "missing.age"),
    ]
    assert alerts[0].value == report.columns["age"].drift.value
    verdict = report.rules[1]
    assert verdict.value == 0.25 and verdict.low is not None and verdict.high is not None
    assert verdict.low < 0.25 < verdict.high
    gone = checked(moved.drop("age"), drift, missing)
    assert gone.rules[0].state is State.NODATA and "is gone" in gone.rules[0].reason
    assert (gone.rules[1].state, gone.rules[1].value) == (State.BREACH, 1.0)


@given(seed=st.integers(0, 10_000), above=st.floats(0.0, 0.3))
@settings(max_examples=20, deadline=None)
def test_a_distance_that_chance_explains_is_no_breach(seed: int, above: float) -> None:
    """However low the threshold, and a small sample is always some way off."""
    report = checked(rows(60, 0.9, seed=seed), Rule("any", "drift.age", above=above))
    drift, verdict = report.columns["age"].drift, report.rules[0]
    assert verdict.value == drift.value and drift.p_value is not None and drift.value is not None
    by_chance = drift.p_value >= EffectThresholds().chance
    assert (verdict.state is State.BREACH) == (not by_chance and drift.value > above)
    if by_chance and drift.value > above:
        assert "chance may explain it" in verdict.reason


@pytest.mark.parametrize("part", [{"segment": "all"}, {"segment": Segment("plan", "pro")}, {"version": "each"}])
def test_a_rule_on_a_part_of_the_rows_is_not_judged_on_all_of_them(part: dict[str, Any]) -> None:
    report = checked(rows(400, 0.5), Rule("low", "accuracy", below=0.9, **part))
    [rule] = report.rules
    assert rule.state is State.NODATA and "`driftline serve` judges segments and versions" in rule.reason
    assert report.alerts_of("rule") == ()
