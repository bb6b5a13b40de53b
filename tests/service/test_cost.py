"""What judging costs, counted: what has not changed and is not due is neither read nor written."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.history import History, log_rows, one_pass, send_label, served
from driftline.config.load import Config, load
from driftline.monitoring import ingest, judging, segments
from driftline.service import jobs
from driftline.service.runtime import Service
from driftline.store.tables import SUMMARIES
from driftline.store.windows import WindowRow
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.effort import Effort, counted
from tests.support.seasons import ALL_RULE, day_of, seasons_config
from tests.support.steps import deliver, work


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many profiles were decoded to judge."""
    seen, real, stored = Counter[str](), judging.decode, judging.stored_profiles

    def count(state: bytes, kind: type[Any]) -> Any:
        seen["profiles"] += 1
        return real(state, kind)

    def count_rows(rows: Sequence[WindowRow]) -> Any:
        seen["profiles"] += len(rows)
        return stored(rows)

    monkeypatch.setattr(judging, "decode", count)
    monkeypatch.setattr(judging, "stored_profiles", count_rows)
    return seen


def days(service: Service, number: int) -> None:
    """Predictions of so many days, four a day, that wait for their labels."""
    for day in range(number):
        deliver(service, "predictions", [prediction(f"{day}-{k}", day + k / 10, said=k % 2) for k in range(4)])
    work(service)


@pytest.fixture
def patient(config: Config) -> Iterator[Service]:
    """A service whose labels may come a year late."""
    path = config.storage.parent / "driftline.yaml"
    path.write_text(path.read_text().replace("within: 2d, accepted_for: 30d", "within: 365d, accepted_for: 365d"))
    service = Service(load(path))
    yield service
    service.stop()


def test_a_pass_with_nothing_new_decodes_no_profile_and_writes_nothing(patient: Service, decoded: Counter[str]) -> None:
    days(patient, 12)
    assert decoded["profiles"] == 12
    with counted() as effort:
        work(patient)
    assert decoded["profiles"] == 12
    assert effort.statements and effort.writes == []


@pytest.mark.parametrize("number", [3, 12])
def test_one_late_label_costs_one_window_whatever_the_history_is(
    patient: Service, decoded: Counter[str], number: int
) -> None:
    days(patient, number)
    decoded.clear()
    deliver(patient, "labels", [label("1-0", number, truth=0)])
    work(patient)
    # Its window, once for the labels and once for the rules; and the last one, whose end event time has come to.
    assert decoded["profiles"] == 3


def test_segments_of_a_window_that_has_not_changed_are_neither_read_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the window that a late label belongs to are merged once; they are not read to be made anew."""
    seen, real = Counter[str](), segments.decoded_segments
    monkeypatch.setattr(segments, "decoded_segments", lambda stored: (seen.update(["read"]), real(stored))[1])
    config = seasons_config(tmp_path, ALL_RULE)
    path = config.storage.parent / "driftline.yaml"
    path.write_text(path.read_text().replace("within: 2d, accepted_for: 30d", "within: 365d, accepted_for: 365d"))
    service = Service(load(path))
    for day in range(6):
        deliver(service, "predictions", day_of(day, {"summer": (2, 2), "winter": (2, 2)})[0])
    work(service)
    assert seen["read"] == 6
    with counted() as effort:
        work(service)
    assert seen["read"] == 6 and effort.writes == []
    deliver(service, "labels", [label("1-winter-v1-0", 5.01, truth=0)])
    with counted() as effort:
        work(service)
    assert seen["read"] == 7
    assert sum("INTO summaries" in one for one in effort.writes) == 4  # all rows, one version, two segments
    service.stop()


def with_models(folder: Path, number: int) -> Config:
    """The same model so many times."""
    path = write_config(folder)
    head, _, rest = path.read_text().partition("  churn:\n")
    model, storage, more = rest.partition("storage:")
    path.write_text(head + "".join(f"  churn{k}:\n{model}" for k in range(number)) + storage + more)
    return load(path)


def idle_passes(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[Effort]:
    """What each of twenty passes of a worker that has nothing to do takes."""
    real, begins, enough = service.inbox.waiting_models, list[int](), threading.Event()
    with counted() as effort:

        def arrived() -> set[str]:
            begins.append(len(effort.statements))
            if len(begins) == 40:
                enough.set()
            return real()

        monkeypatch.setattr(service.inbox, "waiting_models", arrived)
        service.start()
        assert enough.wait(60)
        service.stop()
    return [Effort(effort.statements[one:other]) for one, other in pairwise(begins[20:40])]


def test_an_idle_service_asks_for_what_has_arrived_and_for_no_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "IDLE_SECONDS", 0.01)
    counts = set[int]()
    for number in (1, 6):
        service = Service(with_models(tmp_path / str(number), number))
        days(service, 3)
        passes = idle_passes(service, monkeypatch)
        asked = [one for each in passes for one in each.statements]
        assert asked and Effort(asked).writes == [] and not any("windows" in one for one in asked)
        counts |= {len(each.statements) for each in passes}
    assert len(counts) == 1  # whatever the number of models


def test_what_is_due_is_found_without_passing_the_profiles_by(config: Config) -> None:
    service = Service(config)
    with counted() as effort, service.state.read() as read:
        read.windows.starts_to_assess(MODEL, START)
        read.windows.with_changed_labels(MODEL)
        read.windows.newest_settled_start(MODEL)
        read.windows.to_push(MODEL, 10)
        read.models.last_arrivals()
    asked = [one for one in effort.statements if one.startswith("SELECT")]
    assert len(asked) == 5
    with service.state.read() as read:
        for one in asked:
            plan = read.connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {one}", tuple("0" for _ in range(one.count("?")))
            )
            steps = [row.detail for row in plan]
            assert all("INDEX windows_" in step or "COVERING INDEX models_" in step for step in steps), (one, steps)
    service.stop()


@pytest.fixture(scope="module")
def histories() -> Iterator[dict[int, Service]]:
    """One model with the settled windows of a week and of five, and their rows in the log."""
    with served(History(1, WEEK, 2)) as short, served(History(1, MONTH, 2)) as long:
        for service, windows in ((short, WEEK), (long, MONTH)):
            log_rows(service, windows)
            one_pass(service)
        yield {WEEK: short, MONTH: long}


WEEK, MONTH = 168, 840
MOST_RUNS = 12


def test_one_late_label_is_the_same_work_for_the_database_whatever_the_history_is(
    histories: dict[int, Service], decoded: Counter[str]
) -> None:
    efforts = []
    for windows, service in histories.items():
        decoded.clear()
        send_label(service, 5, windows)
        with counted() as effort:
            one_pass(service)
        assert decoded["profiles"] == 2  # for its labels, and for the rules
        with counted() as idle:
            one_pass(service)
        assert idle.writes == [] and decoded["profiles"] == 2
        efforts.append(effort)
    looked_up = [sum("FROM known_parts" in one for one in effort.statements) for effort in efforts]
    assert max(looked_up) <= MOST_RUNS  # one part of each run of ids, of which there are few
    first, second = (len(effort.statements) - number for effort, number in zip(efforts, looked_up, strict=True))
    assert first == second
    assert 0 < efforts[1].steps <= 1.1 * efforts[0].steps


def test_a_start_reads_no_settled_window(histories: dict[int, Service], monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    for service in histories.values():
        service.stop()
        with counted() as effort:
            again = Service(service.config)
            for module in (judging, ingest, segments):
                monkeypatch.setattr(module, "decode", None)
            again.start()
            while not again.caught_up or not all(job.idle for job in again._jobs):  # each has looked once
                time.sleep(0.01)
            again.stop()
            monkeypatch.undo()
        assert not again.problems
        steps.append(effort.steps)
    assert steps[1] <= 1.1 * steps[0]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["predictions", "labels", "work", "work"]), st.integers(0, 7), st.integers(0, 3)),
        max_size=14,
    )
)
def test_judged_step_by_step_it_is_what_it_is_judged_at_once(steps: list[tuple[str, int, int]]) -> None:
    """Whatever comes in whatever order: stages, measures and verdicts are those of judging every window anew."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(load(write_config(Path(folder))))
        for number, (kind, day, k) in enumerate(steps):
            if kind == "predictions":
                deliver(service, "predictions", [prediction(f"{day}-{k}", day + k / 10, said=k % 2)])
            elif kind == "labels":
                deliver(service, "labels", [label(f"{day}-{k}", day + 0.5 + number / 100, truth=1)])
            else:
                work(service)
        work(service)
        before = told(service)
        with service.state.work() as state:
            state.windows.assess_all(MODEL)
        work(service)
        assert told(service) == before
        service.stop()


def told(service: Service) -> tuple[Any, ...]:
    """All that is said of the windows."""
    with service.state.read() as read:
        summaries = read.connection.execute(sa.select(SUMMARIES).order_by(*SUMMARIES.primary_key)).all()
        judgements = read.judgements.find(MODEL)
    return summaries, judgements, service.views.alerts(MODEL)
