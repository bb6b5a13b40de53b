"""Draw how far something was from usual in each of many windows, as one narrow strip: a row of a heat map.

A cell shows its distance twice, by colour and by height: where it drifted, it is as high as the strip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from driftline.charts.svg import element

HEIGHT = 10.0
_HEIGHTS = (2.0, 4.0, 6.5, HEIGHT, HEIGHT, HEIGHT)
_LEVELS = (0.25, 0.5)
_BEYOND = (2.0, 4.0)
DRIFTED_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One window: its distance in units of its threshold, None where there is none, and whether it drifted.

    ``label`` tells it in words; ``href`` is where a cell that drifted leads to.
    """

    ratio: float | None
    drifted: bool
    label: str
    href: str = ""

    @property
    def level(self) -> int | None:
        """How far it is, 0 to 5, from `DRIFTED_LEVEL` on where it drifted; None where nothing was measured.

        >>> [Cell(ratio, ratio > 1, "").level for ratio in (0.1, 0.3, 0.9, 1.5, 3.0, 9.0)], Cell(1.5, False, "").level
        ([0, 1, 2, 3, 4, 5], 2)
        """
        if self.drifted:
            ratio = math.inf if self.ratio is None else self.ratio  # a column that is gone has no distance
            return DRIFTED_LEVEL + sum(ratio >= bound for bound in _BEYOND)
        return None if self.ratio is None else sum(self.ratio >= bound for bound in _LEVELS)


def strip(cells: Sequence[Cell], *, label: str) -> Markup:
    """Draw cells of equal width from left to right; ``label`` describes the strip. Empty for no cells.

    Neighbours that are alike and did not drift are one piece, told by their first and last label; each cell that
    drifted leads somewhere.
    """
    if not cells:
        return Markup("")
    return element(
        "svg",
        *_pieces(cells),
        class_="strip",
        viewBox=f"0 0 {len(cells)} {HEIGHT:g}",
        preserveAspectRatio="none",
        width="100%",
        height=2 * HEIGHT,
        role="group",
        aria_label=label,
    )


def _pieces(cells: Sequence[Cell]) -> Iterator[Markup]:
    last = max((at for at, cell in enumerate(cells) if cell.drifted), default=None)
    for (level, drifted), group in groupby(enumerate(cells), key=lambda one: (one[1].level, one[1].drifted)):
        run = list(group)
        if drifted:
            for at, cell in run:
                inner = (element("title", cell.label), _rect(at, 1, level))
                index = "0" if at == last else "-1"
                yield element("a", *inner, class_="hit", href=cell.href, tabindex=index, aria_label=cell.label)
            continue
        (first, cell), (end, other) = run[0], run[-1]
        told = cell.label if first == end else f"{cell.label} – {other.label}"
        yield element("g", element("title", told), _rect(first, end - first + 1, level))


def _rect(at: int, width: int, level: int | None) -> Markup:
    height = 1.0 if level is None else _HEIGHTS[level]
    kind = "none" if level is None else f"level-{level}"
    return element("rect", class_=kind, x=float(at), y=HEIGHT - height, width=float(width), height=height)
