"""Handle the end and the forks of the process: waiting events are sent at the end, and a child starts with none."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import time
import weakref

from driftline.client import ids
from driftline.client.shipping import Shipper

EXIT_SECONDS, STALLED_AT_EXIT_SECONDS = 30.0, 2.0
"""How long the process's end is delayed at most, in all and while no event is sent."""

_alive: weakref.WeakSet[Shipper] = weakref.WeakSet()


def accompany(shipper: Shipper) -> None:
    """Handle the process's forks and end for a shipper."""
    _register_hooks()
    _alive.add(shipper)


@functools.cache
def _register_hooks() -> None:
    """Register the hooks, once, with the first monitor."""
    import logging  # noqa: F401 - its hook is registered before ours, so that it runs after it

    atexit.register(_close_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def end_with_worker() -> None:
    """Let a worker of `multiprocessing`, which ends without the hooks of `atexit`, send waiting events."""
    if (util := sys.modules.get("multiprocessing.util")) is not None and _worker_of != os.getpid():
        _note_worker()
        util.Finalize(None, _close_all, exitpriority=100)


_worker_of = 0


def _note_worker() -> None:
    global _worker_of  # noqa: PLW0603 - once a process
    _worker_of = os.getpid()


def _close_all() -> None:
    give_up_at = time.perf_counter() + EXIT_SECONDS
    shippers = list(_alive)
    for shipper in shippers:
        shipper.begin_close(give_up_at)
    for shipper in shippers:
        shipper.end_close(STALLED_AT_EXIT_SECONDS)


def _after_fork() -> None:
    ids.after_fork()
    for shipper in list(_alive):
        shipper.reset()  # the parent sends the events in its queue
