"""Write numbers for people: one format for each kind of number, in every output.

A number has three significant digits (`number`). Numbers that are shown side by side have as many more as it takes to
tell them apart (`numbers`, `beside`). Three kinds have a format of their own:

- a measure in a column of a table: three decimals, so that the column can be read down (`figure`, `figures`);
- a difference between two models: decimals by its size, and its sign (`decimals_of`, `fixed`);
- a number that somebody wrote, such as a threshold: exactly as written (`exact`).

Shares are percentages (`percent`), p-values name themselves (`p_words`). A missing value is `NOTHING`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

_MOST_DIGITS = 17
"""The significant digits that distinguish any two 64-bit floats."""

NOTHING = "–"
"""The text for a missing value."""

_PLAIN = 1e15
"""Whole numbers below this are written in full."""

_READABLE = 1e9

_SHARE_DECIMALS = 12


def percent(share: float) -> str:
    """Write a share, 0 to 1, as a percentage.

    >>> percent(0), percent(0.0004), percent(0.031), percent(0.524), percent(0.9996), percent(1)
    ('0 %', '<0.1 %', '3.1 %', '52 %', '99.9 %', '100 %')
    """
    if share <= 0 or share >= 1:
        return "0 %" if share <= 0 else "100 %"
    if share < 0.001:
        return "<0.1 %"
    if share >= 0.995:
        return f"{min(share * 100, 99.9):.1f} %"
    return f"{share * 100:.1f} %" if share < 0.0995 else f"{share * 100:.0f} %"


def percents(*shares: float) -> tuple[str, ...]:
    """Write shares that are shown side by side: different ones have different texts, equal ones the same.

    >>> percents(0.52, 0.1), percents(0.5241, 0.5243), percents(0.0, 0.00004), percents(0.0004, 0.0002)
    (('52 %', '10 %'), ('52.41 %', '52.43 %'), ('0 %', '<0.1 %'), ('0.04 %', '0.02 %'))
    """
    return _apart(
        shares, percent, [_decimals_of_share(decimals) for decimals in range(1, _SHARE_DECIMALS)], _exact_share
    )


def _decimals_of_share(decimals: int) -> Callable[[float], str]:
    return lambda share: "0 %" if share <= 0 else "100 %" if share >= 1 else f"{share * 100:.{decimals}f} %"


def number(value: float) -> str:
    """Write a number to about three digits; whole numbers of up to four digits have no separator, like years.

    >>> number(4.05), number(-0.000123456), number(2015.0), number(31536000.0), number(-0.0), number(2e300)
    ('4.05', '-0.000123', '2015', '31,536,000', '0', '2e+300')
    """
    if 999.5 <= abs(value) < _PLAIN:
        return f"{value:.0f}" if abs(value) < 9_999.5 else f"{value:,.0f}"
    return f"{value + 0.0:.3g}"


def number_or_nothing(value: float | None) -> str:
    """Write a number; a dash for None or not finite.

    >>> number_or_nothing(0.76667), number_or_nothing(None), number_or_nothing(math.nan)
    ('0.767', '–', '–')
    """
    return number(value) if value is not None and math.isfinite(value) else NOTHING


def signed(value: float | None, largest: float | None = None) -> str:
    """Write a change with its sign, to three digits of the ``largest`` change beside it; a dash for None.

    >>> signed(0.25), signed(-0.00021, 0.0321), signed(67.18, 70.0), signed(0.0, 0.1), signed(None)
    ('+0.250', '-0.0002', '+67.2', '0.000', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value if largest is None else largest)
    places = min(max(2 - math.floor(math.log10(size)), 0), 12) if 0 < size < math.inf else 2
    text = f"{value:+.{places}f}"
    return text if float(text) else text[1:]


def beside(value: float, threshold: float) -> str:
    """Write a number beside a threshold, with as many digits as it takes not to look equal to it.

    >>> beside(0.7412, 0.75), beside(0.74999, 0.75), beside(0.75, 0.75), beside(0.9, math.inf)
    ('0.741', '0.74999', '0.75', '0.9')
    """
    ways = (number, *(_digits_of(digits) for digits in range(4, _MOST_DIGITS)))
    texts = (way(value) for way in ways)
    return next((text for text in texts if value == threshold or _read(text) != threshold), exact(value))


def _read(text: str) -> float:
    return float(text.replace(",", ""))


def exact(value: float) -> str:
    """Write the shortest text that reads back as the same number, such as a threshold that somebody wrote.

    >>> exact(0.75), exact(5.0), exact(1e-9)
    ('0.75', '5', '1e-09')
    """
    return repr(float(value)).removesuffix(".0")


def from_to(low: float | None, high: float | None) -> str:
    """Write the ends of an interval; empty where one is not known.

    >>> from_to(0.1666, 0.5), from_to(None, 0.5)
    ('0.167 to 0.5', '')
    """
    return "" if low is None or high is None else " to ".join(numbers(low, high))


def count(value: int) -> str:
    """Write a whole number in groups of three digits.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def percent_or_nothing(share: float | None) -> str:
    """Write a share as a percentage; a dash for None or not finite.

    >>> percent_or_nothing(0.5), percent_or_nothing(None)
    ('50 %', '–')
    """
    return percent(share) if share is not None and math.isfinite(share) else NOTHING


def level(confidence: float) -> str:
    """Write a confidence level, 0 to 1, exactly as a percentage.

    >>> level(0.95), level(0.999)
    ('95 %', '99.9 %')
    """
    return f"{100 * confidence:g} %"


def p_words(value: float) -> str:
    """Write a p-value to two digits, with its name.

    >>> p_words(2e-8), p_words(0.9153), p_words(0.0412), p_words(1.0)
    ('p < 0.001', 'p = 0.92', 'p = 0.041', 'p = 1')
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def p_in_table(value: float | None) -> str:
    """Write a p-value for a table whose header names it; a dash for None.

    >>> p_in_table(0.0), p_in_table(0.04), p_in_table(1.0), p_in_table(None)
    ('< 0.001', '0.04', '1', '–')
    """
    return NOTHING if value is None else p_words(value).removeprefix("p ").removeprefix("= ")


def effect(value: float) -> str:
    """Write an effect size or a correlation to two decimals.

    >>> effect(0.2), effect(-0.875)
    ('0.20', '-0.88')
    """
    return f"{value:.2f}"


def effects(*values: float) -> tuple[str, ...]:
    """Write effect sizes that are shown side by side: different ones have different texts.

    >>> effects(0.2, 0.1), effects(0.2001, 0.2)
    (('0.20', '0.10'), ('0.2001', '0.2000'))
    """
    return _apart(values, effect, [_decimals(decimals) for decimals in range(3, _MOST_DIGITS)], _all_digits)


def _decimals(decimals: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{decimals}f}"


def fixed(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """Write a number with so many decimals, optionally with its sign; long ones in powers of ten; a dash for None.

    >>> fixed(0.03125, 4), fixed(0.03125, 4, sign=True), fixed(-2e20, 4), fixed(None, 4)
    ('0.0312', '+0.0312', '-2e+20', '–')
    """
    if value is None:
        return NOTHING
    shape = f".{decimals}f" if abs(value) < _READABLE else ".4g"
    return format(value, ("+" if sign else "") + shape)


def figure(value: float) -> str:
    """Write the value or bound of a measure: three decimals, unless the number is too small or too large for them.

    >>> figure(0.8571), figure(-0.5), figure(0.0), figure(0.00012345), figure(100.328), figure(1234.5)
    ('0.857', '-0.500', '0.000', '0.000123', '100.3', '1234')
    """
    if value == 0 or 0.0005 <= abs(value) < 100:
        return f"{value + 0.0:.3f}"
    return f"{value:.1f}" if 100 <= abs(value) < 999.5 else number(value)


def figures(*values: float) -> tuple[str, ...]:
    """Write values of a measure that are shown side by side, as `figure`, with more digits where texts would be equal.

    >>> figures(0.8571, 0.9), figures(0.00061, 0.00064), figures(0.99996, 0.99999)
    (('0.857', '0.900'), ('0.00061', '0.00064'), ('0.99996', '0.99999'))
    """
    return _apart(values, figure, [_digits_of(digits) for digits in range(2, _MOST_DIGITS)], _all_digits)


def numbers(*values: float) -> tuple[str, ...]:
    """Write numbers that are shown side by side: different ones have different texts, equal ones the same.

    A change that is small beside the numbers is shown with two digits of its own.

    >>> numbers(0.512, 0.812), numbers(1013.25, 1013.2921), numbers(1e9, 1e9 + 0.3), numbers(4.0, 4.0)
    (('0.512', '0.812'), ('1013.250', '1013.292'), ('1,000,000,000.00', '1,000,000,000.30'), ('4', '4'))
    >>> numbers(1.7172e18, 1.71728e18), numbers(1.0, 5e-324)
    (('1.7172e+18', '1.71728e+18'), ('1', '4.94e-324'))
    """
    texts = tuple(_beside(value, values) for value in values)
    if _told_apart(values, texts):
        return texts
    return _apart(values, number, [_digits_of(digits) for digits in range(4, _MOST_DIGITS)], _all_digits)


def _beside(value: float, values: Sequence[float]) -> str:
    return number_with(value, min((abs(value / 2 - other / 2) * 2 for other in values if other != value), default=0.0))


def number_with(value: float, change: float) -> str:
    """Write a number with as many digits as show a change of this size.

    >>> number_with(1013.25, 0.0421), number_with(0.512, 0.3), number_with(1013.25, 0.0)
    ('1013.250', '0.512', '1013')
    """
    if not 0 < abs(change) < 1e-3 * abs(value):
        return number(value)
    if abs(value) >= _PLAIN:
        return _digits_of(min(math.ceil(math.log10(abs(value) / abs(change))) + 1, _MOST_DIGITS))(value)
    digits = 0 if abs(change) >= 1 else min(1 - math.floor(math.log10(abs(change))), _MOST_DIGITS - 2)
    return f"{value:.{digits}f}" if abs(value) < 9_999.5 else f"{value:,.{digits}f}"


def _digits_of(digits: int) -> Callable[[float], str]:
    """Return a writer of numbers with so many significant digits, without trailing zeros."""

    def words(value: float) -> str:
        if 999.5 <= abs(value) < _PLAIN:
            after = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
            return f"{value:.{after}f}" if abs(value) < 9_999.5 else f"{value:,.{after}f}"
        return f"{value + 0.0:.{digits}g}"

    return words


def decimals_of(change: float | None, *ends: float | None, least: int = 4) -> int:
    """Return how many decimals show two digits of a change, and up to two more if its interval ends nearer to 0.

    >>> decimals_of(0.031, 0.002), decimals_of(0.00002, 0.0000005), decimals_of(0.0), decimals_of(None)
    (4, 8, 4, 4)
    """
    if not change:
        return least
    own = max(least, 1 - math.floor(math.log10(abs(change))))
    near = [1 - math.floor(math.log10(abs(end))) for end in ends if end]
    return min(max(own, min(max(near, default=0), own + 2)), _MOST_DIGITS)


def _apart(
    values: Sequence[float],
    words: Callable[[float], str],
    finer: Sequence[Callable[[float], str]],
    exact: Callable[[float], str],
) -> tuple[str, ...]:
    """Write the values in the first format that tells different ones apart."""
    for way in (words, *finer):
        texts = tuple(map(way, values))
        if _told_apart(values, texts):
            return texts
    return tuple(map(exact, values))


def _all_digits(value: float) -> str:
    return f"{value + 0.0:.{_MOST_DIGITS}g}"


def _exact_share(share: float) -> str:
    return f"{Decimal(share).scaleb(2).normalize()} %" if 0 < share < 1 else percent(share)


def _told_apart(values: Sequence[float], texts: Sequence[str]) -> bool:
    return len(set(texts)) == len(set(values))
