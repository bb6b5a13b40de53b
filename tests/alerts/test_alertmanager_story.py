"""An alert's way through a real Alertmanager to a webhook, with everything on the way failing once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import httpx
import pytest

from driftline.alerts.attention import SilenceBody, add_silence, end_silence
from driftline.alerts.channels import alertmanager as channel
from driftline.config.load import load
from driftline.service import steps
from driftline.service.runtime import Service
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.receiver import Server
from tests.support.servers import Alertmanager, free_port, until
from tests.support.steps import deliver, send_day


class Pager:
    """The webhook behind Alertmanager; it can be away."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/"
        self._servers: list[Server] = []

    def come(self) -> None:
        self._servers.append(Server(port=self._port))

    def go(self) -> None:
        if self._servers:
            self._servers[-1].close()

    @property
    def heard(self) -> list[tuple[str, str, str]]:
        """What it was told, each once in a row: status, rule, outcome."""
        alerts = [alert for server in self._servers for request in server.got for alert in request.json["alerts"]]
        said = [(one["status"], one["labels"]["alertname"], one["annotations"]["outcome"]) for one in alerts]
        return [one for one, _ in groupby(said)]


@pytest.fixture
def pager() -> Iterator[Pager]:
    pager = Pager()
    yield pager
    pager.go()


@pytest.fixture
def alertmanager(tmp_path: Path, pager: Pager) -> Iterator[Alertmanager]:
    server = Alertmanager(tmp_path / "alertmanager", pager.url)
    yield server
    server.stop()


@pytest.fixture
def service(tmp_path: Path, alertmanager: Alertmanager, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(steps, "KEEP_EVERY", timedelta(seconds=1))
    monkeypatch.setattr(channel, "ALIVE_FOR", timedelta(seconds=3))
    monkeypatch.setattr(channel, "SILENCED_FOR", timedelta(seconds=4))
    monkeypatch.setattr(channel, "OVER_IN", timedelta(seconds=3))
    service = Service(load(write_config(tmp_path, f'notify: [{{alertmanager: "{alertmanager.url}"}}]')))
    service.start()
    yield service
    service.stop()


def bad_day(service: Service, day: int) -> None:
    send_day(service, day, right=30, wrong=30)
    deliver(service, "predictions", [prediction(f"after-{day}", day + 1.5, said=1)])
    service.wake()


def held(alertmanager: Alertmanager) -> list[str]:
    return [one["labels"]["alertname"] for one in httpx.get(f"{alertmanager.url}/api/v2/alerts", verify=False).json()]


def states(alertmanager: Alertmanager) -> list[str]:
    return [one["status"]["state"] for one in httpx.get(f"{alertmanager.url}/api/v2/alerts", verify=False).json()]


def be_silent(service: Service) -> str:
    body = SilenceBody({"model": MODEL}, "ann", "planned", duration="2h")
    return add_silence(service.state, body, datetime.now(UTC)).id


def good_day(service: Service, day: int) -> None:
    send_day(service, day, right=60, wrong=0)
    deliver(service, "predictions", [prediction(f"after-{day}", day + 1.5, said=1)])
    service.wake()


def test_fired_then_resolved_with_a_pager_that_comes_late(
    service: Service, alertmanager: Alertmanager, pager: Pager
) -> None:
    bad_day(service, 0)
    until(lambda: held(alertmanager) == ["accuracy-low"], "Alertmanager has the alert")
    assert pager.heard == []
    pager.come()
    until(lambda: pager.heard, "the pager is told")
    send_day(service, 2, right=60, wrong=0)
    deliver(service, "predictions", [prediction("later", 3.5, said=1)])
    service.wake()
    until(lambda: len(pager.heard) > 1, "the pager is told of the end")
    assert pager.heard == [("firing", "accuracy-low", "firing"), ("resolved", "accuracy-low", "resolved")]


def test_an_alertmanager_that_was_killed_hears_of_it_again_and_of_its_correction(
    service: Service, alertmanager: Alertmanager, pager: Pager
) -> None:
    pager.come()
    bad_day(service, 0)
    until(lambda: pager.heard, "the pager is told")
    alertmanager.kill()
    alertmanager.start()
    until(lambda: held(alertmanager) == ["accuracy-low"], "Alertmanager has it again")
    alertmanager.kill()
    corrections = [label(f"0-{index}", 1.6, truth=index % 2) for index in range(60)]
    deliver(service, "labels", corrections)
    service.wake()
    until(lambda: not service.views.alerts(MODEL, status="firing"), "it is corrected")
    alertmanager.start()
    until(lambda: pager.heard[-1][0] == "resolved", "the pager is told of the correction")
    first, *again, last = pager.heard
    assert (first, last) == (("firing", "accuracy-low", "firing"), ("resolved", "accuracy-low", "corrected"))
    assert set(again) <= {("firing", "accuracy-low", "corrected")}  # it has forgotten that it told of it


def test_a_silenced_alert_is_silent_there_too_and_neither_ends_nor_fires_by_it(
    service: Service, alertmanager: Alertmanager, pager: Pager
) -> None:
    pager.come()
    bad_day(service, 0)
    until(lambda: pager.heard, "the pager is told")
    silence = be_silent(service)
    until(lambda: states(alertmanager) == ["suppressed"], "it is silenced there")
    time.sleep(4)  # longer than it lives there without hearing of it, and than a silence that is not prolonged
    assert states(alertmanager) == ["suppressed"]
    assert pager.heard == [("firing", "accuracy-low", "firing")]
    end_silence(service.state, silence, datetime.now(UTC), by="anna")
    until(lambda: states(alertmanager) == ["active"], "it is silent no longer")
    be_silent(service)
    until(lambda: states(alertmanager) == ["suppressed"], "it is silenced there again")
    good_day(service, 2)  # who was told of it hears of its end, silenced or not
    until(lambda: len(pager.heard) > 1, "the pager is told of the end")
    assert pager.heard[1:] == [("resolved", "accuracy-low", "resolved")]


def test_what_fires_and_ends_in_a_silence_is_seen_there_and_heard_by_nobody(
    service: Service, alertmanager: Alertmanager, pager: Pager
) -> None:
    pager.come()
    silence = be_silent(service)
    bad_day(service, 0)
    until(lambda: states(alertmanager) == ["suppressed"], "it is there, and silenced")
    good_day(service, 2)
    until(lambda: states(alertmanager) == [], "it is over there")
    assert pager.heard == []
    bad_day(service, 4)
    until(lambda: states(alertmanager) == ["suppressed"], "the next one is there")
    end_silence(service.state, silence, datetime.now(UTC), by="anna")
    until(lambda: pager.heard, "the pager is told once the silence is over")
    assert pager.heard == [("firing", "accuracy-low", "firing")]
