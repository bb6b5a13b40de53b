"""Doors bound how many batches of which size are decoded at a time; what does not fit goes on to the next one."""

from __future__ import annotations

import asyncio
import gzip
import io
from contextlib import AsyncExitStack

import msgspec
import polars as pl
import pytest

from driftline.net.limits import QueueFullError, TooLargeError
from driftline.service.runtime import Service
from driftline.web.desk import Desk, Incoming
from driftline.web.doors import MOST_WAITING, Doors, Size
from driftline.web.events import EventDoor
from driftline.web.requests import ARROW, JSON
from tests.support.churn import MODEL, prediction
from tests.support.servers import until

LARGE = 2**22
AT_A_TIME = {1_000: 8, 2**17: 4, LARGE: 1}


def test_each_body_has_its_doors_the_smallest_first() -> None:
    doors = Doors()
    assert [[one.at_a_time for one in doors.for_body(size)] for size in AT_A_TIME] == [[8, 4, 1], [4, 1], [1]]
    assert [len(doors.for_body(size)) for size in (doors.small_bytes, doors.small_bytes + 1)] == [3, 2]


@pytest.mark.parametrize("size", AT_A_TIME)
def test_so_many_go_through_at_a_time_and_so_many_wait(size: int) -> None:
    async def crowd() -> None:
        door = Doors().for_body(size)[0]
        inside = 0

        async def enter(leave: asyncio.Event) -> None:
            nonlocal inside
            async with door.open():
                inside += 1
                await leave.wait()
            inside -= 1

        leave = asyncio.Event()
        waiting = [asyncio.create_task(enter(leave)) for _ in range(AT_A_TIME[size] + MOST_WAITING)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert inside == AT_A_TIME[size]
        async with AsyncExitStack() as stack:
            with pytest.raises(QueueFullError, match="try again later"):
                await stack.enter_async_context(door.open())
        leave.set()
        await asyncio.gather(*waiting)
        assert inside == 0

    asyncio.run(crowd())


def rows(number: int) -> list[dict[str, object]]:
    return [prediction(f"d{at}", 0.1, said=1) for at in range(number)]


def zeros(number: int) -> bytes:
    """A frame that is small as it is sent, and large once it is unpacked."""
    one = {"id": [str(at) for at in range(number)], "prediction": ["0"] * number, "feature.age": [0.0] * number}
    stream = io.BytesIO()
    pl.DataFrame(one).write_ipc_stream(stream, compression="zstd")
    return stream.getvalue()


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_what_unpacks_to_more_than_its_door_takes_goes_to_the_next(service: Service, coding: str) -> None:
    small = Size(body=1_000_000, unpacked=4_000, decoded=100_000)
    if coding == "gzip":
        came = Incoming("predictions", gzip.compress(msgspec.json.encode(rows(100))), JSON, coding="gzip")
    else:
        came = Incoming("predictions", zeros(3_000), ARROW)
    desk = Desk(service, MODEL)
    with pytest.raises(TooLargeError):
        desk.check(came, small)
    assert len(desk.check(came).events) in (100, 3_000)


def test_a_body_of_any_size_is_stored_whichever_doors_it_tries(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Size | None] = []
    check = Desk.check

    def watched(self: Desk, came: Incoming, size: Size | None = None, *, by_row: bool = False) -> object:
        tried.append(size)
        return check(self, came, size, by_row=by_row)

    monkeypatch.setattr(Desk, "check", watched)
    counter = EventDoor(service)._counter
    frame = zeros(60_000)
    assert len(frame) < 2**20
    taken = asyncio.run(counter.take(MODEL, Incoming("predictions", frame, ARROW)))
    assert taken == (60_000, 0)
    assert [None if one is None else one.decoded for one in tried] == [4 * 10**6, 32 * 10**6]
    assert service.inbox.waiting_events() == {MODEL: 60_000}


def test_batches_of_middling_size_wait_for_the_disk_together(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each door is kept until its batch is stored; with one such door, each commit would be of one batch."""
    groups: list[int] = []
    store, counter = service.inbox.accept_all, EventDoor(service)._counter
    bodies = [
        msgspec.json.encode([prediction(f"{which}-{at}", 0.1, said=1) for at in range(1_000)]) for which in range(9)
    ]
    assert all(counter._doors.small_bytes < len(body) < 2**20 for body in bodies)

    async def send() -> list[tuple[int, int]]:
        return await asyncio.gather(*(counter.take(MODEL, Incoming("predictions", body, JSON)) for body in bodies))

    def slow(deliveries: list[object]) -> object:
        if not groups:  # the others that are through the door meanwhile wait for their turn
            until(lambda: len(deliveries) + len(counter._intake._waiting) == 4, "four are checked", 20)
        groups.append(len(deliveries))
        return store(deliveries)  # type: ignore[arg-type]

    monkeypatch.setattr(service.inbox, "accept_all", slow)
    assert asyncio.run(send()) == [(1_000, 0)] * 9
    assert sum(groups[:2]) == 4
    assert sum(groups) == 9


def test_a_new_version_needs_no_door(service: Service) -> None:
    """Else all requests of the first moment of a version wait for a door, and many of them get 429."""
    body = msgspec.json.encode([prediction("a", 0.1, said=1) | {"version": "never seen"}])
    delivery = Desk(service, MODEL).quickly(Incoming("predictions", body, JSON))
    assert delivery is not None and len(delivery.events) == 1
