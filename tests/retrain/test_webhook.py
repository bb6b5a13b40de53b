"""Who is told of challengers: each word at least once, in order, signed, and again while nobody takes it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from driftline.config.load import load
from driftline.errors import RefusedError, UnavailableError
from driftline.net.signatures import signed
from driftline.retrain.webhook import RetrainingWebhook
from driftline.service.runtime import Service
from tests.support.churn import MODEL
from tests.support.receiver import Answer, Server
from tests.support.retraining import NOW, after_twelve_days, loop
from tests.support.servers import until


@pytest.fixture(scope="module")
def baking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service that has promoted a challenger: one training for all."""
    folder = tmp_path_factory.mktemp("baking")
    service = after_twelve_days(folder)
    assert loop(service).stage == "baking"
    service.stop()
    return folder


@pytest.fixture
def service(baking: Path, tmp_path: Path) -> Iterator[Service]:
    shutil.copytree(baking, tmp_path, dirs_exist_ok=True)
    service = Service(load(tmp_path / "driftline.yaml"))
    yield service
    service.stop()


def teller(service: Service, url: str, now: Callable[[], Any] = lambda: NOW) -> RetrainingWebhook:
    return RetrainingWebhook(url, "hush", service.state, now, random.Random(1))


def test_each_word_once_in_order_and_signed(service: Service, server: Server) -> None:
    teller(service, server.url).tell(MODEL)
    teller(service, server.url).tell(MODEL)  # after a restart
    [first] = server.got
    assert (first.json["event"], first.json["version"], first.json["champion"]) == ("baking", "v2", "v1")
    assert first.json["request"]["contest"]["decision"] == "promote"
    expected = signed(first.body, "hush", NOW)
    assert {name.lower(): value for name, value in expected.items()}.items() <= first.headers.items()
    service.loop.roll_back(MODEL, "ann", "complaints", NOW)
    teller(service, server.url).tell(MODEL)
    last = server.got[-1]
    assert (last.json["event"], last.json["note"]) == ("rolled back", "ann: complaints")
    assert last.headers["idempotency-key"] == f"{first.json['request']['id']}-rolled-back"
    assert len(server.got) == 2


def test_a_receiver_that_is_away_is_asked_again_later_and_with_the_same_key(service: Service, server: Server) -> None:
    server.answers += [Answer(503)] * 2
    at = [NOW]
    one = teller(service, server.url, lambda: at[0])
    for _ in range(2):
        with pytest.raises(UnavailableError):
            one.tell(MODEL)
        one.tell(MODEL)  # not before a while
        teller(service, server.url, lambda: at[0]).tell(MODEL)  # nor after a restart
        at[0] += timedelta(seconds=10)
    one.tell(MODEL)
    assert len(server.got) == 3
    assert len({request.headers["idempotency-key"] for request in server.got}) == 1


def test_what_is_refused_and_what_is_old_is_not_said_again(service: Service, server: Server) -> None:
    server.answers.append(Answer(400))
    with pytest.raises(RefusedError):
        teller(service, server.url).tell(MODEL)
    teller(service, server.url, lambda: NOW + timedelta(minutes=10)).tell(MODEL)
    assert len(server.got) == 1
    service.loop.roll_back(MODEL, "ann", "complaints", NOW)
    teller(service, server.url, lambda: NOW + timedelta(days=4)).tell(MODEL)
    assert len(server.got) == 1


def test_a_running_service_tells(tmp_path: Path, server: Server) -> None:
    tell = f'tell: {{url: "{server.url}/hook", secret: hush}}\n      bake: 3d'
    service = after_twelve_days(tmp_path, **{"bake: 3d": tell})
    service.start()
    try:
        until(lambda: server.got, "it tells")
    finally:
        service.stop()
    assert server.got[0].json["event"] == "baking"
