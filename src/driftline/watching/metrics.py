"""Serve /metrics and a page for ``driftline watch``: with limits on connections and time, under its own names only."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from driftline.errors import UsageError
from driftline.net.hosts import Hosts

CONNECTION_SECONDS = 20.0
"""The longest time for a request and for reading its answer."""

MOST_CONNECTIONS = 64
_HOSTS, _ORIGINS = "driftline.hosts", "driftline.origins"
_PHRASES = {421: "421 Misdirected Request", 403: "403 Forbidden"}

_PAGE, _EXPOSITION = "text/html", ("text/plain", "application/openmetrics-text", "application/vnd.google.protobuf")
_READING = ("GET", "HEAD")
_PATHS = ("", "/", "/metrics", "/metrics/", "/favicon.ico")

Respond = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[dict[str, Any], Respond], Iterable[bytes]]


class MetricsServer(NamedTuple):
    """A running server: its address, and the function that ends it."""

    url: str
    close: Callable[[], None]


class Page(NamedTuple):
    """What makes the page at ``/``, and the policy that goes with it."""

    render: Callable[[], str]
    policy: str


def serve_metrics(
    metrics: Collector, host: str, port: int, names: Iterable[str] = (), page: Page | None = None
) -> MetricsServer:
    """Serve /metrics from a thread; port 0 takes a free one. Raises `UsageError` for a port that is in use.

    At ``/`` there is the ``page`` for who accepts HTML, the exposition for all others.

    Bound to loopback, it answers requests for loopback names and for ``names``; bound elsewhere, also for any IP
    address, the machine's name and ``host``.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        [(family, *_, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        server = _server(family)((str(address[0]), port), _Handler)
    except OSError as error:
        raise UsageError(
            f"/metrics cannot be served at {host}:{port}: {error.strerror or error}; "
            "choose another --port, or --port 0 for any free one"
        ) from error
    app = _with_head(make_wsgi_app(registry))
    app = app if page is None else _with_page(app, page)
    server.set_app(_guarded(_at_known_paths(app), _hosts(host, str(address[0]), names)))
    thread = threading.Thread(target=server.serve_forever, name="driftline-metrics", daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    shown_host = f"[{host}]" if ":" in host else host
    return MetricsServer(f"http://{shown_host}:{server.server_port}/metrics", close)


def _hosts(host: str, address: str, names: Iterable[str]) -> Hosts:
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return Hosts(names)
    shown = f"[{host}]" if ":" in host else host
    return Hosts([shown, socket.gethostname(), *names], any_address=True)


def wants_page(accept: str) -> bool:
    """Tell whether an Accept header asks for HTML rather than for an exposition.

    A scraper names formats of expositions; whoever takes anything, such as curl, gets the exposition too.

    >>> wants_page("text/html,application/xhtml+xml,*/*;q=0.8"), wants_page("*/*"), wants_page("")
    (True, False, False)
    >>> wants_page("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1")
    False
    """
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (one.strip().lower() for one in part.split(";"))
        weights[kind] = max(weights.get(kind, 0.0), _weight(parameters))
    return weights.get(_PAGE, 0.0) > 0 and weights[_PAGE] >= max(weights.get(kind, 0.0) for kind in _EXPOSITION)


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def _at_known_paths(app: Application) -> Application:
    """Return the application so that it is nowhere else: who asks for ``/health`` means another program."""

    def ask(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        if environ["PATH_INFO"] in _PATHS:
            return app(environ, respond)
        respond("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        said = "this is driftline watch, which has / and /metrics; the API is one of driftline serve"
        return [f"{said}\n".encode()] if environ["REQUEST_METHOD"] != "HEAD" else []

    return ask


def _with_head(app: Application) -> Application:
    """Return the application so that HEAD is answered as GET is, without the body."""

    def ask(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, respond)
        for _ in app({**environ, "REQUEST_METHOD": "GET"}, respond):
            pass  # what it yields is the body
        return []

    return ask


def _with_page(app: Application, page: Page) -> Application:
    """Return the application with a page at ``/`` for who asks for HTML."""

    def ask(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in ("", "/") or environ["REQUEST_METHOD"] not in _READING:
            return app(environ, respond)
        if not wants_page(environ.get("HTTP_ACCEPT", "")):
            return app(environ, lambda status, head: respond(status, [*head, ("Vary", "Accept")]))
        body = page.render().encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        head = [
            ("ETag", tag),
            ("Vary", "Accept"),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", page.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ]
        if environ.get("HTTP_IF_NONE_MATCH") == tag:
            respond("304 Not Modified", head)
            return []
        respond("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body))), *head])
        return [body] if environ["REQUEST_METHOD"] == "GET" else []

    return ask


def _guarded(app: Application, hosts: Hosts) -> Application:
    """Return the application behind a check of each request's host and origin."""

    def ask(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        refusal = hosts.refuse(environ["REQUEST_METHOD"], environ[_HOSTS], environ[_ORIGINS])
        if refusal is None:
            return app(environ, respond)
        respond(_PHRASES[refusal.status], [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{refusal.message}\n".encode()]

    return ask


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[_HOSTS] = self.headers.get_all("host") or []
        environ[_ORIGINS] = self.headers.get_all("origin") or []
        return environ

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        timer = threading.Timer(CONNECTION_SECONDS, _end, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing about a client that went away, or whose time was up."""


def _server(family: int) -> type[_Server]:
    return type("_Server", (_Server,), {"address_family": family})


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already closed
        connection.shutdown(socket.SHUT_RDWR)
