"""Run a service behind uvicorn until it is stopped."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

from driftline import clock
from driftline.access.tokens import has_admin
from driftline.config.load import Config
from driftline.errors import UsageError
from driftline.net.hosts import Hosts, guarded
from driftline.service.leases import ROLES, Role
from driftline.service.priority import answer_soon
from driftline.service.runtime import Service
from driftline.text.durations import length
from driftline.web.access import Gate
from driftline.web.app import create_app, create_small_app
from driftline.web.connections import BoundedServer
from driftline.web.numbered import numbered
from driftline.web.ui.rendering import compile_templates

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ONE_SIGNAL_SECONDS = 0.25
_BACKLOG = 128
_LAST_LINE_SECONDS = 0.5
STOP_WITHIN = timedelta(seconds=25)
"""How long a service may take to stop: less than what Kubernetes and systemd wait for, and more than a batch takes."""

_LOG = logging.getLogger("driftline")


def listen(host: str, port: int) -> socket.socket:
    """Bind the socket of a server, which listens once it may; port 0 takes a free one.

    Raises `UsageError` for a host or port that cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the end of an answer waits 40 ms for its head
    try:
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "it is no name"
        raise UsageError(
            f"{host}:{port} cannot be listened on ({reason}); choose another --host or --port, or port 0"
        ) from error
    return listener


class Server:
    """A service that answers on a socket. `run` blocks until SIGTERM or SIGINT (in the main thread) or `stop`.

    After a signal the process ends within ``stop_within``, if need be in the midst of a batch.
    """

    def __init__(
        self,
        config: Config,
        listener: socket.socket,
        tell: Callable[[str], None],
        *,
        role: Role = ROLES["all"],
        stop_within: timedelta = STOP_WITHIN,
    ) -> None:
        host, port = listener.getsockname()[:2]
        is_local = ipaddress.ip_address(host).is_loopback
        self._service = Service(config, tell, role=role)
        self._listener = listener
        self._told_to_stop: float | None = None
        self._stop_within = stop_within
        with ExitStack() as undo:
            undo.callback(self._service.stop)  # whoever mends what is wrong may start again
            if not is_local:
                self._require_admin()
            https = config.tls is not None
            secure = https or config.url.startswith("https://")
            gate = Gate(self._service.state, config.auth, required=config.auth.required or not is_local, secure=secure)
            create = create_app if role.answers else create_small_app
            hosts = Hosts.of(config.hosts, config.url, any_address=not is_local)
            app = numbered(guarded(create(self._service, gate), hosts))
            self._uvicorn = BoundedServer(app, config.limits, config.tls)
            listener.listen(_BACKLOG)
            undo.pop_all()
        scheme = "https" if https else "http"
        self.address = self._service.address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        if not is_local and not secure:
            tell("Tokens come in clear: set `tls` in driftline.yaml, or `url` to the https address of a proxy.")

    def _require_admin(self) -> None:
        """Refuse to listen beyond this machine while nobody could administer the service."""
        with self._service.state.read() as read:
            if has_admin(read, clock.now()):
                return
        raise UsageError(
            "a host other than loopback needs tokens, and there is none for an administrator yet; create one: "
            "driftline token create NAME --role admin"
        )

    @property
    def guesses(self) -> list[str]:
        """The settings of the models that were guessed, one line each."""
        return [line for name, found in self._service.guesses.items() for line in found.lines(name)]

    def run(self) -> None:
        """Process events and answer requests until stopped; then finish the current batch."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._stop_by_signal)
        answer_soon()
        try:
            self._service.start()
            if self._service.role.answers:  # beside the first requests: it takes a fifth of a second
                threading.Thread(target=compile_templates, name="driftline-templates", daemon=True).start()
            self._uvicorn.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self._service.stop()

    def _stop_by_signal(self, number: int, _frame: object) -> None:
        """Shut down in order; a second signal ends the process at once, which loses nothing that was acknowledged.

        A wrapper (`timeout`, a shell at Ctrl-C) may pass one signal on twice: that counts once.
        """
        now = clock.monotonic_seconds()
        if self._told_to_stop is None:
            self._told_to_stop = now
            last = threading.Timer(self._stop_within.total_seconds(), self._end)
            last.daemon = True
            last.start()
            self.stop()
        elif now - self._told_to_stop > _ONE_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _end(self) -> None:
        """End the process at what it is at: all that was acknowledged is done again after the next start."""
        _LOG.warning(
            "what is being worked on takes longer than %s; it is done again after the next start",
            length(self._stop_within),
        )
        threading.Event().wait(_LAST_LINE_SECONDS)
        os._exit(0)

    def stop(self) -> None:
        """Make `run` return soon; a second call makes it return at once."""
        self._uvicorn.force_exit = self._uvicorn.should_exit
        self._uvicorn.should_exit = True
