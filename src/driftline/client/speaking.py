"""What the SDK says by itself: warnings of the logger ``driftline``, each kind at once, and then seldom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

SECONDS_BETWEEN = 60.0
KINDS_AT_ONCE = 20
"""More kinds than these are said as one: whatever a server answers, it cannot flood a log."""

_OTHER = "other"


@dataclass(slots=True)
class _Heard:
    said_at: float
    text: str = ""
    times: int = 0
    """Since it was last said."""
    events: int = 0
    troubled: bool = True


class Voice:
    """Says what goes wrong: the first of a kind at once, then at most one a minute, with how often it came since.

    Without handlers, `logging` writes warnings to stderr. Nothing that a handler raises gets out of here, and a handler
    that logs to the same monitor is not asked again.
    """

    def __init__(self, model: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._model, self._clock = model, clock
        self._lock, self._busy = threading.RLock(), threading.local()
        self._heard: dict[str, _Heard] = {}

    def say(self, kind: str, text: str, events: int = 0) -> None:
        """Warn, now or later; ``events`` lose by it."""
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
        """Say that a kind of trouble that was said is over."""
        heard = self._heard.get(kind)
        if heard is not None and heard.troubled:
            heard.troubled = False
            self._log("info", text)

    def say_what_is_due(self) -> None:
        """Say what came again, a minute after it was last said."""
        if self._heard:
            now = self._clock()
            self._say_again(lambda one: bool(one.times) and now - one.said_at >= SECONDS_BETWEEN)

    def say_losses(self) -> None:
        """Say at the end what else cost events and was not said yet."""
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
        import logging  # it registers hooks for the end of the process: not when the SDK is imported

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
    r"""Return a text that cannot forge a line: what is not printable stands escaped.

    >>> one_line("no\nERROR\x1b[2J")
    'no\\nERROR\\x1b[2J'
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
