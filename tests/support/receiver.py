"""A server that receives what Driftline sends, keeps it, and answers as it was told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


def strict_json(body: bytes) -> Any:
    """Read JSON as a strict receiver does: no NaN, no Infinity, no halves of signs."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads(body.decode("utf-8"), parse_constant=refuse)
    json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


class Request(NamedTuple):
    """What a server got."""

    path: str
    headers: dict[str, str]
    body: bytes
    answered: int = 204

    @property
    def json(self) -> Any:
        return strict_json(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Server:
    """An HTTP server on loopback: keeps the requests, gives the answers that it was told in turn, then 204."""

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        self.got: list[Request] = []
        self.answers = list(answers)
        self.arrived = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with outer.arrived:
                    answer = outer.answers.pop(0) if outer.answers else Answer()
                    headers = {k.lower(): v for k, v in self.headers.items()}
                    outer.got.append(Request(self.path, headers, body, answer.status))
                    outer.arrived.notify_all()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # who reads the beginning only may leave
                    self.wfile.write(answer.body)

            do_GET = do_DELETE = do_POST  # noqa: N815 - the library's name

            def date_time_string(self, timestamp: float | None = None) -> str:
                return "Mon, 23 Nov 2026 12:30:15 GMT"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def taken(self) -> list[Request]:
        """The requests that it has answered with 200 to 299."""
        return [request for request in self.got if request.answered < 300]

    def wait_for(self, arrived: Callable[[list[Request]], bool], seconds: float = 60.0) -> None:
        """Wait until what has arrived is as wanted."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: arrived(self.got), seconds), self.got

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server()
    try:
        yield server
    finally:
        server.close()
