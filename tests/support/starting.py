"""Starts commands of `driftline` in processes of their own, without importing all of it for each.

One process imports what `driftline serve` needs, and nothing else happens in it. Each command is a fork of it, with the
arguments, environment, folder and streams of who asked: from there on it is what ``python -m driftline`` would be. That
this starts by itself is seen by tests/cli/test_streams.py, tests/demo and others, which take `subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

_PROGRAM = """
import contextlib, gc, io, json, os, select, signal, socket, sys
from driftline.cli import main as cli
import driftline.cli.serve, driftline.service.runtime, driftline.web.app, driftline.web.server

gc.collect()
gc.freeze()  # a fork that looked through all modules for garbage would have a copy of each
asked = socket.socket(fileno=int(sys.argv[1]))
waking, woken = socket.socketpair()
waking.setblocking(False)
woken.setblocking(False)
signal.set_wakeup_fd(woken.fileno())
signal.signal(signal.SIGCHLD, lambda *_: None)
interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it goes to all at a terminal: what is left is ended here
telling = {}

def tell(one, number):
    with contextlib.suppress(OSError):  # who asked may have gone
        one.sendall(str(number).encode())

def become(wish, streams):
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, interrupted)
    for one in (asked, waking, woken, *telling.values()):
        one.close()
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(wish["environment"])
    os.chdir(wish["folder"])
    sys.argv = ["driftline", *wish["arguments"]]
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        to = io.BufferedWriter(io.FileIO(number, "w"))
        stream = io.TextIOWrapper(to, "utf-8", errors, line_buffering=number == 2, write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    cli.run()

while True:
    ready, _, _ = select.select([asked, waking], [], [])
    if waking in ready:
        waking.recv(4096)
        while telling:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            with telling.pop(pid) as one:
                tell(one, os.waitstatus_to_exitcode(status))
    if asked in ready:
        data, handed, _, _ = socket.recv_fds(asked, 1 << 20, 3)
        if not data:  # who asks has gone
            break
        *streams, tells = handed
        pid = os.fork()
        if pid == 0:
            os.close(tells)
            become(json.loads(data), streams)  # and exits
        for one in streams:
            os.close(one)
        telling[pid] = socket.socket(fileno=tells)
        tell(telling[pid], pid)
for pid in telling:
    os.kill(pid, signal.SIGKILL)
"""


class Started:
    """A process that was started: what tests need of `subprocess.Popen`."""

    def __init__(self, told: socket.socket, stdout: IO[str], stderr: IO[str] | None) -> None:
        self._told = told
        self.stdout, self.stderr = stdout, stderr
        self.pid = int(told.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, as of `subprocess`; None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"driftline, process {self.pid}", timeout or 0)
            said = self._told.recv(64)
            if not said:  # who started it has died, and cannot say how it ends
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            self.returncode = int(said or -signal.SIGKILL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def end(self) -> None:
        """End it at once, and leave nothing of it."""
        self.kill()
        self.wait()
        for one in (self._told, self.stdout, self.stderr):
            if one is not None:
                one.close()


@functools.cache
def _starter() -> socket.socket:
    """Start what starts the others, and have it end with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def started(arguments: Sequence[str], *, stderr: int | None = None) -> Started:
    """Start ``driftline`` with these arguments; its stdout is read, and its stderr where that is `subprocess.PIPE`."""
    with contextlib.ExitStack() as stack:

        def pipe() -> tuple[IO[str], int]:
            reading, writing = os.pipe()
            stack.callback(os.close, writing)
            return open(reading, encoding="utf-8"), writing

        stdout, to_stdout = pipe()
        told, tells = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )  # a process may end at once: two messages
        stack.enter_context(tells)
        errors, to_errors = pipe() if stderr == subprocess.PIPE else (None, stderr if stderr is not None else 2)
        wish = {"arguments": [*arguments], "environment": dict(os.environ), "folder": os.getcwd()}
        socket.send_fds(_starter(), [json.dumps(wish).encode()], [to_stdout, to_errors, tells.fileno()])
        return Started(told, stdout, errors)
