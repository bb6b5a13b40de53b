"""The process that supervises a run on this machine: starts its steps, enforces its limits, and keeps its output.

It is started by the path of this file, so that it only needs the standard library, with an order (JSON) on its standard
input and the run's folder as its working folder. It detaches from its parent at once, so that a run outlives the
server. Its state is in the folder:

- ``run.pid``: which process supervises the run. It is made once and never replaced, so a second supervisor of the same
  folder sees that it is not needed.
- ``run.child``: the process, and process group, of the present step.
- ``run.log``: the output of the steps, up to a limit.
- ``run.exit``: how the run ended. If it is missing and the process in ``run.pid`` is gone, that is not known.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PID, CHILD, LOG, EXIT = "run.pid", "run.child", "run.log", "run.exit"
STARTED, THERE = "started", "there"

_PR_SET_PDEATHSIG = 1
_CHUNK = 65_536
_SHOWN_LENGTH = 200
_LAST_WORDS = 1_000_000


def identity(pid: int) -> dict[str, Any]:
    """Return a process's number and start, which distinguish it from a later process with the same number."""
    return {"pid": pid, "began": began(pid)}


def is_alive(process: dict[str, Any]) -> bool:
    """Return whether a process, given by its `identity`, is still running; a zombie is not."""
    return process["began"] is not None and began(process["pid"]) == process["began"]


def began(pid: int) -> str | None:
    """Return when a process began, in a form that can only be compared; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _began_by_ps(pid)
    except ProcessLookupError:
        return None
    # The name of the program, in brackets, may hold anything.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _began_by_ps(pid: int) -> str | None:
    said = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        env={"PATH": "/bin:/usr/bin", "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="ascii",
        errors="replace",
        check=False,
    ).stdout.split(maxsplit=1)
    return None if len(said) < 2 or said[0].startswith("Z") else " ".join(said[1].split())


def write_whole(name: str, content: dict[str, Any]) -> None:
    """Write JSON into a file of the working folder, complete or not at all, even in a power failure."""
    part = f".{name}.{os.getpid()}"
    _write_synced(part, content)
    os.replace(part, name)
    _sync_folder()


def _write_synced(name: str, content: dict[str, Any]) -> None:
    with open(name, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder() -> None:
    folder = os.open(".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _claim(request: str) -> bool:
    """Make ``run.pid``; return False if another supervisor has made it."""
    part = f".{PID}.{os.getpid()}"
    _write_synced(part, {"request": request, **identity(os.getpid())})
    try:
        os.link(part, PID)
    except FileExistsError:
        return False
    finally:
        os.unlink(part)
    _sync_folder()
    return True


class _Log:
    """Writes the log: the output's beginning, up to half of the limit, at once, and the newest half at the end."""

    def __init__(self, most_bytes: int) -> None:
        self._file = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._room = most_bytes // 2
        self._keep = most_bytes - self._room
        self._tail = bytearray()
        self._left_out = 0

    def write(self, text: bytes) -> None:
        head, rest = text[: self._room], text[self._room :]
        self._room -= len(head)
        self._put(head)
        self._tail += rest
        if (over := len(self._tail) - self._keep) > 0:
            del self._tail[:over]
            self._left_out += over

    def close(self) -> None:
        if self._left_out:
            self._put(f"\n[{self._left_out} bytes are left out here]\n".encode())
        self._put(bytes(self._tail))
        os.close(self._file)

    def _put(self, text: bytes) -> None:
        # A full disk must not end the training; only the log ends there.
        with contextlib.suppress(OSError):
            while text:
                text = text[os.write(self._file, text) :]


class _Watch:
    """Runs the steps of an order one after another."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._log = _Log(order["log_bytes"])
        self._began = _seconds()
        self._asked_to_stop = False
        self._pid = os.getpid()
        self._system = ctypes.CDLL(None)
        # A signal makes the selector return.
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self._asked_to_stop = True

    def run(self) -> dict[str, Any]:
        """Run the steps; return the content of ``run.exit``."""
        code: int | None = 0
        reason, steps = "", self._order["steps"]
        for number, step in enumerate(steps, start=1):
            if len(steps) > 1:
                self._log.write(f"[step {number} of {len(steps)}: {step['name']}]\n".encode())
            code, why = self._step(step["words"])
            if why or code:
                place = f"step {number} of {len(steps)}" if len(steps) > 1 else step["name"][:_SHOWN_LENGTH]
                reason = f"{place} {why or _words_of(code)}"
                break
        self._log.close()
        return {"exit_code": code, "reason": reason, "seconds": round(_seconds() - self._began, 3)}

    def _step(self, words: list[str]) -> tuple[int | None, str]:
        """Run one step; return its exit code, and in words why it was ended or could not be started."""
        if self._asked_to_stop:
            return None, "was not started: the run was stopped"
        output, printed = os.pipe()
        try:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
                preexec_fn=self._enter,  # noqa: PLW1509 - there is one thread here
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.close(output)
            text = getattr(error, "strerror", None) or error
            return None, f"cannot be started: {text}"
        finally:
            os.close(printed)
        os.set_blocking(output, False)
        try:
            why = self._follow(child.pid, output)
            # Processes that the step left in its group end with it. Its number is not reused before it is waited for.
            _send(child.pid, signal.SIGKILL)
            self._read(output, most_bytes=_LAST_WORDS)
            return child.wait(), why
        finally:
            os.close(output)

    def _enter(self) -> None:
        """Prepare the child process, before it becomes the step's program."""
        write_whole(CHILD, identity(os.getpid()))
        if sys.platform == "linux":
            # Without a supervisor nothing would enforce the step's limits, so it ends with it.
            self._system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._pid:
                os._exit(1)
        if (limit := self._order["memory_bytes"]) is not None:
            import resource  # Windows has none, and imports this module too

            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def _follow(self, pid: int, output: int) -> str:
        """Read a step's output until it ends; end it when its time is up. Return why it was ended, or an empty text."""
        why, kill_at = "", 0.0
        limit = self._order["seconds"]
        with selectors.DefaultSelector() as ready:
            ready.register(self._wake, selectors.EVENT_READ)
            ready.register(output, selectors.EVENT_READ)
            while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                until = kill_at if why else self._began + limit
                for key, _ in ready.select(max(0.0, until - _seconds())):
                    if key.fd == self._wake:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake, _CHUNK)
                    elif not self._read(output, most_bytes=_CHUNK):
                        ready.unregister(output)
                if why and _seconds() >= kill_at:
                    _send(pid, signal.SIGKILL)
                    kill_at = _seconds() + 1
                elif not why and (self._asked_to_stop or _seconds() >= until):
                    why = "was stopped" if self._asked_to_stop else f"took longer than {limit:g} s and was ended"
                    _send(pid, signal.SIGTERM)
                    kill_at = _seconds() + self._order["grace_seconds"]
        return why

    def _read(self, output: int, *, most_bytes: int) -> bool:
        """Copy a step's output into the log; return False if no more can come."""
        while most_bytes > 0:
            try:
                text = os.read(output, min(_CHUNK, most_bytes))
            except BlockingIOError:
                return True
            if not text:
                return False
            self._log.write(text)
            most_bytes -= len(text)
        return True


def _send(group: int, number: signal.Signals) -> None:
    # macOS gives EPERM for a group whose processes have all ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _words_of(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was ended by {name}" + (" (was there too little memory?)" if -code == signal.SIGKILL else "")


def _seconds() -> float:
    return time.monotonic()  # noqa: TID251 - a process of its own: nobody could hand it a clock


def _say(word: str) -> None:
    # The server that started us may have ended.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, word.encode())


def _redirect(file: int, *to: int) -> None:
    for number in to:
        os.dup2(file, number)
    os.close(file)


def main() -> None:
    """Carry out the order on standard input; say on standard output that the run has begun, or had already begun."""
    order = json.load(sys.stdin)
    if os.fork():
        os._exit(0)
    if not _claim(order["request"]):
        _say(THERE)
        return
    watch = _Watch(order)
    _say(STARTED)
    # The server waits for the end of these.
    _redirect(os.open(os.devnull, os.O_RDWR), 0, 1)
    _redirect(os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    write_whole(EXIT, watch.run())


if __name__ == "__main__":
    main()
