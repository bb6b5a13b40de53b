"""A real service, killed with SIGKILL at each stage of a retraining: it ends once, with one run and one promotion."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import httpx

from driftline.config.load import load
from driftline.retrain.registry import FolderRegistry
from driftline.service.runtime import Service
from tests.support.churn import MODEL
from tests.support.retraining import TRAIN, configured, days
from tests.support.served import serving

# It sleeps for longer than a start of the service takes on a busy machine: one that was killed just before sees it run.
COUNTED = TRAIN.replace(
    '"""Learns',
    'import time\n    time.sleep(4)\n    with open(run.parent / "count", "a") as f: f.write("x")\n    """Learns',
)


def requests(address: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{address}/api/v1/models/{MODEL}/retraining", timeout=10, trust_env=False, verify=False)
    found: list[dict[str, Any]] = answer.json()["requests"]
    return found


def test_killed_at_every_stage_it_is_run_and_promoted_once(tmp_path: Path) -> None:
    config = configured(tmp_path, train=COUNTED)
    service = Service(load(config))
    days(service, 0, 12)
    service.stop()
    seen: set[str] = set()
    kills, end = 0, time.monotonic() + 120
    while True:
        assert time.monotonic() < end, seen
        with serving(config) as (process, address):
            found: list[dict[str, Any]] = []
            # Until there is a stage at which it has not been killed yet.
            while not found or found[0]["stage"] in seen - {"baking"}:
                found = requests(address)
                assert time.monotonic() < end, (seen, found)
                time.sleep(0.03)
            if found[0]["stage"] == "baking":
                champion = httpx.get(
                    f"{address}/api/v1/models/{MODEL}/champion", timeout=10, trust_env=False, verify=False
                ).json()
                break
            assert not found[0]["over"], found[0]["note"]
            seen.add(found[0]["stage"])
            process.send_signal(signal.SIGKILL)
            kills += 1
    assert kills >= 2
    assert "running" in seen  # it sleeps there: the run outlives its service
    assert len(found) == 1
    stages = [step["stage"] for step in found[0]["steps"]]
    assert stages == ["asked", "prepared", "running", "ran", "promoting", "baking"]
    assert (tmp_path / "data" / "runs" / "count").read_text() == "x"
    assert (champion["champion"], champion["previous"]) == ("v2", "v1")
    assert [one.version for one in FolderRegistry(tmp_path / "data" / "models").versions(MODEL)] == ["v1", "v2"]
