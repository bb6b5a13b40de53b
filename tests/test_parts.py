"""Datetimes, texts and embeddings by their parts: of each row alone, never an error, and what changed shows in one."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

import driftline
from driftline.events import Kind
from driftline.profiles import CompositeColumn
from driftline.profiles.column import CompositeTally, parts_of
from driftline.profiles.frame import kind_of_values
from driftline.profiles.parts import (
    PROJECTIONS,
    WORDS_LIMIT,
    Anchor,
    anchor_of,
    are_dates,
    datetime_parts,
    is_text,
    text_parts,
    vector_parts,
)
from driftline.sketches import decode, encode

ANCHOR = Anchor((0.5, -1.0, 2.0), 0.5)
MEMBERS = st.one_of(st.none(), st.floats(width=32), st.floats(-1e3, 1e3))
VECTORS = st.one_of(st.none(), st.lists(MEMBERS, max_size=4), st.lists(st.floats(-9, 9), min_size=3, max_size=3))
KINDS: dict[str, tuple[Kind, pl.DataType, st.SearchStrategy[Any]]] = {
    "datetime": (Kind.DATETIME, pl.Datetime("us"), st.datetimes(datetime(1600, 1, 1), datetime(2600, 1, 1))),
    "date": (Kind.DATETIME, pl.Date(), st.dates()),
    "time of day": (Kind.DATETIME, pl.Time(), st.times()),
    "duration": (Kind.DATETIME, pl.Duration("us"), st.timedeltas(timedelta(-9999), timedelta(9999))),
    "text": (Kind.TEXT, pl.String(), st.text()),
    "embedding": (Kind.EMBEDDING, pl.List(pl.Float64), VECTORS),
}


def series(rows: list[Any], dtype: pl.DataType) -> pl.Series:
    return pl.Series("x", rows, dtype=dtype, strict=False)


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_the_parts_of_rows_together_are_those_of_each_alone(name: str, data: st.DataObject) -> None:
    kind, dtype, values = KINDS[name]
    rows = data.draw(st.lists(st.one_of(st.none(), values), min_size=1, max_size=12))
    whole = parts_of(series(rows, dtype), kind, ANCHOR)
    each = [parts_of(series([row], dtype), kind, ANCHOR) for row in rows]
    for part, there in whole.items():
        alone = pl.concat([parts[part].rename("") for parts in each])
        assert_series_equal(there.rename(""), alone, check_exact=True)
        assert not (there.dtype.is_float() and there.is_nan().any() and kind is Kind.EMBEDDING)


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_profiles_by_parts_have_the_same_bytes_in_any_split(name: str, data: st.DataObject) -> None:
    kind, dtype, values = KINDS[name]
    rows = data.draw(st.lists(st.one_of(st.none(), values), max_size=12))
    cut = data.draw(st.integers(0, len(rows)))

    def profile(*batches: list[Any]) -> CompositeColumn:
        tally = CompositeTally(kind, "feature.x", {}, ANCHOR)
        for batch in batches:
            if batch:
                tally.add(series(batch, dtype))
        return tally.column()

    whole = profile(rows)
    assert encode(profile(rows[:cut], rows[cut:])) == encode(whole)
    assert encode(profile(rows[cut:]).merge(profile(rows[:cut]))) == encode(whole)
    assert encode(CompositeColumn().merge(whole)) == encode(whole.merge(CompositeColumn())) == encode(whole)
    assert decode(encode(whole), CompositeColumn) == whole
    assert (whole.rows, whole.missing) == (len(rows), sum(row is None for row in rows))


# ---- datetimes ---------------------------------------------------------------------------------------------


def test_a_time_by_its_parts() -> None:
    there = datetime_parts(pl.Series([datetime(2024, 2, 29, 23, 59, tzinfo=UTC), None]))
    assert {name: part.to_list() for name, part in there.items()} == {
        "hour of day": ["23", None],
        "weekday": ["Thu", None],
        "time": [datetime(2024, 2, 29, 23, 59, tzinfo=UTC).timestamp(), None],
    }
    assert datetime_parts(pl.Series([date(2024, 3, 3)])).keys() == {"weekday", "time"}
    assert datetime_parts(pl.Series([time(7, 5)]))["hour of day"].to_list() == ["07"]
    assert datetime_parts(pl.Series([timedelta(minutes=1)]))["seconds"].to_list() == [60.0]
    berlin = pl.Series([datetime(2024, 7, 1, 1)]).dt.replace_time_zone("Europe/Berlin")
    assert datetime_parts(berlin)["hour of day"].to_list() == ["23"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-31", None], True),
        (["2024-01-31 12:30", "2024-01-31T12:30:59.5+01:00"], True),
        (["2024-01-31", "soon"], False),
        (["31.01.2024"], False),
        ([None], False),
        ([], False),
    ],
)
def test_texts_that_are_dates(texts: list[str | None], expected: bool) -> None:
    assert are_dates(pl.Series(texts, dtype=pl.String)) is expected


# ---- texts -------------------------------------------------------------------------------------------------


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Zl", "Zp")), max_size=30)))
def test_characters_are_counted_as_python_counts_them(texts: list[str]) -> None:
    parts = text_parts(pl.Series(texts, dtype=pl.String))
    assert parts["length"].to_list() == [len(text) for text in texts]
    ascii_only = [sum(ord(letter) > 127 for letter in text) / len(text) if text else None for text in texts]
    assert parts["non-ASCII"].to_list() == ascii_only
    plain = [text for text in texts if text.isascii() and text]
    found = text_parts(pl.Series(plain, dtype=pl.String))
    assert found["letters"].to_list() == [sum(map(str.isalpha, text)) / len(text) for text in plain]
    assert found["digits"].to_list() == [sum(map(str.isdigit, text)) / len(text) for text in plain]
    for shares in (*found.values(), *parts.values()):
        if shares.dtype == pl.Float64 and shares.name not in ("length", "words"):
            assert shares.drop_nulls().is_between(0, 1).all()


def test_words() -> None:
    parts = text_parts(pl.Series(["The cat, the CAT.", "", None, "x" * 90, "a " * 500]))
    vocabulary = parts["vocabulary"].to_list()
    assert vocabulary[:4] == ["the", "cat", "the", "cat"]
    assert vocabulary[4:7] == ["x" * 40, "x" * 40, "x" * 10]
    assert vocabulary.count("a") == WORDS_LIMIT
    assert parts["words"].to_list() == [4, 0, None, 1, 500]
    assert parts["capitals"].to_list() == [4 / 12, None, None, 0, 0]


SENTENCES = [f"the {word} number {at} was seen today" for at, word in enumerate(["cat", "dog", "sun"] * 10)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (SENTENCES, True),
        (["self employed", "without employment now", "works for the state"] * 10, False),
        ([f"3f2b-{at}-11ee" for at in range(30)], False),
        ([f"user{at}@example.org" for at in range(30)], False),
        ([f"Jane Doe{at}" for at in range(30)], False),
        (SENTENCES[:5], False),
        ([None] * 30, False),
    ],
)
def test_what_is_free_text(texts: list[str | None], expected: bool) -> None:
    assert is_text(pl.Series(texts, dtype=pl.String)) is expected


# ---- embeddings --------------------------------------------------------------------------------------------


def test_an_embedding_by_its_parts() -> None:
    parts = vector_parts(pl.Series([[0.5, -1.0, 2.0], [3.5, 3.0, 2.0], [1.0], None, [1.0, None, 2.0]]), ANCHOR)
    assert parts["distance"].to_list() == [0, 5, None, None, None]
    assert parts["norm"].to_list() == [math.sqrt(5.25), math.sqrt(25.25), None, None, None]
    assert parts["dimension"].to_list() == ["as expected", "as expected", "other (1)", None, "not finite"]
    projections = [parts[f"projection {number}"].to_list() for number in range(1, PROJECTIONS + 1)]
    assert all(there[0] == 0 and abs(there[1]) <= 7 / math.sqrt(3) + 1e-9 for there in projections)


def test_projections_keep_distances_on_average() -> None:
    """Achlioptas (2003): the mean of the squared projections is the squared length over the dimension."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (300, 64))
    anchor = Anchor(tuple([0.0] * 64))
    parts = vector_parts(pl.Series(rows.tolist()), anchor)
    squares = np.array([parts[f"projection {number}"].to_numpy() ** 2 for number in range(1, PROJECTIONS + 1)])
    assert squares.mean() == pytest.approx((rows**2).sum(axis=1).mean() / 64, rel=0.1)


def test_the_anchor_is_the_mean_of_the_usual_rows() -> None:
    rows = [[1.0, 2.0], [3.0, 4.0], [math.inf, 0.0], [9.0], None, [None, 1.0]]
    anchor = anchor_of(pl.Series(rows))
    assert anchor is not None and anchor.centre == (2.0, 3.0) and anchor.scale == 1.0
    assert anchor_of(pl.Series([None, None], dtype=pl.List(pl.Float64))) is None
    assert anchor_of(pl.Series([[]], dtype=pl.List(pl.Float64))) is None
    fixed = pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float32, 2))
    assert anchor_of(fixed) == Anchor((1.0, 2.0), 1.0)


# ---- what changed shows ------------------------------------------------------------------------------------

RNG = np.random.default_rng(7)
MANY = [f"the {['cat', 'dog', 'sun'][at % 3]} number {at} was seen today" for at in range(200)]
CLOUD = RNG.normal(0, 1, (400, 16)) * np.linspace(0.2, 2, 16)
START = datetime(2024, 1, 1)
HOURS = [START + timedelta(hours=3 * at) for at in range(1200)]
CHANGES: dict[str, tuple[list[Any], list[Any], Callable[[str], bool]]] = {
    "a cloud that grew": (CLOUD.tolist(), (CLOUD * 1.5).tolist(), lambda part: part != "dimension"),
    "a cloud that moved": (CLOUD.tolist(), (CLOUD + 1).tolist(), lambda part: part != "dimension"),
    "another dimension": (CLOUD.tolist(), CLOUD[:, :8].tolist(), lambda part: True),
    "another language": (
        MANY,
        [text.replace("the", "der").replace("was", "war") for text in MANY],
        lambda part: part == "vocabulary",
    ),
    "capitals": (MANY, [text.upper() for text in MANY], lambda part: part == "capitals"),
    "nights": (HOURS, [there.replace(hour=3) for there in HOURS], lambda part: part == "hour of day"),
    "working days": (HOURS, [there for there in HOURS if there.weekday() < 5], lambda part: part == "weekday"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_shows_in_a_part(change: str) -> None:
    before, now, expected = CHANGES[change]
    report = driftline.check(pl.DataFrame({"x": before}), pl.DataFrame({"x": now}))
    drift = report.columns["x"].drift
    assert drift is not None and drift.drifted and expected(drift.part), drift
    assert report.columns["x"].changes or drift.measure in ("wasserstein", "js")


@pytest.mark.parametrize("change", CHANGES)
def test_what_did_not_change_does_not(change: str) -> None:
    before, _, _ = CHANGES[change]
    order = np.random.default_rng(8).permutation(len(before)).tolist()
    half = [[before[at] for at in places] for places in (order[::2], order[1::2])]
    report = driftline.check(pl.DataFrame({"x": half[0]}), pl.DataFrame({"x": half[1]}))
    assert report.verdict == "ok", report.alerts


def test_time_that_goes_on_is_no_drift() -> None:
    later = [there + timedelta(weeks=52) for there in HOURS]
    report = driftline.check(pl.DataFrame({"x": HOURS}), pl.DataFrame({"x": later}))
    assert report.verdict == "ok"


@given(st.lists(st.one_of(st.none(), st.text()), max_size=15))
def test_every_column_of_texts_has_a_kind(texts: list[str | None]) -> None:
    assert kind_of_values(pl.Series(texts, dtype=pl.String)) in (Kind.CATEGORICAL, Kind.DATETIME, Kind.TEXT)
