"""Prints without blocking when the reader is slow or gone; messages that were dropped are counted and reported."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO

from driftline.logs import text_line
from driftline.text import visible

MOST_WAITING = 1_000
"""So many messages wait to be read; the oldest of more are left out."""

_LINE_BYTES = 4096
"""A longer line of a library is told in parts."""

_LAST_LINES_SECONDS = 1.0


class Printer:
    """Writes messages to a stream by a thread of its own, in order. `say` never blocks, and never fails.

    A pipe without a reader is full after 64 kB: the thread waits, messages wait for it, and the oldest of more than
    `MOST_WAITING` are dropped. When it is read again, the number of dropped ones is printed, as ``dress`` makes a line
    of it. A stream that is closed is left alone from then on.
    """

    def __init__(
        self, write: Callable[[str], None], most: int = MOST_WAITING, dress: Callable[[str], str] = visible
    ) -> None:
        self._write, self._most, self._dress = write, most, dress
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()
        self._dropped = 0
        self._busy = self._closed = False
        threading.Thread(target=self._run, name="driftline-printer", daemon=True).start()

    @classmethod
    def on(cls, stream: IO[str], dress: Callable[[str], str] = visible) -> Printer:
        """Print to a stream; where that is a file of the system, past Python's buffers, which block at the end."""
        raw = _raw_of(stream)
        if raw is None:

            def write(text: str) -> None:
                stream.write(text)
                stream.flush()

            return cls(write, dress=dress)
        stream.flush()
        encoding = getattr(stream, "encoding", None) or "utf-8"
        return cls(lambda text: _write_all(raw, text.encode(encoding, "replace")), dress=dress)

    def say(self, text: str) -> None:
        """Have a message printed, with a line end."""
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(text)
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until all is printed, no longer than that; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def _run(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                text, dropped = self._waiting.popleft(), self._dropped
                self._dropped, self._busy = 0, True
            left_out = self._dress(f"({dropped} messages were left out: nobody read them)") if dropped else ""
            try:
                self._write(f"{left_out}\n{text}\n" if left_out else f"{text}\n")
            except (OSError, ValueError):  # a pipe whose reader has gone, a stream that is closed
                with self._changed:
                    self._closed = True
                    self._waiting.clear()
            with self._changed:
                self._busy = False
                self._changed.notify_all()


def _raw_of(stream: IO[str]) -> io.RawIOBase | None:
    """What writes to the file of the system below a stream: where the command line put one, it knows what failed."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, io.RawIOBase) else None


def _write_all(raw: io.RawIOBase, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = raw.write(view)
        if written is None:  # whoever opened it does not want to wait; this thread may
            select.select([], [raw], [])
        view = view[written or 0 :]


@contextlib.contextmanager
def printed_errors(dress: Callable[[str], str] = visible) -> Iterator[Printer]:
    """Give a printer on the process's stderr, and have all go through it that is written there until the block ends.

    ``dress`` makes a line of the log of what a library has written.

    The panic of a library below is written to descriptor 2 by that library: it would wait for a reader with the request
    or the worker in its hands, and what strangers sent would reach a terminal raw. A pipe takes it, and what does not
    fit there is lost. So are the last words of a process that a library ends: Python says then where it was. A stderr
    that is not the process's own, as in a test, stays as it is.
    """
    if not _is_descriptor(sys.stderr, 2):
        yield Printer.on(sys.stderr, dress)
        return
    sys.stderr.flush()
    kept = os.dup(2)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.dup2(writer, 2)
    os.close(writer)
    at_the_end = _without_waiting(kept)
    faulthandler.enable(at_the_end)
    with io.FileIO(kept, "wb") as raw:
        printer = Printer(lambda text: _write_all(raw, text.encode(errors="replace")), dress=dress)
        relay = threading.Thread(target=_relay, args=(reader, printer, dress), name="driftline-stderr", daemon=True)
        relay.start()
        try:
            yield printer
        finally:
            os.dup2(kept, 2)  # the last writer has gone: the relay ends
            relay.join(_LAST_LINES_SECONDS)
            printer.wait(_LAST_LINES_SECONDS)
            faulthandler.disable()
            if at_the_end != kept:
                os.close(at_the_end)


def _is_descriptor(stream: IO[str], number: int) -> bool:
    raw = _raw_of(stream)
    return raw is not None and raw.fileno() == number


def _relay(reader: int, printer: Printer, dress: Callable[[str], str]) -> None:
    """Print what comes out of a pipe, line by line, until its writers have gone."""
    with os.fdopen(reader, "rb") as lines:
        while line := lines.readline(_LINE_BYTES):
            printer.say(dress(line.decode(errors="replace").rstrip("\n")))


def _without_waiting(descriptor: int) -> int:
    """The same stream for one who must not wait for its reader: a pipe is opened anew, by itself."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
    return descriptor


class PrinterHandler(logging.Handler):
    """Logs by a printer: a record is a ``line`` that acts on nothing."""

    def __init__(self, printer: Printer, line: Callable[[logging.LogRecord], str] = text_line) -> None:
        super().__init__()
        self._printer, self._line = printer, line

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        try:
            line = self._line(record)
        except Exception:  # noqa: BLE001 - what cannot be shown must not stop what it speaks of
            self.handleError(record)
            return
        self._printer.say(line)
