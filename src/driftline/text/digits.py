"""Convert digits of other scripts, and full-width characters, to ASCII: ４.６２ and ٤٫٦٢ are 4.62."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Mapping

import polars as pl

OTHER_DIGITS = r"[\p{Nd}--0-9]"
"""A pattern for Polars: a digit that is not ASCII. Its patterns take these for digits, its number parser does not."""

_SIGNS = {  # by name, because they look like those of ASCII
    "FULLWIDTH FULL STOP": ".",
    "FULLWIDTH COMMA": ",",
    "FULLWIDTH HYPHEN-MINUS": "-",
    "FULLWIDTH PLUS SIGN": "+",
    "FULLWIDTH PERCENT SIGN": "%",
    "FULLWIDTH COLON": ":",
    "FULLWIDTH SOLIDUS": "/",
    "ARABIC DECIMAL SEPARATOR": ".",
    "ARABIC THOUSANDS SEPARATOR": ",",
    "ARABIC PERCENT SIGN": "%",
}


def with_plain_digits(texts: pl.Series) -> pl.Series:
    """Return texts with their digits in ASCII; the same series if there are no other digits.

    >>> with_plain_digits(pl.Series(["４.６２", "٤٫٦٢", "१२ kg", "tea"])).to_list()
    ['4.62', '4.62', '12 kg', 'tea']
    """
    if not has_other_digits(texts):
        return texts
    return texts.str.replace_many(_plain())


def has_other_digits(texts: pl.Series) -> bool:
    """Tell whether any text has a digit that is not ASCII."""
    if texts.str.len_bytes().sum() == texts.str.len_chars().sum():
        return False
    return bool(texts.str.contains(OTHER_DIGITS).any())


@functools.cache
def _plain() -> Mapping[str, str]:
    values = ((chr(code), unicodedata.decimal(chr(code), None)) for code in range(0x80, sys.maxunicode + 1))
    digits = {digit: str(value) for digit, value in values if value is not None}
    return digits | {unicodedata.lookup(name): sign for name, sign in _SIGNS.items()}
