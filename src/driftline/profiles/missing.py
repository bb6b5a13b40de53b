"""Turn missing values into null: NaN, and the texts and numbers that stand for a missing value; see `is_missing`."""

from __future__ import annotations

import polars as pl

from driftline.events import is_missing, missing_numbers
from driftline.sketches import compiled


def without_missing(values: pl.Series, texts: tuple[str, ...]) -> pl.Series:
    """Return the values, shape (n,), with null for every missing one; ``texts`` are those that stand for one.

    >>> without_missing(pl.Series(["yes", " NA", "", None]), ("", "NA")).to_list()
    ['yes', None, None, None]
    >>> without_missing(pl.Series([1.0, float("nan"), -999.0]), ("", "-999")).to_list()
    [1.0, None, None]
    """
    if values.dtype in (pl.Categorical, pl.Enum):
        named = [name for name in values.unique().cast(pl.String).to_list() if is_missing(name, texts)]
        named = [name for name in named if name is not None]
        return values.set(values.cast(pl.String).is_in(named).fill_null(False), None) if named else values
    if values.dtype == pl.String:
        gone = _missing_texts(values, texts)
        return values if gone is None else values.set(gone, None)
    if values.dtype.is_numeric():
        if values.dtype.is_float() and values.is_nan().any():
            values = values.fill_nan(None)
        if numbers := missing_numbers(texts):
            gone = values.cast(pl.Float64, strict=False).is_in(sorted(numbers)).fill_null(False)
            values = values.set(gone, None) if gone.any() else values
    return values


def _missing_texts(values: pl.Series, texts: tuple[str, ...]) -> pl.Series | None:
    """Whether each text stands for a missing value; None if none does. Repeated texts are checked once."""
    loops = compiled.kernel()
    names = loops.count_texts(values) if loops is not None and len(values) else None
    if names is None:
        longest = max(map(len, texts), default=0)
        short = (values.str.len_bytes() <= longest) | values.str.starts_with(" ") | values.str.ends_with(" ")
        names = dict.fromkeys(values.filter(short.fill_null(False)).unique().to_list(), 1)
    gone = [name for name in names if is_missing(name, texts)]
    return values.is_in(gone).fill_null(False) if gone else None


def without_missing_in(frame: pl.DataFrame, texts: tuple[str, ...]) -> pl.DataFrame:
    """Return a frame with null for every missing value; see `without_missing`."""
    changed = [new for name in frame.columns if (new := without_missing(frame[name], texts)) is not frame[name]]
    return frame.with_columns(changed) if changed else frame
