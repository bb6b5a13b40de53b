"""Many requests at a time: one group is written while the next gathers, and everybody gets an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from driftline.errors import ConflictError, StorageError
from driftline.net.limits import QueueFullError
from driftline.store.deliveries import Delivery
from driftline.web import intake
from driftline.web.intake import Intake

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


class Store:
    """An inbox that waits before it stores: the one fault that cannot be had from a real one at will."""

    def __init__(self, outcome: Callable[[Delivery], Any] = lambda one: len(one.key or "")) -> None:
        self.groups: list[list[str]] = []
        self.may_go, self.counted = threading.Event(), 0
        self._outcome = outcome

    def accept_all(self, deliveries: Sequence[Delivery]) -> list[Any]:
        self.groups.append([one.key or "" for one in deliveries])
        assert self.may_go.wait(10)
        return [self._outcome(one) for one in deliveries]

    def waiting_events(self) -> dict[str, int]:
        self.counted += 1
        return {"m": 7}


def delivery(key: str) -> Delivery:
    return Delivery("m", "predictions", NOON, key=key)


def with_intake(store: Any, story: Callable[[Intake], Any]) -> Any:
    async def run() -> Any:
        return await story(Intake(store))

    return asyncio.run(run())


async def gathered(door: Intake, store: Store, keys: Sequence[str]) -> list[asyncio.Task[int]]:
    """One delivery that is being written, and the others, which wait."""
    tasks = []
    for key in keys:
        tasks.append(asyncio.ensure_future(door.put(delivery(key))))
        while not store.groups:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)
    return tasks


def test_what_comes_while_one_group_is_written_is_the_next_group() -> None:
    store = Store()

    async def story(door: Intake) -> None:
        tasks = await gathered(door, store, ["a", "bb", "ccc", "dddd"])
        assert not any(task.done() for task in tasks)  # nobody is answered before the disk
        store.may_go.set()
        assert await asyncio.gather(*tasks) == [1, 2, 3, 4]

    with_intake(store, story)
    assert store.groups == [["a"], ["bb", "ccc", "dddd"]]


def test_a_group_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_TOGETHER", 2)
    store = Store()

    async def story(door: Intake) -> None:
        tasks = await gathered(door, store, ["a", "b", "c", "d"])
        store.may_go.set()
        await asyncio.gather(*tasks)

    with_intake(store, story)
    assert store.groups == [["a"], ["b", "c"], ["d"]]


def test_each_gets_its_own_error() -> None:
    store = Store(lambda one: ConflictError("other body") if one.key == "b" else 1)

    async def story(door: Intake) -> list[Any]:
        tasks = await gathered(door, store, ["a", "b", "c"])
        store.may_go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert list(map(repr, with_intake(store, story))) == ["1", "ConflictError('other body')", "1"]


def test_a_store_that_raises_answers_all_and_goes_on() -> None:
    store = Store()

    def fail(deliveries: Sequence[Delivery]) -> list[Any]:
        raise StorageError("away")

    async def story(door: Intake) -> None:
        real, store.accept_all = store.accept_all, fail  # type: ignore[method-assign]
        with pytest.raises(StorageError, match="away"):
            await door.put(delivery("a"))
        store.accept_all = real  # type: ignore[method-assign]
        store.may_go.set()
        assert await door.put(delivery("bb")) == 2

    with_intake(store, story)


@pytest.mark.parametrize("why", [StorageError("away"), sa.exc.OperationalError("INSERT …", {}, Exception("locked"))])
def test_who_waits_behind_a_database_that_stores_nothing_does_not_wait_for_it_again(why: Exception) -> None:
    store = Store(lambda one: why if one.key == "a" else 1)

    async def story(door: Intake) -> None:
        tasks = await gathered(door, store, ["a", "b", "c"])
        store.may_go.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [why] * 3
        assert store.groups == [["a"]]
        assert await door.put(delivery("d")) == 1

    with_intake(store, story)


def test_whoever_goes_away_takes_nobody_along() -> None:
    store = Store()

    async def story(door: Intake) -> None:
        first, second, third = await gathered(door, store, ["a", "b", "ccc"])
        second.cancel()
        store.may_go.set()
        assert await asyncio.gather(first, third) == [1, 3]
        assert second.cancelled()

    with_intake(store, story)
    assert store.groups == [["a"], ["b", "ccc"]]  # it was sent, and may be stored


def test_too_many_that_wait_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_WAITING", 2)
    store = Store()

    async def story(door: Intake) -> None:
        tasks = await gathered(door, store, ["a", "b", "c"])
        with pytest.raises(QueueFullError, match="2 requests wait"):
            await door.put(delivery("d"))
        store.may_go.set()
        await asyncio.gather(*tasks)
        assert await door.put(delivery("d")) == 1

    with_intake(store, story)


def test_the_events_that_wait_are_counted_once_for_many_requests() -> None:
    store = Store()

    async def story(door: Intake) -> None:
        assert [await door.waiting_events("m") for _ in range(100)] == [7] * 100
        assert await door.waiting_events("other") == 0

    with_intake(store, story)
    assert store.counted == 1


def test_event_loops_of_several_threads_share_one_intake() -> None:
    store = Store()
    store.may_go.set()
    door = Intake(store)  # type: ignore[arg-type]
    found: list[int] = []

    async def ask(key: str) -> int:
        return sum(await asyncio.gather(*(door.put(delivery(key)) for _ in range(20))))

    threads = [threading.Thread(target=lambda: found.append(asyncio.run(ask("ab")))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    assert found == [40] * 4
