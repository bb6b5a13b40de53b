"""What is exposed by a process that has been asked before is what one would expose that has just begun."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.config.load import load
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from driftline.store.state import State
from driftline.views import metrics
from driftline.views.metrics import MetricsReader
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.steps import NOW, deliver, send_day, work

STEPS = st.lists(
    st.tuples(st.sampled_from(["day", "labels", "work", "rebuild", "ask"]), st.integers(0, 5), st.integers(0, 4)),
    max_size=12,
)


def reader_of(service: Service) -> MetricsReader:
    return MetricsReader(service.config, service.tasks, service.state, service.inbox)


def take(service: Service, step: str, day: int, number: int) -> None:
    if step == "day":
        send_day(service, day, right=number, wrong=4 - number)
    elif step == "labels":
        deliver(service, "predictions", [prediction(f"{day}-{number}", day + number / 10, said=1)])
        deliver(service, "labels", [label(f"{day}-{number}", day + 0.6, truth=number % 2)])
    elif step == "work":
        work(service)
    elif step == "rebuild":
        rebuild(service.models[MODEL], service.state)


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_what_is_kept_between_two_scrapes_is_never_out_of_date(steps: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        service = Service(load(write_config(Path(folder))))
        kept = reader_of(service)
        for step, day, number in [*steps, ("work", 0, 0), ("ask", 0, 0)]:
            take(service, step, day, number)
            if step == "ask":
                assert kept.snapshot({}, NOW) == reader_of(service).snapshot({}, NOW)
        service.stop()


def test_a_window_is_decoded_once_until_it_is_judged_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    class Counting:
        def __init__(self, real: Any) -> None:
            self.real = real

        def decode(self, body: bytes) -> Any:
            decoded.append(body)
            return self.real.decode(body)

    monkeypatch.setattr(metrics, "_summary", Counting(metrics._summary))
    for day in range(4):
        send_day(service, day, right=3, wrong=1)
    work(service)
    reader, seen = reader_of(service), list[int]()
    for corrected in ((), (), ("1-0",), ("2-0",), ()):
        deliver_corrections(service, corrected)
        work(service)
        reader.snapshot({}, NOW)
        seen.append(len(decoded))
    both = 2  # of the one version, and of all together
    assert seen == [both, both, both, 2 * both, 2 * both]  # day 2 is the newest that is judged


def deliver_corrections(service: Service, ids: Iterable[str]) -> None:
    for id in ids:
        deliver(service, "labels", [label(id, float(id[0]) + 0.9, truth=1)])


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_windows_are_counted_as_they_come(steps: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        service = Service(load(write_config(Path(folder))))
        for step, day, number in [*steps, ("work", 0, 0)]:
            take(service, step, day, number)
        assert service.views.model(MODEL).windows == one_by_one(service.state)
        service.stop()


def one_by_one(state: State) -> int:
    with state.read() as read:
        return len({row.start for row in read.windows.between(MODEL)})
