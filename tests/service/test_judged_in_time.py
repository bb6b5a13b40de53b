"""While more waits to be taken in, what was taken in is judged every few seconds, and not with every batch."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from driftline import clock
from driftline.config.load import load
from driftline.monitoring import draining, judging
from driftline.service import worker
from driftline.service.jobs import Pass
from driftline.service.runtime import Service
from driftline.store.tables import SUMMARIES
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.steps import deliver

DAYS, BATCHES = 4, 6


@pytest.fixture
def profiled(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many windows had their labelled rows profiled, and how often a model was judged."""
    seen, real, judge = Counter[str](), judging.labelled_part, judging.judge_windows

    def count(*asked: Any) -> Any:
        seen["windows"] += 1
        return real(*asked)

    def count_judged(*asked: Any) -> Any:
        seen["judged"] += 1
        return judge(*asked)

    monkeypatch.setattr(judging, "labelled_part", count)
    monkeypatch.setattr("driftline.service.worker.judge_windows", count_judged)
    return seen


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Service]]:
    """Opens services that have taken in four days, and to which six batches of labels come, one of each day in each."""
    services: list[Service] = []

    def open_one() -> Service:
        folder = tmp_path / str(len(services))
        folder.mkdir()
        service = Service(load(write_config(folder)))
        services.append(service)
        for day in range(DAYS):
            rows = [prediction(f"{day}-{k}", day + k / 10, said=k % 2) for k in range(BATCHES)]
            deliver(service, "predictions", rows)
        finish(service)
        monkeypatch.setattr(draining, "MOST_EVENTS", 1)  # a batch at a time
        for k in range(BATCHES):
            deliver(service, "labels", [label(f"{day}-{k}", day + 0.9, truth=1) for day in range(DAYS)])
        return service

    yield open_one
    for service in services:
        service.stop()


def finish(service: Service) -> None:
    for _ in range(20 * BATCHES):
        if service.worker.step() is not Pass.AGAIN:
            return
    pytest.fail("there is always more to do")


def told(service: Service) -> list[Any]:
    """The summaries of the windows, and what is said of their alerts."""
    with service.state.read() as read:
        found = read.connection.execute(sa.select(SUMMARIES.c.body).order_by(*SUMMARIES.primary_key)).scalars()
        return [*found, [(one.rule, one.status, one.value) for one in service.views.alerts(MODEL)]]


def test_windows_are_profiled_once_and_not_with_each_batch(
    opened: Callable[[], Service], profiled: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, said = [], []
    for seconds in (1e9, 0.0):
        service = opened()
        monkeypatch.setattr(worker, "JUDGE_EVERY_SECONDS", seconds)
        profiled.clear()
        finish(service)
        counts.append(profiled["windows"])
        said.append(told(service))
    assert counts == [DAYS, DAYS * BATCHES]
    assert said[0] == said[1]


def test_what_was_taken_in_waits_for_no_longer_than_is_said(
    opened: Callable[[], Service], profiled: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, seconds = opened(), 0.0
    took = worker.JUDGE_EVERY_SECONDS / 2 + 0.1
    real = draining.drain

    def slow(*asked: Any) -> int:
        nonlocal seconds
        seconds += took
        return real(*asked)

    monkeypatch.setattr("driftline.service.worker.drain", slow)
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: seconds)
    service.worker._judged[MODEL] = 0.0
    profiled.clear()
    counts = []
    for _ in range(BATCHES):
        service.worker.step()
        counts.append(profiled["judged"])
    assert counts == [0, 1, 1, 2, 2, 3]


def test_nothing_is_deleted_before_it_was_judged(
    opened: Callable[[], Service], profiled: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window whose rows are gone keeps the labels that were counted before."""
    service, order = opened(), list[str]()
    monkeypatch.setattr(worker, "JUDGE_EVERY_SECONDS", 1e9)
    keep = service.worker._keep

    def kept(name: str) -> None:
        order.append("kept")
        keep(name)

    monkeypatch.setattr(service.worker, "_keep", kept)
    profiled.clear()
    for _ in range(BATCHES - 1):
        service.worker.step()
    assert order == [] and profiled["judged"] == 0
    service.worker.step()
    assert order == ["kept"] and profiled["windows"] == DAYS


def test_where_judging_fails_it_is_tried_again_with_each_batch(
    opened: Callable[[], Service], profiled: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened()
    monkeypatch.setattr(worker, "JUDGE_EVERY_SECONDS", 1e9)
    service.worker._judged.clear()
    real, fails = judging.refresh_labels, True

    def failing(*asked: Any) -> None:
        if fails:
            raise ArithmeticError
        real(*asked)

    monkeypatch.setattr("driftline.service.worker.refresh_labels", failing)
    for _ in range(3):
        service.worker.step()
        assert service.worker.problems.keys() == {MODEL}
    fails = False
    service.worker.step()
    assert not service.worker.problems and profiled["judged"] > 0


def test_what_was_taken_in_is_judged_though_no_more_can_be(
    opened: Callable[[], Service], profiled: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened()
    monkeypatch.setattr(worker, "JUDGE_EVERY_SECONDS", 1e9)
    profiled.clear()
    service.worker.step()
    assert profiled["judged"] == 0

    def full(*asked: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("driftline.service.worker.drain", full)
    for _ in range(3):
        service.worker.step()
        assert service.worker.problems.keys() == {MODEL}
        assert (profiled["judged"], profiled["windows"]) == (1, DAYS)  # once, and not with each try
    with service.state.read() as read:
        assert read.windows.with_changed_labels(MODEL) == []
