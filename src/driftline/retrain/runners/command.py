"""Train by commands on this machine, in the run's folder."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from driftline.errors import UsageError
from driftline.fields import Text
from driftline.retrain.runners.run import Limits, Run, Step, Surroundings, here, start_run
from driftline.retrain.runners.runner import Request, RunnerKind, RunOptions, check_words

_NAMED = re.compile(r"\{(?:project|run|python)\}")


@dataclass(frozen=True, slots=True)
class Command:
    """Runs one or more commands, each a list of words, one after another until one fails. There is no shell.

    They run in the run's folder. In their words ``{project}`` stands for the project's folder, ``{run}`` for the run's,
    and ``{python}`` for the Python that Driftline runs in; other braces stay as they are. Raises `UsageError` without
    commands, and for one that is not a list of words.
    """

    steps: Sequence[Sequence[str]]
    surroundings: Surroundings
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.steps:
            raise UsageError("there is no command to run; write a list of words, such as [python, train.py]")
        for words in self.steps:
            check_words(words, "a command")

    def start(self, request: Request, folder: Path) -> Run:
        """Start the commands, or find them already started; raises the errors of `start_run`."""
        known = {
            "{project}": str(self.surroundings.project.resolve()),
            "{run}": str(folder.resolve()),
            "{python}": sys.executable,
        }
        steps = [
            Step(shlex.join(words), [_NAMED.sub(lambda found: known[found[0]], word) for word in words])
            for words in self.steps
        ]
        return start_run(request, folder, steps, self.limits, self.surroundings)


def _open(commands: list[list[str]], config: RunOptions) -> Command:
    return Command(commands, *here(config))


_Words = Annotated[list[Text], Meta(min_length=1)]


KIND = RunnerKind(Annotated[list[_Words], Meta(min_length=1)], _open, elsewhere=False)
