"""Read numbers that are written as texts: 1234.5, 1,234.5, 1.234,5, 12.5 %, 1e-3, $1,234.50, (9.50), 80.5 kg."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import polars as pl
from msgspec.structs import replace

from driftline.profiles.units import MONEY, is_money, unit_of, without_unit
from driftline.text.digits import has_other_digits, with_plain_digits

_LOOKED_AT = 2_000
_MOST = 0.9  # of the texts that are not missing; a few may be broken
_MORE_THAN_HALF = 0.5
_LEAST_MEASURED = 30
_SPACES = r"[\s\u00A0\u2007\u2009\u202F'’]"
_OPENS = r"[\s\u00A0\u2007\u2009\u202F'’+\-\u2212(]*"
_BEGINS = rf"^{_OPENS}(?:(?:{MONEY}){_OPENS})?[\d.,]|^{_OPENS}(?i:inf|nan)"
"""How a text begins that may be read as a number."""
_DIGITS = r"^[+-]?\d+$"
_CODE = r"^[+-]?0\d+$"
_GROUPED = {
    ",": r"^[+-]?\d{1,3}(,\d{2,3})*,\d{3}$",  # 12,34,567 in India
    ".": r"^[+-]?\d{1,3}(\.\d{3})+$",
}
_MINUS = {r"^\((.+)\)$": "-${1}", r"^([^-].*)-$": "-${1}", "\u2212": "-"}  # (12.50), 12.50- and a long minus


class NumberStyle(msgspec.Struct, frozen=True):
    """How the numbers of a column are written.

    ``decimal`` is the decimal sign and ``grouping`` the thousands separator, if there is one. ``percent``: some end in
    a percent sign; then 12.5 % is 0.125 with ``hundredths``, and 12.5 without. ``unit``: nearly all have it, before or
    after the number. ``minus``: some are negative in another way than by a minus in front. ``whole``: all in the sample
    are whole, and written with nothing but digits and a sign. ``code``: some have a leading zero, as postcodes do.
    ``script``: some digits belong to another script.
    """

    decimal: str = "."
    grouping: str = ""
    percent: bool = False
    hundredths: bool = True
    unit: str = ""
    minus: bool = False
    whole: bool = False
    code: bool = False
    script: bool = False

    @property
    def words(self) -> str:
        """The style in words for people; empty if it is the usual one."""
        parts = []
        if self.decimal == ",":
            parts.append("decimal commas")
        if self.grouping:
            sign = {",": "commas", ".": "points"}.get(self.grouping, "spaces")
            parts.append(f"{sign} between thousands")
        if self.percent:
            parts.append(f"percent signs (5 % is {'0.05' if self.hundredths else '5'})")
        if self.unit:
            parts.append(f"the {'sign' if is_money(self.unit) else 'unit'} {self.unit}")
        if self.script:
            parts.append("digits of another script")
        return " and ".join(parts)


def number_style(
    samples: Sequence[pl.Series], least: float = _MOST, beside: pl.Series | None = None
) -> NumberStyle | None:
    """Return how the numbers in a column of texts are written; None if less than a share ``least`` of them are numbers.

    Missing values are null. If 1,234 may be a thousand or a fraction, it is a thousand if the column also has numbers
    below a thousand without the sign, and a fraction if every number has it. ``beside`` are numbers of the column's
    other side: the reading whose size is nearer to theirs is taken instead, also to decide whether 5 % is 0.05 or 5. If
    the numbers are decimal ones that hardly repeat, up to half of the texts may be something else.

    >>> number_style([pl.Series(["99,73", "1.100,5"])]).words
    'decimal commas and points between thousands'
    >>> number_style([pl.Series(["12.5 %", "7%"])]).percent, number_style([pl.Series(["tea", "1"])])
    (True, None)
    >>> number_style([pl.Series(["1,234", "9,500"])], beside=pl.Series([2000, 8000])).words
    'commas between thousands'
    """
    there = [texts.drop_nulls().head(_LOOKED_AT) for texts in samples if texts.dtype == pl.String]
    given = pl.concat(there) if there else pl.Series([], dtype=pl.String)
    texts = with_plain_digits(given)
    fewest = min(least, _MORE_THAN_HALF) * len(texts)
    if not len(texts) or any(texts.str.contains(needed).sum() < fewest for needed in (_BEGINS, r"\d")):
        return None
    style = NumberStyle(
        percent=bool(texts.str.strip_chars().str.ends_with("%").any()),
        unit=unit_of(texts),
        minus=any(bool(texts.str.strip_chars().str.contains(sign).any()) for sign in _MINUS),
    )
    bare = _bare(texts, style)
    style = _nearest(texts, [replace(style, decimal=one, grouping=other) for one, other in _signs(bare)], beside)
    if style.percent:
        style = _nearest(texts, [style, replace(style, hundredths=False)], beside)
    read = read_numbers(texts, style)
    measured = "" if is_money(style.unit) else style.unit  # prices are no codes, however few there are
    numbers = without_unit(texts.str.strip_chars(), measured).filter(read.is_not_null())
    style = replace(
        style,
        whole=bool(numbers.str.contains(_DIGITS).all()),
        code=bool(bare.filter(read.is_not_null()).str.contains(_CODE).any()),
        script=has_other_digits(given.filter(read.is_not_null())),
    )
    share = read.count() / len(texts)
    enough = read.count() > 0 and (share >= least or (share >= _MORE_THAN_HALF and _are_measured(read, style)))
    return style if enough else None


def _are_measured(numbers: pl.Series, style: NumberStyle) -> bool:
    """Whether numbers are decimal ones that hardly repeat, so that they are measured values and no codes."""
    there = numbers.drop_nulls()
    many = len(there) >= _LEAST_MEASURED and there.n_unique() > _MORE_THAN_HALF * len(there)
    return many and not (style.whole or style.code)


def _nearest(texts: pl.Series, styles: Sequence[NumberStyle], beside: pl.Series | None) -> NumberStyle:
    """The style whose numbers are nearest in size to those beside; without any beside, the first."""
    aim = _size(beside)
    if len(styles) == 1 or aim is None:
        return styles[0]
    found = [_size(read_numbers(texts, style)) for style in styles]
    off = [math.inf if size is None else abs(math.log(size / aim)) for size in found]
    return styles[off.index(min(off))]


def _size(numbers: pl.Series | None) -> float | None:
    """The median absolute value of the finite numbers other than 0; None without any."""
    if numbers is None:
        return None
    sizes = numbers.cast(pl.Float64, strict=False).drop_nulls().abs()
    median = sizes.filter(sizes.is_finite() & (sizes > 0)).median()
    return median if isinstance(median, float) else None


def _bare(texts: pl.Series, style: NumberStyle) -> pl.Series:
    """Texts without surrounding white space, units and percent signs, and with an ASCII minus in front."""
    bare = texts.str.strip_chars()
    if style.minus:
        for sign, instead in _MINUS.items():
            bare = bare.str.replace(sign, instead)
    bare = without_unit(bare, style.unit)
    return bare.str.strip_suffix("%").str.strip_chars() if style.percent else bare


def _signs(texts: pl.Series) -> list[tuple[str, str]]:
    """The decimal sign and the thousands separator; two pairs, the likelier first, where both are possible."""
    spaced = bool(texts.str.contains(rf"\d{_SPACES}\d{{3}}").any())
    tight = texts.str.replace_all(_SPACES, "")
    comma, point = tight.str.contains(",", literal=True), tight.str.contains(".", literal=True)
    both = tight.filter(comma & point)
    if len(both):
        last = both.str.contains(r",\d*$").mean()
        return [(",", ".") if isinstance(last, float) and last > 0.5 else (".", ",")]
    space = " " if spaced else ""
    commas, points = tight.filter(comma), tight.filter(point)
    if len(commas):
        if not _may_group(commas, ","):
            return [(",", space)]
        if bool((commas.str.count_matches(",", literal=True) > 1).any()):
            return [(".", ",")]
        others = tight.filter(~comma & tight.str.contains(_DIGITS))
        below = bool(len(others)) and bool((others.str.len_chars() <= len("-999")).all())
        return [(".", ","), (",", space)] if below else [(",", space), (".", ",")]
    if len(points) and _may_group(points, "."):
        return (
            [(",", ".")]
            if bool((points.str.count_matches(".", literal=True) > 1).any())
            else [
                (".", space),
                (",", "."),
            ]
        )
    return [(".", space)]


def _may_group(signed: pl.Series, sign: str) -> bool:
    """Whether a sign may be a thousands separator everywhere."""
    return bool(signed.str.contains(_GROUPED[sign]).all()) and not signed.str.contains(r"^[+-]?0").any()


def read_numbers(texts: pl.Series, style: NumberStyle) -> pl.Series:
    """Return texts as float64 numbers, shape (n,); null for missing ones and those that are written otherwise."""
    texts = with_plain_digits(texts)
    if style == NumberStyle(whole=style.whole, code=style.code, script=style.script):
        plain = texts.str.strip_chars()
        return plain.cast(pl.Float64, strict=False)
    bare = _bare(texts, style)
    if style.grouping in (",", "."):
        dot = rf"\{style.decimal}"
        grouped = bare.str.contains(
            rf"^[+-]?\d{{1,3}}(\{style.grouping}\d{{2,3}})*(\{style.grouping}\d{{3}})({dot}\d*)?$"
        )
        plain = bare.str.contains(rf"^[+-]?\d+({dot}\d*)?([eE][+-]?\d+)?$")
        bare = bare.set(~(grouped | plain).fill_null(False), None).str.replace_all(style.grouping, "", literal=True)
    else:
        bare = bare.str.replace_all(_SPACES, "") if style.grouping else bare
    if style.decimal == ",":
        bare = bare.set(bare.str.contains(".", literal=True).fill_null(False), None)
        bare = bare.str.replace(",", ".", literal=True)
    numbers = bare.cast(pl.Float64, strict=False)
    if not (style.percent and style.hundredths):
        return numbers
    shares = texts.str.strip_chars().str.contains(r"%\)?-?$").fill_null(False)
    return (
        pl.select(pl.when(pl.lit(shares)).then(pl.lit(numbers) / 100).otherwise(pl.lit(numbers)))
        .to_series()
        .alias(texts.name)
    )
