"""Leases: which process does what only one may do at a time. And the processes that are alive.

A lease has a holder and a token, which grows each time that somebody takes it. The holder renews it in time; whoever
does not is taken for dead. It may only be paused: so each transaction of its work checks that the token is still the
one that it began with (`Fence`), and who takes a lease waits for the transactions that have checked it. All times are
of the database's clock, so that the clocks of the machines do not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from driftline.errors import LeaseLostError
from driftline.store.database import database_time
from driftline.store.statements import as_row, put_row, put_values
from driftline.store.tables import EPOCH, LEASES, PROCESSES


@dataclass(frozen=True, slots=True)
class Fence:
    """A lease as somebody took it: the name, and the token that it had then."""

    name: str
    token: int

    def check(self, connection: sa.Connection) -> None:
        """Hold the lease until the end of the transaction; raise `LeaseLostError` where somebody else has taken it.

        Renewing it meanwhile is possible, taking it is not.
        """
        statement = sa.select(LEASES.c.token).where(LEASES.c.name == self.name)
        token = connection.execute(statement.with_for_update(read=True, key_share=True)).scalar_one_or_none()
        if token != self.token:
            raise LeaseLostError(f"another process works on {self.name} by now")


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease; ``holder`` is the id of a process, empty for none."""

    name: str
    holder: str
    token: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process of the service; ``status`` is JSON, which it writes with each sign of life."""

    id: str
    role: str
    host: str
    pid: int
    storage: str
    started_at: datetime
    said_at: datetime
    expires_at: datetime
    status: bytes


class Leases:
    """The statements on leases and processes, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def now(self) -> datetime:
        """Return what time it is for the database."""
        return database_time(self._connection)

    # ---- processes --------------------------------------------------------------------------------------------------

    def put_process(self, row: ProcessRow) -> None:
        """Store a sign of life."""
        put_row(self._connection, PROCESSES, row)

    def forget_process(self, id: str) -> None:
        """Forget a process that ends."""
        self._connection.execute(PROCESSES.delete().where(PROCESSES.c.id == id))

    def forget_dead(self, before: datetime) -> None:
        """Forget the processes that gave no sign of life since long before."""
        self._connection.execute(PROCESSES.delete().where(PROCESSES.c.expires_at < before))

    def live(self) -> list[ProcessRow]:
        """Return the processes that are alive, the oldest first."""
        statement = sa.select(PROCESSES).where(PROCESSES.c.expires_at > self.now())
        return [as_row(ProcessRow, row) for row in self._connection.execute(statement.order_by(*_BY_AGE))]

    # ---- leases -----------------------------------------------------------------------------------------------------

    def all(self) -> list[LeaseRow]:
        """Return all leases by name, expired ones too."""
        return [as_row(LeaseRow, row) for row in self._connection.execute(sa.select(LEASES).order_by(LEASES.c.name))]

    def any_held(self) -> bool:
        """Return whether some process holds a lease."""
        held = sa.select(LEASES.c.name).where(LEASES.c.expires_at > self.now()).limit(1)
        return self._connection.execute(held).first() is not None

    def add(self, names: Collection[str]) -> None:
        """Add the leases that there are not yet; nobody holds them."""
        known = {row.name for row in self.all()}
        rows = [{"name": name, "holder": "", "token": 0, "expires_at": EPOCH} for name in names if name not in known]
        put_values(self._connection, LEASES, rows, changed=("name",))

    def renew(self, holder: str, tokens: Mapping[str, int], span: timedelta) -> set[str]:
        """Prolong leases, given with the tokens that they were taken with; return those that are still the holder's.

        One that has expired and that nobody has taken since is still its holder's.
        """
        if not tokens:
            return set()
        mine = (LEASES.c.holder == holder) & LEASES.c.name.in_(list(tokens))
        statement = LEASES.update().where(mine).values(expires_at=self.now() + span)
        found = self._connection.execute(statement.returning(LEASES.c.name, LEASES.c.token))
        return {row.name for row in found if tokens[row.name] == row.token}

    def take(self, holder: str, names: Collection[str], most: int, span: timedelta) -> dict[str, int]:
        """Take leases that are free or have expired, at most so many; return their new tokens.

        One that a transaction of its last holder is still working under is left out.
        """
        now = self.now()
        free = sa.select(LEASES.c.name).where(LEASES.c.name.in_(list(names)), LEASES.c.expires_at <= now)
        found = self._connection.execute(free.order_by(LEASES.c.name).limit(most).with_for_update(skip_locked=True))
        taken = [name for (name,) in found]
        if not taken:
            return {}
        values = {"holder": holder, "token": LEASES.c.token + 1, "expires_at": now + span}
        statement = LEASES.update().where(LEASES.c.name.in_(taken)).values(values)
        tokens = self._connection.execute(statement.returning(LEASES.c.name, LEASES.c.token))
        return {row.name: row.token for row in tokens}

    def outgrow(self, holder: str, fence: Fence, token: int) -> None:
        """Raise the token of a lease above another one; raise `LeaseLostError` where it is not the holder's."""
        mine = (LEASES.c.name == fence.name) & (LEASES.c.holder == holder) & (LEASES.c.token == fence.token)
        if not self._connection.execute(LEASES.update().where(mine).values(token=token + 1)).rowcount:
            raise LeaseLostError(f"another process works on {fence.name} by now")

    def release(self, holder: str, tokens: Mapping[str, int]) -> None:
        """Give leases back, given with the tokens that they were taken with; what is another's stays so."""
        for name, token in tokens.items():
            mine = (LEASES.c.name == name) & (LEASES.c.holder == holder) & (LEASES.c.token == token)
            self._connection.execute(LEASES.update().where(mine).values(holder="", expires_at=EPOCH))


_BY_AGE = (PROCESSES.c.started_at, PROCESSES.c.id)
