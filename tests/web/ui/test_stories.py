"""What people do on the pages from end to end, in a real browser with a real service: find, understand, decide, undo.

No story may leave an error in the console or ask another host (`opened` sees to it).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.web.server import Server, listen
from tests.support.churn import MODEL, label
from tests.support.retraining import configured, day
from tests.web.ui.fabricate import MODEL as FABRICATED
from tests.web.ui.fabricate import Fake, after_correction, fake, firing, healthy, hostile
from tests.web.ui.test_browser import browser, fits, opened, served

from playwright.sync_api import Browser, Page, expect  # isort: skip  # where it is not installed, test_browser skips

__all__ = ["browser"]

DAYS = 8
ROWS = 40
PATIENCE = 30_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service whose model has gone wrong, and can be retrained: a person approves."""
    path = configured(tmp_path_factory.mktemp("stories"), "manual")
    path.write_text(path.read_text().replace("when: {alerts: [accuracy-low]}", "when: {}"))
    service = Service(load(path))
    for number in range(DAYS):
        day(service, number, rows=ROWS)
    service.stop()
    server = Server(load(path), listen("127.0.0.1", 0), lambda line: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.address
    server.stop()
    thread.join()


def alert_of(address: str) -> str:
    """The id of the alert that a story is about."""
    alerts = httpx.get(f"{address}/api/v1/models/{MODEL}/alerts", trust_env=False, verify=False).json()["alerts"]
    return str(next(one["id"] for one in alerts if one["rule"] == "accuracy-low"))


def many() -> Fake:
    """Five hundred models, one of which is sick."""
    found = firing()
    for place in range(499):
        found.add(fake(name=f"model-{place:03}"))
    return found


def act(page: Page, name: str, verb: str, **fields: str) -> None:
    """Fill in and send one of the forms of an alert."""
    form = page.locator("details.act", has=page.locator("summary", has_text=re.compile(f"^{name}$")))
    form.locator("summary").click()
    for field, text in {"Who you are": "ann", **fields}.items():
        form.get_by_label(field, exact=True).fill(text)
    form.get_by_role("button", name=verb, exact=True).click()


def decide(page: Page, name: str, reason: str) -> None:
    """Press a button of a model's page, and say why in the dialog."""
    page.get_by_role("button", name=name).first.click()
    dialog = page.get_by_role("dialog", name=name)
    dialog.get_by_label("Why").fill(reason)
    dialog.get_by_label("Who you are").fill("ann")
    dialog.get_by_role("button", name=name).click()
    expect(dialog).to_have_count(0)


def until(page: Page, text: str, times: int = 60) -> None:
    """Load a page again until it says something; the service works on it meanwhile."""
    for _ in range(times):
        if text in page.locator("main").inner_text():
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(f"{text!r} was not said: {page.locator('main').inner_text()[:2000]}")


# ---- find -----------------------------------------------------------------------------------------------------------


def test_the_sick_one_of_five_hundred_models_is_found(browser: Browser) -> None:
    with served(many()) as address, opened(browser, address) as page:
        search = page.locator("input[name=q]")
        if search.count():
            search.fill(FABRICATED)
            search.press("Enter")
        page.get_by_role("link", name=FABRICATED, exact=True).click()
        expect(page.locator("#state")).to_contain_text("Firing: Model accuracy below threshold!")
        page.get_by_role("link", name="Who was notified, and what to do next").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{FABRICATED}: Model accuracy below threshold!")


# ---- understand, decide, undo: one story, in this order -----------------------------------------------------------


def test_a_person_understands_why_and_takes_it_on(browser: Browser, address: str) -> None:
    id = alert_of(address)
    with opened(browser, f"{address}/models/{MODEL}") as page:
        page.locator(f'a[href="/alerts/{id}"]').first.click()
        expect(page.locator("#state")).to_contain_text("Firing")
        expect(page.locator("[data-rerun=same]")).to_be_visible()
        expect(page.get_by_text("Not by chance")).to_be_visible()
        # Both distributions: the worst feature, as a picture and a link to its page.
        worst = page.locator("[data-column=age]")
        expect(worst.locator("svg.spark")).to_be_visible()
        expect(worst.locator("svg.distributions")).to_be_visible()
        worst.get_by_role("link", name="age").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("age")
        expect(page.locator("svg.distributions").first).to_be_visible()
        page.go_back()
        plot = page.locator("#plot-accuracy .hit[tabindex='0']")
        plot.focus()
        page.keyboard.press("Home")
        expect(page.locator("#chart-accuracy .readout")).to_contain_text("breach")
        act(page, "Acknowledge", "Acknowledge", Why="the labels are being checked")
        expect(page.locator("#done")).to_contain_text("Acknowledged")
        expect(page.locator("[data-acknowledged]")).to_contain_text("Acknowledged by ann")
        expect(page.locator("[data-step=acknowledged]")).to_contain_text("the labels are being checked")


def test_a_person_silences_it_without_a_script(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/alerts/{alert_of(address)}", java_script_enabled=False) as page:
        page.locator("#act-silence summary").click()
        page.get_by_label("For", exact=True).select_option("24h")
        page.locator("#silence-by").fill("bob")
        page.locator("#silence-reason").fill("a new version comes today")
        page.get_by_role("button", name="Silence", exact=True).click()
        expect(page.locator("#done")).to_contain_text("nobody is notified")
        until(page, "Muted: silenced by bob")


def test_what_is_being_typed_is_not_taken_away(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/alerts/{alert_of(address)}") as page:
        page.locator("#act-acknowledge summary").click()
        page.locator("#acknowledge-reason").fill("half a sent")
        expect(page.locator("#live")).to_contain_text("Paused while a form is filled in", timeout=PATIENCE)
        expect(page.locator("#acknowledge-reason")).to_have_value("half a sent")


def test_another_threshold_is_tried_with_a_slider(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/models/{MODEL}/rules") as page:
        slider = page.get_by_role("slider")
        expect(page.locator("#tried")).to_have_attribute("data-alerts", "1")
        slider.focus()
        page.keyboard.press("Home")
        expect(page.locator("#tried")).to_have_attribute("data-threshold", "0")
        expect(page.locator("#tried")).to_have_attribute("data-alerts", "0")
        expect(page.locator("#try-threshold")).to_have_value("0")
        page.locator("#try-threshold").fill("0.6")
        expect(page.locator("#tried")).to_have_attribute("data-alerts", "1")
        expect(slider).to_have_value("0.6")
        expect(page.locator("#rule-text")).to_contain_text("below: 0.6")
        assert "threshold=0.6" in page.url
        page.reload()
        expect(page.locator("#try-threshold")).to_have_value("0.6")
    with opened(browser, f"{address}/models/{MODEL}/rules", java_script_enabled=False) as page:
        page.locator("#try-threshold").fill("0.1")
        page.get_by_role("button", name="Try", exact=True).click()
        expect(page.locator("#tried")).to_have_attribute("data-alerts", "0")


def test_a_person_asks_for_a_challenger_approves_it_and_rolls_back(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/alerts/{alert_of(address)}") as page:
        act(page, "Ask for a challenger", "Ask", Why="the world turned")
        expect(page.locator("#done")).to_contain_text("A challenger was asked for.")
        page.locator("[data-request] a").first.click()
        until(page, "A person decides")
        decide(page, "Approve", "it is better on all rows")
        until(page, "baking")
        page.locator("[data-stage=baking] summary").first.click()
        decide(page, "Roll back", "we want to look at it again")
        until(page, "rolled back")
        page.get_by_role("link", name="Changes").click()
        for said in ("the labels are being checked", "a new version comes today", "we want to look at it again"):
            expect(page.locator("#changes")).to_contain_text(said)


def test_an_alert_is_seen_corrected(browser: Browser, address: str) -> None:
    id = alert_of(address)
    rows = [
        label(f"{number}-{index}", number + 0.95, truth=index % 2) for number in range(DAYS) for index in range(ROWS)
    ]
    answer = httpx.post(f"{address}/api/v1/models/{MODEL}/labels", json=rows, trust_env=False, verify=False, timeout=30)
    assert answer.status_code == 202
    with opened(browser, f"{address}/alerts/{id}") as page:
        until(page, "Corrected")
        expect(page.locator("[data-value-now]")).to_have_count(1)
        expect(page.locator("details.act")).to_have_count(0)
        expect(page.get_by_text("it was no breach")).to_be_visible()
        expect(page.locator("[data-step=corrected]")).to_be_visible()


# ---- looks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_the_pages_of_alerts_and_rules_are_shown_whole(
    browser: Browser, scheme: str, width: int, tmp_path: Path
) -> None:
    made = firing().add(hostile())
    bad = next(name for name in made.shown if name != FABRICATED)
    [row, *_] = made.of_alerts[bad]
    made.of_alerts[bad] = [msgspec.structs.replace(row, id="bad", model=bad, rule=bad, title=bad, status="firing")]
    [open_one] = [one.id for one in made.alerts(FABRICATED) if one.status == "firing"]
    paths = [f"/alerts/{open_one}", "/alerts/bad", f"/models/{FABRICATED}/rules?rule=accuracy-low&threshold=0.4"]
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with served(made) as at:
        for place, path in enumerate(paths):
            with opened(browser, at + path, **options) as page:
                page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
                assert fits(page), path
                page.screenshot(path=tmp_path / f"{place}.png", full_page=True)
    for views in (after_correction(), healthy()):
        with served(views) as at, opened(browser, f"{at}/models/{FABRICATED}/rules", **options) as page:
            assert fits(page)
