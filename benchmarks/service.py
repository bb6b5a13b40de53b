"""How fast a service takes events: a real ``driftline serve`` on one core, the load and the database on another.

python -m benchmarks.service [--quick] [--only NAME]… [--seconds N] [--cores SERVER LOAD]

Every answer that counts is a 202, which means that the events are on the disk. The load sends bodies that were prepared
before, over connections that are kept; each request has ids of its own. Beside what was accepted a second stands what
was processed (in the log and in the state) in the same time, the processor time of the service for an event, and how
much memory it took at most. It ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import polars as pl
import psutil

from driftline import clock
from tests.support.postgresql import PostgreSQL

MODEL = "m"
_PLACE = "@@@@@@@@"
"""Stands in the ids of a prepared body for the number of the request."""

_COME_AGAIN_SECONDS = 0.05
_NUMBERS, _TEXTS = 10, 2
_CATEGORIES = ("north", "south", "east", "west")


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: what is sent, over how many connections, and how much is asked for a second."""

    name: str
    form: str
    events: int
    connections: int
    database: str
    goal: int

    @property
    def by_role(self) -> bool:
        """Whether one process takes events and another one processes them."""
        return self.database.endswith("by role")


CASES = (
    Case("JSON, 100 events", "json", 100, 8, "SQLite", 50_000),
    Case("JSON, 100 events", "json", 100, 8, "PostgreSQL", 30_000),
    Case("JSON, 100 events", "json", 100, 8, "PostgreSQL, by role", 30_000),
    Case("Arrow, 1,000 events", "arrow", 1_000, 8, "SQLite", 200_000),
    Case("Arrow, 1,000 events", "arrow", 1_000, 8, "PostgreSQL", 0),
    Case("Arrow, 1,000 events", "arrow", 1_000, 8, "PostgreSQL, by role", 0),
    Case("JSON, 1 event", "json", 1, 64, "SQLite", 2_000),
    Case("JSON, 1 event", "json", 1, 64, "PostgreSQL", 0),
    Case("JSON, 1 event", "json", 1, 64, "PostgreSQL, by role", 0),
)

_TYPES = {"json": "application/json", "arrow": "application/vnd.apache.arrow.stream"}


# ---- what is sent ---------------------------------------------------------------------------------------------------


def events(number: int, now: datetime) -> list[dict[str, Any]]:
    """Predictions of a binary model with twelve features, about 320 bytes each as JSON."""
    rng = np.random.default_rng(7)
    return [
        {
            "id": f"{_PLACE}-{index:06d}",
            "time": now.isoformat().replace("+00:00", "Z"),
            "version": "1.4.2",
            "prediction": "1" if rng.random() < 0.3 else "0",
            "score": {"1": round(float(rng.random()), 4)},
            "features": {
                **{f"x{at}": round(float(rng.normal()), 4) for at in range(_NUMBERS)},
                **{f"c{at}": str(rng.choice(_CATEGORIES)) for at in range(_TEXTS)},
            },
        }
        for index in range(number)
    ]


def body_of(rows: list[dict[str, Any]], form: str) -> bytes:
    """The body of a request, with the place for its number in each id."""
    if form == "json":
        return json.dumps(rows).encode()
    flat = [
        {
            **{name: value for name, value in row.items() if name not in ("features", "score")},
            "score.1": row["score"]["1"],
            **{f"feature.{name}": value for name, value in row["features"].items()},
        }
        for row in rows
    ]
    stream = io.BytesIO()
    frame = pl.DataFrame(flat).with_columns(pl.col("time").str.to_datetime(time_zone="UTC"))
    frame.write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    return stream.getvalue()


class Load(NamedTuple):
    """What was accepted: events, requests, and the seconds that it took."""

    events: int
    requests: int
    seconds: float


def send(address: str, case: Case, seconds: float) -> Load:
    """Keep all connections busy for so long; raise `SystemExit` for any answer but 202 and 429."""
    host, _, port = address.rpartition("//")[2].partition(":")
    body = body_of(events(case.events, clock.now()), case.form)
    head = (
        f"POST /api/v1/models/{MODEL}/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: {_TYPES[case.form]}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    request, place = head + body, _PLACE.encode()
    selector = selectors.DefaultSelector()
    number = accepted = refused = 0

    def ask(connection: socket.socket) -> None:
        nonlocal number
        number += 1
        connection.sendall(request.replace(place, b"%08x" % number))

    for _ in range(case.connections):
        connection = socket.create_connection((host, int(port)), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, bytearray())
        ask(connection)
    start = time.perf_counter()
    open_connections = case.connections
    while open_connections:
        for key, _ in selector.select(60):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            key.data.extend(connection.recv(65_536))
            answer = bytes(key.data)
            if not answer.endswith(b"}"):
                continue
            key.data.clear()
            if answer.startswith(b"HTTP/1.1 202"):
                accepted += 1
            elif answer.startswith(b"HTTP/1.1 429"):  # the queue is full: it is to come again
                refused += 1
                time.sleep(_COME_AGAIN_SECONDS)
            else:
                raise SystemExit(f"{case.name}: not accepted: {answer[:500]!r}")
            if time.perf_counter() - start < seconds:
                ask(connection)
            else:
                selector.unregister(connection)
                connection.close()
                open_connections -= 1
    took = time.perf_counter() - start
    if refused:
        _say(f"({refused:,} requests of the next line were answered with 429: too much waited to be processed)")
    return Load(accepted * case.events, accepted, took)


# ---- the service ----------------------------------------------------------------------------------------------------


def write_config(folder: Path, database: str) -> None:
    """A binary model with twelve features and hourly windows."""
    rows = events(1_000, datetime(2026, 1, 1, tzinfo=UTC))
    frame = pl.DataFrame(
        [{**row["features"], "prediction": row["prediction"], "label": row["prediction"]} for row in rows]
    )
    frame.write_parquet(folder / "reference.parquet")
    (folder / "driftline.yaml").write_text(
        f"models: {{{MODEL}: {{task: binary, window: 1h, columns: {{prediction: prediction, label: label}}, "
        f"reference: {{path: reference.parquet}}}}}}\ndatabase: {database}\n"
    )


@contextlib.contextmanager
def serving(folder: Path, cores: list[int], role: str = "all") -> Iterator[tuple[psutil.Process, str]]:
    """Run ``driftline serve`` on some cores; give its process and address."""
    command = [sys.executable, "-m", "driftline", "serve", "--port", "0", "--role", role]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(process.pid, cores)  # before it has imported anything: all its threads inherit it
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise SystemExit("the service did not start")
        yield psutil.Process(process.pid), found[0]
    finally:
        process.terminate()
        process.communicate()


class Memory(threading.Thread):
    """Looks at the memory of a process a few times a second."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process, self._over = process, threading.Event()
        self.most = 0

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(0.2):
            self.most = max(self.most, self._process.memory_info().rss)

    def stop(self) -> int:
        """Return the most that was seen, bytes."""
        self._over.set()
        self.join()
        return self.most


def waiting(address: str) -> int:
    """How many accepted events wait to be processed."""
    return int(httpx.get(f"{address}/ready", timeout=60, trust_env=False).json()["waiting_events"].get(MODEL, 0))


class ProcessorTime(NamedTuple):
    """The processor time of a service, in seconds: of the threads that answer, and of those that give way to them."""

    urgent: float
    patient: float


def processor_time(process: int) -> ProcessorTime:
    """Look at the threads of a service; those that process events are nicer than the others."""
    ticks, spent = os.sysconf("SC_CLK_TCK"), {True: 0, False: 0}
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            fields = (task / "stat").read_text().rpartition(")")[2].split()  # from the third on, see proc(5)
            spent[int(fields[16]) > 0] += int(fields[11]) + int(fields[12])
    return ProcessorTime(spent[False] / ticks, spent[True] / ticks)


class Found(NamedTuple):
    """What one case came to: events and requests accepted a second, events processed a second, the microseconds of
    processor time to accept an event and to process one, and the memory in MB.
    """

    accepted: float
    requests: float
    processed: float
    to_accept: float
    to_process: float
    memory: float


def measure(case: Case, seconds: float, cores: list[int], others: list[int], database: str) -> Found:
    """Serve, send for so long, and look at what is left to be done.

    By role, what takes events is on the cores of the server, and what processes them on the others.
    """
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as name:
        folder = Path(name)
        write_config(folder, database)
        with contextlib.ExitStack() as running:
            process, address = running.enter_context(serving(folder, cores, "api" if case.by_role else "all"))
            if case.by_role:
                running.enter_context(serving(folder, others, "worker"))
            send(address, case, min(seconds / 10, 2))  # what is loaded at first use is loaded
            left = waiting(address)
            memory = Memory(process)
            memory.start()
            before = processor_time(process.pid)
            load = send(address, case, seconds)
            spent = processor_time(process.pid)
            done = load.events + left - waiting(address)
            return Found(
                load.events / load.seconds,
                load.requests / load.seconds,
                done / load.seconds,
                (spent.urgent - before.urgent) / load.events * 1e6,
                (spent.patient - before.patient) / max(done, 1) * 1e6,
                memory.stop() / 1e6,
            )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 seconds a case instead of 60")
    parser.add_argument("--seconds", type=float, help="so long a case")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="cases whose name has these words")
    parser.add_argument("--cores", nargs=2, type=int, default=[0, 1], metavar="N", help="of the server, and the rest")
    options = parser.parse_args()
    seconds = options.seconds or (4 if options.quick else 60)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    server, other = ([one] for one in options.cores)
    os.sched_setaffinity(0, other)
    cases = [one for one in CASES if all(words in f"{one.name} {one.database}" for words in options.only)]
    postgresql = PostgreSQL(durable=True) if any(one.database != "SQLite" for one in cases) else None
    _say(f"{seconds:g} s a case; the service on core {server[0]}, the load and PostgreSQL on core {other[0]}\n")
    _say("| a request | database | accepted/s | requests/s | processed/s | µs to accept | µs to process | MB | goal |")
    _say("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    short = 0
    try:
        for case in cases:
            database = (
                "sqlite:///state.db" if postgresql is None or case.database == "SQLite" else postgresql.new_database()
            )
            found = measure(case, seconds, server, other, database)
            short += found.accepted < case.goal
            goal = f"{case.goal:,}" if case.goal else "–"
            _say(
                f"| {case.name} | {case.database} | {found.accepted:,.0f} | {found.requests:,.0f} | "
                f"{found.processed:,.0f} | {found.to_accept:.1f} | {found.to_process:.1f} | "
                f"{found.memory:,.0f} | {goal} |"
            )
    finally:
        if postgresql is not None:
            postgresql.remove()
    _say(f"\nLoad average at the end: {os.getloadavg()[0]:.1f}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
