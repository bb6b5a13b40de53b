"""A service of several processes, told as its operator lives through it: real ones, on a real PostgreSQL.

That a killed one is followed is in `tests.service.test_leases`, and both under load in `benchmarks.chaos_ingest`.
"""

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
from tests.support.starting import Started

TAKEN_OVER_WITHIN_SECONDS = 30


class Several:
    """Processes of one service, by the names that a test gives them."""

    def __init__(self, config: Path, stack: ExitStack) -> None:
        self.config, self._stack = config, stack
        self.processes: dict[str, Started] = {}
        self.addresses: dict[str, str] = {}

    def start(self, name: str, role: str) -> str:
        process, address = self._stack.enter_context(serving(self.config, "--role", role))
        self.processes[name], self.addresses[name] = process, address
        return address

    def get(self, name: str, path: str) -> httpx.Response:
        return httpx.get(self.addresses[name] + path, timeout=20, trust_env=False, verify=False)

    def holder(self, api: str, lease: str = f"model {MODEL}") -> str:
        """The name of the process that holds a lease; empty for none."""
        system = self.get(api, "/api/v1/system").json()
        pids = {one["id"]: one["pid"] for one in system["processes"]}
        holder = next((one["holder"] for one in system["leases"] if one["name"] == lease), "")
        names = {process.pid: name for name, process in self.processes.items()}
        return names.get(pids.get(holder, 0), "")

    def counts(self, api: str) -> tuple[int, int]:
        """How many predictions and labels were processed."""
        shown = self.get(api, f"/api/v1/models/{MODEL}").json()
        return shown["predictions"], shown["labels"]


@pytest.fixture
def several(tmp_path: Path, postgresql: PostgreSQL) -> Iterator[Several]:
    with ExitStack() as stack:
        yield Several(write_config(tmp_path, f"database: {postgresql.new_database()}"), stack)


def rows(name: str, number: int = 20) -> list[dict[str, Any]]:
    return [prediction(f"{name}-{index}", 0.1, said=1, score=0.9) for index in range(number)]


def ids_in_log(config: Path) -> list[str]:
    found: list[str] = pl.read_delta(str(config.parent / "data" / "log" / MODEL / "predictions"))["id"].to_list()
    return sorted(found)


def test_a_worker_is_paused_and_returns_and_every_event_counts_once(several: Several) -> None:
    """A little longer than a lease: so long a paused worker is taken for alive."""
    api = several.start("api", "api")
    assert several.get("api", "/ready").json()["warnings"]["workers"].startswith("no process works on models")
    assert post(api, "predictions", rows("first"))
    several.start("a", "worker")
    until(lambda: several.counts("api") == (20, 0), "the first are in")
    several.start("b", "worker")
    assert several.holder("api") == "a"  # which has not more than b may have
    assert several.get("a", "/health").json() == {"status": "ok"}
    assert 'driftline_process_leases{role="worker"} ' in several.get("a", "/metrics").text
    assert several.get("a", "/api/v1/models").status_code == 404

    several.processes["a"].send_signal(signal.SIGSTOP)
    paused = time.monotonic()
    assert post(api, "predictions", rows("second"))
    assert post(api, "labels", [label(f"first-{index}", 0.2, truth=0) for index in range(20)])
    until(lambda: several.counts("api") == (40, 20), "the paused one's model is worked on by the other")
    assert time.monotonic() - paused < TAKEN_OVER_WITHIN_SECONDS
    assert several.holder("api") == "b"
    several.processes["a"].send_signal(signal.SIGCONT)
    assert post(api, "predictions", rows("third"))
    until(lambda: several.counts("api") == (60, 20), "the third are in")
    until(lambda: several.get("a", "/ready").status_code == 200, "the paused one is well")
    assert several.holder("api") == "b"
    assert ids_in_log(several.config) == sorted(
        f"{name}-{i}" for name in ("first", "second", "third") for i in range(20)
    )
    for process in several.processes.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in several.processes.values()] == [0, 0, 0]
    command = [sys.executable, "-m", "driftline", "rebuild", MODEL, "--json", "--config", str(several.config)]
    rebuilt = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (rebuilt.returncode, json.loads(rebuilt.stdout)["differing"]) == (0, []), rebuilt.stderr


def test_another_role_than_all_without_a_server_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "serve", "--role", "api", "--config", str(write_config(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "several processes need one of a PostgreSQL" in done.stderr
