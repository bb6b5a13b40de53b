"""stdout and stderr that change no verdict: a reader who has seen enough, a closed stream, a full disk."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Patient(io.RawIOBase):
    """Writes to a file descriptor, and to nowhere from the first failure on.

    A reader that has gone, such as `head`, is no failure; any other is kept in ``failure``.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self.name = descriptor, name
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, which programs that are started write to as well."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether a terminal shows it."""
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer) -> int:
        """Write all of it."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # whoever opened it does not want to wait; we do
                select.select([], [self._descriptor], [])
            except (BrokenPipeError, ConnectionResetError):
                self._turn_away()
            except OSError as error:
                self.failure = error
                self._turn_away()
        return size

    def _turn_away(self) -> None:
        """Lead the descriptor to nowhere: later writes succeed, those of programs that we start too."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._descriptor)
        os.close(nowhere)


@contextlib.contextmanager
def patient_streams() -> Iterator[_Patient | None]:
    """Put patient streams in the place of stdout and stderr, if these are the process's own; yield that of stdout."""
    _fill_standard_descriptors()
    before = sys.stdout, sys.stderr
    if sys.stdout is not sys.__stdout__:  # of a test, or a program that runs us: theirs to keep
        yield None
        return
    out = _Patient(1, "<stdout>")
    sys.stdout = _text(out, before[0])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Patient(2, "<stderr>"), before[1])
    try:
        yield out
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _fill_standard_descriptors() -> None:
    """Let no file that we open become stdout: where a standard stream is closed, its number would be the next one's."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _text(raw: _Patient, like: TextIO | None) -> io.TextIOWrapper:
    """A text stream as Python's own; a character that the terminal lacks is shown as another."""
    if not isinstance(like, io.TextIOWrapper):  # None: it was closed when we began
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="replace")
    unbuffered = like.write_through  # python -u, PYTHONUNBUFFERED
    errors = "replace" if like.errors == "strict" else like.errors
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=like.encoding,
        errors=errors,
        line_buffering=like.line_buffering,
        write_through=unbuffered,
    )


def print_json(document: str) -> None:
    """Print one JSON document, in UTF-8 whatever the terminal takes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(document, flush=True)
