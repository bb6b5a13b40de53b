"""A service whose output nobody reads judges on, says later what it left out, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import httpx

from tests.support.churn import MODEL, START, write_config
from tests.support.servers import until

DAYS = 24
RULES = "".join(f"        - {{name: accuracy-{n}, measure: accuracy, below: 0.{n}}}\n" for n in range(70, 90))


def loud(folder: Path) -> Path:
    """A configuration with many rules, whose alerts fill a pipe."""
    path = write_config(folder)
    path.write_text(path.read_text().replace("      rules:\n", f"      rules:\n{RULES}"))
    return path


def test_judging_goes_on_and_the_end_is_an_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "serve", "--config", str(loud(tmp_path)), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[-1]
        model = f"{address}/api/v1/models/{MODEL}"
        with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
            for day in range(DAYS):
                time = (START + timedelta(days=day)).isoformat()
                wrong = day % 2
                rows = [
                    {"id": f"{day}-{n}", "time": time, "features": {"age": 40.0, "plan": "pro"}, "prediction": n % 2}
                    for n in range(40)
                ]
                labels = [{"id": f"{day}-{n}", "label": (n + wrong) % 2, "time": time} for n in range(40)]
                client.post(f"{model}/predictions", json=rows).raise_for_status()
                client.post(f"{model}/labels", json=labels).raise_for_status()
                until(lambda: client.get(f"{address}/ready").json()["idle"], "rest")
            windows = client.get(f"{model}/windows").json()["windows"]
            assert sum(one["stage"] == "judged" for one in windows) == DAYS - 1  # the last one is open
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0  # with a pipe that is full
        said = os.read(process.stdout.fileno(), 2**20)
        assert len(said) >= 2**15, "the pipe was never full: the test shows nothing"
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_a_reader_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "serve", "--config", str(loud(tmp_path)), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        process.stdout.close()
        rows = [{"id": str(n), "time": START.isoformat(), "prediction": n % 2} for n in range(40)]
        model = f"{address}/api/v1/models/{MODEL}"
        with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
            client.post(f"{model}/predictions", json=rows).raise_for_status()
            labels = [{"id": str(n), "label": 1 - n % 2, "time": START.isoformat()} for n in range(40)]
            client.post(f"{model}/labels", json=labels).raise_for_status()
            later = {"id": "later", "time": (START + timedelta(days=9)).isoformat(), "prediction": 1}
            client.post(f"{model}/predictions", json=[later]).raise_for_status()
            until(lambda: len(client.get(f"{model}/alerts").json()["alerts"]) >= 20, "alerts")
            assert client.get(f"{address}/ready").json()["ready"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_what_a_server_says_acts_on_no_terminal(tmp_path: Path) -> None:
    """The values of events come into the sentences of alerts; they are shown, not obeyed."""
    command = [sys.executable, "-m", "driftline", "serve", "--config", str(write_config(tmp_path)), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said: list[str] = []
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        reader = threading.Thread(target=said.extend, args=(process.stdout,), daemon=True)
        reader.start()
        evil = "\x1b[2J\n✅ Resolved: all is well\u202e"
        model = f"{address}/api/v1/models/{MODEL}"
        rows = [
            {"id": str(n), "time": START.isoformat(), "prediction": n % 2, "features": {"age": 40.0, "plan": evil}}
            for n in range(200)
        ]
        with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
            client.post(f"{model}/predictions", json=rows).raise_for_status()
            labels = [{"id": str(n), "label": 1 - n % 2, "time": START.isoformat()} for n in range(200)]
            client.post(f"{model}/labels", json=labels).raise_for_status()
            later = {"id": "later", "time": (START + timedelta(days=9)).isoformat(), "prediction": 1}
            client.post(f"{model}/predictions", json=[later]).raise_for_status()
            until(lambda: client.get(f"{model}/alerts").json()["alerts"], "an alert")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        reader.join(20)
        process.stdout.close()
    finally:
        process.kill()
        process.wait()
    text = "".join(said)
    assert "\\x1b[2J\\n" in text
    assert not any(line.startswith("✅") for line in text.split("\n"))
    assert not {"\x1b", "\u202e"} & set(text)
