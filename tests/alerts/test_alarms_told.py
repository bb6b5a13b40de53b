"""Alarms of the detector on their way to people: silences, receivers, and other alerts beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from driftline.config.load import load
from driftline.monitoring.alerting import end_orphans, names_of_rules
from driftline.monitoring.model import remember_rules
from driftline.service.runtime import Service
from driftline.web.app import create_app
from tests.support.churn import MODEL
from tests.support.daily import by_backtest, daily_config, day_of, said
from tests.support.receiver import Server
from tests.support.steps import NOW, deliver, work


@pytest.fixture
def receivers() -> Iterator[tuple[Server, Server]]:
    """One that wants pages, and one that wants all."""
    both = Server(), Server()
    yield both
    for one in both:
        one.close()


def write(folder: Path, more: str = "") -> Path:
    daily_config(folder, timed=14, more=more)
    path = folder / "driftline.yaml"
    rules = "budget: 1 per 90d, rules: [{name: accuracy-low, measure: accuracy, below: 0.75, severity: page}]"
    path.write_text(path.read_text().replace("budget: 1 per 90d", rules))
    return path


def send(service: Service, day: int, *, right: float = 0.9, broken: bool = False) -> None:
    """A day with its labels, and the first event of the next one, which closes it."""
    one = day_of(day, right=right, broken=broken)
    deliver(service, "predictions", one.predictions)
    deliver(service, "labels", one.labels)
    deliver(service, "predictions", day_of(day + 1).predictions[:1])


def until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.05)


def got(server: Server) -> list[tuple[str, str, str]]:
    """The events that a receiver was notified of, with rule and title."""
    notices = [notice for one in server.got for notice in one.json["notices"]]
    return [(one["event"], one["alert"]["rule"], one["alert"]["title"]) for one in notices]


def test_an_alarm_is_silenced_reaches_who_wants_it_and_is_muted_by_no_other_alert(
    tmp_path: Path, receivers: tuple[Server, Server]
) -> None:
    """A model that is wrong, by a rule and by the detector; then its data break, which only the detector can say."""
    pages, all_of_it = receivers
    notify = f'notify: [{{webhook: "{pages.url}", name: a, severity: [page]}}, {{webhook: "{all_of_it.url}", name: b}}]'
    with stopping(Service(load(write(tmp_path, notify)))) as service:
        tell_the_story(service, pages, all_of_it)


@contextmanager
def stopping(service: Service) -> Iterator[Service]:
    """Stop a service also where a test fails: its threads would go on."""
    try:
        yield service
    finally:
        service.stop()


def tell_the_story(service: Service, pages: Server, all_of_it: Server) -> None:
    client = TestClient(create_app(service))
    asked = {"match": {"rule": "budget"}, "by": "ann", "reason": "x", "for": "2h"}
    silence = client.post("/api/v1/silences", json=asked).json()["id"]
    for day in range(3):
        send(service, day, right=0.9 if day < 2 else 0.2)
    service.start()
    until(lambda: got(pages) and got(all_of_it))
    until(lambda: any(one.rule == "budget" and one.muted for one in service.views.alerts(MODEL)))
    page = ("fired", "accuracy-low", "Model accuracy below threshold!")
    assert (got(pages), got(all_of_it)) == ([page], [page])
    client.delete(f"/api/v1/silences/{silence}")
    until(lambda: len(got(all_of_it)) == 2)
    assert got(all_of_it)[1] == ("fired", "budget", "Concept drift suspected: accuracy")
    send(service, 3, right=0.2, broken=True)
    service.wake()
    until(lambda: len(got(all_of_it)) == 3)
    assert got(all_of_it)[2] == ("changed", "budget", "Pipeline fault suspected: age")
    assert got(pages) == [page]


def test_a_model_that_is_removed_and_comes_back_goes_on_with_what_its_detector_knew(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_text()
    service = Service(load(path))
    for day in range(4):
        send(service, day, broken=day == 2)
    work(service)
    known: list[Any] = [said(service), stored(service)]
    service.stop()
    path.write_text(whole.replace("  churn:", "  other:"))
    assert started(path) == [("resolved", "the model was removed from the configuration")] * len(firing(known))
    path.write_text(whole)
    assert [kind for kind, _ in started(path)] == ["reopened"] * len(firing(known))
    service = Service(load(path))
    assert work(service) == []
    assert [said(service), stored(service)] == known
    send(service, 4)
    work(service)
    assert said(service) == by_backtest(service)[:5]
    service.stop()


def stored(service: Service) -> Any:
    with service.state.read() as read:
        return read.detections.detector(MODEL), read.alerts.find(MODEL, rule="budget", status="firing")


def firing(known: list[Any]) -> list[Any]:
    found: list[Any] = known[1][1]
    assert found
    return found


def started(path: Path) -> list[tuple[str, str]]:
    """Start a service as it is configured, and stop it again: what people hear of the alarms."""
    service = Service(load(path))
    with service.state.work() as change:
        rules = {name: names_of_rules(one) for name, one in service.config.models.items()}
        events = end_orphans(change, rules, NOW)
    events += work(service)
    for model in service.models.values():
        remember_rules(model, service.state)
    service.stop()
    return [(one.kind.value, one.reason) for one in events if one.alert.rule == "budget"]
