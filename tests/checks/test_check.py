"""`driftline check` as its users meet it: files in, a verdict, an exit code, JSON to the letter, one page."""

from __future__ import annotations

import contextlib
import html.parser
import io
import json
import math
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics

import driftline
from driftline.cli import main as cli
from driftline.errors import AlertsFound, DataError, DriftlineError, UnknownNameError, UsageError
from driftline.profiles import build
from driftline.profiles.build import performance_of
from driftline.statistics import EffectThresholds

ROWS = 600


def rows(seed: int = 0, *, shift: float = 0.0, sure: float = 0.85) -> pl.DataFrame:
    """Rows of a binary model: two features, a label, a prediction that is right in about ``sure`` of them, a
    score.
    """
    rng = np.random.default_rng(seed)
    label = rng.random(ROWS) < 0.4
    prediction = np.where(rng.random(ROWS) < sure, label, ~label)
    score = np.clip(np.where(prediction, 0.7, 0.3) + rng.normal(0, 0.1, ROWS), 0.001, 0.999)
    return pl.DataFrame(
        {
            "when": [datetime(2013, 4, 4) + timedelta(hours=i) for i in range(ROWS)],
            "wind": rng.normal(4 + shift, 1, ROWS),
            "sky": rng.choice(["rain", "sun", "fog"], ROWS, p=[0.5, 0.45, 0.05]),
            "y": label.astype(int),
            "p": prediction.astype(int),
            "s": score,
        }
    )


BINARY: dict[str, Any] = {"prediction": "p", "label": "y", "score": "s", "time": "when"}
OPTIONS = ["--prediction", "p", "--label", "y", "--score", "s", "--time", "when"]


# ---- the command line --------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in this process: what `run_alone` gives, without the second that its imports take."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as ended:
            cli.main(["check", *map(str, arguments)])
    said = (one.buffer.getvalue().decode() for one in (out, err))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), *said)


def run_alone(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "driftline", "check", *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
        env=environment,
        timeout=60,
    )


def written(folder: Path, reference: pl.DataFrame, current: pl.DataFrame) -> tuple[Path, Path]:
    paths = folder / "reference.parquet", folder / "current.csv"
    reference.write_parquet(paths[0])
    current.write_csv(paths[1])
    return paths


def test_all_is_well_exits_with_0(tmp_path: Path) -> None:
    done = run_alone(*written(tmp_path, rows(1), rows(2)), *OPTIONS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OK: no alert\n600 current rows against 600 of the reference")
    assert "accuracy" in done.stdout


def test_an_alert_exits_with_1_and_says_what_changed(tmp_path: Path) -> None:
    done = run_alone(*written(tmp_path, rows(1), rows(2, shift=2.0, sure=0.6)), *OPTIONS)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("ALERT: ")
    assert "accuracy fell from 0.8" in done.stdout
    assert "shift 1." in done.stdout and "median 4" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_json_is_one_document_of_the_contract(tmp_path: Path) -> None:
    done = run(*written(tmp_path, rows(1), rows(2, shift=2.0)), *OPTIONS, "--json")
    document = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert done.returncode == 1
    assert document["verdict"] == "alert"
    assert document["rows"] == {"reference": ROWS, "current": ROWS}
    worst = document["columns"][0]
    assert (worst["column"], worst["kind"], worst["role"]) == ("wind", "numeric", "feature")
    assert {"measure", "value", "threshold", "drifted"} <= worst["drift"].keys()
    assert worst["drift"]["measure"] == "wasserstein"
    assert worst["drift"]["value"] > worst["drift"]["threshold"] == 0.1
    assert worst["drift"]["drifted"] is True
    assert worst["missing"] == {"reference": 0.0, "current": 0.0}
    assert {column["column"] for column in document["columns"]} == {"wind", "sky", "y", "p", "s"}
    accuracy = document["performance"]["accuracy"]
    assert {"value", "low", "high", "n"} <= accuracy.keys()
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["n"] == ROWS
    assert [alert["column"] for alert in document["alerts"]] == ["wind"]
    assert {"kind", "column", "measure", "value", "threshold", "message"} == document["alerts"][0].keys()


def test_without_labels_performance_is_null(tmp_path: Path) -> None:
    document = json.loads(run(*written(tmp_path, rows(1), rows(2)), "--time", "when", "--json").stdout)
    assert document["performance"] is None
    assert document["verdict"] == "ok"


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no such file": (["nothing.parquet", "good.csv"], "nothing.parquet: there is no such file"),
    "unknown type": (["good.xlsx", "good.csv"], "files of type '.xlsx' are not read; allowed are .parquet"),
    "empty file": (["good.csv", "empty.csv"], "empty.csv is empty"),
    "no rows": (["good.csv", "header.csv"], "header.csv has no rows"),
    "broken Parquet": (["broken.parquet", "good.csv"], "broken.parquet cannot be read"),
    "ragged CSV": (["good.csv", "ragged.csv"], "ragged.csv: line 92 has 4 fields, the header has 2"),
    "not UTF-8": (["good.csv", "japanese.csv"], "0xC8 in line 92, column 3 is not UTF-8; save the file as UTF-8"),
    "duplicate columns": (["good.csv", "twice.csv"], "the column 'wind' comes more than once"),
    "nothing in common": (["good.csv", "other.csv"], "no column in common"),
    "a plain folder": (["good.csv", "folder"], "folder without a Delta Lake table"),
    "unknown column": (
        ["good.csv", "good.csv", "--label", "wnd"],
        "unknown column 'wnd'; known: sky, wind. Did you",
    ),
    "unknown task": (["good.csv", "good.csv", "--task", "binry"], "Did you mean 'binary'?"),
    "three classes in binary": (
        ["good.csv", "good.csv", "--task", "binary", "--label", "sky"],
        "a binary model",
    ),
    "unknown class": (["two.csv", "two.csv", "--label", "y", "--positive", "maybe"], "unknown class 'maybe'"),
    "score twice": (["good.csv", "good.csv", "--score", "a", "--score", "b"], "CLASS=COLUMN"),
    "score of a class twice": (["good.csv", "good.csv", "--score", "fog=a", "--score", "fog=b"], "came more than once"),
    "positive of many": (["good.csv", "good.csv", "--label", "sky", "--positive", "fog"], "only a binary model has it"),
    "a name that moves the cursor": (["\x1b[2Jgood.csv", "good.csv"], "\ufffd[2Jgood.csv: no file fits this pattern"),
    "model without config": (["good.csv", "good.csv", "--model", "m"], "add --config"),
    "config that is not there": (["good.csv", "good.csv", "--config", "no.yaml"], "there is no such file"),
    "one file": (["good.csv"], "CURRENT"),
    "unwritable page": (["good.csv", "good.csv", "--html", "no/such/folder.html"], "cannot be written"),
}


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    good = (
        "wind,sky\n"
        + "\n".join(f"{i % 7}.5,{'rain' if i % 2 else 'sun' if i % 3 else 'fog'}" for i in range(90))
        + "\n"
    )
    texts = {
        "good.csv": good,
        "good.xlsx": "x",
        "empty.csv": "",
        "header.csv": "wind,sky\n",
        "broken.parquet": "PAR1 this is none",
        "ragged.csv": good + "1,2,3,4\n",
        "twice.csv": "wind,wind\n1,2\n",
        "other.csv": "humidity\n1\n",
        "two.csv": "y\n" + "yes\nno\n" * 40,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "japanese.csv").write_bytes(good.encode() + "1,日本語\n".encode("gbk"))
    (folder / "folder").mkdir()
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exits_with_2(
    mistake: str, mistakes: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process: `test_in_a_shell` has one in its own."""
    arguments, words = MISTAKES[mistake]
    monkeypatch.chdir(mistakes)
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", *arguments])
    said = capfd.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert words in said.err
    assert said.err.startswith("driftline: ")
    assert said.err.count("\n") == 1


def test_a_fault_of_our_own_is_no_alert(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("wind")

    monkeypatch.setattr(cli.root, "main", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "a", "b"])
    said = capsys.readouterr()
    assert ended.value.code == 70 and said.out == ""
    assert "KeyError: 'wind'" in said.err and said.err.endswith("please report it\n")


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full here")
def test_a_full_disk_is_no_alert(form: list[str], mistakes: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "driftline", "check", "good.csv", "good.csv", *form],
            cwd=mistakes,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        2,
        "driftline: stdout cannot be written: No space left on device; what was found is not told\n",
    )


def test_a_reader_who_has_seen_enough_changes_no_verdict(mistakes: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "driftline", "check", "good.csv", "good.csv", "--json"],
        cwd=mistakes,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_utf_8_in_every_terminal(encoding: str, mistakes: Path) -> None:
    (mistakes / "names.csv").write_text("größe →,w\n" + "1,2\n3,4\n" * 40, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "driftline", "check", "names.csv", "names.csv", "--json"],
        cwd=mistakes,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode("utf-8"))["columns"][0]["column"] in ("größe →", "w")


def test_a_terminal_of_no_width_shows_the_report_all_the_same(mistakes: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "driftline", "check", "good.csv", "good.csv"],
        cwd=mistakes,
        env={**os.environ, "COLUMNS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("OK: no alert")


def test_columns_and_task_come_from_the_configuration(tmp_path: Path) -> None:
    paths = written(tmp_path, rows(1), rows(2))
    (tmp_path / "driftline.yaml").write_text(
        "models:\n  m:\n    task: binary\n    reference: {path: reference.parquet}\n"
        "    columns: {time: when, prediction: p, label: y, score: s, segments: [sky]}\n"
    )
    done = run(*paths, "--config", tmp_path / "driftline.yaml", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["performance"]["roc_auc"]["value"] > 0.7
    assert {segment["value"] for segment in document["segments"]} == {"rain", "sun", "fog"}
    config = tmp_path / "driftline.yaml"
    config.write_text(config.read_text() + "    alerts: {floors: {js: 0.9, wasserstein: 7, rows: 10}}\n")
    document = json.loads(run(*paths, "--config", config, "--json").stdout)
    assert {column["drift"]["threshold"] for column in document["columns"]} == {0.9, 7}
    document = json.loads(run(*paths, "--config", config, "--floor", "js=0.8", "--json").stdout)
    assert {column["drift"]["threshold"] for column in document["columns"]} == {0.8, 7}
    assert "unknown model 'n'" in run(*paths, "--config", tmp_path / "driftline.yaml", "--model", "n").stderr


def test_names_in_a_terminal_move_no_cursor(tmp_path: Path) -> None:
    name = "a\x1b[2Jb\nc\x07"
    reference = pl.DataFrame({name: [1.0, 2.0] * 50})
    done = run(*written(tmp_path, reference, reference.select(pl.all() + 10.0)))
    assert done.returncode == 1
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout


# ---- Python ------------------------------------------------------------------------------------------------


def test_performance_is_scikit_learns() -> None:
    current = rows(2)
    report = driftline.check(rows(1), current, **BINARY)
    y, p, s = (current[name].to_numpy() for name in "yps")
    assert report.performance is not None
    found = {name: measure.value for name, measure in report.performance.items()}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, p), abs=1e-9)
    assert found["precision"] == pytest.approx(metrics.precision_score(y, p), abs=1e-9)
    assert found["recall"] == pytest.approx(metrics.recall_score(y, p), abs=1e-9)
    assert found["f1"] == pytest.approx(metrics.f1_score(y, p), abs=1e-9)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(y, s), abs=2e-3)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, s), abs=1e-9)
    counted = {(pair["label"], pair["prediction"]): pair["current"] for pair in report.to_dict()["confusion"]}
    names = np.unique(y)
    matrix = metrics.confusion_matrix(y, p, labels=names)
    assert counted == {(str(a), str(b)): matrix[i, j] for i, a in enumerate(names) for j, b in enumerate(names)}


def test_scores_alone_are_predictions_too() -> None:
    scored = rows(2).drop("p")
    report = driftline.check(rows(1).drop("p"), scored, label="y", score="s", time="when")
    guessed = scored.with_columns(p=(pl.col("s") >= 0.5).cast(pl.Int64))
    expected = driftline.check(guessed, guessed, **BINARY)
    current = {name: msgspec.structs.replace(one, reference=None) for name, one in report.performance.items()}
    wanted = {name: msgspec.structs.replace(one, reference=None) for name, one in expected.performance.items()}
    assert current == wanted
    assert "predictions are taken from the scores: 1 from 0.5 on" in report.notes
    assert not any("taken from the scores" in note for note in expected.notes)


@pytest.mark.parametrize(
    ("names", "positive"), [({0: "no", 1: "yes"}, None), ({0: "0", 1: "2"}, None), ({0: "stay", 1: "churn"}, "stay")]
)
def test_scores_alone_are_predictions_whatever_labels_the_first_rows_have(
    names: dict[int, str], positive: str | None
) -> None:
    frame = pl.concat([rows(seed) for seed in range(80)]).drop("p").with_columns(y=pl.col("y").replace_strict(names))
    expected = driftline.check(frame, frame, label="y", score="s", positive=positive)
    assert expected.performance
    for order in (frame.sort("y"), frame.sort("y", descending=True)):
        report = driftline.check(order, order, label="y", score="s", positive=positive)
        assert report.performance is not None
        for name, measure in expected.performance.items():
            assert report.performance[name].value == pytest.approx(measure.value)


def test_a_score_whose_other_class_no_label_names_gets_a_word() -> None:
    frame = rows(1).drop("p").filter(pl.col("y") == 1)
    report = driftline.check(frame, frame, label="y", score="s")
    assert report.performance is None
    assert any(note.startswith("no predictions are taken from the scores") for note in report.notes)


def test_the_highest_of_many_scores_is_the_prediction() -> None:
    rng = np.random.default_rng(6)
    chances = rng.dirichlet([1, 1, 1], ROWS)
    names = ["fog", "rain", "sun"]
    truth = [names[rng.choice(3, p=chance)] for chance in chances]
    frame = pl.DataFrame({"y": truth, **dict(zip(names, chances.T, strict=True))})
    frame = frame.with_columns(fog=pl.when(pl.int_range(pl.len()) > 5).then("fog"))  # a row may lack some scores
    report = driftline.check(frame, frame, label="y", score={name: name for name in names})
    assert report.performance is not None
    there = np.where(np.arange(ROWS)[:, None] > 5, chances, chances * [0, 1, 1])
    guesses = [names[int(np.argmax(chance))] for chance in there]
    assert report.performance["accuracy"].value == pytest.approx(metrics.accuracy_score(truth, guesses))
    assert "the class with the highest one" in " ".join(report.notes)


def test_multiclass_and_regression() -> None:
    rng = np.random.default_rng(3)
    names = np.array(["fog", "rain", "sun"])
    y = rng.integers(0, 3, ROWS)
    p = np.where(rng.random(ROWS) < 0.8, y, rng.integers(0, 3, ROWS))
    frame = pl.DataFrame({"y": names[y], "p": names[p], "x": rng.random(ROWS)})
    report = driftline.check(frame, frame, prediction="p", label="y")
    assert report.performance is not None
    assert report.performance["f1"].value == pytest.approx(metrics.f1_score(y, p, average="macro"), abs=1e-9)
    z = rng.normal(10, 3, ROWS)
    q = z + rng.normal(0, 1, ROWS)
    numbers = pl.DataFrame({"z": z, "q": q})
    report = driftline.check(numbers, numbers, prediction="q", label="z", task="regression")
    assert report.performance is not None
    assert report.performance["mae"].value == pytest.approx(metrics.mean_absolute_error(z, q), rel=1e-9)
    assert report.verdict == "ok"
    worse = driftline.check(numbers, numbers.with_columns(pl.col("q") * 1.3), prediction="q", label="z")
    assert any(alert.measure == "mae" for alert in worse.alerts)


def frames(frame: pl.DataFrame, kind: str, folder: Path) -> Any:
    if kind in ("parquet", "csv", "ndjson", "arrow"):
        path = folder / f"rows.{kind}"
        writer = {
            "parquet": "write_parquet",
            "csv": "write_csv",
            "ndjson": "write_ndjson",
            "arrow": "write_ipc",
        }[kind]
        getattr(frame, writer)(path)
        return path
    if kind == "delta":
        frame.write_delta(folder / "delta")
        return str(folder / "delta")
    if kind == "lazy":
        return frame.lazy()
    plain = frame.to_dict(as_series=False)
    return {"pandas": pd.DataFrame, "arrow table": pa.table}.get(kind, pl.DataFrame)(plain)


@pytest.mark.parametrize(
    "kind", ["polars", "lazy", "pandas", "arrow table", "parquet", "csv", "ndjson", "arrow", "delta"]
)
def test_every_kind_of_rows_has_the_same_report(kind: str, tmp_path: Path) -> None:
    reference, current = rows(1), rows(2, shift=1.0)
    if kind == "ndjson":  # which has no times
        reference, current = (frame.with_columns(pl.col("when").cast(pl.String)) for frame in (reference, current))
    expected = driftline.check(reference, current, **BINARY).to_dict()
    (tmp_path / "now").mkdir()
    found = driftline.check(frames(reference, kind, tmp_path), frames(current, kind, tmp_path / "now"), **BINARY)
    assert found.to_dict() == expected


def test_pandas_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, requested_schema: object = None) -> object:
        raise ImportError("pyarrow is not installed")

    reference, current = (frame.with_columns(pl.lit(None).alias("gone")) for frame in (rows(1), rows(2)))
    expected = driftline.check(reference, current, **BINARY).to_dict()
    monkeypatch.setattr(pd.DataFrame, "__arrow_c_stream__", refuse)
    plain = [pd.DataFrame(frame.to_dict(as_series=False)) for frame in (reference, current)]
    assert driftline.check(*plain, **BINARY).to_dict() == expected


def test_raise_for_alerts() -> None:
    driftline.check(rows(1), rows(2), **BINARY).raise_for_alerts()
    with pytest.raises(AlertsFound, match="wind has drifted"):
        driftline.check(rows(1), rows(2, shift=3.0), **BINARY).raise_for_alerts()


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (42, UsageError),
        ([1, 2], UsageError),
        (pl.DataFrame(), DataError),
        (pl.DataFrame({"x": []}), DataError),
    ],
)
def test_what_is_not_rows_is_refused(value: Any, error: type[DriftlineError]) -> None:
    with pytest.raises(error):
        driftline.check(value, rows())
    with pytest.raises(error):
        driftline.check(rows(), value)


def test_columns_of_pandas_that_arrow_has_no_type_for_do_not_end_the_check() -> None:
    mixed = pd.DataFrame(
        {
            "mixed": [1, "x", None, 2.5] * 30,
            "objects": [{1}, object()] * 60,
            "complex": [1j] * 120,
            "good": [float(i % 7) for i in range(120)],
        }
    )
    report = driftline.check(mixed, mixed)
    assert report.verdict == "ok" and report.columns["good"].drift is not None
    assert all(column.drift is not None or column.problem for column in report.columns.values())


@pytest.mark.parametrize("broken_at", [0, 2])
def test_a_stream_that_breaks_is_an_error_of_ours(broken_at: int) -> None:
    class Link:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            batches = rows(1).to_arrow().to_batches(max_chunksize=100)

            def drawn() -> Any:
                yield from batches[:broken_at]
                raise RuntimeError("the link\nis lost")

            return pa.RecordBatchReader.from_batches(batches[0].schema, drawn()).__arrow_c_stream__(requested_schema)

    class NoLink:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise RuntimeError("the link\nis lost")

    for stream in (Link(), NoLink()):
        with pytest.raises(DataError, match="the link is lost") as caught:
            driftline.check(stream, rows(2))
        assert "\n" not in str(caught.value)


def test_a_column_that_is_in_neither_is_unknown() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'wind'"):
        driftline.check(rows(1), rows(2), label="wnd")


def test_late_labels_are_no_drift() -> None:
    current = rows(2)
    half = current.with_columns(pl.when(pl.int_range(ROWS) < 300).then(pl.col("y")))
    report = driftline.check(rows(1), half, **BINARY)
    assert report.verdict == "ok"
    assert report.performance is not None and report.performance["accuracy"].n == 300
    assert report.label_coverage is not None and report.label_coverage.value == 0.5
    assert report.columns["y"].missing.current == 0.5
    for none in (current.drop("y"), current.with_columns(pl.lit(None).alias("y"))):
        report = driftline.check(rows(1), none, **BINARY)
        assert (report.verdict, report.performance) == ("ok", None)
        assert "no current row has a label" in report.columns["y"].problem


def test_an_unlabelled_reference_is_enough_to_measure() -> None:
    report = driftline.check(rows(1).drop("y"), rows(2, sure=0.5), **BINARY)
    assert report.performance is not None and report.performance["accuracy"].value is not None
    assert all(measure.reference is None for measure in report.performance.values())
    assert not [alert for alert in report.alerts if alert.kind == "performance"]


def test_performance_that_falls_by_chance_or_by_a_trifle_is_no_alert() -> None:
    fallen = driftline.check(rows(1), rows(2, sure=0.7), **BINARY)
    assert [a.measure for a in fallen.alerts if a.kind == "performance"] == ["accuracy", "roc_auc"]
    few = rows(2, sure=0.7).head(40)
    assert not [a for a in driftline.check(rows(1).head(40), few, **BINARY).alerts if a.kind == "performance"]


# ---- broken columns ----------------------------------------------------------------------------------------

N = 120
DRIFTED = ", and it is significant (p"
SUNDAYS = [date(2014, 1, 5) + timedelta(weeks=i) for i in range(N)]
MANY = [f"c{i}" for i in range(1_000_000)]
BROKEN: dict[str, tuple[list[Any], list[Any], bool, str]] = {
    "same": ([1.5, 2.5, 3.5] * 40, [1.5, 2.5, 3.5] * 40, False, "below 0.10"),
    "constant": ([7] * N, [7] * N, False, "below 0.10"),
    "constant changes": ([7] * N, [8] * N, True, DRIFTED),
    "all null": ([None] * N, [None] * N, False, "no row of the reference has a value"),
    "goes null": ([1.0, 2.0] * 60, [None] * N, True, DRIFTED),
    "comes from null": ([None] * N, [1.0, 2.0] * 60, False, "no row of the reference has a value"),
    "infinite": ([float("inf"), 1.0] * 60, [float("-inf"), 1.0] * 60, True, DRIFTED),
    "not a number": ([1.0, 2.0] * 60, [float("nan"), 2.0] * 60, True, DRIFTED),
    "numbers become texts": ([1.0, 2.0] * 60, ["a", "b"] * 60, True, "changed its kind: numeric"),
    "numbers as texts": ([1.0, 2.0] * 60, ["1.0", "2.0"] * 60, False, "below 0.10"),
    "some texts": ([1.0, 2.0] * 60, ["1.0", "N.N."] * 60, True, DRIFTED),
    "texts become numbers": (["a", "b"] * 60, [1, 2] * 60, True, DRIFTED),
    "booleans as numbers": ([True, False] * 60, [1, 0] * 60, False, "below 0.10"),
    "numbers become dates": ([1, 2] * 60, [date(2013, 4, 4)] * N, True, "changed its kind: numeric"),
    "dates": ([date(2013, 4, 4)] * N, [date(2014, 4, 4)] * N, False, "spans too few days"),
    "dates as texts": (["2013-04-04"] * N, ["2014-04-04"] * N, False, "spans too few days"),
    "dates go missing": (
        [date(2013, 4, 4)] * N,
        [None] * 110 + [date(2013, 4, 4)] * 10,
        True,
        "missing share",
    ),
    "embeddings": ([[1], [2]] * 60, [[3], [4]] * 60, True, DRIFTED),
    "embeddings of no use": ([[math.nan], [math.inf]] * 60, [[math.nan], []] * 60, False, "has no parts"),
    "embeddings become numbers": ([[1], [2]] * 60, [1, 2] * 60, True, "changed its kind: embedding"),
    "lists of texts": ([["a"], ["b"]] * 60, [["c"], ["d"]] * 60, False, "are not compared"),
    "weekends alone": ([date(2013, 1, 1) + timedelta(days=i) for i in range(N)], SUNDAYS, True, DRIFTED),
    "free texts": (
        [f"we saw {i} cats today" for i in range(N)],
        [f"{i} CATS!" for i in range(N)],
        True,
        "it is significant",
    ),
    "a million kinds": (MANY, MANY[::-1], False, "identifier"),
    "huge and tiny": ([1e308, -1e308, 5e-324] * 40, [1e308, -1e308, 5e-324] * 40, False, "below 0.10"),
    "tiny moves": ([5e-324, 1e-323] * 60, [1e-310, 2e-310] * 60, False, "below 0.10"),
    "structs": ([{"a": 1}] * N, [{"a": 2}] * N, False, "are not compared"),
    "bytes": ([b"a"] * N, [b"b"] * N, False, "are not compared"),
    "identifiers": ([f"u{i}" for i in range(N)], [f"v{i}" for i in range(N)], False, "identifier"),
    "row numbers": (list(range(N)), list(range(N, 2 * N)), False, "counts the rows"),
    "long whole numbers": ([2**60, 2**60 + 1] * 60, [2**60, 2**60 + 1] * 60, False, "below 0.10"),
    "empty texts": (["", "a"] * 60, ["", "b"] * 60, True, DRIFTED),
    "few": ([1.0] * 20, [9.0] * N, False, "at least 30 are needed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_column_has_a_verdict_and_a_reason_and_the_others_go_on(case: str) -> None:
    reference, current, drifted, words = BROKEN[case]
    good = {"good": ["x", "y"] * (len(reference) // 2)} if len(reference) == len(current) else {}
    report = driftline.check(
        pl.DataFrame({"x": reference, **good}, strict=False),
        pl.DataFrame({"x": current, **good}, strict=False),
    )
    json.loads(report.to_json())
    report.to_html()
    found = report.columns["x"]
    assert found.drift.drifted is drifted
    assert words in (found.problem or found.drift.reason)
    assert (report.verdict == "alert") is drifted
    if good:
        assert report.columns["good"].drift.value is not None


NAMES = ["", "count", "name", "literal", "level", "\0", "l\nine", "[red]", "a/b", "feature.x", "score.1", "label"]


def test_whatever_a_column_is_called_it_is_compared() -> None:
    for values in (["u", "v"] * 60, [float(i % 7) for i in range(N)]):
        frame = pl.DataFrame(dict.fromkeys(NAMES, values))
        report = driftline.check(frame, frame)
        assert report.verdict == "ok" and set(report.columns) == set(NAMES)
        assert all(column.drift is not None for column in report.columns.values())
        report.to_html()


@pytest.mark.parametrize("name", ["*", "^.*$", "^wind$"])
def test_a_pattern_for_a_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="has a pattern for a name"):
        driftline.check(rows(1), rows(2).with_columns(pl.lit("u").alias(name)))


def test_the_label_is_not_the_prediction_too() -> None:
    with pytest.raises(UsageError, match="are both the column 'y'"):
        driftline.check(rows(1), rows(2), label="y", prediction="y")


def test_a_column_that_is_ignored_can_still_tell_segments_and_labels() -> None:
    plain = driftline.check(rows(1), rows(2), **BINARY, segments=["sky"])
    found = driftline.check(rows(1), rows(2), **BINARY, segments=["sky", "sky"], ignore=["sky", "y", "wind"])
    assert found.segments == plain.segments != ()
    assert found.performance == plain.performance
    assert {"sky", "wind"}.isdisjoint(found.columns)


def test_of_very_many_segments_only_the_first_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    monkeypatch.setattr(build, "performance_of", lambda rows, *more: judged.append(rows) or performance_of(rows, *more))
    many = pl.DataFrame({"place": [f"{i:04}" for i in range(3000)], "y": [0, 1, 1] * 1000, "p": [0, 1, 0] * 1000})
    report = driftline.check(many, many, label="y", prediction="p", segments=["place"])
    assert [segment.value for segment in report.segments] == [f"{i:04}" for i in range(build.MOST_SEGMENTS)]
    assert len(judged) == 2 * (1 + build.MOST_SEGMENTS)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["0.5", "0.75", "none"])])
def test_numbers_that_come_as_categories_are_read_as_texts_are(dtype: Any) -> None:
    numbers = pl.DataFrame({"x": [0.5, 0.75, None] * 40, "y": [0, 1, 1] * 40})
    texts = pl.DataFrame({"x": pl.Series(["0.5", "0.75", "none"] * 40).cast(dtype), "y": [0, 1, 1] * 40})
    assert driftline.check(numbers, texts).verdict == "ok"
    regression = driftline.check(texts, texts, label="x", prediction="y", task="regression")
    assert regression.performance is not None and regression.performance["mae"].n == 80
    scored = driftline.check(texts, texts, label="y", score="x")
    assert any("33 % of x are left out" in note for note in scored.notes)


@pytest.mark.parametrize("part", ["time", "id", "segments"])
def test_a_column_fits_its_part_or_that_is_said(part: str) -> None:
    for values in ([True], [[1.0]], [b"\xff\x00"], [timedelta(1)], [{"a": 1}], ["u"], [1], [1.5], [date(2024, 1, 1)]):
        frame = rows(1).with_columns(pl.Series("odd", values * ROWS))
        options: dict[str, Any] = {part: ["odd"] if part == "segments" else "odd"}
        fits = (part == "id" and isinstance(values[0], bytes | bool)) or isinstance(values[0], str | float | date | int)
        if part == "time" and values[0] is True:
            fits = False
        refusal = "column 'odd' is of type"
        if part == "time" and values == ["u"]:
            fits, refusal = False, "time column 'odd' that were looked at are no times, such as 'u'"
        with contextlib.nullcontext() if fits else pytest.raises(DataError, match=refusal):
            driftline.check(frame, frame, label="y", prediction="p", **options)


def test_seconds_that_are_no_time_are_left_out() -> None:
    """NaN is a missing time, as null is."""
    seconds = [1.7e9 + 60 * i for i in range(100)] + [math.nan, math.inf, -math.inf, 1e308, None] * 4
    frame = pl.DataFrame({"t": seconds, "x": [float(i % 7) for i in range(120)]})
    assert (
        "10 % of t are left out: they are no times (10 % in the reference)"
        in driftline.check(frame, frame, time="t").notes
    )


def test_what_is_left_out_of_a_score_a_time_or_a_target_gets_a_word() -> None:
    """A margin is no probability: ROC AUC over the few rows that look like one would be taken for that of all."""
    junk = pl.Series(["2024-01-31", "soon", "2024-02-01"] * ROWS).head(ROWS)
    before = rows(1).with_columns(margin=pl.col("s") * 4 - 1, junk=junk)
    margins = driftline.check(before, before, label="y", prediction="p", score="margin", time="junk")
    assert any("of margin are left out: they are no probabilities" in note for note in margins.notes)
    assert "33 % of junk are left out: they are no times (33 % in the reference)" in margins.notes
    with pytest.raises(DataError, match=r"time column 'junk'.*no times, such as 'soon'"):
        driftline.check(before, before.with_columns(junk=pl.lit("soon")), time="junk")
    assert not any("texts" in change for column in margins.columns.values() for change in column.changes)
    assert not any("left out" in note for note in driftline.check(before, before, **BINARY).notes)
    texts = driftline.check(before, before, label="sky", prediction="s", task="regression")
    assert "100 % of sky are left out: they are no numbers (100 % in the reference)" in texts.notes


@pytest.mark.parametrize(("before", "now", "alert"), [(2, 2, False), (1, 2, True), (2, 3, False), (3, 2, False)])
def test_ids_that_repeat_are_held_against_the_reference(before: int, now: int, alert: bool) -> None:
    """As docs/check.md says: from 1 % of the rows on, and from twice the share of the reference."""
    was, became = (
        pl.DataFrame({"id": [i // times for i in range(600)], "v": [i % 7 for i in range(600)]})
        for times in (before, now)
    )
    report = driftline.check(was, became, id="id")
    assert [found.measure for found in report.alerts] == ["duplicates"] * alert
    assert (report.duplicates.reference, report.duplicates.current) == (
        pytest.approx(1 - 1 / before),
        pytest.approx(1 - 1 / now),
    )


def test_a_column_that_is_gone_and_one_that_is_new() -> None:
    report = driftline.check(rows(1).drop("sky"), rows(2).drop("wind"), time="when")
    gone, new = report.columns["wind"], report.columns["sky"]
    assert gone.drift.drifted and "is gone" in gone.problem
    assert new.drift.value is None and not new.drift.drifted and "is not in the reference" in new.problem
    assert [alert.column for alert in report.alerts] == ["wind"]


def test_floors_and_choice_of_columns() -> None:
    before, now = rows(1), rows(2, shift=3.0)
    assert driftline.check(before, now, time="when", floors=EffectThresholds(wasserstein=9, js=1)).verdict == "ok"
    assert driftline.check(before, now, features=["sky"]).columns.keys() == {"sky"}
    assert "wind" not in driftline.check(before, now, ignore=["wind"]).columns


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=50),
    st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=50),
    st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=50),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=1, max_size=50),
    st.lists(st.one_of(st.none(), st.dates()), min_size=1, max_size=50),
    st.lists(st.lists(st.integers(0, 3), max_size=2), min_size=1, max_size=50),
    st.lists(st.none(), min_size=1, max_size=50),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, VALUES, st.sampled_from(["feature", "label", "prediction", "score"]), st.booleans())
def test_whatever_a_column_holds_there_is_a_report_or_an_error_of_ours(
    reference: list[Any], current: list[Any], role: str, both: bool
) -> None:
    options: dict[str, Any] = {} if role == "feature" else {role: "x"}
    before = pl.DataFrame({"x": reference, "p": ["a"] * len(reference)}, strict=False)
    now = pl.DataFrame({"x": current, "p": ["a"] * len(current)}, strict=False)
    if both and role != "prediction":
        options["prediction"] = "p"
    try:
        report = driftline.check(before, now, **options)
    except DriftlineError:
        return
    json.loads(report.to_json())
    report.to_html()


# ---- the page ----------------------------------------------------------------------------------------------


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_one_file_that_loads_and_runs_nothing(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>'\"&{{ 7*7 }}"
    reference = rows(1).with_columns(pl.lit(hostile).alias(hostile), pl.col("sky").alias('"><img src=x onerror=y>'))
    current = rows(2, shift=2.0).with_columns(
        pl.lit(hostile + "2").alias(hostile), pl.col("sky").alias('"><img src=x onerror=y>')
    )
    done = run(*_parquets(tmp_path, reference, current), *OPTIONS, "--html", tmp_path / "report.html")
    assert done.returncode == 1, done.stderr
    page = _Page()
    page.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") or name in ("src", "href") for _, attrs in page.tags for name in attrs)
    assert hostile in page.text
    assert "wind has drifted" in page.text
    assert any(tag == "svg" for tag, _ in page.tags)


def _parquets(folder: Path, *frames: pl.DataFrame) -> list[Path]:
    paths = [folder / f"{at}.parquet" for at in range(len(frames))]
    for frame, path in zip(frames, paths, strict=True):
        frame.write_parquet(path)
    return paths


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    shown = driftline.check(rows(1), rows(2))._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and "<html" not in shown


@pytest.mark.parametrize("now", [pl.Int64, pl.Float64, pl.Boolean, pl.Categorical])
@pytest.mark.parametrize("before", [pl.String, pl.Categorical])
def test_classes_are_the_same_as_texts_and_as_numbers(before: Any, now: Any) -> None:
    rows = pl.DataFrame({"y": [0, 1, 1, 0] * 20, "p": [0, 1, 0, 0] * 20})
    as_texts = rows.with_columns(pl.col("y").cast(pl.String).cast(before))
    as_others = rows.with_columns(
        pl.col("y").cast(pl.String).cast(now) if now == pl.Categorical else pl.col("y").cast(now)
    )
    for pair in ((as_texts, as_others), (as_others, as_texts)):
        report = driftline.check(*pair, label="y", prediction="p")
        assert (report.verdict, report.performance and report.performance["recall"].value) == ("ok", 0.5)


# ---- missing values ------------------------------------------------------------------------------------------


def gappy(share: float, n: int = 2000) -> pl.DataFrame:
    """A column of which this share is missing, and one that has all."""
    rng = np.random.default_rng(11)
    x = [None if index < share * n else float(value) for index, value in enumerate(rng.normal(size=n))]
    return pl.DataFrame({"x": pl.Series(x, dtype=pl.Float64), "y": rng.normal(size=n)})


def test_fewer_missing_values_are_a_note_and_no_alert(tmp_path: Path) -> None:
    done = run(*written(tmp_path, gappy(0.08), gappy(0.0)))
    assert done.returncode == 0
    report = driftline.check(gappy(0.08), gappy(0.0))
    assert report.alerts == ()
    assert [note for note in report.notes if "missing" in note] == ["x has fewer missing values: 8.0 % → 0 %"]


@pytest.mark.parametrize(("before", "after"), [(0.55, 1.0), (0.45, 0.88), (0.0, 0.2)])
def test_more_missing_values_fail_on_quality_and_not_on_drift(tmp_path: Path, before: float, after: float) -> None:
    files = written(tmp_path, gappy(before), gappy(after))
    assert run(*files, "--fail-on", "quality").returncode == 1
    assert run(*files, "--fail-on", "drift").returncode == 0


def test_a_column_that_died_is_told_before_all_else() -> None:
    reference = rows(1).with_columns(extra=pl.Series(np.arange(ROWS) % 7))
    current = rows(2, shift=9.0, sure=0.5).with_columns(extra=pl.lit(None, dtype=pl.Int64))
    report = driftline.check(reference, current, label="y", prediction="p", score="s", time="when")
    assert [alert.kind for alert in report.alerts][:2] == ["quality", "performance"]
    assert report.alerts[0].message == "feature extra has died: missing 0 % → 100 %"
    assert next(iter(report.columns)) == "extra"


def test_values_that_drift_do_not_hide_that_many_went_missing() -> None:
    report = driftline.check(gappy(0.05), gappy(0.3).with_columns(pl.col("x") + 40))
    assert [(alert.kind, alert.column, alert.measure) for alert in report.alerts] == [
        ("quality", "x", "missing"),
        ("drift", "x", "wasserstein"),
    ]
    assert report.alerts[0].message == "feature x has lost values: missing 5.0 % → 30 %"


# ---- bias ----------------------------------------------------------------------------------------------------


def forecasts(seed: int, off: float = 0.0, n: int = 2000) -> pl.DataFrame:
    """A regression whose errors have a spread of 1, and that is off by this much."""
    rng = np.random.default_rng(seed)
    y = rng.normal(50, 10, n)
    return pl.DataFrame({"y": y, "p": y + rng.normal(off, 1, n)})


@pytest.mark.parametrize(("off", "way"), [(-10.0, "too low by 9.9"), (10.0, "too high by 10")])
def test_a_bias_is_judged_by_its_size_and_told_by_its_sign(off: float, way: str) -> None:
    report = driftline.check(forecasts(1), forecasts(2, off), label="y", prediction="p")
    [alert] = [alert for alert in report.alerts if alert.measure == "bias"]
    assert alert.kind == "performance"
    assert alert.message.startswith(f"bias: predictions are {way}")
    assert alert.value is not None and alert.threshold is not None
    assert alert.value * off > 0 and abs(alert.value) > abs(alert.threshold) and alert.value * alert.threshold > 0
    [line] = [line for line in str(report).splitlines() if line.startswith("bias ")]
    assert line.endswith("worse")


def test_a_bias_that_is_a_trifle_or_that_shrinks_is_no_alert() -> None:
    for before, now in ((0.0, 0.1), (0.0, -0.1), (-10.0, 0.0), (3.0, 1.0), (3.0, -3.0)):
        report = driftline.check(forecasts(1, before), forecasts(2, now), label="y", prediction="p")
        assert [alert for alert in report.alerts if alert.measure == "bias"] == []
