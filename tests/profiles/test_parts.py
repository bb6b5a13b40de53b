"""Datetimes, texts and embeddings by their parts: of each row alone, never an error, and what changed shows in one."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

import driftline
from driftline.events import Kind
from driftline.profiles import CompositeColumn
from driftline.profiles.column import CompositeTally, parts_of
from driftline.profiles.infer import kind_of_values
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
    shown = datetime_parts(berlin, timezone="Asia/Tokyo")
    assert (shown["hour of day"].item(), shown["weekday"].item()) == ("08", "Mon")
    assert shown["time"].item() == datetime_parts(berlin)["time"].item()


WEEK = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # 1970 began on a Thursday
OFFSETS = st.sampled_from(
    [None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3, minutes=30))]
)


@settings(deadline=None)
@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=OFFSETS),
    st.sampled_from(["T", " "]),
    st.sampled_from(["minutes", "seconds", "milliseconds"]),
)
def test_texts_are_read_as_python_reads_them(when: datetime, separator: str, precision: str) -> None:
    text = when.isoformat(separator, precision)
    expected = datetime.fromisoformat(text)
    expected = expected.astimezone(UTC) if expected.tzinfo is not None else expected.replace(tzinfo=UTC)
    assert are_dates(pl.Series([text]))
    parts = {name: part.item() for name, part in datetime_parts(pl.Series([text])).items()}
    assert parts == {name: part.item() for name, part in datetime_parts(pl.Series([expected])).items()}
    assert (
        parts["time"] == pytest.approx(expected.timestamp(), rel=0, abs=1e-6)
        and parts["hour of day"] == f"{expected.hour:02}"
    )


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63) + 1, 2**63 - 1)), min_size=1))
def test_times_however_far_are_those_of_whole_numbers(unit: Literal["ms", "us", "ns"], ticks: list[int | None]) -> None:
    times = pl.Series(ticks, dtype=pl.Int64).cast(pl.Datetime(unit))
    parts = datetime_parts(times)
    tokyo = datetime_parts(times.dt.replace_time_zone("UTC"), "Asia/Tokyo")
    dates = datetime_parts(pl.Series([tick and tick >> 32 for tick in ticks], dtype=pl.Int32).cast(pl.Date))
    for at, tick in enumerate(ticks):
        found = tuple(parts[name][at] for name in ("hour of day", "weekday", "time"))
        micros = None if tick is None else {"ms": tick * 1000, "us": tick, "ns": tick // 1000}[unit]
        if micros is None or abs(micros) > 8 * 10**18:
            assert found == (None, None, None) == tuple(tokyo[name][at] for name in ("hour of day", "weekday", "time"))
        else:
            second = micros // 10**6
            assert found[:2] == (f"{second // 3600 % 24:02}", WEEK[second // 86400 % 7])
            assert found[2] == pytest.approx(micros / 1e6, rel=1e-15)
        day = None if tick is None else tick >> 32
        near = day is not None and abs(day) * 86_400 <= 8 * 10**12
        assert dates["weekday"][at] == (WEEK[day % 7] if day is not None and near else None)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-31", None], True),
        (["2024-01-31 12:30", "2024-01-31T12:30:59.5+01:00"], True),
        (["2024-01-31", "soon"], False),
        (["31.01.2024"], False),
        (["1234-56-78", "0000-00-00"], False),
        (["2024-01-31", "2024-02-01", "2024-02-30"], True),
        (["2024-01-31 01:30 pm"], True),
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
    parts = text_parts(pl.Series(["The cat, the CAT.", "cat", "", None, "x" * 90, "a " * 500, "我喜欢", "हिन्दी"]))
    pieces = ["x" * 40, "x" * 10]
    assert parts["vocabulary"].to_list() == ["the", "cat", "cat", *pieces, "a", "我", "喜", "欢", "हिन्दी"]
    assert parts["words"].to_list() == [4, 1, 0, None, 1, 500, 1, 1]
    assert parts["capitals"].to_list()[:6] == [4 / 12, 0, None, None, 0, 0]
    many = " ".join(f"w{at}" for at in range(2 * WORDS_LIMIT))
    assert text_parts(pl.Series([many]))["vocabulary"].to_list() == many.split()[:WORDS_LIMIT]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=20))
def test_kinds_of_characters_are_those_of_a_search_by_kind(texts: list[str | None]) -> None:
    values = pl.Series("x", texts, dtype=pl.String)
    parts = text_parts(values)
    length = values.str.len_chars().cast(pl.Float64)
    letters = values.str.count_matches(r"\p{L}")
    kinds = {"letters": r"\p{L}", "digits": r"\p{N}", "white space": r"\s", "punctuation": r"[\p{P}\p{S}]"}
    searched = {name: values.str.count_matches(pattern) / length for name, pattern in kinds.items()}
    searched["capitals"] = values.str.count_matches(r"\p{Lu}") / letters
    searched["words"] = values.str.count_matches(r"\S+").cast(pl.Float64)
    searched["length"] = length
    for name, expected in searched.items():
        assert_series_equal(parts[name], expected.fill_nan(None).rename(name), check_exact=True)


def test_texts_longer_than_what_is_worked_on_at_once() -> None:
    texts = ["Ab 1. " * 50_000, None, "", *["é" * 9] * 20_000, "z"]
    parts = text_parts(pl.Series(texts))
    assert parts["words"].to_list() == [None if text is None else len(text.split()) for text in texts]
    assert parts["letters"][0] == 2 / 6 and parts["capitals"][0] == 0.5
    assert parts["non-ASCII"].to_list() == [0, None, None, *[1.0] * 20_000, 0]


SENTENCES = [f"the {word} number {at} was seen today" for at, word in enumerate(["cat", "dog", "sun"] * 10)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (SENTENCES, True),
        (["self employed", "without employment now", "works for the state"] * 10, False),
        ([f"3f2b-{at}-11ee" for at in range(30)], False),
        ([f"user{at}@example.org" for at in range(30)], False),
        ([f"Jane Doe{at}" for at in range(30)], False),
        ([f"我今天看到了第{at}只猫在公园里" for at in range(30)], True),
        ([f"王小{chr(0x4E00 + at)}" for at in range(30)], False),
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


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 300),
    st.integers(1, 400),
    st.lists(st.integers(0, 400), max_size=4),
    st.sampled_from([pl.Float32, pl.Float64]),
    st.integers(0, 2**32),
)
def test_parts_of_embeddings_do_not_depend_on_the_batch(
    dimension: int, rows: int, cuts: list[int], dtype: type[pl.DataType], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    there = rng.standard_normal((rows, dimension)) * 10.0 ** rng.uniform(-9, 9, dimension)
    values = pl.Series(there).cast(pl.List(dtype))
    anchor = anchor_of(values)
    assert anchor is not None
    whole = vector_parts(values, anchor)
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    pieces = [vector_parts(values[low:high], anchor) for low, high in pairwise(edges)]
    fixed = vector_parts(values.cast(pl.Array(dtype, dimension)), anchor)
    for name, part in whole.items():
        assert_series_equal(pl.concat([piece[name] for piece in pieces]), part, check_exact=True)
        assert_series_equal(fixed[name], part, check_exact=True)


def split_mix_sign(at: int) -> int:
    """Steele, Lea & Flood (2014) from seed 0, by whole numbers of any size; stored profiles rest on these signs."""
    state = (at * 0x9E3779B97F4A7C15) % 2**64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return 1 if (state ^ (state >> 31)) >> 63 else -1


@pytest.mark.parametrize("dimension", [1, 384, 1 << 15, (1 << 15) + 1, 100_000])
@pytest.mark.parametrize("number", [1, PROJECTIONS])
def test_projections_are_exact_sums_of_whole_numbers(dimension: int, number: int) -> None:
    """Also of members as far out as counts, with all the signs of the projection: the largest sums there are."""
    bits = 28 if dimension <= 1 << 15 else 28 - math.ceil(math.log2(dimension) - 15)
    members = 1024 - np.random.default_rng(dimension).random(dimension) * 2**-10
    signs = np.array([split_mix_sign(row * PROJECTIONS + number) for row in range(dimension)])
    rows = np.array([members * signs, members, -members, members[::-1]])
    parts = vector_parts(pl.Series(rows), Anchor((0.0,) * dimension, 1.0))
    whole = np.rint(rows * 2.0**bits).astype(int).tolist()
    sums = [sum(value * sign for value, sign in zip(row, signs.tolist(), strict=True)) for row in whole]
    assert max(map(abs, sums)) <= 2**53
    unit = 2.0**-bits / math.sqrt(dimension)
    assert parts[f"projection {number}"].to_list() == [there * unit for there in sums]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([["a", "b"]]),
        pl.Series([[[1.0, 2.0], [3.0, 4.0]]]),
        pl.Series([[[1, 2], [3, 4]]], dtype=pl.Array(pl.Int8, (2, 2))),
        pl.Series([[None, None]], dtype=pl.List(pl.Null)),
        pl.Series([{"a": 1}]),
        pl.Series([1]),
        pl.Series([[]], dtype=pl.Array(pl.Float32, 0)),
    ],
    ids=lambda values: str(values.dtype),
)
def test_what_holds_no_numbers_has_no_numeric_parts(values: pl.Series) -> None:
    assert anchor_of(values) is None
    for anchor in (Anchor(), Anchor((0.0, 1.0))):
        parts = vector_parts(values, anchor)
        assert parts.pop("dimension").item() in (None, "not finite", "other (0)", "other (2)")
        assert all(part.to_list() == [None] for part in parts.values())


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1, max_size=9), st.floats(1e-300, 1e300))
@example([[0.0, 1.7976931348623157e308]] * 3, 1.0)
@example([[1.7e308, 0.0], [-1.7e308, 0.0], [-1.7e308, 5e-324]], 1.0)
def test_no_member_is_too_large(rows: list[list[float]], scale: float) -> None:
    values = pl.Series(rows, dtype=pl.List(pl.Float64))
    for anchor in (anchor_of(values), Anchor((1.7e308, -1.7e308), 2.0 ** round(math.log2(scale)))):
        finite = [row for row in rows if all(map(math.isfinite, row))]
        assert anchor is not None or not finite
        if anchor is not None:
            parts = vector_parts(values, anchor)
            assert parts["dimension"].to_list() == ["as expected" if row in finite else "not finite" for row in rows]
            assert not any(part.is_nan().any() for name, part in parts.items() if name != "dimension")


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
TURN = np.linalg.qr(RNG.normal(0, 1, (16, 16)))[0]
START = datetime(2024, 1, 1)
HOURS = [START + timedelta(hours=3 * at) for at in range(1200)]
CHANGES: dict[str, tuple[list[Any], list[Any], Callable[[str], bool]]] = {
    "a cloud that grew": (CLOUD.tolist(), (CLOUD * 1.5).tolist(), lambda part: part != "dimension"),
    "a cloud that moved": (CLOUD.tolist(), (CLOUD + 1).tolist(), lambda part: part != "dimension"),
    "a cloud that turned": (CLOUD.tolist(), (CLOUD @ TURN).tolist(), lambda part: part.startswith("projection")),
    "another dimension": (CLOUD.tolist(), CLOUD[:, :8].tolist(), lambda part: True),
    "another language": (
        MANY,
        [text.replace("the", "der").replace("was", "war") for text in MANY],
        lambda part: part == "vocabulary",
    ),
    "capitals": (MANY, [text.upper() for text in MANY], lambda part: part == "capitals"),
    "nights": (HOURS, [there.replace(hour=3) for there in HOURS], lambda part: part == "hour of day"),
    "weekends": (HOURS, [there for there in HOURS if there.weekday() > 4], lambda part: part == "weekday"),
    "working days": (HOURS, [there for there in HOURS if there.weekday() < 5], lambda part: part == "weekday"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_shows_in_a_part(change: str) -> None:
    before, now, expected = CHANGES[change]
    report = driftline.check(pl.DataFrame({"x": before}), pl.DataFrame({"x": now}))
    drift = report.columns["x"].drift
    assert drift.drifted and expected(drift.part), drift
    assert report.columns["x"].changes or drift.measure in ("wasserstein", "js")


@pytest.mark.parametrize("change", CHANGES)
def test_what_did_not_change_does_not(change: str) -> None:
    before, _, _ = CHANGES[change]
    order = np.random.default_rng(8).permutation(len(before)).tolist()
    half = [[before[at] for at in places] for places in (order[::2], order[1::2])]
    report = driftline.check(pl.DataFrame({"x": half[0]}), pl.DataFrame({"x": half[1]}))
    assert report.verdict == "ok", report.alerts


def test_texts_that_repeat_their_own_words_did_not_change() -> None:
    """Each text says a few words of its own again and again (Church & Gale 1995), from one vocabulary by Zipf's law."""
    rng = np.random.default_rng(5)
    shares = 1 / (np.arange(2000) + 2.7)
    shares /= shares.sum()

    def texts(rows: int) -> list[str]:
        own = rng.choice(2000, (rows, 6), p=shares)
        said = np.where(
            rng.random((rows, 30)) < 0.4, rng.permuted(np.tile(own, 5), axis=1), rng.choice(2000, (rows, 30), p=shares)
        )
        return [" ".join(f"w{word}" for word in row) for row in said.tolist()]

    drifted = [
        drift.reason
        for _ in range(3)
        if (
            drift := driftline.check(pl.DataFrame({"x": texts(300)}), pl.DataFrame({"x": texts(300)}))
            .columns["x"]
            .drift
        )
        and drift.drifted
    ]
    assert not drifted


TEMPLATE_WORDS = [
    " ".join(f"w{word:03}" for word in some)
    for some in np.random.default_rng(3).permuted(np.tile(np.arange(400), (40, 1)), axis=1)[:, :12].tolist()
]


def messages(rng: np.random.Generator, rows: int, templates: int = 40) -> pl.DataFrame:
    """Messages from so many templates, each with a number of its own that counts up."""
    start = int(rng.integers(10**6))
    said = rng.choice(templates, rows).tolist()
    return pl.DataFrame({"x": [f"{TEMPLATE_WORDS[at]} order {start + row:07}" for row, at in enumerate(said)]})


@pytest.mark.parametrize("rows", [(50, 50), (100, 100), (1000, 50)])
def test_words_that_come_together_are_one_observation(rows: tuple[int, int]) -> None:
    """Taken one by one they had drifted in 29 of 60 checks of 50 unchanged messages, with p below 1e-5."""
    rng = np.random.default_rng(4)
    for _ in range(6):
        drift = driftline.check(*(messages(rng, count) for count in rows)).columns["x"].drift
        assert not drift.drifted
        assert drift.p_value is not None
        assert drift.p_value >= 0.01


def test_half_of_the_templates_going_is_drift_of_the_words() -> None:
    rng = np.random.default_rng(5)
    drift = driftline.check(messages(rng, 500), messages(rng, 500, templates=20)).columns["x"].drift
    assert drift.drifted
    assert drift.part == "vocabulary"


def test_time_that_goes_on_is_no_drift() -> None:
    later = [there + timedelta(weeks=52) for there in HOURS]
    report = driftline.check(pl.DataFrame({"x": HOURS}), pl.DataFrame({"x": later}))
    assert report.verdict == "ok"


@given(st.lists(st.one_of(st.none(), st.text()), max_size=15))
def test_every_column_of_texts_has_a_kind(texts: list[str | None]) -> None:
    assert kind_of_values(pl.Series(texts, dtype=pl.String)) in (Kind.CATEGORICAL, Kind.DATETIME, Kind.TEXT)
