"""Split datetimes, texts and embeddings into parts that are numbers or categories, which sketches and distances know.

A datetime has a weekday and an hour, a text a length and words, an embedding a norm and projections. The parts of a row
depend on that row alone, so they are the same, bit for bit, in any batch.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.profiles.times import FARTHEST_US, TimeStyle, read_texts, time_style

PROJECTIONS = 8
WORDS_LIMIT, WORD_LENGTH_LIMIT = 200, 40
LENGTH, VOCABULARY = "length", "vocabulary"
TIME_PART = "time"
"""The part of a datetime that always moves on: its span matters, its movement is no drift."""

_WEEKDAYS = pl.Series(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
_HOURS = pl.Series([f"{hour:02}" for hour in range(24)])
_ISO = TimeStyle("year")
_LOOKED_AT = 1000
_TEXT_DISTINCT, _TEXT_WORDS, _TEXT_LEAST = 0.5, 3, 10
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SPACED_WORD = rf"[{_UNSPACED}]{{1,2}}|[^\s{_UNSPACED}]+"
_WORD = rf"[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]{{1,{WORD_LENGTH_LIMIT}}}"
_CHARACTERS = {  # one bit each
    "letters": r"\p{L}",
    "digits": r"\p{N}",
    "white space": r"\s",
    "punctuation": r"[\p{P}\p{S}]",
    "non-ASCII": r"[^\x00-\x7F]",
    "capitals": r"\p{Lu}",
}
_SPACE_BIT, _UNKNOWN, _CODE_POINTS = 1 << list(_CHARACTERS).index("white space"), 1 << len(_CHARACTERS), 0x110000
_QUANTUM_BITS, _REACH_BITS, _EXACT_BITS = 28, 10, 53  # a member is a whole number of up to 38 bits
_LARGEST = float(np.finfo(np.float64).max)
_ANCHOR_ROWS = 10_000
_CHUNK = 1 << 16  # characters or members at once, so that they stay in the cache and in one thread

_Floats = npt.NDArray[np.float64]


# ---- datetimes ---------------------------------------------------------------------------------------------


def are_dates(sample: pl.Series) -> bool:
    """Return whether texts are ISO dates or times. As categories, every day would be new, and drift meaningless.

    >>> are_dates(pl.Series(["2024-01-31", None, "2024-01-31T12:30:00Z"])), are_dates(pl.Series(["31.1.2024"]))
    (True, False)
    """
    style = time_style([sample.head(_LOOKED_AT)], plain=True)
    return isinstance(style, TimeStyle) and style.name == _ISO.name


def datetime_parts(values: pl.Series, timezone: str = "UTC") -> dict[str, pl.Series]:
    """Return the weekday (Mon to Sun), hour of the day (00 to 23) and time (seconds since 1970) of datetimes.

    Weekday and hour are those in the time zone; times without a zone are in UTC. A date has no hour, a time of day has
    nothing else, and a duration only has its seconds. Texts are read as ISO 8601. Parts are null for times more than
    250,000 years away, and for values of other types.
    """
    if values.dtype == pl.String:
        values = _times_of(values)
    if values.dtype == pl.Duration:
        return {"seconds": values.dt.total_microseconds() / 1e6}
    if values.dtype == pl.Time:
        return {"hour of day": _hours(values)}
    if not values.dtype.is_temporal():
        values = pl.Series([None], dtype=pl.Datetime("us")).new_from_index(0, len(values))
    there = values.cast(pl.Datetime("us"), strict=False)  # in UTC, whatever its zone
    seen = there.to_physical().is_between(-FARTHEST_US, FARTHEST_US)
    there = there if seen.all() else there.set(~seen, None)
    parts: dict[str, pl.Series] = {}
    local = there
    if values.dtype != pl.Date:
        local = there if timezone == "UTC" else there.dt.replace_time_zone("UTC").dt.convert_time_zone(timezone)
        parts["hour of day"] = _hours(local)
    parts["weekday"] = _WEEKDAYS.gather(local.dt.weekday() - 1)
    parts[TIME_PART] = there.to_physical() / 1e6
    return parts


def _times_of(texts: pl.Series) -> pl.Series:
    return read_texts(texts, _ISO).dt.replace_time_zone(None)


def _hours(times: pl.Series) -> pl.Series:
    return _HOURS.gather(times.dt.hour())


# ---- texts -------------------------------------------------------------------------------------------------


def is_text(sample: pl.Series) -> bool:
    """Return whether texts are free text: most are different, and most have three words or more.

    Names, codes and addresses of a word or two are identifiers; sentences that repeat are categories. In scripts
    without spaces, such as Chinese, two characters count as a word.

    >>> is_text(pl.Series([f"the {n} cats sat on mat {n}" for n in range(30)]))
    True
    >>> is_text(pl.Series(["self employed person", "not employed at all"] * 15)), is_text(pl.Series(["a1", "b2"] * 15))
    (False, False)
    """
    first = sample.drop_nulls().head(_LOOKED_AT)
    if first.dtype != pl.String or len(first) < _TEXT_LEAST or first.n_unique() <= _TEXT_DISTINCT * len(first):
        return False
    words = first.str.count_matches(_SPACED_WORD).median()
    return isinstance(words, float) and words >= _TEXT_WORDS


def text_parts(values: pl.Series) -> dict[str, pl.Series]:
    """Return the length in characters, number of words, shares of kinds of characters and vocabulary of texts.

    Shares are 0 to 1, and null for the empty text; ``capitals`` is a share of the letters. ``vocabulary`` has the words
    of all rows in lower case, each once for a row: a word is often repeated within a text (Church & Gale 1995), which
    says nothing about other texts. Only the first `WORDS_LIMIT` words of a row count, cut into pieces of
    `WORD_LENGTH_LIMIT`; in scripts without spaces each character is a word.
    """
    if values.dtype != pl.String:
        values = (
            values.cast(pl.String)
            if not values.dtype.is_nested() and values.dtype not in (pl.Binary, pl.Object)
            else pl.Series([None], dtype=pl.String).new_from_index(0, len(values))
        )
    counts = _counted(values)
    length, letters = counts["length"], counts["letters"]
    parts: dict[str, _Floats] = {LENGTH: length, "words": counts["words"]}
    with np.errstate(invalid="ignore"):  # nothing of nothing
        parts |= {name: counts[name] / (letters if name == "capitals" else length) for name in _CHARACTERS}
    present = values.is_not_null()
    words = values.str.to_lowercase().str.extract_all(_WORD).list.head(WORDS_LIMIT).list.unique(maintain_order=True)
    return {
        **{name: pl.Series(name, there).fill_nan(None).set(~present, None) for name, there in parts.items()},
        VOCABULARY: words.explode().drop_nulls().alias(VOCABULARY),
    }


def _counted(values: pl.Series) -> dict[str, _Floats]:
    """Count the characters, words and characters of each kind in each text, shape (n,) each; null counts as empty.

    The kinds of each character are looked up once and kept in a table, which is much faster than a search by kind.
    """
    lengths = values.str.len_chars().fill_null(0).to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    kinds = np.full(_CODE_POINTS, _UNKNOWN, np.uint8)
    counts = {name: np.zeros(len(values)) for name in ("length", "words", *_CHARACTERS)}
    counts["length"] += lengths
    start = 0
    while start < len(values):
        before = int(ends[start - 1]) if start else 0
        end = max(int(np.searchsorted(ends, before + _CHUNK, "right")), start + 1)
        text = values.slice(start, end - start).drop_nulls().str.join("").item() or ""
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        row = np.repeat(np.arange(end - start), lengths[start:end])
        kind = _kinds_of(points, kinds)
        per_kind = np.bincount(row * _UNKNOWN + kind, minlength=(end - start) * _UNKNOWN).reshape(-1, _UNKNOWN)
        for one in np.flatnonzero(per_kind.any(axis=0)).tolist():
            for bit, name in enumerate(_CHARACTERS):
                if one >> bit & 1:
                    counts[name][start:end] += per_kind[:, one]
        space = (kind & _SPACE_BIT).astype(bool)
        begins = ~space
        begins[1:] &= space[:-1] | (row[1:] != row[:-1])
        counts["words"][start:end] = np.bincount(row[begins], minlength=end - start)
        start = end
    return counts


def _kinds_of(points: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The kinds of characters as bits, shape (n,); new characters are looked up and added to the table."""
    kind = kinds[points]
    if (kind == _UNKNOWN).any():
        new = np.unique(points[kind == _UNKNOWN])
        characters = pl.Series([chr(point) for point in new.tolist()], dtype=pl.String)
        kinds[new] = 0
        for bit, pattern in enumerate(_CHARACTERS.values()):
            kinds[new] |= characters.str.contains(pattern).to_numpy().astype(np.uint8) << np.uint8(bit)
        kind = kinds[points]
    return kind


# ---- embeddings --------------------------------------------------------------------------------------------


class Anchor(msgspec.Struct, frozen=True):
    """The point from which embeddings are measured: the mean of the reference's.

    ``scale``, a power of two, is the typical distance of a member from the mean's.
    """

    centre: tuple[float, ...] = ()
    scale: float = 1.0


def vectors_of(texts: pl.Series) -> pl.Series:
    """Read lists of numbers from their JSON in the event log, shape (n,); null for anything else.

    >>> vectors_of(pl.Series(["[1.5,null]", None, "x"])).to_list()
    [[1.5, None], None, None]
    """
    try:
        return texts.str.json_decode(pl.List(pl.Float64))
    except pl.exceptions.PolarsError:  # one is no list of numbers
        found = [None if text is None else _vector_of(text) for text in texts.to_list()]
        return pl.Series(texts.name, found, dtype=pl.List(pl.Float64))


def _vector_of(text: str) -> list[float | None] | None:
    try:
        return msgspec.json.decode(text, type=list[float | None])
    except msgspec.MsgspecError:
        return None


def anchor_of(sample: pl.Series) -> Anchor | None:
    """Return the anchor of lists of numbers, from evenly spaced rows of the most common length; None without any."""
    lengths = _lengths(sample)
    lengths = lengths.filter(lengths > 0)
    if not len(lengths):
        return None
    dimension = int(lengths.mode().max())  # type: ignore[arg-type]  # numbers have a greatest
    usual = sample.filter((_lengths(sample) == dimension).fill_null(value=False))
    _, members = _members(usual.gather_every(-(-len(usual) // _ANCHOR_ROWS)), dimension)
    if not len(members):
        return None
    with np.errstate(over="ignore"):  # a sum of what was divided overflows by a rounding at most
        centre = np.clip((members / len(members)).sum(axis=0), -_LARGEST, _LARGEST)
    between = np.abs(members / 2 - centre / 2)
    farthest = float(between.max())
    size = 2 * farthest * float(np.sqrt(np.mean((between / farthest) ** 2))) if farthest > 0 else 0.0
    scale = 2.0 ** min(max(round(math.log2(size)), -500), 500) if 0 < size < math.inf else 1.0
    return Anchor(tuple(centre.tolist()), scale)


def vector_parts(values: pl.Series, anchor: Anchor) -> dict[str, pl.Series]:
    """Return the Euclidean norm, the distance from the anchor, and `PROJECTIONS` random projections of the difference.

    ``dimension`` is *as expected*, or says what is wrong with a row; such rows have no other part. Projections are sums
    with random signs (Achlioptas 2003), divided by the square root of the dimension. For them, members are capped at
    2**10 of the anchor's scale and rounded to 2**-28 of it (more with over 2**15 members), so that sums are exact in
    any order.
    """
    dimension = len(anchor.centre)
    centre, signs = np.array(anchor.centre), _signs(dimension)
    bits = _QUANTUM_BITS - max((dimension - 1).bit_length() - (_EXACT_BITS - _QUANTUM_BITS - _REACH_BITS), 0)
    unit = anchor.scale * 2.0**-bits / math.sqrt(max(dimension, 1))
    numbers = np.full((2 + PROJECTIONS, len(values)), np.nan)
    rows = max(_CHUNK // max(dimension, 1), 1)
    for start in range(0, len(values), rows):
        place, members = _members(values.slice(start, rows), dimension)
        with np.errstate(over="ignore"):
            between = members - centre
            numbers[0, start + place] = np.sqrt(np.add.reduce(members * members, axis=1))
            numbers[1, start + place] = np.sqrt(np.add.reduce(between * between, axis=1))
            between /= anchor.scale
        whole = np.rint(np.clip(between, -(2.0**_REACH_BITS), 2.0**_REACH_BITS) * 2.0**bits)
        numbers[2:, start + place] = (whole @ signs).T * unit
    names = ("norm", "distance", *(f"projection {number}" for number in range(1, PROJECTIONS + 1)))
    parts = {name: pl.Series(name, there).fill_nan(None) for name, there in zip(names, numbers, strict=True)}
    parts["dimension"] = _dimensions(values, dimension, ~np.isnan(numbers[0]))
    return parts


def _lengths(values: pl.Series) -> pl.Series:
    """The number of members of each row, shape (n,); null for a value that is no list."""
    if isinstance(values.dtype, pl.Array):
        return pl.select(pl.when(values.is_not_null()).then(pl.lit(values.dtype.size, pl.UInt32))).to_series()
    if not isinstance(values.dtype, pl.List):
        return pl.Series([None], dtype=pl.UInt32).new_from_index(0, len(values))
    return values.list.len()


def _members(values: pl.Series, dimension: int) -> tuple[npt.NDArray[np.int64], _Floats]:
    """The places, shape (n,), and members, shape (n, dimension), of the rows with that many members, all finite."""
    place = np.flatnonzero((_lengths(values) == dimension).fill_null(value=False).to_numpy())
    dtype = values.dtype
    numbers = isinstance(dtype, (pl.List, pl.Array)) and (dtype.inner.is_numeric() or dtype.inner == pl.Boolean)
    if not (len(place) and dimension and numbers):
        return place[:0], np.empty((0, dimension))
    there = values if len(place) == len(values) else values.gather(place)
    members = there.explode().cast(pl.Float64).fill_null(math.nan).to_numpy().reshape(-1, dimension)
    finite = np.isfinite(members).all(axis=1)
    if finite.all():
        return place, members
    return place[finite], np.ascontiguousarray(members[finite])


def _dimensions(values: pl.Series, dimension: int, good: npt.NDArray[np.bool_]) -> pl.Series:
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
    """Random signs, shape (dimension, PROJECTIONS), by SplitMix64: the same on every machine and in every release."""
    state = np.arange(1, dimension * PROJECTIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    signs = np.where(state >> np.uint64(63), 1.0, -1.0)
    return signs.reshape(dimension, PROJECTIONS)
