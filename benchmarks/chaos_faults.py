"""What goes wrong in `benchmarks.chaos_ingest`: processes of a service, and the PostgreSQL and S3 that they share."""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.postgresql import PostgreSQL
from tests.support.s3 import S3

LONGEST_LIFE_SECONDS = 2.5
REST_SECONDS = 180.0
_BAD_INPUT = 2
RESTED_TIMES = 25
PAUSED_SECONDS = (11.0, 16.0)
MOST_PAUSED = 2
FULL_AT_BYTES = 1000

S3_FAULTS: dict[str | int, tuple[str, float]] = {
    500: ("S3 answers 500", 4.0),
    503: ("S3 answers 503", 4.0),
    "cut": ("S3 ends connections", 4.0),
    "lost": ("S3 acts and does not answer", 4.0),
    "hang": ("S3 hangs", 25.0),
    "late": ("S3 acts when nobody waits any more", 25.0),
}
"""What becomes of requests, in words, and for how many seconds at most: one may take 20, and a lease lasts 10."""

S3_SHARES = (0.1, 0.5, 1.0)
"""Which share of the requests that happens to."""


class Serving:
    """One process of the service on one port, started and killed."""

    def __init__(self, folder: Path, role: str, number: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.role, self.name = role, f"{role}-{number}"
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"
        self.log = (folder / f"{self.name}.log").open("ab")
        self.paused = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, or start again."""
        command = [sys.executable, "-m", "driftline", "serve", "--port", str(self.port), "--role", self.role]
        self._process = subprocess.Popen(command, cwd=self.folder, stdout=self.log, stderr=self.log)

    def start_again(self) -> None:
        """Start it where it has ended because its database was away, as systemd does."""
        assert self._process is not None
        ended = self._process.poll()
        if ended == _BAD_INPUT:
            self.start()
        elif ended is not None:
            raise SystemExit(f"{self.name} ended with {ended}; see {self.log.name}")

    def wait(self) -> None:
        """Wait until it answers."""
        give_up = time.perf_counter() + REST_SECONDS
        while time.perf_counter() < give_up:
            self.start_again()
            try:
                httpx.get(f"{self.address}/health", timeout=2, trust_env=False)
            except httpx.HTTPError:
                time.sleep(0.02)
            else:
                return
        raise SystemExit(f"{self.name} did not answer")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return how the process ended."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def limit_files(self, most_bytes: int) -> None:
        """Have it write no file that is larger: to the process it is as if the disk were full."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


class Service:
    """All processes of the service, and the PostgreSQL and the S3 that they share, if any; faults happen to them.

    A request that is torn is for one of the ``models``.
    """

    def __init__(
        self,
        folder: Path,
        options: argparse.Namespace,
        models: Sequence[str],
        server: PostgreSQL | None,
        s3: S3 | None,
    ) -> None:
        roles = ["all"]
        if options.workers:
            roles = ["api"] * options.apis + ["worker"] * options.workers + ["notify"]
        self.processes = [Serving(folder, role, number) for number, role in enumerate(roles)]
        self.apis = [one for one in self.processes if one.role in ("api", "all")]
        self.happened: Counter[str] = Counter()
        self._models, self._server, self._s3, self._rng = models, server, s3, random.Random(options.seed)
        self._lasting: list[threading.Thread] = []
        self._fails = threading.Event()  # S3 does

    def start(self) -> None:
        """Start all, and wait for them."""
        for one in self.processes:
            one.start()
        for one in self.processes:
            one.wait()

    def live(self) -> None:
        """Have it run for a while, once it takes events."""
        self.wait_for_a_door()
        time.sleep(self._rng.uniform(0.0, LONGEST_LIFE_SECONDS))

    def wait_for_a_door(self) -> None:
        """Wait until events are taken somewhere: a service that never comes up shows nothing."""
        give_up = time.perf_counter() + REST_SECONDS
        while time.perf_counter() < give_up:
            for one in self.apis:
                one.start_again()
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"{one.address}/health", timeout=0.5, trust_env=False)
                    return
            time.sleep(0.1)

    def fault(self) -> None:
        """Have something go wrong."""
        kinds = [self._kill] * 5 + [self._tear, self._fill_the_disk]
        if len(self.processes) > 1:
            kinds += [self._pause] * 3
        if self._server is not None:
            kinds += [self._fail_the_server]
        if self._s3 is not None:
            kinds += [self._fail_s3] * 5
        self._rng.choice(kinds)()

    def _some(self) -> Serving | None:
        for one in self.processes:
            one.start_again()
        running = [one for one in self.processes if not one.paused]
        return self._rng.choice(running) if running else None

    def _kill(self) -> None:
        if (one := self._some()) is not None:
            one.end(signal.SIGKILL)
            one.start()
            self.happened[f"kill -9 of {one.role}"] += 1

    def _pause(self) -> None:
        """Stop a process for longer than its leases are valid, and let it go on."""
        one = self._some()
        if one is None or sum(other.paused for other in self.processes) >= MOST_PAUSED:
            self._kill()
            return
        one.paused = True
        one.send(signal.SIGSTOP)
        self.happened[f"SIGSTOP of {one.role}"] += 1
        self._last(self._go_on, one, self._rng.uniform(*PAUSED_SECONDS))

    def _last(self, end: Callable[..., None], *told: Any) -> None:
        """Have a fault end by itself."""
        self._lasting.append(threading.Thread(target=end, args=told))
        self._lasting[-1].start()

    def _go_on(self, one: Serving, after: float) -> None:
        time.sleep(after)
        one.send(signal.SIGCONT)
        one.paused = False

    def _tear(self) -> None:
        """Begin a request, and leave in the middle of its body."""
        path = f"/api/v1/models/{self._rng.choice(self._models)}/predictions"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        )
        body = '[{"id": "torn", "prediction": 1, "features": {"x": 1.0, "sky": "sun"}}'
        port = self._rng.choice(self.apis).port
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.sendall((head + body).encode())
        self.happened["torn request"] += 1

    def _fill_the_disk(self) -> None:
        if (one := self._some()) is not None:
            one.limit_files(FULL_AT_BYTES)
            time.sleep(self._rng.uniform(0.5, 2.0))
            one.limit_files(resource.RLIM_INFINITY)
            self.happened[f"disk full for {one.role}"] += 1

    def _fail_the_server(self) -> None:
        assert self._server is not None
        self._server.kill()
        time.sleep(self._rng.uniform(0.0, 0.5))
        self._server.start()
        self.happened["PostgreSQL restarted"] += 1

    def _fail_s3(self) -> None:
        """Have S3 fail for a while, at some requests or at all."""
        assert self._s3 is not None
        if self._fails.is_set():
            self._kill()
            return
        self._fails.set()
        kind, share = self._rng.choice([*S3_FAULTS]), self._rng.choice(S3_SHARES)
        own = random.Random(self._rng.random())  # the proxy's threads ask it
        words, most_seconds = S3_FAULTS[kind]
        self._s3.proxy.fault = lambda method, path: kind if own.random() < share else None
        self._last(self._heal_s3, self._rng.uniform(1.0, most_seconds))
        self.happened[words] += 1

    def _heal_s3(self, after: float) -> None:
        assert self._s3 is not None
        time.sleep(after)
        self._s3.heal()
        self._fails.clear()

    def heal(self) -> None:
        """Have everything run again."""
        for one in self._lasting:
            one.join()
        for process in self.processes:
            process.wait()

    def rest(self) -> None:
        """Wait until all is processed, judged and sent."""
        give_up, rested = time.perf_counter() + REST_SECONDS, 0
        while rested < RESTED_TIMES:
            if time.perf_counter() > give_up:
                raise SystemExit(f"the workers did not come to rest: {self._ready()}")
            time.sleep(0.2)
            rested = rested + 1 if self._ready().get("idle") else 0

    def _ready(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = httpx.get(f"{self.apis[0].address}/ready", timeout=30, trust_env=False).json()
        except httpx.HTTPError:
            return {}
        return found

    def kill(self) -> None:
        """End all at once, as far as they run."""
        for one in self.processes:
            with contextlib.suppress(ProcessLookupError):
                one.end(signal.SIGKILL)

    def stop(self) -> list[int]:
        """End all in order; how each of them ended."""
        return [one.end(signal.SIGTERM) for one in self.processes]
