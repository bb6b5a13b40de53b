"""Which class a contest takes for positive is said, and doubted where the scores speak against it."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from driftline.cli.main import main
from driftline.errors import DataError
from driftline.reports.contest_html import contest_html
from driftline.retrain.gate import GateColumns, hold
from driftline.rules.contest import Contest
from driftline.rules.contestants import Settings

N = 1500


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    true = rng.random(N) < 0.3
    return pl.DataFrame({"y": np.where(true, "fraud", "ok"), "odds": true * 0.4 + rng.random(N) * 0.6})


def model(rows: pl.DataFrame, noise: float, score: str = "s", *, turned: bool = False) -> pl.DataFrame:
    """Answers with the probability of fraud, or of ok where it is turned."""
    rng = np.random.default_rng(int(noise * 100))
    odds = np.clip(rows["odds"].to_numpy() + rng.normal(0, noise, N), 0, 1)
    said = np.where(odds > 0.5, "fraud", "ok")
    return pl.DataFrame({"prediction": said, score: 1 - odds if turned else odds})


def contest(rows: pl.DataFrame, old: pl.DataFrame, new: pl.DataFrame, score: Any = "s", **more: Any) -> Contest:
    columns = GateColumns(label="y", score=score)
    return hold(old, new, rows, columns, Settings(measure=more.pop("measure", None)), **more)


def test_a_guess_is_said_and_doubted_by_both_scores(rows: pl.DataFrame) -> None:
    old, new = model(rows, 0.4), model(rows, 0.05)
    found = contest(rows, old, new).positive
    assert found is not None and found.guessed and found.name == "ok" and found.doubt is not None
    assert f"ROC AUC {roc_auc_score(rows['y'] == 'ok', old['s']):.3f}" in found.doubt
    assert found.doubt.endswith("say --positive fraud")


def test_the_advice_turns_the_verdict(rows: pl.DataFrame) -> None:
    """By the wrong class the better model is worse, and nobody would promote it."""
    old, new = model(rows, 0.4), model(rows, 0.05)
    assert contest(rows, old, new).decision == "hold"
    good = contest(rows, old, new, positive="fraud")
    assert good.decision == "promote"
    assert good.positive is not None and not good.positive.guessed and good.positive.doubt is None


@pytest.mark.parametrize("score", ["p_fraud", {"fraud": "s"}])
def test_a_name_is_evidence(rows: pl.DataFrame, score: Any) -> None:
    column = score if isinstance(score, str) else "s"
    found = contest(rows, model(rows, 0.4, column), model(rows, 0.05, column), score)
    assert found.decision == "promote" and found.measure == "roc_auc"
    assert found.positive is not None and (found.positive.name, found.positive.doubt) == ("fraud", None)


def test_of_one_model_with_the_other_score_its_name_is_said(rows: pl.DataFrame) -> None:
    found = contest(rows, model(rows, 0.4), model(rows, 0.05, turned=True), positive="fraud")
    assert found.positive is not None and found.positive.doubt is not None
    assert found.positive.doubt.startswith("challenger: ROC AUC 0.0")
    assert "champion" not in found.positive.doubt


def test_where_no_class_matters_none_is_named(rows: pl.DataFrame) -> None:
    old, new = (model(rows, noise).drop("s") for noise in (0.4, 0.05))
    assert contest(rows, old, new, None).positive is None
    of_one = contest(rows, old, new, None, measure="recall").positive
    assert of_one is not None and of_one.by == "the last by name of fraud and ok"
    numbers = rows.with_columns(pl.col("odds").alias("y"))
    one, other = (pl.DataFrame({"prediction": rows["odds"] + shift}) for shift in (0.0, 0.1))
    assert contest(numbers, other, one, None).positive is None


def test_scores_of_more_classes_than_the_rows_show_are_no_mistake(rows: pl.DataFrame) -> None:
    many = [model(rows, noise).with_columns(a=1 - pl.col("s"), b=pl.lit(0.0)) for noise in (0.4, 0.05)]
    assert contest(rows, *many, {"fraud": "s", "ok": "a", "hold": "b"}).rows == N


def test_names_that_look_alike_are_told_apart(rows: pl.DataFrame) -> None:
    """Padded predictions are no class, and say so; so do columns and segments."""
    old, new = (model(rows, noise).drop("s") for noise in (0.4, 0.05))
    padded = new.with_columns(
        pl.when(pl.col("prediction") == "ok").then(pl.lit("ok")).otherwise(pl.lit("fraud ")).alias("prediction")
    )
    held = contest(rows, old, padded, None)
    assert held.decision == "hold"
    assert (
        "predicts 'fraud ', which is no class of this model; it differs from 'fraud' by white space only."
        in held.reason
    )
    with pytest.raises(
        DataError, match=r"no column 'y'; it has 'y ', odds.* Did you mean 'y ', which differs by white"
    ):
        contest(rows.rename({"y": "y "}), old, new, None)
    sides = rows.with_columns(side=pl.Series(["west", "west "] * (N // 2)))
    wrong = new.with_columns(
        pl.when(sides["side"] == "west ").then(pl.lit("ok")).otherwise("prediction").alias("prediction")
    )
    columns = GateColumns(label="y", segments=("side",))
    found = hold(new, wrong, sides, columns, Settings(margin=0.5))
    assert "worse for side = 'west '" in found.reason
    page = html.unescape(contest_html(found))
    assert "side = 'west '" in page and "side = 'west'" in page


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-7])
def test_errors_of_any_size_are_told_apart(rows: pl.DataFrame, size: float) -> None:
    """Two mean absolute errors that differ are not written alike, however small they are."""
    label = rows["odds"] * size
    noise = np.random.default_rng(2).normal(0, 0.1 * size, N)
    models = [pl.DataFrame({"prediction": label + noise * factor}) for factor in (1.0, 0.9)]
    found = hold(*models, rows.with_columns(label.alias("y")), GateColumns(label="y"), Settings())
    better = re.search(r"better: (\S+) against (\S+), \+(\S+) in its favour, 95 % bound \+(\S+) ", found.reason)
    assert found.decision == "promote" and better is not None
    new, old, change, bound = map(float, better.groups())
    assert 0 < new < old and 0 < bound < change
    assert change == pytest.approx(old - new, rel=0.1)
    assert f"{better[2]} → {better[1]}" in contest_html(found)


def test_older_contests_without_a_positive_class_are_read(rows: pl.DataFrame) -> None:
    document = json.loads(msgspec.json.encode(contest(rows, model(rows, 0.4), model(rows, 0.05))))
    assert document["positive"]["class"] == "ok" and document["positive"]["guessed"] is True
    del document["positive"]
    assert msgspec.convert(document, Contest).positive is None


@pytest.mark.parametrize("where", ["text", "page", "json"])
def test_every_form_of_the_report_says_it(
    rows: pl.DataFrame, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows.write_parquet("rows.parquet")
    model(rows, 0.4).write_parquet("old.parquet")
    model(rows, 0.05).write_parquet("new.parquet")
    options = {"text": [], "page": ["--html", "gate.html"], "json": ["--json"]}[where]
    with pytest.raises(SystemExit):
        main(["gate", "old.parquet", "new.parquet", "rows.parquet", "--label", "y", "--score", "s", *options])
    text = " ".join(capsys.readouterr().out.split())
    said = Path("gate.html").read_text() if where == "page" else text
    assert "say --positive fraud" in said
    assert "the last by name of fraud and ok" in said
