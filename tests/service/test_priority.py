"""Requests go before what is done with their events later."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from driftline.service.priority import Senders
from driftline.web.server import listen

LONG = 1e6


def test_who_processes_rests_until_no_request_has_been_under_way_for_some_looks() -> None:
    looks: list[int] = []
    request = ExitStack()

    def sleep(seconds: float) -> None:
        looks.append(len(looks))
        if len(looks) == 10:
            request.close()

    senders = Senders(sleep)
    request.enter_context(senders.one())
    senders.let_pass(LONG, lambda: False)
    assert len(looks) == 14
    looks.clear()
    senders.let_pass(LONG, lambda: False)
    assert len(looks) == 4


def test_a_short_break_between_two_batches_of_a_sender_is_no_end() -> None:
    looks: list[bool] = []
    senders = Senders(lambda seconds: looks.append(True))
    under_way = iter([False, True] * 3 + [False] * 10)
    request = ExitStack()

    def stopping() -> bool:
        request.close()
        if next(under_way):
            request.enter_context(senders.one())
        return False

    senders.let_pass(LONG, stopping)
    assert len(looks) == 10


@pytest.mark.parametrize(("worked", "stopping"), [(0.0, False), (LONG, True)])
def test_the_rest_is_bounded_by_the_work_and_ends_with_the_service(worked: float, stopping: bool) -> None:
    senders = Senders(lambda seconds: pytest.fail("it rests"))
    with senders.one():
        senders.let_pass(worked, lambda: stopping)


def test_the_end_of_an_answer_does_not_wait_for_its_head() -> None:
    """Nagle's algorithm would hold it back until the other side acknowledges the head, 40 ms later."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
