"""Numbers and shares in words, with digits enough to tell apart those that differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

_MOST_DIGITS = 17
"""Significant digits that tell any two 64-bit floats apart."""

_PLAIN = 1e15
_SHARE_DECIMALS = 12


def percent(share: float) -> str:
    """A share in words.

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
    """Shares that are told side by side: different ones have different texts, equal ones the same.

    >>> percents(0.52, 0.1), percents(0.5241, 0.5243), percents(0.0, 0.00004), percents(0.0004, 0.0002)
    (('52 %', '10 %'), ('52.41 %', '52.43 %'), ('0 %', '<0.1 %'), ('0.04 %', '0.02 %'))
    """
    return _apart(
        shares, percent, [_decimals_of_share(decimals) for decimals in range(1, _SHARE_DECIMALS)], _exact_share
    )


def _decimals_of_share(decimals: int) -> Callable[[float], str]:
    return lambda share: "0 %" if share <= 0 else "100 %" if share >= 1 else f"{share * 100:.{decimals}f} %"


def number(value: float) -> str:
    """A number for people, to about three digits; up to four whole ones stand together, as those of a year do.

    >>> number(4.05), number(-0.000123456), number(2015.0), number(31536000.0), number(-0.0), number(2e300)
    ('4.05', '-0.000123', '2015', '31,536,000', '0', '2e+300')
    """
    if 999.5 <= abs(value) < _PLAIN:
        return f"{value:.0f}" if abs(value) < 9_999.5 else f"{value:,.0f}"
    return f"{value + 0.0:.3g}"


def figure(value: float) -> str:
    """A measure's value or bound for people: three decimals, unless these show nothing or too much.

    >>> figure(0.8571), figure(-0.5), figure(0.0), figure(0.00012345), figure(100.328), figure(1234.5)
    ('0.857', '-0.500', '0.000', '0.000123', '100.3', '1234')
    """
    if value == 0 or 0.0005 <= abs(value) < 100:
        return f"{value + 0.0:.3f}"
    return f"{value:.1f}" if 100 <= abs(value) < 999.5 else number(value)


def figures(*values: float) -> tuple[str, ...]:
    """Values of a measure that are told side by side, as `figure` has them, and with more digits where these are alike.

    >>> figures(0.8571, 0.9), figures(0.00061, 0.00064), figures(0.99996, 0.99999)
    (('0.857', '0.900'), ('0.00061', '0.00064'), ('0.99996', '0.99999'))
    """
    return _apart(values, figure, [_digits_of(digits) for digits in range(2, _MOST_DIGITS)], _exact)


def numbers(*values: float) -> tuple[str, ...]:
    """Numbers that are told side by side: different ones have different texts, equal ones the same.

    A change that is small beside the numbers is shown with two digits of its own.

    >>> numbers(0.512, 0.812), numbers(1013.25, 1013.2921), numbers(1e9, 1e9 + 0.3), numbers(4.0, 4.0)
    (('0.512', '0.812'), ('1013.250', '1013.292'), ('1,000,000,000.00', '1,000,000,000.30'), ('4', '4'))
    >>> numbers(1.7172e18, 1.71728e18), numbers(1.0, 5e-324)
    (('1.7172e+18', '1.71728e+18'), ('1', '4.94e-324'))
    """
    texts = tuple(_beside(value, values) for value in values)
    if _told_apart(values, texts):
        return texts
    return _apart(values, number, [_digits_of(digits) for digits in range(4, _MOST_DIGITS)], _exact)


def _beside(value: float, values: Sequence[float]) -> str:
    return number_with(value, min((abs(value / 2 - other / 2) * 2 for other in values if other != value), default=0.0))


def number_with(value: float, change: float) -> str:
    """A number with the digits that show a change of this size.

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
    """The words for a number with so many significant digits, trailing zeros left out."""

    def words(value: float) -> str:
        if 999.5 <= abs(value) < _PLAIN:
            after = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
            return f"{value:.{after}f}" if abs(value) < 9_999.5 else f"{value:,.{after}f}"
        return f"{value + 0.0:.{digits}g}"

    return words


def decimals_of(change: float | None, *ends: float | None, least: int = 4) -> int:
    """How many decimals show a change with two digits, and up to two more where an end of its interval is nearer to 0.

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
    """The values in the first words that tell them apart."""
    for way in (words, *finer):
        texts = tuple(map(way, values))
        if _told_apart(values, texts):
            return texts
    return tuple(map(exact, values))


def _exact(value: float) -> str:
    return f"{value + 0.0:.{_MOST_DIGITS}g}"


def _exact_share(share: float) -> str:
    return f"{Decimal(share).scaleb(2).normalize()} %" if 0 < share < 1 else percent(share)


def _told_apart(values: Sequence[float], texts: Sequence[str]) -> bool:
    return len(set(texts)) == len(set(values))
