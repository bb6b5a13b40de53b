"""Runs on this machine: limits, environment, the start under a supervisor, and the outcome recorded in the folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from driftline.environment import environment
from driftline.errors import ConflictError, DataError, StorageError, UsageError
from driftline.retrain.runners import supervisor
from driftline.retrain.runners.runner import REQUEST, Outcome, Request, RunOptions, read_result
from driftline.retrain.runners.supervisor import CHILD, EXIT, LOG, PID
from driftline.store.durable import replace_file
from driftline.text import cause
from driftline.text.durations import length

ALWAYS = ("PATH", "HOME", "LANG")
"""The environment variables that a run always gets."""

_LOST = "was lost: the process that watched over it ended without a word, as when it is killed or the machine restarts"
_START_SECONDS = 60.0
_SHOWN_LENGTH = 200
_SHOWN_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run. All steps together may take ``seconds``.

    When these are over, or when the run is stopped, the step's process group gets SIGTERM, and SIGKILL
    ``grace_seconds`` later. ``memory_bytes`` limits the address space (``RLIMIT_AS``) of each process, not of all
    together. Of the run's output ``log_bytes`` are kept, the beginning and the end.
    """

    seconds: float = 3_600.0
    grace_seconds: float = 10.0
    memory_bytes: int | None = None
    log_bytes: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The project's folder, and the environment of which a run gets the variables in `ALWAYS` and ``passed_on``.

    Raises `UsageError` if a variable in ``passed_on`` is not set.
    """

    project: Path
    environment: Mapping[str, str] = field(repr=False)
    passed_on: Sequence[str] = ()

    def __post_init__(self) -> None:
        missing = [name for name in self.passed_on if name not in self.environment]
        if missing:
            raise UsageError(f"the environment has no {', '.join(missing)}, which the run is to be given; set it first")

    def of(self, request: Request, folder: Path) -> dict[str, str]:
        """Return the environment of a run, without any other variables of the server."""
        names = {*ALWAYS, *self.passed_on}
        return {
            **{name: value for name, value in self.environment.items() if name in names},
            "PYTHONUNBUFFERED": "1",  # or the log would lack the last output of a killed process
            "DRIFTLINE_RUN": str(folder),
            "DRIFTLINE_REQUEST_ID": request.id,
            "DRIFTLINE_MODEL": request.model,
        }


class Step(NamedTuple):
    """A program to run: its words, and its name in the log and in reasons."""

    name: str
    words: Sequence[str]


def here(config: RunOptions) -> tuple[Surroundings, Limits]:
    """Return the surroundings and the limits that the configuration gives a run on this machine."""
    limits = Limits(seconds=config.time_limit.total_seconds(), memory_bytes=config.memory_bytes)
    return Surroundings(config.folder.resolve(), environment(), config.run.environment), limits


def start_run(request: Request, folder: Path, steps: Sequence[Step], limits: Limits, surroundings: Surroundings) -> Run:
    """Start the steps of a request's run in its folder, or find the run that was started there.

    Raises `StorageError` if the folder cannot be used, `ConflictError` if another request ran in it, and `UsageError`
    on Windows.
    """
    if sys.platform == "win32":
        raise UsageError("runs on this machine need Linux or macOS; use one of the runners that hand a request over")
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_request(request, folder)
        if not (folder / PID).exists():
            _supervise(request, folder, steps, limits, surroundings)
        ran = _read(folder / PID)
    except OSError as error:
        raise StorageError(f"the run cannot be started in {folder}: {cause(error)}") from error
    if ran is None or ran["request"] != request.id:
        raise ConflictError(f"{folder} is the folder of another request's run; each request has a folder of its own")
    return Run(folder)


def _write_request(request: Request, folder: Path) -> None:
    path = folder / REQUEST
    if path.exists():
        return
    replace_file(path, msgspec.json.format(msgspec.json.encode(request)))


def _supervise(
    request: Request, folder: Path, steps: Sequence[Step], limits: Limits, surroundings: Surroundings
) -> None:
    order = {
        "request": request.id,
        "steps": [{"name": step.name, "words": list(step.words)} for step in steps],
        "seconds": limits.seconds,
        "grace_seconds": limits.grace_seconds,
        "memory_bytes": limits.memory_bytes,
        "log_bytes": limits.log_bytes,
    }
    try:
        said = subprocess.run(
            # -I: it must not import from our folder, which has an `airflow.py`, nor from the run's.
            [sys.executable, "-I", supervisor.__file__],
            input=json.dumps(order),
            cwd=folder,
            env=surroundings.of(request, folder),
            start_new_session=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StorageError(f"the run in {folder} did not begin within {length(_START_SECONDS)}") from error
    if said.stdout not in (supervisor.STARTED, supervisor.THERE):
        raise StorageError(f"the run in {folder} did not begin: {_last_line(said.stderr)}")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that this or an earlier process started in a folder. It is a `Handle`."""

    folder: Path

    def outcome(self) -> Outcome | None:
        """Return the outcome of the run; None while it is going on.

        Raises `StorageError` if its folder cannot be read.
        """
        try:
            ended = self._ended()
        except (OSError, ValueError, KeyError) as error:
            raise StorageError(f"the run in {self.folder} cannot be followed: {cause(error)}") from error
        if ended is None:
            return None
        code, reason, seconds = ended["exit_code"], ended["reason"], ended["seconds"]
        log = self.folder / LOG
        if reason:
            last = _last_line(_end_of(log)) if code is not None else ""
            return Outcome(False, f"{reason}: {last}".removesuffix(": "), code, seconds, log, None)
        try:
            result = read_result(self.folder)
        except DataError as error:
            return Outcome(False, str(error), code, seconds, log, None)
        return Outcome(True, "", code, seconds, log, result)

    def stop(self) -> None:
        """Stop the run: SIGTERM now, SIGKILL after the grace period. Its outcome will say that it was stopped."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            watching = _read(self.folder / PID)
            if watching is not None and supervisor.is_alive(watching):
                os.kill(watching["pid"], signal.SIGTERM)

    def _ended(self) -> dict[str, Any] | None:
        if (ended := _read(self.folder / EXIT)) is not None:
            return ended
        watching = _read(self.folder / PID)
        if watching is not None and supervisor.is_alive(watching):
            return None
        # It may have ended between the two reads.
        if (ended := _read(self.folder / EXIT)) is not None:
            return ended
        end_leftovers(_read(self.folder / CHILD))
        return {"exit_code": None, "reason": _LOST, "seconds": None}


def end_leftovers(child: Mapping[str, Any] | None) -> None:
    """Kill the processes that a step of a lost run left behind, because nothing enforces their limits any more.

    On Linux the step itself ended with its supervisor. The rest of its session is found by the session's number, which
    no other process gets as long as one of the session lives.
    """
    if child is None:
        return
    if supervisor.is_alive(dict(child)) or _is_session_of(child):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child["pid"], signal.SIGKILL)


def _is_session_of(child: Mapping[str, Any]) -> bool:
    """Return whether processes are left of a session whose first process is gone, and whose number was not reused."""
    if child["began"] is None or supervisor.began(child["pid"]) is not None:
        return False
    boot, _, ticks = str(child["began"]).rpartition(" ")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended in the meantime
            continue
        same = int(fields[2]) == int(fields[3]) == child["pid"] and int(fields[19]) >= int(ticks)
        if same and (supervisor.began(int(stat.parent.name)) or "").startswith(boot):
            return True
    return False


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return content


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _SHOWN_BYTES))
            return file.read(_SHOWN_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = "".join(sign if sign.isprintable() else " " for sign in lines[-1]) if lines else ""
    return shown[:_SHOWN_LENGTH]
