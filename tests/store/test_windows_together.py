"""Windows that touch are read together, and each has what it has when it is read alone."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.errors import StorageError
from driftline.events import Label, Window
from driftline.monitoring.judging import refresh_labels
from driftline.monitoring.rebuild import rebuild
from driftline.profiles.frame import FIRST_LABEL
from driftline.service.runtime import Service
from driftline.store import log as log_module
from driftline.store.log import EventLog, touching
from driftline.store.logged import LoggedLabel
from tests.store.test_store import DAY, SCHEMA, logged
from tests.support.churn import MODEL, label, prediction
from tests.support.steps import deliver, work

HOURS = 5
WINDOWS = [Window(DAY.start + timedelta(hours=at), DAY.start + timedelta(hours=at + 1)) for at in range(HOURS)]

minutes = st.integers(-1, 60 * HOURS)  # one is before the first window, and one after the last
rows = st.lists(st.tuples(st.sampled_from("abcd"), minutes, st.sampled_from(["v", "w", ""])), max_size=8)
said = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["rain", "sun"])), max_size=8)


def at(minute: int) -> datetime:
    return DAY.start + timedelta(minutes=minute)


@settings(max_examples=25)
@given(
    rows=rows,
    said=said,
    asked=st.lists(st.tuples(st.integers(0, HOURS - 1), st.sampled_from(["v", "w"])), unique=True).map(sorted),
    through=st.none() | st.integers(0, 9),
    most=st.sampled_from([0, 3, 100]),
)
@example(rows=[("a", 0, "v"), ("a", 1, "v")], said=[], asked=[(0, "v")], through=None, most=0)  # the newest file first
@example(  # one id in two windows: known to be one for no longer than labels are waited for
    rows=[("a", 0, "v"), ("a", 60, "v"), ("a", 61, "w")],
    said=[(0, "rain"), (1, "sun"), (1, "rain")],
    asked=[(0, "v"), (1, "v"), (1, "w"), (3, "v")],
    through=None,
    most=100,
)
def test_a_window_that_is_read_with_others_is_as_if_it_were_alone(
    rows: list[tuple[str, int, str]],
    said: list[tuple[int, str]],
    asked: list[tuple[int, str]],
    through: int | None,
    most: int,
) -> None:
    labels = [(seq, *rows[of][:2], truth) for seq, (of, truth) in enumerate(said, 1) if of < len(rows)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "_ROWS_TOGETHER", most)
        log = EventLog(Path(folder), SCHEMA)
        for seq, (id, minute, version) in enumerate(rows, 1):
            log.append_predictions([logged(seq, id, time=at(minute), version=version)], through=seq)
        for seq, id, minute, truth in labels:
            late = LoggedLabel(seq, at(minute), Label(id=id, label=truth, time=at(1000 + seq)))
            log.append_labels([late], through=seq)
        last = None if through is None else {"predictions": through, "labels": through}
        wanted = [(WINDOWS[hour], version, 2) for hour, version in asked]
        found = list(log.rows_by_window(wanted, columns=["version", "time"], through=last))  # type: ignore[arg-type]
        alone = [log.window_rows(*one[:2], columns=["version", "time"], through=last) for one in wanted]  # type: ignore[arg-type]
    assert [one.schema for one in found] == [one.schema for one in alone]
    assert [one.rows() for one in found] == [one.rows() for one in alone]
    until = 99 if through is None else through
    for one, (hour, version) in zip(found, asked, strict=True):
        expected = []
        for seq, (id, minute, of) in enumerate(rows, 1):
            if seq <= until and minute // 60 == hour and of == version:
                mine = [
                    (n, truth) for n, name, when, truth in labels if (name, when // 60, n <= until) == (id, hour, True)
                ]
                known = (mine[-1][1], at(1000 + mine[0][0])) if mine else (None, None)
                expected.append((id, version, at(minute), *known))
        got = one.rows() if FIRST_LABEL in one.columns else [(*row, None) for row in one.rows()]
        assert sorted(got, key=lambda row: row[:3]) == sorted(expected, key=lambda row: row[:3])  # of any file first


def test_what_does_not_touch_or_is_too_much_is_read_alone() -> None:
    def sizes(*windows: tuple[int, int]) -> list[int]:
        return [len(some) for some in touching(((WINDOWS[at], "v", rows) for at, rows in windows), 50_000)]

    assert sizes() == []
    assert sizes((0, 20_000), (1, 20_000), (2, 20_000), (4, 1)) == [2, 1, 1]
    assert sizes((0, 10**9), (1, 1), (1, 1), (2, 1)) == [1, 3]
    wider = Window(WINDOWS[0].start, WINDOWS[1].end)  # as windows were before their length was changed
    overlapping = [(WINDOWS[0], "v", 1), (wider, "w", 1), (WINDOWS[1], "v", 1)]
    assert [len(some) for some in touching(overlapping, 50_000)] == [1, 1, 1]


def test_a_read_of_the_log_is_for_many_windows(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of thirty days that come at once, and a rebuild, look at the files as often as those of one."""
    for kind, make in (("predictions", prediction), ("labels", label)):
        more = {"said": 1} if kind == "predictions" else {"truth": 1}
        deliver(service, kind, [make(str(day), day + 0.1, **more) for day in range(30)])  # type: ignore[arg-type,operator]
    reads, real = list[int](), EventLog._read_together

    def counted(self: EventLog, windows: list[tuple[Window, str]], *asked: object) -> object:
        reads.append(len(windows))
        return real(self, windows, *asked)  # type: ignore[arg-type]

    monkeypatch.setattr(EventLog, "_read_together", counted)
    work(service)
    assert reads == [30]
    refresh_labels(service.models[MODEL], service.state)
    assert reads == [30]  # nothing has changed
    assert rebuild(service.models[MODEL], service.state).differing == ()
    assert reads == [30, 30]


def test_what_is_erased_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, failures, real = EventLog(tmp_path, SCHEMA), [1], EventLog._scan
    log.append_predictions([logged(1, "a")], through=1)

    def scan(self: EventLog, table: log_module.Table) -> object:
        if failures:
            failures.pop()
            raise StorageError("a file is gone")
        return real(self, table)

    monkeypatch.setattr(EventLog, "_scan", scan)
    [found] = log.rows_by_window([(DAY, "v", 1)])
    assert found["id"].to_list() == ["a"]


def test_a_rebuild_reads_few_whole_rows_at_once_whatever_the_state_believes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole rows may be wide, and the state of an old backup knows of few of them."""
    deliver(service, "predictions", [prediction(f"{row}", row // 4 + 0.1, said=1) for row in range(24)])
    work(service)
    with service.state.work() as state:
        for row in state.windows.between(MODEL):
            state.windows.put(replace(row, predictions=0))
    read, real = list[int](), EventLog._read_together

    def counted(self: EventLog, *asked: Any) -> list[pl.DataFrame]:
        found = real(self, *asked)
        read.append(sum(map(len, found)))
        return found

    monkeypatch.setattr(EventLog, "_read_together", counted)
    monkeypatch.setattr(log_module, "_WHOLE_ROWS_TOGETHER", 8)
    rebuild(service.models[MODEL], service.state)
    assert read == [8, 8, 8]


def test_where_no_label_has_come_the_log_is_not_looked_at(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventLog, "_open", None)
    refresh_labels(service.models[MODEL], service.state)
