"""A class that is called None is missing unless `missing` says otherwise, and the gate tells so."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from driftline.cli.main import main
from driftline.errors import DataError
from driftline.reports.contest_html import contest_html
from driftline.retrain.gate import GateColumns, hold
from driftline.rules.contest import Contest
from driftline.rules.contestants import Settings

N = 400
ADVICE = "have no value; a class called None, NA or null is one with --missing ''"


def rows(none: str, *, seed: int = 0, right: float = 1.0) -> pl.DataFrame:
    """Rows of three classes, a third of them called ``none``; with ``right`` below 1 some answers are others."""
    rng = np.random.default_rng(5)
    true = rng.choice([none, "Mild", "Severe"], N)
    other = np.random.default_rng(seed)
    said = np.where(other.random(N) < right, true, other.choice([none, "Mild", "Severe"], N))
    return pl.DataFrame({"y": true, "prediction": said})


def contest(none: str, missing: tuple[str, ...] | None = None) -> Contest:
    columns = GateColumns(label="y") if missing is None else GateColumns(label="y", missing=missing)
    champion, challenger = (rows(none, seed=seed, right=right) for seed, right in ((1, 0.6), (2, 0.95)))
    there = pl.lit(True) if missing is not None or none == "Fine" else pl.col("y").ne(none)
    return hold(
        champion.filter(there).select("prediction"),
        challenger.filter(there).select("prediction"),
        rows(none).select("y"),
        columns,
        Settings(),
    )


@pytest.mark.parametrize("none", ["None", "NA", "null", "N/A"])
def test_the_gate_says_what_it_takes_for_missing_and_what_to_do(none: str) -> None:
    (note,) = contest(none).notes
    gone = (rows(none)["y"] == none).mean()
    assert isinstance(gone, float)
    assert note.startswith(f"{100 * gone:.0f} % of the labels y of the data and ")
    assert "of the predictions prediction of the challenger" in note and note.endswith(ADVICE)


def test_the_advice_brings_the_class_back() -> None:
    asked = contest("None", missing=("",))
    assert (asked.notes, asked.rows, asked.decision) == ((), N, "promote")
    assert asked.difference == contest("Fine").difference


@pytest.mark.parametrize("numbers", [True, False])
def test_nothing_is_said_where_nothing_is_missing_or_there_are_no_names(numbers: bool) -> None:
    table = pl.DataFrame({"y": np.arange(N) % 7, "prediction": np.arange(N) % 5}).cast(pl.Float64)
    if numbers:
        table = table.with_columns(pl.when(pl.col("y") == 3).then(None).otherwise(pl.col("y")).alias("y"))
        found = hold(*[table.filter(pl.col("y").is_not_null())] * 2, table, GateColumns(label="y"), Settings())
    else:
        found = contest("Fine")
    assert found.notes == ()


def test_where_every_label_is_missing_the_refusal_says_so() -> None:
    only = pl.DataFrame({"y": ["None"] * N, "prediction": ["None"] * N})
    with pytest.raises(DataError, match=r"no row has a label in 'y'; 100 % of the labels y .* --missing ''"):
        hold(only, only, only, GateColumns(label="y"), Settings())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_form_of_the_report_has_the_note(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = pl.Series("id", np.arange(N))
    for name, table in (
        ("data", rows("None").select("y")),
        ("old", rows("None", seed=1, right=0.6).select("prediction")),
        ("new", rows("None", seed=2, right=0.95).select("prediction")),
    ):
        named = table.with_columns(ids)
        named.write_csv(f"{name}.csv") if suffix == "csv" else named.write_parquet(f"{name}.parquet")
    gate = ["gate", *(f"{name}.{suffix}" for name in ("old", "new", "data")), "--label", "y", "--id", "id"]
    for more in (["--html", "contest.html"], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*gate, *more])
        assert ended.value.code == 1
        said = capsys.readouterr().out
        if "--json" in more:
            (note,) = json.loads(said)["notes"]
            assert ADVICE in note and f"new.{suffix}" in note
        else:
            assert ADVICE.replace(" ", "") in "".join(said.split())
            assert "have no value" in Path("contest.html").read_text()


def test_the_page_shows_the_note_as_text() -> None:
    page = contest_html(msgspec.structs.replace(contest("Fine"), notes=("<b>x</b>",)))
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "<b>x</b>" not in page
