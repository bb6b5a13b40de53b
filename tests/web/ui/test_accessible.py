"""axe-core finds nothing on any page, in both themes, on a phone and on a desk; and pages fit where they are shown."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlencode

import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.templating import url_segment
from driftline.web.app import create_app
from tests.support.churn import MODEL as CHURN
from tests.support.seasons import ALL_RULE, WHOLE_RULE, day_of, seasons_config
from tests.support.steps import deliver, work
from tests.web.ui.fabricate import MODEL, a_fleet, fake, firing, set_aside
from tests.web.ui.test_browser import browser, fits, opened, running, served

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


FEATURE = "age<b>alert(1)</b>\"'\\&/?#%" + "w" * 80
SEGMENT = "<i>\"'&/?#%" + "v" * 80
"""A feature and a value of a segment that want to be markup or another address, and are wider than a phone."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose model has odd names, and goes wrong on the third of four days, mostly in one segment."""
    folder = tmp_path_factory.mktemp("odd")
    seasons_config(folder, WHOLE_RULE, ALL_RULE)
    reference = pl.read_parquet(folder / "reference.parquet").rename({"age": FEATURE})
    reference.with_columns(pl.col("season").replace("winter", SEGMENT)).write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    path.write_text(path.read_text().replace("[age]", json.dumps([FEATURE])))
    service = Service(load(path))
    for day in range(4):
        predictions, labels = day_of(day, {"summer": (30, 40), SEGMENT: (38 if day < 2 else 5, 40)})
        for at, row in enumerate(predictions):
            row["features"][FEATURE] = row["features"].pop("age") + at % 9 + 30 * (day > 1)
        deliver(service, "predictions", predictions)
        deliver(service, "labels", labels)
    work(service)
    yield service
    service.stop()


def test_axe_finds_nothing_on_the_pages_of_one_model_whose_names_are_odd(browser: Browser, odd: Service) -> None:
    alerts = {one.rule: one.id for one in odd.views.alerts()}
    assert set(alerts) == {"accuracy-low", "segment-low"}
    home = f"/models/{CHURN}"
    paths = [f"/alerts/{one}" for one in alerts.values()]
    paths += [home, f"{home}/features/{url_segment(FEATURE)}", f"{home}/segments", f"{home}/rules?rule=segment-low"]
    paths += [f"{home}/features/{url_segment(FEATURE)}?{urlencode({'segment': f'season:{SEGMENT}'})}"]
    with running(create_app(odd)) as at:
        for path in (*paths, "/sign-in"):
            axe_finds_nothing(browser, at, path)
        with opened(browser, f"{at}/alerts/{alerts['accuracy-low']}") as page:
            page.locator(".steps").get_by_role("link", name="age").click()
            expect(page.locator("[data-feature]")).to_have_text(FEATURE)
            page.get_by_role("navigation", name="Pages of this model").get_by_role("link", name="Overview").click()
            expect(page.get_by_role("heading", level=1)).to_contain_text(CHURN)
            page.get_by_role("link", name="Who was notified, and what to do next").first.click()
            page.wait_for_url("**/alerts/*")


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_axe_finds_nothing(browser: Browser, address: str, path: str) -> None:
    axe_finds_nothing(browser, address, path)


def axe_finds_nothing(browser: Browser, address: str, path: str) -> None:
    wrong = []
    with opened(browser, address + path) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        page.evaluate(AXE)
        for width, scheme, run in SEEN:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert fits(page), (path, width, scheme)
            wrong += [f"{width} {scheme} {one}" for one in page.evaluate(RUN, run)]
    assert wrong == [], path


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
