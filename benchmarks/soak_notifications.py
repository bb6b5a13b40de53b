"""Alerts by the thousand to a receiver that fails half the time, from a service that is killed every minute.

python -m benchmarks.soak_notifications [--minutes N] [--alerts-per-minute N]

A real ``driftline serve`` delivers; alerts fire and resolve by rows that are put into its outbox as it would put them.
The receiver answers half of the messages with 500, 429, 503, by a broken connection, or takes a message and breaks the
connection before the answer. In the end every notice must have arrived, each alert's in order, and whatever arrived
twice must have come with the same key.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import polars as pl

from driftline import clock
from driftline.alerts.message import AlertView, Event, Notice, Span
from driftline.config.load import load
from driftline.store.database import open_database
from driftline.store.outbox import Outbox
from driftline.store.state import State

MODELS = 10
RESOLVED_AFTER_SECONDS = 5.0
QUIET_SECONDS = 900.0
"""How long is waited for the rest, once no more alerts come."""

FAULTS = ("500", "503", "429", "broken", "lost answer")


class Receiver:
    """Fails half of the time, in one way or the other, and writes down what came."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []  # key of the message, key of the notice, alert
        self.answers: Counter[str] = Counter()
        outer, rng = self, random.Random(1)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = rng.choice(FAULTS) if rng.random() < 0.5 else "200"
                outer.answers[answer] += 1
                if answer in ("200", "lost answer"):
                    key = self.headers["Idempotency-Key"]
                    for one in json.loads(body)["notices"]:
                        outer.got.append((key, one["key"], one["alert"]["id"]))
                if answer in ("broken", "lost answer"):
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(int(answer))
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def write_config(folder: Path, url: str) -> Path:
    """A model with a reference of two rows: nothing is judged, only delivered."""
    pl.DataFrame({"x": [1.0, 2.0], "label": [0, 1], "prediction": [0, 1]}).write_parquet(folder / "reference.parquet")
    path = folder / "driftline.yaml"
    path.write_text(
        "models:\n  m:\n    task: binary\n    columns: {label: label, prediction: prediction}\n"
        f"    reference: {{path: reference.parquet}}\nnotify: [{{webhook: '{url}'}}]\n"
    )
    return path


def serve(config: Path) -> subprocess.Popen[bytes]:
    """Start the service on a free port."""
    command = [Path(sys.executable).with_name("driftline"), "serve", "--config", config, "--port", "0"]
    with (config.parent / "serve.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def notice(alert: str, model: str, event: Event, now: datetime) -> Notice:
    """What is said of an alert."""
    span = Span(now, now)
    view = AlertView(
        id=alert,
        model=model,
        rule="accuracy-low",
        measure="accuracy",
        severity="page",
        title="Model accuracy below threshold!",
        status="firing" if event is Event.FIRED else "resolved",
        window=span,
        span=span,
        value=0.5,
        low=0.4,
        high=0.6,
        n=100,
        threshold=0.75,
        worst=0.5,
        value_now=None,
        fired_at=now,
        ended_at=None,
        findings=None,
        history=[],
    )
    return Notice(event, f"{alert}-{event.value}", now, "soak", view)


def produce(state: State, minutes: float, per_minute: int) -> int:
    """Put alerts into the outbox at a rate; each resolves after a few seconds. Return how many there were."""
    started, number, resolved = time.perf_counter(), 0, 0
    total = int(minutes * per_minute)
    while resolved < total:
        elapsed = time.perf_counter() - started
        fire_until = min(int(elapsed / 60 * per_minute), total)
        resolve_until = min(max(int((elapsed - RESOLVED_AFTER_SECONDS) / 60 * per_minute), 0), total)
        now = clock.now()
        with state.work() as work:
            outbox = Outbox(work.connection)
            for event, first, last in ((Event.FIRED, number, fire_until), (Event.RESOLVED, resolved, resolve_until)):
                for place in range(first, last):
                    one = notice(f"alert-{place:06}", f"model-{place % MODELS}", event, now)
                    outbox.add("webhook-1", one.alert.model, one.alert.id, msgspec.json.encode(one), now)
        number, resolved = fire_until, resolve_until
        time.sleep(0.2)
    return total


def main() -> None:
    """Read the command line, run, print what came of it; exit with 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description="Alerts to a receiver that fails half the time.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--alerts-per-minute", type=int, default=1000)
    given = parser.parse_args()
    receiver = Receiver()
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), receiver.url)
        state = State(open_database(load(config).database, sync_commits=False))
        process, kills = serve(config), 0
        stopping = threading.Event()

        def kill_now_and_then() -> None:
            nonlocal process, kills
            while not stopping.wait(60.0):
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                process, kills = serve(config), kills + 1

        killer = threading.Thread(target=kill_now_and_then)
        killer.start()
        started = time.perf_counter()
        alerts = produce(state, given.minutes, given.alerts_per_minute)
        produced = time.perf_counter() - started
        most_waiting = waiting(state)
        while waiting(state) and time.perf_counter() - started < produced + QUIET_SECONDS:
            time.sleep(0.5)
        finished = time.perf_counter() - started
        stopping.set()
        killer.join()
        process.terminate()
        process.wait()
    report = {
        "alerts": alerts,
        "minutes": round(produced / 60, 2),
        "kills": kills,
        "answers": dict(receiver.answers),
        "waiting_at_the_end_of_alerts": most_waiting,
        "last_delivered_seconds_later": round(finished - produced, 1),
        **judge(receiver, alerts),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.exit(1 if report["missing"] or report["out_of_order"] or report["doubled_with_another_key"] else 0)


def waiting(state: State) -> int:
    """How many notices have not been delivered."""
    with state.read() as read:
        return Outbox(read.connection).count("waiting").get("webhook-1", 0)


def judge(receiver: Receiver, alerts: int) -> dict[str, int]:
    """Count what should not be: missing notices, alerts out of order, doubles with different keys."""
    first: dict[str, int] = {}
    keys: dict[str, set[str]] = {}
    for place, (message, one, _) in enumerate(receiver.got):
        first.setdefault(one, place)
        keys.setdefault(one, set()).add(message)
    wanted = [f"alert-{place:06}" for place in range(alerts)]
    return {
        "arrived": len(first),
        "missing": sum(f"{alert}-{event}" not in first for alert in wanted for event in ("fired", "resolved")),
        "out_of_order": sum(
            first.get(f"{alert}-fired", 0) > first.get(f"{alert}-resolved", len(receiver.got)) for alert in wanted
        ),
        "doubles": len(receiver.got) - len(first),
        "doubled_with_another_key": sum(len(found) > 1 for found in keys.values()),
    }


if __name__ == "__main__":
    main()
