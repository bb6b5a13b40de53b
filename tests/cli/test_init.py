"""``driftline init``: a file that is left alone, one that works, and the two commands that it names."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftline.cli.main import main
from driftline.config.load import load
from driftline.service.runtime import Service

RNG = np.random.default_rng(3)
ROWS = 600


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(**more: Any) -> pl.DataFrame:
    label = RNG.choice(["churn", "stay"], ROWS)
    return pl.DataFrame(
        {
            "customer_id": [f"c{row}" for row in range(ROWS)],
            "date": [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=row) for row in range(ROWS)],
            "plan": RNG.choice(["basic", "plus"], ROWS),
            "usage, GB": RNG.gamma(2.0, 3.0, ROWS),
            "prediction": np.where(RNG.random(ROWS) < 0.1, "churn", label),
            "churned": label,
            **more,
        }
    )


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capfd.readouterr()
    return int(end.value.code or 0), out, err


def test_from_a_file_of_rows_to_a_backtest_and_a_service(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows().write_csv("last month's rows.csv")
    code, out, err = run(capfd, "init", "last month's rows.csv")
    assert (code, err) == (0, "")
    assert "Wrote driftline.yaml: the model last-month-s-rows" in out
    backtest, serve = (line.strip() for line in out.splitlines()[-2:])
    assert (backtest, serve) == (
        "driftline backtest 'last month'\"'\"'s rows.csv' --config driftline.yaml",
        "driftline serve",
    )
    code, out, err = run(capfd, *shlex.split(backtest)[1:], "--json")
    assert (code in (0, 1), err) == (True, "")
    assert json.loads(out)["windows"] == 25
    service = Service(load(Path("driftline.yaml")))  # what `driftline serve` opens
    service.stop()
    [model] = service.models.values()
    assert model.schema.classes == ("churn", "stay")
    assert {*model.schema.features} == {"plan", "usage, GB"}


def test_the_document_says_what_stands_in_the_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows().write_parquet("rows.parquet")
    code, out, _ = run(capfd, "init", "rows.parquet", "--output", "conf/../made.yaml", "--json", "--model", "churn")
    assert code == 2  # there is no folder conf
    code, out, _ = run(capfd, "init", "rows.parquet", "--output", "made.yaml", "--json", "--model", "churn")
    found = json.loads(out)
    model = load(Path("made.yaml")).models["churn"]
    assert (code, found["config"], found["task"]) == (0, "made.yaml", "binary")
    assert found["columns"] == {
        "id": "customer_id",
        "time": "date",
        "prediction": "prediction",
        "label": "churned",
        "features": ["plan", "usage, GB"],
        "segments": ["plan"],
    }
    assert (model.columns.id, model.columns.label, model.columns.segments) == ("customer_id", "churned", ("plan",))
    assert {
        name: value
        for guess in found["guesses"]
        if guess["key"] == "columns.score"
        for name, value in guess.items()
        if name != "reason"
    } == {"key": "columns.score", "value": None}
    assert all(guess["reason"] for guess in found["guesses"])
    assert found["next"][1] == "driftline serve --config made.yaml"


def test_a_file_that_is_there_is_left_and_replaced_by_force(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows().write_parquet("rows.parquet")
    (folder / "driftline.yaml").write_text("mine")
    code, out, err = run(capfd, "init", "rows.parquet")
    assert (code, out) == (2, "")
    assert err == (
        "driftline: driftline.yaml is there already and was left as it is; name another --output, or add --force\n"
    )
    assert (folder / "driftline.yaml").read_text() == "mine"
    assert run(capfd, "init", "rows.parquet", "--force")[0] == 0
    assert load(Path("driftline.yaml")).models.keys() == {"rows"}


def test_a_configuration_elsewhere_finds_its_rows(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "conf").mkdir()
    rows().write_parquet("rows.parquet")
    code, out, _ = run(capfd, "init", "rows.parquet", "--output", "conf/driftline.yaml", "--json")
    assert code == 0
    assert load(Path("conf/driftline.yaml")).models["rows"].reference.resolve() == folder / "rows.parquet"
    backtest, _ = json.loads(out)["next"]
    assert run(capfd, *shlex.split(backtest)[1:])[0] in (0, 1)


def test_a_table_of_many_files_is_copied_into_one(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows().write_delta("table")
    code, out, _ = run(capfd, "init", "table", "--json")
    assert code == 0
    model = load(Path("driftline.yaml")).models["table"]
    assert pl.read_parquet(model.reference).height == ROWS
    backtest, _ = json.loads(out)["next"]
    assert backtest == "driftline backtest table --config driftline.yaml"
    assert run(capfd, *shlex.split(backtest)[1:])[0] in (0, 1)
    (folder / "driftline.yaml").unlink()
    code, _, err = run(capfd, "init", "table")
    assert (code, "table-reference.parquet is there already" in err) == (2, True)


def test_without_times_the_rows_are_checked_instead(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows().drop("date").write_parquet("rows.parquet")
    code, out, _ = run(capfd, "init", "rows.parquet")
    check = out.splitlines()[-2].strip()
    assert (code, check) == (0, "driftline check rows.parquet rows.parquet --config driftline.yaml")
    assert run(capfd, *shlex.split(check)[1:])[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.csv"], "nothing.csv: there is no such file"),
        (["rows.parquet", "--label", "chrned"], "unknown column 'chrned'"),
        (["rows.parquet", "--task", "binry"], "unknown task 'binry'; known: binary"),
        (["rows.parquet", "--model", "My Model"], "models.My Model"),
        (["rows.parquet", "--output", "nowhere/driftline.yaml"], "nowhere/driftline.yaml cannot be written"),
        (["rows.parquet", "--time", "plan"], "--time 'plan' holds no times"),
        (["rows.parquet", "--time-format", "%Z", "--time", "date"], "names of time zones"),
    ],
)
def test_a_mistake_is_one_line_and_a_2(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    rows(date=["x"] * ROWS if "%Z" in arguments else rows()["date"]).write_parquet("rows.parquet")
    code, out, err = run(capfd, "init", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert not (folder / "driftline.yaml").exists()


def test_a_name_that_acts_on_a_terminal_is_shown_and_not_obeyed(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows(**{"\x1b[2Jtime\nlabel: x": RNG.choice(["a", "b"], ROWS), "label\r": RNG.random(ROWS)}).write_parquet(
        "a.parquet"
    )
    code, out, _ = run(capfd, "init", "a.parquet")
    assert code == 0
    assert "\x1b" not in out + (folder / "driftline.yaml").read_text()
    assert "\r" not in out + (folder / "driftline.yaml").read_bytes().decode()
    assert "\x1b[2Jtime\nlabel: x" in (load(Path("driftline.yaml")).models["a"].columns.features or ())
