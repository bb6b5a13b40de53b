"""Reads numbers that are written as texts: 1234.5, 1,234.5, 1.234,5, 1 234,5, 12.5 %, 1e-3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

_LOOKED_AT = 2_000
_MOST = 0.9  # of the texts that are there; a few may be broken
_SPACES = r"[\s\u00A0\u2007\u2009\u202F'’]"
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_DIGITS = r"^[+-]?\d+$"
_CODE = r"^[+-]?0\d+$"
_GROUPED = {
    ",": r"^[+-]?\d{1,3}(,\d{3})+$",
    ".": r"^[+-]?\d{1,3}(\.\d{3})+$",
}


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How the numbers of a column are written.

    ``decimal`` is the decimal sign and ``grouping`` the sign between thousands, if there is any. ``percent``: some end
    in a percent sign; 12.5 % is 0.125. ``whole``: all that were looked at are whole, and written with nothing but
    digits and a sign. ``code``: some have a zero in front, as postcodes have.
    """

    decimal: str = "."
    grouping: str = ""
    percent: bool = False
    whole: bool = False
    code: bool = False

    @property
    def words(self) -> str:
        """How it is said to people; empty for what needs no word."""
        parts = []
        if self.decimal == ",":
            parts.append("decimal commas")
        if self.grouping:
            sign = {",": "commas", ".": "points"}.get(self.grouping, "spaces")
            parts.append(f"{sign} between thousands")
        if self.percent:
            parts.append("percent signs (5 % is 0.05)")
        return " and ".join(parts)


def number_style(samples: Sequence[pl.Series], least: float = _MOST) -> NumberStyle | None:
    """How the texts of a column are written, where at least a share ``least`` of those that are there are numbers.

    Missing ones are null. Where 1,234 may be a thousand or a fraction it is a thousand if the column also has numbers
    below a thousand without a sign, and a fraction if every number has the sign.

    >>> number_style([pl.Series(["99,73", "1.100,5"])])
    NumberStyle(decimal=',', grouping='.', percent=False, whole=False, code=False)
    >>> number_style([pl.Series(["12.5 %", "7%"])]).percent, number_style([pl.Series(["tea", "1"])])
    (True, None)
    """
    there = [texts.drop_nulls().head(_LOOKED_AT) for texts in samples if texts.dtype == pl.String]
    texts = pl.concat(there) if there else pl.Series([], dtype=pl.String)
    if not len(texts):
        return None
    bare = _bare(texts)
    percent = bool(texts.str.strip_chars().str.ends_with("%").any())
    decimal, grouping = _signs(bare)
    style = NumberStyle(decimal, grouping, percent)
    read = read_numbers(texts, style)
    if read.count() < max(least * len(texts), 1):
        return None
    whole = bool(texts.str.strip_chars().str.contains(_DIGITS).all())
    return NumberStyle(decimal, grouping, percent, whole, bool(bare.str.contains(_CODE).any()))


def _bare(texts: pl.Series) -> pl.Series:
    """Texts without white space around them, without a percent sign, with an ASCII minus."""
    return texts.str.strip_chars().str.strip_suffix("%").str.strip_chars().str.replace("\u2212", "-", literal=True)


def _signs(texts: pl.Series) -> tuple[str, str]:
    """The decimal sign and the sign between thousands."""
    spaced = bool(texts.str.contains(rf"\d{_SPACES}\d{{3}}").any())
    tight = texts.str.replace_all(_SPACES, "")
    comma, point = tight.str.contains(",", literal=True), tight.str.contains(".", literal=True)
    both = tight.filter(comma & point)
    if len(both):
        last = both.str.contains(r",\d*$").mean()
        return (",", ".") if isinstance(last, float) and last > 0.5 else (".", ",")
    space = " " if spaced else ""
    for sign, has in ((",", comma), (".", point)):
        signed = tight.filter(has)
        if not len(signed) or (sign == "." and not _repeats(signed, sign)):
            continue
        if sign == ",":
            return (".", ",") if _groups(tight, signed) else (",", space)
        return ",", "."
    return ".", space


def _repeats(texts: pl.Series, sign: str) -> bool:
    """Whether the sign comes twice in a number, as no decimal sign does."""
    return bool((texts.str.count_matches(sign, literal=True) > 1).any()) and bool(
        texts.str.contains(_GROUPED[sign]).all()
    )


def _groups(texts: pl.Series, signed: pl.Series) -> bool:
    """Whether commas stand between thousands."""
    if not signed.str.contains(_GROUPED[","]).all() or signed.str.contains(r"^[+-]?0").any():
        return False
    if (signed.str.count_matches(",", literal=True) > 1).any():
        return True
    others = texts.filter(~texts.str.contains(",", literal=True) & texts.str.contains(_DIGITS))
    return bool(len(others)) and bool((others.str.len_chars() <= len("-999")).all())


def read_numbers(texts: pl.Series, style: NumberStyle) -> pl.Series:
    """Texts as numbers, float64; null where there is none, or where it is not written so."""
    if style == NumberStyle(whole=style.whole, code=style.code):
        plain = texts.str.strip_chars()
        return plain.cast(pl.Float64, strict=False)
    bare = _bare(texts)
    if style.grouping in (",", "."):
        dot = rf"\{style.decimal}"
        grouped = bare.str.contains(rf"^[+-]?\d{{1,3}}(\{style.grouping}\d{{3}})*({dot}\d*)?$")
        plain = bare.str.contains(rf"^[+-]?\d+({dot}\d*)?([eE][+-]?\d+)?$")
        bare = bare.set(~(grouped | plain).fill_null(False), None).str.replace_all(style.grouping, "", literal=True)
    else:
        bare = bare.str.replace_all(_SPACES, "") if style.grouping else bare
    if style.decimal == ",":
        bare = bare.set(bare.str.contains(".", literal=True).fill_null(False), None)
        bare = bare.str.replace(",", ".", literal=True)
    numbers = bare.cast(pl.Float64, strict=False)
    if not style.percent:
        return numbers
    shares = texts.str.strip_chars().str.ends_with("%").fill_null(False)
    return (
        pl.select(pl.when(pl.lit(shares)).then(pl.lit(numbers) / 100).otherwise(pl.lit(numbers)))
        .to_series()
        .alias(texts.name)
    )
