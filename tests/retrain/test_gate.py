"""`driftline gate`: files and functions, exit codes, one line for what does not fit, and a page that needs nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from driftline.cli.main import main
from driftline.rules.contest import Contest
from driftline.rules.evidence import Evidence

N = 1000
MODELS = """
import polars as pl


def old(rows):
    return (rows["wind"] > 1.0).cast(pl.Int64)


def new(rows):
    score = 1 / (1 + (-1.2 * rows["wind"]).exp())
    return pl.DataFrame({"prediction": (score > 0.5).cast(pl.Int64), "p": score})


def old_scored(rows):
    return pl.DataFrame({"prediction": (rows["wind"] > 1.0).cast(pl.Int64), "p": (rows["wind"] / 10 + 0.4).clip(0, 1)})


def leaves(rows):
    raise SystemExit(0)


def raises(rows):
    raise KeyError("no such column")


def short(rows):
    return [1]


def nothing(rows):
    return None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labelled rows, predictions of a worse and of a better model, and both as functions."""
    rng = np.random.default_rng(1)
    wind, label = rng.normal(0, 1, N), rng.integers(0, 2, N)
    wind = np.where(label == 1, wind + 0.6, wind - 0.6)
    rows = pl.DataFrame(
        {
            "id": [f"r{place}" for place in range(N)],
            "time": [datetime(2026, 1, 1) + timedelta(hours=place) for place in range(N)],
            "region": rng.choice(["north", "south"], N),
            "wind": wind,
            "label": label,
        }
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    for name, threshold in (("old", 1.0), ("new", 0.0)):
        said = pl.DataFrame({"id": rows["id"], "prediction": (wind > threshold).astype(int)})
        said.sample(fraction=1.0, shuffle=True, seed=2).write_csv(tmp_path / f"{name}.csv")
    (tmp_path / "models_of_gate.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gate(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["gate", *words])
    return int(ended.value.code or 0)


FILES = ("old.csv", "new.csv", "rows.parquet", "--label", "label", "--id", "id")


def test_files_that_are_matched_by_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(*FILES, "--time", "time", "--segment", "region") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("PROMOTE\nOn 1000 rows its accuracy is better")
    assert "region = south" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_other_way_round_it_is_held_with_exit_code_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("new.csv", "old.csv", *FILES[2:], "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["decision"], found["champion"], found["challenger"]) == ("hold", "new.csv", "old.csv")
    assert found["difference"]["high"] < 0


def test_functions_are_asked_and_timed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("models_of_gate.py:old", "models_of_gate.py:new", "rows.parquet", "--label", "label", "--id", "id")
    assert gate(*words, "--time", "time", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    [latency] = [one for one in found["gates"] if one["name"] == "latency"]
    assert latency["evidence"]["challenger_p95_seconds"] > 0
    assert found["difference"]["value"] > 0.05


def test_scores_of_functions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "models_of_gate.py:old_scored",
        "models_of_gate.py:new",
        "rows.parquet",
        "--label",
        "label",
        "--score",
        "p",
    )
    assert gate(*words, "--measure", "log_loss", "--json") in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert found["difference"]["low"] > 0
    assert found["measure"] == "log_loss"


def test_settings_reach_the_contest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(*FILES, "--floor", "0.99") == 1
    assert "is below the floor of 0.99" in capsys.readouterr().out
    assert gate(*FILES, "--improvement", "0.5") == 1
    Path("copy.csv").write_text(Path("new.csv").read_text())
    assert gate("new.csv", "copy.csv", *FILES[2:]) == 1
    assert gate("new.csv", "copy.csv", *FILES[2:], "--margin", "0.01") == 0
    assert gate(*FILES, "--time", "time", "--trained-until", "2026-01-05") == 1
    assert gate(*FILES, "--time", "time", "--trained-until", "2025-12-31") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no.csv", *FILES[1:]), "no.csv: there is no such file"),
        ((*FILES[:3], "--label", "y"), "rows.parquet has no column 'y'; it has id, time, region, wind, label"),
        ((*FILES, "--prediction", "p"), "old.csv has no column 'p' of predictions; it has id, prediction"),
        ((*FILES[:5], "--id", "wind"), "old.csv has no column 'wind', by which its rows are found"),
        ((*FILES, "--measure", "mae"), "unknown measure of a contest of binary models 'mae'"),
        ((*FILES, "--task", "ranking"), "--task came as 'ranking'; allowed is binary, multiclass, regression"),
        ((*FILES, "--margin", "0.1", "--improvement", "0.1"), "margin 0.1 and improvement 0.1 came"),
        ((*FILES, "--trained-until", "soon"), "--trained-until 'soon' came; allowed is a day or a time"),
        (
            (*FILES, "--time", "time", "--trained-until", "0001-01-01T00:00:00+14:00"),
            "--trained-until came as 0001-01-01T00:00:00+14:00; allowed are the years 1900 to 9998",
        ),
        (("models_of_gate.py:leaves", *FILES[1:]), "models_of_gate.py:leaves raised SystemExit: 0"),
        (("models_of_gate.py:raises", *FILES[1:]), "models_of_gate.py:raises raised KeyError: 'no such column'"),
        (("models_of_gate.py:short", *FILES[1:]), "returned 1 rows with the columns prediction; 1000"),
        (("models_of_gate.py:nothing", *FILES[1:]), "returned NoneType, which is no list of predictions"),
        (("models_of_gate.py:missing", *FILES[1:]), "has no function 'missing'"),
        (("old.csv", "new.csv", "rows.parquet"), "--label"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert gate(*words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_ids_that_come_twice_and_rows_that_are_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = pl.read_csv("new.csv")
    pl.concat([new, new.head(1)]).write_csv("twice.csv")
    assert gate("old.csv", "twice.csv", *FILES[2:]) == 2
    assert "twice\n" in capsys.readouterr().err
    new.head(900).write_csv("some.csv")
    assert gate("old.csv", "some.csv", *FILES[2:]) == 1
    assert "some.csv has no answer to 100 of 1000 rows." in " ".join(capsys.readouterr().out.split())
    assert gate("old.csv", "some.csv", "rows.parquet", "--label", "label") == 2
    assert "some.csv has 900 rows, the labelled ones are 1000; match them by --id" in capsys.readouterr().err


def test_the_page_needs_nothing_and_takes_no_markup(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pl.read_parquet("rows.parquet").with_columns(region=pl.lit("<b>north</b>"))
    rows.write_parquet("rows.parquet")
    Path("old.csv").rename("<i>old.csv")
    assert gate("<i>old.csv", *FILES[1:], "--time", "time", "--segment", "region", "--html", "page.html") == 0
    page = Path("page.html").read_text()
    assert "&lt;b&gt;north" in page and "<b>" not in page and "<i>" not in page
    assert not re.search(r"https?://|<script|@import|url\(", page)
    assert page.count("<polyline") == 2
    assert gate(*("<i>old.csv", *FILES[1:]), "--html", "no/where.html") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_regression_and_rows_without_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    truth = pl.Series("y", rng.normal(0, 5, 400))
    labelled = truth.to_frame().with_columns(y=pl.when(pl.int_range(400) < 300).then("y"))
    labelled.write_parquet("rows.parquet")
    for name, spread in (("old", 3.0), ("new", 1.0)):
        (truth.head(300) + rng.normal(0, spread, 300)).to_frame("prediction").write_parquet(f"{name}.parquet")
    assert gate("old.parquet", "new.parquet", "rows.parquet", "--label", "y") == 0
    assert "On 300 rows its mae is better" in capsys.readouterr().out


# ---- what it rests on ---------------------------------------------------------------------------------------------


def test_the_evidence_has_the_rows_by_which_it_was_judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--time", "time", "--segment", "region", "--trained-until", "2025-12-31", "--evidence", "evidence.json")
    assert gate(*FILES, *words, "--json") == 0
    contest = msgspec.json.decode(capsys.readouterr().out, type=Contest)
    found = msgspec.json.decode((folder / "evidence.json").read_bytes(), type=Evidence)
    rows = pl.read_parquet("rows.parquet")
    assert found.id == rows["id"].to_list()
    assert found.label == rows["label"].cast(pl.String).to_list()
    assert found.seconds == [time.replace(tzinfo=UTC).timestamp() for time in rows["time"]]
    assert found.segments == {"region": rows["region"].to_list()}
    assert found.trained_until == datetime(2025, 12, 31, tzinfo=UTC).timestamp()
    right = [said == label for said, label in zip(found.challenger.prediction, found.label, strict=True)]
    assert contest.difference.first == pytest.approx(sum(right) / N)


def test_a_segment_that_is_named_twice_is_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        gate(*FILES, "--segment", "region", "--json") == gate(*FILES, "--segment", "region", "--segment", "region") == 0
    )
    assert "worse in none of 2 segments" in capsys.readouterr().out


def test_evidence_that_cannot_be_written_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(*FILES, "--evidence", "nowhere/evidence.json") == 2
    assert capsys.readouterr().err == (
        "driftline: --evidence nowhere/evidence.json: cannot be written: No such file or directory\n"
    )


def test_one_value_that_a_champion_owes_is_said_and_holds_nobody(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 1, N)
    pl.DataFrame({"id": range(N), "label": truth}).write_parquet("numbers.parquet")
    old = truth + rng.normal(0, 1, N)
    old[3] = np.nan
    pl.DataFrame({"id": range(N), "prediction": old}).write_parquet("owes.parquet")
    # An empty field is the same as NaN.
    pl.DataFrame({"id": range(N), "prediction": old}).fill_nan(None).write_csv("owes.csv")
    pl.DataFrame({"id": range(N), "prediction": truth + rng.normal(0, 0.5, N)}).write_parquet("better.parquet")
    told = []
    for name in ("owes.parquet", "owes.csv"):
        words = (name, "better.parquet", "numbers.parquet", "--label", "label", "--id", "id", "--json")
        assert gate(*words) == 0
        contest = msgspec.json.decode(capsys.readouterr().out, type=Contest)
        assert contest.reason.endswith(f"One answer of {name} is missing and counts as its worst.")
        told.append(contest.difference)
    assert told[0] == told[1]
    # A row that is not there is none that it owes.
    pl.read_parquet("owes.parquet").filter(pl.col("id") != 3).write_parquet("left-out.parquet")
    assert gate("left-out.parquet", *words[1:]) == 0
    contest = msgspec.json.decode(capsys.readouterr().out, type=Contest)
    assert (contest.difference.n, "missing" in contest.reason) == (N - 1, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--margin", "nan"), "margin nan came; it is a number"),
        (("--floor", "inf"), "floor inf came; it is a number"),
        (("--least-rows", "-5"), "least_rows -5 came; it is a number of rows, 1 or more"),
        (("--least-class-rows", "0"), "least_class_rows 0 came; it is a number of rows, 1 or more"),
        (("--trained-until", "2026-02-01"), "--trained-until came without --time"),
    ],
)
def test_flags_that_make_no_sense(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert gate(*FILES, *words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_few_positives_and_rows_of_one_day_are_held_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pl.read_parquet("rows.parquet")
    rare = rows.with_columns(label=(pl.int_range(pl.len()) < 12).cast(pl.Int64))
    rare.write_parquet("rare.parquet")
    words = ("old.csv", "new.csv", "rare.parquet", "--label", "label", "--id", "id", "--measure", "recall")
    assert gate(*words, "--positive", "1") == 1
    assert "12 rows are of the class 1, which the recall rests on; 30 are needed." in capsys.readouterr().out
    gate(*words, "--positive", "1", "--least-class-rows", "10")
    assert "are needed" not in capsys.readouterr().out
    rows.with_columns(time=pl.lit(datetime(2026, 1, 1))).write_parquet("day.parquet")
    assert gate("old.csv", "new.csv", "day.parquet", "--label", "label", "--id", "id", "--time", "time") == 1
    assert "all rows are of one day" in capsys.readouterr().out
