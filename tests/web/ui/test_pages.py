"""The page says what is known, in words, with every digit, and lets no text become markup."""

from __future__ import annotations

import html.parser
import math
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from starlette.testclient import TestClient

from driftline.alerts.message import Acknowledgement
from driftline.charts.lines import LINE_STYLES
from driftline.rules import Rule
from driftline.text import acts
from driftline.text.numbers import beside
from driftline.views.reader import Views
from driftline.web.ui import pages
from driftline.web.ui.asked import WINDOWS_SHOWN
from tests.web.ui.fabricate import (
    MODEL,
    RULE,
    Fake,
    after_correction,
    alerts_over,
    challenged,
    config,
    fake,
    firing,
    healthy,
    hostile,
    window_view,
)

PAGE = f"/models/{MODEL}"

_View = TypeVar("_View", bound=msgspec.Struct)


def client(views: Fake, root_path: str = "") -> TestClient:
    app = FastAPI()
    app.include_router(pages(views))
    return TestClient(app, root_path=root_path)


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words += data

    def having(self, *names: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.found if all(name in attributes for name in names)]


def page(views: Fake, path: str = PAGE) -> Elements:
    answer = client(views).get(path)
    assert answer.status_code == 200
    return Elements(answer.text)


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_service_views_are_what_the_page_reads() -> None:
    def wired(views: Views) -> object:  # mypy holds the protocol to the class
        return pages(views)

    assert callable(wired)


# ---- what it says ---------------------------------------------------------------------------------------------------


def test_a_firing_model_says_so_first() -> None:
    seen = page(firing())
    words = plain(seen.words)
    assert "Firing: Model accuracy below threshold!" in words
    assert "⚠️ Alert: Model accuracy below threshold!" in words
    assert words.index("⚠️ Alert") < words.index("Performance over time") < words.index("Past alerts")
    assert "All well" not in words
    for part in ("Inputs stable: precipitation, temp_max, temp_min, wind.", "accuracy < 0.75", "America/Los_Angeles"):
        assert part in words
    assert re.search(r"95 % interval 0\.\d+ to 0\.\d+, upper bound 0\.\d+ \(95 %\), n = 30", words)
    assert "fired 23 Nov 2026, 02:21 PST" in words


def test_who_has_taken_an_alert_on_and_why_nobody_is_told_stands_with_it() -> None:
    made = firing()
    [row] = [one for one in made.alerts(MODEL) if one.status == "firing"]
    by = Acknowledgement("Ann <b>", datetime(2026, 11, 23, 11, 0, tzinfo=UTC), "labels are being mended")
    known = msgspec.structs.replace(
        row, muted="silenced by bob until 2026-11-24 10:00 UTC: new version", acknowledged=by
    )
    words = plain(page(fake([window_view(3, 0.3)], [known])).words)
    assert "Muted: silenced by bob until 2026-11-24 10:00 UTC: new version." in words
    assert "Acknowledged by Ann <b>, 23 Nov 2026, 03:00 PST: labels are being mended" in words
    untouched = page(made)
    assert not [*untouched.having("data-muted"), *untouched.having("data-acknowledged")]


def test_the_most_urgent_alert_stands_first_as_in_the_list_of_models() -> None:
    [row] = [one for one in firing().alerts(MODEL) if one.status == "firing"]
    severities = ("info", "warning", "page", "warning")
    rows = [msgspec.structs.replace(row, id=f"a{at}", severity=one) for at, one in enumerate(severities)]
    seen = page(fake([window_view(3, 0.3)], rows))
    assert [one["data-alert"] for one in seen.having("data-alert", "aria-labelledby")] == ["a2", "a1", "a3", "a0"]


def test_an_alert_that_there_is_not_is_told_so_whatever_it_is_called() -> None:
    answer = client(firing()).get("/alerts/%3Cb%3E")
    assert answer.status_code == 404
    assert "There is no alert <q>&lt;b&gt;</q>" in answer.text


def test_a_model_that_nothing_arrives_of_is_told_in_lengths_of_time() -> None:
    made = firing()
    [row] = [one for one in made.alerts(MODEL) if one.status == "firing"]
    stale = msgspec.structs.replace(
        row, rule="monitor-stale", measure="hours_since_last_event", value=49.0, threshold=48.0, low=None, high=None
    )
    words = plain(page(fake([window_view(3, 0.3)], [stale])).words)
    assert "2 days 1 hour without an event" in words
    assert "no event for more than 2 days" in words


def test_challengers_stand_with_their_gates_and_what_to_do() -> None:
    seen = page(challenged())
    words = plain(seen.words)
    assert [one["data-stage"] for one in seen.having("data-request")] == ["waiting", "failed"]
    assert "driftline challengers approve r2 --reason …" in words
    assert "waits for approval. Approve or refuse it" in words.partition("Performance over time")[0]
    assert "✓ better: On 600 rows its accuracy is better" in words
    assert "<b>train.py</b> raised KeyError" in words and "There was no contest." in words
    links = [one["href"] for one in seen.having("href")]
    assert "/api/v1/retraining/r2/report" in links and "/api/v1/retraining/r1/report" not in links
    assert not page(firing()).having("data-request")


def test_a_past_alert_says_what_changed() -> None:
    assert "Labels changed: rain 52 % → 0 % (gone), sun 32 % → 63 %, fog 1.1 % → 33 %." in plain(page(firing()).words)


def test_the_table_has_every_digit_of_every_window() -> None:
    views = firing()
    seen = page(views)
    rows = seen.having("data-window-start")
    windows = views.of_windows[MODEL]
    assert [row["data-window-start"] for row in rows] == [one.summary.start.isoformat() for one in windows[::-1]]
    assert {row["data-stage"] for row in rows} == {"judged", "waiting for labels", "open"}
    for measure in ("accuracy", "precision", "recall", "f1", "log_loss"):
        cells = [one for one in seen.having("data-measure", "data-n") if one["data-measure"] == measure]
        assert len(cells) == len(windows)
        for cell, one in zip(cells, windows[::-1], strict=True):
            view = one.summary.performance.get(measure)
            if view is None or view.value is None:
                assert cell["data-value"] == cell["data-low"] == ""
            else:
                assert (float(cell["data-value"]), float(cell["data-low"]), float(cell["data-high"])) == (
                    view.value,
                    view.low,
                    view.high,
                )
                assert int(cell["data-n"]) == view.n


def test_each_verdict_stands_with_its_reason() -> None:
    views = firing()
    seen = page(views)
    states = [one["data-state"] for one in seen.having("data-rule", "data-state")]
    assert sorted(set(states)) == ["breach", "nodata", "ok"]
    for one in views.of_windows[MODEL]:
        for verdict in one.verdicts:
            assert verdict.reason in seen.words


def test_a_window_without_a_value_gives_its_reason_on_the_chart() -> None:
    labels = [one["aria-label"] for one in page(firing()).having("aria-label", "tabindex")]
    assert any("May 2014 · accuracy: no value, no labelled rows" in one for one in labels)
    assert any(
        "Apr 2013 · accuracy 0.3 · 95 % interval" in one and "n = 30" in one and "breach" in one for one in labels
    )


def test_a_corrected_alert_shows_then_and_now() -> None:
    views = after_correction()
    seen = page(views)
    words = plain(seen.words)
    assert "All well" in words and "612 corrected later" in words
    assert {one["data-status"] for one in seen.having("data-alert", "data-status")} == {"corrected"}
    first = views.of_alerts[MODEL][-1]
    assert first.value is not None and first.value_now is not None
    assert "accuracy in Apr 2013: 0.3 then, 0.776 now" in words
    assert repr(first.value_now) in {one["data-value-now"] for one in seen.having("data-value-now")}
    assert (
        sum(attributes.get("class") == "then" and "%" in attributes.get("cx", "") for _, attributes in seen.found) == 4
    )
    assert "no longer a breach" in words
    assert "⚠️ Alert" not in words


def test_drift_names_measure_value_threshold_and_words() -> None:
    seen = page(firing())
    columns = [one["data-column"] for one in seen.having("data-column")]
    assert sorted(columns[:4]) == ["precipitation", "temp_max", "temp_min", "wind"]
    assert columns[4:] == ["prediction", "label"]
    assert "threshold 0.2, p = 0.31" in plain(seen.words)
    assert {"data-value", "data-threshold"} <= seen.having("data-threshold")[0].keys()


def test_well_and_drifted_is_said() -> None:
    views = healthy()
    last = views.of_windows[MODEL][-1].summary
    last.drift["wind"] = with_values(last.drift["wind"], drifted=True)
    assert "All well Every rule holds in the newest judged window. 1 of 6 columns drifted" in plain(page(views).words)


def test_a_column_that_was_not_judged_says_why() -> None:
    views = healthy()
    last = views.of_windows[MODEL][-1].summary
    last.drift["wind"] = with_values(last.drift["wind"], value=None, reason="the current window has no rows")
    assert "not judged" in (words := plain(page(views).words)) and "the current window has no rows" in words


def with_values(view: _View, **changes: Any) -> _View:
    return type(view)(**{**{name: getattr(view, name) for name in view.__struct_fields__}, **changes})


def test_no_name_of_others_turns_the_text_around_it() -> None:
    """Overrides of the direction, control characters and line separators are shown as what they are."""
    bad = "invoice\u202efdp.exe\x1b[2J\u2028\u2066"
    seen = r"invoice\u202efdp.exe\x1b[2J\u2028\u2066"
    views = [window_view(index, 0.3 if index == 3 else 0.8, features=(bad, "wind")) for index in range(6)]
    made = fake(views, alerts_over(views), rules=(replace(RULE, name=bad), RULE))
    for path in ("/", PAGE, f"{PAGE}/rules"):
        text = client(made).get(path).text
        assert not any(acts(line) for line in text.replace("\t", " ").split("\n")), path
    text = client(made).get(PAGE).text
    assert seen in Elements(text).words
    assert f'aria-label="{seen}' in text  # in a drawing


# ---- the state in words, where little is known ----------------------------------------------------------------------


def test_no_events_yet() -> None:
    words = plain(page(fake()).words)
    assert "No events yet" in words and f"/api/v1/models/{MODEL}/predictions" in words
    assert "All well" not in words


def test_no_labels_and_no_judged_window_yet() -> None:
    words = plain(page(fake([window_view(0, None, stage="open")])).words)
    assert "No labels yet" in words and f"/api/v1/models/{MODEL}/labels" in words
    assert "curl http://testserver/api" in words and "monitor.label('ID-OF-A-PREDICTION', " in words
    assert "No window judged yet" in words and "at most 7 days" in words and "1 Feb 2013, 00:00 PST" in words
    assert "All well" not in words


def test_no_rules() -> None:
    words = plain(page(fake([window_view(0, 0.8, rules=())], rules=())).words)
    assert "No rules" in words and "All well" not in words
    assert f"models: {MODEL}: alerts: rules: - {{name: accuracy-low," in words


def test_a_breach_that_is_not_yet_an_alert_is_pending() -> None:
    rule = replace(RULE, for_windows=2)
    words = plain(page(fake([window_view(3, 0.3, rules=(rule,))], rules=(rule,))).words)
    assert "Pending: accuracy < 0.75 for 2" in words and "All well" not in words


@pytest.mark.parametrize("rules", [(RULE,), (RULE, Rule("mae-high", "mae", above=1.0))])
def test_what_was_not_judged_is_not_well(rules: tuple[Rule, ...]) -> None:
    views = [window_view(0, 0.8), window_view(1, 0.8 if len(rules) > 1 else None)]
    words = plain(page(fake(views, rules=rules)).words)
    assert "Not known" in words and "All well" not in words


def test_healthy() -> None:
    words = plain(page(healthy()).words)
    assert "All well" in words and "None. Alerts that were resolved" in words


# ---- other pages ----------------------------------------------------------------------------------------------------


def test_the_index_names_all_models() -> None:
    other = fake(name="other")
    seen = page(firing().add(other), "/")
    assert [one["data-model"] for one in seen.having("data-model")] == [MODEL, "other"]
    words = plain(seen.words)
    assert "Firing: Model accuracy below threshold!" in words and "No events yet" in words
    assert PAGE in {one["href"] for one in seen.having("href")}
    assert "No models yet" in page(Fake(), "/").words


def test_an_unknown_model_is_a_page_of_its_own() -> None:
    answer = client(healthy()).get("/models/<script>")
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/html")
    assert MODEL in answer.text and "<script>" not in answer.text.replace("<script src", "")
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_static_files_and_nothing_else() -> None:
    http = client(healthy())
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        answer = http.get(f"/static/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
    for name in ("../pages.py", "%2e%2e/pages.py", "", "nothing.css", "/etc/passwd"):
        assert http.get(f"/static/{name}").status_code == 404


def test_the_same_page_is_not_sent_twice() -> None:
    http = client(firing())
    first = http.get(PAGE)
    again = http.get(PAGE, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content
    weak = http.get(PAGE, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})  # as a proxy may have it
    assert weak.status_code == 304


def test_behind_a_prefix_links_go_through_it() -> None:
    seen = Elements(client(healthy(), root_path="/monitor").get(PAGE).text)
    links = [one.get("href") or one["src"] for one in seen.having("href") + seen.having("src")]
    assert links and all(link.startswith(("/monitor/", "#", "?")) for link in links)


def test_many_windows_show_the_newest_and_say_so() -> None:
    views = [window_view(index, 0.8) for index in range(WINDOWS_SHOWN + 60)]
    short = page(fake(views))
    rows = short.having("data-window-start")
    assert len(rows) == WINDOWS_SHOWN and rows[0]["data-window-start"] == views[-1].summary.start.isoformat()
    assert "60 older windows are not shown" in plain(short.words)
    assert len(page(fake(views), PAGE + "?windows=all").having("data-window-start")) == len(views)


# ---- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [fake, healthy, firing, after_correction, hostile])
def test_nothing_inline_and_nothing_from_elsewhere(views: type[Fake]) -> None:
    made = views()
    http = client(made)
    for path in ("/", f"/models/{quote(next(iter(made.shown)), safe='')}"):
        answer = http.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        seen = Elements(answer.text)
        for tag, attributes in seen.found:
            assert tag not in ("style", "iframe", "object", "embed", "img", "base")
            assert tag != "form" or attributes["action"].startswith("/")
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            for name in ("src", "href"):
                assert attributes.get(name, "/").startswith(("/", "#", "?"))
                assert not attributes.get(name, "/").startswith("//")
        scripts = [attributes for tag, attributes in seen.found if tag == "script"]
        names = ["page"] if path == "/" else ["page", "brush"]
        assert scripts == [{"src": f"/static/{name}.js", "defer": ""} for name in names]


def test_hostile_names_are_text() -> None:
    views = hostile()
    bad = next(iter(views.shown))
    seen = page(views, f"/models/{quote(bad, safe='')}")
    assert bad in seen.words and "{{ 7 * 7 }}" in seen.words and "49" not in seen.words.split("{{ 7 * 7 }}")[0][-5:]
    assert bad in {one["data-column"] for one in seen.having("data-column")}


def test_ids_are_unique_headings_in_order_and_drawings_named() -> None:
    for views in (firing(), after_correction()):
        seen = page(views)
        ids = [one["id"] for one in seen.having("id")]
        assert len(ids) == len(set(ids))
        levels = [int(tag[1]) for tag, _ in seen.found if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
        for tag, attributes in seen.found:
            if tag == "svg" and attributes.get("aria-hidden") != "true" and attributes.get("class") != "diamond":
                assert attributes.get("role") in ("img", "group") and attributes.get("aria-label")
            if tag == "th":
                assert attributes.get("scope") in ("row", "col")
            if tag == "details":
                assert attributes.get("id")


def test_contrast_is_enough_in_light_and_dark() -> None:
    css = client(healthy()).get("/static/page.css").text
    light, dark = css.split("@media (prefers-color-scheme: dark)", 1)
    for part in (light, dark.split("* {")[0]):
        colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})\b", part))
        for text in ("text", "quiet", "link", "page", "warning", "info", "ok", "neutral"):
            for ground in ("surface", "ground", *([f"{text}-ground"] if f"{text}-ground" in colour else [])):
                assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
        for tone in ("page", "warning", "info", "ok", "neutral"):
            assert contrast(colour["ink"], colour[tone]) >= 3, tone
            assert contrast(colour["text"], colour[f"{tone}-ground"]) >= 4.5, tone
        assert contrast(colour["series"], colour["surface"]) >= 3


def test_the_heat_map_can_be_told_apart_in_light_and_dark_without_its_hues() -> None:
    http = client(healthy())
    css, page = http.get("/static/model.css").text, http.get("/static/page.css").text
    grounds = re.findall(r"--sunken: (#[0-9a-f]{6})", page)
    themes = [re.findall(rf"--drift-{level}: (#[0-9a-f]{{6}})", css) for level in (3, 4, 5)]
    lines = re.findall(r"\.other-\d { stroke: (#[0-9a-f]{6})", page)
    assert len(grounds) == 2 and all(len(one) == 2 for one in themes) and len(lines) == LINE_STYLES
    for ground, levels in zip(grounds, zip(*themes, strict=True), strict=True):
        away = [contrast(level, ground) for level in levels]
        assert away[0] >= 3 and away[1] >= 1.3 * away[0] and away[2] >= 1.3 * away[1]
    for surface in re.findall(r"--surface: (#[0-9a-f]{3,6})", page):
        assert min(contrast(line, surface) for line in lines) >= 3


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21 (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else math.pow((part + 0.055) / 1.055, 2.4) for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_an_alert_of_a_rule_that_is_gone_is_still_shown() -> None:
    views = [window_view(index, value) for index, value in enumerate((0.8, 0.8, 0.8, 0.3))]
    made = fake(views, alerts_over(views))
    made.configs[MODEL] = config(rules=(Rule("other", "recall", below=0.1),))
    words = plain(page(made).words)
    assert "accuracy-low (no longer in the configuration)" in words


def test_two_alerts_the_worse_one_speaks() -> None:
    mild = Rule("accuracy-mild", "accuracy", below=0.7)
    views = [window_view(3, 0.3, rules=(mild, RULE))]
    made = fake(views, [*alerts_over(views, mild), *alerts_over(views)], rules=(mild, RULE))
    assert "Firing: Model accuracy below threshold! and 1 more" in plain(page(made).words)


def test_windows_of_an_hour_are_said_with_their_hours() -> None:
    made = healthy()
    summary = made.of_windows[MODEL][0].summary
    start = datetime.fromisoformat("2013-04-04T17:00:00+00:00")
    made.of_windows[MODEL][0] = type(made.of_windows[MODEL][0])(
        with_values(summary, start=start, end=start + timedelta(hours=1)),
        made.of_windows[MODEL][0].verdicts,
    )
    assert "4 Apr 2013, 10:00 to 11:00" in page(made).words


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
@example(0.74999, 0.75)
@example(0.75, 0.75004)
@example(12_345.7, 12_346.0)
def test_a_value_is_not_written_as_the_threshold_that_it_is_not(value: float, threshold: float) -> None:
    """The page writes thresholds exactly."""
    assert value == threshold or float(beside(value, threshold).replace(",", "")) != threshold
