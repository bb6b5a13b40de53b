"""Who starts services for the tests outlives what happens to those who ask, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys

import psutil

from tests.support.starting import Started, _starter, started


def test_an_interrupt_or_one_who_has_gone_ends_no_starter() -> None:
    first = started(["--nonsense"], stderr=subprocess.PIPE)
    assert first.wait(60) == 2 and first.poll() == 2
    assert first.stderr is not None and "--nonsense" in first.stderr.read()
    first.end()
    [starter] = [one for one in psutil.Process().children() if "recv_fds" in " ".join(one.cmdline())]
    starter.send_signal(signal.SIGINT)
    told, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told.close()
    wish = b'{"arguments": ["--nonsense"], "environment": {}, "folder": "/"}'
    with open(os.devnull, "w") as nowhere:
        socket.send_fds(_starter(), [wish], [nowhere.fileno(), nowhere.fileno(), tells.fileno()])
    tells.close()
    again = started(["--nonsense"], stderr=subprocess.PIPE)
    assert again.wait(60) == 2 and starter.is_running()
    again.end()


def test_what_is_left_of_a_starter_that_died_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as left:
        told, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        tells.sendall(str(left.pid).encode())
        process = Started(told, io.StringIO(), None)
        assert process.poll() is None
        tells.close()
        process.end()
        assert process.returncode == left.wait(60) == -signal.SIGKILL
