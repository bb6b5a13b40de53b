"""The page of a model over a span of windows: what was known then, versions, promotions, the heat map."""

from __future__ import annotations

import gzip
import math

import pytest
from msgspec.structs import replace

from driftline.events import Slice
from driftline.monitoring.summary import DriftView, MeasureView
from driftline.store.retraining import StepRow
from driftline.views.lines import VersionLine, VersionWindow
from driftline.views.values import WindowView
from driftline.web.ui.asked import MOST_WINDOWS
from driftline.web.ui.heat import MOST_ROWS
from tests.web.ui.fabricate import INCIDENT, MODEL, NOW, Fake, _request, drift, fake, firing, month, window_view
from tests.web.ui.test_pages import PAGE, Elements, client, page, plain

APRIL = "2013-04-01T07:00:00+00:00"


def starts(seen: Elements) -> list[str]:
    return [one["data-window-start"] for one in seen.having("data-window-start")]


def of_class(seen: Elements, name: str) -> list[dict[str, str]]:
    return [attributes for _, attributes in seen.found if name in attributes.get("class", "").split()]


# ---- the span -------------------------------------------------------------------------------------------------------


def test_a_span_has_its_windows_and_no_others() -> None:
    seen = page(firing(), f"{PAGE}?start=2013-04-01&end=2013-07-01")
    assert starts(seen) == [month(at).start.isoformat() for at in (5, 4, 3)]
    words = plain(seen.words)
    assert "Apr to Jun 2013, 3 windows" in words and "older windows are not shown" not in words
    assert "Firing: Model accuracy below threshold!" in words  # the state is of now
    fields = {one["name"]: one["value"] for one in seen.having("name", "value")}
    assert fields == {"start": "2013-04-01", "end": "2013-07-01"}


def test_the_last_windows_and_all_of_them_are_a_link_away() -> None:
    seen = page(firing(), f"{PAGE}?windows=30")
    assert len(starts(seen)) == 30
    assert {"?", "?windows=30", "?windows=all"} <= {one["href"] for one in seen.having("href")}
    [chosen, known] = [one for one in seen.having("href", "aria-current") if one["href"].startswith("?")]
    assert chosen["href"] == known["href"] == "?windows=30"


def test_the_state_is_that_of_the_newest_judged_window_whatever_is_shown() -> None:
    views = fake([window_view(0, 0.8), *(window_view(at, 0.8, stage="waiting for labels") for at in range(1, 8))])
    for query in ("", "?start=2013-05-01", "?windows=2", "?known=then"):
        words = plain(page(views, f"{PAGE}{query}").words)
        assert "All well" in words and "No window judged yet" not in words


def test_a_span_without_windows_says_so() -> None:
    seen = page(firing(), f"{PAGE}?start=2030-01-01")
    assert starts(seen) == [] and "No window begins in this span" in seen.words
    assert {one["name"]: one["value"] for one in seen.having("name", "value")}["start"] == "2030-01-01"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("start=<b>", 400, "start '<b>' came; allowed is a day or a time"),
        ("start=2013-05-01&end=2013-04-01", 400, "a span ends after it begins"),
        ("windows=1e9", 400, "allowed are 1 to 400, and all"),
        ("known=later", 400, "allowed are then and now"),
    ],
)
def test_what_cannot_be_shown_is_a_page_that_says_why(query: str, status: int, words: str) -> None:
    answer = client(firing()).get(f"{PAGE}?{query}")
    assert answer.status_code == status and answer.headers["content-type"].startswith("text/html")
    seen = Elements(answer.text)
    assert words in plain(seen.words) and "<b>" not in answer.text
    assert PAGE in {one["href"] for one in seen.having("href")}
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_at_most_so_many_windows_of_a_span_are_shown() -> None:
    views = fake([window_view(at, 0.8) for at in range(MOST_WINDOWS + 5)])
    seen = page(views, f"{PAGE}?start=2013-01-01")
    assert len(starts(seen)) == MOST_WINDOWS and "the newest of it" in seen.words


def test_an_hour_is_a_field_of_dates_and_times() -> None:
    views = firing()
    views.configs[MODEL] = replace_window(views, "1h")
    fields = {one["name"]: one for one in page(views, f"{PAGE}?start={APRIL[:19]}Z").having("name", "value")}
    assert fields["start"]["type"] == "datetime-local" and fields["start"]["value"] == "2013-04-01T00:00"


def replace_window(views: Fake, length: str) -> object:
    from dataclasses import replace as changed

    config = views.configs[MODEL]
    return changed(config, window=type(config.window)(length, config.window.timezone))


def test_the_documentation_of_a_model_is_linked_from_it_and_from_its_alerts() -> None:
    views, address = firing(), "https://wiki.example.com/a?b=1&c=2"
    assert not page(views).having("id", "rel")
    views.shown[MODEL] = replace(views.shown[MODEL], docs=address)
    views.of_alerts[MODEL] = [replace(one, docs=address) for one in views.of_alerts[MODEL]]
    for path in (PAGE, f"/alerts/{views.alerts()[0].id}"):
        [link] = [one for one in page(views, path).having("id", "href") if one["id"] == "docs"]
        assert (link["href"], link["rel"]) == (address, "noreferrer")


# ---- as known then --------------------------------------------------------------------------------------------------


def test_what_was_known_then_is_one_click_away() -> None:
    now, then = window_view(3, 0.8), window_view(3, 0.3)
    views = fake([window_view(2, 0.8), now])
    only = {"accuracy": then.summary.performance["accuracy"]}
    views.of_windows_then[MODEL] = [
        window_view(2, 0.8),
        WindowView(replace(then.summary, performance=only), then.verdicts),
    ]
    seen = page(views)
    assert "?known=then" in {one["href"] for one in seen.having("href")}
    assert _value(seen) == 0.8
    known = page(views, f"{PAGE}?known=then")
    assert _value(known) == 0.3 and "as known when each was judged first" in plain(known.words)
    assert {one["data-state"] for one in known.having("data-rule", "data-state")} == {"ok", "breach"}
    assert {"name": "known", "type": "hidden", "value": "then"} in known.having("name", "value")
    assert not known.having("data-feature")  # distances are of now


def _value(seen: Elements) -> float:
    [first, *_] = [one for one in seen.having("data-measure", "data-n") if one["data-measure"] == "accuracy"]
    return float(first["data-value"])


# ---- beside the line of all -----------------------------------------------------------------------------------------


def _line(version: str, value: float) -> VersionLine:
    shown = {"accuracy": MeasureView(value, None, None, 30)}
    return VersionLine(version, [VersionWindow(month(at).start, month(at).end, "judged", shown) for at in range(3)])


def test_each_version_has_a_line_and_promotions_are_marked() -> None:
    views = fake([window_view(at, 0.8) for at in range(3)])
    views.shown[MODEL] = replace(views.shown[MODEL], versions=["1.0", "2.0 <b>"])
    views.of_versions[MODEL] = [_line("1.0", 0.7), _line("2.0 <b>", 0.9)]
    views.of_references[MODEL] = {"accuracy": 0.85, "mae": 3.0}
    back = _request("r2", "rolled back", "2.0 <b>", "it was worse", b"null")
    steps = [*back.steps, StepRow(NOW, "rolled back", "ann", "it was worse")]
    views.of_requests[MODEL] = [
        replace(back, live_from=month(1).start, champion="1.0", steps=steps),
        _request("r1", "failed", "", "no rows", b"null"),
    ]
    seen = page(views)
    assert [one["class"] for one in of_class(seen, "other")].count(
        "line other other-1"
    ) == 2  # on the chart, in its key
    assert "version 2.0 <b>" in seen.words and "reference 0.85" in seen.words
    told = [one["aria-label"] for one in of_class(seen, "event")]
    assert told[0] == "2.0 <b> was promoted in place of 1.0, 1 Feb 2013, 00:00 PST"
    assert told[1].startswith("2.0 <b> was rolled back, 1 Apr 2013")  # events are replayed: where its last window ends
    assert [one["data-champion"] for one in seen.having("data-champion")] == ["1.0"]
    assert "<option>2.0 &lt;b&gt;</option>" in client(views).get(PAGE).text


def test_a_slice_has_no_lines_of_versions() -> None:
    views = fake([window_view(at, 0.8) for at in range(3)])
    views.shown[MODEL] = replace(views.shown[MODEL], versions=["1.0", "2.0"])
    views.of_versions[MODEL] = [_line("1.0", 0.7), _line("2.0", 0.9)]
    views.slice = lambda model, **asked: Slice("2.0")  # type: ignore[method-assign]
    assert not of_class(page(views, f"{PAGE}?version=2.0"), "other")


def test_volume_and_latency_have_charts() -> None:
    windows = [window_view(at, 0.8) for at in range(3)]
    seen = page(fake(windows))
    assert "chart-predictions" in {one["id"] for one in seen.having("id")} and "Latency" not in seen.words
    latency = MeasureView(0.12, 0.1, 0.2, 300)
    windows[1] = replace(windows[1], summary=replace(windows[1].summary, latency=latency))
    labels = [one["aria-label"] for one in page(fake(windows)).having("aria-label", "tabindex")]
    assert any("latency_p95 0.12 · 95 % interval 0.1 to 0.2 · n = 300" in one for one in labels)
    assert any("latency_p95: no value, no prediction came with a latency" in one for one in labels)


# ---- the heat map ---------------------------------------------------------------------------------------------------


def wide(features: int, windows: int, drifted: int) -> Fake:
    """Windows of so many features, of which the first ones drifted in every window."""
    views = [window_view(at, INCIDENT[at % 36], features=()) for at in range(windows)]
    for at, one in enumerate(views):
        for feature in range(features):
            changes = (f"median {feature} → {at}.25",) if feature < drifted else ()
            one.summary.drift[f"feature_{feature:03}"] = drift(0.2 + 0.001 * feature, 0.2, "wasserstein", changes)
    return fake(views)


def rows(seen: Elements) -> list[str]:
    return [one["data-feature"] for one in seen.having("data-feature")]


def test_the_worst_feature_is_first_and_a_cell_leads_to_it() -> None:
    seen = page(firing())
    assert rows(seen) == ["temp_min"]  # others drifted in no window
    assert "1 of 4 features drifted in at least one of 36 windows" in plain(seen.words)
    cells = [one for one in of_class(seen, "hit") if "href" in one]
    assert cells[0]["href"] == f"{PAGE}/features/temp_min?window=2013-01-01T08:00:00Z" and len(cells) == 3
    assert "temp_min · Jan 2013 · wasserstein 0.31, threshold 0.2 · median 7.2 → 11.1" in cells[0]["aria-label"]
    assert [one["tabindex"] for one in cells] == ["-1", "-1", "0"]
    links = {one["href"] for one in seen.having("href")}
    assert {f"{PAGE}/features/{name}" for name in ("temp_min", "wind", "precipitation", "temp_max")} <= links


def test_only_the_worst_are_drawn_unless_all_are_asked_for() -> None:
    views = wide(MOST_ROWS + 30, 3, MOST_ROWS + 5)
    seen = page(views)
    assert len(rows(seen)) == MOST_ROWS and rows(seen)[0] == f"feature_{MOST_ROWS + 4:03}"
    assert "30 features that drifted less, or not" in plain(seen.words)
    assert "?features=all" in {one["href"].partition("#")[0] for one in seen.having("href")}
    assert len(rows(page(views, f"{PAGE}?features=all"))) == MOST_ROWS + 30


def test_a_feature_that_came_late_or_was_not_judged_has_its_cells() -> None:
    views = [window_view(at, 0.8, features=("old",)) for at in range(3)]
    gone = DriftView("", None, None, True, None, "is gone", ("is gone",), 0.0, None)
    views[2].summary.drift.update(old=gone, new=replace(gone, drifted=False, changes=(), reason="is new"))
    seen = page(fake(views))
    assert rows(seen) == ["old"]
    assert "old · Mar 2013 · drifted · is gone" in [one["aria-label"] for one in of_class(seen, "hit")]
    assert "none" in {one.get("class") for one in of_class(page(fake(views), f"{PAGE}?features=all"), "none")}


def test_a_hundred_features_of_many_windows_are_a_small_page() -> None:
    views = wide(100, 120, 100)
    for query in ("", "?features=all"):
        body = client(views).get(f"{PAGE}{query}").content
        assert len(gzip.compress(body, 6)) < 300_000


def test_a_hostile_feature_is_text_and_leads_to_its_own_page() -> None:
    bad = "../<script>alert(1)</script>?#'\""
    views = fake([window_view(at, 0.8, features=(bad,)) for at in range(2)])
    views.of_windows[MODEL][0].summary.drift[bad] = drift(0.5, 0.2, "js", (bad,))
    seen = page(views)
    assert rows(seen) == [bad] and "<script>alert" not in client(views).get(PAGE).text
    [cell] = [one for one in of_class(seen, "hit") if "href" in one]
    assert cell["href"].startswith(f"{PAGE}/features/..%2F%3Cscript%3E") and cell["href"].count("?") == 1


def test_values_that_cannot_be_drawn_do_not_stop_the_page() -> None:
    views = fake([window_view(at, 0.8) for at in range(3)])
    views.of_references[MODEL] = {"accuracy": math.inf}
    views.of_versions[MODEL] = [VersionLine("1", [])]
    views.shown[MODEL] = replace(views.shown[MODEL], versions=["1", "2"])
    text = client(views).get(PAGE).text
    assert "nan%" not in text and 'y1="inf' not in text
