"""Whether S3 answers, asked again and again by a thread of its own: nobody waits for a store that is away."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

from driftline import clock
from driftline.store.s3 import Bucket, Patience, reach

_EVERY = timedelta(seconds=5)
_PATIENCE = Patience(request=timedelta(seconds=4), connection=timedelta(seconds=2), retries=0)


class FarWatch:
    """Watches one address. `problem` answers at once, with what was found last."""

    def __init__(self, address: str) -> None:
        self._place = Bucket.at(address, _PATIENCE)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="driftline-far")
        self._now = clock.steady()
        self._asking: Future[str | None] | None = None
        self._next = self._now()
        self._said: str | None = None

    def problem(self) -> str | None:
        """Return why S3 cannot be read, in words, or None; asks again where the last answer is old."""
        if self._asking is not None and self._asking.done():
            self._said, self._asking = self._asking.result(), None
        if self._asking is None and self._now() >= self._next:
            self._next = self._now() + _EVERY
            self._asking = self._thread.submit(reach, self._place)
        return self._said
