"""Train by a Python function, called in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from driftline.errors import UsageError
from driftline.fields import Text
from driftline.retrain.runners import call
from driftline.retrain.runners.run import Limits, Run, Step, Surroundings, here, start_run
from driftline.retrain.runners.runner import Request, RunnerKind, RunOptions


@dataclass(frozen=True, slots=True)
class Function:
    """Calls ``file.py:function`` or ``module:function`` with the run's folder, a `Path`, in a child process.

    Modules and relative files are looked up in the project's folder. The function writes ``result.json``, or returns
    its content as a mapping. It has the same limits as a command. Raises `UsageError` for a ``target`` that names no
    function.
    """

    target: str
    surroundings: Surroundings
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        place, _, name = self.target.rpartition(":")
        if not place or not name.isidentifier() or "\0" in place:
            raise UsageError(
                f"{self.target!r} does not name a function; write FILE.py:FUNCTION or MODULE:FUNCTION, "
                "such as train.py:train"
            )

    def start(self, request: Request, folder: Path) -> Run:
        """Start the function, or find it already started; raises the errors of `start_run`."""
        # -P: the folder of `call.py` also has an `airflow.py`.
        words = [sys.executable, "-P", call.__file__, self.target, str(self.surroundings.project.resolve())]
        return start_run(request, folder, [Step(self.target, words)], self.limits, self.surroundings)


def _open(target: str, config: RunOptions) -> Function:
    return Function(target, *here(config))


KIND = RunnerKind(Text, _open, elsewhere=False)
