"""A server for the SDK to talk to, on a real socket, and what its tests have in common."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from driftline.client import Monitor, Stats

SLOW_SECONDS = 20.0
"""What a busy machine may take for what is done in milliseconds."""


class Answer(NamedTuple):
    status: int
    body: Any = None
    headers: Mapping[str, str] = {}
    lost: bool = False
    """The connection ends before the sender hears of it."""


def error(status: int, *rows: tuple[int, str], message: str = "no", **headers: str) -> Answer:
    listed = [{"index": index, "field": field, "reason": "is wrong"} for index, field in rows]
    return Answer(status, {"error": {"type": "E", "message": message, "rows": listed}}, headers)


class Request(NamedTuple):
    path: str
    headers: Mapping[str, str]
    rows: list[Any]
    status: int
    at: float

    @property
    def kind(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


class Server:
    """Records what it gets; ``script`` has the answers to come, ``judge`` those after; 202 without either."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.script: deque[Answer] = deque()
        self.judge: Callable[[Request], Answer] = lambda _: Answer(202, {"accepted": 0})
        self.connections, self.open = 0, set[Any]()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                server.connections += 1
                server.open.add(self.client_address)

            def finish(self) -> None:
                super().finish()
                server.open.discard(self.client_address)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                rows = [json.loads(line) for line in body.split(b"\n")]
                request = Request(self.path, headers, rows, 0, time.perf_counter())
                answer = server.script.popleft() if server.script else server.judge(request)
                server.requests.append(request._replace(status=answer.status))
                if answer.lost:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                text = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in ({"Content-Length": str(len(text))} | dict(answer.headers)).items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None: ...

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None: ...  # a client that hung up

        self.http = Quiet(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def rows(self, kind: str) -> list[Any]:
        """The rows that are durable, in the order in which they came."""
        return [row for one in self.requests if one.status == 202 and one.kind == kind for row in one.rows]

    def ids(self, kind: str = "predictions") -> list[str]:
        return [row["id"] for row in self.rows(kind)]

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@contextmanager
def monitoring(server: Server | str, **settings: Any) -> Iterator[Monitor]:
    url = server if isinstance(server, str) else server.url
    with Monitor("weather", url, **({"flush_seconds": 0.02} | settings)) as monitor:
        yield monitor


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def mute_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def until(condition: Callable[[], bool]) -> None:
    give_up = time.perf_counter() + SLOW_SECONDS
    while not condition():
        assert time.perf_counter() < give_up
        time.sleep(0.005)


def counted(stats: Stats) -> int:
    return stats.queued + stats.sent + sum(stats.dropped.values())


@contextmanager
def served(port: int = 0) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    one = Server(port)
    try:
        yield one
    finally:
        one.close()


def python(script: str, timeout_seconds: float = 60.0, *, says: bool = False) -> str:
    """Run a script; return what it prints, on stderr if it ``says`` something there."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or says, done.stderr
    return done.stderr if says else done.stdout
