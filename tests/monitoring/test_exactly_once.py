"""Whatever is sent, in whatever order, split and repetition, with a crash after any step: nothing counts twice.

The state is what the log says, and the log is what was acknowledged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import tempfile
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.config.load import load
from driftline.monitoring import draining, ingest
from driftline.monitoring.rebuild import rebuild
from driftline.profiles import WindowProfile
from driftline.profiles.delays import LabelDelays
from driftline.service.runtime import Service
from driftline.sketches import decode, encode
from driftline.store.log import EventLog
from driftline.web.desk import Desk, Incoming
from driftline.web.requests import ARROW, JSON
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.steps import deliver, work


class Crash(Exception):
    """The process dies here."""


CRASH_POINTS: list[tuple[Any, str]] = [
    (EventLog, "append_predictions"),
    (EventLog, "append_labels"),
    (ingest, "done"),
]

events = st.one_of(
    st.tuples(st.just("predictions"), st.integers(0, 7), st.integers(0, 1)),
    st.tuples(st.just("labels"), st.integers(0, 7), st.integers(0, 1)),
)
Batch = tuple[list[tuple[str, int, int]], Literal["rows", "columns", "frame"], int | None]
"""Events, how they come, and after which step there is a crash."""

batches = st.lists(
    st.tuples(
        st.lists(events, min_size=1, max_size=5),
        st.sampled_from(["rows", "columns", "frame"]),
        st.sampled_from([None, 0, 1, 2]),
    ),
    max_size=5,
)


def send(service: Service, batch: Batch) -> None:
    """Send the events of a batch, those of one kind that follow each other in one request."""
    for kind, some in groupby(batch[0], key=itemgetter(0)):
        if kind == "predictions":  # two windows
            rows = [prediction(str(id), id / 4, said=value) for _, id, value in some]
        else:
            rows = [label(str(id), id / 4 + 0.1, truth=value) for _, id, value in some]
        if batch[1] == "rows":
            deliver(service, kind, rows)
            continue
        body = msgspec.json.encode(rows)
        if batch[1] == "frame":
            pl.DataFrame(rows).write_ipc_stream(stream := io.BytesIO())
            body = stream.getvalue()
        came = Incoming(kind, body, JSON if batch[1] == "columns" else ARROW)
        checked = Desk(service, MODEL).check(came)
        assert not isinstance(checked.events, (list, tuple))
        service.inbox.accept(checked)


def crash_after(point: int, step: Callable[[], object]) -> None:
    """Run a step that dies right after the function at a crash point has done its work, if it is reached."""
    owner, name = CRASH_POINTS[point]
    real = getattr(owner, name)

    def dies(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, dies)
        with contextlib.suppress(Crash):
            step()


def truth_of(sent: list[tuple[str, int, int]]) -> tuple[dict[int, int], dict[int, int]]:
    """What must be known after all events: the first prediction of each id, and its newest label."""
    predictions: dict[int, int] = {}
    labels: dict[int, int] = {}
    for kind, id, value in sent:
        if kind == "predictions":
            predictions.setdefault(id, value)
        else:
            labels[id] = value
    return predictions, {id: value for id, value in labels.items() if id in predictions}


@settings(max_examples=18, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches)
def test_nothing_is_lost_or_counted_twice(batches: list[Batch]) -> None:
    sent: list[tuple[str, int, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        config = load(write_config(Path(folder)))
        service = Service(config)
        for batch in batches:
            send(service, batch)
            sent += batch[0]
            if (crash := batch[2]) is None:
                work(service)
            else:
                crash_after(crash, lambda: work(service))  # noqa: B023 - called at once
                service.stop()
                service = Service(config)
        work(service)
        predictions, labels = truth_of(sent)
        view = service.views.model(MODEL)
        assert (view.predictions, view.labels, view.waiting_events) == (len(predictions), len(labels), 0)
        summaries = [one.summary for one in service.views.windows(MODEL)]
        assert sum(one.predictions for one in summaries) == len(predictions)
        assert sum(one.labelled for one in summaries) == len(labels)
        right = sum(labels[id] == predictions[id] for id in labels)
        shown = sum(
            round((one.performance["accuracy"].value or 0.0) * one.labelled) for one in summaries if one.labelled
        )
        assert shown == right
        assert rebuild(service.models[MODEL], service.state).differing == ()
        service.stop()


def test_rebuild_finds_a_state_that_is_not_what_the_log_says(service: Service) -> None:
    rng = random.Random(1)
    rows = [prediction(str(index), rng.random() * 3, said=1) for index in range(50)]
    deliver(service, "predictions", rows)
    work(service)
    model = service.models[MODEL]
    assert rebuild(model, service.state).differing == ()
    with service.state.work() as change:
        [first, second, *_] = change.windows.between(MODEL)
        change.windows.put(
            type(first)(**{name: getattr(first, name) for name in first.__slots__} | {"profile": second.profile})
        )
    assert rebuild(model, service.state).differing == (first.start,)
    assert rebuild(model, service.state).differing == ()


def test_a_batch_that_was_cut_off_and_comes_in_parts_loses_no_label_that_the_log_has(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the parts event time comes to where the label, which waits for its prediction, would be too old."""
    monkeypatch.setattr(draining, "CAREFUL_EVENTS", 2)
    deliver(service, "labels", [label("a", 1, truth=0)])
    deliver(service, "predictions", [prediction("b", 60, said=1)])
    deliver(service, "predictions", [prediction("a", 0.5, said=1)])
    crash_after(CRASH_POINTS.index((ingest, "done")), lambda: work(service))
    work(service)
    model = service.models[MODEL]
    with service.state.read() as read:
        assert read.counters.of(MODEL)["labels", ""] == model.log.count("labels") == 1
    assert rebuild(model, service.state).differing == ()
    # What is too old goes again, once the state has all that the log has.
    deliver(service, "labels", [label("nobody", 2, truth=0)])
    deliver(service, "predictions", [prediction("c", 61, said=1)])
    work(service)
    with service.state.read() as read:
        assert read.waiting_labels.count(MODEL) == 0


def test_a_window_of_a_release_that_did_not_know_how_late_labels_come_is_no_difference(service: Service) -> None:
    deliver(service, "predictions", [prediction("a", 1, said=1), prediction("b", 2, said=1)])
    deliver(service, "labels", [label("a", 1.5, truth=0)])
    work(service)
    model = service.models[MODEL]
    with service.state.work() as change:
        for row in change.windows.between(MODEL):
            without = structs.replace(decode(row.profile, WindowProfile), delays=LabelDelays())
            change.windows.put(dataclasses.replace(row, profile=encode(without)))
    assert rebuild(model, service.state).differing == ()
    with service.state.read() as read:
        profiles = [decode(row.profile, WindowProfile) for row in read.windows.between(MODEL)]
    assert [one.delays.counts for one in profiles] == [{43_200: 1}, {}]
