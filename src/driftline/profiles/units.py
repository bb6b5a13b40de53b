"""Find the currency or unit that stands before or after the numbers in a column of texts."""

from __future__ import annotations

import re
import unicodedata

import polars as pl

_MOST = 0.9  # of the texts that are not missing; a few may be broken
_CODES = re.findall(
    r"\S+",
    "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF INR JPY KRW MXN NOK NZD PLN RUB SEK SGD TRY USD ZAR "
    "Fr Fr. kr kr. Rs Rs. zł",
)
MONEY = r"[A-Z]{0,3}\p{Sc}|" + "|".join(re.escape(code) for code in _CODES)
"""A pattern of currency signs and codes."""
_UNIT = r"[\p{L}°µ/²³]{1,6}"
_NUMBER = r"[+\-\u2212]?\d[\d.,'’\s\u00A0\u202F]*?"
_BEFORE = rf"^[+\-\u2212(]?\s*({MONEY})\s*{_NUMBER}\s*[)\-\u2212]?$"
_AFTER = rf"^\(?{_NUMBER}\s*({MONEY})[)\-\u2212]?$"
_SIGN = r"^[+\-\u2212(]*"
_MEASURED = rf"{_SIGN}\d[\d.,'’\s]*[.,]\d+\s*({_UNIT})[)\-]?$|{_SIGN}\d+\s+({_UNIT})[)\-]?$"


def unit_of(texts: pl.Series) -> str:
    """Return the currency, or the unit after the number, that nearly all texts have; empty without one.

    After whole numbers a unit needs a space before it: 5G and 3D are names.

    >>> unit_of(pl.Series(["$1,234.50", "-$3"])), unit_of(pl.Series(["12.5 kg", "80 kg"])), unit_of(pl.Series(["5G"]))
    ('$', 'kg', '')
    """
    for pattern in (_BEFORE, _AFTER, _MEASURED):
        found = texts.str.strip_chars().str.extract_groups(pattern).struct.unnest()
        units = found.select(pl.coalesce(pl.all())).to_series().drop_nulls()
        if len(units) < _MOST * len(texts):
            continue
        usual = units.mode().sort()[0]
        if (units == usual).sum() >= _MOST * len(texts):
            return str(usual)
    return ""


def is_money(unit: str) -> bool:
    """Return whether a unit is a currency sign or code.

    >>> is_money("US$"), is_money("€"), is_money("kg")
    (True, True, False)
    """
    return unit in _CODES or any(unicodedata.category(sign) == "Sc" for sign in unit)


def without_unit(texts: pl.Series, unit: str) -> pl.Series:
    """Return texts without the unit before or after the number, stripped of white space."""
    if not unit:
        return texts
    sign = re.escape(unit)
    return texts.str.replace(rf"^([+-]?)\s*{sign}\s*", "${1}").str.replace(rf"\s*{sign}$", "").str.strip_chars()
