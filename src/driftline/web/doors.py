"""Doors: how many batches of which size are decoded at a time, so that memory is bounded and small ones do not wait.

A batch goes through the first door that it fits; one that turns out to be larger once it is unpacked goes on to the
next. Whoever is through a door has it until the batch is stored: batches that are stored together have waited together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

import anyio

from driftline.net.limits import QueueFullError

MOST_WAITING = 64
"""How many batches may wait for one door."""

_T = TypeVar("_T")


class Size(NamedTuple):
    """What fits through a door: the bytes of a body as it was sent, its bytes unpacked, and what it takes decoded."""

    body: int
    unpacked: int
    decoded: int


class Door:
    """One door: so many at a time. ``size`` is what fits through; None is anything that is allowed at all."""

    def __init__(self, size: Size | None, at_a_time: int) -> None:
        self.size, self.at_a_time = size, at_a_time
        self._limiter = anyio.CapacityLimiter(at_a_time)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Wait for the door; raises `QueueFullError` if too many wait for it."""
        if self._limiter.statistics().tasks_waiting >= MOST_WAITING:
            raise QueueFullError(f"{MOST_WAITING} requests wait to be taken; try again later")
        async with self._limiter:
            yield


class Doors:
    """The doors of a service, from the smallest on.

    Batches have threads of their own, so that reading never waits behind a database that cannot be written.
    """

    def __init__(self) -> None:
        self._doors = (
            Door(Size(body=64 * 1024, unpacked=256 * 1024, decoded=4 * 10**6), 8),
            Door(Size(body=2**20, unpacked=4 * 2**20, decoded=32 * 10**6), 4),
            Door(None, 1),
        )
        self._threads = anyio.CapacityLimiter(sum(one.at_a_time for one in self._doors))

    @property
    def small_bytes(self) -> int:
        """How large a body may be that goes through the smallest door."""
        return self._doors[0].size.body if self._doors[0].size is not None else 0

    def for_body(self, size: int) -> tuple[Door, ...]:
        """Return the doors that a body of so many bytes may go through, the smallest first."""
        return tuple(one for one in self._doors if one.size is None or size <= one.size.body)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run the work in a thread."""
        return await anyio.to_thread.run_sync(work, limiter=self._threads)
