"""The page of a feature draws any column, and says what it cannot draw."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from msgspec.structs import replace

from driftline.profiles import CategoricalColumn, Column, CompositeColumn, NumericColumn
from driftline.sketches import Grid
from driftline.statistics.distances import DISTANCES
from driftline.statistics.drift import compare_columns
from driftline.views.features import FeatureView, FeatureWindow, OfVersion, Side
from driftline.web.ui.feature import _DISTANCES
from tests.web.ui.fabricate import MODEL, Fake, drift, healthy, month
from tests.web.ui.test_pages import Elements, client, page, plain

BAD = "<script>alert(1)</script>{{ 7 * 7 }}"


class WithFeature(Fake):
    """One model, with a feature of these two columns."""

    def __init__(self, before: Column | None, now: Column | None, name: str = "sky") -> None:
        made = healthy()
        super().__init__(made.shown, made.configs, made.of_windows, made.of_alerts, made.of_requests)
        sides = [{} if one is None else {name: one} for one in (before, now)]
        found = compare_columns(*sides).get(name)  # type: ignore[arg-type]
        view = replace(drift(0.3, 0.1, "js", (f"{BAD} 1 % → 9 %",), reason=BAD), missing_current=0.25)
        history = tuple(
            FeatureWindow(month(at).start, month(at).end, "judged" if at < 2 else "open", 30, {name: view})
            for at in range(3)
        )
        self.made = FeatureView(
            name,
            "categorical",
            history,
            Side(None, before),
            Side(month(1), now),
            found,
            () if found is None else (OfVersion("", 10, found), OfVersion(BAD, 20, found)),
        )

    def feature(
        self,
        model: str,
        feature: str,
        /,
        *,
        window: datetime | None = None,
        against: datetime | None = None,
        segment: str | None = None,
    ) -> FeatureView:
        """As `Views.feature`."""
        return self.made


def with_unseen(views: WithFeature, *shares: float | None) -> WithFeature:
    """Give the windows these shares of rows that the reference has none like."""
    history = views.made.history
    views.made = dataclasses.replace(
        views.made,
        history=tuple(
            replace(one, drift={"sky": replace(one.drift["sky"], unseen=share)})
            for one, share in zip(history, shares, strict=True)
        ),
    )
    return views


def test_unseen_categories_are_drawn_over_time_where_windows_know_them() -> None:
    made = WithFeature(categories("a", "b"), categories("a", "c"))
    assert "Unseen categories" not in shown(made).words
    seen = shown(with_unseen(made, None, 0.005, 0.5))
    words = plain(seen.words)
    assert "Unseen categories" in words and "Newest 50 %, at most 50 % in categories that the reference" in words
    assert "threshold 1.0 %" in words
    labels = [one["aria-label"] for one in seen.having("aria-label", "tabindex")]
    drawn = [one for one in labels if "in categories that" in one]
    assert len(drawn) == 2 and "0.5 % in categories that the reference did not have" in drawn[0]


def test_numbers_outside_of_the_range_are_drawn_without_a_threshold() -> None:
    made = with_unseen(WithFeature(categories("a"), categories("a")), 0.0, 0.1, 0.2)
    made.made = dataclasses.replace(made.made, kind="numeric")
    words = plain(shown(made).words)
    assert "Outside the reference's range" in words and "threshold 1.0 %" not in words


def shown(views: WithFeature, name: str = "sky") -> Elements:
    return page(views, f"/models/{MODEL}/features/{quote(name, safe='')}")


def categories(*names: str) -> CategoricalColumn:
    return CategoricalColumn.of(pl.Series([*names] * 40))


def test_categories_have_a_bar_for_each_side() -> None:
    views = WithFeature(categories("sun", "sun", "rain", "fog"), categories("sun", "rain", "rain", BAD))
    seen = shown(views)
    drawn = [one["aria-label"] for one in seen.having("aria-label", "role") if "%" in one["aria-label"]]
    assert {"sun: 50 % → 25 %", "rain: 25 % → 50 %", "fog: 25 % → 0 %", f"{BAD}: 0 % → 25 %"} <= set(drawn)
    assert "rows of categories that did not come before" in plain(seen.words)
    assert [one["data-version"] for one in seen.having("data-version")] == ["no version", BAD]
    assert "<script>alert" not in client(views).get(f"/models/{MODEL}/features/sky").text


def test_the_distance_and_the_missing_values_are_drawn_over_time() -> None:
    seen = shown(WithFeature(categories("sun", "rain"), categories("sun", "rain")))
    labels = [one["aria-label"] for one in seen.having("aria-label", "tabindex")]
    assert "Jan 2013 · js 0.3, threshold 0.1 · p < 0.001 · n = 30 · drifted" in labels
    assert "Feb 2013 · missing 25 %" in labels
    assert "Drifted in 3 of 3 windows" in plain(seen.words) and "reference 0 %" in plain(seen.words)


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (None, categories("a", "b"), "is not in the reference"),
        (categories("a", "b"), None, "is gone"),
        (categories("a", "b"), NumericColumn.of(pl.Series([1.0] * 40)), "changed its kind"),
        (NumericColumn.of(pl.Series([], dtype=pl.Float64)), NumericColumn(), "0 rows"),
        (CategoricalColumn(), CategoricalColumn(), "0 rows"),
        (NumericColumn.of(pl.Series([1e308, -1e308] * 40)), NumericColumn.of(pl.Series([1e308] * 40)), ""),
        (None, None, "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_said(before: Column | None, now: Column | None, words: str) -> None:
    views = WithFeature(before, now)
    views.made = _alone(views.made)
    seen = shown(views)
    assert words in plain(seen.words) and "nothing to draw" in plain(seen.words)
    assert "nan" not in {one.lower() for one in plain(seen.words).split()}


def _alone(made: FeatureView) -> FeatureView:
    """Without the verdict of the window, so that the comparison of the two alone is told."""
    from dataclasses import replace as changed

    return changed(made, history=())


def test_numbers_and_parts_are_drawn_as_in_a_check() -> None:
    numbers = [NumericColumn.of(pl.Series([float(at % 9 + shift) for at in range(90)])) for shift in (0, 3)]
    seen = shown(WithFeature(*numbers))
    assert len([one for _, one in seen.found if one.get("class") == "bin"]) == 24
    hours = [
        CompositeColumn("datetime", 40, 0, {"hour of day": categories(*(f"{hour + at:02}" for at in range(8)))})
        for hour in (0, 9)
    ]
    text = client(WithFeature(*hours)).get(f"/models/{MODEL}/features/sky").text
    assert text.index("<title>00: ") < text.index("<title>09: ") < text.index("<title>16: ")


def test_no_quantile_lies_beyond_what_came_and_each_distance_is_said_in_words() -> None:
    """A quantile is known to within a cell, which here reaches below the smallest value, 0."""
    wide = NumericColumn.of(pl.Series([0.0] * 40 + [float(at) for at in range(60)]), Grid(20.0, 30.0))
    seen = shown(WithFeature(wide, wide))
    words = "".join(seen.words.split())
    assert "smallest00largest59591%quantile0025%quantile" in words
    assert {one["data-distance"] for one in seen.having("data-distance")} >= {*DISTANCES}
    assert all("".join(name.split()) in words for name in _DISTANCES.values()) and _DISTANCES.keys() == DISTANCES.keys()


def test_a_feature_of_a_hostile_name_has_its_address() -> None:
    name = f"a/b?{BAD}"
    views = WithFeature(categories("a"), categories("a"), name)
    seen = shown(views, name)
    assert [one["data-feature"] for one in seen.having("data-feature")] == [name]
    [form] = [attributes for tag, attributes in seen.found if tag == "form"]
    assert form["action"] == f"/models/{MODEL}/features/{quote(name, safe='')}"


def test_another_window_than_those_of_the_history_has_no_verdict_of_its_own() -> None:
    views = WithFeature(categories("a", "b"), categories("a", "b"))
    from dataclasses import replace as changed

    old: Any = Side(type(month(0))(month(0).start - timedelta(days=900), month(0).start), views.made.now.column)  # type: ignore[union-attr]
    views.made = changed(views.made, now=old)
    assert "this column alone" in plain(shown(views).words)
