"""A real process, killed with SIGKILL again and again while it is sent events: 202 means durable, nothing twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from driftline.config.load import load
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.served import post, serving, wait_until_idle


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
                view = httpx.get(f"{address}/api/v1/models/{MODEL}", trust_env=False, verify=False).json()
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
        (taken, "choose another --host or --port"),
        (outside, "needs tokens"),
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
