"""Numbers in texts are those that people mean, in the signs of their country; codes and words are none."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from driftline.profiles import numbers as numbers_module
from driftline.profiles.numbers import number_style, read_numbers
from driftline.profiles.reading import are_numbers
from driftline.profiles.rounding import is_single, rounding_of


def read(texts: list[str]) -> list[float | None]:
    style = number_style([pl.Series(texts)])
    assert style is not None, texts
    return read_numbers(pl.Series(texts), style).to_list()


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["99,7312", "100,1234"], [99.7312, 100.1234]),
        (["1,234", "950"], [1234, 950]),
        (["1,234", "9,500"], [1.234, 9.5]),
        (["1,234,567", "1,200"], [1234567, 1200]),
        (["1.234.567", "1.200"], [1234567, 1200]),
        (["1.234,5", "7,25"], [1234.5, 7.25]),
        (["1,234.5", "7.25"], [1234.5, 7.25]),
        (["1 234,5", "12,0"], [1234.5, 12]),
        (["1\u202f234,5", "12,0"], [1234.5, 12]),
        (["1'234.50", "3.2"], [1234.5, 3.2]),
        (["12.5 %", "7%", "3"], [0.125, 0.07, 3]),
        (["12,5%", "99,0 %"], [0.125, 0.99]),
        (["\u22125,5", "3,1"], [-5.5, 3.1]),
        ([" 1.5 ", "2e3"], [1.5, 2000]),
        (["$1,234.50", "-$3.00", "($2.25)", "$ 7"], [1234.5, -3, -2.25, 7]),
        (["1.234,50 €", "-3,00 €", "7 €"], [1234.5, -3, 7]),
        (["US$12.00", "US$3.50"], [12, 3.5]),
        (["EUR 12,50", "EUR 3,75"], [12.5, 3.75]),
        (["12.50 CHF", "3 CHF"], [12.5, 3]),
        (["₹12,34,567.50", "₹99,999.10"], [1234567.5, 99999.1]),
        (["12,34,567", "1,23,456"], [1234567, 123456]),
        (["(1,234.50)", "12.00"], [-1234.5, 12]),
        (["12.50-", "3.00"], [-12.5, 3]),
        (["80.5 kg", "75kg", "-3.25 kg", "7 kg"], [80.5, None, -3.25, 7]),
        (["36.6°C", "-1.5 °C"], [36.6, -1.5]),
    ],
    ids=str,
)
def test_signs_of_several_countries(texts: list[str], numbers: list[float]) -> None:
    some = [text for text, number in zip(texts, numbers, strict=True) if number is not None]
    style = number_style([pl.Series(some)])
    assert style is not None
    assert read_numbers(pl.Series(some), style).to_list() == pytest.approx([one for one in numbers if one is not None])


@pytest.mark.parametrize(
    "texts",
    [
        ["tea", "1"],
        ["1.5", "2,5"],
        ["10:30"],
        ["1.2.3", "1.2.4"],
        ["1,2,3", "4,5,6"],
        ["5 kg", "5 lb"],
        ["5G", "3G"],
        ["$5", "€7"],
    ],
    ids=str,
)
def test_what_is_no_number(texts: list[str]) -> None:
    assert number_style([pl.Series(texts)]) is None


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 4)), min_size=2, max_size=20),
    st.sampled_from([",", " ", "'", ""]),
)
def test_numbers_come_back_from_how_people_write_them(numbers: list[float], grouping: str) -> None:
    """Without the four decimals a comma could be either."""
    texts = [f"{number:,.4f}".replace(",", grouping) for number in numbers]
    assert read(texts) == pytest.approx(numbers, abs=1e-6)
    swapped = [text.translate(str.maketrans({",": ".", ".": ","})) for text in texts]
    assert read(swapped) == pytest.approx(numbers, abs=1e-6)


PIECES = [
    "12",
    "3",
    ",",
    ".",
    "-",
    "\u2212",
    "+",
    "(",
    ")",
    " ",
    "'",
    "\u202f",
    "%",
    "$",
    "EUR",
    "kg",
    "inf",
    "nan",
    "x",
]
LIKE_NUMBERS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


@settings(deadline=None, max_examples=200)
@given(st.lists(LIKE_NUMBERS, min_size=1, max_size=3))
@example([".5"])
@example([",5"])
@example(["(- 7)"])
@example(["EUR -5"])
@example(["$5"])
@example(["\u22125"])
@example(["' 5 000"])
def test_texts_that_do_not_begin_as_numbers_do_are_left_out_and_nothing_else_changes(texts: list[str]) -> None:
    for least in (0.9, 0.5):
        style = number_style([pl.Series(texts)], least)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(numbers_module, "_BEGINS", "")
            assert number_style([pl.Series(texts)], least) == style


@settings(deadline=None, max_examples=150)
@given(st.lists(st.text(alphabet="0123456789.,-+% 'eEx", max_size=12), min_size=1))
def test_any_text_is_a_number_or_none(texts: list[str]) -> None:
    style = number_style([pl.Series(texts)])
    if style is not None:
        assert len(read_numbers(pl.Series(texts), style)) == len(texts)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 2)), min_size=2, max_size=20),
    st.sampled_from(["{}", "${}", "{} €", "USD {}", "{} kr", "{} ms", "£{}"]),
    st.sampled_from(["-{}", "({})", "{}-", "\u2212{}"]),
)
def test_numbers_come_back_from_bills_and_instruments(numbers: list[float], unit: str, minus: str) -> None:
    """A unit is one where it stands in nearly all, whatever makes a number negative."""
    texts = [
        unit.format(f"{number:,.2f}") if number >= 0 else minus.format(unit.format(f"{-number:,.2f}"))
        for number in numbers
    ]
    if minus == "{}-" and unit.endswith(("€", "kr", "ms")):
        texts = [text.replace(" ", "").replace("-", "") for text in texts]  # nobody writes 5 €-
        numbers = [abs(number) for number in numbers]
    assume(any(abs(number) < 1000 for number in numbers) or "," in texts[0])
    assert read(texts) == pytest.approx(numbers, abs=1e-9)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1000, 999_999), min_size=2, max_size=30), st.sampled_from(",."))
def test_the_other_side_tells_a_thousand_from_a_fraction(numbers: list[int], sign: str) -> None:
    texts = pl.Series([f"{number:,}".replace(",", sign) for number in numbers])
    for beside in (pl.Series(numbers), pl.Series(numbers) / 1000):
        style = number_style([texts], beside=beside)
        assert style is not None
        assert read_numbers(texts, style).to_list() == pytest.approx(beside.to_list())


def test_the_other_side_tells_whether_percents_are_shares() -> None:
    texts = pl.Series(["12.5 %", "50%", "7 %"])
    for beside, expected in (([0.2, 0.4], [0.125, 0.5, 0.07]), ([20.0, 40.0], [12.5, 50, 7]), ([], [0.125, 0.5, 0.07])):
        style = number_style([texts], beside=pl.Series(beside, dtype=pl.Float64))
        assert style is not None and read_numbers(texts, style).to_list() == pytest.approx(expected)


def test_a_column_of_measurements_may_have_other_texts_among_them_and_one_of_codes_stays_one() -> None:
    measured = [f"{i * 0.37:.2f}" for i in range(100)]
    assert number_style([pl.Series([*measured, *["n. d."] * 60])]) is not None
    assert number_style([pl.Series([*measured, *["n. d."] * 160])]) is None
    for codes in ([str(i) for i in range(100)], ["1.5", "2.0"] * 50):
        assert number_style([pl.Series([*codes, *["XL"] * 60])]) is None
    few = pl.Series([*["1", "2", "3"] * 33, "X"])
    style = number_style([few])
    assert style is not None and not are_numbers(style, [few])


def test_codes_and_a_few_whole_numbers_stay_texts() -> None:
    for texts, numbers in (
        ([f"4915{i * 7919:08}" for i in range(100)], False),
        ([f"{i * 3} km" for i in range(100)], True),
        (["3 rooms", "4 rooms"] * 50, False),
        (["$5", "$10"] * 50, True),
        (["02139", "10001"] * 50, False),
        (["531110", "722110"] * 50, False),
        ([str(number) for number in range(100)], True),
        (["1.5", "2"] * 50, True),
    ):
        values = pl.Series(texts)
        style = number_style([values])
        assert style is not None and are_numbers(style, [values]) is numbers


# ---- rounding ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8, unique=True))
def test_what_differs_by_32_bits_alone_is_the_same(values: list[float]) -> None:
    wide = pl.Series(values * 10)
    narrow = wide.cast(pl.Float32)
    for pair in ([narrow, wide], [wide, narrow]):
        rounding = rounding_of(pair)
        assert rounding is not None and rounding(pair[0]).to_list() == rounding(pair[1]).to_list()


def test_32_bits_are_known_when_they_have_been_made_wider() -> None:
    wide = pl.Series([0.1, 0.2, 0.7] * 20)
    widened = wide.cast(pl.Float32).cast(pl.Float64)
    assert is_single(widened) and not is_single(wide) and not is_single(pl.Series([0.5, 3.0, 1024.25]))
    rounding = rounding_of([widened, wide])
    assert rounding is not None and rounding(widened).to_list() == rounding(wide).to_list()


def test_noise_of_computing_is_rounded_away_and_a_shift_is_not() -> None:
    exact, noisy = pl.Series([0.3, 0.7, 1.1] * 20), pl.Series([0.1 + 0.2, 0.7, 1.1] * 20)
    rounding = rounding_of([exact, noisy])
    assert rounding is not None and rounding(exact).to_list() == rounding(noisy).to_list()
    thirds = pl.Series([1 / 3, 2 / 3, 4.0, 7.0] * 20)
    rounding = rounding_of([thirds, thirds.round(6)])
    assert rounding is not None and rounding(thirds).to_list() == rounding(thirds.round(6)).to_list()
    for other in (exact + 1e-3, exact * 1.001, exact + 1):
        assert rounding_of([exact, other]) is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=6, unique=True), st.floats(0.01, 10)
)
def test_values_that_moved_are_not_rounded_into_one(values: list[float], shift: float) -> None:
    before, now = pl.Series(values * 10), pl.Series([value + shift for value in values] * 10)
    assume(not set(before.to_list()) & set(now.to_list()))
    rounding = rounding_of([before, now])
    assert rounding is None or set(rounding(before).to_list()) != set(rounding(now).to_list())


def test_numbers_that_hardly_come_again_need_no_rounding() -> None:
    values = pl.Series([0.1 * i for i in range(500)])
    assert rounding_of([values, values + 1e-13]) is None
