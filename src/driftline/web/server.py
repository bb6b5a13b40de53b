"""Run a service behind uvicorn until it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

from driftline import clock
from driftline.config.load import Config
from driftline.errors import UsageError
from driftline.net.hosts import Hosts, guarded
from driftline.service.runtime import Service
from driftline.web.app import create_app
from driftline.web.connections import BoundedServer

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ONE_SIGNAL_SECONDS = 0.25


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 takes a free one."""
    if host not in _LOOPBACK:
        raise UsageError(
            f"host {host!r} came; this release has no access control yet and listens on {', '.join(_LOOPBACK)} only; "
            "put a proxy that asks for credentials in front of it"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port, or 0"
        ) from error
    listener.listen(128)
    return listener


class Server:
    """A service that answers on a socket. `run` blocks until SIGTERM or SIGINT (in the main thread) or `stop`."""

    def __init__(self, config: Config, listener: socket.socket, tell: Callable[[str], None]) -> None:
        self._service = Service(config, tell)
        self._listener = listener
        self._told_to_stop: float | None = None
        app = guarded(create_app(self._service), Hosts.of(config.hosts, config.url))
        self._uvicorn = BoundedServer(app, config.limits)
        host, port = listener.getsockname()[:2]
        self.address = self._service.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def guesses(self) -> list[str]:
        """What was guessed of the models, one line each."""
        return [line for name, found in self._service.guesses.items() for line in found.lines(name)]

    def run(self) -> None:
        """Process events and answer requests until stopped; then finish the current batch."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._stop_by_signal)
        self._service.start()
        try:
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
            self.stop()
        elif now - self._told_to_stop > _ONE_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def stop(self) -> None:
        """Have `run` return soon; called twice, at once."""
        self._uvicorn.force_exit = self._uvicorn.should_exit
        self._uvicorn.should_exit = True
