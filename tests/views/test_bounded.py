"""What is shown of a model takes the same work of the database whatever its history is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from benchmarks.history import HOUR, START, History, served
from driftline.service.runtime import Service
from driftline.views.fleet import FleetReader
from driftline.views.metrics import MetricsReader
from driftline.web.app import create_app
from tests.support.effort import Effort, counted

SHORT, LONG = 150, 1500  # windows: more than the page of a model shows, and ten times as many
MODEL = "m000"


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[Service, Service]]:
    """One model with a short and with a long history, three rules and one alert."""
    with served(History(1, SHORT, 2)) as short, served(History(1, LONG, 2)) as long:
        yield short, long


def efforts(services: tuple[Service, Service], read: Callable[[Service, int], object]) -> tuple[Effort, Effort]:
    found = []
    for service, windows in zip(services, (SHORT, LONG), strict=True):
        read(service, windows)  # what is read once
        with counted() as effort:
            read(service, windows)
        found.append(effort)
    return found[0], found[1]


READS: dict[str, Callable[[Service, int], object]] = {
    "alerts": lambda service, windows: service.views.alerts(),
    "alerts that fire": lambda service, windows: service.views.alerts(status="firing"),
    "one alert": lambda service, windows: service.views.alert("a" * 16),
    "windows from a moment on": lambda service, windows: service.views.windows(
        MODEL, start=START + HOUR * (windows - 48)
    ),
    "windows up to a moment": lambda service, windows: service.views.windows(MODEL, end=START + HOUR * 48),
    "models": lambda service, windows: service.views.models(),
    "one model": lambda service, windows: service.views.model(MODEL),
    "the index": lambda service, windows: ask(service, "/"),
    "a list of all models, of a process that begins": lambda service, windows: FleetReader(
        service.config, service.tasks, service.state, service.inbox
    ).rows(),
    "the quarantine of a model": lambda service, windows: ask(service, f"/models/{MODEL}/quarantine"),
    "the system": lambda service, windows: ask(service, "/system"),
    "the page of a model": lambda service, windows: ask(service, f"/models/{MODEL}"),
    "the page of an alert": lambda service, windows: ask(service, "/alerts/" + "a" * 16),
    "the page of a model, over a span": lambda service, windows: ask(
        service, f"/models/{MODEL}?start=2025-01-02&end=2025-01-04"
    ),
    "the page of a model, as known then": lambda service, windows: ask(service, f"/models/{MODEL}?known=then"),
    "the page of a feature": lambda service, windows: ask(service, f"/models/{MODEL}/features/f0"),
    "the page of segments": lambda service, windows: ask(service, f"/models/{MODEL}/segments?windows=120"),
    "metrics, of a process that begins": lambda service, windows: MetricsReader(
        service.config, service.tasks, service.state, service.inbox
    ).snapshot({}, START),
}


def ask(service: Service, address: str) -> None:
    assert TestClient(create_app(service)).get(address).status_code == 200


@pytest.mark.parametrize("what", READS)
def test_ten_times_the_history_is_no_more_work(services: tuple[Service, Service], what: str) -> None:
    short, long = efforts(services, READS[what])
    assert short.writes == long.writes == []
    assert len(short.statements) == len(long.statements) <= 44  # four are of the mark
    assert 0 < long.steps <= 1.1 * short.steps


def test_rules_are_tried_on_the_newest_windows_only(
    services: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftline.views.rules.TRIED_WINDOWS", SHORT - 50)
    address = f"/models/{MODEL}/rules?rule=recall-low&threshold=0.4"
    short, long = efforts(services, lambda service, windows: ask(service, address))
    assert short.writes == long.writes == []
    assert len(short.statements) == len(long.statements) <= 30
    assert 0 < long.steps <= 1.1 * short.steps


def test_what_is_shown_is_what_was_written(services: tuple[Service, Service]) -> None:
    for service, windows in zip(services, (SHORT, LONG), strict=True):
        [alert] = service.views.alerts()
        assert alert == service.views.alert(alert.id)
        assert (alert.value, alert.value_now) == (0.55, 0.55) and alert.newest is not None
        assert alert.newest.window.start == START + HOUR * (windows - 1)
        shown = service.views.windows(MODEL, start=START + HOUR * 10, end=START + HOUR * 13)
        assert [one.summary.start for one in shown] == [START + HOUR * place for place in (10, 11, 12)]
        assert [[said.rule for said in one.verdicts] for one in shown] == [
            ["accuracy-low", "recall-low", "missing"]
        ] * 3
        assert service.views.model(MODEL).windows == windows
        assert service.views.windows(MODEL)[-5:] == service.views.windows(MODEL, newest=5)
        assert service.views.windows(MODEL, start=START + timedelta(days=900)) == []


def test_the_metrics_of_many_models_take_no_statement_a_model_while_nothing_changes() -> None:
    number = []
    for models in (1, 8):
        with served(History(models, 3, 2)) as service:
            reader = MetricsReader(service.config, service.tasks, service.state, service.inbox)
            first = reader.snapshot({}, START)
            with counted() as effort:
                assert reader.snapshot({}, START) == first
            number.append(len(effort.statements))
    assert number[0] == number[1]
