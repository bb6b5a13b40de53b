"""A service under moderate load for half an hour: nothing of it may grow but its disk, and that by the event.

python -m benchmarks.soak_service [--minutes N] [--requests-per-second N] [--postgresql]

A real ``driftline serve`` takes predictions and, a day of event time later, labels of two models, a hundred to a
request; an hour of event time passes each second, so that a window is judged every 24 seconds. Pages, alerts and
metrics are read as people and Prometheus do. Memory, open files, threads, disk and the events that wait are sampled
each second. After a warm-up of a quarter, the median of the last quarter is held against that of the second one; of
memory what the state's known ids take is left out, for they are meant to grow with the predictions, up to a bound. In
the end the service has to stop by itself in time, with exit code 0, and a rebuild from the log must find no difference.

Exits with 1 where one of these does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import psutil
import sqlalchemy as sa

from driftline.config.load import load
from driftline.store.database import Watch
from driftline.store.runs import KEPT_BYTES, KEPT_FROM
from driftline.store.tables import KNOWN_PARTS, KNOWN_RUNS
from tests.support.postgresql import PostgreSQL

MODELS = ("north", "south")
ROWS = 100
START = datetime(2026, 1, 1, tzinfo=UTC)
EVENT_TIME_PER_SECOND = timedelta(hours=1)
LABELS_AFTER = timedelta(days=1)
STOP_SECONDS = 30.0
POOL = 512.0
"""As many threads for blocking work as Tokio makes; those that had nothing to do for ten seconds end."""

IDS_KEPT = (
    sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(KNOWN_PARTS.c.body)), 0))
    .join(KNOWN_RUNS, KNOWN_RUNS.c.number == KNOWN_PARTS.c.run)
    .where(KNOWN_RUNS.c.rows >= KEPT_FROM)
)
"""How many bytes of known ids the state has that a process keeps in memory once it has looked into them."""

READS = ("/metrics", "/", "/models/north", "/api/v1/alerts", "/ready", "/system")
CONFIG = """
models:
  {models}
storage: ./data
{database}
"""
MODEL = """
  {name}:
    task: binary
    columns: {{time: time, prediction: prediction, score: score, label: label, features: [age, income, plan]}}
    window: 1d
    labels: {{expected_within: 2d, accepted_for: 30d}}
    reference: {{path: reference.parquet}}
    alerts: {{rules: [{{name: accuracy-low, measure: accuracy, below: 0.75}}]}}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process takes at a second: bytes, counts, and how many events wait; ``events`` were sent so far.

    ``ids`` are the bytes of known ids that it may keep in its memory.
    ``pool`` are the threads of Tokio, by which the log reads and writes files: as many as it once needed at a time.
    """

    second: float
    memory: float
    ids: float
    files: float
    threads: float
    pool: float
    disk: float
    waiting: float
    events: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was held against what: the medians of the second and the last quarter, and the most that is allowed."""

    what: str
    before: float
    after: float
    allowed: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether it did not grow by more than is allowed."""
        return self.after <= self.allowed


def slope(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much a value grows in an hour: the median of the slopes between all pairs (Theil 1950, Sen 1968).

    Values that are far off do not move it. NaN of fewer than two moments.

    >>> slope([0, 1800, 3600, 5400], [10.0, 11.0, 500.0, 13.0])
    2.0
    """
    x, y = np.asarray(seconds, float)[-600:], np.asarray(values, float)[-600:]
    first, second = np.triu_indices(len(x), k=1)
    apart = x[second] - x[first]
    pairs = apart > 0
    if not pairs.any():
        return float("nan")
    return float(np.median((y[second] - y[first])[pairs] / apart[pairs]) * 3600)


def judge(samples: Sequence[Sample], rate: float) -> list[Verdict]:
    """Hold the last quarter of the samples against the second one; ``rate`` is the load in events a second."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]

    def medians(of: Callable[[Sample], float]) -> tuple[float, float]:
        return statistics.median(map(of, second)), statistics.median(map(of, last))

    memory, ids = medians(lambda s: s.memory - s.ids), medians(lambda s: s.ids)
    files, threads = medians(lambda s: s.files), medians(lambda s: s.threads)
    pool, waiting = medians(lambda s: s.pool), medians(lambda s: s.waiting)
    disk = [_disk_an_event(part) for part in (second, last)]
    mb = 1e6
    return [
        Verdict(
            "memory but known ids",
            memory[0] / mb,
            memory[1] / mb,
            max(memory[0] * 1.05, memory[0] + 15 * mb) / mb,
            "MB",
        ),
        Verdict("known ids in memory", ids[0] / mb, ids[1] / mb, KEPT_BYTES / mb, "MB"),
        Verdict("open files", *files, files[0] + 4, ""),
        Verdict("threads", *threads, threads[0] + 2, ""),
        Verdict("threads of Tokio", *pool, POOL, ""),
        Verdict("waiting events", *waiting, max(10 * rate, waiting[0] * 1.5), ""),
        Verdict("disk an event", *disk, max(disk[0] * 1.5, disk[0] + 100), "bytes"),
    ]


def _disk_an_event(part: Sequence[Sample]) -> float:
    """Return what the disk grows by for each event, by least squares: files that are merged come and go."""
    events, disk = np.array([one.events for one in part], float), np.array([one.disk for one in part], float)
    apart = events - events.mean()
    return float(apart @ (disk - disk.mean()) / (apart @ apart)) if apart.any() else 0.0


# ---- the service ----------------------------------------------------------------------------------------------------


def reference(rng: np.random.Generator, rows: int = 5000) -> pl.DataFrame:
    """A month of a model that is right nine times in ten."""
    label = rng.integers(0, 2, rows)
    prediction = np.where(rng.random(rows) < 0.9, label, 1 - label)
    return pl.DataFrame(
        {
            "time": [START - timedelta(minutes=9 * (rows - i)) for i in range(rows)],
            "age": rng.normal(40, 10, rows),
            "income": rng.lognormal(10, 1, rows),
            "plan": rng.choice(["basic", "pro", "team"], rows),
            "prediction": prediction,
            "score": np.clip(np.where(prediction == 1, 0.8, 0.2) + rng.normal(0, 0.05, rows), 0.01, 0.99),
            "label": label,
        }
    )


def write_config(folder: Path, database: str) -> Path:
    """Write the reference and the configuration."""
    reference(np.random.default_rng(1)).write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    models = "".join(MODEL.format(name=name) for name in MODELS).strip()
    path.write_text(CONFIG.format(models=models, database=f"database: {database}" if database else ""))
    return path


def disk_of(folder: Path) -> int:
    """Return the bytes of all files of a folder; those that go away meanwhile are none."""
    total = 0
    for one in folder.rglob("*"):
        try:
            total += one.stat().st_size
        except OSError:
            continue
    return total


def ids_in(state: sa.Engine) -> int:
    """Return the bytes of known ids that a process may keep, read from the state beside it."""
    with state.connect() as connection:
        return min(KEPT_BYTES, int(connection.execute(IDS_KEPT).scalar_one()))


def threads_of(pid: int) -> tuple[int, int]:
    """Return how many threads a process has, those of Tokio apart."""
    names = []
    for one in Path(f"/proc/{pid}/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            names.append(one.read_text())
    pool = sum(name.startswith("tokio") for name in names)
    return len(names) - pool, pool


class Load:
    """Sends predictions and their labels, each a hundred, as event time goes on; counts what was refused."""

    def __init__(self, client: httpx.Client) -> None:
        self._client, self._rng = client, random.Random(1)
        self._labels: list[tuple[datetime, str, list[dict[str, Any]]]] = []
        self.events = self._number = 0
        self.refused: list[str] = []

    def send(self, now: datetime) -> None:
        """Send a batch of predictions of a model at a moment of event time, and the labels that are due by it."""
        model = MODELS[self._number % len(MODELS)]
        predictions, labels = [], []
        for place in range(ROWS):
            id, truth = f"{self._number}-{place}", self._rng.randint(0, 1)
            said = truth if self._rng.random() < 0.9 else 1 - truth
            features = {
                "age": self._rng.gauss(40, 10),
                "income": self._rng.lognormvariate(10, 1),
                "plan": self._rng.choice(("basic", "pro", "team")),
            }
            score = 0.8 if said else 0.2
            predictions.append(
                {"id": id, "time": now.isoformat(), "features": features, "prediction": said, "score": score}
            )
            labels.append({"id": id, "label": truth, "time": (now + LABELS_AFTER).isoformat()})
        self._number += 1
        self._post(model, "predictions", predictions)
        self._labels.append((now + LABELS_AFTER, model, labels))
        while self._labels and self._labels[0][0] <= now:
            _, of, due = self._labels.pop(0)
            self._post(of, "labels", due)

    def _post(self, model: str, kind: str, rows: list[dict[str, Any]]) -> None:
        answer = self._client.post(f"/api/v1/models/{model}/{kind}", json=rows)
        if answer.status_code == 202:
            self.events += len(rows)
        else:
            self.refused.append(f"{answer.status_code} {answer.text[:200]}")

    def read(self, path: str) -> None:
        """Read as people and Prometheus do."""
        answer = self._client.get(path, headers={"Accept": "text/html"})
        if answer.status_code >= 400 and answer.status_code != 404:
            self.refused.append(f"{path} {answer.status_code}")


def run(
    process: subprocess.Popen[str], address: str, folder: Path, database: str, minutes: float, per_second: float
) -> tuple[list[Sample], Load]:
    """Load the service for so long, and sample it each second."""
    watched, samples = psutil.Process(process.pid), list[Sample]()
    state = Watch(database, timedelta(seconds=10)).engine
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        load, began = Load(client), time.perf_counter()
        sent = 0
        while (elapsed := time.perf_counter() - began) < minutes * 60:
            if process.poll() is not None:
                raise SystemExit(f"the service has ended with {process.returncode}")
            if elapsed >= len(samples):
                load.read(READS[len(samples) % len(READS)])
                waiting = client.get("/ready").json()["waiting_events"]
                samples.append(
                    Sample(
                        elapsed,
                        watched.memory_info().rss,
                        ids_in(state),
                        watched.num_fds(),
                        *threads_of(process.pid),
                        disk_of(folder / "data"),
                        sum(waiting.values()) if isinstance(waiting, dict) else waiting,
                        load.events,
                    )
                )
            if elapsed * per_second >= sent:
                load.send(START + elapsed * EVENT_TIME_PER_SECOND)
                sent += 1
            else:
                time.sleep(0.01)
    state.dispose()
    return samples, load


def stopped(process: subprocess.Popen[str]) -> float:
    """Stop the service; return how long it took, infinity where its exit code was not 0 or it did not end."""
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return float("inf")
    return time.perf_counter() - began if code == 0 else float("inf")


def told(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> str:
    """Return the table: what it was, what it is, how much it grows, and what is allowed."""
    hours = [one.second for one in samples[len(samples) // 4 :]]
    grows = {
        "memory but known ids": slope(hours, [(one.memory - one.ids) / 1e6 for one in samples[len(samples) // 4 :]]),
        "known ids in memory": slope(hours, [one.ids / 1e6 for one in samples[len(samples) // 4 :]]),
        "open files": slope(hours, [one.files for one in samples[len(samples) // 4 :]]),
        "threads": slope(hours, [one.threads for one in samples[len(samples) // 4 :]]),
        "threads of Tokio": slope(hours, [one.pool for one in samples[len(samples) // 4 :]]),
    }
    lines = ["| what | second quarter | last quarter | allowed | an hour | |", "|---|---|---|---|---|---|"]
    for one in verdicts:
        grown = f"{grows[one.what]:+.1f}" if one.what in grows else ""
        unit = f" {one.unit}" if one.unit else ""
        lines.append(
            f"| {one.what} | {one.before:,.0f}{unit} | {one.after:,.0f}{unit} | {one.allowed:,.0f}{unit} | {grown} | "
            f"{'holds' if one.holds else 'DOES NOT HOLD'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the command line, run, print what came of it; exit with 1 if something grew."""
    parser = argparse.ArgumentParser(description="A service under moderate load.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--requests-per-second", type=float, default=5.0)
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    postgresql = PostgreSQL() if given.postgresql else None
    with tempfile.TemporaryDirectory(prefix="driftline-soak-") as name:
        folder = Path(name)
        config = write_config(folder, "" if postgresql is None else postgresql.new_database())
        driftline = [sys.executable, "-m", "driftline"]
        with (folder / "serve.log").open("w") as log:
            command = [*driftline, "serve", "--config", str(config), "--port", "0"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None, (folder / "serve.log").read_text()
            samples, sent = run(
                process, found[0], folder, load(config).database, given.minutes, given.requests_per_second
            )
            seconds = stopped(process)
            rebuilt = [
                subprocess.run(
                    [*driftline, "rebuild", one, "--config", str(config)], capture_output=True, text=True, check=False
                )
                for one in MODELS
            ]
        finally:
            process.kill()
            if postgresql is not None:
                postgresql.remove()
        complaints = (folder / "serve.log").read_text().splitlines()
    rate = sent.events / samples[-1].second
    verdicts = judge(samples, rate)
    out = [f"{given.minutes:g} minutes, {sent.events:,} events ({rate:,.0f}/s), {len(samples)} samples\n"]
    out.append(told(samples, verdicts))
    out.append(f"\nstopped in {seconds:.1f} s; {len(sent.refused)} refused; {len(complaints)} lines in its log")
    out += [*(one.stdout.strip() for one in rebuilt), *sent.refused[:5], *complaints[:5]]
    sys.stdout.write("\n".join(out) + "\n")
    whole = all(one.returncode == 0 for one in rebuilt)
    fine = whole and seconds < STOP_SECONDS and not sent.refused and all(one.holds for one in verdicts)
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
