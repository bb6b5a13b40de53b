"""A service whose state is in PostgreSQL, told as its operator lives through it: real processes, a real server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftline.config.load import load
from driftline.errors import InUseError
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.postgresql import PASSWORD, PostgreSQL
from tests.support.served import serving, wait_until_idle
from tests.support.servers import until
from tests.support.steps import deliver, work

PAGE = Path(__file__).parents[2] / "docs" / "postgresql.md"


def get(address: str, path: str) -> httpx.Response:
    return httpx.get(address + path, timeout=20, trust_env=False, verify=False)


def send(address: str, kind: str, rows: list[dict[str, Any]], key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return httpx.post(
        f"{address}/api/v1/models/{MODEL}/{kind}", json=rows, headers=headers, timeout=20, trust_env=False, verify=False
    )


def driftline(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "driftline", *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


class _Sender(threading.Thread):
    """Sends one batch after another, each until it is acknowledged, as the SDK does."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.acknowledged, self.refusals, self.done = (
            address,
            0,
            list[httpx.Response](),
            threading.Event(),
        )

    def run(self) -> None:
        while not self.done.is_set():
            number = self.acknowledged
            rows = [prediction(f"s{number}-{index}", 0.1, said=1, score=0.9) for index in range(10)]
            answer = send(self.address, "predictions", rows, key=f"batch {number}")
            if answer.status_code == 202:
                self.acknowledged += 1
            else:
                self.refusals.append(answer)
            time.sleep(0.05)  # as often as there is news of it: each batch is work for the service


def test_a_server_that_fails_again_and_again_loses_nothing_and_is_survived(
    tmp_path: Path, postgresql: PostgreSQL, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three starts of `serve` and three ends of the server: it takes some seconds."""
    monkeypatch.setenv("DATABASE_OF_TESTS", postgresql.new_database())
    config = write_config(tmp_path, "database: env:DATABASE_OF_TESTS")
    with serving(config) as (process, address):
        sender = _Sender(address)
        sender.start()
        for _ in range(3):
            before = sender.acknowledged
            until(lambda before=before: sender.acknowledged > before + 5, "batches")
            refused = len(sender.refusals)
            postgresql.kill()
            until(lambda refused=refused: len(sender.refusals) > refused, "a refusal")
            ready = until(lambda: (got := get(address, "/ready")).status_code == 503 and got, "not ready")
            assert get(address, "/health").json() == {"status": "ok"}
            assert ready.json()["problems"]["database"].startswith("the database is away")
            postgresql.start()
            until(lambda: get(address, "/ready").status_code == 200, "readiness")
        sender.done.set()
        sender.join(30)
        for answer in sender.refusals:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"]["message"].startswith("the database is away")
        truths = [label(f"s0-{index}", 1, truth=0) for index in range(10)]
        assert send(address, "labels", truths).status_code == 202
        assert send(address, "predictions", [prediction("later", 9, said=1)]).status_code == 202
        wait_until_idle(address)
        shown = get(address, f"/api/v1/models/{MODEL}").json()
        assert shown["predictions"] == sender.acknowledged * 10 + 1
        page = get(address, f"/models/{MODEL}").text
        assert "accuracy" in page
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    rebuilt = driftline(config, "rebuild", MODEL, "--json")
    assert (rebuilt.returncode, json.loads(rebuilt.stdout)["differing"]) == (0, []), rebuilt.stderr
    with serving(config) as (_, address):
        until(lambda: get(address, "/ready").status_code == 200, "readiness")
        assert get(address, f"/api/v1/models/{MODEL}").json() == shown
    said = capfd.readouterr()
    for text in (said.out, said.err, page, json.dumps(shown), *(one.text for one in sender.refusals)):
        assert PASSWORD not in text
        assert "Traceback" not in text


def test_one_database_has_one_storage(tmp_path: Path, postgresql: PostgreSQL) -> None:
    more = f"database: {postgresql.new_database()}"
    first = Service(load(write_config(tmp_path / "a", more)))
    with pytest.raises(InUseError, match=r"a driftline that uses the database keeps its log in .*/a/data") as caught:
        Service(load(write_config(tmp_path / "b", more)))
    assert PASSWORD not in str(caught.value)
    with pytest.raises(InUseError, match=r"the database is in use by another driftline .*, process [0-9]+"):
        Service(load(write_config(tmp_path / "a", more)), alone=True)
    pools = [one._engine.pool for one in (first.inbox, first.state)]
    most = sum(pool.size() + pool._max_overflow for pool in pools) + 2  # the leases, and who looks at the vitals
    assert f"at most {most} connections" in " ".join(PAGE.read_text().split())
    first.stop()
    Service(load(write_config(tmp_path / "b", more))).stop()


def test_a_state_that_moves_from_a_file_is_recalled_from_the_log(tmp_path: Path, postgresql: PostgreSQL) -> None:
    file = Service(load(write_config(tmp_path, "database: sqlite:///state.db")))
    rows = [prediction(f"{number}", 0.1, said=1, score=0.9) for number in range(80)]
    deliver(file, "predictions", [*rows, prediction("later", 9, said=1)])
    deliver(file, "labels", [label(f"{number}", 0.5, truth=0) for number in range(80)])
    work(file)
    before = _known(file)
    file.stop()
    moved = Service(load(write_config(tmp_path, f"database: {postgresql.cleared_database()}")))
    moved.worker.catch_up(MODEL)
    assert _known(moved) == before
    assert [rule for rule, _ in before[1]] == ["accuracy-low"]
    assert deliver(moved, "predictions", [prediction("one more", 9.1, said=1), rows[0]]) == 2
    work(moved)
    with moved.state.read() as read:
        assert read.counters.of(MODEL)["predictions", "v1"] == 82
    moved.stop()


def test_a_backup_is_whole_where_the_state_is_copied_first(tmp_path: Path, postgresql: PostgreSQL) -> None:
    address = postgresql.cleared_database()
    service = Service(load(write_config(tmp_path, f"database: {address}")))
    deliver(service, "predictions", [prediction(f"{number}", 0.1, said=1, score=0.9) for number in range(80)])
    work(service)
    deliver(service, "labels", [label(f"{number}", 0.5, truth=0) for number in range(80)])  # waits in the inbox
    copied = postgresql.copy(address)
    work(service)
    deliver(service, "predictions", [prediction("later", 9, said=1)])
    work(service)
    shutil.copytree(tmp_path / "data" / "log", tmp_path / "copy" / "data" / "log")
    before = _known(service)
    service.stop()
    for table in ("processes", "leases"):  # which were alive when it was copied: ten seconds pass
        postgresql.say(f"UPDATE {table} SET expires_at = 0", copied.rpartition("/")[2])
    restored = Service(load(write_config(tmp_path / "copy", f"database: {copied}")))
    restored.worker.catch_up(MODEL)
    work(restored)
    assert _known(restored) == before
    assert rebuild(restored.models[MODEL], restored.state).differing == ()
    restored.stop()


def test_a_database_may_be_migrated_before_the_service_starts(tmp_path: Path, postgresql: PostgreSQL) -> None:
    config = write_config(tmp_path, f"database: {postgresql.new_database()}")
    first, again = (json.loads(driftline(config, "migrate", "--json").stdout) for _ in range(2))
    assert first["from"] is None
    assert again == first | {"from": first["to"]}
    assert first["database"].startswith("postgresql+psycopg://127.0.0.1:")


def _known(service: Service) -> tuple[list[Any], list[Any]]:
    """The profiles of the windows, and which alerts fire."""
    with service.state.read() as read:
        windows = [(row.start, row.version, row.profile, row.labelled) for row in read.windows.between(MODEL)]
        return windows, [(one.rule, one.window_start) for one in read.alerts.find(MODEL, status="firing")]
