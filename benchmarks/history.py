"""What a long history costs: pages, answers and passes of a service with few windows and with many.

    python -m benchmarks.history [--quick] [--write]

Every state is made without a service having run for a year: the windows, summaries, verdicts and alerts are written
into it as the worker writes them, and the rows into the event log. What is timed is the service's own: its HTTP routes
without a socket, and the passes of its worker. Each time is the median of several, of the processor. `--write` puts
the tables into docs/performance.md; `--quick` has smaller histories, and only prints.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from starlette.testclient import TestClient

from benchmarks.between import between, measured_now
from driftline.config.load import load
from driftline.events import WHOLE, Label, Prediction, Slice
from driftline.monitoring.draining import drain
from driftline.monitoring.ingest import profile_predictions
from driftline.monitoring.judging import judge_windows, refresh_labels
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.summary import WindowSummary, brief_of, summarize
from driftline.service.runtime import Service
from driftline.sketches import encode
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.deliveries import Delivery
from driftline.store.inbox import raise_sequence
from driftline.store.judgements import Judgement
from driftline.store.logged import LoggedPrediction, predictions_frame
from driftline.store.state import State, Work
from driftline.store.tables import BRIEFS, JUDGEMENTS, SUMMARIES, WINDOWS
from driftline.store.windows import WindowRow
from driftline.web.app import create_app
from tests.support.known import put_known

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- history: python -m benchmarks.history --write -->", "<!-- end of history -->"
START, HOUR = datetime(2025, 1, 1, tzinfo=UTC), timedelta(hours=1)
ROWS_OF_A_WINDOW = 8
TIMES = 9
CONFIG = """
models:
{models}
storage: ./data
keep: {{events: forever, quarantine: forever, notifications: forever, runs: forever}}
prometheus: {{max_series: 100000}}
"""
MODEL = """
  {name}:
    task: binary
    columns: {{time: time, prediction: prediction, score: score, label: label, features: [{features}]}}
    window: 1h
    labels: {{expected_within: 2d, accepted_for: 400d}}
    reference: {{path: reference.parquet}}
    alerts:
      budget: none
      rules:
        - {{name: accuracy-low, measure: accuracy, below: 0.75, severity: page}}
        - {{name: recall-low, measure: recall, below: 0.3, for: 2}}
        - {{name: missing, measure: missing_ratio, above: 0.5}}
"""


@dataclass(frozen=True, slots=True)
class History:
    """How much there is: models, their windows of an hour and their features."""

    models: int
    windows: int
    features: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: what was asked for, and the milliseconds it took with the short and the long history."""

    what: str
    short: float
    long: float

    @property
    def ratio(self) -> float:
        """How much more the long history costs."""
        return self.long / self.short


# ---- making a history -----------------------------------------------------------------------------------------------


@contextmanager
def served(history: History) -> Iterator[Service]:
    """A service with such a history that is not started; the last bad window of the first model is an alert."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(load(write_config(Path(folder), history)))
        for model in service.models.values():
            fill(service.state, model, history.windows)
        first = next(iter(service.models.values()))
        with service.state.work() as work:
            store_alert(work, first.name, history.windows - 3)
        gc.collect()
        yield service
        service.stop()


def write_config(folder: Path, history: History) -> Path:
    """Write a reference, and a configuration of so many models on it."""
    rng, n = np.random.default_rng(1), 2000
    label = rng.integers(0, 2, n)
    said = np.where(rng.random(n) < 0.9, label, 1 - label)
    features = {f"f{number}": rng.normal(size=n) for number in range(history.features)}
    columns = {"time": [START - HOUR * (n - place) for place in range(n)], **features, "prediction": said}
    pl.DataFrame({**columns, "score": np.where(said == 1, 0.8, 0.2), "label": label}).write_parquet(
        folder / "reference.parquet"
    )
    names = ", ".join(features)
    models = "".join(MODEL.format(name=f"m{place:03}", features=names) for place in range(history.models))
    path = folder / "driftline.yaml"
    path.write_text(CONFIG.format(models=models))
    return path


def _predictions(model: MonitoredModel, window: int) -> list[Prediction]:
    rng = np.random.default_rng(window)
    values = rng.normal(size=(ROWS_OF_A_WINDOW, len(model.schema.features)))
    return [
        Prediction(
            id=f"{window}-{place}",
            time=START + HOUR * window + timedelta(minutes=place),
            version="v1",
            features=dict(zip(model.schema.features, map(float, row), strict=True)),
            prediction=str(place % 2),
            score={"1": 0.8 if place % 2 else 0.2},
            latency_seconds=0.01,
        )
        for place, row in enumerate(values)
    ]


def _frame(model: MonitoredModel, window: int) -> pl.DataFrame:
    return predictions_frame([LoggedPrediction(1, one) for one in _predictions(model, window)], model.schema)


def fill(state: State, model: MonitoredModel, windows: int) -> None:
    """Write settled windows as the worker leaves them: all of one profile, judged well by every rule."""
    [(window, profile)] = [(key[0], one.whole) for key, one in profile_predictions(model, _frame(model, 0)).items()]
    body, profile_body = _summary_of(model, profile, window), encode(profile)
    rows, summaries, briefs, judgements = [], [], [], []
    for place in range(windows):
        start, end = START + HOUR * place, START + HOUR * (place + 1)
        row = WindowRow(model.name, start, "v1", end, ROWS_OF_A_WINDOW, 0, profile_body, False, True, revision=1)
        rows.append(_values(row))
        seen = msgspec.msgpack.encode({**body, "start": start, "end": end})
        summaries += [
            {"model": model.name, "start": start, "slice": one, "body": seen} for one in (Slice(version="v1"), WHOLE)
        ]
        brief = brief_of(msgspec.msgpack.decode(seen, type=WindowSummary))
        briefs.append({"model": model.name, "start": start, "body": msgspec.msgpack.encode(brief)})
        judgements += [
            _values(_judgement(model.name, rule.name, place, rule.threshold, ok=True)) for rule in model.config.rules
        ]
    with state.work() as work:
        stored = work.models.get(model.name)
        assert stored is not None  # opening the model stored it
        end = START + HOUR * windows
        work.models.put(replace(stored, watermark=end + timedelta(days=2), last_arrival=end))
        work.counters.add(model.name, "predictions", "v1", windows * ROWS_OF_A_WINDOW)
        work.counters.add(model.name, "labels", "", 1)
        for table, values in (
            (WINDOWS, rows),
            (SUMMARIES, summaries),
            (BRIEFS, briefs),
            (JUDGEMENTS, judgements),
        ):
            work.connection.execute(table.insert(), values)
        work.windows.recount(model.name)


def _summary_of(model: MonitoredModel, profile: Any, window: Any) -> dict[str, Any]:
    summary = summarize(window, "v1", "judged", profile, model.reference, months=[1], positive="1")
    body: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(summary))
    return body


def _values(row: WindowRow | Judgement) -> dict[str, Any]:
    return {one.name: getattr(row, one.name) for one in fields(row)}


def _judgement(model: str, rule: str, place: int, threshold: float, *, ok: bool) -> Judgement:
    start, value = START + HOUR * place, threshold + (0.2 if ok else -0.2)
    words = "it holds" if ok else "it does not hold"
    ends = (start, start + HOUR, start + HOUR, "ok" if ok else "breach", value, None, None, 8, threshold, words, True)
    return Judgement(model, rule, *ends)


def store_alert(work: Work, model: str, place: int) -> None:
    """Store an alert over one window, which has ended."""
    start = START + HOUR * place
    work.judgements.put(_judgement(model, "accuracy-low", place, 0.75, ok=False))
    work.alerts.put(
        AlertRow(
            id="a" * 16,
            model=model,
            rule="accuracy-low",
            measure="accuracy",
            severity="page",
            title="Model accuracy below threshold!",
            status="resolved",
            started_at=start,
            last_end=start + HOUR,
            window_start=start,
            window_end=start + HOUR,
            value=0.55,
            low=None,
            high=None,
            n=8,
            threshold=0.75,
            worst=0.55,
            findings=b"null",
            fired_at=start,
            ended_at=start + HOUR,
        )
    )
    work.alerts.add_transition(TransitionRow("a" * 16, start, "fired", "it does not hold"))


def log_rows(service: Service, windows: int) -> None:
    """Append the rows of all windows to the event log, a day at a time, and let the state know their ids."""
    [model] = service.models.values()
    for day in range(0, windows, 24):
        rows = [one for place in range(day, min(day + 24, windows)) for one in _predictions(model, place)]
        model.log.append_predictions([LoggedPrediction(day + 1, one) for one in rows], through=day + 1)
        with service.state.work() as work:
            put_known(work, model.name, {one.id: (one.time, None) for one in rows})
    model.log.sync()
    marks = model.log.last_seqs()
    with service.state.work() as work:
        raise_sequence(work.connection, max(marks.values()))
        stored = work.models.get(model.name)
        assert stored is not None  # opening the model stored it
        work.models.put(replace(stored, log_marks=msgspec.msgpack.encode(marks)))


# ---- measuring ------------------------------------------------------------------------------------------------------


def milliseconds(step: Callable[[], object], times: int = TIMES) -> float:
    """The median processor time of a step, after one that does not count: others may want the machine as well."""
    step()
    taken = []
    for _ in range(times):
        before = time.process_time()
        step()
        taken.append((time.process_time() - before) * 1000)
    return statistics.median(taken)


ASKED = {
    "`GET /api/v1/alerts`": "/api/v1/alerts",
    "`GET …/windows`, the newest two days": "/api/v1/models/m000/windows?start={recent}",
    "`/`, the index page": "/",
    "`/models/M`, the page of the model": "/models/m000",
    "`/metrics`": "/metrics",
}


def pages(history: History, asked: Sequence[str] = tuple(ASKED)) -> dict[str, float]:
    """How long each answer takes with such a history."""
    with served(history) as service, TestClient(create_app(service)) as client:
        recent = (START + HOUR * (history.windows - 48)).isoformat().replace("+00:00", "Z")

        def ask(address: str) -> None:
            answer = client.get(address.format(recent=recent))
            if answer.status_code != 200:
                raise SystemExit(f"{address}: {answer.status_code} {answer.text[:300]}")

        return {what: milliseconds(lambda what=what: ask(ASKED[what])) for what in asked}  # type: ignore[misc]


def passes(history: History) -> tuple[float, float]:
    """How long a pass takes that has nothing to do, and one that has one late label."""
    with served(history) as service:
        log_rows(service, history.windows)
        one_pass(service)
        places = iter(range(history.windows // 2))

        def late() -> None:
            send_label(service, next(places), history.windows)
            one_pass(service)

        return milliseconds(lambda: one_pass(service)), milliseconds(late)


def send_label(service: Service, place: int, windows: int) -> None:
    """Take the label of the first row of a window, which comes when all windows have long been judged."""
    [model], at = service.models, START + HOUR * windows + timedelta(days=3)
    label = Label(id=f"{place}-0", label="0", time=at)
    service.inbox.accept(Delivery(model, "labels", at, [label]))


def one_pass(service: Service) -> None:
    """Do what the worker does in one pass for the one model."""
    [model] = service.models.values()
    while drain(model, service.inbox, service.state):
        pass
    refresh_labels(model, service.state)
    judge_windows(model, service.state, START, lambda work, events, now: None)


def compared(short: History, long: History) -> list[Line]:
    """Each answer with the two histories."""
    before, after = pages(short), pages(long)
    return [Line(what, before[what], after[what]) for what in before]


# ---- saying it ------------------------------------------------------------------------------------------------------


def said(short: History, long: History, lines: Sequence[Line]) -> list[str]:
    """The table of answers."""
    return [
        f"| | {short.windows:,} windows, ms | {long.windows:,} windows, ms | ratio |",
        "| --- | --- | --- | --- |",
        *(f"| {one.what} | {one.short:.1f} | {one.long:.1f} | {one.ratio:.2f} |" for one in lines),
    ]


def said_of_passes(short: History, long: History, before: tuple[float, float], after: tuple[float, float]) -> list[str]:
    """The table of passes."""
    return [
        f"| a pass of the worker | {short.windows:,} windows, ms | {long.windows:,} windows, ms | ratio |",
        "| --- | --- | --- | --- |",
        *(
            f"| {what} | {one:.1f} | {other:.1f} | {other / one:.2f} |"
            for what, one, other in zip(("nothing to do", "one late label"), before, after, strict=True)
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the page if asked to."""
    parser = argparse.ArgumentParser(description="What a long history costs.")
    parser.add_argument("--quick", action="store_true", help="smaller histories; only prints")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    given = parser.parse_args(arguments)
    part = 10 if given.quick else 1
    short, long = History(1, 500 // part, 20), History(1, 5000 // part, 20)
    month, year = History(1, 730 // part, 20), History(1, 8760 // part, 20)
    fleet = History(500 // part, 24, 20)
    table = said(short, long, compared(short, long))
    table += ["", *said_of_passes(month, year, passes(month), passes(year))]
    of_fleet = pages(fleet, ["`/`, the index page", "`/metrics`"])
    table += ["", f"| {fleet.models} models of {fleet.features} features | ms |", "| --- | --- |"]
    table += [f"| {what} | {taken:.0f} |" for what, taken in of_fleet.items()]
    sys.stdout.write("\n".join(table) + "\n")
    if given.write and not given.quick:
        PAGE.write_text(between(PAGE.read_text(), BEGIN, END, [*table, "", measured_now()]))


if __name__ == "__main__":
    main()
