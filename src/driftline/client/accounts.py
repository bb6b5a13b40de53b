"""Count what becomes of each event: it is in one place at every moment."""

from __future__ import annotations

import threading
import time
from collections import Counter

from driftline.client.records import Stats

CLOSED, FULL = "closed", "buffer full"
REASONS = 100  # so that the counts of dropped events stay small, whatever the server answers


class Accounts:
    """The counts of one monitor; ``lock`` also guards its queue, and is only held for additions.

    It is re-entrant, like SimpleQueue.put, because a signal handler or a destructor that runs in the middle of the hot
    path may log, too. ``accepted`` events came into the queue, ``settled`` ones left it: they were sent, dropped, or
    written into the spill folder (``spilled``). ``found`` ones were in that folder before this process.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.accepted = self.settled = self.sent = self.bytes = 0
        self.spilled = self.found = 0
        self.failed_requests = self.errors = 0
        self.unfinished = 0  # of the batch on its way
        self.dropped: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.last_error = ""
        self.progress_at = 0.0
        self._written_off = 0  # counted as lost, although an answer may still come

    def settle(self, number: int, dropped_for: str | None = None) -> None:
        """Count events of the queue as sent, or as dropped for a reason."""
        if number == 0:
            return
        with self.lock:
            self.progress_at = time.perf_counter()
            if self._written_off:  # an answer came after all
                self._written_off -= number
                self.dropped[CLOSED] -= number
                self.dropped += Counter()  # without zeros
            else:
                self.settled += number
                self.unfinished -= number
            self._count_end(number, dropped_for)

    def spill(self, number: int) -> None:
        """Count events of the queue as written into the spill folder."""
        with self.lock:
            self.progress_at = time.perf_counter()
            self.settled += number
            self.unfinished = max(self.unfinished - number, 0)
            self.spilled += number

    def unspill(self, number: int, dropped_for: str | None = None) -> None:
        """Count events of the spill folder as sent, or as dropped for a reason."""
        with self.lock:
            self.progress_at = time.perf_counter()
            self.spilled -= number
            self._count_end(number, dropped_for)

    def find(self, number: int) -> None:
        """Count events that an earlier process has left in the spill folder."""
        with self.lock:
            self.found += number
            self.spilled += number

    def _count_end(self, number: int, dropped_for: str | None) -> None:
        if dropped_for is None:
            self.sent += number
        else:
            self.drop(dropped_for, number)

    def drop(self, reason: str, number: int = 1) -> None:
        """Count events as dropped."""
        self._count(self.dropped, reason, number)

    def leave_out(self, name: str) -> None:
        """Count a value that could not be sent."""
        self._count(self.left_out, name, 1)

    def _count(self, counts: Counter[str], name: str, number: int) -> None:
        with self.lock:
            counts[name if name in counts or len(counts) < REASONS else "other"] += number

    def fail(self, message: str) -> None:
        """Count a request without success."""
        with self.lock:
            self.failed_requests += 1
            self.last_error = message

    def write_off(self) -> int:
        """Count the events that are left in the queue as dropped, and return how many; after closing."""
        with self.lock:
            lost = self.accepted - self.settled
            self._written_off, self.unfinished = self.unfinished, 0
            self.settled, self.bytes = self.accepted, 0
            if lost:
                self.dropped[CLOSED] += lost
        return lost

    def stats(self) -> Stats:
        """Return a snapshot."""
        with self.lock:
            dropped = dict(self.dropped)
            queued = self.accepted - self.settled
            return Stats(
                queued=queued,
                sent=self.sent,
                dropped=dropped,
                failed_requests=self.failed_requests,
                errors=self.errors,
                last_error=self.last_error,
                logged=queued + self.spilled + self.sent + sum(dropped.values()) - self.found,
                left_out=dict(self.left_out),
                spilled=self.spilled,
                found=self.found,
            )
