"""The chart of docs/performance.md, drawn as SVG: time and memory of a check, by rows and by columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.contenders import COLUMNS, DRIFTLINE, EVIDENTLY, READ, SMALL
from benchmarks.results import Case, Entry, Results

COLOURS = {DRIFTLINE: "#0072b2", READ: "#666666", EVIDENTLY: "#d55e00"}
"""Of Okabe and Ito: told apart by everyone."""

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 20, 48, 44
_LEGEND = 34

Points = Sequence[tuple[float, float]]


def draw(results: Results) -> str:
    """Four panels with logarithmic axes; a contender that did not run at a size has no point there."""
    measured = results.works.get("check")
    cases = measured.cases if measured else []
    by_rows = [case for case in cases if case.columns == COLUMNS]
    by_columns = [case for case in cases if case.rows == SMALL]
    panels = [
        (title, across, _lines(chosen, along, value))
        for title, across, chosen, along, value in (
            (f"Seconds, {COLUMNS} columns", "rows of each file", by_rows, _rows, _seconds),
            (f"Peak memory in MB, {COLUMNS} columns", "rows of each file", by_rows, _rows, _megabytes),
            (f"Seconds, {SMALL:,} rows", "columns", by_columns, _columns, _seconds),
            (f"Peak memory in MB, {SMALL:,} rows", "columns", by_columns, _columns, _megabytes),
        )
    ]
    return drawing("driftline check beside a bare read and Evidently", panels, COLOURS)


def drawing(title: str, panels: Sequence[tuple[str, str, Mapping[str, Points]]], colours: Mapping[str, str]) -> str:
    """Panels two by two, each of a title, what runs across, and its lines by name; both axes are logarithmic."""
    drawn = "".join(_panel(*panel, colours, place) for place, panel in enumerate(panels))
    width, height = 2 * _WIDTH, (len(panels) + 1) // 2 * _HEIGHT + _LEGEND
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#222">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n{_legend(colours)}{drawn}</svg>\n'
    )


def _rows(case: Case) -> float:
    return case.rows


def _columns(case: Case) -> float:
    return case.columns


def _seconds(entry: Entry) -> float | None:
    return entry.wall_seconds


def _megabytes(entry: Entry) -> float | None:
    return None if entry.peak_bytes is None else entry.peak_bytes / 1e6


def _lines(
    cases: Sequence[Case], along: Callable[[Case], float], value: Callable[[Entry], float | None]
) -> dict[str, Points]:
    lines: dict[str, Points] = {}
    for name in COLOURS:
        entries = ((case, case.entry(name)) for case in cases)
        points = [(along(case), y) for case, entry in entries if entry is not None and (y := value(entry))]
        lines[name] = sorted(points)
    return lines


def _panel(title: str, across: str, lines: Mapping[str, Points], colours: Mapping[str, str], place: int) -> str:
    points = [point for line in lines.values() for point in line]
    left, top = (place % 2) * _WIDTH, (place // 2) * _HEIGHT + _LEGEND
    parts = [f'<text x="{_LEFT}" y="{_TOP - 14}" font-weight="bold">{escape(title)}</text>\n']
    if not points:
        parts.append(f'<text x="{_LEFT}" y="{_HEIGHT / 2}">not measured</text>\n')
        return f'<g transform="translate({left} {top})">\n{"".join(parts)}</g>\n'
    x = _scale([x for x, _ in points], _LEFT + 12, _WIDTH - _RIGHT - 12)
    y = _scale([0.9 * min(y for _, y in points), 1.1 * max(y for _, y in points)], _HEIGHT - _BOTTOM, _TOP)
    for tick in _ticks([y for _, y in points]):
        at = y(tick)
        parts.append(f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(tick)}</text>\n')
    parts += [
        f'<text x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{_short(tick)}</text>\n'
        for tick in sorted({x for x, _ in points})
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>\n')
    for name, line in lines.items():
        places = [f"{x(one):.1f},{y(two):.1f}" for one, two in line]
        parts.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{colours[name]}" stroke-width="2"/>\n')
        for one in places:
            across_x, down_y = one.split(",")
            parts.append(f'<circle cx="{across_x}" cy="{down_y}" r="3.5" fill="{colours[name]}"/>\n')
    return f'<g transform="translate({left} {top})">\n{"".join(parts)}</g>\n'


def _scale(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """Map positive values to pixels by their logarithm; one value alone goes to the middle."""
    low, high = math.log(min(values)), math.log(max(values))
    if high == low:
        return lambda _: (start + end) / 2
    return lambda value: start + (end - start) * (math.log(value) - low) / (high - low)


def _ticks(values: Sequence[float]) -> list[float]:
    """The numbers 1, 2 and 5 times powers of ten within the values; only the powers where there would be many."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps if 0.9 * low <= step * 10.0**power <= high]
        if len(ticks) <= 7:
            break
    return ticks


def _short(value: float) -> str:
    """A number in few signs.

    >>> [_short(one) for one in (0.2, 25, 100_000, 10_000_000)]
    ['0.2', '25', '100 k', '10 M']
    """
    for size, letter in ((1e6, " M"), (1e4, " k")):
        if value >= size:
            return f"{value / (1e6 if size == 1e6 else 1e3):g}{letter}"
    return f"{value:g}"


def _legend(colours: Mapping[str, str]) -> str:
    parts = []
    for place, (name, colour) in enumerate(colours.items()):
        x = _LEFT + place * 170
        parts.append(f'<circle cx="{x}" cy="{_LEGEND - 12}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 10}" y="{_LEGEND - 8}">{escape(name)}</text>\n')
    return "".join(parts)
