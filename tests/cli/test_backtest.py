"""`driftline backtest`: what would have fired over a history, from each kind of input, in each form of output."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from driftline.cli.backtest import command
from driftline.errors import DataError, DriftlineError, UnknownNameError, UsageError
from tests.support.histories import AFTER, BEGIN, days_of_rows, write_model

CHANGED = 12
DAYS = 20
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's files, a history that changes and one that does not."""
    folder = tmp_path_factory.mktemp("backtest")
    write_model(folder)
    days_of_rows(DAYS, changed=CHANGED).write_parquet(folder / "history.parquet")
    days_of_rows(DAYS, seed=3).write_parquet(folder / "calm.parquet")
    return folder


def run(folder: Path, history: str, *options: str) -> Result:
    path = history if history.startswith("served:") else str(folder / history)
    config = () if "--config" in options else ("--config", str(folder / "driftline.yaml"))
    return CliRunner().invoke(command, [path, *config, *options], standalone_mode=False)


def document(folder: Path, history: str, *options: str) -> dict[str, Any]:
    found = run(folder, history, "--json", *options)
    assert found.exception is None, found.exception
    told: dict[str, Any] = json.loads(found.stdout)
    assert found.return_value == (1 if told["alerts"] else 0)
    return told


def at(day: int) -> str:
    return f"{AFTER + day * DAY:%Y-%m-%dT%H:%M:%SZ}"


def test_a_change_is_found_by_the_detector_and_by_the_rule(folder: Path) -> None:
    told = document(folder, "history.parquet", "--changed", at(CHANGED))
    assert {"windows", "alerts", "per_year", "budget", "changed", "against"} <= told.keys()
    assert told["windows"] == DAYS and told["against"] is None
    assert told["changed"] == {"at": at(CHANGED), "delay_windows": 1}
    assert told["budget"]["stated"] == pytest.approx(365.25 / 90)
    budget, rule = told["alerts"]
    keys = {"rule", "severity", "column", "window", "until", "value", "threshold", "suspected", "findings"}
    assert keys <= budget.keys() and keys <= rule.keys()
    assert (budget["rule"], budget["severity"], budget["until"]) == ("budget", "warning", None)
    assert budget["window"] == {"start": at(CHANGED), "end": at(CHANGED + 1)}
    assert budget["value"] < budget["threshold"] == 0.5
    assert budget["column"] == budget["findings"][0]["column"]
    assert "wind" in {one["column"] for one in budget["findings"]}
    assert {"column", "series", "shift", "lookback", "chance"} <= budget["findings"][0].keys()
    assert (rule["rule"], rule["severity"], rule["column"]) == ("accuracy-low", "page", None)
    assert rule["window"]["start"] == at(CHANGED + 1), "the rule waits for two windows"
    assert rule["suspected"] is None and rule["findings"] == []


def test_nothing_fires_where_nothing_changed(folder: Path) -> None:
    told = document(folder, "calm.parquet")
    assert (told["alerts"], told["per_year"], told["changed"]) == ([], 0.0, None)
    found = run(folder, "calm.parquet", "--changed", at(3))
    assert found.stdout.startswith("OK: no alert; none after the change")


def test_two_configurations_are_judged_on_one_history(folder: Path) -> None:
    (folder / "other").mkdir()
    other = write_model(folder / "other", budget="none")
    told = document(folder, "history.parquet", "--against", str(other))
    assert [one["rule"] for one in told["alerts"]] == ["budget", "accuracy-low"]
    against = told["against"]
    assert ([one["rule"] for one in against["alerts"]], against["budget"]) == (["accuracy-low"], None)
    words = run(folder, "history.parquet", "--against", str(other)).stdout
    assert words.count("accuracy-low") == 4 and "The other configuration on the same history:" in words


def test_the_order_of_rows_and_files_does_not_matter(folder: Path) -> None:
    rows = pl.read_parquet(folder / "history.parquet")
    (folder / "parts").mkdir()
    rows.tail(700).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(folder / "parts" / "a.parquet")
    rows.head(500).write_parquet(folder / "parts" / "b.parquet")
    assert document(folder, "parts/*.parquet") == document(folder, "history.parquet")


def test_windows_of_the_reference_are_not_judged(folder: Path) -> None:
    rows = [pl.read_parquet(folder / name) for name in ("reference.parquet", "history.parquet")]
    pl.concat(rows).write_parquet(folder / "both.parquet")
    told, alone = document(folder, "both.parquet"), document(folder, "history.parquet")
    assert told["notes"] == ["28 windows are not judged: the reference has rows of the same time, or later ones."]
    assert told | {"notes": []} == alone


def test_a_history_of_before_the_reference_is_judged_as_a_whole(folder: Path) -> None:
    days_of_rows(40, begin=BEGIN - 40 * DAY, changed=35).write_parquet(folder / "earlier.parquet")
    told = document(folder, "earlier.parquet")
    assert told["windows"] == 40 and told["notes"][0].startswith("No window comes after the reference")
    assert [one["window"]["start"][:10] for one in told["alerts"] if one["rule"] == "budget"] == ["2025-01-01"]


def test_a_history_that_is_all_learnt_from_has_no_alarm(tmp_path: Path) -> None:
    write_model(tmp_path)
    days_of_rows(1, begin=BEGIN - 9 * DAY).write_parquet(tmp_path / "reference.parquet")
    days_of_rows(8, begin=BEGIN).write_parquet(tmp_path / "short.parquet")
    [budget, _] = document(tmp_path, "short.parquet")["rules"]
    assert (budget["rule"], budget["alerts"]) == ("budget", 0)


def test_missing_labels_are_no_fault_of_a_history(folder: Path) -> None:
    days_of_rows(DAYS, seed=3).drop("y").write_parquet(folder / "unlabelled.parquet")
    told = document(folder, "unlabelled.parquet")
    assert told["alerts"] == []
    assert [(one["rule"], one["judged"]) for one in told["rules"]] == [("budget", DAYS), ("accuracy-low", 0)]


def test_versions_and_segments_are_slices_of_one_history(folder: Path, tmp_path: Path) -> None:
    config = write_model(tmp_path, budget="none")
    text = config.read_text().replace("label: y", "label: y, version: v, segments: [kind]")
    more = "\n        - {name: each, measure: accuracy, below: 0.8, version: each}"
    config.write_text(text.replace("severity: page", "severity: page, segment: all") + more.strip("\n") + "\n")
    of = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("v1"))
    for source, name in ((folder, "history.parquet"), (tmp_path, "reference.parquet")):
        pl.read_parquet(source / name).with_columns(v=of).write_parquet(tmp_path / name)
    rules = {one["rule"]: one for one in document(tmp_path, "history.parquet")["rules"]}
    assert len([name for name in rules if name.startswith("accuracy-low")]) == 3
    assert len([name for name in rules if name.startswith("each")]) == 2
    versions = [one for name, one in rules.items() if name.startswith("each")]
    assert all(one["judged"] == DAYS and one["alerts"] for one in versions)
    assert rules["accuracy-low (kind = a)"]["judged"] < DAYS, "with few rows a segment is not judged"


@pytest.mark.parametrize(
    ("history", "options", "error", "words"),
    [
        ("nothing.parquet", (), UsageError, "there is no such file"),
        ("timeless.parquet", (), UsageError, "has no column time"),
        ("empty.parquet", (), DataError, "no row with a time"),
        ("calm.parquet", ("--changed", "soon"), UsageError, "--changed 'soon' came; allowed is a day or a time"),
        ("calm.parquet", ("--model", "chrun"), UnknownNameError, "Did you mean 'churn'?"),
        ("calm.parquet", ("--html", "nowhere/page.html"), UsageError, "cannot be written"),
        ("served:churn", (), UsageError, "no `driftline serve` has run"),
        ("served:churn", ("--model", "other"), UsageError, "name the same model"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    folder: Path, history: str, options: tuple[str, ...], error: type[DriftlineError], words: str
) -> None:
    calm = pl.read_parquet(folder / "calm.parquet")
    calm.drop("time").write_parquet(folder / "timeless.parquet")
    calm.clear().write_parquet(folder / "empty.parquet")
    found = run(folder, history, *options)
    assert isinstance(found.exception, error) and words in str(found.exception)


def test_a_model_without_a_column_of_times_has_no_history(folder: Path, tmp_path: Path) -> None:
    config = write_model(tmp_path)
    config.write_text(config.read_text().replace("time: time, ", ""))
    found = run(tmp_path, str(folder / "calm.parquet"))
    assert isinstance(found.exception, UsageError) and "columns.time is not set" in str(found.exception)


HOSTILE = 'w\x1b[31m<script>alert("x")</script>'


def test_hostile_names_are_shown_as_text_and_lines_fit(folder: Path, tmp_path: Path) -> None:
    config = write_model(tmp_path)
    for name in ("reference.parquet", "history.parquet"):
        source = tmp_path if name == "reference.parquet" else folder
        pl.read_parquet(source / name).rename({"wind": HOSTILE}).write_parquet(tmp_path / name)
    page = tmp_path / "page.html"
    for encoding in ("utf-8", "ascii"):
        done = subprocess.run(
            [sys.executable, "-m", "driftline", "backtest", "history.parquet", "--html", str(page)],
            cwd=config.parent,
            capture_output=True,
            env={"PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path)},
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, b"")
        lines = done.stdout.decode(encoding).splitlines()
        assert all(len(line) <= 80 for line in lines) and not any("\x1b[31m" in line for line in lines)
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
