"""`driftline test`: given these windows, these alerts fire and no others; in a terminal, as JSON, and under pytest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from driftline.cli.test import command
from driftline.config.load import load
from driftline.demo.story import prepare
from driftline.errors import ConfigError
from driftline.monitoring.rule_tests import LEARNT_WINDOWS, ChangeSection, GenerateSection, generate_rows
from tests.support.histories import write_model

pytest_plugins = ["pytester"]

GIVEN = "windows: [{accuracy: 0.9}, {accuracy: 0.7}, {accuracy: 0.7}, {accuracy: 0.9}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    write_model(folder)
    return folder


def write(folder: Path, *tests: str) -> Path:
    path = folder / "churn.driftline-test.yaml"
    path.write_text("tests:\n" + "".join(f"  - {{name: t{place}, {one}}}\n" for place, one in enumerate(tests)))
    return path


def run(folder: Path, *tests: str, form: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(command, [str(write(folder, *tests)), *form], standalone_mode=False)


def document(folder: Path, *tests: str) -> dict[str, Any]:
    done = run(folder, *tests, form=("--json",))
    assert done.exception is None, done.exception
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.return_value == (1 if told["failed"] else 0)
    return told


def test_given_windows_are_judged_by_the_rules(folder: Path) -> None:
    told = document(
        folder,
        f"{GIVEN}, expect: [{{rule: accuracy-low, from: 3, until: 3}}]",
        "windows: [{accuracy: {value: 0.7, low: 0.6, high: 0.85, n: 40}}, {accuracy: 0.7}, {}]",
    )
    assert (told["passed"], told["failed"]) == (2, 0)
    [alert] = told["tests"][0]["alerts"]
    assert (alert["rule"], alert["from"], alert["until"]) == ("accuracy-low", 3, 3)
    assert told["tests"][1]["alerts"] == []


def test_a_failure_says_what_was_expected_and_what_fired(folder: Path) -> None:
    done = run(folder, f"{GIVEN}, expect: [{{rule: budget, column: wind, from: 2}}]", f"{GIVEN}, expect: []")
    assert done.return_value == 1 and all(len(line) <= 80 for line in done.stdout.splitlines())
    words = " ".join(done.stdout.split())
    assert "FAILED t0 (churn) expected budget on wind from 2 on; fired: accuracy-low at 3" in words
    assert "not expected, but fired: accuracy-low at 3: accuracy is 0.7, below 0.8" in words
    assert done.stdout.endswith("0 passed, 2 failed\n")


def test_generated_rows_that_shift_are_found_and_others_are_not(folder: Path) -> None:
    change = "change: {column: wind, kind: shift, size: 1, from: 8}"
    told = document(
        folder,
        f"generate: {{days: 12, rows: 80, {change}}}, expect: [{{rule: budget, column: wind, from: 8, until: 10}}]",
        "generate: {days: 12, rows: 80}",
    )
    assert (told["passed"], told["failed"]) == (2, 0), told


REFERENCE = pl.DataFrame(
    {"time": ["2025-01-01"] * 400, "x": [float(i % 20) for i in range(400)], "c": ["a", "b"] * 200}
)


@pytest.mark.parametrize("kind", ["shift", "scale", "missing", "unseen", "volume"])
def test_changes_begin_on_their_day_and_are_as_large_as_said(folder: Path, kind: Any) -> None:
    config = load(folder / "driftline.yaml").models["churn"]
    change = ChangeSection(kind, 0.5, None if kind == "volume" else "x", since=3)
    drawn = [
        generate_rows(config, REFERENCE, GenerateSection(4, 300, change, seed), np.random.default_rng(seed))
        for seed in (1, 1)
    ]
    assert drawn[0].equals(drawn[1])
    assert drawn[0]["time"].is_unique().all() and drawn[0]["time"].is_sorted()
    by_day = (
        drawn[0]
        .group_by(pl.col("time").dt.date(), maintain_order=True)
        .agg(
            pl.len().alias("rows"),
            pl.col("x").mean().alias("mean"),
            pl.col("x").std().alias("sd"),
            pl.col("x").null_count().alias("missing"),
            (pl.col("x") > 19).sum().alias("unseen"),
        )
    )
    assert by_day.height == LEARNT_WINDOWS + 4
    before, after = by_day.head(-2), by_day.tail(2)
    sd = float(REFERENCE["x"].std())  # type: ignore[arg-type]
    close = pytest.approx
    moved = {
        "shift": after["mean"].mean() == close(9.5 + sd / 2, abs=0.8),
        "scale": after["sd"].mean() == close(sd / 2, abs=0.4),
        "missing": after["missing"].mean() == close(150, abs=35),
        "unseen": after["unseen"].mean() == close(150, abs=35),
        "volume": after["rows"].to_list() == [150, 150],
    }
    assert moved[kind]
    assert before["rows"].to_list() == [300] * (LEARNT_WINDOWS + 2)
    assert before["mean"].mean() == close(9.5, abs=0.3) and before["missing"].sum() == before["unseen"].sum() == 0


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("expect: []", "each test has either `windows` or `generate`"),
        (f"{GIVEN}, generate: {{days: 3}}", "each test has either `windows` or `generate`"),
        (f"{GIVEN}, expect: [{{rule: accuracy-lo}}]", "Did you mean 'accuracy-low'?"),
        (f"{GIVEN}, expect: [{{rule: budget, from: 3, until: 2}}]", "the end is before the beginning"),
        (f"{GIVEN}, model: other", "unknown model 'other'; known: churn"),
        ("windows: [{acuracy: 1}]", "Did you mean 'accuracy'?"),
        ("generate: {days: 2, change: {kind: shift, size: 1}}", "name it with `column`"),
        ("generate: {days: 2, change: {kind: shift, size: 1, column: wnd}}", "Did you mean 'wind'?"),
        ("generate: {days: 2, change: {kind: shift, size: 1, column: kind}}", "has no numbers"),
        ("generate: {days: 2, change: {kind: missing, size: 2, column: wind}}", "takes a share, 0 to 1"),
        ("generate: {days: 2, change: {kind: shft, size: 2, column: wind}}", "shft"),
        ("generate: {day: 2}", "Did you mean"),
    ],
)
def test_a_mistake_is_named_with_its_line(folder: Path, test: str, words: str) -> None:
    found = run(folder, test).exception
    assert isinstance(found, ConfigError) and words in str(found), found
    assert "churn.driftline-test.yaml:2" in str(found)


def test_a_file_that_is_not_there_or_empty_is_refused(folder: Path) -> None:
    for path in (folder / "nothing.yaml", folder / "empty.yaml"):
        (folder / "empty.yaml").write_text("")
        done = CliRunner().invoke(command, [str(path)], standalone_mode=False)
        assert isinstance(done.exception, ConfigError)


def test_the_demo_passes_its_tests(tmp_path: Path) -> None:
    prepare(tmp_path, {})
    done = CliRunner().invoke(command, [str(tmp_path / "rules_test.yaml")], standalone_mode=False)
    assert done.return_value == 0, done.stdout


def test_pytest_collects_files_of_tests(folder: Path, pytester: pytest.Pytester) -> None:
    write_model(pytester.path)
    write(pytester.path, f"{GIVEN}, expect: [{{rule: accuracy-low}}]", GIVEN, "windows: [{acuracy: 1}]")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines(["*not expected, but fired: accuracy-low at 3*"])
    (pytester.path / "churn.driftline-test.yaml").write_text("tests: 3\n")
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(errors=1)
