"""The pages of one model on a real service: versions, what was known then, latency, features and segments."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs
from starlette.testclient import TestClient

from driftline.errors import UnknownNameError
from driftline.events import Slice
from driftline.monitoring.rebuild import rebuild
from driftline.profiles import NumericColumn, Profile, WindowProfile
from driftline.profiles.delays import LabelDelays
from driftline.service.runtime import Service
from driftline.sketches import decode, encode
from driftline.views.features import HISTORY
from driftline.web.app import create_app
from tests.support.churn import MODEL, START, label
from tests.support.effort import counted
from tests.support.seasons import WHOLE_RULE, day_of, seasons_config
from tests.support.steps import deliver, work
from tests.web.ui.test_pages import Elements, plain

PAGE, DAY = f"/models/{MODEL}", timedelta(days=1)
DAYS = 6


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Six days of 60 rows: from day 2 on a second version answers beside the first, from day 4 on everybody is old.

    On day 1 all labels are wrong at first, and corrected after the day was judged.
    """
    service = Service(seasons_config(tmp_path_factory.mktemp("pages"), WHOLE_RULE))
    for day in range(DAYS):
        for version in ["1.0", "2.0"][: 1 + (day >= 2)]:
            right = {"summer": (0, 30) if day == 1 else (29, 30), "winter": (29, 30)}
            predictions, labels = day_of(day, right, version=version)
            for at, row in enumerate(predictions):
                row["features"]["age"] = 40.0 + (at % 20) - 10 + (60 if day >= 4 else 0)
                row["latency_seconds"] = 0.2 if day == 3 else 0.05
            deliver(service, "predictions", predictions)
            deliver(service, "labels", labels)
        work(service)
    wrong = [f"1-summer-1.0-{index}" for index in range(30)]
    deliver(service, "labels", [label(id, 5.9, truth=at % 2) for at, id in enumerate(wrong)])
    work(service)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def http(service: Service) -> TestClient:
    return TestClient(create_app(service))


def shown(http: TestClient, address: str) -> Elements:
    answer = http.get(address)
    assert answer.status_code == 200, answer.text
    seen = Elements(answer.text)
    assert all("style" not in attributes and tag != "style" for tag, attributes in seen.found)
    ids = [one["id"] for one in seen.having("id")]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in seen.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    return seen


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_what_was_known_then_is_the_first_verdict_and_now_the_last(service: Service) -> None:
    [now] = service.views.windows(MODEL, start=START + DAY, end=START + 2 * DAY)
    [then] = service.views.as_known_then(MODEL, [now])
    assert now.summary.performance["accuracy"].value == pytest.approx(59 / 60)
    assert then.summary.performance["accuracy"].value == pytest.approx(29 / 60)
    assert [one.state for one in then.verdicts] == ["breach"] and [one.state for one in now.verdicts] == ["ok"]
    assert set(then.summary.performance) == {"accuracy"} and then.summary.drift == now.summary.drift
    windows = service.views.windows(MODEL)
    every = service.views.as_known_then(MODEL, windows)
    assert [one.summary.start for one in every] == [one.summary.start for one in windows]
    assert every[-1].summary.performance["accuracy"].problem  # still open: no rule has judged it
    assert service.views.as_known_then(MODEL, []) == []


def test_a_line_a_version_where_several_answered(service: Service) -> None:
    views, end = service.views, START + DAYS * DAY
    first, second = views.version_lines(MODEL, START, end, most_windows=100)
    assert (first.version, second.version) == ("1.0", "2.0")
    assert [one.start for one in second.windows] == [START + day * DAY for day in range(2, DAYS)]
    assert len(first.windows) == DAYS and first.windows[2].performance["accuracy"].n == 60
    assert views.version_lines(MODEL, START, START + 2 * DAY, most_windows=100) == []  # one version alone
    fewer = views.version_lines(MODEL, START, end, most_windows=2)
    assert sum(len(one.windows) for one in fewer) == 4 and fewer[0].windows[-1].start == START + (DAYS - 1) * DAY


def test_the_newest_judged_window_is_found_whatever_waits_after_it(service: Service) -> None:
    [newest] = service.views.newest_judged(MODEL)
    assert newest.summary.stage == "judged" and newest.summary.start == START + (DAYS - 2) * DAY
    assert [one.state for one in newest.verdicts] == ["ok"]


def test_the_reference_has_its_measures_computed_once(service: Service) -> None:
    found = service.views.reference_measures(MODEL)
    assert found["accuracy"] == 1.0 and "roc_auc" not in found  # it has no scores
    with counted() as effort:
        assert service.views.reference_measures(MODEL) is found
    assert len(effort.statements) == 2  # BEGIN, and what it was made of


def test_a_window_has_the_latency_of_its_predictions_and_a_rebuild_finds_the_same(service: Service) -> None:
    windows = service.views.windows(MODEL)
    latencies = [one.summary.latency for one in windows]
    assert [one and round(one.value or 0, 2) for one in latencies[2:4]] == [0.05, 0.2]
    assert latencies[0] is not None and latencies[0].problem  # 60 rows are too few for an interval of it
    assert all(one.latency is None for one in service.views.segments(MODEL))
    delay = service.views.model(MODEL).label_delay
    assert rebuild(service.models[MODEL], service.state).differing == ()
    work(service)
    assert service.views.windows(MODEL) == windows
    assert service.views.model(MODEL).label_delay == delay is not None


def test_labels_are_late_by_their_first_one_on_the_page_and_in_the_api(service: Service, http: TestClient) -> None:
    """Labels of a day come at its noon; those of day 1 came again on day 5, and were not late for that."""
    counted_ones = dict(service.views.windows(MODEL)[1].summary.label_delays)
    assert counted_ones == {12 * 3600: 60}
    said = http.get(f"/api/v1{PAGE}").json()["label_delay"]
    assert (said["windows"], said["labels"], said["median_seconds"]) == (DAYS, service.views.model(MODEL).labels, 43200)
    assert said["unlabelled"][-1]["share"] == 0.0
    assert all("label_delay" not in one for one in http.get("/api/v1/models").json()["models"])
    seen = shown(http, PAGE)
    figure = next(iter(seen.having("data-median")))
    assert (float(figure["data-median"]), float(figure["data-p90"])) == (43200.0, 43200.0)
    assert "Nine of ten labels come within 12 hours." in plain(seen.words)


def test_windows_of_a_release_that_kept_no_delays_are_no_difference(service: Service) -> None:
    """A rebuild gives them what they lack, and still finds what else differs."""
    model, expected = service.models[MODEL], service.views.windows(MODEL)
    with service.state.work() as work_on:
        rows = work_on.windows.between(MODEL)
        for row in rows:
            old = structs.replace(decode(row.profile, WindowProfile), delays=LabelDelays())
            changed = old if row != rows[0] else structs.replace(old, labels=Profile(rows=old.labels.rows))
            work_on.windows.put(dataclasses.replace(row, profile=encode(changed)))
    assert rebuild(model, service.state).differing == (rows[0].start,)
    work(service)
    assert service.views.windows(MODEL) == expected


# ---- a feature ------------------------------------------------------------------------------------------------------


def test_a_feature_is_compared_with_the_reference_in_the_newest_judged_window(service: Service) -> None:
    found = service.views.feature(MODEL, "age")
    assert found.kind == "numeric" and len(found.history) == DAYS <= HISTORY
    assert found.now is not None and found.now.window is not None and found.now.window.start == START + 4 * DAY
    assert found.history[-1].stage == "open" and "age" in found.history[-1].drift  # it says less than it will
    assert found.before is not None and found.before.window is None
    assert isinstance(found.before.column, NumericColumn) and isinstance(found.now.column, NumericColumn)
    assert found.now.column.rows == 120 and found.before.column.rows == 200
    assert found.compared is not None and found.compared.drifted and found.compared.measure == "wasserstein"
    assert [(one.version, one.rows, one.drift.drifted) for one in found.versions] == [
        ("1.0", 60, True),
        ("2.0", 60, True),
    ]


def test_the_share_outside_of_the_range_is_kept_of_each_window(service: Service) -> None:
    history = service.views.feature(MODEL, "age").history
    shares = [one.drift["age"].unseen for one in history]
    assert [share is not None and share > 0.9 for share in shares] == [False] * 4 + [True] * 2


def test_a_feature_is_compared_in_any_two_windows(service: Service) -> None:
    still = service.views.feature(MODEL, "age", window=START + DAY, against=START)
    assert still.compared is not None and not still.compared.drifted and still.versions == ()
    moved = service.views.feature(MODEL, "age", window=START + 4 * DAY, against=START)
    assert moved.compared is not None and moved.compared.drifted
    assert moved.before is not None and moved.before.window is not None and moved.before.window.start == START


def test_a_feature_or_a_window_that_there_is_not_is_named(service: Service) -> None:
    for feature in ("season", "agé", ""):  # a season tells segments apart; the model does not get it
        with pytest.raises(UnknownNameError, match="age"):
            service.views.feature(MODEL, feature)
    with pytest.raises(UnknownNameError, match="window of churn"):
        service.views.feature(MODEL, "age", window=START + timedelta(hours=1))


def test_a_feature_decodes_the_profiles_of_its_two_windows_only(service: Service) -> None:
    service.views.feature(MODEL, "age")
    with counted() as effort:
        service.views.feature(MODEL, "age", window=START + 4 * DAY, against=START)
    assert len(effort.statements) <= 5 and effort.writes == []


def test_the_page_of_a_feature_shows_both_and_its_course(service: Service, http: TestClient) -> None:
    seen = shown(http, f"{PAGE}/features/age")
    words = plain(seen.words)
    assert "age numeric feature of churn" in words and "5 Mar 2024 against the reference" in words
    assert [one["data-state"] for one in seen.having("data-state")] == ["drifted"]
    drifted = sum(one.drift["age"].drifted for one in service.views.feature(MODEL, "age").history)
    assert drifted >= 2 and f"Drifted in {drifted} of 6 windows" in words
    assert "By version" in words and "rows outside the range before" in words
    bins = [attributes for _, attributes in seen.found if attributes.get("class") == "bin"]
    assert len(bins) == 24
    facts = {one["data-fact"] for one in seen.having("data-fact")}
    assert {"rows", "missing", "mean", "median", "standard deviation"} <= facts
    options = [one["value"] for one in seen.having("value") if one["value"].endswith("Z")]
    assert len(options) == 2 * DAYS and options[0] == "2024-03-06T00:00:00Z"
    labels = [one["aria-label"] for one in seen.having("aria-label", "tabindex")]
    assert any("6 Mar 2024 · wasserstein" in one and "drifted" in one for one in labels)
    pair = shown(http, f"{PAGE}/features/age?window=2024-03-02&against=2024-03-01")
    assert [one["data-state"] for one in pair.having("data-state")] == ["stable"]
    assert "this column alone, not adjusted for others" in plain(pair.words)
    assert "By version" not in pair.words


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/features/nothing", 404, "age"),
        ("/features/%3Cscript%3E%2Fa", 404, "<script>/a"),
        ("/features/age?window=soon", 400, "window 'soon' came"),
        ("/features/age?window=2024-03-01T05:00", 404, "window of churn"),
        ("/segments?measure=mae", 404, "accuracy"),
        ("/segments?windows=121", 400, "allowed are 1 to 120"),
        ("/segments?start=2024-03-02&end=2024-03-01", 400, "a span ends after it begins"),
        ("?version=3.0", 404, "2.0"),
        ("?version=2.0&segment=season:winter", 400, "give one"),
    ],
)
def test_what_cannot_be_shown_is_a_page_that_says_why(http: TestClient, address: str, status: int, words: str) -> None:
    answer = http.get(f"{PAGE}{address}")
    assert answer.status_code == status and answer.headers["content-type"].startswith("text/html")
    seen = Elements(answer.text)
    assert words in plain(seen.words) and "<script>/a" not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_pages_of_a_model_that_there_is_not_are_its_page(http: TestClient) -> None:
    for address in ("/models/other/segments", "/models/other/features/age"):
        answer = http.get(address)
        assert answer.status_code == 404 and "There is no model" in answer.text


# ---- the segments and the model -------------------------------------------------------------------------------------


def test_the_page_of_segments_says_what_each_adds(service: Service, http: TestClient) -> None:
    seen = shown(http, f"{PAGE}/segments?windows=120")
    assert [one["data-column"] for one in seen.having("data-column")] == ["season"]
    states = {one["data-segment"]: one["data-state"] for one in seen.having("data-segment")}
    assert states == {"summer": "no worse", "winter": "no worse"}  # one row of thirty is wrong, on each day
    [mix], [within] = ([float(one[name]) for one in seen.having(name)] for name in ("data-mix", "data-within"))
    [known] = service.views.segments_changed(MODEL, newest=120).columns
    assert mix + within == pytest.approx(known.change) and abs(mix) < 0.001 and within < -0.03
    assert f"{PAGE}?segment=season%3Asummer" in {one["href"] for one in seen.having("href")}
    bars = [attributes for _, attributes in seen.found if attributes.get("class") == "shift"]
    assert len(bars) == 2 and "winter: mix 0.0000, within -0.0161" in [one["aria-label"] for one in bars]
    recall = plain(shown(http, f"{PAGE}/segments?measure=recall&start=2024-03-01").words)
    assert "recall is no mean over rows" in recall


def test_the_page_of_a_model_has_its_versions_and_the_way_to_its_pages(http: TestClient) -> None:
    seen = shown(http, PAGE)
    lines = [attributes["class"] for _, attributes in seen.found if "other-" in attributes.get("class", "")]
    assert {"line other other-0", "line other other-1"} == set(lines)
    assert "reference 1" in plain(seen.words)
    [here] = [
        one for one in seen.having("href", "aria-current") if one["aria-current"] == "page" and one["href"] != "/"
    ]
    assert here["href"] == PAGE
    links = {one["href"] for one in seen.having("href")}
    assert {f"{PAGE}/segments", f"{PAGE}/rules", f"{PAGE}/quarantine", f"{PAGE}/features/age"} <= links
    assert {one["value"] for one in seen.having("value")} >= {"season:summer", "season:(missing)"}
    of_two = shown(http, f"{PAGE}?version=2.0&windows=30")
    assert of_two.having("data-slice")[0]["data-slice"] == Slice("2.0").words
    assert "?windows=30" in {one["href"].removeprefix(PAGE) for one in of_two.having("href")}  # all rows, same span


def test_a_model_without_events_has_all_its_pages(tmp_path: Any) -> None:
    service = Service(seasons_config(tmp_path, WHOLE_RULE))
    empty = TestClient(create_app(service))
    assert "Not compared yet" in shown(empty, f"{PAGE}/features/age").words
    assert "No window was judged in this span" in shown(empty, f"{PAGE}/segments").words
    assert "No events yet" in shown(empty, PAGE).words
    aside = shown(empty, f"{PAGE}/quarantine").words
    assert f"curl 'http://testserver/api/v1{PAGE}/predictions?on_error=quarantine'" in aside
    service.stop()
