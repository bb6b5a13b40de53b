"""Who goes first where there is one core for all: requests, before what is done with the events later."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

_NICER_BY = 10
_SWITCH_SECONDS = 0.0005


def give_way() -> None:
    """Have this thread, and those that it starts, run where others would not; a core that is idle is used as ever.

    Only Linux knows the niceness of a thread. What waits in the inbox is bounded: see `QUEUE_LIMIT_EVENTS`.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # it is as nice as it may be
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICER_BY)


def answer_soon() -> None:
    """Have threads that compute in Python be interrupted ten times as often as they are by default, by those that wait.

    Each request waits for the interpreter a few times: with 5 ms each time, there are no 200 requests a second.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
