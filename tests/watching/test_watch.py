"""``driftline watch``: the laws of its schedule, what it reads, and stories in a process of their own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sklearn import metrics as sk

import driftline
from driftline.cli.main import main
from driftline.errors import DataError
from driftline.events import parse_duration
from driftline.rules import parse_expression
from driftline.text.durations import written
from driftline.watching.metrics import MOST_CONNECTIONS
from driftline.watching.report import document, lines_of
from driftline.watching.schedule import Evaluation, Watching, next_run, watch
from driftline.watching.target import read_result

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
SPANS = st.timedeltas(timedelta(microseconds=1), timedelta(days=30))
PATIENCE_SECONDS = 60

# ---- the schedule -----------------------------------------------------------------------------------------


@given(SPANS, st.timedeltas(timedelta(0), timedelta(days=400)), st.integers(0, 1000))
def test_the_next_slot_is_the_first_on_the_grid_that_is_open(every: timedelta, elapsed: timedelta, count: int) -> None:
    now = START + elapsed
    slot = next_run(START, every, now, count)
    assert slot.at == START + slot.index * every  # on the grid: no drift
    assert slot.at >= now and slot.index >= count  # never in the past, never twice
    assert slot.index == count or slot.at - every < now  # none is skipped that could be kept
    assert slot.skipped == slot.index - count


class Simulated:
    """A clock that a function and a sleep move on, and a stop that never comes."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> None:
        assert timeout > 0
        self.time += timedelta(seconds=timeout)


def simulate(
    results: list[object], expressions: list[str], took: list[timedelta] | None = None
) -> list[tuple[Watching, Evaluation]]:
    clock, at = Simulated(), iter(range(len(results)))

    def function() -> object:
        number = next(at)
        clock.time += took[number] if took else timedelta(seconds=1)
        result = results[number]
        if isinstance(result, Exception):
            raise result
        return result

    rules = [parse_expression(text, min_samples=0) for text in expressions]
    first = Watching.of("model", rules, timedelta(minutes=1))
    return list(watch(function, first, now=clock.now, steady=clock.now, stop=clock, count=len(results)))


@given(st.lists(st.timedeltas(timedelta(0), timedelta(minutes=5)), min_size=1, max_size=20))
def test_evaluations_start_on_the_grid_and_never_overlap(took: list[timedelta]) -> None:
    told = simulate([0.9] * len(took), [], took)
    ends = [evaluation.outcome.at for _, evaluation in told]
    starts = [end - length for end, length in zip(ends, took, strict=True)]
    every, tick = timedelta(minutes=1), timedelta(microseconds=1)
    assert all((start - START + tick) % every <= 2 * tick for start in starts)
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    slots_used = len(told) + told[-1][0].skipped
    assert abs(starts[-1] - START - (slots_used - 1) * every) <= tick


@given(SPANS)
def test_a_duration_is_written_as_it_is_read(span: timedelta) -> None:
    if span.total_seconds() < 999_999:
        assert abs(parse_duration(written(span)) - span) <= timedelta(microseconds=1)


# ---- what happens -----------------------------------------------------------------------------------------


def transcript(results: list[object], expressions: list[str]) -> list[str]:
    return [line for _, evaluation in simulate(results, expressions) for line in lines_of(evaluation)]


def test_an_alert_is_shown_at_each_breach_and_resolved_once() -> None:
    assert transcript([0.9, 0.72, 0.7, 0.8, 0.81], ["accuracy < 0.75"]) == [
        "Model accuracy: 0.9",
        "Model accuracy: 0.72",
        "⚠️ Alert: Model accuracy below threshold!",
        "   rule accuracy < 0.75: value 0.72, threshold 0.75",
        "Model accuracy: 0.7",
        "⚠️ Alert: Model accuracy below threshold!",
        "   rule accuracy < 0.75: value 0.7, threshold 0.75",
        "Model accuracy: 0.8",
        "✅ Resolved: Model accuracy no longer below threshold",
        "   rule accuracy < 0.75: value 0.8, threshold 0.75",
        "Model accuracy: 0.81",
    ]


def test_a_rule_with_for_waits() -> None:
    assert transcript([{"recall": 0.5}, {"recall": 0.5}], ["recall < 60% for 2"]) == [
        "Model recall: 0.5",
        "   pending: recall < 0.6 for 2 (breach 1 of 2)",
        "Model recall: 0.5",
        "⚠️ Alert: Model recall below threshold!",
        "   rule recall < 0.6 for 2: value 0.5, threshold 0.6",
    ]


def test_a_failure_is_an_event_of_its_own_and_neither_breaks_nor_extends_a_streak() -> None:
    results: list[object] = [0.7, ValueError("no  data\nyet"), 0.7, 0.8]
    assert transcript(results, ["accuracy < 0.75 for 2"]) == [
        "Model accuracy: 0.7",
        "   pending: accuracy < 0.75 for 2 (breach 1 of 2)",
        "Model evaluation failed: ValueError: no data yet",
        "⚠️ Alert: Model evaluation failed!",
        "Model accuracy: 0.7",
        "⚠️ Alert: Model accuracy below threshold!",
        "   rule accuracy < 0.75 for 2: value 0.7, threshold 0.75",
        "✅ Resolved: Model evaluation works again",
        "Model accuracy: 0.8",
        "✅ Resolved: Model accuracy no longer below threshold",
        "   rule accuracy < 0.75 for 2: value 0.8, threshold 0.75",
    ]


def test_rows_are_judged_by_the_interval_and_not_by_chance() -> None:
    few: object = ([1] * 10, [1] * 7 + [0] * 3)
    many: object = ([1] * 1000, [1] * 700 + [0] * 300)
    lines = transcript([few, many], ["accuracy < 0.75"])
    assert "   no alert: by chance, accuracy may be as high as 0.913 (95 %, n = 10)" in lines
    alert = lines.index("⚠️ Alert: Model accuracy below threshold!")
    assert re.fullmatch(
        r"   rule accuracy < 0\.75: value 0\.7 \(0\.671 to 0\.728, n = 1000\), threshold 0\.75",
        lines[alert + 1],
    )
    assert max(map(len, lines)) <= 80


def test_missed_slots_are_told() -> None:
    told = simulate([0.9, 0.9], [], [timedelta(minutes=2, seconds=30), timedelta(0)])
    assert lines_of(told[1][1])[0].startswith("(2 runs were skipped")
    assert told[1][0].skipped == 2


def test_a_measure_that_does_not_come_is_told_each_time() -> None:
    (line,) = transcript([0.9], ["acuracy < 0.75"])[1:]
    assert line == ("   not judged: acuracy cannot be had: the function returned accuracy. Did you mean 'accuracy'?")


def test_the_document_holds_every_evaluation_and_alert() -> None:
    told = simulate([0.7, RuntimeError("x"), 0.8], ["accuracy < 0.75"])
    written = document(told[-1][0], [evaluation for _, evaluation in told])
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert (written["model"], written["verdict"], written["failures"]) == ("model", "alert", 1)
    assert [(each["rule"], each["value"], each["resolved"] is not None) for each in written["alerts"]] == [
        ("accuracy < 0.75", 0.7, True),
        ("evaluation-failed", 1.0, True),
    ]
    assert [each["failure"] for each in written["evaluations"]] == [None, "RuntimeError: x", None]
    assert written["evaluations"][0]["measures"]["accuracy"]["value"] == 0.7


def test_a_failure_leaves_the_last_value_and_its_date() -> None:
    told = simulate([{"a": 1, "b": 2}, ValueError("x"), {"b": 3}], [])
    (first, _), (second, _), (third, _) = told
    assert (second.measures, second.measured_at) == (first.measures, first.measured_at)
    assert [one.name for one in third.measures] == ["b"]  # what no longer comes is no longer shown


# ---- what a function may return ---------------------------------------------------------------------------


@pytest.mark.parametrize("result", [1, 0.5, np.float32(0.5), np.array(0.5), np.int64(1)])
def test_a_number_is_the_accuracy(result: object) -> None:
    assert read_result(result).measures(0.95)["accuracy"].value == float(result)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (None, "the function returned None; return a number"),
        ("0.7", "the function returned '0.7' (str); return a number"),
        (True, "the function returned True (bool)"),
        (math.nan, "accuracy came as nan; it is a finite number"),
        (math.inf, "accuracy came as inf"),
        (72, "accuracy came as 72; it lies between 0 and 1"),
        ({}, "an empty mapping"),
        ({"recall": None}, "recall came as None; it is a finite number"),
        ({"recall": "high"}, "recall came as 'high' (str)"),
        ({"F1 score": 0.3}, "'F1 score' (str) is no name of a measure"),
        ([0.1, 0.2, 0.3], "the function returned [0.1, 0.2, 0.3] (list)"),
        ((0.7, 0.8), "the function returned (0.7, 0.8) (tuple)"),
        (([1, 0], [1]), "y_true has 2 rows and y_pred has 1"),
        (([], []), "none of 0 rows has both a label and a prediction"),
        (([1], [None]), "none of 1 rows"),
        (([1.5, 2.5], ["a", "b"]), "hold 'a' (str) beside numbers"),
        (([1.5, 2.5, 3.5, "b"], [1, 2, 3, 4]), "hold 'b' (str) beside numbers"),
        (([object()], [1]), "beside numbers; give class names"),
        ((["a", 1.5], ["a", 1.5]), "hold 'a' (str) beside numbers"),
        (([1.0, math.inf], [1.0, 2.0]), "hold inf (float) beside numbers"),
        (("abc", "abd"), "y_true came as 'abc' (str)"),
        ((np.zeros((2, 2)), np.zeros(2)), "y_true came with 2 dimensions"),
    ],
)
def test_anything_else_says_what_is_allowed(result: object, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        read_result(result)


KINDS: list[Callable[[Any], Any]] = [list, tuple, np.array, pd.Series, pl.Series]


@given(rows=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_binary_rows_agree_with_scikit_learn(rows: list[tuple[bool, bool]]) -> None:
    y, p = [int(a) for a, _ in rows], [int(b) for _, b in rows]
    expected = {
        "accuracy": sk.accuracy_score(y, p),
        "precision": sk.precision_score(y, p, zero_division=0),
        "recall": sk.recall_score(y, p, zero_division=0),
    }
    for kind in KINDS:
        found = read_result((kind(y), kind(p))).measures(0.95)
        for name, value in expected.items():
            if name == "accuracy" or found[name].value is not None:
                assert found[name].value == pytest.approx(value), kind
        assert found["accuracy"].n == len(rows)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_many_classes_have_macro_averages(rows: list[tuple[str, str]]) -> None:
    y, p = [a for a, _ in rows] + list("abc"), [b for _, b in rows] + list("abc")
    found = read_result((np.array(y), pd.Series(p))).measures(0.95)
    assert found["recall"].value == pytest.approx(sk.recall_score(y, p, average="macro"))
    assert found["f1"].value == pytest.approx(sk.f1_score(y, p, average="macro"))


@pytest.mark.parametrize("kind", KINDS)
def test_floats_are_a_regression(kind: Any) -> None:
    y, p = [1.0, 2.5, 4.0, 8.0], [1.5, 2.0, 4.5, 7.0]
    found = read_result((kind(y), kind(p))).measures(0.95)
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(y, p))
    assert found["rmse"].value == pytest.approx(sk.root_mean_squared_error(y, p))
    assert found["r2"].value == pytest.approx(sk.r2_score(y, p))


def test_rows_without_a_label_are_left_out() -> None:
    y = pd.Series([1.5, None, 2.5])
    assert read_result((y, [1.5, 2.0, 2.5])).measures(0.95)["mae"].n == 2
    assert read_result((["a", None, "b"], ["a", "a", "b"])).measures(0.95)["accuracy"].n == 2


def labels_with_gaps() -> dict[str, Any]:
    """The labels 1, 0, missing, 1 in every container that people have them in."""
    numbers = [1.0, 0.0, math.nan, 1.0]
    return {
        "floats": np.array(numbers),
        "float32": np.array(numbers, dtype=np.float32),
        "a list": numbers,
        "a list of None": [1, 0, None, 1],
        "objects": np.array([1, 0, None, 1], dtype=object),
        "objects with NaN": np.array([1, 0, math.nan, 1], dtype=object),
        "NumPy scalars": [np.int64(1), np.float32(0), np.float64("nan"), np.bool_(True)],
        "masked": np.ma.array([1, 0, 5, 1], mask=[0, 0, 1, 0]),
        "a masked entry": [1, 0, np.ma.masked, 1],
        "pandas": pd.Series(numbers),
        "Int64": pd.Series([1, 0, None, 1], dtype="Int64"),
        "boolean": pd.array([True, False, None, True], dtype="boolean"),
        "a category": pd.Series(["1", "0", None, "1"], dtype="category"),
        "pd.NA": [1, 0, pd.NA, 1],
        "NaT": [1, 0, pd.NaT, 1],
        "Polars": pl.Series([1, 0, None, 1]),
        "Polars floats": pl.Series(numbers),
        "Arrow": pa.array([1, 0, None, 1]),
        "Arrow chunks": pa.chunked_array([[1, 0], [None, 1]]),
        "Arrow scalars": [pa.scalar(1), pa.scalar(0), pa.scalar(None), pa.scalar(1)],
        "decimals": [Decimal(1), Decimal(0), Decimal("NaN"), Decimal(1)],
        "texts": np.array(["1", "0", "", "1"]),
        "texts with NA": ["1", "0", " NA ", "1"],
        "texts of floats": np.array(numbers).astype(str),
        "an iterator": iter([1, 0, None, 1]),
        "a tensor": Tensor(numbers),
    }


class Tensor:
    """As torch has it: a number of dimensions, and a list of Python's numbers."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.ndim = values, 1

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("a tensor's own elements are tensors")

    def tolist(self) -> list[float]:
        return list(self.values)


@pytest.mark.parametrize("name", labels_with_gaps())
@pytest.mark.parametrize("predictions", [[1, 1, 0, 1], np.array([1.0, 1.0, 0.0, 1.0]), ["1", "1", "0", "1"]], ids=repr)
def test_labels_with_gaps_are_a_classification_with_gaps(name: str, predictions: Any) -> None:
    """NaN made an array of classes one of floats: a regression, and the alert on accuracy was never judged."""
    measured = read_result((labels_with_gaps()[name], predictions))
    found = measured.measures(0.95)
    assert (found["accuracy"].value, found["accuracy"].n) == (pytest.approx(2 / 3), 3)
    assert (found["recall"].value, found["precision"].value) == (1.0, pytest.approx(2 / 3))
    assert measured.left_out == "1 of 4 rows have no label yet and are left out"


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, None]), st.sampled_from([0, 1, 2])), min_size=1, max_size=30),
    st.sampled_from([float, str, int]),
)
def test_gaps_change_nothing_but_the_number_of_rows(rows: list[tuple[int | None, int]], kind: type) -> None:
    gap: Any = "" if kind is str else math.nan
    y, p = [gap if a is None else kind(a) for a, _ in rows], [kind(b) for _, b in rows]
    labelled = [(a, b) for a, b in rows if a is not None]
    measured = read_result((np.array(y), np.array(p)))
    if not labelled:
        assert measured.problem == f"none of {len(rows)} rows has both a label and a prediction yet"
        assert not measured.measures(0.95)
        return
    found = measured.measures(0.95)["accuracy"]
    assert found.n == len(labelled)
    assert found.value == pytest.approx(sk.accuracy_score(*zip(*labelled, strict=True)))
    assert (measured.left_out == "") == (len(labelled) == len(rows))


@given(st.lists(st.tuples(st.integers(-30, 30), st.integers(-30, 30)), min_size=1, max_size=60), st.booleans())
def test_numbers_are_classes_where_check_has_them_as_classes(rows: list[tuple[int, int]], halves: bool) -> None:
    y, p = [a + 0.5 * halves for a, _ in rows], [float(b) for _, b in rows]
    frame = pl.DataFrame({"y": y, "p": p})
    report = driftline.check(frame, frame, label="y", prediction="p")
    measured = read_result((np.array(y), np.array(p)))
    classes = {"accuracy"} & set(report.to_dict()["performance"] or {})
    assert classes == {"accuracy"} & set(measured.measures(0.95))


def test_an_alert_on_numbers_that_are_no_classes_says_so() -> None:
    y = list(range(100))
    [(watching, _)] = simulate([(y, y)], ["accuracy < 0.9"])
    [monitor] = [one for one in watching.monitors if one.rule.measure == "accuracy"]
    assert monitor.verdict is not None and "y.astype(str)" in monitor.verdict.reason
    assert read_result((list(map(str, y)), list(map(str, y)))).measures(0.95)["accuracy"].value == 1.0


def test_labels_that_are_all_late_are_no_failure_and_the_alert_says_why_it_is_not_judged() -> None:
    """The day on which the first labels are still to come is an ordinary one."""
    late = (np.array([math.nan] * 4), [1, 0, 1, 0])
    known = (np.array([1.0, 0.0, 0.0, 1.0] * 10), [1, 1, 1, 0] * 10)
    (first, one), (second, two) = simulate([late, known], ["accuracy < 0.9"])
    problem = "none of 4 rows has both a label and a prediction yet"
    assert first.failures == 0 and not first.measures and not one.outcome.failure
    assert f"Model not measured: {problem}" in lines_of(
        one
    ) and f"   not judged: accuracy cannot be had: {problem}" in lines_of(one)
    assert second.fired == 1 and "⚠️ Alert: Model accuracy below threshold!" in lines_of(two)


# ---- whole stories, in a process of their own -------------------------------------------------------------

DRIFTLINE = [sys.executable, "-P", "-c", "from driftline.cli.main import main; main()"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONIOENCODING": "utf-8",
    "PYTHONPATH": str(Path(driftline.__file__).parent.parent),
}

SCRIPT = """
import pathlib, subprocess, sys, time

results = iter(RESULTS)

def evaluate():
    result = next(results)
    if isinstance(result, Exception):
        raise result
    return result

def waits_for_go():
    folder = pathlib.Path(__file__).parent
    while not any(folder.glob("go-*")):
        time.sleep(0.01)
    next(folder.glob("go-*")).unlink()
    return evaluate()

def talks():
    print("loading", flush=True)
    subprocess.run(["echo", "from a child"])
    return 0.9

def slow():
    print("working", flush=True)
    time.sleep(1.5)
    return 0.9

def hangs():
    print("working", flush=True)
    time.sleep(600)

def leaves():
    sys.exit("bye")

def needs(x, y=1):
    return x

async def later():
    return 0.9

SCORE = 0.9
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    def write(*results: str) -> Path:
        path = tmp_path / "weather.py"
        path.write_text(SCRIPT.replace("RESULTS", "[" + ", ".join(results) + "]"))
        return tmp_path

    return write


class Running:
    """A ``driftline watch`` at work; its lines can be waited for."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*DRIFTLINE, "watch", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=ENVIRONMENT,
        )
        self.lines: list[str] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def wait_for(self, start: str) -> str:
        while True:
            line = self._coming.get(timeout=PATIENCE_SECONDS)
            assert line is not None, f"it ended without {start!r}: {self.lines}"
            self.lines.append(line)
            if line.startswith(start):
                return line

    def scrape(self) -> dict[tuple[str, ...], float]:
        """The samples of /metrics: name and then the values of its labels, in order of the label's name."""
        url = next(line for line in self.lines if line.startswith("  metrics")).split()[1]
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            text = answer.read().decode()
        return {
            (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(folder: Path, *arguments: str) -> Running:
        running.append(Running(folder, *arguments, "--port", "0"))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate(timeout=PATIENCE_SECONDS)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DRIFTLINE, "watch", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        env=ENVIRONMENT,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


Begin = Callable[..., Running]
Script = Callable[..., Path]
FAST = ("--every", "50ms")


def test_a_story_from_start_to_end(script: Script) -> None:
    came = run(
        script("0.9", "0.72"),
        "weather.py:evaluate",
        *FAST,
        "--count",
        "2",
        "--port",
        "0",
        "--alert",
        "accuracy < 0.75",
        "--alert",
        "accuracy > 0.99 for 3",
    )
    lines = came.stdout.splitlines()
    assert lines[0] == "Watching weather.py:evaluate every 0.05s; Ctrl-C ends it"
    assert lines[1:3] == ["  alerts   accuracy < 0.75", "           accuracy > 0.99 for 3"]
    assert re.fullmatch(r"  metrics  http://127\.0\.0\.1:\d+/metrics", lines[3])
    assert [line for line in lines[4:] if not line.startswith("(")] == [
        "Model accuracy: 0.9",
        "Model accuracy: 0.72",
        "⚠️ Alert: Model accuracy below threshold!",
        "   rule accuracy < 0.75: value 0.72, threshold 0.75",
    ]
    assert (came.returncode, came.stderr) == (1, "")


def test_without_an_alert_it_ends_with_0(script: Script) -> None:
    assert run(script("0.9"), "weather.py:evaluate", "--count", "1", "--port", "0").returncode == 0


def test_metrics_follow_the_evaluations(script: Script, start: Begin) -> None:
    results = ("{'accuracy': 0.9, 'recall': 0.8}", "ValueError('gone')", "([1, 0, 1, 0], [1, 0, 0, 0])")
    running = start(
        folder := script(*results),
        "weather.py:waits_for_go",
        *FAST,
        "--alert",
        "recall > 0.7",
        "--name",
        "rain",
        "--model-version",
        "v7",
    )
    running.wait_for("  metrics")
    before = running.scrape()
    assert before["request_processing_seconds_count",] == 0
    assert before["driftline_monitor_state", "rain", "recall > 0.7", "nodata"] == 1
    assert not any(name[0].startswith(("driftline_performance", "driftline_last")) for name in before)
    (folder / "go-1").touch()
    running.wait_for("⚠️ Alert: Model recall above threshold!")
    first = running.scrape()
    assert first["driftline_performance", "actual", "accuracy", "rain", "", "v7"] == 0.9
    assert first["driftline_performance", "actual", "recall", "rain", "", "v7"] == 0.8
    assert first["driftline_alerts", "rain", "warning"] == 1
    assert first["driftline_alerts", "rain", "page"] == 0
    assert first["driftline_monitor_state", "rain", "recall > 0.7", "breach"] == 1
    assert first["driftline_monitor_state", "rain", "recall > 0.7", "ok"] == 0
    assert first["driftline_evaluation_failures_total",] == 0
    assert first["driftline_evaluation_interval_seconds",] == 0.05
    assert first["request_processing_seconds_count",] == 1
    assert first["request_processing_seconds_sum",] >= 0
    (folder / "go-2").touch()
    running.wait_for("⚠️ Alert: Model evaluation failed!")
    second = running.scrape()
    assert second["driftline_performance", "actual", "recall", "rain", "", "v7"] == 0.8
    date = "driftline_last_evaluation_timestamp_seconds"
    assert second[date,] == first[date,]  # the value shown is as old as it was
    assert second["driftline_evaluation_failures_total",] == 1
    assert second["driftline_alerts", "rain", "warning"] == 2
    assert second["driftline_monitor_state", "rain", "recall > 0.7", "nodata"] == 1
    (folder / "go-3").touch()
    running.wait_for("✅ Resolved: Model evaluation works again")
    third = running.scrape()
    rows = ("actual", "accuracy", "rain", "", "v7")
    assert third["driftline_performance", *rows] == 0.75
    assert third["driftline_performance_samples", *rows] == 4
    assert third["driftline_performance_ci_lower", *rows] < 0.75 < third["driftline_performance_ci_upper", *rows]
    assert third[date,] > first[date,]
    running.process.send_signal(signal.SIGTERM)
    (folder / "go-4").touch()
    assert running.process.wait(timeout=PATIENCE_SECONDS) == 0


def test_a_function_that_raises_is_shown_with_its_traceback_on_demand(script: Script) -> None:
    arguments = ("weather.py:evaluate", *FAST, "--count", "2", "--port", "0")
    came = run(script("ValueError('no labels yet')", "0.9"), *arguments)
    assert "Model evaluation failed: ValueError: no labels yet\n⚠️ Alert: Model evaluation failed!\n" in came.stdout
    assert came.stdout.rstrip().endswith("✅ Resolved: Model evaluation works again")
    assert (came.returncode, came.stderr) == (1, "")
    came = run(script("ValueError('no labels yet')", "0.9"), *arguments, "--verbose")
    assert "Traceback" in came.stderr and "weather.py" in came.stderr


def test_a_function_that_calls_exit_does_not_end_the_watch(script: Script) -> None:
    came = run(script(), "weather.py:leaves", *FAST, "--count", "2", "--port", "0")
    assert came.stdout.count("Model evaluation failed: SystemExit: bye") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_sleep(script: Script, start: Begin, number: int) -> None:
    running = start(script("0.7"), "weather.py:evaluate", "--alert", "accuracy < 0.75")
    running.wait_for("   rule accuracy < 0.75")
    assert running.end(number) == 0


OTHER_THREAD = """
import os, signal, sys, threading, time
from driftline.watching.schedule import StopSignal

stop = StopSignal()
stop.install()
signal.signal(signal.SIGALRM, lambda number, frame: None)
signal.setitimer(signal.ITIMER_REAL, 0.05)  # what is no end wakes, and is slept on from
threading.Timer(0.3, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
begin = time.monotonic()
while not stop.is_set() and time.monotonic() - begin < 30:
    stop.wait(30)
print(stop.is_set())
"""


def test_a_signal_that_another_thread_gets_ends_the_sleep_too() -> None:
    done = subprocess.run([sys.executable, "-c", OTHER_THREAD], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "True\n"


def test_a_signal_lets_the_evaluation_finish(script: Script, start: Begin) -> None:
    running = start(script(), "weather.py:slow")
    running.wait_for("working")
    assert running.end() == 0
    running.wait_for("Model accuracy: 0.9")


def test_a_second_signal_ends_an_evaluation_that_hangs(script: Script, start: Begin) -> None:
    running = start(script(), "weather.py:hangs")
    running.wait_for("working")
    running.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(timeout=1)
    assert running.end() == -signal.SIGTERM


def test_json_is_all_there_is_on_stdout(script: Script) -> None:
    came = run(script(), "weather.py:talks", *FAST, "--count", "2", "--port", "0", "--json", "--alert", "accuracy<1")
    written = json.loads(came.stdout)
    assert written["verdict"] == "alert" and len(written["evaluations"]) == 2
    assert came.returncode == 1
    for line in ("loading", "from a child", "Model accuracy: 0.9"):
        assert line in came.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["wether.py:evaluate"], "there is no file 'wether.py' in .*Did you mean 'weather.py'?"),
        (["weather.py:evalute"], "weather.py has no function 'evalute'; it has: .*Did you mean 'evaluate'?"),
        (["weather.py:SCORE"], "'SCORE' in weather.py is a value (float), not a function"),
        (["weather.py:needs"], "'needs' in weather.py needs arguments (x)"),
        (["weather.py:later"], "'later' in weather.py is async"),
        (["weather.py"], "'weather.py' does not name a function"),
        (["nowhere:evaluate"], "there is no module 'nowhere'"),
        (["broken.py:evaluate"], "broken.py cannot be loaded: ZeroDivisionError: division by zero"),
        (["wrong.py:evaluate"], "wrong.py cannot be loaded: SyntaxError"),
        (["weather.py:evaluate", "--alert", "it is low"], "'it is low' is not an alert expression"),
        (["weather.py:evaluate", "--every", "soon"], "'soon' is not a duration"),
        (["weather.py:evaluate", "--every", "0s"], "--every came as '0s'"),
        (["weather.py:evaluate", "--json"], "add --count N"),
        (["weather.py:evaluate", "--count", "0"], "0 is not in the range"),
        (["weather.py:evaluate", "--count", "1", "--alert", "x<1"], "the alert 'x < 1' was never judged"),
        ([], "Missing argument 'TARGET'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_a_2(script: Script, arguments: list[str], says: str) -> None:
    folder = script("0.9")
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "wrong.py").write_text("def evaluate(:\n")
    came = run(folder, *arguments, "--port", "0")
    assert came.returncode == 2
    (line,) = came.stderr.splitlines()
    assert re.match("driftline: .*" + re.escape(says).replace(r"\.\*", ".*"), line)


def test_a_port_that_is_taken_says_what_to_do(script: Script) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        came = run(script("0.9"), "weather.py:evaluate", "--count", "1", "--port", port)
    assert came.returncode == 2
    (line,) = came.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line and line.endswith("choose another --port, or --port 0 for any free one")


def test_a_module_is_found_in_the_present_folder(script: Script) -> None:
    came = run(script("0.9"), "weather:evaluate", "--count", "1", "--port", "0")
    assert "Model accuracy: 0.9" in came.stdout


def test_a_script_may_import_its_neighbours_and_be_named_like_a_library(script: Script) -> None:
    folder = script()
    (folder / "neighbour.py").write_text("SCORE = 0.9\n")
    (folder / "json.py").write_text("from neighbour import SCORE\n\n\ndef evaluate():\n    return SCORE\n")
    came = run(folder, "./json.py:evaluate", "--count", "1", "--port", "0")
    assert "Model accuracy: 0.9" in came.stdout, came.stderr


# ---- who may ask, and who does not read --------------------------------------------------------------------


def test_metrics_are_shown_to_our_names_only(script: Script, start: Begin) -> None:
    running = start(script("0.9"), "weather.py:evaluate", "--every", "1h", "--allow-host", "prometheus.example")
    running.wait_for("  metrics")
    url = next(line for line in running.lines if line.startswith("  metrics")).split()[1]
    port = int(url.split(":")[2].split("/")[0])

    def status(*head: str) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as one:
            one.sendall("".join(f"{line}\r\n" for line in head).encode() + b"\r\n")
            return int(one.makefile("rb").readline().split()[1])

    for host in ("127.0.0.1", f"localhost:{port}", "[::1]", "Prometheus.example.:9"):
        assert status("GET /metrics HTTP/1.1", f"Host: {host}") == 200
    for host in ("evil.example", "localhost.evil.example", "localhost@evil.example", "10.0.0.1", "0.0.0.0"):
        assert status("GET /metrics HTTP/1.1", f"Host: {host}") == 421
    assert status("GET /metrics HTTP/1.0") == 421
    assert status("GET /metrics HTTP/1.1", "Host: localhost", "Host: evil.example") == 421
    assert status("POST / HTTP/1.1", "Host: localhost", "Origin: null") == 403


def test_half_open_connections_keep_no_scrape_out(script: Script, start: Begin) -> None:
    running = start(script("0.9"), "weather.py:evaluate", "--every", "1h")
    running.wait_for("  metrics")
    url = next(line for line in running.lines if line.startswith("  metrics")).split()[1]
    port = int(url.split(":")[2].split("/")[0])
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS - 1):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(b"GET /metrics HT")
        assert running.scrape()["request_processing_seconds_count",] >= 0
        left = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        over = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))
        with contextlib.suppress(ConnectionResetError):
            assert over.recv(1) == b""  # one too many is closed at once, not kept waiting
        left.close()


def test_a_pipe_that_nobody_reads_stops_no_evaluation(script: Script) -> None:
    folder = script("0.9")
    body = "    open('calls', 'a').write('x')\n    raise ValueError('y' * 60_000)\n"
    (folder / "loud.py").write_text(f"def evaluate():\n{body}")
    command = [*DRIFTLINE, "watch", "loud.py:evaluate", "--every", "10ms", "--count", "6", "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        assert process.wait(PATIENCE_SECONDS) == 1  # an evaluation that fails is an alert
        assert (folder / "calls").read_text() == "x" * 6
    finally:
        process.kill()
        process.communicate()


# ---- scripts that would never be loaded ------------------------------------------------------------------------

ENDLESS = {
    "while True": "import time\nx = 1\nwhile True:\n    time.sleep(3600)\n",
    "while 1, errors caught": "\n\nwhile 1:\n    try:\n        print(1)\n    except Exception:\n        pass\n",
    "a counter": "import itertools\nfor at in itertools.count(1):  # while\n    print(at)\n",
    "a function": "def main():\n    while True:\n        print(1)\n\nmain()\n",
    "asyncio": "import asyncio\n\nasync def main():\n    while True:\n        await main()\n\nasyncio.run(main())\n",
    "within try": "import time\ntry:\n    while True:\n        time.sleep(1)\nfinally:\n    pass\n",
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("place", ["loops.py", "loops"])
def test_a_script_with_an_endless_loop_is_told_at_once_and_not_run(
    tmp_path: Path, name: str, place: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process, which is as it was: the script is read, and not run."""
    (tmp_path / "loops.py").write_text("def evaluate(): return 0.9\n" + ENDLESS[name])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["watch", f"{place}:evaluate", "--port", "0"])
    done, loaded = capfd.readouterr(), "loops" in sys.modules
    assert (ended.value.code, loaded) == (2, False)
    line = 1 + next(at for at, text in enumerate(ENDLESS[name].splitlines(), 1) if "while" in text)
    assert f"has a loop without end at its top level (line {line})" in done.err
    assert "if __name__ == '__main__':" in done.err
    assert done.out == ""


def test_a_loop_with_a_way_out_or_for_running_by_hand_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "def evaluate(): return 0.9\n"
        "tries = 0\n"
        "while True:\n    tries += 1\n    if tries > 2:\n        break\n"
        "def ends():\n    while True:\n        return 1\n"
        "def never_called():\n    while True:\n        pass\n"
        "ends()\n"
        "for word in 'aab'.split(): word.count('a')\n"
        "if __name__ == '__main__':\n    while True:\n        print(evaluate())\n"
    )
    assert run(tmp_path, "model.py:evaluate", "--port", "0", "--count", "1").returncode == 0


def test_a_script_that_does_not_end_its_loading_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\ndone = False\ndef evaluate(): return 0.9\n"
        "while not done:\n    try:\n        time.sleep(3600)\n    except Exception:\n        pass\n"
    )
    done = run(tmp_path, "slow.py:evaluate", "--port", "0", "--load-within", "2s")
    assert done.returncode == 2
    assert "slow.py cannot be loaded: it did not end within 2 seconds, in line 6" in done.stderr
    assert "--load-within" in done.stderr


def test_a_slow_script_is_told_and_then_watched(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(4.5)\ndef evaluate(): return 0.9\n")
    done = run(tmp_path, "slow.py:evaluate", "--port", "0", "--count", "1")
    assert done.returncode == 0
    assert "slow.py is still being loaded after 3 seconds, in line 2" in done.stderr
    assert "if __name__ == '__main__':" in done.stderr
    assert "Model accuracy: 0.9" in done.stdout


def test_a_signal_ends_a_script_that_is_being_loaded(tmp_path: Path, start: Begin) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(600)\n")
    running = start(tmp_path, "slow.py:evaluate")
    running.wait_for("loading")
    assert running.end() == -signal.SIGTERM
