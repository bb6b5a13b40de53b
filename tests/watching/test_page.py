"""The page of ``driftline watch``: who gets it, what stands on it, that it stays small, and how a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from driftline.rules import parse_expression
from driftline.text.numbers import number
from driftline.watching.history import MOST_ALERTS, MOST_EVALUATIONS, MOST_MEASURES, History
from driftline.watching.metrics import MetricsServer, Page, serve_metrics, wants_page
from driftline.watching.page import next_time, page, policy
from driftline.watching.report import WatchMetrics
from driftline.watching.schedule import Outcome, Watching, advance
from driftline.watching.target import read_result

CHROMIUM = Path("/usr/bin/chromium")
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

SCRAPERS = {
    "Prometheus 2.30 to 2.48": (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    ),
    "Prometheus 3": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    ),
    "native histograms": (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    ),
    "Prometheus 1": "text/plain;version=0.0.4;q=1,*/*;q=0.1",
    "text first": "text/plain,text/html;q=0.5",
    "curl, VictoriaMetrics": "*/*",
    "nothing": "",
    "no HTML": "text/html;q=0",
    "no number": "text/html;q=soon",
}
BROWSERS = {
    "Firefox, Safari": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Chromium": (
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
        "application/signed-exchange;v=b3;q=0.7"
    ),
    "capitals": "TEXT/HTML",
}


def history(
    results: list[object], *expressions: str, model: str = "rain", every: timedelta = HOUR, version: str = ""
) -> History:
    """The history of a function that returns or raises these."""
    found = History(Watching.of(model, [parse_expression(text, min_samples=0) for text in expressions], every, version))
    for place, result in enumerate(results):
        at = START + place * every
        failure = f"{type(result).__name__}: {result}" if isinstance(result, Exception) else ""
        outcome = Outcome(at, 0.5, None if failure else read_result(result), failure)
        found = found.after(*advance(found.watching, outcome))
    return found


def shown(found: History, after: timedelta = timedelta(minutes=1)) -> str:
    last = found.evaluations[-1].at if found.evaluations else START
    return page(found, "model.py:evaluate", last + after)


def words(text: str) -> str:
    body = re.sub(r"(?s)<(style|script)>.*?</\1>|<title>.*?</title>", " ", text)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", body).split()))


# ---- what stands on it -------------------------------------------------------------------------------------


def test_before_the_first_evaluation_it_says_so() -> None:
    said = words(shown(history([], "accuracy < 0.75")))
    assert "Waiting for the first evaluation" in said
    assert "accuracy An alert is on it, and it has not come yet" in said


def test_a_story_of_an_alert_that_fires_and_ends() -> None:
    results: list[object] = [0.91, 0.9, 0.72, 0.71]
    firing = words(shown(history(results, "accuracy < 0.75", "lift > 2", version="v7")))
    assert "rain version v7 1 alert is firing Watched model.py:evaluate, every 1h" in firing
    assert "Last evaluation 1 May 2026, 15:00 UTC took 0.5 seconds Next run 1 May 2026, 15:59 UTC" in firing
    assert "Model accuracy below threshold Rule accuracy < 0.75 , fired at 0.72, since 1 May 2026, 14:00 UTC" in firing
    assert "accuracy 0.71 accuracy < 0.75 breach" in firing
    assert (
        "lift An alert is on it, and it has not come yet: lift cannot be had: the function returned accuracy." in firing
    )
    ended = shown(history([*results, 0.9], "accuracy < 0.75"))
    assert "No alert" in words(ended)
    assert "Model accuracy below threshold accuracy < 0.75 1 May 2026, 14:00 UTC to 1 May 2026, 16:00 UTC" in words(
        ended
    )
    assert 'class="shade resolved"' in ended


def test_a_failed_evaluation_is_a_gap_and_its_reason_is_shown() -> None:
    text = shown(history([0.9, 0.9, ValueError("no rows"), 0.9, ValueError("gone")], "accuracy < 0.75"))
    said = words(text)
    assert "The last evaluation failed ValueError: gone" in said
    assert "Model evaluation failed since 1 May 2026, 16:00 UTC" in said
    assert text.count('class="no-value"') == 2
    assert "Evaluations 5 Failed 2 Skipped 0" in said
    assert "– failed ValueError: no rows" in said


def test_intervals_and_labels_that_are_late() -> None:
    rows: object = ([1, 0] * 50, [1, 0] * 40 + [0, 1] * 10)
    accuracy = read_result(rows).measures(0.95)["accuracy"]
    low, high = accuracy.low or 0, accuracy.high or 0
    said = shown(history([rows, ([None, None], [1, 0])], "accuracy < 0.5"))
    assert f"accuracy 0.8 {number(low)} to {number(high)}, n = 100" in words(said)
    assert "Not measured none of 2 rows has both a label and a prediction yet" in words(said)


def test_a_run_that_is_late_is_called_so_and_times_are_those_of_the_grid() -> None:
    found = history([0.9])
    assert "is running or late" not in words(shown(found, timedelta(minutes=30)))
    assert "is running or late" in words(shown(found, timedelta(minutes=61)))
    assert next_time(found.evaluations[0], HOUR) == START - timedelta(seconds=0.5) + HOUR


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_nothing_that_the_script_says_is_markup_or_acts(said: str) -> None:
    text = shown(history([ValueError(f"<img src=x>{said}</script>\x1b[2J\u202e")], model=f"<b>{said}", version=said))
    assert "<img" not in text and "<b>" not in text and "\x1b" not in text and "\u202e" not in text
    assert text.count("</script>") == 1


def test_the_policy_names_the_style_and_script_of_the_page_and_nothing_else() -> None:
    text = shown(history([0.9, 0.7], "accuracy < 0.75"))
    for kind, name in (("style", "style"), ("script", "script")):
        [own] = re.findall(rf"(?s)<{kind}>(.*?)</{kind}>", text)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy()
    assert "unsafe" not in policy() and policy().startswith("default-src 'none';")
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text)
    assert " style=" not in text and not re.findall(r"\son[a-z]+=", text)


# ---- what it costs -----------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.9, 0.7, 0.72, ValueError("x")]), max_size=60))
def test_an_alert_that_fires_is_always_shown(results: list[object]) -> None:
    found = history(results, "accuracy < 0.75", "accuracy < 0.71 for 2")
    names = [one.rule.name for one in found.watching.monitors if one.machine.state.value == "firing"]
    assert sorted(one.monitor.rule.name for one in found.firing) == sorted(names)
    assert all(one.resolved is None or one.fired < one.resolved for one in found.alerts)


def test_memory_and_page_stay_bounded() -> None:
    many: dict[str, float] = {f"m{place}": place / 100 for place in range(100)}
    found = history([{**many, "accuracy": 0.9 if place % 2 else 0.7} for place in range(600)], "m99 > 5")
    assert len(found.evaluations) == MOST_EVALUATIONS
    assert {len(past.measures) for past in found.evaluations} == {MOST_MEASURES}
    assert all("m99" in past.measures for past in found.evaluations)  # an alert is on it
    text = shown(found)
    assert f"{101 - MOST_MEASURES} more measures are at /metrics only" in words(text)
    flapping = history([0.9, 0.7] * 200, "accuracy < 0.75")
    assert len(flapping.alerts) <= MOST_ALERTS + 1
    assert "The last 240 evaluations" in words(shown(flapping))
    assert len(shown(flapping)) < 300_000


# ---- who gets it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", SCRAPERS.values(), ids=SCRAPERS)
def test_scrapers_get_the_exposition(accept: str) -> None:
    assert not wants_page(accept)


@pytest.mark.parametrize("accept", BROWSERS.values(), ids=BROWSERS)
def test_browsers_get_the_page(accept: str) -> None:
    assert wants_page(accept)


class Served:
    """A history that is served; it can be replaced meanwhile."""

    def __init__(self, found: History) -> None:
        self.history, self.later = found, timedelta(minutes=1)
        self.server: MetricsServer = serve_metrics(
            WatchMetrics(found.watching), "127.0.0.1", 0, (), Page(self.render, policy())
        )
        self.port = int(self.server.url.split(":")[2].split("/")[0])

    def render(self) -> str:
        return shown(self.history, self.later)

    def ask(self, path: str, method: str = "GET", **head: str) -> http.client.HTTPResponse:
        one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        one.request(method, path, headers={name.replace("_", "-"): value for name, value in head.items()})
        answer = one.getresponse()
        answer.text = answer.read().decode()  # type: ignore[attr-defined]
        one.close()
        return answer


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served(history([0.9, 0.88, ValueError("x"), 0.7], "accuracy < 0.75"))
    yield found
    found.server.close()


def families(answer: Any) -> set[str]:
    return {family.name for family in text_string_to_metric_families(answer.text.replace("# EOF\n", ""))}


def test_the_root_is_a_page_for_people_and_the_exposition_for_programs(served: Served) -> None:
    for path in ("/", "/?x=1"):
        answer = served.ask(path, Accept=BROWSERS["Chromium"])
        assert (answer.status, answer.getheader("Vary")) == (200, "Accept")
        assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
        assert answer.getheader("Content-Security-Policy") == policy()
        assert "1 alert is firing" in answer.text  # type: ignore[attr-defined]
    for accept in SCRAPERS.values():
        for path in ("/", "/metrics"):
            answer = served.ask(path, Accept=accept)
            assert answer.getheader("Content-Type", "").startswith(("text/plain", "application/openmetrics-text"))
            assert "driftline_performance" in families(answer)
    for accept in BROWSERS.values():
        assert "driftline_performance" in families(served.ask("/metrics", Accept=accept))
    assert served.ask("/").getheader("Vary") == "Accept"


@pytest.mark.parametrize("path", ["/health", "/api/v1/models", "/metricses", "/metrics/x"])
def test_who_asks_a_watch_for_what_a_service_has_is_told_what_it_is(served: Served, path: str) -> None:
    """It answered any path with the exposition, so that a watch on the port of a service was taken for one."""
    for accept in ("*/*", BROWSERS["Chromium"]):
        answer = served.ask(path, Accept=accept)
        assert (answer.status, answer.getheader("Content-Type")) == (404, "text/plain; charset=utf-8")
        assert "driftline serve" in answer.text  # type: ignore[attr-defined]
    assert served.ask(path, Host="evil.example").status == 421
    assert (served.ask(path, "HEAD").status, served.ask(path, "HEAD").text) == (404, "")  # type: ignore[attr-defined]


def test_what_has_not_changed_is_not_sent_again(served: Served) -> None:
    tag = served.ask("/", Accept="text/html").getheader("ETag", "")
    again = served.ask("/", Accept="text/html", If_None_Match=tag)
    assert (again.status, again.text) == (304, "")  # type: ignore[attr-defined]
    head = served.ask("/", "HEAD", Accept="text/html")
    assert (head.status, head.getheader("ETag")) == (200, tag)
    for path in ("/", "/metrics"):
        head, full = served.ask(path, "HEAD"), served.ask(path)
        assert (head.status, head.text, head.getheader("Content-Type")) == (200, "", full.getheader("Content-Type"))  # type: ignore[attr-defined]
    assert served.ask("/metrics", "POST").status == 405
    assert served.ask("/", Accept="text/html", Host="evil.example").status == 421


# ---- how a browser shows it --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not os.environ.get("CI") and not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield found
        found.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_a_browser_shows_it_whole_and_takes_in_what_is_new(
    browser: Any, served: Served, width: int, scheme: str, tmp_path: Path
) -> None:
    results: list[object] = [0.9, 0.88, ValueError("x"), 0.7]
    served.history = history(results, "accuracy < 0.75", every=timedelta(seconds=0.3))
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab, wrong = context.new_page(), list[str]()
    tab.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda one: wrong.append(one.url) if not one.url.startswith(("data:", address)) else None)
    address = f"http://127.0.0.1:{served.port}/"
    tab.goto(address)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 380) == (scheme == "dark")
    tab.locator("summary").first.click()
    tab.evaluate("window.stays = 1")
    tab.screenshot(path=tmp_path / f"watch-{width}.png", full_page=True)
    served.history = history([*results, 0.93], "accuracy < 0.75", every=timedelta(seconds=0.3))
    tab.get_by_text("No alert", exact=True).wait_for(timeout=20_000)
    assert tab.evaluate("window.stays") == 1  # it was not loaded anew
    assert tab.locator("details").first.get_attribute("open") is not None
    assert tab.locator(".now strong").first.inner_text() == "0.93"
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len({*ids}) == len(ids)
    tab.locator(".hit[tabindex='0']").first.focus()
    tab.keyboard.press("ArrowLeft")
    assert "0.7" in tab.evaluate("document.activeElement.getAttribute('aria-label')")
    context.close()
    assert wrong == []
