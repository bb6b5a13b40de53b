"""Draw small charts beside text: a line without axes, a value with its interval beside a threshold."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from driftline.charts.axes import nice_ticks
from driftline.charts.svg import coordinate, element, finite
from driftline.text.numbers import exact, number, numbers

SPARK_WIDTH, SPARK_HEIGHT = 120.0, 28.0
_SPARK_EDGE = 3.0


def sparkline(
    values: Sequence[float | None], *, marked: Sequence[bool], level: float | None, label: str, from_zero: bool = True
) -> Markup:
    """Draw evenly spaced values, marked ones as dots, and a level; empty for no values.

    The scale begins at 0 unless it is told otherwise: then it has the values and the level alone.
    """
    numbers = [finite(value) for value in values]
    known = [value for value in numbers if value is not None]
    if not known:
        return Markup("")
    line = finite(level)
    low = min([*([0.0] if from_zero else []), *known, *([] if line is None else [line])])
    high = max([*known, *([] if line is None else [line])])
    height = high - low or 1.0
    step = (SPARK_WIDTH - 2 * _SPARK_EDGE) / max(len(numbers) - 1, 1)

    def place(index: int, value: float) -> tuple[float, float]:
        x = _SPARK_EDGE + step * index if len(numbers) > 1 else SPARK_WIDTH / 2
        return x, _SPARK_EDGE + (SPARK_HEIGHT - 2 * _SPARK_EDGE) * (1 - (value - low) / height)

    path, pen = [], "M"
    for index, value in enumerate(numbers):
        if value is None:
            pen = "M"
            continue
        x, y = place(index, value)
        path.append(f"{pen}{coordinate(x)} {coordinate(y)}")
        pen = "L"
    parts = [element("path", class_="line", d="".join(path))]
    if line is not None:
        y = place(0, line)[1]
        parts.insert(0, element("line", class_="threshold", x1=0.0, x2=SPARK_WIDTH, y1=y, y2=y))
    newest = max(index for index, value in enumerate(numbers) if value is not None)
    for index, (value, mark) in enumerate(zip(numbers, marked, strict=True)):
        if value is not None and (mark or index == newest):
            x, y = place(index, value)
            parts.append(element("circle", class_="breach" if mark else "value", cx=x, cy=y, r=2.2))
    return _small("spark", parts, label)


def interval_bar(
    value: float | None,
    low: float | None,
    high: float | None,
    threshold: float,
    *,
    bounds: tuple[float | None, float | None],
    label: str,
    marker: str = "threshold",
) -> Markup:
    """Draw one value with its interval beside a threshold, on a scale with two ends; empty without a value.

    ``marker`` says what it is beside, where that is no threshold.
    """
    point, level = finite(value), finite(threshold)
    if point is None or level is None:
        return Markup("")
    ends = [end for end in (finite(low), finite(high)) if end is not None]
    ticks = nice_ticks(min([point, level, *ends]), max([point, level, *ends]))
    left, right = ticks[0], ticks[-1]
    if bounds[0] is not None and bounds[1] is not None:
        left, right = min(bounds[0], left), max(bounds[1], right)

    def across(number: float) -> str:
        return f"{coordinate(max(0.0, min(100.0, 100 * (number - left) / (right - left))))}%"

    said = numbers(left, right)
    parts = [element("line", class_="grid", x1="0%", x2="100%", y1=22.0, y2=22.0)]
    if len(ends) == 2:
        parts.append(element("line", class_="interval", x1=across(ends[0]), x2=across(ends[1]), y1=22.0, y2=22.0))
    parts += [
        element("line", class_="threshold", x1=across(level), x2=across(level), y1=12.0, y2=32.0),
        element("circle", class_="value", cx=across(point), cy=22.0, r=5.0),
        element("text", said[0], class_="tick", x="0%", y=44.0),
        element("text", said[1], class_="tick", x="100%", y=44.0, text_anchor="end"),
        element(
            "text",
            f"{marker} {exact(level) if marker == 'threshold' else number(level)}",
            class_="threshold-label",
            x=across(level),
            y=8.0,
            text_anchor="end" if level > (left + right) / 2 else "start",
        ),
    ]
    return element(
        "svg",
        element("title", label),
        *parts,
        class_="bar",
        width="100%",
        height=48.0,
        role="img",
        aria_label=label,
    )


def shift_bar(parts: Sequence[tuple[str, float]], most: float, *, label: str) -> Markup:
    """Draw what some named parts add to a change, one below the other, to the left or the right of 0.

    ``parts`` are (class, amount); the scale reaches ``most`` to both sides. Empty where nothing is added.
    """
    known = [(kind, found) for kind, amount in parts if (found := finite(amount)) is not None]
    scale = finite(most)
    if scale is None or scale <= 0 or not known:
        return Markup("")
    middle, height = SPARK_WIDTH / 2, SPARK_HEIGHT / len(known)
    drawn = [element("line", class_="grid", x1=middle, x2=middle, y1=0.0, y2=SPARK_HEIGHT)]
    for at, (kind, amount) in enumerate(known):
        width = min(abs(amount) / scale, 1.0) * (middle - 1)
        left = middle - width if amount < 0 else middle
        drawn.append(element("rect", class_=kind, x=left, y=at * height + 2, width=width, height=height - 4))
    return _small("shift", drawn, label)


def _small(kind: str, parts: Sequence[Markup], label: str) -> Markup:
    """Return a picture of the size of a line of text, with what it shows in words."""
    return element(
        "svg",
        element("title", label),
        *parts,
        class_=kind,
        viewBox=f"0 0 {SPARK_WIDTH:g} {SPARK_HEIGHT:g}",
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
        role="img",
        aria_label=label,
    )
