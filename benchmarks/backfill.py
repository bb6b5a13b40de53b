"""What is told when history is loaded: 120 days of 20 models at once, some of them silenced first.

    python -m benchmarks.backfill --write

A `driftline serve` of its own on the loopback gets predictions and labels, and a receiver counts what it sends. Every
tenth day of each model is bad: its accuracy falls, and with it an input goes missing. Of one model the last day is bad,
so that its alert still fires when all is loaded. The table goes into docs/notifications.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from benchmarks.between import between

PAGE = Path(__file__).parents[1] / "docs" / "notifications.md"
BEGIN, END = "<!-- backfill: python -m benchmarks.backfill --write -->", "<!-- end of backfill -->"
START = datetime(2024, 1, 1, tzinfo=UTC)
CHANNELS = ("webhook", "slack", "pagerduty")
KINDS = ("fired", "resolved", "over")
BAD_EVERY = 10
LOOK_EVERY_SECONDS, LOOKS = 1.5, 400


@dataclass
class Counted:
    """Messages that a channel got, and in them what was said of how many alerts, by kind."""

    messages: Counter[str] = field(default_factory=Counter)
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    models: set[str] = field(default_factory=set)


@contextmanager
def receiving() -> Iterator[tuple[str, Counted]]:
    """A receiver on the loopback that takes everything; its address, and what it got so far."""
    counted = Counted()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that the library asks for
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            channel = self.path.split("/")[1]
            counted.messages[channel] += 1
            for kind, model in _said(channel, body):
                counted.said[channel, kind] += 1
                counted.models.add(model)
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", counted
    finally:
        server.shutdown()
        server.server_close()


def _said(channel: str, body: Any) -> list[tuple[str, str]]:
    """What a message says of how many alerts: a kind and a model for each; of those in words no model."""
    if channel == "webhook":
        return [(notice["event"], notice["alert"]["model"]) for notice in body["notices"]]
    if channel == "pagerduty":
        return [({"trigger": "fired", "resolve": "resolved"}[body["event_action"]], "")]
    if found := re.search(r"(\d+) alerts began", body["text"]):
        return [("over", "")] * int(found[1])
    marks = {"⚠": "fired", "✅": "resolved", "☑": "over"}
    return [(marks[mark], "") for mark in re.findall(r"^[^:\n]+: ([⚠✅☑])", body["text"], re.MULTILINE)]


def configuration(models: Sequence[str], receiver: str) -> str:
    """A rule that pages, one that it explains, and three receivers."""
    one = """
  {name}:
    columns: {{prediction: prediction, label: label, features: [x]}}
    reference: {{path: reference.parquet}}
    labels: {{expected_within: 2d, accepted_for: 400d}}
    alerts:
      budget: none
      rules:
        - {{name: accuracy-low, measure: accuracy, below: 0.75, severity: page}}
        - {{name: gaps, measure: missing_ratio, above: 0.3, severity: warning}}
        - {{name: moved, measure: drifted_features_ratio, above: 0.5, severity: warning}}"""
    return f"""models:{"".join(one.format(name=name) for name in models)}
notify:
  - {{webhook: "{receiver}/webhook", name: webhook}}
  - {{slack: "{receiver}/slack", name: slack}}
  - {{pagerduty: key, url: "{receiver}/pagerduty", name: pagerduty, severity: [page]}}
storage: ./data
"""


def history(model: str, days: int, rows: int, *, ends_badly: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and labels of a model, and one prediction more that ends the last day."""
    predictions, labels = [], []
    for day in range(days):
        bad = day % BAD_EVERY == BAD_EVERY // 2 or (ends_badly and day == days - 1)
        for at in range(rows):
            id, time_ = f"{model}-{day}-{at}", (START + timedelta(days=day, minutes=at)).isoformat()
            said, wrong = at % 2, at % (2 if bad else 20) == 1
            x = None if bad and at % 2 else float(at % 10)
            predictions.append({"id": id, "time": time_, "version": "v1", "features": {"x": x}, "prediction": said})
            labels.append({"id": id, "time": time_, "label": 1 - said if wrong else said})
    after = (START + timedelta(days=days, minutes=1)).isoformat()
    predictions.append({**predictions[0], "id": f"{model}-after", "time": after})
    return predictions, labels


def run(models: int, days: int, rows: int, silenced: int) -> tuple[Counted, int, int]:
    """Load the history of all models; what was sent, how many alerts that made, and how many still fire."""
    names = [f"model-{number:02}" for number in range(models)]
    with tempfile.TemporaryDirectory() as place, receiving() as (receiver, counted):
        folder = Path(place)
        frame = {"x": [float(at % 10) for at in range(1000)], "prediction": [at % 2 for at in range(1000)]}
        labels = [1 - at % 2 if at % 20 == 1 else at % 2 for at in range(1000)]
        pl.DataFrame({**frame, "label": labels}).write_parquet(folder / "reference.parquet")
        (folder / "driftline.yaml").write_text(configuration(names, receiver))
        command = [sys.executable, "-m", "driftline", "serve", "--config", "driftline.yaml", "--port", "0"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        reading = threading.Thread(target=process.stdout.read, daemon=True)
        reading.start()
        try:
            with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
                for name in names[:silenced]:
                    body = {"match": {"model": name}, "for": "12h", "by": "benchmark", "reason": "history is loaded"}
                    client.post("/api/v1/silences", json=body).raise_for_status()
                for name in names:
                    parts = history(name, days, rows, ends_badly=name == names[-1])
                    for kind, events in zip(("predictions", "labels"), parts, strict=True):
                        client.post(f"/api/v1/models/{name}/{kind}", json=events).raise_for_status()
                _wait(client, counted)
                alerts = client.get("/api/v1/alerts").json()["alerts"]
        finally:
            process.terminate()
            process.wait(30)
            reading.join()
            process.stdout.close()
    return counted, len(alerts), sum(alert["status"] == "firing" for alert in alerts)


def _wait(client: httpx.Client, counted: Counted) -> None:
    """Until all is judged and nothing waits to be sent."""
    for _ in range(LOOKS):
        before = counted.messages.total()
        time.sleep(LOOK_EVERY_SECONDS)
        waiting = re.findall(r"^driftline_notifications_waiting.* (\S+)$", client.get("/metrics").text, re.MULTILINE)
        if client.get("/ready").json()["idle"] and not any(map(float, waiting)) and before == counted.messages.total():
            return
    raise TimeoutError("the service did not come to rest")


def table(counted: Counted) -> list[str]:
    """The lines of the table: messages of each channel, and alerts in them by what is said."""
    lines = ["| channel | messages | of alerts: fired | resolved | over |", "| --- | --- | --- | --- | --- |"]
    for channel in CHANNELS:
        said = " | ".join(str(counted.said[channel, kind]) for kind in KINDS)
        lines.append(f"| {channel} | {counted.messages[channel]} | {said} |")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table or write it."""
    parser = argparse.ArgumentParser(description="What is told when history is loaded.")
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--silenced", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args(arguments)
    counted, alerts, firing = run(asked.models, asked.days, asked.rows, asked.silenced)
    words = (
        f"{asked.days} days of {asked.models} models, {asked.silenced} of them silenced first, made {alerts} alerts, "
        f"of which {firing} still fired at the end:"
    )
    lines = [words, "", *table(counted)]
    if asked.write:
        PAGE.write_text(between(PAGE.read_text(), BEGIN, END, lines))
    else:
        sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
