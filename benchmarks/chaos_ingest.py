"""A service that is killed again and again while four writers send: what it acknowledged is there, each event once.

python -m benchmarks.chaos_ingest [--kills N] [--seed N] [--postgresql]

With ``--postgresql`` the state is in a real PostgreSQL, which is killed and started again as often as the service.

A real ``driftline serve`` is killed with SIGKILL at random moments. Three writers post predictions and labels as JSON,
NDJSON and Arrow, in batches of 1 to 50, some with an Idempotency-Key that they send again until it is acknowledged; a
fourth is the SDK. In the end the log must have every acknowledged event, none twice; the windows must count what the
log has; and a rebuild must find no difference.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

import driftline
from tests.support.postgresql import PostgreSQL

MODEL = "m"
LONGEST_LIFE_SECONDS = 2.5
REST_SECONDS = 120.0
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Acknowledged:
    """What the service has said to have; each writer has one of its own."""

    predictions: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)


class Serving:
    """The service on one port, started and killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"
        self.log = (folder / "serve.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "driftline", "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=self.folder, stdout=self.log, stderr=self.log)
        give_up = time.perf_counter() + REST_SECONDS
        while time.perf_counter() < give_up:
            if self._process.poll() is not None:
                raise SystemExit(f"the service ended with {self._process.returncode}; see {self.folder}/serve.log")
            try:
                httpx.get(f"{self.address}/health", timeout=2, trust_env=False)
            except httpx.HTTPError:
                time.sleep(0.02)
            else:
                return
        raise SystemExit("the service did not answer")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return how the process ended."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)


def write_config(folder: Path, database: str) -> None:
    """A model with two inputs and hourly windows."""
    rows = {"x": [float(i % 9) for i in range(300)], "sky": ["sun", "rain", "fog"] * 100}
    targets = {"prediction": [i % 2 for i in range(300)], "label": [i % 3 % 2 for i in range(300)]}
    pl.DataFrame(rows | targets).write_parquet(folder / "reference.parquet")
    (folder / "driftline.yaml").write_text(
        f"models: {{{MODEL}: {{window: 1h, columns: {{prediction: prediction, label: label}}, "
        f"reference: {{path: reference.parquet}}}}}}\ndatabase: {database}\n"
    )


def body_of(rows: list[dict[str, Any]], form: str) -> tuple[bytes, str]:
    """A batch in one of the forms that the service takes."""
    if form == "json":
        return json.dumps(rows).encode(), "application/json"
    if form == "ndjson":
        return "\n".join(map(json.dumps, rows)).encode(), "application/x-ndjson"
    flat = [{**{f"feature.{k}": v for k, v in row.pop("features", {}).items()}, **row} for row in map(dict, rows)]
    stream = io.BytesIO()
    pl.DataFrame(flat).write_ipc_stream(stream)
    return stream.getvalue(), "application/vnd.apache.arrow.stream"


def write(address: str, name: str, form: str, known: Acknowledged, stop: threading.Event, rng: random.Random) -> None:
    """Post batches until told to stop; note what was acknowledged."""
    number = 0
    with httpx.Client(trust_env=False, timeout=10) as client:
        while not stop.is_set():
            size = rng.choice((1, 3, 50))
            ids = [f"{name}-{number + i}" for i in range(size)]
            number += size
            rows = [
                {
                    "id": one,
                    "prediction": rng.randrange(2),
                    "features": {"x": rng.random() * 9, "sky": rng.choice(("sun", "rain", "fog"))},
                    "time": (START + timedelta(seconds=number + i)).isoformat(),
                }
                for i, one in enumerate(ids)
            ]
            known.sent.update(ids)
            if post(client, address, "predictions", rows, form, rng, stop):
                known.predictions.update(ids)
                labelled = [one for one in ids if rng.random() < 0.7]
                if labelled and post(client, address, "labels", _labels(labelled, number), form, rng, stop):
                    known.labels.update(labelled)


def _labels(ids: list[str], number: int) -> list[dict[str, Any]]:
    time = (START + timedelta(seconds=number + 60)).isoformat()
    return [{"id": one, "label": int(one.rpartition("-")[2]) % 2, "time": time} for one in ids]


def post(
    client: httpx.Client,
    address: str,
    kind: str,
    rows: list[dict[str, Any]],
    form: str,
    rng: random.Random,
    stop: threading.Event,
) -> bool:
    """Whether a batch was acknowledged; half of them are sent again under one key until they are."""
    body, content = body_of(rows, form)
    headers = {"Content-Type": content}
    again = rng.random() < 0.5
    if again:
        headers["Idempotency-Key"] = uuid.UUID(int=rng.getrandbits(128)).hex
    while True:
        try:
            answer = client.post(f"{address}/api/v1/models/{MODEL}/{kind}", content=body, headers=headers)
        except httpx.HTTPError:
            if not again or stop.is_set():
                return False
            time.sleep(0.05)
            continue
        if answer.status_code == 202:
            return True
        if answer.status_code not in (429, 503):
            raise SystemExit(f"{answer.status_code}: {answer.text}")
        time.sleep(0.1)


def log_by_sdk(monitor: driftline.Monitor, known: Acknowledged, stop: threading.Event) -> None:
    """Log one event after the other, as a model server does."""
    number = 0
    while not stop.is_set():
        one = monitor.log({"x": number % 9, "sky": "sun"}, prediction=number % 2, id=f"sdk-{number}")
        known.sent.add(str(one))
        number += 1
        time.sleep(0.002)


def wait_until_idle(address: str) -> None:
    """Wait until everything is processed and judged."""
    give_up = time.perf_counter() + REST_SECONDS
    while time.perf_counter() < give_up:
        if httpx.get(f"{address}/ready", timeout=30, trust_env=False).json()["idle"]:
            return
        time.sleep(0.1)
    raise SystemExit("the worker did not come to rest")


def verify(folder: Path, known: dict[str, Acknowledged], windows: list[dict[str, Any]]) -> dict[str, Any]:
    """Hold the log and the windows against what was acknowledged."""
    log = folder / "driftline-data" / "log" / MODEL
    ids = pl.read_delta(str(log / "predictions"))["id"]
    labelled = set(pl.read_delta(str(log / "labels"))["id"].to_list())
    there = set(ids.to_list())
    sent = set().union(*(one.sent for one in known.values()))
    counted = sum({window["start"]: window["predictions"] for window in windows}.values())  # of one version
    return {
        "acknowledged": sum(len(one.predictions) for one in known.values()),
        "in the log": len(ids),
        "lost": sum(len(one.predictions - there) for one in known.values()),
        "twice": len(ids) - len(there),
        "never sent": len(there - sent),
        "labels acknowledged": sum(len(one.labels) for one in known.values()),
        "labels lost": sum(len(one.labels - labelled) for one in known.values()),
        "windows count": counted,
    }


def main() -> int:
    """Kill, verify and print; 1 where something was lost, came twice or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    if not options.postgresql:
        return run(options, None)
    server = PostgreSQL()
    try:
        return run(options, server)
    finally:
        server.remove()


def run(options: argparse.Namespace, server: PostgreSQL | None) -> int:
    """Kill, verify and print; see `main`."""
    rng = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
    write_config(folder, "sqlite:///driftline-data/state.db" if server is None else server.new_database())
    serving, stop = Serving(folder), threading.Event()
    serving.start()
    known = {name: Acknowledged() for name in ("json", "ndjson", "arrow", "sdk")}
    monitor = driftline.Monitor(MODEL, url=serving.address)
    writers = [
        threading.Thread(target=write, args=(serving.address, form, form, known[form], stop, random.Random(i)))
        for i, form in enumerate(("json", "ndjson", "arrow"))
    ]
    writers.append(threading.Thread(target=log_by_sdk, args=(monitor, known["sdk"], stop)))
    for writer in writers:
        writer.start()
    killed = {"service": 0, "server": 0}
    for kill in range(options.kills):
        time.sleep(rng.uniform(0.0, LONGEST_LIFE_SECONDS))
        victims = ("service",) if server is None else rng.choice((("service",), ("server",), ("server", "service")))
        for victim in victims:
            killed[victim] += 1
            if victim == "service":
                serving.end(signal.SIGKILL)
                serving.start()
            elif server is not None:
                server.kill()
                time.sleep(rng.uniform(0.0, 0.5))
                server.start()
        if (kill + 1) % 20 == 0:
            sys.stderr.write(f"{kill + 1} kills, {sum(len(one.predictions) for one in known.values())} acknowledged\n")
    stop.set()
    for writer in writers:
        writer.join()
    monitor.close(60)
    if not monitor.stats.dropped and not monitor.stats.queued:
        known["sdk"].predictions = set(known["sdk"].sent)
    wait_until_idle(serving.address)
    windows = httpx.get(f"{serving.address}/api/v1/models/{MODEL}/windows", timeout=60, trust_env=False).json()
    ended = serving.end(signal.SIGTERM)
    found = verify(folder, known, windows["windows"])
    rebuilt = subprocess.run(
        [sys.executable, "-m", "driftline", "rebuild", MODEL], cwd=folder, capture_output=True, text=True, check=False
    )
    found |= {"kills": killed, "SIGTERM": ended, "rebuild": rebuilt.stdout.strip() or rebuilt.stderr.strip()}
    found |= {"SDK": str(monitor.stats), "folder": str(folder)}
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    wrong = found["lost"] or found["twice"] or found["never sent"] or found["labels lost"]
    return int(bool(wrong or found["windows count"] != found["in the log"] or rebuilt.returncode or ended))


if __name__ == "__main__":
    raise SystemExit(main())
