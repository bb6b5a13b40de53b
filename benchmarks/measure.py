"""What one run of a command cost: wall and processor seconds, peak memory, and what it printed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).with_name("launcher.py")
QUIET = {
    "DO_NOT_TRACK": "1",
    "WHYLOGS_NO_ANALYTICS": "True",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "PYTHONWARNINGS": "ignore",
    "PYTHONDONTWRITEBYTECODE": "",  # compiled modules are kept, or each run would compile them anew
}
"""Environment of every contender: none of them reports its use to anybody."""

_ERROR_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond these a run is ended: seconds by the clock, bytes in memory at a time."""

    seconds: float = 600.0
    memory_bytes: int = 12 * 10**9


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``inside_seconds`` is what the process itself timed, without its imports; None where it times nothing.

    ``answer`` is what it found, by name. ``problem`` says why a run does not count; it is empty where it does.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    inside_seconds: float | None = None
    answer: Mapping[str, Any] | None = None
    problem: str = ""


def run_once(command: Sequence[str | Path], *, limits: Limits | None = None, exit_codes: Sequence[int] = (0,)) -> Run:
    """Run a command as a process of its own, with all its children, and measure it.

    A last line of output that is a JSON object may name ``inside_seconds``; the rest of it is the answer. A command
    that fails or is ended is a run with a problem.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        bounds = [str(limits.seconds), str(limits.memory_bytes), str(output), str(errors)]
        quiet = [f"{name}={value}" for name, value in QUIET.items()]
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), *bounds, *quiet, "--", *map(str, command)]
        launched = subprocess.run(launcher, capture_output=True, text=True, check=False)
        if launched.returncode:
            return Run(0.0, 0.0, 0, problem=f"could not be started: {_last_line(launched.stderr)}")
        cost = json.loads(launched.stdout)
        said, complaint = _read(output), _read(errors)
    problem = ""
    if cost["ended"] == "time":
        problem = f"ended after {limits.seconds:g} s"
    elif cost["ended"] == "memory":
        problem = f"ended at {limits.memory_bytes / 1e9:g} GB"
    elif cost["exit_code"] not in exit_codes:
        problem = f"failed with {cost['exit_code']}: {_last_line(complaint)}"
    answer = {} if problem else answer_in(said)
    inside = answer.pop("inside_seconds", None)
    return Run(cost["wall_seconds"], cost["cpu_seconds"], cost["peak_bytes"], inside, answer, problem)


def answer_in(output: str) -> dict[str, Any]:
    """The JSON object that is all of an output, or else its last line; empty where there is none.

    >>> answer_in('warming up\\n{"inside_seconds": 2.5}\\n')
    {'inside_seconds': 2.5}
    >>> answer_in("done")
    {}
    """
    for text in (output, (output.strip().splitlines() or [""])[-1]):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:_ERROR_LENGTH]
