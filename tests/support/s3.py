"""A real S3 server (moto's) on a free port, behind a proxy that can answer wrongly, late or not at all."""

from __future__ import annotations

import http.client
import itertools
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.servers import free_port

SECRET = "s3cret-of-the-tests"
BUCKET = "lake"
Fault = Callable[[str, str], str | int | None]
"""What happens to a request (method, path): passed on (None), a status that is answered, or one of `_Proxy`'s words."""


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on. ``hang`` waits, ``cut`` ends the connection, ``lost`` too, but after the server has acted;
    ``late`` waits, and then is ``lost``.
    """

    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path))
        fault = self.server.fault(self.command, self.path)
        if fault in ("hang", "late"):
            self.server.resumed.wait(30)
        if isinstance(fault, int):
            words = b"<Error><Code>InternalError</Code><AWSAccessKeyId>AKIATHEKEY</AWSAccessKeyId></Error>"
            self.send_response(fault)
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(words)
            return
        if fault in ("hang", "cut"):
            self.close_connection = True
            return
        is_conditional = "If-None-Match" in self.headers or "If-Match" in self.headers
        server = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        try:
            with self.server.turn if is_conditional else nullcontext():
                server.request(self.command, self.path, body, dict(self.headers.items()))
                answer = server.getresponse()
                content = answer.read()
        finally:
            server.close()
        if fault in ("lost", "late"):
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 - named by the standard library

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), _Proxy)
        self.behind, self.asked = behind, list[tuple[str, str]]()
        self.fault: Fault = lambda method, path: None
        self.resumed = threading.Event()
        self.turn = threading.Lock()  # moto looks whether there is such an object, and then stores it: not at once

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is none of ours."""


class S3:
    """One server and its proxy; ``fault`` decides what happens to a request."""

    def __init__(self) -> None:
        self.port, self._numbers = free_port(), itertools.count(1)
        self._moto = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self.proxy = _Server(self.port)
        threading.Thread(target=self.proxy.serve_forever, daemon=True).start()
        for _ in range(600):
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{BUCKET}", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise TimeoutError("moto did not start")

    def settings(self, *, faulty: bool = False) -> dict[str, str]:
        """The variables by which a client finds it, or its proxy."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.server_port if faulty else self.port}",
            "AWS_ACCESS_KEY_ID": "AKIATHEKEY",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def announce(self, **more: str) -> None:
        """Have this process, and those that it starts, find its proxy, and ``more`` variables."""
        os.environ.update(self.settings(faulty=True), **more)

    def address(self) -> str:
        """An address in the bucket that nobody else uses."""
        return f"s3://{BUCKET}/test/{next(self._numbers)}"

    def heal(self) -> None:
        """Pass everything on again, and let go what hangs."""
        self.proxy.fault = lambda method, path: None
        self.proxy.resumed.set()
        self.proxy.resumed = threading.Event()

    def close(self) -> None:
        """End both."""
        self.heal()
        self.proxy.shutdown()
        self.proxy.server_close()
        self._moto.terminate()
        self._moto.wait()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """The server of a whole run."""
    pytest.importorskip("obstore", reason="obstore is missing: pip install 'driftline[s3]'")
    server = S3()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, found by the environment."""
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.settings().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def faulty_s3(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server behind its proxy, which does as `S3.proxy` is told."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.settings(faulty=True)["AWS_ENDPOINT_URL"])
    s3.heal()
    yield s3
    s3.heal()
