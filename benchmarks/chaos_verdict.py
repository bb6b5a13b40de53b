"""What `benchmarks.chaos_ingest` counts as wrong: log, windows and messages held against what was acknowledged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from driftline.store.blobs import Blobs
from tests.support.receiver import Request

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How far event time goes from one event of a writer to its next, and what windows and labels are made of that."""

    event: timedelta = timedelta(seconds=10)
    window: timedelta = timedelta(minutes=10)
    accepted_for: str = "90d"
    keep: str = "forever"


@dataclass(slots=True)
class Acknowledged:
    """What a writer has sent, and what the service has said to have of it.

    ``sent`` has when each event was, where the writer says that. ``labels`` has the newest label, or None where it is
    not known whether the last one came through.
    """

    sent: dict[str, datetime | None] = field(default_factory=dict)
    predictions: set[str] = field(default_factory=set)
    labels: dict[str, int | None] = field(default_factory=dict)
    labelled: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)


WRONG = (
    "lost",
    "twice",
    "never sent",
    "there though forgotten",
    "there though too old",
    "labels lost",
    "labels other than the newest",
    "windows that count otherwise than the log",
    "windows without events that count otherwise than was sent",
    "writers that ended by themselves",
    "alerts told twice",
    "windows that rebuild found to differ",
)
"""Figures of which each has to be 0."""


def doubled(got: list[Request]) -> list[str]:
    """The notices that came in two messages with different keys."""
    keys: dict[str, set[str]] = {}
    for request in got:
        for notice in request.json["notices"]:
            keys.setdefault(notice["key"], set()).add(request.headers["idempotency-key"])
    return [notice for notice, of in keys.items() if len(of) > 1]


def windows_at(address: str, model: str) -> list[dict[str, Any]]:
    """Return the windows of a model as the API has them."""
    answer = httpx.get(f"{address}/api/v1/models/{model}/windows", timeout=60, trust_env=False)
    found: list[dict[str, Any]] = answer.json()["windows"]
    return found


def verify(storage: Blobs, model: str, known: Acknowledged, shown: list[dict[str, Any]], pace: Pace) -> dict[str, int]:
    """Hold the log and the windows of a model, as the API has them, against what was acknowledged."""
    log, options = storage.within("log").within(model), storage.scan_options
    rows = pl.read_delta(log.uri("predictions"), storage_options=options).select("id", "time")
    labels: dict[str, int] = {}
    if known.labels:
        newest = pl.read_delta(log.uri("labels"), storage_options=options).sort("seq").unique("id", keep="last")
        labels = dict(newest.select("id", pl.col("label").cast(pl.Float64).cast(pl.Int64)).rows())
    windows = {datetime.fromisoformat(one["start"]).astimezone(UTC): one for one in shown}  # there is one version
    there, kept = set(rows["id"].to_list()), {start for start, one in windows.items() if not one["events"]}
    old = {id for id, at in known.sent.items() if at is not None and window_of(at, pace) in windows.keys() - kept}
    due = known.predictions - known.forgotten - old
    in_log = Counter(window_of(at, pace) for at in rows["time"])
    expected = {start: in_log[start] + windows[start]["forgotten"] for start in kept}
    labelled = {id: label for id, label in known.labels.items() if id in due and label is not None}
    return {
        "sent": len(known.sent),
        "acknowledged": len(known.predictions),
        "forgotten": len(known.forgotten),
        "too old to be kept": len(known.predictions & old),
        "in the log": len(rows),
        "windows count": sum(one["predictions"] for one in windows.values()),
        "lost": len(due - there),
        "twice": len(rows) - len(there),
        "never sent": len(there - known.sent.keys()),
        "there though forgotten": len((there | labels.keys()) & known.forgotten),
        "there though too old": len((there | labels.keys()) & old),
        "labels acknowledged": len(known.labelled),
        "labels lost": len((known.labelled & due) - labels.keys()),
        "labels other than the newest": sum(labels.get(id, label) != label for id, label in labelled.items()),
        "windows": len(windows),
        "windows without events": len(windows) - len(kept),
        "windows that count otherwise than the log": len(in_log.keys() - windows.keys())
        + sum(windows[start]["predictions"] != number for start, number in expected.items()),
        "windows without events that count otherwise than was sent": miscounted(
            windows.keys() - kept, windows, known, pace
        ),
    }


def window_of(at: datetime, pace: Pace) -> datetime:
    """Return the start of the window that a moment is in."""
    return at - (at - START) % pace.window


def miscounted(gone: Iterable[datetime], windows: dict[datetime, Any], known: Acknowledged, pace: Pace) -> int:
    """Count windows that nothing is kept of, and that do not count what was sent; what was forgotten they may lack."""
    sent = Counter(window_of(at, pace) for at in known.sent.values() if at is not None)
    sure = known.predictions - known.forgotten
    least = Counter(window_of(at, pace) for id, at in known.sent.items() if at is not None and id in sure)
    return sum(not least[one] <= windows[one]["predictions"] <= sent[one] for one in gone)


def rebuild(folder: Path, model: str) -> int:
    """Recompute a model from its log; how many windows differed, 1 where that failed."""
    command = [sys.executable, "-m", "driftline", "rebuild", model, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.stderr.write(done.stderr)
        return 1
    return len(json.loads(done.stdout)["differing"])
