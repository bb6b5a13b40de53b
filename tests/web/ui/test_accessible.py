"""axe-core finds nothing on any page, in both themes, on a phone and on a desk; and pages fit where they are shown."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.web.ui.fabricate import MODEL, a_fleet, fake, firing, set_aside
from tests.web.ui.test_browser import browser, fits, opened, served

__all__ = ["browser"]

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN = """async (only) => (await axe.run(document, { resultTypes: ["violations"], ...only })).violations.map(
  (one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((each) => each.html.slice(0, 200)).join(" | ")}`)"""
ALL, COLOURS = {}, {"runOnly": ["color-contrast"]}
SEEN: list[tuple[int, Literal["light", "dark"], dict[str, list[str]]]] = [
    (390, "dark", ALL),
    (1440, "light", ALL),
    (390, "light", COLOURS),
    (1440, "dark", COLOURS),
]

PAGES = {
    "the fleet": "/",
    "the fleet, searched": "/?q=burning&sort=name",
    "the fleet, nothing found": "/?q=nothing",
    "a model": f"/models/{MODEL}",
    "a model without events": "/models/new-000",
    "quarantine": f"/models/{MODEL}/quarantine",
    "quarantine, empty": "/models/new-000/quarantine",
    "the system": "/system",
    "the changes": "/audit",
    "the API": "/api/docs",
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Models in all states, one with rows that were set aside."""
    with served(a_fleet().add(firing()).add(fake(name="quiet")).add(set_aside())) as address:
        yield address


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_axe_finds_nothing(browser: Browser, address: str, path: str) -> None:
    wrong = []
    with opened(browser, address + path) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        page.evaluate(AXE)
        for width, scheme, run in SEEN:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert fits(page), (width, scheme)
            wrong += [f"{width} {scheme} {one}" for one in page.evaluate(RUN, run)]
    assert wrong == []


def test_the_fleet_is_found_by_the_keyboard_and_without_a_script(browser: Browser, address: str) -> None:
    with opened(browser, address, java_script_enabled=False) as page:
        page.get_by_label("Search").fill("burning")
        page.keyboard.press("Enter")
        expect(page.locator("[data-model]")).to_have_count(1)
        page.get_by_role("combobox", name="State").select_option("ok")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", name="No model is like that")).to_be_visible()
        page.get_by_role("link", name="Show all", exact=True).click()
        expect(page.locator("[data-model]")).to_have_count(6)
    with opened(browser, address) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.get_by_label("Search").focus()
        page.keyboard.type("well")
        expect(page.locator("[data-model]")).to_have_count(1)
        expect(page.get_by_label("Search")).to_be_focused()
        expect(page.get_by_label("Search")).to_have_value("well")
        assert page.url.endswith("?q=well&sort=attention")
        expect(page.locator("#news")).to_have_text("1 of 6 · show all")
        page.get_by_label("Order").select_option("name")
        expect(page.get_by_role("heading", name="Models 1").last).to_be_visible()
        assert "sort=name" in page.url


def test_what_is_new_is_read_aloud_and_a_tick_of_the_clock_is_not(browser: Browser) -> None:
    views = a_fleet()
    with served(views, refresh_seconds=0.1) as address, opened(browser, address) as page:
        polled: list[int] = []
        page.on("response", lambda answer: polled.append(answer.status))
        expect(page.locator("#live")).to_contain_text("Live")
        page.wait_for_function("() => performance.getEntriesByType('resource').length > 4")
        expect(page.locator("#news")).to_have_text("")
        page.get_by_label("Search").focus()
        page.keyboard.type("a")
        expect(page.locator("#news")).to_have_text("4 of 4 · show all")
        views.add(firing())
        expect(page.locator("#news")).to_have_text(f"{MODEL}: Firing: Model accuracy below threshold!")
        expect(page.get_by_label("Search")).to_have_value("a")
        assert polled and set(polled) <= {200, 304}
