"""Names that look alike: laws of how they are shown, and what every door says of them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st

import driftline
from driftline.cli import check as check_command
from driftline.errors import DriftlineError, UnknownNameError
from driftline.lookalikes import differences, differs_by, in_quotes, pairs, shown, shown_all, twin, twins
from driftline.reports.words import cleaned

COMPOSED, APART = "caf\u00e9", "cafe\u0301"
ALIKE = [
    ("tee", "tee ", "white space"),
    ("tee", "tee       ", "white space"),
    ("tee", "\ttee", "white space"),
    ("a b", "a\u00a0b", "white space"),
    ("a b", "a  b", "white space"),
    ("Rain", "rain", "upper and lower case"),
    (COMPOSED, APART, "Unicode form"),
    ("abc", "\uff41\uff42\uff43", "Unicode form"),
    ("tee", "t\u200bee", "invisible signs"),
    ("tee", "\ufefftee", "invisible signs"),
    ("pay", "p\u0430y", "look-alike letters"),
    ("9-5", "9\u20135", "look-alike letters"),
    ("Tee", "tee ", "white space and upper and lower case"),
]

NAME = st.text(st.sampled_from("aAb \t\u00a0\u200b\u00e9e\u0301\u0430\\'-\u2013"), max_size=6) | st.text(max_size=6)


def as_seen(text: str) -> str:
    """What is left of a text for who looks at it: no ends, no invisible signs, one form, twins as one."""
    seen = "".join(
        sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) not in ("Cf", "Cc")
    )
    return seen.replace("\u0430", "a").replace("\u2013", "-").strip()


@pytest.mark.parametrize(("one", "other", "way"), ALIKE)
def test_what_differs_is_named_and_both_can_be_told_apart(one: str, other: str, way: str) -> None:
    assert differs_by(one, other) == differs_by(other, one) == way
    told = shown_all([one, other, "cap"])
    assert as_seen(told[one]) != as_seen(told[other])
    assert all(cleaned(text) == text for text in told.values())
    assert told["cap"] == "cap"
    assert twin(one, ["cap", other]) == other


@given(st.lists(NAME, max_size=6))
def test_names_that_differ_are_shown_differently_whatever_they_are(names: list[str]) -> None:
    told = shown_all(names)
    assert told.keys() == set(names)
    assert len({as_seen(text) for text in told.values()}) == len(told)
    assert all(text.strip() == text and text for text in told.values())


@given(NAME, NAME)
def test_a_difference_is_symmetric_and_none_is_none(one: str, other: str) -> None:
    assert differs_by(one, other) == differs_by(other, one)
    assert not differs_by(one, one)
    if differs_by(one, other):
        assert twin(one, [other]) == other
        assert pairs([one], [other]) == {one: other}
        assert twins([other], [one]) == {other: one}


@given(st.lists(NAME, max_size=8), st.lists(NAME, max_size=8))
def test_pairs_are_one_to_one_and_each_has_a_difference(before: list[str], now: list[str]) -> None:
    gone, new = set(before) - set(now), set(now) - set(before)
    found = pairs(gone, new)
    assert len({*found.values()}) == len(found)
    assert found.keys() <= gone and {*found.values()} <= new
    assert all(differs_by(old, other) for old, other in found.items())
    assert bool(differences(found)) is bool(found)


@given(st.text(st.characters(categories=["Ll", "Lu", "Nd"]), min_size=1))
def test_a_plain_name_alone_is_shown_as_it_is(name: str) -> None:
    assert shown(name) == name
    assert in_quotes(name) == f"'{name}'"


# ---- a check ------------------------------------------------------------------------------------------------


def frame(names: list[str], column: str = "t", seed: int = 11) -> pl.DataFrame:
    return pl.DataFrame({column: np.random.default_rng(seed).choice(names, 600), "n": np.arange(600) % 7})


BASE = ["tee", "cap", "hat"]


@pytest.mark.parametrize(
    ("change", "way"),
    [
        (lambda name: name.ljust(10), "white space"),
        (lambda name: "\u00a0" + name, "white space"),
        (str.upper, "upper and lower case"),
        (lambda name: name[0] + "\u200b" + name[1:], "invisible signs"),
        (lambda name: name.replace("a", "\u0430").replace("e", "\u0435"), "look-alike letters"),
    ],
)
def test_a_column_that_only_spells_its_categories_otherwise_says_so_in_one_sentence(change: object, way: str) -> None:
    assert callable(change)
    before, now = frame(BASE), frame([change(name) for name in BASE])
    report = driftline.check(before, now)
    assert report.columns["t"].drift.drifted
    (words,) = report.columns["t"].changes
    assert words.startswith(f"all 3 categories differ by {way} only: ")
    assert " → " in words and words.endswith(" and 1 more")
    (alert,) = (alert for alert in report.alerts if alert.column == "t")
    assert words in alert.message
    assert all(cleaned(text) == text for text in (words, alert.message))


def test_the_examples_are_the_most_frequent_ones_in_the_same_order_each_time() -> None:
    names = [f"n{i}" for i in range(20)]
    rows = [name for i, name in enumerate(names) for _ in range(10 + 20 * i)]
    report = driftline.check(pl.DataFrame({"t": rows}), pl.DataFrame({"t": [name.upper() for name in rows]}))
    assert report.columns["t"].changes == (
        "all 20 categories differ by upper and lower case only: n19 → N19, n18 → N18 and 18 more",
    )


def test_unicode_forms_of_a_category_are_told_apart() -> None:
    report = driftline.check(frame([COMPOSED, "tea"]), frame([APART, "tea"]))
    (words,) = report.columns["t"].changes
    assert words == "1 of 2 categories differs by Unicode form only: 'caf\\xe9' → 'cafe\\u0301'"


def test_renamed_categories_whose_shares_changed_too_are_told_by_both() -> None:
    report = driftline.check(frame(["tee", "cap"]), frame(["tee ", "tee ", "tee ", "cap "]))
    first, *more = report.columns["t"].changes
    assert first.startswith("all 2 categories differ by white space only")
    assert len(more) == 2 and any(words.startswith("'tee' as 'tee ' ") for words in more)
    assert not any("(new)" in words or "(gone)" in words for words in more)


def test_padding_in_a_part_of_the_rows_is_told_beside_the_name_that_stays() -> None:
    report = driftline.check(frame(BASE), frame([*BASE, "tee "]))
    words = report.columns["t"].changes
    assert any(one.startswith("'tee ' 0 % → ") and one.endswith("(new)") for one in words)
    assert words[-1] == "'tee ' differs from 'tee' by white space only"


def test_names_that_do_not_look_alike_are_told_as_ever() -> None:
    report = driftline.check(frame(["tee", "cap"]), frame(["tee", "hat"]))
    assert {words.split()[0] for words in report.columns["t"].changes} == {"cap", "hat"}
    assert not any("'" in words or "differ" in words for words in report.columns["t"].changes)


@pytest.mark.parametrize(("old", "new", "way"), [("age", "age ", "white space"), (COMPOSED, APART, "Unicode form")])
def test_a_column_that_is_gone_and_one_that_is_new_under_a_name_that_looks_alike(old: str, new: str, way: str) -> None:
    report = driftline.check(frame(BASE, old), frame(BASE, new))
    told = {name: in_quotes(name, [old, new]) for name in (old, new)}
    assert f"{told[new]}, which differs by {way} only, is new" in report.columns[old].problem
    assert f"{told[old]}, which differs by {way} only, is gone" in report.columns[new].problem
    (alert,) = report.alerts
    assert alert.kind == "quality" and told[new] in alert.message
    page = report.to_html().replace("&#39;", "'")
    flat = " ".join(str(report).split())
    for name in told.values():
        assert name in page
        assert name in flat


@pytest.mark.parametrize("door", ["python", "command"])
@pytest.mark.parametrize(("has", "said", "way"), [(" y", "y", "white space"), (COMPOSED, APART, "Unicode form")])
def test_an_unknown_column_that_looks_like_a_known_one(
    door: str, has: str, said: str, way: str, tmp_path: Path
) -> None:
    frame(BASE, has).write_parquet(tmp_path / "rows.parquet")
    rows = str(tmp_path / "rows.parquet")
    error: BaseException | None
    if door == "python":
        with pytest.raises(UnknownNameError) as caught:
            driftline.check(rows, rows, label=said)
        error = caught.value
    else:
        result = CliRunner().invoke(check_command.command, [rows, rows, "--label", said], standalone_mode=False)
        error = result.exception
    assert isinstance(error, DriftlineError)
    assert f"Did you mean {in_quotes(has, [said])}, which differs by {way} only?" in str(error)
    assert f"unknown column {in_quotes(said, [has])}" in str(error)


def test_predictions_that_are_padded_get_a_word_and_are_wrong() -> None:
    label = np.random.default_rng(1).choice(["sun", "rain"], 400)
    rows = pl.DataFrame({"y": label, "p": [f"{name:<6}" for name in label]})
    report = driftline.check(rows, rows, label="y", prediction="p")
    assert report.performance is not None and report.performance["accuracy"].value == 0.0
    told = [note for note in report.notes if "by white space only" in note]
    assert len(told) == 2 and all("'sun   '" in note or "'rain  '" in note for note in told)
    assert "'sun   '" in report.to_html().replace("&#39;", "'")


def test_segments_and_classes_that_look_alike_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    label = rng.choice(["a", "b", "c"], 900)
    side = rng.choice(["west", "west "], 900)
    right = pl.DataFrame({"side": side, "y": label, "p": label})
    wrong = right.with_columns(pl.when(pl.col("side") == "west ").then(pl.lit("a")).otherwise("p").alias("p"))
    report = driftline.check(right, wrong, label="y", prediction="p", segments=["side"])
    (alert,) = (alert for alert in report.alerts if alert.column == "side" and "accuracy" in alert.message)
    assert " where side is 'west ' " in alert.message
    assert "side = 'west '" in str(report)
    page = report.to_html().replace("&#39;", "'")
    assert "side = 'west '" in page and "side = 'west'" in page


@given(st.lists(NAME, min_size=1, max_size=4, unique=True), st.lists(NAME, min_size=1, max_size=4, unique=True))
def test_whatever_categories_are_called_their_changes_are_told_apart(before: list[str], now: list[str]) -> None:
    assume(set(before) != set(now))
    one, other = (pl.DataFrame({"t": names * (120 // len(names))}) for names in (before, now))
    report = driftline.check(one, other, multivariate="none")
    words = report.columns["t"].changes
    assert len({*words}) == len(words)
    assert all(cleaned(text) == text for text in words)
