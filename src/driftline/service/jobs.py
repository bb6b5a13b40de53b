"""Jobs: named steps that threads repeat, at once, after a rest, or later and later; and what is wrong with each."""

from __future__ import annotations

import enum
import logging
import random
import threading
from collections.abc import Callable

from driftline.errors import panics_as_errors
from driftline.net.backoff import wait_seconds
from driftline.service.priority import give_way
from driftline.service.trouble import in_words, is_of_surroundings

IDLE_SECONDS = 1.0
HOLDING_SECONDS = 0.25
AFTER_TROUBLE_SECONDS = 2.0
"""How long a job rests, how long while it holds something back for a moment, and how long where a part of it failed."""

_LOG = logging.getLogger("driftline")


class Pass(enum.Enum):
    """What one step of a job came to, and so when the next one is due."""

    AGAIN = enum.auto()
    """There is more to do: at once."""
    DONE = enum.auto()
    """There is nothing left to do: after a rest, or when the job is rung."""
    HOLDING = enum.auto()
    """Something is held back for a moment: after a short rest, or when the job is rung."""
    TROUBLED = enum.auto()
    """Some of it went wrong, and the rest did not: after a longer rest, or when the job is rung."""
    FAILED = enum.auto()
    """Whom it takes is not there: later and later, whoever rings."""


class Job:
    """A step that a thread of its own repeats until all jobs are ``stopping``; what it raises is a failed step.

    ``waited_for`` says whether `join` waits for the step at which the job is: a job that does no harm where it ends
    with the process is not.
    """

    def __init__(
        self, name: str, step: Callable[[], Pass], stopping: threading.Event, *, waited_for: bool = False
    ) -> None:
        self._name, self._step, self._stopping = name, step, stopping
        self._bell = threading.Event()
        self._last: Pass | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"driftline-{name.replace(' ', '-')}", daemon=not waited_for
        )
        self._rng = random.Random()

    @property
    def idle(self) -> bool:
        """Whether the newest step left nothing to do, and `ring` was not called since."""
        return not self._bell.is_set() and self._last is Pass.DONE  # in this order: a step takes them back in the other

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ring(self) -> None:
        """Say that there is something new to do."""
        if not self._bell.is_set():  # each request rings: to look takes no lock
            self._bell.set()

    def join(self) -> None:
        """Wait for the end, after ``stopping`` was set and the job was rung; not of a job that is not waited for.

        One that was never started has ended.
        """
        if not self._thread.daemon and self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        give_way()
        failures = 0
        while not self._stopping.is_set():
            self._last = None  # before the bell is reset: `idle` must not be true in between
            self._bell.clear()
            result = self._stepped()
            self._last = result
            failures = failures + 1 if result is Pass.FAILED else 0
            if failures:
                self._stopping.wait(wait_seconds(failures, self._rng))
            elif result is not Pass.AGAIN:
                self._bell.wait(_rest(result))

    def _stepped(self) -> Pass:
        try:
            with panics_as_errors():
                return self._step()
        except Exception as error:  # noqa: BLE001 - a job must outlive whatever happens to it
            if is_of_surroundings(error):
                _LOG.warning("%s: %s; trying again", self._name, in_words(error))
            else:
                _LOG.exception("%s: trying again", self._name)
        return Pass.FAILED


def _rest(result: Pass) -> float:
    if result is Pass.HOLDING:
        return HOLDING_SECONDS
    return AFTER_TROUBLE_SECONDS if result is Pass.TROUBLED else IDLE_SECONDS


class Troubles:
    """What is wrong at the moment with the parts of a job, in words: by the names of models, or of other parts.

    ``about`` stands before the name in the log, and ``kept`` behind what went wrong.
    """

    def __init__(self, about: str = "", kept: str = "") -> None:
        self.words: dict[str, str] = {}
        self._about, self._kept = about, kept

    def guard(self, name: str, step: Callable[[], None]) -> None:
        """Take a step for one part: what goes wrong with it must not stop the others, and is logged once."""
        try:
            with panics_as_errors():
                step()
        except Exception as error:  # noqa: BLE001 - whatever it is: show it, keep the events, try again
            said, before = in_words(error), self.words.get(name)
            self.words[name] = said
            if said == before:
                return
            if is_of_surroundings(error):
                _LOG.warning("%s%s: %s; %strying again", self._about, name, said, self._kept)
            else:
                _LOG.exception("%s%s: %strying again", self._about, name, self._kept)
        else:
            self.words.pop(name, None)
