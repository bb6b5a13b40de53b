"""Messages to a webhook: at least once, in order, with a key, whatever the receiver does."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.alerts.channels.webhook import Webhook
from driftline.alerts.delivery import LONGEST_WAIT_SECONDS, deliver_next, wait_seconds
from driftline.errors import UnavailableError
from driftline.service.config import load
from driftline.service.runtime import Service
from tests.service.conftest import MODEL, prediction, write_config
from tests.service.steps import NOW, deliver
from tests.service.test_worker import a_day


class Receiver:
    """A webhook receiver that answers as it is told, and 204 when it is told nothing."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.got = list(statuses), list[tuple[str, dict[str, Any]]]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.statuses.pop(0) if outer.statuses else 204
                if status < 300:
                    outer.got.append((self.headers["Idempotency-Key"], msgspec.json.decode(body)))
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(500, 429)
    yield receiver
    receiver.close()


def outbox(service: Service, *bodies: bytes) -> None:
    with service.state.work() as work:
        for body in bodies:
            work.add_notification("c", "alert", body, NOW)


def test_a_failing_receiver_gets_each_message_in_the_end_and_in_order(service: Service, receiver: Receiver) -> None:
    outbox(service, b'{"n": 1}', b'{"n": 2}')
    channel, now, rng = Webhook(receiver.url), NOW, random.Random(1)
    for _ in range(4):
        while deliver_next(service.state, "c", channel, now, rng):
            pass
        now += timedelta(seconds=LONGEST_WAIT_SECONDS)
    assert [body["n"] for _, body in receiver.got] == [1, 2]
    assert len({key for key, _ in receiver.got}) == 2
    with service.state.read() as read:
        assert (read.count_notifications("delivered"), read.count_notifications("waiting")) == ({"c": 2}, {})


def test_a_message_is_not_tried_before_it_is_due(service: Service) -> None:
    outbox(service, b"{}")
    nobody = Webhook("http://127.0.0.1:9/hook")
    assert not deliver_next(service.state, "c", nobody, NOW, random.Random(1))
    with service.state.read() as read:
        [message] = read.next_notifications(["c"])
    assert (message.attempts, message.due_at > NOW) == (1, True)
    assert "ConnectError" in message.last_error
    assert not deliver_next(service.state, "c", nobody, NOW, random.Random(1))
    with service.state.read() as read:
        assert read.next_notifications(["c"])[0].attempts == 1


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_waits_grow_up_to_a_bound_and_are_spread(attempts: int, seed: int) -> None:
    wait = wait_seconds(attempts, random.Random(seed))
    full = min(2.0 ** min(attempts - 1, 30), LONGEST_WAIT_SECONDS)
    assert full / 2 <= wait <= full


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://", "http://[::bad", "http://127.0.0.1:99999/"])
def test_whatever_is_wrong_with_an_address_is_an_unavailable_receiver(url: str) -> None:
    with pytest.raises(UnavailableError):
        Webhook(url).send(b"{}", "k")


def test_an_alert_reaches_the_webhook_that_wants_its_severity_and_no_other(tmp_path: Path) -> None:
    wanted, other = Receiver(), Receiver()
    more = (
        f'notify:\n  - {{webhook: "{wanted.url}", severity: [page]}}\n  - {{webhook: "{other.url}", severity: [info]}}'
    )
    service = Service(load(write_config(tmp_path, more)))
    predictions, labels = a_day(0, right=30, wrong=30)
    deliver(service, "predictions", predictions)
    deliver(service, "labels", labels)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    service.start()
    give_up = time.monotonic() + 30
    while not wanted.got and time.monotonic() < give_up:
        time.sleep(0.05)
    service.stop()
    [(_, message)] = wanted.got
    assert (message["event"], message["alert"]["model"], message["alert"]["value"]) == ("fired", MODEL, 0.5)
    assert message["text"].startswith("⚠️ Alert: Model accuracy below threshold!")
    assert other.got == []
    for receiver in (wanted, other):
        receiver.close()
