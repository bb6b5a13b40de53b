"""Check whether events could be stored now: the database accepts writes, and the disks have space.

A thread of its own checks, with a short timeout. A request gets the current result, or the last one if that takes long.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from driftline import clock
from driftline.config.load import Config
from driftline.service.trouble import in_words
from driftline.store.database import Watch, is_shared
from driftline.store.inbox import Inbox
from driftline.store.leases import Leases, ProcessRow
from driftline.store.poison import poisoned
from driftline.web.far import FarWatch

ROOM_BYTES = 2**20
"""Less room than this is none."""

_PATIENCE = timedelta(seconds=0.1)
_ANSWER_WITHIN = timedelta(seconds=1)
_FRESH, _OLD = timedelta(seconds=0.1), timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Seen:
    """The last result: problems by their place, waiting events by model, and events that were set aside.

    ``processes`` are those that are alive, where several share a database.
    """

    problems: Mapping[str, str] = field(default_factory=dict)
    waiting_events: Mapping[str, int] = field(default_factory=dict)
    poisoned: Mapping[str, int] = field(default_factory=dict)
    processes: Sequence[ProcessRow] = ()


class Vitals:
    """Checks the database and the disks of a service; any number of requests share one check at a time."""

    def __init__(self, config: Config, inbox: Inbox) -> None:
        """Check the files of the configuration; the inbox is the one that the service opened at its start."""
        self._database = Watch(config.database, _PATIENCE)
        file = self._database.file
        self._folders = dict.fromkeys([Path(config.storage), *([] if file is None else [file.parent])])
        self._far = None if config.bucket is None else FarWatch(config.bucket)
        self._inbox, self._shared = inbox, is_shared(config.database)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="driftline-vitals")
        self._lock = threading.Lock()
        self._looking: Future[None] | None = None
        self._now = clock.steady()
        self._seen = Seen()
        self._at: datetime | None = None

    async def seen(self) -> Seen:
        """Return the current result, or the last one where the database does not answer in time."""
        if self._age() < _FRESH:
            return self._seen
        with self._lock:
            if self._looking is None or self._looking.done():
                self._looking = self._thread.submit(self._look)
            looking = asyncio.wrap_future(self._looking)
        done, _ = await asyncio.wait({looking}, timeout=_ANSWER_WITHIN.total_seconds())
        if done or self._age() < _OLD:
            return self._seen
        silent = {"database": "the database does not answer; another program holds it, or the disk is slow"}
        return replace(self._seen, problems=silent)

    def _age(self) -> timedelta:
        return timedelta.max if self._at is None else self._now() - self._at

    def _look(self) -> None:
        problems: dict[str, str] = {}
        for folder in self._folders:
            if said := _room_problem(folder):
                problems["disk"] = said
        if self._far is not None and (said := self._far.problem()):
            problems["storage"] = said
        if said := self._inbox.file_problem() or self._write_problem():
            problems["database"] = said
        before = self._seen
        processes: Sequence[ProcessRow] = before.processes
        try:
            waiting = Inbox(self._database.engine).waiting_events()
            with self._database.engine.connect() as connection:
                found = poisoned(connection)
                if self._shared:
                    processes = Leases(connection).live()
        except sa.exc.SQLAlchemyError as error:
            problems["database"] = in_words(error)
            waiting, found = dict(before.waiting_events), dict(before.poisoned)
        self._seen, self._at = Seen(problems, waiting, found, processes), self._now()

    def _write_problem(self) -> str | None:
        """Return why a write would fail or have to wait, or None; the service's own writes do not count."""
        trouble = self._database.write_trouble()
        return None if trouble is None else in_words(trouble)


def _room_problem(folder: Path) -> str | None:
    """Return why nothing more can be written to a folder, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
    except OSError as error:
        return in_words(OSError(error.errno, error.strerror, str(folder)))
    return None
