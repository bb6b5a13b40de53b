"""Write SVG elements and coordinates."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

LARGEST = 1e300
"""The largest value that is drawn; the difference of two larger ones may overflow."""


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Return an SVG element; attributes of None are left out, ``class_`` is class and ``_`` in names is ``-``.

    >>> element("text", "a < b", class_="tick", text_anchor="end", x=1.50004)
    Markup('<text class="tick" text-anchor="end" x="1.5">a &lt; b</text>')
    """
    parts = [
        f' {key.rstrip("_").replace("_", "-") if key != "viewBox" else key}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>")  # every part is escaped above


def _attribute(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else coordinate(value)


def coordinate(value: float) -> str:
    """Write a number with at most two decimals, without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def finite(value: float | None) -> float | None:
    """Return the value, limited to the range that can be drawn; None for None or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return max(-LARGEST, min(LARGEST, float(value)))
