"""Tells a script that never ends its loading: it has a loop at its top level, as scripts that are run by hand do."""

from __future__ import annotations

import ast
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType

from driftline.errors import UsageError
from driftline.text.durations import length

NOTICE_SECONDS = 5
"""Loading that lasts longer is worth a word."""


def endless_loop(source: bytes) -> int | None:
    """The line of a loop without end and way out at the top level of a script; None where there is none, or no Python.

    >>> endless_loop(b"import time\\nwhile True:\\n    time.sleep(3600)\\n")
    2
    >>> endless_loop(b"while True:\\n    if input(): break\\n"), endless_loop(b"def f():\\n    while 1: pass\\n")
    (None, None)
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # who loads it says so
    return next((one.lineno for one in _top_level(tree.body) if isinstance(one, ast.While) and _is_endless(one)), None)


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that certainly run when a script is loaded."""
    for one in body:
        yield one
        if isinstance(one, (ast.With, ast.Try)):
            yield from _top_level(one.body)


def _is_endless(loop: ast.While) -> bool:
    always = isinstance(loop.test, ast.Constant) and bool(loop.test.value)
    return always and not any(
        isinstance(one, (ast.Break, ast.Raise, ast.Call)) and _leaves(one) for one in ast.walk(loop)
    )


def _leaves(one: ast.Break | ast.Raise | ast.Call) -> bool:
    """Whether it may end the loop: breaks and errors do, and calls of exit."""
    if not isinstance(one, ast.Call):
        return True
    called = one.func
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name in ("exit", "quit", "_exit", "abort")


class _TooLong(BaseException):
    """Raised within the script, whose handlers of errors are not to see it."""


@contextlib.contextmanager
def time_limit(place: str, limit: timedelta, say: Callable[[str], None]) -> Iterator[None]:
    """Say after `NOTICE_SECONDS` that a script is still being loaded, and give it up after the limit.

    Where there are no alarms (other threads than the main one, Windows) it is left alone.
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
                f"{place} is still being loaded after {passed} s{at}: what stands at its top level runs once, before "
                f"its function is called; it is given up after {length(seconds)} (--load-within)"
            )

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    try:
        yield
    except _TooLong:
        raise UsageError(
            f"{place} cannot be loaded: it did not end within {length(seconds)}{at}. watch calls the function itself: "
            "put a loop under `if __name__ == '__main__':`, or give it longer with --load-within 10min"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _line_in(frame: FrameType | None, place: str) -> str:
    """Where in the script it is, in words."""
    name = Path(place).name
    while frame is not None:
        if Path(frame.f_code.co_filename).name == name:
            return f", in line {frame.f_lineno}"
        frame = frame.f_back
    return ""
