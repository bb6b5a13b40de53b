"""Real servers for tests: Prometheus and Alertmanager on free ports of the loopback, ended by process id."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until(true: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for something to come true; return what it came to."""
    give_up = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < give_up, f"{what} did not come to pass"
        time.sleep(0.1)
    return found


class _Program:
    """A program that is ready when its address answers; the same folder and port after a restart."""

    def __init__(self, name: str, folder: Path, arguments: list[str], ready: str) -> None:
        binary = shutil.which(name)
        assert binary, f"{name} is missing: apt-get install {name}"
        folder.mkdir(parents=True, exist_ok=True)
        self._command, self._ready, self._folder, self._name = [binary, *arguments], ready, folder, name
        self.start()

    def start(self) -> None:
        with (self._folder / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log)
        until(self._answers, f"{self._name} is ready")

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / f"{self._name}.log").read_text()
        try:
            with urllib.request.urlopen(self._ready, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a power failure would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it properly."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


class Alertmanager(_Program):
    """Alertmanager that tells one webhook of everything within a second."""

    def __init__(self, folder: Path, webhook: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "route": {"receiver": "hook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ]
        super().__init__("prometheus-alertmanager", folder, arguments, f"{self.url}/-/ready")


class Prometheus(_Program):
    """Prometheus with a configuration; relative paths in it start at ``folder``."""

    def __init__(self, folder: Path, config: str, *flags: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(config)
        arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=warn",
            *flags,
        ]
        super().__init__("prometheus", folder, arguments, f"{self.url}/-/ready")
