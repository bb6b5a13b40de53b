"""Columns that are neither a number nor a category, as parts that are: no sketch and no distance is needed for them.

A datetime has a weekday and an hour, a text a length and words, an embedding a norm and projections. Each part of a row
depends on that row alone, so the parts of rows taken together are those of the rows taken one by one, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

PROJECTIONS = 8
WORDS_LIMIT, WORD_LENGTH_LIMIT = 200, 40
TIME_PART = "time"
"""The part of a datetime that goes on by itself: what it spans matters, that it moved does not."""

_WEEKDAYS = {1: "Mon", 2: "Tue", 3: "Wed", 4: "Thu", 5: "Fri", 6: "Sat", 7: "Sun"}
_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
_LOOKED_AT = 1000
_TEXT_DISTINCT, _TEXT_WORDS, _TEXT_LEAST = 0.5, 3, 10
_CHARACTERS = {
    "letters": r"\p{L}",
    "digits": r"\p{N}",
    "white space": r"\s",
    "punctuation": r"[\p{P}\p{S}]",
    "non-ASCII": r"[^\x00-\x7F]",
}
_QUANTUM_BITS, _REACH_BITS = (
    28,
    10,
)  # a member is a whole number of up to 38 bits: 2**15 of them add up without rounding

_Floats = npt.NDArray[np.float64]


# ---- datetimes ---------------------------------------------------------------------------------------------


def are_dates(sample: pl.Series) -> bool:
    """Whether texts are ISO dates or times: every day would be a new category, and say nothing about drift.

    >>> are_dates(pl.Series(["2024-01-31", None, "2024-01-31T12:30:00Z"])), are_dates(pl.Series(["31.1.2024"]))
    (True, False)
    """
    first = sample.drop_nulls().head(_LOOKED_AT)
    return first.dtype == pl.String and len(first) > 0 and bool(first.str.contains(_DATE).all())


def iso_time(column: pl.Expr) -> pl.Expr:
    """Texts such as 2024-01-31, 2024-01-31 12:30 and 2024-01-31T12:30:59Z; what follows the seconds is left out."""
    text = column.str.replace("T", " ", literal=True).str.slice(0, 19)
    formats = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    return pl.coalesce(text.str.to_datetime(form, time_unit="us", strict=False) for form in formats)


def datetime_parts(values: pl.Series) -> dict[str, pl.Series]:
    """The weekday (Mon to Sun), the hour of the day (00 to 23) and the time, in seconds since 1970, of times in UTC.

    A date has no hour, a time of day no weekday; a duration has its seconds. Texts are read as `iso_time` does.
    """
    if values.dtype == pl.String:
        values = pl.DataFrame({"text": values}).select(iso_time(pl.col("text"))).to_series()
    if values.dtype == pl.Duration:
        return {"seconds": values.dt.total_microseconds() / 1e6}
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        values = values.dt.convert_time_zone("UTC")
    parts: dict[str, pl.Series] = {}
    if values.dtype != pl.Date:
        parts["hour of day"] = values.dt.hour().cast(pl.String).str.zfill(2)
    if values.dtype != pl.Time:
        parts["weekday"] = values.dt.weekday().replace_strict(_WEEKDAYS, return_dtype=pl.String)
        parts[TIME_PART] = values.cast(pl.Datetime("us")).to_physical() / 1e6
    return parts


# ---- texts -------------------------------------------------------------------------------------------------


def is_text(sample: pl.Series) -> bool:
    """Whether texts are free text: most differ from each other, and most have three words or more.

    Names, codes and addresses of a word or two are identifiers; sentences that come again and again are categories.

    >>> is_text(pl.Series([f"the {n} cats sat on mat {n}" for n in range(30)]))
    True
    >>> is_text(pl.Series(["self employed person", "not employed at all"] * 15)), is_text(pl.Series(["a1", "b2"] * 15))
    (False, False)
    """
    first = sample.drop_nulls().head(_LOOKED_AT)
    if first.dtype != pl.String or len(first) < _TEXT_LEAST or first.n_unique() <= _TEXT_DISTINCT * len(first):
        return False
    words = first.str.count_matches(r"\S+").median()
    return isinstance(words, float) and words >= _TEXT_WORDS


def text_parts(values: pl.Series) -> dict[str, pl.Series]:
    """Length in characters, number of words, shares of kinds of characters (0 to 1, null for the empty text); words.

    ``vocabulary`` has the words of all rows, in small letters: at most `WORDS_LIMIT` of a row, each cut into pieces
    of `WORD_LENGTH_LIMIT`; its share of new categories is the share of words that the reference never had.
    """
    text = pl.col("text")
    length = text.str.len_chars()
    some = pl.when(length > 0).then(length)
    letters = text.str.count_matches(_CHARACTERS["letters"])
    counted = pl.DataFrame({"text": values}).select(
        length.cast(pl.Float64).alias("length"),
        text.str.count_matches(r"\S+").cast(pl.Float64).alias("words"),
        *((text.str.count_matches(pattern) / some).alias(name) for name, pattern in _CHARACTERS.items()),
        (text.str.count_matches(r"\p{Lu}") / pl.when(letters > 0).then(letters)).alias("capitals"),
    )
    words = values.str.to_lowercase().str.extract_all(rf"[\p{{L}}\p{{N}}]{{1,{WORD_LENGTH_LIMIT}}}")
    vocabulary = words.list.head(WORDS_LIMIT).explode().drop_nulls()
    return {**{name: counted[name] for name in counted.columns}, "vocabulary": vocabulary}


# ---- embeddings --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Anchor:
    """What embeddings are measured from: the mean of the reference's, and the size of a member's distance from it.

    ``scale`` is a power of two.
    """

    centre: tuple[float, ...] = ()
    scale: float = 1.0


def anchor_of(sample: pl.Series) -> Anchor | None:
    """The anchor of lists of numbers, from those of the most common length; None where there are none."""
    lengths = _lengths(sample).drop_nulls()
    lengths = lengths.filter(lengths > 0)
    if not len(lengths):
        return None
    dimension = int(lengths.mode().max())  # type: ignore[arg-type]  # numbers have a greatest
    _, members = _members(sample, dimension)
    if not len(members):
        return None
    centre = members.mean(axis=0)
    size = float(np.sqrt(np.mean((members - centre) ** 2)))
    usual = math.isfinite(size) and size > 0
    scale = 2.0 ** min(max(round(math.log2(size)), -500), 500) if usual else 1.0
    return Anchor(tuple(centre.tolist()), scale) if bool(np.isfinite(centre).all()) else None


def vector_parts(values: pl.Series, anchor: Anchor) -> dict[str, pl.Series]:
    """The Euclidean norm, the distance from the anchor and `PROJECTIONS` random projections of what lies between.

    ``dimension`` is *as expected*, or says what else a row holds; such rows have no other part. Projections are sums
    with random signs (Achlioptas 2003), divided by the root of the dimension; members are rounded to 2**-28 of the
    anchor's scale for them, so that the sums are exact in any order, and count for at most 2**10 scales.
    """
    dimension = len(anchor.centre)
    place, members = _members(values, dimension)
    parts: dict[str, pl.Series] = {}

    def part(name: str, there: _Floats) -> None:
        spread = np.full(len(values), np.nan)
        spread[place] = there
        parts[name] = pl.Series(name, spread).fill_nan(None)

    between = members - np.array(anchor.centre)
    with np.errstate(over="ignore"):
        part("norm", np.sqrt(np.add.reduce(members * members, axis=1)))
        part("distance", np.sqrt(np.add.reduce(between * between, axis=1)))
    whole = np.rint(np.clip(between / anchor.scale, -(2.0**_REACH_BITS), 2.0**_REACH_BITS) * 2.0**_QUANTUM_BITS)
    unit = anchor.scale * 2.0**-_QUANTUM_BITS / math.sqrt(dimension)
    for number, sums in enumerate((whole @ _signs(dimension)).T, start=1):
        part(f"projection {number}", sums * unit)
    parts["dimension"] = _dimensions(values, dimension, place)
    return parts


def _lengths(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.Array):
        return pl.select(pl.when(values.is_not_null()).then(pl.lit(values.dtype.size, pl.UInt32))).to_series()
    return values.list.len()


def _members(values: pl.Series, dimension: int) -> tuple[npt.NDArray[np.int64], _Floats]:
    """The places, shape (n,), and members, shape (n, dimension), of the rows that have all of them, and finite ones."""
    place = np.flatnonzero((_lengths(values) == dimension).fill_null(value=False).to_numpy())
    if not len(place) or not dimension:
        return place[:0], np.empty((0, dimension))
    flat = values.gather(place).explode().cast(pl.Float64).fill_null(math.nan).to_numpy()
    members = flat.reshape(-1, dimension)
    finite = np.isfinite(members).all(axis=1)
    return place[finite], np.ascontiguousarray(members[finite])


def _dimensions(values: pl.Series, dimension: int, place: npt.NDArray[np.int64]) -> pl.Series:
    good = np.zeros(len(values), bool)
    good[place] = True
    there = pl.DataFrame({"length": _lengths(values), "good": good})
    other = pl.concat_str(pl.lit("other ("), pl.col("length").cast(pl.String), pl.lit(")"))
    named = (
        pl.when(pl.col("good"))
        .then(pl.lit("as expected"))
        .when(pl.col("length") == dimension)
        .then(pl.lit("not finite"))
        .otherwise(other)
    )
    return there.select(named.alias("dimension")).to_series()


def _signs(dimension: int) -> _Floats:
    """Random signs, shape (dimension, PROJECTIONS), by SplitMix64: the same on every machine and for ever."""
    state = np.arange(1, dimension * PROJECTIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    signs = np.where(state >> np.uint64(63), 1.0, -1.0)
    return signs.reshape(dimension, PROJECTIONS)
