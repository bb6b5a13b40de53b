"""Holds leases for a process: takes its share, renews it in time, gives away what is too much, and all at the end.

Where a service is one process with a database of its own, there is nothing to share: `Alone` holds everything.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec
import sqlalchemy as sa

from driftline.errors import InUseError, LeaseLostError
from driftline.service.shares import moves
from driftline.service.trouble import in_words
from driftline.store.database import try_turn
from driftline.store.leases import Fence, LeaseRow, Leases, ProcessRow

SPAN = timedelta(seconds=10)
"""So long a lease is held without being renewed: a process that is not heard of for longer is taken for dead."""

EVERY = timedelta(seconds=2)
"""How often leases are renewed and shared anew."""

_FORGOTTEN_AFTER = timedelta(hours=1)
_LOG = logging.getLogger("driftline")


class Role(msgspec.Struct, frozen=True):
    """What a process of the service does: answer requests, work on models, send messages."""

    name: str
    answers: bool = False
    works: bool = False
    notifies: bool = False


ROLES = {
    one.name: one
    for one in (
        Role("all", answers=True, works=True, notifies=True),
        Role("api", answers=True),
        Role("worker", works=True),
        Role("notify", notifies=True),
    )
}
KEEP, NOTIFY, PUSH, RETRAIN = "keep", "notify", "push", "retrain"
"""Leases of what one process does for all models."""


def model_lease(model: str) -> str:
    """Return the name of the lease of a model."""
    return f"model {model}"


def shares_of(role: Role, models: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the leases that a process of a role takes its share of; each share is of its own kind."""
    found = [tuple(map(model_lease, models)), (KEEP,), (PUSH,), (RETRAIN,)] if role.works else []
    return [*found, *([(NOTIFY,)] if role.notifies else [])]


class Status(msgspec.Struct, frozen=True):
    """What a process says of itself to the others."""

    problems: dict[str, str] = {}
    warnings: dict[str, str] = {}
    idle: bool = False
    address: str = ""


def status_of(row: ProcessRow) -> Status:
    """Return what a process has said of itself; nothing where a later release says it otherwise."""
    try:
        return msgspec.json.decode(row.status, type=Status)
    except msgspec.MsgspecError:
        return Status()


class Keeper(Protocol):
    """What a process holds."""

    def held(self, name: str) -> bool:
        """Return whether it holds a lease."""

    @contextmanager
    def using(self, name: str) -> Iterator[Fence | None]:
        """Work under a lease, which is not given away meanwhile; raises `LeaseLostError` where it is not held."""

    def lose(self, fence: Fence | None) -> None:
        """Say that a lease turned out to be another's."""

    def outgrow(self, fence: Fence, token: int) -> Fence:
        """Return a held lease with a token above another one; raises `LeaseLostError` where it is held no longer."""


class Alone:
    """Holds everything: the service is one process."""

    names: tuple[str, ...] = ()

    def held(self, name: str) -> bool:
        """Return that it does."""
        return True

    @contextmanager
    def using(self, name: str) -> Iterator[Fence | None]:
        """Work without a lease."""
        yield None

    def lose(self, fence: Fence | None) -> None:
        """Do nothing: there is nobody else."""

    def outgrow(self, fence: Fence, token: int) -> Fence:
        """Return the lease as it is: nobody has taken one."""
        return fence

    def stop(self) -> None:
        """Do nothing: there is nothing to give back."""


@dataclass(slots=True)
class LeaseKeeper:
    """Holds the leases of one process in a database that others share. `join` takes the first ones, `stop` gives back.

    ``changed`` is called after what is held has become other; ``status`` is what the others see of this process.
    """

    engine: sa.Engine
    role: Role
    shares: Sequence[tuple[str, ...]]
    storage: str
    status: Callable[[], Status]
    changed: Callable[[], None] = lambda: None
    span: timedelta = SPAN
    every: timedelta = EVERY
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    _tokens: dict[str, int] = field(default_factory=dict)
    _used: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _said: str = ""
    _is_seen: bool = True

    @property
    def names(self) -> list[str]:
        """The leases that are held, as far as is known."""
        return sorted(self._tokens)

    def held(self, name: str) -> bool:
        """Return whether the lease is held, as far as is known."""
        return name in self._tokens

    @contextmanager
    def using(self, name: str) -> Iterator[Fence | None]:
        """Work under a lease, which is not given away meanwhile; raises `LeaseLostError` where it is not held."""
        with self._lock:
            if name not in self._tokens:
                raise LeaseLostError(f"another process works on {name}")
            fence = Fence(name, self._tokens[name])
            self._used[name] += 1
        try:
            yield fence
        except LeaseLostError:
            self.lose(fence)
            raise
        finally:
            with self._lock:
                self._used[name] -= 1

    def lose(self, fence: Fence | None) -> None:
        """Say that a lease turned out to be another's."""
        with self._lock:
            if fence is not None and self._tokens.get(fence.name) == fence.token:
                del self._tokens[fence.name]

    def outgrow(self, fence: Fence, token: int) -> Fence:
        """Return a held lease with a token above another one; raises `LeaseLostError` where it is held no longer."""
        with self.engine.begin() as connection:
            Leases(connection).outgrow(self.id, fence, token)
        with self._lock:
            self._tokens[fence.name] = token + 1
        return Fence(fence.name, token + 1)

    # ---- life -------------------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Take the first share, and go on renewing it. Raises `InUseError` beside a service with another folder."""
        with self.engine.begin() as connection:
            leases = Leases(connection)
            self._require_one_storage(leases.live())
            leases.add([name for share in self.shares for name in share])
        self.beat()
        self._start()

    def take_all(self) -> None:
        """Take everything, as for a command that must be alone. Raises `InUseError` where another has some of it."""
        names = [name for share in self.shares for name in share]
        with self.engine.begin() as connection:
            leases = Leases(connection)
            leases.add(names)
            taken = leases.take(self.id, names, len(names), self.span)
            if missing := set(names) - set(taken):
                holders = {row.holder for row in leases.all() if row.name in missing}
                who = next((f"{one.host}, process {one.pid}" for one in leases.live() if one.id in holders), "another")
                raise InUseError(f"the database is in use by another driftline ({who}); stop that one")
            self._tokens |= taken
        self.shares, self._is_seen = (), False
        self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="driftline-leases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give everything back, at once for the others."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        try:
            with self.engine.begin() as connection:
                Leases(connection).release(self.id, self._tokens)
                Leases(connection).forget_process(self.id)
        except sa.exc.SQLAlchemyError as error:
            _LOG.warning("the leases are not given back: %s; others take them in a moment", in_words(error))
        self._tokens.clear()
        self.engine.dispose()

    def _run(self) -> None:
        while not self._stopping.wait(self.every.total_seconds()):
            try:
                self.beat()
            except Exception as error:  # noqa: BLE001 - whatever it is: it must be tried again, or everything is lost
                said = in_words(error)
                if said != self._said:
                    _LOG.warning("leases: %s; trying again", said)
                self._said = said
            else:
                self._said = ""

    def _require_one_storage(self, live: Iterable[ProcessRow]) -> None:
        host = socket.gethostname()
        for one in live:
            if one.host == host and one.storage != self.storage:
                raise InUseError(
                    f"a driftline that uses the database keeps its log in {one.storage}, and this one in "
                    f"{self.storage}; give both one `storage`, or this one another database"
                )

    # ---- sharing ----------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Give a sign of life and renew what is held; then take or give away what makes the share even."""
        before = dict(self._tokens)
        with self.engine.begin() as connection:
            leases = Leases(connection)
            if self._is_seen:
                leases.put_process(self._process(leases))
            kept = leases.renew(self.id, before, self.span)
        with self._lock:
            for name in before.keys() - kept:
                if self._tokens.get(name) == before[name]:
                    del self._tokens[name]
        self._share()
        if self._tokens != before:
            self.changed()

    def _process(self, leases: Leases) -> ProcessRow:
        now = leases.now()
        started = next((one.started_at for one in leases.live() if one.id == self.id), now)
        status = msgspec.json.encode(self.status())
        host = socket.gethostname()
        until = now + self.span
        return ProcessRow(self.id, self.role.name, host, os.getpid(), self.storage, started, now, until, status)

    def _share(self) -> None:
        if not self.shares:
            return
        given: list[str] = []
        taken: dict[str, int] = {}
        with self.engine.begin() as connection:
            if not try_turn(connection, "leases"):
                return  # another shares at this moment
            leases = Leases(connection)
            leases.forget_dead(leases.now() - _FORGOTTEN_AFTER)
            rows, live, now = leases.all(), leases.live(), leases.now()
            for share in self.shares:
                mine = {name: token for name, token in self._tokens.items() if name in share}
                others = [one.id for one in live if one.id != self.id and _takes(one, share[0])] if share else []
                held = Counter(row.holder for row in rows if row.name in share and row.expires_at > now)
                free = _free(rows, share, now)
                by = moves(len(mine), [held[one] for one in others], len(free))
                if by > 0:
                    taken |= leases.take(self.id, free, by, self.span)
                elif by < 0:
                    leaving = self._leave(sorted(mine), -by)
                    leases.release(self.id, leaving)
                    given += leaving
        with self._lock:
            self._tokens |= taken
        for name in (*taken, *given):
            _LOG.info("%s: %s", name, "taken" if name in taken else "given away")

    def _leave(self, names: Sequence[str], number: int) -> dict[str, int]:
        """Stop holding so many leases that nothing is done under at the moment."""
        with self._lock:
            leaving = [name for name in names if not self._used[name]][:number]
            return {name: self._tokens.pop(name) for name in leaving}


def _takes(process: ProcessRow, name: str) -> bool:
    role = ROLES.get(process.role)
    if role is None:
        return False
    return role.notifies if name == NOTIFY else role.works


def _free(rows: Sequence[LeaseRow], share: Sequence[str], now: datetime) -> list[str]:
    return [row.name for row in rows if row.name in share and row.expires_at <= now]


def storage_name(storage: Path | str) -> str:
    """Return the name of a storage that is the same for all processes of a machine."""
    return str(storage) if "://" in str(storage) else str(Path(storage).absolute())
