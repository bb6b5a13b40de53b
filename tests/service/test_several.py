"""A service of several processes, told as its operator lives through it: real ones, on a real PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.postgresql import PostgreSQL
from tests.support.served import post, serving
from tests.support.servers import until

TAKEN_OVER_WITHIN_SECONDS = 30


class Several:
    """Processes of one service, by the names that a test gives them."""

    def __init__(self, config: Path, stack: ExitStack) -> None:
        self.config, self._stack = config, stack
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.addresses: dict[str, str] = {}

    def start(self, name: str, role: str) -> str:
        process, address = self._stack.enter_context(serving(self.config, "--role", role))
        self.processes[name], self.addresses[name] = process, address
        return address

    def get(self, name: str, path: str) -> httpx.Response:
        return httpx.get(self.addresses[name] + path, timeout=20, trust_env=False)

    def holder(self, api: str, lease: str = f"model {MODEL}") -> str:
        """The name of the process that holds a lease; empty for none."""
        system = self.get(api, "/api/v1/system").json()
        pids = {one["id"]: one["pid"] for one in system["processes"]}
        holder = next((one["holder"] for one in system["leases"] if one["name"] == lease), "")
        names = {process.pid: name for name, process in self.processes.items()}
        return names.get(pids.get(holder, 0), "")

    def rest(self, api: str) -> None:
        """Wait until everything is processed, which the others say with their next sign of life."""
        seen = 0

        def idle() -> bool:
            nonlocal seen
            seen = seen + 1 if self.get(api, "/ready").json()["idle"] else 0
            return seen > 30

        until(idle, "rest")


@pytest.fixture
def several(tmp_path: Path, postgresql: PostgreSQL) -> Iterator[Several]:
    with ExitStack() as stack:
        yield Several(write_config(tmp_path, f"database: {postgresql.new_database()}"), stack)


def rows(name: str, number: int = 20) -> list[dict[str, Any]]:
    return [prediction(f"{name}-{index}", 0.1, said=1, score=0.9) for index in range(number)]


def ids_in_log(config: Path) -> list[str]:
    found: list[str] = pl.read_delta(str(config.parent / "data" / "log" / MODEL / "predictions"))["id"].to_list()
    return sorted(found)


def test_workers_die_and_are_paused_and_every_event_counts_once(several: Several) -> None:
    """About as long as two leases: one until a killed worker is taken for dead, one until a paused one is."""
    api = several.start("api", "api")
    assert several.get("api", "/ready").json()["warnings"]["workers"].startswith("no process works on models")
    assert post(api, "predictions", rows("first"))
    several.start("a", "worker")
    until(lambda: several.get("api", "/api/v1/models").json()["models"][0]["predictions"] == 20, "the first are in")
    several.start("b", "worker")
    assert several.holder("api") == "a"
    assert several.get("a", "/health").json() == {"status": "ok"}
    assert 'driftline_process_leases{role="worker"} ' in several.get("a", "/metrics").text
    assert several.get("a", "/api/v1/models").status_code == 404

    several.processes["a"].kill()
    began = time.monotonic()
    assert post(api, "predictions", rows("second"))
    until(lambda: several.get("api", "/api/v1/models").json()["models"][0]["predictions"] == 40, "the second are in")
    assert time.monotonic() - began < TAKEN_OVER_WITHIN_SECONDS
    assert several.holder("api") == "b"

    several.start("c", "worker")
    several.processes["b"].send_signal(signal.SIGSTOP)
    assert post(api, "predictions", rows("third"))
    until(lambda: several.holder("api") == "c", "the paused one's model is taken over", TAKEN_OVER_WITHIN_SECONDS)
    assert post(api, "labels", [label(f"first-{index}", 0.2, truth=0) for index in range(20)])
    several.rest("api")
    several.processes["b"].send_signal(signal.SIGCONT)
    assert post(api, "predictions", rows("fourth"))
    several.rest("api")
    assert several.holder("api") == "c"  # and b has given up, without harm
    shown = several.get("api", f"/api/v1/models/{MODEL}").json()
    assert (shown["predictions"], shown["labels"]) == (80, 20)
    expected = sorted(f"{name}-{index}" for name in ("first", "second", "third", "fourth") for index in range(20))
    assert ids_in_log(several.config) == expected
    for name in ("b", "c", "api"):
        several.processes[name].send_signal(signal.SIGTERM)
        assert several.processes[name].wait(30) == 0
    command = [sys.executable, "-m", "driftline", "rebuild", MODEL, "--json", "--config", str(several.config)]
    rebuilt = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (rebuilt.returncode, json.loads(rebuilt.stdout)["differing"]) == (0, []), rebuilt.stderr
