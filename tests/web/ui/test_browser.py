"""The page in a real browser: no error, no request that fails or leaves the machine, and it keeps what is open."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import uvicorn
from fastapi import FastAPI, Request

from driftline.access.callers import Role
from driftline.access.tokens import create_token
from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.web.access import Gate
from driftline.web.app import create_app
from driftline.web.ui import pages
from tests.support.churn import write_config
from tests.support.seasons import WHOLE_RULE, seasons_config, send
from tests.support.steps import work
from tests.web.ui.fabricate import (
    MODEL,
    Fake,
    a_system,
    after_correction,
    challenged,
    fake,
    firing,
    healthy,
    hostile,
    window_view,
)
from tests.web.ui.test_feature_page import WithFeature, categories

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]

if not os.environ.get("CI"):
    pytest.importorskip("playwright", reason="needs playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}", allow_module_level=True)

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402  # after the skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Five days of two versions, of which the last ones go badly in winter."""
    service = Service(seasons_config(tmp_path_factory.mktemp("browser"), WHOLE_RULE))
    for day in range(5):
        for version in ("1.0", "2.0"):
            send(service, day, {"summer": (39, 40), "winter": (38 if day < 3 else 20, 40)}, version=version)
    work(service)
    yield service
    service.stop()


@contextmanager
def served(views: Fake, refresh_seconds: float = 60, app: FastAPI | None = None) -> Iterator[str]:
    """Serve the pages on a free port of loopback; yield the address."""
    app = app or FastAPI()
    app.include_router(pages(views, refresh_seconds=refresh_seconds, system=a_system))
    with running(app) as address:
        yield address


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port of loopback; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def failed(request: Any) -> bool:
    """Whether a request failed; those for the icon and for the page anew are broken off where the page is left."""
    left = request.url.endswith("/icon.svg") or request.resource_type == "fetch"
    return not (left and request.failure == "net::ERR_ABORTED")


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """Open a page; afterwards nothing must have gone wrong in it."""
    context = browser.new_context(**options)
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}") if failed(request) else None)
    page.on("response", lambda answer: wrong.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    origin = "/".join(address.split("/")[:3])
    page.on("request", lambda one: wrong.append(f"left: {one.url}") if not one.url.startswith(origin) else None)
    page.add_init_script(
        "addEventListener('securitypolicyviolation', event => console.error('policy: ' + event.violatedDirective))"
    )
    page.goto(address, wait_until="load")
    yield page
    context.close()
    assert wrong == []


@pytest.mark.parametrize(
    ("views", "scheme", "width"),
    [
        *(
            (views, scheme, width)
            for views in (firing, after_correction)
            for scheme in ("light", "dark")
            for width in (1280, 400)
        ),
        (healthy, "light", 1280),
        (hostile, "dark", 1280),
        (hostile, "light", 400),
        (fake, "light", 400),
    ],
)
def test_every_page_is_shown_whole(
    browser: Browser, views: type[Fake], scheme: str, width: int, tmp_path: Path
) -> None:
    with served(views()) as address:
        options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
        with opened(browser, address, **options) as page:
            assert fits(page)
            page.screenshot(path=tmp_path / "index.png", full_page=True)
            page.locator("tbody th a").first.click()
            page.wait_for_load_state()
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
            assert fits(page)
            page.screenshot(path=tmp_path / "model.png", full_page=True)
            assert not page.evaluate("'x' in window && window.x === 1")


def fits(page: Page) -> bool:
    """Whether the page scrolls down only."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def test_it_keeps_itself_up_to_date_and_keeps_what_is_open(browser: Browser) -> None:
    views = healthy()
    with served(views, refresh_seconds=0.2) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        expect(page.locator("#state")).to_contain_text("All well")
        page.locator("#window-table summary").click()
        page.locator("#plot-accuracy .hit").nth(1).focus()
        readout = page.locator("#chart-accuracy .readout")
        expect(readout).to_contain_text("Feb 2013 · accuracy 0.786")
        page.evaluate("window.scrollTo(0, 200)")
        views.add(firing())
        expect(page.locator("#state")).to_contain_text("Firing: Model accuracy below threshold!")
        expect(page).to_have_title("⚠️ Firing: Model accuracy below threshold! · seattle-weather · Driftline")
        assert page.locator("#window-table").evaluate("one => one.open")
        assert not page.locator("#more-measures").evaluate("one => one.open")
        assert page.evaluate("window.scrollY") == 200
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Feb 2013")
        expect(readout).to_contain_text("Feb 2013 · accuracy 0.786")
        assert len(page.locator("#window-table tbody tr").all()) == 36


def test_a_chart_is_read_with_the_keyboard(browser: Browser) -> None:
    with served(firing()) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        page.locator("#plot-accuracy .hit[tabindex='0']").focus()
        readout = page.locator("#chart-accuracy .readout")
        expect(readout).to_contain_text("Dec 2015")
        page.keyboard.press("ArrowLeft")
        expect(readout).to_contain_text("Nov 2015")
        page.keyboard.press("Home")
        expect(readout).to_contain_text("Jan 2013 · accuracy 0.774 · 95 % interval 0.599 to 0.887 · n = 30")
        assert page.locator("#plot-accuracy .hit[tabindex='0']").count() == 1


def test_a_chart_is_read_with_the_pointer(browser: Browser) -> None:
    with served(firing()) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        page.locator("#plot-accuracy .hit").nth(3).hover()
        expect(page.locator("#chart-accuracy .readout")).to_contain_text("Apr 2013 · accuracy 0.3")


def test_it_does_not_move_under_a_selection(browser: Browser) -> None:
    views = healthy()
    with served(views, refresh_seconds=0.2) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        page.evaluate("getSelection().selectAllChildren(document.getElementById('name'))")
        expect(page.locator("#live")).to_contain_text("Paused")
        views.add(firing())
        page.wait_for_timeout(600)
        expect(page.locator("#state")).to_contain_text("All well")
        page.evaluate("getSelection().removeAllRanges()")
        expect(page.locator("#state")).to_contain_text("Firing")


def test_a_server_that_is_gone_is_said(browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    with served(healthy(), refresh_seconds=0.2) as address:
        page.goto(f"{address}/models/{MODEL}")
        expect(page.locator("#live")).to_contain_text("Live")
    expect(page.locator("#live")).to_contain_text("No answer since")
    expect(page.locator("#state")).to_contain_text("All well")
    context.close()


def test_a_thousand_windows_are_still_quick(browser: Browser) -> None:
    views = fake([window_view(index, 0.7 + (index % 7) / 50) for index in range(1000)])
    with served(views) as address:
        began = time.perf_counter()
        with opened(browser, f"{address}/models/{MODEL}?windows=all") as page:
            assert fits(page)
            assert len(page.locator("#window-table tbody tr").all()) == 1000
        assert time.perf_counter() - began < 30


def test_a_person_decides_with_a_name_and_a_reason(browser: Browser) -> None:
    views, decided = challenged(), list[tuple[str, str, Any]]()
    app = FastAPI()

    @app.post("/api/v1/retraining/{id}/{what}")
    async def decide(id: str, what: str, request: Request) -> dict[str, str]:
        decided.append((id, what, await request.json()))
        views.of_requests[MODEL] = [msgspec.structs.replace(one, stage="promoting") for one in views.requests(MODEL)]
        return {}

    with served(views, app=app) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        expect(page.get_by_role("button", name="Refuse")).to_be_visible()
        page.get_by_role("button", name="Approve").click()
        dialog = page.get_by_role("dialog", name="Approve")
        expect(dialog.get_by_label("Why")).to_be_focused()
        dialog.get_by_role("button", name="Approve").click()  # without a reason nothing is sent
        expect(dialog).to_be_visible()
        dialog.get_by_label("Why").fill("looks right")
        dialog.get_by_label("Who you are").fill("ann")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        assert decided == [("r2", "approve", {"by": "ann", "reason": "looks right"})]
        views.of_requests[MODEL] = [msgspec.structs.replace(one, stage="baking") for one in views.requests(MODEL)]
        page.reload()
        page.locator("#request-r2 summary").click()
        page.get_by_role("button", name="Roll back").first.click()
        dialog = page.get_by_role("dialog", name="Roll back")
        expect(dialog.get_by_label("Who you are")).to_have_value("ann")
        page.keyboard.press("Escape")  # and thinks better of it
        expect(dialog).to_have_count(0)
        expect(page.get_by_role("button", name="Roll back")).to_be_focused()
        assert len(decided) == 1


def test_without_a_script_there_are_no_buttons_and_the_command_stands_there(browser: Browser) -> None:
    with (
        served(challenged()) as address,
        opened(browser, f"{address}/models/{MODEL}", java_script_enabled=False) as page,
    ):
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        expect(page.get_by_text("driftline challengers approve r2 --reason")).to_be_visible()


# ---- a span of windows ----------------------------------------------------------------------------------------------


def test_a_span_is_drawn_with_the_pointer_on_a_chart(browser: Browser) -> None:
    with served(firing()) as address, opened(browser, f"{address}/models/{MODEL}?windows=30&known=now") as page:
        page.locator("#plot-accuracy").scroll_into_view_if_needed()
        hits = page.locator("#plot-accuracy > .hit")
        first, last = (hits.nth(at).locator(".box").bounding_box() for at in (3, 7))
        assert first is not None and last is not None
        page.mouse.move(first["x"] + first["width"] / 2, first["y"] + 40)
        page.mouse.down()
        page.mouse.move(last["x"] + last["width"] / 2, last["y"] + 60, steps=4)
        expect(page.locator("#chart-accuracy .readout")).to_contain_text("5 windows, Oct 2013 to Feb 2014")
        page.mouse.up()
        page.wait_for_url("**start=*")
        expect(page.locator("#span")).to_contain_text("Oct 2013 to Feb 2014, 5 windows")
        assert "known=now" in page.url and "windows=" not in page.url
        assert len(page.locator("#window-table tbody tr").all()) == 5
        page.go_back()
        expect(page.locator("#span")).to_contain_text("30 windows")


def test_a_span_is_chosen_with_the_keyboard_and_can_be_given_up(browser: Browser) -> None:
    with served(firing(), refresh_seconds=0.2) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        page.locator("#plot-accuracy > .hit").nth(35).focus()
        readout = page.locator("#chart-accuracy .readout")
        for _ in range(2):
            page.keyboard.press("Shift+ArrowLeft")
        expect(readout).to_contain_text("3 windows, Oct 2015 to Dec 2015: press enter")
        page.wait_for_timeout(500)  # the page is not fetched again meanwhile
        expect(page.locator(".brush")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(page.locator(".brush")).to_have_count(0)
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_url("**end=*")
        expect(page.locator("#span")).to_contain_text("Oct to Nov 2015, 2 windows")


def test_a_span_is_asked_for_without_a_script(browser: Browser) -> None:
    with (
        served(firing()) as address,
        opened(browser, f"{address}/models/{MODEL}", java_script_enabled=False) as page,
    ):
        page.get_by_label("From", exact=True).fill("2013-04-01")
        page.get_by_label("before", exact=True).fill("2013-06-01")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#span")).to_contain_text("Apr to May 2013, 2 windows")
        page.get_by_role("link", name="Last 30 windows").click()
        expect(page.locator("#span")).to_contain_text("30 windows")


def test_what_somebody_fills_in_is_not_taken_away(browser: Browser) -> None:
    views = healthy()
    with served(views, refresh_seconds=0.2) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        page.get_by_label("From", exact=True).fill("2013-02-01")
        views.add(firing())
        page.wait_for_timeout(600)
        expect(page.get_by_label("From", exact=True)).to_have_value("2013-02-01")
        page.get_by_label("From", exact=True).fill("2013-01-01")
        page.locator("#window-table summary").focus()
        expect(page.locator("#state")).to_contain_text("Firing")


def test_a_cell_of_the_heat_map_leads_to_its_feature(browser: Browser) -> None:
    views = WithFeature(categories("sun", "rain"), categories("rain", "rain"), "temp_min")
    views.add(firing())
    with served(views) as address, opened(browser, f"{address}/models/{MODEL}") as page:
        cell = page.locator("#heat-map a.hit").last
        cell.focus()
        expect(page.locator("#heat-map .readout")).to_contain_text("temp_min · Nov 2015 · wasserstein 0.31")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#heat-map .readout")).to_contain_text("Jun 2014")
        page.keyboard.press("Enter")
        page.wait_for_url("**/features/temp_min?window=*")
        expect(page.locator("h1")).to_contain_text("temp_min")
        assert fits(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_the_pages_of_features_and_segments_are_shown_whole(
    browser: Browser, service: Service, scheme: str, width: int, tmp_path: Path
) -> None:
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with running(create_app(service)) as address:
        for at, path in enumerate(("", "?known=then", "/segments?windows=120", "/features/age")):
            with opened(browser, f"{address}/models/churn{path}", **options) as page:
                assert fits(page), path
                page.screenshot(path=tmp_path / f"{at}.png", full_page=True)


# ---- signed in ------------------------------------------------------------------------------------------------------


def test_a_person_signs_in_acts_by_their_name_and_signs_out(browser: Browser, tmp_path: Path) -> None:
    service = Service(load(write_config(tmp_path)))
    token = create_token(service.state, "ann", Role.ADMIN, datetime.now(UTC), by="root")
    app = create_app(service, Gate(service.state, service.config.auth, required=True))
    try:
        with running(app) as address, opened(browser, address) as page:
            assert urlsplit(page.url).path == "/sign-in" and fits(page)
            page.get_by_label("Token").fill(token)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_text("ann")).to_be_visible()
            page.evaluate(
                """body => { const button = document.createElement("button");
                button.dataset.post = "/api/v1/silences"; button.dataset.body = body; button.textContent = "Silence";
                document.getElementById("main").append(button); }""",
                json.dumps({"match": {"model": "x"}, "for": "1h"}),
            )
            page.get_by_role("button", name="Silence").click()
            dialog = page.get_by_role("dialog", name="Silence")
            dialog.get_by_label("Why").fill("a known outage")
            expect(dialog.get_by_label("Who you are")).to_have_count(0)
            with page.expect_response("**/silences") as answer:
                dialog.get_by_role("button", name="Silence").click()
            assert answer.value.json()["by"] == "ann"
            page.get_by_role("link", name="Changes").click()
            expect(page.locator("[data-change]").first).to_contain_text("a known outage")
            assert fits(page)
            page.get_by_role("button", name="Sign out").click()
            expect(page.get_by_label("Token")).to_be_focused()
    finally:
        service.stop()
