"""Guess what values mean: markers of missing values, and columns that split the rows into segments."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import polars as pl

from driftline.events import MISSING_TEXTS
from driftline.guessing.guess import Guess
from driftline.lookalikes import in_quotes
from driftline.profiles.segments import MOST_VALUES
from driftline.text.numbers import exact, percent

_MARKER_TEXTS = ("?", "-", "--", ".", "missing", "MISSING", "n.a.", "N.A.", "NIL", r"\N", "(null)", "<null>")
_MARKER_NUMBERS = (-99.0, -999.0, -9999.0, -99999.0, -999999.0)
_LEAST_REPEATS = 2
_SEGMENT_WORDS = frozenset(
    (
        *("browser", "category", "channel", "city", "country", "customer_type", "department", "device", "district"),
        *("gender", "language", "locale", "location", "market", "origin", "plan", "platform", "product", "region"),
        *("segment", "sex", "shop", "site", "state", "station", "store", "team", "tenant", "tier", "vendor", "zone"),
    )
)
_FEW_VALUES, _LEAST_SHARE, _MOST_SEGMENTS = 12, 0.02, 3


def guess_missing(rows: pl.DataFrame, targets: Collection[str]) -> Guess | None:
    """Guess markers of missing values beyond the usual texts; None where none is seen.

    In ``targets``, labels and predictions, such a text may be a class: these are not looked at.
    """
    found: dict[str, list[str]] = {}
    for name in rows.columns:
        if name not in targets:
            for marker in _markers(rows[name]):
                found.setdefault(marker, []).append(name)
    if not found:
        return None
    where = "; ".join(
        f"{in_quotes(marker)} in {', '.join(map(in_quotes, names[:3]))}" for marker, names in found.items()
    )
    return Guess("columns.missing", [*MISSING_TEXTS, *found], f"the usual ones, and {where}")


def _markers(values: pl.Series) -> Iterator[str]:
    if values.dtype == pl.String:
        counts = dict(values.drop_nulls().str.strip_chars().value_counts(name="times").iter_rows())
        rest = len(counts)
        yield from (text for text in _MARKER_TEXTS if counts.get(text, 0) >= _LEAST_REPEATS and rest > 1)
    elif values.dtype.is_numeric() and not values.dtype.is_unsigned_integer():
        yield from _marker_numbers(values.cast(pl.Float64, strict=False).drop_nulls())


def _marker_numbers(values: pl.Series) -> Iterator[str]:
    """Yield the least number where it is one of nines, comes more than once, and lies far below all others."""
    least = values.min()
    if least not in _MARKER_NUMBERS or not isinstance(least, float):
        return
    others = values.filter(values > least)
    low, high = others.min(), others.max()
    if not isinstance(low, float) or not isinstance(high, float) or len(values) - len(others) < _LEAST_REPEATS:
        return
    if low - least > max(high - low, -least / 2):
        yield exact(least)


def guess_segments(rows: pl.DataFrame, features: Collection[str]) -> Guess:
    """Guess the columns by which the rows are split: a few values each, and a name that such columns have."""
    named, others = [], []
    for name in features:
        values = rows[name]
        if values.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Boolean):
            continue
        shares = values.drop_nulls().value_counts(normalize=True)["proportion"]
        if 2 <= len(shares) <= MOST_VALUES and _is_segment(name):
            named.append(name)
        elif 2 <= len(shares) <= _FEW_VALUES and float(shares.min() or 0) >= _LEAST_SHARE:  # type: ignore[arg-type]
            others.append(name)
    if named:
        most = f"at most {MOST_VALUES} values each, and a name of what groups rows"
        return Guess("columns.segments", named[:_MOST_SEGMENTS], most)
    few = f"each of their values in at least {percent(_LEAST_SHARE)} of the rows"
    reason = (
        f"these would do, {few}: {', '.join(map(in_quotes, others[:5]))}" if others else "no column of a few groups"
    )
    return Guess("columns.segments", None, reason)


def _is_segment(name: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return name.strip().lower() in _SEGMENT_WORDS or bool(words and words[-1].lower() in _SEGMENT_WORDS)
