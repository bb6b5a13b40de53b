"""Draw two distributions of one column over each other: the one before as filled bars, the one now as an outline."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from driftline.charts import shapes
from driftline.charts.svg import element

WIDTH, HEIGHT = 600.0, 150.0
"""The units of the drawing, which is stretched to the width of its box."""

ROW = 20.0
"""The height of a category with its two bars."""


def over_numbers(
    before: Sequence[float], now: Sequence[float], titles: Sequence[str], ends: tuple[str, str], *, label: str
) -> Markup:
    """Draw the shares, 0 to 1, of the bars of an axis of numbers, as many on both sides; empty for none.

    ``titles`` tell each bar, ``ends`` are written at the ends of the axis.
    """
    if not titles:
        return Markup("")
    tallest, step = max(*before, *now, 1e-9), 100 / len(titles)
    inner = element(
        "svg",
        element("path", class_="b", d=shapes.bars(before, tallest, WIDTH, HEIGHT)),
        element("path", class_="n", d=shapes.steps(now, tallest, WIDTH, HEIGHT), vector_effect="non-scaling-stroke"),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        width="100%",
        height=HEIGHT,
        aria_hidden="true",
    )
    areas = [
        element(
            "rect",
            element("title", title),
            class_="bin",
            x=f"{at * step:.3f}%",
            width=f"{step:.3f}%",
            y=0.0,
            height=HEIGHT,
        )
        for at, title in enumerate(titles)
    ]
    return element(
        "svg",
        inner,
        element("line", class_="grid", x1="0%", x2="100%", y1=HEIGHT, y2=HEIGHT),
        *areas,
        element("text", ends[0], class_="tick", x="0%", y=HEIGHT + 18),
        element("text", ends[1], class_="tick", x="100%", y=HEIGHT + 18, text_anchor="end"),
        class_="distributions",
        width="100%",
        height=HEIGHT + 24,
        role="img",
        aria_label=label,
    )


def over_categories(before: float, now: float, most: float, *, label: str) -> Markup:
    """Draw the two shares, 0 to 1, of one category as bars below each other; ``most`` is the longest of all."""
    sides = [f"{max(share, 0.0) / max(most, 1e-9) * 100:.2f}%" for share in (before, now)]
    return element(
        "svg",
        element("title", label),
        element("rect", class_="b", x=0.0, y=2.0, height=ROW / 2 - 3, width=sides[0]),
        element("rect", class_="n", x=0.0, y=ROW / 2 + 1, height=ROW / 2 - 3, width=sides[1]),
        class_="distributions",
        width="100%",
        height=ROW,
        role="img",
        aria_label=label,
    )
