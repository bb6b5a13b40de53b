"""Give up on a script that does not finish loading."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType

from driftline.errors import UsageError
from driftline.text.durations import length

NOTICE_SECONDS = 3
"""Loading that lasts longer is reported: a user learns of it within five seconds of the start."""

_MAIN = "`if __name__ == '__main__':`"


class _TooLong(BaseException):
    """Raised within the script; no ``except Exception`` of the script catches it."""


@contextlib.contextmanager
def time_limit(place: str, limit: timedelta, say: Callable[[str], None]) -> Iterator[None]:
    """Say after `NOTICE_SECONDS` that a script is still being loaded; raise `UsageError` after the limit.

    Without alarms (in other threads than the main one, and on Windows) there is no limit.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    seconds, passed, at = max(limit.total_seconds(), 1.0), 0, ""

    def tick(number: int, frame: FrameType | None) -> None:
        nonlocal passed, at
        passed, at = passed + 1, _line_in(frame, place)
        if passed >= seconds:
            raise _TooLong
        if passed == NOTICE_SECONDS:
            say(
                f"{place} is still being loaded after {length(passed)}{at}: what stands at its top level runs once, "
                "before its function is called. Is there a loop? Take it out, as watch calls the function itself, or "
                f"put it under {_MAIN}. It is given up after {length(seconds)} (--load-within)"
            )

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    try:
        yield
    except _TooLong:
        raise UsageError(
            f"{place} cannot be loaded: it did not end within {length(seconds)}{at}. watch calls the function itself: "
            f"put a loop under {_MAIN}, or give it longer with --load-within 10min"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _line_in(frame: FrameType | None, place: str) -> str:
    """Say which line of the script is being executed; empty if none is."""
    name = Path(place).name
    while frame is not None:
        if Path(frame.f_code.co_filename).name == name:
            return f", in line {frame.f_lineno}"
        frame = frame.f_back
    return ""
