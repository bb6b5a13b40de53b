"""A job goes on at once, after a rest or later and later, as its step says; and it outlives what its step raises."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from driftline.errors import UnavailableError
from driftline.service import jobs
from driftline.service.jobs import Job, Pass, Troubles

PATIENCE_SECONDS = 20.0


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of failures that were waited for; waits are short."""
    asked: list[int] = []

    def wait_seconds(attempts: int, rng: object) -> float:
        asked.append(attempts)
        return 0.001

    monkeypatch.setattr(jobs, "wait_seconds", wait_seconds)
    monkeypatch.setattr(jobs, "AFTER_TROUBLE_SECONDS", 0.001)
    monkeypatch.setattr(jobs, "HOLDING_SECONDS", 0.001)
    return asked


def run(script: Sequence[Pass | Exception]) -> tuple[Job, threading.Event, Callable[[], None]]:
    """A job whose steps are those of a script, and end with it; what it has done when the last step was taken."""
    stopping, over, steps = threading.Event(), threading.Event(), iter(script)

    def step() -> Pass:
        try:
            what = next(steps)
        except StopIteration:
            over.set()
            return Pass.DONE
        if isinstance(what, Exception):
            raise what
        return what

    job = Job("of a test", step, stopping, waited_for=True)
    job.start()

    def end() -> None:
        stopping.set()
        job.ring()
        job.join()

    return job, over, end


@pytest.fixture
def ended() -> Iterator[list[Callable[[], None]]]:
    ends: list[Callable[[], None]] = []
    yield ends
    for end in ends:
        end()


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_failures_are_waited_for_longer_each_time_and_counted_anew_after_success(
    waits: list[int], ended: list[Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    script = [UnavailableError("away"), Pass.FAILED, ZeroDivisionError("ours"), Pass.AGAIN, Pass.FAILED, Pass.AGAIN]
    _, over, end = run(script)
    ended.append(end)
    assert over.wait(PATIENCE_SECONDS)
    assert waits == [1, 2, 3, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "of a test: away; trying again",
        "of a test: trying again",
    ]
    assert "Traceback" not in (caplog.records[0].exc_text or "") and caplog.records[1].exc_info is not None


@pytest.mark.parametrize("last", list(Pass))
def test_it_is_idle_only_after_a_step_that_left_nothing(
    last: Pass, ended: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rung, it is not: there may be something new."""
    reached = threading.Event()
    monkeypatch.setattr(jobs, "wait_seconds", lambda attempts, rng: 60.0)
    for name in ("AFTER_TROUBLE_SECONDS", "HOLDING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(jobs, name, 60.0)
    stopping = threading.Event()

    def step() -> Pass:
        reached.set()
        if last is Pass.AGAIN:
            stopping.wait(0.001)
        return last

    job = Job("of a test", step, stopping, waited_for=True)
    assert not job.idle
    job.start()

    def end() -> None:
        stopping.set()
        job.ring()
        job.join()

    ended.append(end)
    assert reached.wait(PATIENCE_SECONDS)
    if last is Pass.DONE:
        until(lambda: job.idle)
        reached.clear()
        job.ring()
        assert reached.wait(PATIENCE_SECONDS)
    else:
        time.sleep(0.02)
        assert not job.idle


def test_a_trouble_is_told_once_until_it_changes_or_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    troubles = Troubles("retraining ", "what has arrived is kept; ")

    def fail(error: Exception) -> Callable[[], None]:
        def step() -> None:
            raise error

        return step

    for error in (OSError(28, "full"), OSError(28, "full"), UnavailableError("away"), ValueError("ours")):
        troubles.guard("churn", fail(error))
    assert [record.exc_info is not None for record in caplog.records] == [False, False, True]
    assert troubles.words == {"churn": "ValueError: ours"}
    assert caplog.records[1].getMessage() == "retraining churn: away; what has arrived is kept; trying again"
    troubles.guard("fraud", lambda: None)
    troubles.guard("churn", lambda: None)
    assert troubles.words == {}
    troubles.guard("churn", fail(ValueError("ours")))
    assert len(caplog.records) == 4
