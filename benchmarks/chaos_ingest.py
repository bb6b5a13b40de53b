"""A service that is killed again and again while four writers send: what it acknowledged is there, each event once.

python -m benchmarks.chaos_ingest [--kills N] [--seed N] [--postgresql [--workers N] [--apis N]]

Real processes of ``driftline serve`` are killed with SIGKILL at random moments, are paused by SIGSTOP for longer than
their leases are valid, and find the disk full (no file may grow); requests are torn. With ``--postgresql`` the state is
in a real PostgreSQL, which is killed and started again, and with ``--workers`` the service is several processes.

Three writers post predictions and labels as JSON, NDJSON and Arrow, in batches of 1 to 50, some with an
Idempotency-Key that they send again until it is acknowledged; a fourth is the SDK. In the end the log must have every
acknowledged event, none twice; the windows must count what the log has; a rebuild must find no difference; and no
notice of an alert may have come to its receiver in two messages with different keys.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

import driftline
from tests.support.postgresql import PostgreSQL
from tests.support.receiver import Request
from tests.support.receiver import Server as Hook
from tests.support.receiver import serving as receiving

WRITERS = ("json", "ndjson", "arrow", "sdk")
"""Each has a model of its own."""

SPELL_EVENTS = 240
"""So many events a model is right, and then wrong: it alerts again and again."""

LONGEST_LIFE_SECONDS = 2.5
EVENT_SECONDS = 10
"""So far event time goes from one event of a writer to its next."""

REST_SECONDS = 180.0
_BAD_INPUT = 2
RESTED_TIMES = 25
PAUSED_SECONDS = (11.0, 16.0)
MOST_PAUSED = 2
FULL_AT_BYTES = 1000
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Acknowledged:
    """What the service has said to have; each writer has one of its own."""

    predictions: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)


class Serving:
    """One process of the service on one port, started and killed."""

    def __init__(self, folder: Path, role: str, number: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.role, self.name = role, f"{role}-{number}"
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"
        self.log = (folder / f"{self.name}.log").open("ab")
        self.paused = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, or start again."""
        command = [sys.executable, "-m", "driftline", "serve", "--port", str(self.port), "--role", self.role]
        self._process = subprocess.Popen(command, cwd=self.folder, stdout=self.log, stderr=self.log)

    def start_again(self) -> None:
        """Start it where it has ended because its database was away, as systemd does."""
        assert self._process is not None
        ended = self._process.poll()
        if ended == _BAD_INPUT:
            self.start()
        elif ended is not None:
            raise SystemExit(f"{self.name} ended with {ended}; see {self.log.name}")

    def wait(self) -> None:
        """Wait until it answers."""
        give_up = time.perf_counter() + REST_SECONDS
        while time.perf_counter() < give_up:
            self.start_again()
            try:
                httpx.get(f"{self.address}/health", timeout=2, trust_env=False)
            except httpx.HTTPError:
                time.sleep(0.02)
            else:
                return
        raise SystemExit(f"{self.name} did not answer")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return how the process ended."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def limit_files(self, most_bytes: int) -> None:
        """Have it write no file that is larger: to the process it is as if the disk were full."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


class Service:
    """All processes of the service, and the PostgreSQL that they share, if it is one; ``faults`` happen to them."""

    def __init__(
        self, folder: Path, options: argparse.Namespace, server: PostgreSQL | None, rng: random.Random
    ) -> None:
        roles = ["all"]
        if options.workers:
            roles = ["api"] * options.apis + ["worker"] * options.workers + ["notify"]
        self.processes = [Serving(folder, role, number) for number, role in enumerate(roles)]
        self.apis = [one for one in self.processes if one.role in ("api", "all")]
        self.happened: Counter[str] = Counter()
        self._server, self._rng = server, rng
        self._pauses: list[threading.Thread] = []

    def start(self) -> None:
        """Start all, and wait for them."""
        for one in self.processes:
            one.start()
        for one in self.processes:
            one.wait()

    def wait_for_a_door(self) -> None:
        """Wait until events are taken somewhere: a service that never comes up shows nothing."""
        give_up = time.perf_counter() + REST_SECONDS
        while time.perf_counter() < give_up:
            for one in self.apis:
                one.start_again()
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"{one.address}/health", timeout=0.5, trust_env=False)
                    return
            time.sleep(0.1)

    def fault(self) -> None:
        """Have something go wrong."""
        kinds = [self._kill] * 5 + [self._tear, self._fill_the_disk]
        if len(self.processes) > 1:
            kinds += [self._pause] * 3
        if self._server is not None:
            kinds += [self._fail_the_server]
        self._rng.choice(kinds)()

    def _some(self) -> Serving | None:
        for one in self.processes:
            one.start_again()
        running = [one for one in self.processes if not one.paused]
        return self._rng.choice(running) if running else None

    def _kill(self) -> None:
        if (one := self._some()) is not None:
            one.end(signal.SIGKILL)
            one.start()
            self.happened[f"kill -9 of {one.role}"] += 1

    def _pause(self) -> None:
        """Stop a process for longer than its leases are valid, and let it go on."""
        one = self._some()
        if one is None or sum(other.paused for other in self.processes) >= MOST_PAUSED:
            self._kill()
            return
        one.paused = True
        one.send(signal.SIGSTOP)
        self.happened[f"SIGSTOP of {one.role}"] += 1
        self._pauses.append(threading.Thread(target=self._go_on, args=(one, self._rng.uniform(*PAUSED_SECONDS))))
        self._pauses[-1].start()

    def _go_on(self, one: Serving, after: float) -> None:
        time.sleep(after)
        one.send(signal.SIGCONT)
        one.paused = False

    def _tear(self) -> None:
        """Begin a request, and leave in the middle of its body."""
        path = f"/api/v1/models/{self._rng.choice(WRITERS)}/predictions"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        )
        body = '[{"id": "torn", "prediction": 1, "features": {"x": 1.0, "sky": "sun"}}'
        port = self._rng.choice(self.apis).port
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.sendall((head + body).encode())
        self.happened["torn request"] += 1

    def _fill_the_disk(self) -> None:
        if (one := self._some()) is not None:
            one.limit_files(FULL_AT_BYTES)
            time.sleep(self._rng.uniform(0.5, 2.0))
            one.limit_files(resource.RLIM_INFINITY)
            self.happened[f"disk full for {one.role}"] += 1

    def _fail_the_server(self) -> None:
        assert self._server is not None
        self._server.kill()
        time.sleep(self._rng.uniform(0.0, 0.5))
        self._server.start()
        self.happened["PostgreSQL restarted"] += 1

    def heal(self) -> None:
        """Have everything run again."""
        for pause in self._pauses:
            pause.join()
        for one in self.processes:
            one.wait()

    def rest(self) -> None:
        """Wait until all is processed, judged and sent."""
        give_up, rested = time.perf_counter() + REST_SECONDS, 0
        while rested < RESTED_TIMES:
            if time.perf_counter() > give_up:
                raise SystemExit(f"the workers did not come to rest: {self._ready()}")
            time.sleep(0.2)
            rested = rested + 1 if self._ready().get("idle") else 0

    def _ready(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = httpx.get(f"{self.apis[0].address}/ready", timeout=30, trust_env=False).json()
        except httpx.HTTPError:
            return {}
        return found

    def stop(self) -> list[int]:
        """End all in order; how each of them ended."""
        return [one.end(signal.SIGTERM) for one in self.processes]


def write_config(folder: Path, database: str, hook: str) -> None:
    """Models with two inputs and short windows."""
    rows = {"x": [float(i % 9) for i in range(300)], "sky": ["sun", "rain", "fog"] * 100}
    targets = {"prediction": [i % 2 for i in range(300)], "label": [i // 2 % 2 for i in range(300)]}
    pl.DataFrame(rows | targets).write_parquet(folder / "reference.parquet")
    rule = "{name: accuracy-low, measure: accuracy, below: 0.75}"
    model = (
        "{window: 10min, columns: {prediction: prediction, label: label}, labels: {expected_within: 10min}, "
        f"reference: {{path: reference.parquet}}, alerts: {{budget: none, rules: [{rule}]}}}}"
    )
    models = "".join(f"  {name}: {model}\n" for name in WRITERS)
    (folder / "driftline.yaml").write_text(f"models:\n{models}notify: [{{webhook: '{hook}'}}]\ndatabase: {database}\n")


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


def write(
    addresses: list[str], name: str, form: str, known: Acknowledged, stop: threading.Event, rng: random.Random
) -> None:
    """Post batches until told to stop; note what was acknowledged."""
    number = 0
    with httpx.Client(trust_env=False, timeout=3) as client:
        while not stop.is_set():
            size = rng.choice((1, 3, 50))
            ids = [f"{name}-{number + i}" for i in range(size)]
            number += size
            rows = [
                {
                    "id": one,
                    "prediction": _said(number - size + i),
                    "features": {"x": rng.random() * 9, "sky": rng.choice(("sun", "rain", "fog"))},
                    "time": (START + timedelta(seconds=EVENT_SECONDS * (number + i))).isoformat(),
                }
                for i, one in enumerate(ids)
            ]
            known.sent.update(ids)
            if post(client, addresses, name, "predictions", rows, form, rng, stop):
                known.predictions.update(ids)
                labelled = [one for one in ids if rng.random() < 0.7]
                if labelled and post(client, addresses, name, "labels", _labels(labelled, number), form, rng, stop):
                    known.labels.update(labelled)


def _said(number: int) -> int:
    """What the model says of an event, of which `_labels` says the truth."""
    return (number + number // SPELL_EVENTS) % 2


def _labels(ids: list[str], number: int) -> list[dict[str, Any]]:
    time = (START + timedelta(seconds=EVENT_SECONDS * number + 60)).isoformat()
    return [{"id": one, "label": int(one.rpartition("-")[2]) % 2, "time": time} for one in ids]


def post(
    client: httpx.Client,
    addresses: list[str],
    model: str,
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
            address = rng.choice(addresses)
            answer = client.post(f"{address}/api/v1/models/{model}/{kind}", content=body, headers=headers)
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


def doubled(got: list[Request]) -> list[str]:
    """The notices that came in two messages with different keys."""
    keys: dict[str, set[str]] = {}
    for request in got:
        for notice in request.json["notices"]:
            keys.setdefault(notice["key"], set()).add(request.headers["idempotency-key"])
    return [notice for notice, of in keys.items() if len(of) > 1]


def verify(folder: Path, model: str, known: Acknowledged, address: str) -> dict[str, int]:
    """Hold the log and the windows of a model against what was acknowledged."""
    log = folder / "driftline-data" / "log" / model
    ids = pl.read_delta(str(log / "predictions"))["id"]
    labelled = set(pl.read_delta(str(log / "labels"))["id"].to_list()) if known.labels else set()
    there = set(ids.to_list())
    windows = httpx.get(f"{address}/api/v1/models/{model}/windows", timeout=60, trust_env=False).json()["windows"]
    return {
        "acknowledged": len(known.predictions),
        "in the log": len(ids),
        "windows count": sum({window["start"]: window["predictions"] for window in windows}.values()),  # of one version
        "lost": len(known.predictions - there),
        "twice": len(ids) - len(there),
        "never sent": len(there - known.sent),
        "labels acknowledged": len(known.labels),
        "labels lost": len(known.labels - labelled),
    }


def rebuild(folder: Path, model: str) -> int:
    """Recompute a model from its log; how many windows differed, or -1 where that failed."""
    command = [sys.executable, "-m", "driftline", "rebuild", model, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.stderr.write(done.stderr)
        return -1
    return len(json.loads(done.stdout)["differing"])


def main() -> int:
    """Kill, verify and print; 1 where something was lost, came twice or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--workers", type=int, default=0, help="0: one process does everything")
    parser.add_argument("--apis", type=int, default=2)
    options = parser.parse_args()
    if options.workers and not options.postgresql:
        parser.error("--workers needs --postgresql")
    server = PostgreSQL() if options.postgresql else None
    try:
        with receiving() as hook:
            return run(options, server, hook)
    finally:
        if server is not None:
            server.remove()


def run(options: argparse.Namespace, server: PostgreSQL | None, hook: Hook) -> int:
    """Kill, verify and print; see `main`."""
    rng = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
    write_config(folder, "sqlite:///driftline-data/state.db" if server is None else server.new_database(), hook.url)
    service, stop = Service(folder, options, server, rng), threading.Event()
    service.start()
    known = {name: Acknowledged() for name in WRITERS}
    addresses = [one.address for one in service.apis]
    monitor = driftline.Monitor("sdk", url=addresses[0])
    writers = [
        threading.Thread(target=write, args=(addresses, form, form, known[form], stop, random.Random(i)))
        for i, form in enumerate(WRITERS[:3])
    ]
    writers.append(threading.Thread(target=log_by_sdk, args=(monitor, known["sdk"], stop)))
    for writer in writers:
        writer.start()
    for kill in range(options.kills):
        service.wait_for_a_door()
        time.sleep(rng.uniform(0.0, LONGEST_LIFE_SECONDS))
        service.fault()
        if (kill + 1) % 10 == 0:
            sys.stderr.write(f"{kill + 1} faults, {sum(len(one.predictions) for one in known.values())} acknowledged\n")
    service.heal()
    stop.set()
    for writer in writers:
        writer.join()
    monitor.close(60)
    if not monitor.stats.dropped and not monitor.stats.queued:
        known["sdk"].predictions = set(known["sdk"].sent)
    service.rest()
    found: Counter[str] = Counter()
    for name in WRITERS:
        found.update(verify(folder, name, known[name], addresses[0]))
    ended = service.stop()
    differing = sum(rebuild(folder, name) for name in WRITERS)
    twice = doubled(hook.taken)
    report = {
        **found,
        "messages": len(hook.taken),
        "alerts told twice": len(twice),
        "windows that rebuild found to differ": differing,
        "SIGTERM": ended,
        "faults": dict(sorted(service.happened.items())),
        "SDK": str(monitor.stats),
        "folder": str(folder),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    wrong = [found[name] for name in ("lost", "twice", "never sent", "labels lost")]
    return int(any((*wrong, twice, differing, *ended)) or found["windows count"] != found["in the log"])


if __name__ == "__main__":
    raise SystemExit(main())
