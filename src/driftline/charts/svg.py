"""Write SVG elements and coordinates."""

from __future__ import annotations

import functools
import math
import re

from markupsafe import Markup, escape

LARGEST = 1e300
"""The largest value that is drawn; the difference of two larger ones may overflow."""

_is_plain = re.compile("[^&<>\"']*").fullmatch  # most are, and to ask costs less than to escape


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Return an SVG element; attributes of None are left out, ``class_`` is class and ``_`` in names is ``-``.

    >>> element("text", "a < b", class_="tick", text_anchor="end", x=1.50004)
    Markup('<text class="tick" text-anchor="end" x="1.5">a &lt; b</text>')
    """
    parts = [f' {_name(key)}="{_attribute(value)}"' for key, value in attributes.items() if value is not None]
    inner = "".join([child if isinstance(child, Markup) else escape(child) for child in children])
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>")  # every part is escaped above


@functools.cache
def _name(key: str) -> str:
    return key if key == "viewBox" else key.rstrip("_").replace("_", "-")


def _attribute(value: str | float) -> str:
    if not isinstance(value, str):
        return coordinate(value)
    return value if _is_plain(value) else escape(value)


def coordinate(value: float) -> str:
    """Write a number with at most two decimals, without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def finite(value: float | None) -> float | None:
    """Return the value, limited to the range that can be drawn; None for None or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return max(-LARGEST, min(LARGEST, float(value)))
