"""What a check takes for granted is said: task, positive class, kinds of columns, and columns without a part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, roc_auc_score

import driftline
from driftline.cli import check as check_command
from driftline.events import guess_positive, positive_class
from driftline.profiles import Columns
from driftline.profiles.usual_names import USUAL_NAMES, unplayed
from driftline.results.check import Positive

N = 1200


def fraud(score: str = "s", label: str = "y", *, rows: int = N, seed: int = 9) -> pl.DataFrame:
    """Labels fraud and ok with the probability of fraud: the last by name is ok."""
    rng = np.random.default_rng(seed)
    true = rng.random(rows) < 0.1
    p = np.clip(rng.random(rows) * 0.6 + true * 0.35, 0, 1)
    names = [np.where(one, "fraud", "ok") for one in (true, p > 0.5)]
    return pl.DataFrame({label: names[0], "p": names[1], score: p})


def told(report: driftline.Report | Any, where: str) -> str:
    """The report as one line of text, as its page, or as JSON."""
    if where == "text":
        return " ".join(str(report).split())
    return report.to_html() if where == "page" else json.dumps(report.to_dict(), ensure_ascii=False)


PLACES = ("text", "page", "json")


# ---- the positive class -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", PLACES)
def test_a_guessed_positive_class_is_said_and_doubted_where_the_score_speaks_against_it(where: str) -> None:
    rows = fraud()
    report = driftline.check(rows, rows, label="y", prediction="p", score="s")
    assert report.positive is not None and report.positive.guessed and report.positive.name == "ok"
    assert report.performance is not None
    auc = roc_auc_score(rows["y"] == "ok", rows["s"])
    assert f"ROC AUC {auc:.3f} (" in report.positive.doubt
    text = told(report, where)
    assert text.count(report.positive.doubt) == 1
    assert text.count("positive class ok, the last by name of fraud and ok") == 1
    assert report.verdict == "ok"


def test_the_advice_is_good() -> None:
    """Who does what is advised has the ROC AUC of the other class, and no doubt is left."""
    rows = fraud()
    doubted = driftline.check(rows, rows, label="y", prediction="p", score="s")
    assert doubted.positive is not None and doubted.positive.doubt.endswith("; say --positive fraud")
    good = driftline.check(rows, rows, label="y", prediction="p", score="s", positive="fraud")
    assert good.positive == Positive("fraud", guessed=False)
    assert good.performance is not None
    assert good.performance["roc_auc"].value == pytest.approx(roc_auc_score(rows["y"] == "fraud", rows["s"]), abs=1e-3)
    assert good.performance["precision"].value == pytest.approx(
        precision_score(rows["y"], rows["p"], pos_label="fraud"), abs=1e-9
    )
    said = driftline.check(rows, rows, label="y", prediction="p", score="s", positive="ok")
    assert said.positive is not None and said.positive.doubt.endswith("; say --score fraud=s")
    named = driftline.check(rows, rows, label="y", prediction="p", score={"fraud": "s"}, positive="ok")
    assert named.positive is not None and not named.positive.doubt
    assert named.performance is not None
    assert named.performance["roc_auc"].value == pytest.approx(good.performance["roc_auc"].value, abs=1e-9)


def test_scores_of_both_classes_that_were_exchanged() -> None:
    rows = fraud().with_columns((1 - pl.col("s")).alias("t"))
    report = driftline.check(rows, rows, label="y", score={"ok": "s", "fraud": "t"})
    assert report.positive is not None
    assert report.positive.doubt.endswith("the scores of ok and fraud are probably exchanged")


def test_a_model_that_was_right_on_the_reference_is_worse_and_not_doubted() -> None:
    rows = fraud(score="p_fraud")
    turned = rows.with_columns((1 - pl.col("p_fraud")).alias("p_fraud"))
    report = driftline.check(rows, turned, label="y", prediction="p", score="p_fraud")
    assert report.positive is not None and not report.positive.doubt
    assert any(alert.measure == "roc_auc" for alert in report.alerts)


def test_chance_is_not_doubted() -> None:
    rng = np.random.default_rng(5)
    rows = pl.DataFrame({"y": rng.choice(["a", "b"], N), "s": rng.random(N)})
    report = driftline.check(rows, rows, label="y", score="s")
    assert report.positive is not None and report.positive.guessed and not report.positive.doubt


@pytest.mark.parametrize(
    ("options", "name", "by"),
    [
        ({"score": "p_fraud"}, "fraud", "by the name of the score p_fraud"),
        ({"score": "fraudScore"}, "fraud", "by the name of the score fraudScore"),
        ({"score": "s", "label": "fraud"}, "fraud", "by the name of the label fraud"),
        ({"score": "s"}, "ok", "the last by name of fraud and ok"),
    ],
)
def test_names_of_columns_are_evidence(options: dict[str, str], name: str, by: str) -> None:
    label = options.get("label", "y")
    rows = fraud(options["score"], label)
    report = driftline.check(rows, rows, label=label, score=options["score"])
    assert report.positive is not None
    assert (report.positive.name, report.positive.by) == (name, by)
    assert bool(report.positive.doubt) is (name == "ok")
    assert f"positive class {name}, {by}" in report.guesses


def test_a_lone_score_of_a_class_is_of_the_positive_one() -> None:
    rows = fraud()
    report = driftline.check(rows, rows, label="y", score={"fraud": "s"})
    assert report.positive is not None and report.positive.name == "fraud" and not report.positive.doubt


@pytest.mark.parametrize(
    ("classes", "score", "expected"),
    [
        (["0", "1"], "p_0", "0"),
        (["0", "1"], "model_0", "1"),
        (["n", "y"], "score_n", "y"),
        (["no", "yes"], "prob_no", "no"),
        (["fraud", "not fraud"], "p_not_fraud", "not fraud"),
        (["fraud", "not fraud"], "p_fraud", "fraud"),
        (["non-payer", "payer"], "s", "payer"),
        (["fraud", "ok"], "p_fraud_ok", "ok"),
        (["regen", "sonne"], "Regen", "regen"),
        (["fraud", "ok"], "defrauded", "ok"),
    ],
)
def test_a_guess_by_names(classes: list[str], score: str, expected: str) -> None:
    assert positive_class(classes, scores=[score]) == expected


@given(st.lists(st.text(max_size=5), max_size=4), st.text(max_size=12), st.text(max_size=12))
def test_a_guess_is_one_of_the_classes_and_no_matter_of_their_order(names: list[str], score: str, label: str) -> None:
    guess = guess_positive(names, scores=[score], label=label)
    assert guess == guess_positive(reversed(names), scores=[score], label=label)
    assert (guess is None) is (not names)
    if guess is not None:
        assert guess.by
        assert guess.name in names or len(set(names)) == 1


def test_a_class_that_only_later_rows_show_is_still_guessed_and_said(tmp_path: Path) -> None:
    """The first rows have one class: the check starts anew with what all rows show, and does not take it for said."""
    rows = pl.DataFrame({"y": ["a"] * 60_000 + ["b"] * 60_000, "p": ["a"] * 60_000 + ["b"] * 60_000})
    rows.write_csv(tmp_path / "rows.csv")
    report = driftline.check(tmp_path / "rows.csv", tmp_path / "rows.csv", label="y", prediction="p")
    assert report.positive is not None and report.positive.guessed and report.positive.name == "b"
    assert any(guess.startswith("binary, by the classes a and b") for guess in report.guesses)


# ---- the others ---------------------------------------------------------------------------------------------


def kinds(rows: int = 200) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "when": [f"2024-01-{1 + i % 28:02} 00:00:00" for i in range(rows)],
            "msg": [f"the machine {i} said again that part {i * 7} is hot" for i in range(rows)],
            "size": [i % 9 / 2 for i in range(rows)],
            "sky": ["sun", "rain", "fog", "hail"] * (rows // 4),
        }
    )


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    ("options", "guess"),
    [
        ({}, "when read as dates"),
        ({}, "msg read as free text"),
        ({"label": "sky"}, "multiclass, by the 4 classes of sky"),
        ({"label": "size"}, "a regression, by the numbers of size"),
    ],
)
def test_each_guess_is_said_once_everywhere(options: dict[str, str], guess: str, where: str) -> None:
    report = driftline.check(kinds(), kinds(), **options)  # type: ignore[arg-type]
    assert told(report, where).count(guess) == 1


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_what_was_said_is_no_guess(task: str) -> None:
    report = driftline.check(kinds(), kinds(), task=task, label="sky" if task == "multiclass" else "size")
    assert not any(word in guess for guess in report.guesses for word in ("multiclass", "regression"))


def test_where_nothing_was_guessed_nothing_is_said() -> None:
    rows = pl.DataFrame({"size": [i % 9 / 2 for i in range(200)]})
    report = driftline.check(rows, rows)
    assert report.guesses == () and report.positive is None and report.notes == ()
    assert "guess" not in str(report).lower() and 'id="guesses"' not in report.to_html()


# ---- columns without a part ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in USUAL_NAMES.items() for name in names])
def test_a_column_with_a_usual_name_that_plays_no_part_gets_a_word_and_no_verdict(part: str, name: str) -> None:
    values = ["a", "b", "c"] * 100
    rows = pl.DataFrame({name: values, "v": [i % 7 for i in range(300)]})
    report = driftline.check(rows, rows)
    assert report.notes == (f"column {name} is taken as an input; --{part} {name} makes it the {part}",)
    assert report.verdict == "ok" and name in report.columns
    for settled in ({"ignore": [name]}, {"features": [name, "v"]}, {"segments": [name]}):
        assert not any("taken as" in note for note in driftline.check(rows, rows, **settled).notes)


def test_the_note_ends_when_it_is_heeded(tmp_path: Path) -> None:
    rows = pl.DataFrame({"id": range(300), "y": ["a", "b", "c"] * 100, "v": [i % 7 for i in range(300)]})
    rows.write_parquet(tmp_path / "rows.parquet")
    path = str(tmp_path / "rows.parquet")

    def said(*options: str) -> str:
        result = CliRunner().invoke(check_command.command, [path, path, *options], standalone_mode=False)
        assert result.exception is None
        return " ".join(result.stdout.split())

    note = "columns id and y are taken as inputs; --id id and --label y give them their parts"
    assert note in said()
    advice = note.split("; ")[1].removesuffix(" give them their parts").replace(" and", "").split()
    assert "taken as" not in said(*advice)
    assert "column id is taken as an input" in said("--label", "y")


@given(st.sets(st.sampled_from(["label", "y", "Y", "Score", "id", "age", "ts"])))
def test_only_parts_that_nobody_plays_are_asked_for(names: set[str]) -> None:
    assert "label" not in unplayed(Columns(label="truth"), names).values()
    assert unplayed(Columns(ignore=tuple(names)), names) == {}
    assert "age" not in unplayed(Columns(), names)
