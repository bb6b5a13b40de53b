"""A strip of a heat map has each window once, shows drift by height as well, and is small where nothing happens."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from driftline.charts.strip import DRIFTED_LEVEL, HEIGHT, Cell, strip

ratios = st.one_of(st.none(), st.floats(0, 1e6), st.just(math.inf))
cells = st.lists(
    st.builds(Cell, ratios, st.booleans(), st.text("ab<&", max_size=5), st.just("/f?window=1")), max_size=60
)


def drawn(made: Sequence[Cell]) -> list[ET.Element]:
    return list(ET.fromstring(strip(made, label="wind & <b>")))


def rects(root: Sequence[ET.Element]) -> list[tuple[float, float, float]]:
    found = [one for piece in root for one in piece.iter() if one.tag == "rect"]
    return [(float(one.get("x", "")), float(one.get("width", "")), float(one.get("height", ""))) for one in found]


@given(cells)
@example([Cell(None, True, "gone", "/f")])
def test_every_window_has_its_place_and_drift_is_as_high_as_the_strip(made: list[Cell]) -> None:
    if not made:
        assert strip(made, label="") == ""
        return
    places = rects(drawn(made))
    assert sum(width for _, width, _ in places) == len(made)
    at = 0.0
    for x, width, height in places:
        assert x == at and width >= 1
        at += width
        inside = made[int(x) : int(x + width)]
        assert {one.drifted for one in inside} == {height == HEIGHT}
        assert len({one.level for one in inside}) == 1


def test_cells_that_drifted_lead_somewhere_and_others_do_not() -> None:
    pieces = drawn(
        [Cell(0.1, False, "a"), Cell(0.2, False, "b"), Cell(2.5, True, "c", "/f?w=3"), Cell(None, False, "d")]
    )
    assert [one.tag for one in pieces] == ["g", "a", "g"]
    assert pieces[0].findtext("title") == "a – b" and pieces[2].findtext("title") == "d"
    assert (pieces[1].get("href"), pieces[1].get("tabindex"), pieces[1].get("aria-label")) == ("/f?w=3", "0", "c")


def test_one_cell_of_a_strip_is_reached_by_the_tab_key() -> None:
    pieces = drawn([Cell(2.0, True, str(at), "/f") for at in range(5)])
    assert [one.get("tabindex") for one in pieces] == ["-1"] * 4 + ["0"]


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_further_away_is_no_lower_level(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for drifted in (False, True):
        levels = [Cell(ratio, drifted, "").level for ratio in (low, high)]
        assert None not in levels and levels == sorted(levels, key=lambda level: level or 0)
        assert all(((level or 0) >= DRIFTED_LEVEL) == drifted for level in levels)
