"""One entry a measure: what an entry says holds, and it reaches everything that speaks of measures by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftline.config.load import parse
from driftline.errors import ConfigError
from driftline.events import Task
from driftline.profiles import Classification, Regression
from driftline.rules.topic import is_of_window, needs_labels, rests_on_labels, topic_of
from driftline.statistics import CATALOGUE, MeasureSpec, least_change, measures
from driftline.statistics.catalogue import (
    Better,
    Topic,
    Unit,
    headlines,
    lower_is_better,
    paired_measures,
    performance_measures,
    rule_measures,
)
from driftline.statistics.influence import Answers, Paired
from driftline.statistics.intervals import Interval
from driftline.statistics.measure import Measure
from driftline.statistics.paired import difference
from driftline.statistics.request import MeasureRequest
from driftline.statistics.worse import falls
from driftline.web.ui.series import bounds_of

CONFIG = """
models:
  bikes:
    task: {task}
    reference: {{path: reference.parquet}}
    alerts: {{rules: [{{name: high, measure: {measure}, above: 2}}]}}
"""


def mean_square(performance: Regression, ask: MeasureRequest) -> Measure:
    n = performance.count
    value = float(performance.errors.squares.fraction / n)
    return ask.yes(value, Interval(0.9 * value, 1.1 * value), n)


def squares(answers: Answers, positive: str | None) -> tuple[float, np.ndarray]:
    errors = (np.asarray(answers.predictions) - np.asarray(answers.labels)) ** 2
    return float(errors.mean()), (errors - errors.mean()) / len(errors)


ENTRY = MeasureSpec(
    name="mse",
    tasks=(Task.REGRESSION,),
    unit=Unit.SQUARE,
    range=(0.0, math.inf),
    better=Better.LOWER,
    function=mean_square,
    headline=True,
    paired=Paired(squares),
)


@pytest.mark.parametrize("there", [False, True])
def test_one_entry_adds_a_measure_everywhere(there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if there:
        monkeypatch.setitem(CATALOGUE, ENTRY.name, ENTRY)
    rows = Regression.of(pl.Series([0.0, 0.0]), pl.Series([1.0, 3.0]))
    assert ("mse" in measures(rows)) == there
    assert ("mse" in headlines()) == there
    assert ("mse" in paired_measures(Task.REGRESSION)) == there and "mse" not in paired_measures(Task.BINARY)
    text = CONFIG.format(task="regression", measure="mse")
    truth = pl.Series(np.arange(200.0))
    pair = Regression.of(truth, truth + 1.0), Regression.of(truth, truth + pl.Series(np.tile([1.0, 3.0], 100)))
    assert [one.measure for one in falls(pair, names=["mse"])] == ["mse"] * there
    assert bounds_of("mse") == ((0.0, None) if there else (None, None))
    if not there:
        with pytest.raises(ConfigError, match="'mse' is not a measure"):
            parse(text, tmp_path / "driftline.yaml")
        return
    assert measures(rows)["mse"].value == 5.0
    assert parse(text, tmp_path / "driftline.yaml").models["bikes"].rules[0].measure == "mse"
    assert topic_of("mse") is Topic.PERFORMANCE and rests_on_labels("mse")
    assert lower_is_better("mse") and least_change("mse", 10.0) == 0.5
    truth = np.arange(30.0)
    found = difference("mse", Answers(truth, truth + 1), Answers(truth, truth + np.tile([1.0, 3.0], 15)))
    assert found.value == 4.0 and found.low is not None and found.low > 0
    with pytest.raises(ConfigError, match="not a measure of a binary model"):
        parse(CONFIG.format(task="binary", measure="mse"), tmp_path / "driftline.yaml")


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=CATALOGUE)
def test_every_entry_holds_together(spec: MeasureSpec) -> None:
    low, high = spec.range
    assert low < high and CATALOGUE[spec.name] is spec and spec.tasks
    assert (spec.function is None) == is_of_window(spec.name)
    if spec.function is None:
        assert spec.paired is None and spec.of_blocks is None and not spec.headline and not spec.judged
    else:
        assert spec.topic is Topic.PERFORMANCE and spec.rests_on_labels and needs_labels(spec.name)
    assert not (spec.judged and spec.better is None)  # what is judged has a worse side
    assert not (spec.paired and spec.better not in (Better.HIGHER, Better.LOWER))
    assert spec.in_rules == (spec.name in rule_measures())


def test_a_task_has_its_own_measures_and_those_of_windows() -> None:
    names = {*measures(Classification(), positive="1"), *measures(Regression())}
    assert names == set(performance_measures())
    both = set(rule_measures(Task.BINARY)) & set(rule_measures(Task.REGRESSION))
    assert both == {name for name in rule_measures() if is_of_window(name)}
    assert not set(performance_measures(Task.MULTICLASS)) ^ set(performance_measures(Task.BINARY))


def test_a_measure_of_a_users_own_is_one_of_performance() -> None:
    assert topic_of("my_score") is Topic.PERFORMANCE and needs_labels("my_score") and rests_on_labels("my_score")
    assert not is_of_window("my_score") and not lower_is_better("my_score") and bounds_of("my_score") == (None, None)
