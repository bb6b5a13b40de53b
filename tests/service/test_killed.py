"""A real process, killed with SIGKILL again and again while it is sent events: 202 means durable, nothing twice."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from driftline.service.config import load
from driftline.service.rebuild import rebuild
from driftline.service.runtime import Service
from tests.service.conftest import MODEL, label, prediction, write_config


@contextmanager
def serving(config: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``driftline serve`` and give its process and address."""
    command = [sys.executable, "-m", "driftline", "serve", "--config", str(config), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def post(address: str, kind: str, rows: list[dict[str, Any]]) -> bool:
    """Send a batch; whether it was acknowledged."""
    try:
        answer = httpx.post(f"{address}/api/v1/models/{MODEL}/{kind}", json=rows, timeout=10, trust_env=False)
    except httpx.HTTPError:
        return False
    assert answer.status_code == 202, answer.text
    return True


def wait_until_idle(address: str) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        if httpx.get(f"{address}/ready", timeout=10, trust_env=False).json()["idle"]:
            return
        time.sleep(0.05)
    raise AssertionError("the worker did not come to rest")


def test_no_acknowledged_event_is_lost_and_none_counts_twice(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    rng = random.Random(9)
    batches = [
        [prediction(f"{batch}-{index}", batch / 20, said=index % 2, score=0.5) for index in range(20)]
        for batch in range(60)
    ]
    todo = [("predictions", rows) for rows in batches]
    todo += [("labels", [label(row["id"], 3.5, truth=row["prediction"]) for row in rows]) for rows in batches]
    kills = 0
    while todo:
        with serving(config) as (process, address):
            time_to_live = rng.randint(5, 40) if kills < 4 else len(todo)
            for _ in range(min(time_to_live, len(todo))):
                if not post(address, *todo[0]):
                    break
                if rng.random() < 0.8:
                    todo.pop(0)  # otherwise: the answer got lost on its way, and the batch is sent again
            if todo:
                process.send_signal(signal.SIGKILL)
                kills += 1
            else:
                wait_until_idle(address)
                view = httpx.get(f"{address}/api/v1/models/{MODEL}", trust_env=False).json()
    assert kills >= 4
    assert (view["predictions"], view["labels"], view["waiting_labels"]) == (1200, 1200, 0)
    assert view["duplicate_events"] > 0
    service = Service(load(config))
    assert service.models[MODEL].log.count("predictions") == 1200
    assert service.models[MODEL].log.count("labels") == 1200
    assert rebuild(service.models[MODEL], service.state).differing == ()
    service.stop()


def test_sigterm_ends_cleanly_and_soon(tmp_path: Path) -> None:
    with serving(write_config(tmp_path)) as (process, address):
        assert post(address, "predictions", [prediction("a", 0.0, said=1)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_a_port_that_is_taken_and_a_broken_configuration_are_one_line_and_exit_2(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with serving(config) as (_, address):
        other = write_config(tmp_path / "other")
        port = address.rsplit(":", 1)[1]
        taken = _run("--config", str(other), "--port", port)
        outside = _run("--config", str(other), "--host", "0.0.0.0")
        same = _run("--config", str(config), "--port", "0")
    config.write_text("models: {churn: {referense: 1}}")
    broken = _run("--config", str(config))
    for result, words in (
        (taken, "choose another --port"),
        (outside, "listens on 127.0.0.1"),
        (same, "in use by another driftline"),
        (broken, "referense"),
    ):
        assert (result.returncode, result.stdout) == (2, "")
        assert len(result.stderr.splitlines()) == 1
        assert words in result.stderr


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "driftline", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
