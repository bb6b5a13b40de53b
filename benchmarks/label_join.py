"""What the label join costs: labels of predictions that wait by the million, through the service's own parts.

    python -m benchmarks.label_join [--predictions 10M] [--labels 1M] [--database ADDRESS] [--folder F] [--quick]

Predictions of 30 days go through the inbox into the event log and the state, as the worker takes them; then the labels
come: out of order, days late, a tenth of them corrected later on, one in fifty of an id that nobody knows. All are in
the inbox before the first is taken out, so that the time is that of the join: from the inbox into log and state. What
is counted must be what was sent. The memory is the peak of this process, in which nothing else is held.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import sqlalchemy as sa

from driftline.config.load import load
from driftline.events.columns import LabelColumns, PredictionColumns, micros_of
from driftline.monitoring.draining import drain
from driftline.monitoring.judging import refresh_labels
from driftline.monitoring.model import MonitoredModel
from driftline.service.runtime import Service
from driftline.store.deliveries import Delivery
from driftline.store.tables import KNOWN_PARTS, KNOWN_RUNS

MODEL = "m"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, EVENTS_OF_A_BODY, AHEAD_OF_THE_WORKER = 30, 1_000, 50_000
CORRECTED, UNKNOWN = 10, 50  # one label in so many
CONFIG = """
models:
  m:
    task: binary
    columns: {{prediction: prediction, score: score, label: label, features: [{features}]}}
    window: 1d
    labels: {{expected_within: 7d, accepted_for: 90d}}
    reference: {{path: reference.parquet}}
    alerts: {{budget: none}}
storage: ./data
database: {database}
"""
_STRIDE = 7_368_787  # a prime: it comes to all numbers, in no order of time
_SIZES = {"": 1, "K": 10**3, "M": 10**6}


@dataclass(slots=True)
class Took:
    """How long a part took: by the clock on the wall, and of this process's processor."""

    wall: float = 0.0
    processor: float = 0.0


@contextmanager
def taking(took: Took) -> Iterator[None]:
    """Add what a block takes."""
    wall, processor = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        took.wall += time.perf_counter() - wall
        took.processor += time.process_time() - processor


def size(text: str) -> int:
    """Read a number such as 10M."""
    found = re.fullmatch(r"([0-9]+)([KM]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write one such as 250K or 10M")
    return int(found[1]) * _SIZES[found[2]]


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    [kilobytes] = re.findall(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1024


def id_of(number: int) -> str:
    """An id as the SDK's are long, in no order."""
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}-{number * 0xBF58476D1CE4E5B9 % 2**64:016x}"


@contextmanager
def opened(folder: Path, database: str, features: int) -> Iterator[Service]:
    """A service, not started, of one model with so many numeric features."""
    rng, names = np.random.default_rng(1), [f"f{place}" for place in range(features)]
    columns = {name: rng.normal(size=2_000) for name in names}
    targets = {name: rng.integers(0, 2, 2_000) for name in ("prediction", "label")}
    pl.DataFrame(columns | targets | {"score": rng.random(2_000)}).write_parquet(folder / "reference.parquet")
    config = folder / "driftline.yaml"
    config.write_text(CONFIG.format(features=", ".join(names), database=database))
    service = Service(load(config))
    try:
        yield service
    finally:
        service.stop()


def time_of(number: int, of: int) -> datetime:
    """When a prediction was made: they are spread evenly over the days."""
    return START + timedelta(days=DAYS) * (number / of)


def send_predictions(service: Service, model: MonitoredModel, first: int, last: int, of: int) -> None:
    """Put some predictions into the inbox, by column as the routes store them."""
    names = [*model.schema.features]
    values = np.random.default_rng(first).normal(size=(len(names), EVENTS_OF_A_BODY)).tolist()
    for begin in range(first, last, EVENTS_OF_A_BODY):
        numbers = range(begin, min(begin + EVENTS_OF_A_BODY, last))
        size, newest = len(numbers), time_of(numbers[-1], of)
        events = PredictionColumns(
            ids=[id_of(one) for one in numbers],
            times=[micros_of(time_of(one, of)) for one in numbers],
            versions=["v1"] * size,
            features={name: column[:size] for name, column in zip(names, values, strict=True)},
            predictions=[str(one % 2) for one in numbers],
            scores={"1": [0.25 + one % 2 / 2 for one in numbers]},
            latencies=[0.01] * size,
        )
        service.inbox.accept(Delivery(MODEL, "predictions", newest, events))


def numbers_of_labels(labels: int, of: int) -> npt.NDArray[np.int64]:
    """Whose labels come, in their order: a tenth come again, and some are of predictions that there are not."""
    again = labels // CORRECTED
    first = np.arange(labels - again) * _STRIDE % of
    first[::UNKNOWN] += of
    return np.concatenate([first, first[first < of][::-1][:again]])


def send_labels(service: Service, numbers: npt.NDArray[np.int64], of: int) -> None:
    """Put labels into the inbox, by column as the routes store them: each says another class the second time."""
    end, corrections = START + timedelta(days=DAYS), len(numbers) - len(numbers) // CORRECTED
    for begin in range(0, len(numbers), EVENTS_OF_A_BODY):
        some = numbers[begin : begin + EVENTS_OF_A_BODY].tolist()
        events = LabelColumns(
            ids=[id_of(one) for one in some],
            labels=[str(int(place >= corrections)) for place in range(begin, begin + len(some))],
            times=[micros_of(end)] * len(some),
        )
        service.inbox.accept(Delivery(MODEL, "labels", end, events))


def drain_all(service: Service, model: MonitoredModel, took: Took) -> None:
    """Do what the worker does with what is in the inbox."""
    with taking(took):
        while drain(model, service.inbox, service.state):
            pass


def known_bytes(service: Service) -> tuple[int, int]:
    """How many bytes the rows of the ids have in the database, and how many runs they are in."""
    with service.state.read() as read:
        total = read.connection.execute(sa.select(sa.func.sum(sa.func.length(KNOWN_PARTS.c.body)))).scalar_one()
        runs = read.connection.execute(sa.select(sa.func.count()).select_from(KNOWN_RUNS)).scalar_one()
    return int(total or 0), int(runs)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measure(predictions: int, labels: int, features: int, database: str, folder: Path) -> None:
    """Measure, and print as it goes; predictions that are in the folder from an earlier time are not sent again."""
    with opened(folder, database, features) as service:
        with service.state.read() as read:
            there = read.counters.of(MODEL).get(("predictions", "v1"), 0)
        if not there:
            fill(service, folder, predictions, features)
        join(service, folder, there or predictions, labels)


def fill(service: Service, folder: Path, predictions: int, features: int) -> None:
    """Measure what it takes to process predictions."""
    model, took, began = service.models[MODEL], Took(), peak_megabytes()
    for first in range(0, predictions, AHEAD_OF_THE_WORKER):
        send_predictions(service, model, first, min(first + AHEAD_OF_THE_WORKER, predictions), predictions)
        drain_all(service, model, took)
    stored, runs = known_bytes(service)
    say(
        f"{predictions:,} predictions of {features} features: {took.wall:.1f} s ({predictions / took.wall:,.0f}/s; "
        f"{predictions / took.processor:,.0f}/s of the processor); ids: {stored / predictions:.1f} bytes each in "
        f"{runs} runs, state in {file_megabytes(folder)}; peak {peak_megabytes():.0f} MB, {began:.0f} MB at the start"
    )


def join(service: Service, folder: Path, predictions: int, labels: int) -> None:
    """Measure what it takes to join labels to predictions, and to bring their windows up to date."""
    model, joined, refreshed = service.models[MODEL], Took(), Took()
    numbers = numbers_of_labels(labels, predictions)
    send_labels(service, numbers, predictions)
    before = peak_megabytes()
    drain_all(service, model, joined)
    after = peak_megabytes()
    with taking(refreshed):
        refresh_labels(model, service.state)
    _require_counts(service, numbers, predictions)
    stored, runs = known_bytes(service)
    million = labels / 10**6
    say(
        f"{labels:,} labels: joined in {joined.wall:.2f} s ({joined.processor:.2f} s of the processor), "
        f"{joined.wall / million:.2f} s a million ({joined.processor / million:.2f} s); then their windows: "
        f"{refreshed.wall:.1f} s ({refreshed.processor:.1f} s); ids: {stored / predictions:.1f} bytes a prediction in "
        f"{runs} runs, state in {file_megabytes(folder)}; peak {before:.0f} MB before, {after:.0f} MB after, "
        f"{peak_megabytes():.0f} MB at the end; load average {os.getloadavg()[0]:.1f}"
    )


def file_megabytes(folder: Path) -> str:
    """How large the file of the state is; nothing is said of a database that is a server's."""
    file = folder / "state.db"
    return f"a file of {file.stat().st_size / 2**20:,.0f} MB" if file.exists() else "a server"


def _require_counts(service: Service, numbers: npt.NDArray[np.int64], of: int) -> None:
    """Require that the service has counted what was sent."""
    unknown = int((numbers >= of).sum())
    first = len(np.unique(numbers)) - unknown
    with service.state.read() as read:
        counters = read.counters.of(MODEL)
        waiting = read.waiting_labels.count(MODEL)
    said = (counters["predictions", "v1"], counters["labels", ""], counters["corrected_labels", ""], waiting)
    sent = (of, first, len(numbers) - unknown - first, unknown)
    if said != sent:
        raise SystemExit(f"the service has counted {said}, and {sent} were sent")


def main() -> None:
    """Read the arguments, and measure."""
    parser = argparse.ArgumentParser(description="Measure the label join.")
    parser.add_argument("--predictions", type=size, default=size("10M"))
    parser.add_argument("--labels", type=size, default=size("1M"))
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--database", default="sqlite:///./state.db", help="an empty one; SQLite if it is not said")
    parser.add_argument("--folder", help="keeps the predictions there; in a copy of it the labels come at once")
    parser.add_argument("--quick", action="store_true", help="a hundred times less")
    asked = parser.parse_args()
    fewer = 100 if asked.quick else 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(asked.folder or name)
        measure(asked.predictions // fewer, asked.labels // fewer, asked.features, asked.database, folder)


if __name__ == "__main__":
    main()
