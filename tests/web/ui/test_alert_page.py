"""The page of an alert says what, since when, how sure, why, who knows, and what to do; and no name becomes markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from fastapi import FastAPI
from msgspec.structs import replace
from starlette.testclient import TestClient

from driftline.alerts.message import Acknowledgement, AlertView, Event, Span
from driftline.errors import ConflictError
from driftline.events import Segment, Window
from driftline.monitoring.explanation import BaselineSpan, Explanation, Rerun, ThresholdOrigin
from driftline.monitoring.summary import MeasureView, WindowSummary
from driftline.profiles import CategoricalColumn, NumericColumn
from driftline.rules import Rule
from driftline.rules.backtest import BUDGET, BacktestFinding, BacktestWindow
from driftline.rules.findings import Findings, Moved
from driftline.views.features import FeatureView, Side
from driftline.views.story import AlertStory, NoticeView, ReceiverView, SuspicionView
from driftline.web.decode import Bodies
from driftline.web.ui import pages
from driftline.web.ui.advice import KINDS, steps_for
from driftline.web.ui.alert import CATEGORIES_DRAWN, FEATURES_SHOWN, SEGMENTS_SHOWN, STEPS_SHOWN
from tests.web.ui.fabricate import MODEL, NOW, Fake, after_correction, config, drift, fake, firing, hostile, window_view
from tests.web.ui.test_pages import Elements, client, plain


def open_alert(made: Fake) -> AlertView:
    """The alert of a fabricated model that fires."""
    [one] = [one for one in made.alerts() if one.status == "firing"]
    return one


def shown(made: Fake, id: str | None = None) -> Elements:
    """The page of one alert, by default of the one that fires."""
    answer = client(made).get(f"/alerts/{id or open_alert(made).id}")
    assert answer.status_code == 200
    return Elements(answer.text)


def words(made: Fake, id: str | None = None) -> str:
    return plain(shown(made, id).words)


def segment(value: str, accuracy: float, n: int = 20) -> WindowSummary:
    """The window of a segment."""
    view = MeasureView(accuracy, accuracy - 0.1, accuracy + 0.1, n)
    found = window_view(20, accuracy).summary
    return replace(found, drift={}, performance={"accuracy": view}, segment=Segment("season", value))


# ---- what it says ---------------------------------------------------------------------------------------------------


def test_it_says_what_since_when_how_sure_and_by_what_threshold() -> None:
    made = firing()
    one, seen = open_alert(made), shown(made)
    said = plain(seen.words)
    assert said.index("seattle-weather: Model accuracy below threshold!") < said.index("Firing since 1 Sep 2015")
    assert "times are America/Los_Angeles" in said
    [value] = [each["data-value"] for each in seen.having("data-value")]
    assert float(value) == one.value
    assert re.search(r"Not by chance: the upper bound 0\.\d+ of accuracy at 95 % confidence lies beyond", said)
    assert "It rests on 30 rows." in said
    assert "0.75, written in driftline.yaml" in said and "accuracy-low: accuracy < 0.75" in said
    assert "Judged again" not in said  # nothing is stored of it here
    assert [each["data-status"] for each in seen.having("data-status")] == ["firing"]
    assert "Firing" in said and "⚠️ seattle-weather: Model accuracy below threshold! · Driftline" in said


def test_whether_the_verdict_is_the_same_again_is_said() -> None:
    made = firing()
    one = open_alert(made)
    window = BacktestWindow(one.window.start, one.window.end)
    origin = ThresholdOrigin("accuracy", None, None, None, 1, 0.75)
    for same, told in ((True, "the verdict is the same"), (False, "differs now: ok (accuracy is 0.8, not below 0.75)")):
        rerun = Rerun("breach" if same else "ok", 0.3, same, "accuracy is 0.8, not below 0.75")
        made.of_explanations[one.id] = Explanation(one.id, MODEL, one.rule, window, 0.3, origin, rerun)
        assert told in words(made)


def test_an_alert_of_the_detector_has_its_kind_its_evidence_and_its_baseline() -> None:
    views = [window_view(index, 0.8) for index in range(24)]
    wind = drift(0.9, 0.2, "wasserstein", ("median 3 → 9",))
    views[20].summary.drift["wind"] = wind
    found = BacktestFinding("wind", "location", 2.0, 2, 0.001, moved="location moved +2 sd")
    moved = Findings(
        ("wind",),
        (),
        (),
        ("wind moved.",),
        ("wind",),
        (Moved("wind", "location moved", 2, 0.001),),
        ("location",),
        "input_drift",
    )
    at = Span(views[20].summary.start, views[20].summary.end)
    base = open_alert(firing())
    one = replace(
        base,
        rule=BUDGET, measure="chance", title="Input drift suspected: wind", value=1e-9, low=None, high=None, n=0,
        bound=None, threshold=0.5, window=at, span=at, findings=moved,
    )  # fmt: skip
    made = fake(views, [one])
    made.of_stories[one.id] = AlertStory(SuspicionView("input_drift", "the inputs moved: wind", (found,)), [], [], [])
    origin = ThresholdOrigin("wind: location", BaselineSpan(at.start, at.end, 28), "day of week", 0.05, 2, 0.5)
    made.of_explanations[one.id] = Explanation(
        one.id, MODEL, BUDGET, BacktestWindow(*at.__reduce__()[1]), 1e-9, origin, Rerun("breach", 1e-9, same=True)
    )
    seen = shown(made)
    said = plain(seen.words)
    assert "Input drift suspected: the inputs are not what the model knows (the inputs moved: wind)." in said
    assert "By chance as much would move less often than once in a million" in said
    assert "Series wind: location" in said and "Held against 28 windows" in said and "Season day of week" in said
    assert "Its share of the budget 5.0 %" in said
    assert seen.having("data-column")[0]["data-column"] == "wind"
    link = f"/models/{MODEL}/features/wind?window={at.start:%Y-%m-%dT%H:%M:%SZ}"
    assert link in {each["href"] for each in seen.having("href")}
    forms = {each["value"] for each in seen.having("value") if each.get("name") == "action"}
    assert forms == {"acknowledge", "silence", "accept", "expected"}  # nothing is retrained here


def test_features_and_segments_are_pictures_the_worst_first_and_not_too_many() -> None:
    made = firing()
    one = open_alert(made)
    [then] = [view.summary for view in made.of_windows[MODEL] if view.summary.start == one.window.start]
    for place in range(FEATURES_SHOWN + 3):
        then.drift[f"f{place}"] = drift(0.3 + place / 10, 0.2, "wasserstein", (f"median 1 → {place}",))
    segments = [segment(f"s{place:02}", 0.9 - place / 20) for place in range(SEGMENTS_SHOWN + 3)]
    made.of_stories[one.id] = AlertStory(None, [], [], segments)
    seen = shown(made)
    columns = [each["data-column"] for each in seen.having("data-column") if each["data-role"] == "feature"]
    assert columns == [f"f{place}" for place in range(FEATURES_SHOWN + 2, 2, -1)]
    assert [each["data-segment"] for each in seen.having("data-segment")] == [
        f"season = s{place:02}" for place in range(SEGMENTS_SHOWN + 2, 2, -1)
    ]
    drawn = [each for tag, each in seen.found if tag == "svg" and each.get("class") in ("spark", "bar")]
    assert len(drawn) >= FEATURES_SHOWN + SEGMENTS_SHOWN and all(each["aria-label"] for each in drawn)
    assert f"/models/{MODEL}?segment=season%3As08" in {each["href"] for each in seen.having("href")}


def test_both_distributions_of_the_worst_features_are_drawn() -> None:
    made = firing()
    one = open_alert(made)
    [then] = [view.summary for view in made.of_windows[MODEL] if view.summary.start == one.window.start]
    window = Window(then.start, then.end)
    numbers = [
        NumericColumn.of(pl.Series([float(place), place + 1.0, shift])) for place, shift in ((1, 9.0), (50, 99.0))
    ]
    names = [CategoricalColumn.of(pl.Series(values)) for values in (["a", "b<i>", *"cdefg"], ["x", "a"])]
    for name, (before, now) in {"f1": numbers, "f2": names, "f3": (None, None)}.items():
        then.drift[name] = drift(5.0, 0.2, "wasserstein", ("moved",))
        made.of_features[name] = FeatureView(name, "numeric", (), Side(None, before), Side(window, now), None, ())
    seen = shown(made)
    drawn = [each for tag, each in seen.found if tag == "svg" and each.get("class") == "distributions"]
    assert len(drawn) == 1 + CATEGORIES_DRAWN and all(each["aria-label"] for each in drawn)
    assert "b<i>" in seen.words and "reference (filled)" in plain(seen.words)


def test_what_happened_and_who_was_told_stand_in_order_of_time() -> None:
    made = firing()
    one = open_alert(made)

    def told(seconds: int, receiver: str, state: str, attempts: int = 1, error: str = "") -> NoticeView:
        at = one.fired_at + timedelta(seconds=seconds)
        return NoticeView(receiver, Event.FIRED, at, state, attempts, at, error)

    notices = [
        told(0, "team", "delivered"),
        told(1, "slow", "delivered", 3),
        told(2, "pager", "waiting", 0),
        told(3, "down", "waiting", 4, "ConnectError: refused <b>"),
        told(4, "wrong", "refused", 5, "HTTP 400"),
        told(5, "gone", "expired", 20, "HTTP 500"),
    ]
    receivers = [
        ReceiverView("team", "slack", True, "fired", one.fired_at),
        ReceiverView("ops", "webhook", False, None, None),
        ReceiverView("new", "email", True, None, None),
    ]
    made.of_stories[one.id] = AlertStory(None, notices, receivers, [])
    seen = shown(made)
    said = plain(seen.words)
    assert [each["data-receiver"] for each in seen.having("data-receiver")] == [each.receiver for each in notices]
    order = ["fired 23 Nov", "→ team", "→ slow", "→ pager", "→ down", "→ wrong", "→ gone"]
    places = [said.index(text, said.index("who was notified")) for text in order]
    assert places == sorted(places)
    for text in (
        "delivered after 3 attempts",
        "waiting to be sent",
        "failing after 4 attempts: ConnectError: refused <b>",
        "refused after 5 attempts: HTTP 400",
        "given up after 20 attempts: HTTP 500",
        "team (slack): notified: fired 23 Nov 2026",
        "ops (webhook): does not want alerts of this model and severity",
        "new (email): not notified yet",
    ):
        assert text in said, text
    assert "names no receiver" in words(firing())


def test_a_long_life_is_told_by_its_newest_steps() -> None:
    made = firing()
    one = open_alert(made)
    step = one.history[0]
    muted = [replace(step, kind="muted", at=step.at + timedelta(minutes=place)) for place in range(STEPS_SHOWN + 5)]
    moved = [replace(step, kind="updated", at=step.at + timedelta(days=1, hours=place)) for place in range(500)]
    made.of_alerts[MODEL] = [replace(one, history=[step, *muted, *moved])]
    seen = shown(made)
    steps = [each["data-step"] for each in seen.having("data-step")]
    assert steps == ["muted"] * (STEPS_SHOWN - 1) + ["updated"]
    assert "7 earlier steps are not shown" in plain(seen.words)


def test_who_took_it_on_and_why_nobody_is_told_stand_at_the_top() -> None:
    made = firing()
    by = Acknowledgement("Ann <b>", datetime(2026, 11, 23, 11, 0, tzinfo=UTC), "labels are being mended")
    made.of_alerts[MODEL] = [replace(open_alert(made), acknowledged=by, muted="silenced by bob: new version")]
    said = words(made)
    assert "Acknowledged by Ann <b>, 23 Nov 2026, 03:00 PST: labels are being mended" in said
    assert said.index("Muted: silenced by bob: new version.") < said.index("What happened")


def test_a_corrected_alert_shows_then_and_now_and_asks_for_nothing() -> None:
    made = after_correction()
    for one in made.alerts(MODEL):
        seen = shown(made, one.id)
        said = plain(seen.words)
        assert "Corrected" in said and "Nothing: by the labels and events that came later, it was no breach." in said
        assert repr(one.value_now) in {each["data-value-now"] for each in seen.having("data-value-now")}
        assert not [tag for tag, _ in seen.found if tag == "form"]


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_what_to_do_is_short_concrete_and_of_the_suspected_kind(kind: str) -> None:
    one = open_alert(firing())
    found = steps_for(one, kind, ["wind", "a/b <c>"], retrains=True)
    assert 1 <= len(found) <= 7 and all(len(step.text) < 120 for step in found)
    assert any(step.path or step.command for step in found)
    assert all(step.path.startswith(f"/models/{MODEL}") and "<" not in step.path for step in found if step.path)
    texts = [tuple(step.text for step in steps_for(one, each, ["wind"], retrains=True)) for each in ("", *KINDS)]
    assert len(set(texts)) == len(texts)


def test_each_topic_has_its_own_first_step() -> None:
    one = open_alert(firing())
    measures = ("accuracy", "label_coverage", "missing_ratio", "drift.age", "hours_since_last_event", "latency_p95")
    first = [steps_for(replace(one, measure=each), "", [], retrains=False)[0].text for each in measures]
    assert len(set(first)) == len(measures)


# ---- other alerts ---------------------------------------------------------------------------------------------------


def test_an_alert_of_a_measure_that_is_no_performance_is_drawn_by_its_verdicts() -> None:
    rule = Rule("missing", "missing_ratio", above=0.5)
    view = window_view(3, 0.8)
    verdict = replace(view.verdicts[0], rule="missing", state="breach", value=0.7, low=0.6, high=0.8, threshold=0.5)
    made = fake([type(view)(view.summary, [verdict])], rules=(rule,))
    at = Span(view.summary.start, view.summary.end)
    one = replace(
        open_alert(firing()), rule="missing", measure="missing_ratio", threshold=0.5, value=0.7, window=at, span=at
    )
    made.of_alerts[MODEL] = [one]
    labels = [each["aria-label"] for each in shown(made).having("aria-label", "tabindex")]
    assert any("Apr 2013 · missing_ratio 0.7 · 95 % interval 0.6 to 0.8" in each for each in labels)


def test_a_model_that_nothing_arrives_of_and_rules_that_are_gone_are_told() -> None:
    made = firing()
    one = open_alert(made)
    stale = replace(
        one, rule="monitor-stale", measure="hours_since_last_event", value=49.0, threshold=48.0, low=None, high=None,
        bound=None,
    )  # fmt: skip
    made.of_alerts[MODEL] = [stale]
    said = words(made)
    assert (
        "2 days 1 hour without an event" in said
        and "driftline doctor" in said
        and "`alerts.stale_after` in driftline.yaml: 2 days" in said
    )
    made.of_alerts[MODEL] = [replace(one, rule="gone")]
    assert "gone, configured no longer" in words(made)
    made.configs[MODEL] = config(rules=())
    assert "Model accuracy below threshold!" in words(made)


def test_nothing_is_drawn_where_no_window_is_known_any_more() -> None:
    one = open_alert(firing())
    made = fake([], [replace(one, value=None, low=None, high=None, findings=None, bound=None)])
    said = words(made)
    assert "There is no value to be sure of." in said and "Before, during and after" not in said


def test_names_are_text() -> None:
    made = hostile()
    bad = next(iter(made.shown))
    [one, *_] = made.of_alerts[bad]
    one = replace(one, model=bad, rule=bad, title=bad, status="firing", muted=bad)
    made.of_alerts[bad] = [one]
    notice = NoticeView(bad, Event.FIRED, NOW, "waiting", 2, NOW, bad)
    suspicion = SuspicionView("pipeline_fault", bad, (BacktestFinding(bad, bad, 1.0, 1, 0.1),))
    receivers = [ReceiverView(bad, bad, True, None, None)]
    summary = replace(segment(bad, 0.1), segment=Segment(bad, bad))
    made.of_stories[one.id] = AlertStory(suspicion, [notice], receivers, [summary])
    seen = shown(made, one.id)
    assert bad in seen.words and not [tag for tag, _ in seen.found if tag in ("img", "style", "b<")]
    scripts = [each["src"] for tag, each in seen.found if tag == "script"]
    assert scripts == ["/static/page.js"]
    for _, attributes in seen.found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("href", "src", "action"):
            assert attributes.get(name, "/").startswith(("/", "#", "?")) and attributes.get(name, "/")[:2] != "//"


@pytest.mark.parametrize("root_path", ["", "/monitor"])
def test_the_page_is_in_order_and_goes_through_a_prefix(root_path: str) -> None:
    made = firing()
    one = open_alert(made)
    seen = Elements(client(made, root_path).get(f"/alerts/{one.id}").text)
    ids = [each["id"] for each in seen.having("id")]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in seen.found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(later - one <= 1 for one, later in pairwise(levels))
    named = {each["for"] for tag, each in seen.found if tag == "label"}
    fields = [
        each for tag, each in seen.found if tag in ("input", "select") and each.get("type") != "hidden" and "id" in each
    ]
    assert fields and {each["id"] for each in fields} <= named
    links = [each.get("href") or each.get("action") or each["src"] for each in seen.having("href") + seen.having("src")]
    assert all(link.startswith((f"{root_path}/", "#", "?")) for link in links)


# ---- forms ----------------------------------------------------------------------------------------------------------


class Recorder:
    """Acts on nothing, and says what was asked; the second time there is a conflict."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, Mapping[str, str]]] = []

    def do(self, action: str, alert: AlertView, said: Mapping[str, str]) -> None:
        if self.done:
            raise ConflictError(f"alert {alert.id} is <i>over</i>")
        self.done.append((action, alert.id, dict(said)))


@pytest.fixture
def recorded() -> tuple[TestClient, Recorder, AlertView]:
    made, acts, app = firing(), Recorder(), FastAPI()

    @app.middleware("http")
    async def nobody(request: Any, following: Any) -> Any:
        request.state.caller = None
        return await following(request)

    app.state.bodies = Bodies(10**6)
    app.include_router(pages(made, acts))
    return TestClient(app, follow_redirects=False), acts, open_alert(made)


def test_a_form_leads_back_to_the_page_which_says_what_was_done(
    recorded: tuple[TestClient, Recorder, AlertView],
) -> None:
    http, acts, one = recorded
    form = {"action": "acknowledge", "by": "ann", "reason": "ours"}
    done = http.post(f"/alerts/{one.id}", data=form)
    assert (done.status_code, done.headers["location"]) == (303, f"/alerts/{one.id}?done=acknowledge#state")
    assert acts.done == [("acknowledge", one.id, form)]
    assert "no longer repeated" in http.get(done.headers["location"]).text
    assert 'role="status" id="done"' not in http.get(f"/alerts/{one.id}?done=%3Cb%3E").text


def test_what_cannot_be_done_is_said_beside_the_form_and_nothing_that_was_typed_is_lost(
    recorded: tuple[TestClient, Recorder, AlertView],
) -> None:
    http, acts, one = recorded
    acts.done.append(("", "", {}))
    form = {"action": "silence", "by": "<ann>", "reason": 'why & "how"', "for": "24h", "what": "model"}
    answer = http.post(f"/alerts/{one.id}", data=form)
    seen = Elements(answer.text)
    assert answer.status_code == 409 and f"alert {one.id} is <i>over</i>" in seen.words
    values = {each.get("id"): each.get("value") for _, each in seen.found}
    assert (values["silence-by"], values["silence-reason"], values["acknowledge-by"]) == ("<ann>", 'why & "how"', "")
    assert {each["value"] for tag, each in seen.found if tag == "option" and "selected" in each} == {"24h", "model"}
    assert [each["id"] for tag, each in seen.found if tag == "details" and "open" in each] == ["act-silence"]
    assert http.post(f"/alerts/{one.id}", data={"action": "<b>"}).status_code == 409
    missing = http.post("/alerts/%3Cb%3E", data=form)
    assert missing.status_code == 404 and "There is no alert" in missing.text
