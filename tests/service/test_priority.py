"""Requests go before what is done with their events later."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from driftline import clock
from driftline.config.load import load
from driftline.monitoring import draining
from driftline.service.jobs import Pass
from driftline.service.priority import Senders, answer_soon
from driftline.service.runtime import Service
from driftline.service.worker import PUT_OFF
from driftline.web.server import listen
from tests.support.churn import MODEL, prediction, write_config
from tests.support.steps import NOW, deliver

LONG = 1e6


class Time:
    """A clock that goes on by sleeping alone; at some looks a request begins, at others it ends."""

    def __init__(self, *, begins: set[int], ends: set[int]) -> None:
        self.looks, self.seconds, self._begins, self._ends = 0, 100.0, begins, ends
        self.request = ExitStack()
        self.senders = Senders(self.sleep, lambda: self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.looks += 1
        if self.looks in self._ends:
            self.request.close()
        if self.looks in self._begins:
            self.request.enter_context(self.senders.one())


def test_who_processes_rests_until_no_request_has_been_under_way_for_a_moment() -> None:
    time = Time(begins=set(), ends={10})
    time.request.enter_context(time.senders.one())
    time.senders.let_pass(LONG, lambda: False)
    assert 13 <= time.looks <= 15  # 20 ms more, in looks of 5 ms


def test_a_short_break_between_two_batches_of_a_sender_is_no_end() -> None:
    time = Time(begins={12, 22}, ends={10, 20, 30})
    time.request.enter_context(time.senders.one())
    time.senders.let_pass(LONG, lambda: False)
    assert 33 <= time.looks <= 35


def test_it_costs_nothing_where_nobody_sends() -> None:
    time = Time(begins=set(), ends=set())
    time.senders.let_pass(LONG, lambda: False)
    assert time.looks == 0


def test_the_rest_is_three_times_the_work_and_five_seconds_at_most() -> None:
    for worked, seconds in ((1.0, 3.0), (LONG, 5.0), (0.0, 0.0)):
        time = Time(begins=set(), ends=set())
        with time.senders.one():
            time.senders.let_pass(worked, lambda: False)
        assert time.seconds - 100.0 == pytest.approx(seconds, abs=0.006)


def test_a_service_that_stops_does_not_rest() -> None:
    time = Time(begins=set(), ends=set())
    with time.senders.one():
        time.senders.let_pass(LONG, lambda: True)
    assert time.looks == 0


BATCHES = 4


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, Time]]:
    """A service to which somebody sends all the time, with four batches that wait, and the clock of its rests.

    Each batch takes a tenth of a second of the processor, and a hundred seconds until it has had that.
    """
    service, time, processor = Service(load(write_config(tmp_path))), Time(begins=set(), ends=set()), 0.0
    service.worker.step()
    for k in range(BATCHES):
        deliver(service, "predictions", [prediction(f"{k}", k / 10, said=1)])

    def slow(*asked: Any) -> int:
        nonlocal processor
        done = draining.drain(*asked)
        if done:
            processor, time.seconds = processor + 0.1, time.seconds + 100.0
        return done

    monkeypatch.setattr(draining, "MOST_EVENTS", 1)
    monkeypatch.setattr("driftline.service.worker.drain", slow)
    monkeypatch.setattr(clock, "worked_seconds", lambda: processor)
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: time.seconds)
    service.worker._senders = time.senders
    with time.senders.one():
        yield service, time
    service.stop()


def test_who_was_pushed_aside_while_working_rests_by_what_was_worked(
    busy: tuple[Service, Time], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, time = busy
    monkeypatch.setattr(clock, "now", lambda: NOW + PUT_OFF / 2)
    for done in range(1, BATCHES + 1):
        service.worker.step()
        assert time.looks * 0.005 == pytest.approx(done * 0.3, abs=done * 0.006)
        assert service.inbox.waiting_events().get(MODEL, 0) == BATCHES - done


def test_what_has_waited_for_a_minute_is_put_off_no_more(
    busy: tuple[Service, Time], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, time = busy
    monkeypatch.setattr(clock, "now", lambda: NOW + PUT_OFF + timedelta(seconds=1))
    steps = 0
    while service.inbox.waiting_events() and steps < 10 * BATCHES:
        assert service.worker.step() is Pass.AGAIN
        steps += 1
    assert (steps, service.inbox.oldest_of(MODEL)) == (BATCHES, None)
    assert time.looks == pytest.approx(60, abs=2)  # behind the last batch alone: nothing waits any more


def test_the_end_of_an_answer_does_not_wait_for_its_head() -> None:
    """Nagle's algorithm would hold it back until the other side acknowledges the head, 40 ms later."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_is_made_before_the_first_request_is_searched_for_garbage_no_more() -> None:
    switch, thresholds = sys.getswitchinterval(), gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        answer_soon()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == (10_000, 10, 10)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switch)
