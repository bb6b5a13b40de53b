"""The demo from end to end: train, serve, replay the incident, then let the corrected labels arrive."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from driftline.config.load import load
from driftline.demo.replay import MODEL, Replay
from driftline.demo.weather import Day, WeatherModel, days_after_training
from driftline.errors import ConflictError
from driftline.web.server import Server, listen

_PATIENCE_SECONDS = 120.0
CORRECTED_ON = date(2016, 2, 1)
"""The day, in the replay's time, on which the corrected labels arrive."""


@dataclass(frozen=True, slots=True)
class Story:
    """What came of the replay: the API's windows and alerts before the corrections, and after."""

    events: int
    labels: int
    corrections: int
    windows: list[dict[str, Any]]
    windows_corrected: list[dict[str, Any]]
    alerts: list[dict[str, Any]]
    alerts_corrected: list[dict[str, Any]]
    refused: str
    """Why no challenger was trained on the broken labels."""

    request: dict[str, Any]
    """The request for a challenger after the corrections, once its contest was held."""

    def summary(self, address: str) -> dict[str, Any]:
        """Return the JSON document of ``driftline demo --json``."""
        performance = [one for one in self.alerts if one["measure"] == "accuracy"]
        first = min(performance, key=lambda one: one["window"]["start"], default=None)
        return {
            "model": MODEL,
            "events": self.events,
            "labels": self.labels,
            "windows": len(self.windows),
            "first_alert": None
            if first is None
            else {name: first[name] for name in ("rule", "measure", "value", "threshold", "window")},
            "worst_accuracy": min(
                one["performance"]["accuracy"]["value"] for one in self.windows if "accuracy" in one["performance"]
            ),
            "alerts": len(self.alerts_corrected),
            "corrected": sum(one["status"] == "corrected" for one in self.alerts_corrected),
            "corrections": self.corrections,
            "retraining": {
                "refused": self.refused,
                "decision": (self.request["contest"] or {}).get("decision"),
                "stage": self.request["stage"],
                "note": self.request["note"],
            },
            "url": f"{address}/models/{MODEL}",
        }


def prepare(folder: Path, receivers: Mapping[str, str]) -> tuple[Path, WeatherModel]:
    """Train the model and write its reference, the configuration and the tests of that into a folder; return the
    configuration's path.

    ``receivers`` are addresses that are notified of alerts, by kind.
    """
    model = WeatherModel()
    model.reference().write_parquet(folder / "reference.parquet")
    config = folder / "driftline.yaml"
    for name in (config.name, "rules_test.yaml"):
        shutil.copyfile(Path(__file__).parent / name, folder / name)
    if receivers:
        entries = [f'  - {{{kind}: "{address}"}}\n' for kind, address in receivers.items()]
        with config.open("a") as file:
            file.write("notify:\n" + "".join(entries))
    return config, model


@contextmanager
def serving(config: Path, port: int, tell: Callable[[str], None]) -> Iterator[Server]:
    """Serve a configuration on loopback while the block runs."""
    server = Server(load(config), listen("127.0.0.1", port), tell)
    thread = threading.Thread(target=server.run, name="driftline-http")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def play(
    address: str, model: WeatherModel, progress: Callable[[int, int], None], chapter: Callable[[str], None]
) -> Story:
    """Replay the incident through the service at an address, then send the corrections."""
    days: list[Day] = days_after_training()
    replay = Replay(address, model)
    with closing(replay), httpx.Client(base_url=f"{address}/api/v1", trust_env=False, timeout=30) as http:
        replay.run(days, lambda done: progress(done, len(days)))
        windows, alerts = _get(http, "windows"), _get(http, "alerts")
        totals = http.get(f"/models/{MODEL}").json()
        refused = _ask(http, "the accuracy is low").json()["error"]["message"]
        chapter(refused)
        corrections = replay.correct(days, CORRECTED_ON)
        request = _judged(http, _ask(http, "the labels have been corrected").json())
        return Story(
            events=totals["predictions"],
            labels=totals["labels"],
            corrections=corrections,
            windows=windows,
            windows_corrected=_get(http, "windows"),
            alerts=alerts,
            alerts_corrected=_get(http, "alerts"),
            refused=refused,
            request=request,
        )


def _ask(http: httpx.Client, reason: str) -> httpx.Response:
    return http.post(f"/models/{MODEL}/retrain", json={"by": "demo", "reason": reason})


def _judged(http: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    """Return the request once its contest is held, or it has failed; raises `ConflictError` where it was refused."""
    if "error" in request:
        raise ConflictError(request["error"]["message"])
    give_up = time.perf_counter() + _PATIENCE_SECONDS
    while not request["over"] and request["stage"] != "waiting" and time.perf_counter() < give_up:
        time.sleep(0.2)
        request = http.get(f"/retraining/{request['id']}").json()
    return request


def _get(http: httpx.Client, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"/models/{MODEL}/{what}").json()[what]
    return found
