"""Log the SDK's warnings with the logger ``driftline``: each kind at once, and then at most once a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

SECONDS_BETWEEN = 60.0
KINDS_AT_ONCE = 20
"""Further kinds are logged as one, so that no server's answers can flood the log."""

_OTHER = "other"


@dataclass(slots=True)
class _Heard:
    said_at: float
    text: str = ""
    times: int = 0
    """How often it came since it was last logged."""
    events: int = 0
    troubled: bool = True


class Voice:
    """Logs problems: the first of a kind at once, then at most one a minute, with how often it came since.

    Without handlers, `logging` writes warnings to stderr. Exceptions of handlers are suppressed, and a handler that
    uses the same monitor is not called again.
    """

    def __init__(self, model: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._model, self._clock = model, clock
        self._lock, self._busy = threading.RLock(), threading.local()
        self._heard: dict[str, _Heard] = {}

    def say(self, kind: str, text: str, events: int = 0) -> None:
        """Log a warning, now or later; ``events`` is how many events it cost."""
        with self._lock:
            if kind not in self._heard and len(self._heard) >= KINDS_AT_ONCE:
                kind = _OTHER
            heard = self._heard.get(kind)
            if heard is None:
                self._heard[kind] = _Heard(self._clock())
            else:
                heard.text, heard.times, heard.events = text, heard.times + 1, heard.events + events
                heard.troubled = True
        if heard is None:
            self._log("warning", text)
        else:
            self.say_what_is_due()

    def relieve(self, kind: str, text: str) -> None:
        """Log that a problem of a kind that was logged is over."""
        heard = self._heard.get(kind)
        if heard is not None and heard.troubled:
            heard.troubled = False
            self._log("info", text)

    def say_what_is_due(self) -> None:
        """Log what came again, a minute after it was last logged."""
        if self._heard:
            now = self._clock()
            self._say_again(lambda one: bool(one.times) and now - one.said_at >= SECONDS_BETWEEN)

    def say_losses(self) -> None:
        """Log at the end the problems that cost events and were not logged yet."""
        self._say_again(lambda one: bool(one.events))

    def _say_again(self, due: Callable[[_Heard], bool]) -> None:
        texts: list[str] = []
        with self._lock:
            for one in filter(due, self._heard.values()):
                cost = f", for {_number(one.events, 'event')}" if one.events else ""
                texts.append(f"{one.text} [{_number(one.times, 'time')} since this was last said{cost}]")
                one.said_at, one.times, one.events = self._clock(), 0, 0
        for text in texts:
            self._log("warning", text)

    def _log(self, level: str, text: str) -> None:
        import logging  # imported here, because it registers hooks for the end of the process

        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            with suppress(Exception):  # of the user's handlers
                log = getattr(logging.getLogger("driftline"), level)
                log("model %s: %s", one_line(self._model), one_line(text))
        finally:
            self._busy.now = False


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    r"""Return a text with characters that are not printable escaped, so that it cannot forge a line of the log.

    >>> one_line("no\nERROR\x1b[2J")
    'no\\nERROR\\x1b[2J'
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
