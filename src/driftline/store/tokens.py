"""The tokens by which people and programs sign in: their digests, never themselves. Every statement on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from driftline.store.statements import as_row, put_row
from driftline.store.tables import TOKENS


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token; ``role`` is a `driftline.access.callers.Role`.

    ``digest`` is the SHA-256 of the token in hexadecimal digits. ``models`` are those that it is for, in order; empty
    for all. Times are wall-clock time. ``rate`` is how much it may send, such as ``1000/s``; None for no limit.
    """

    name: str
    digest: str
    role: str
    models: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rate: str | None = None


class Tokens:
    """The statements on tokens, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put(self, row: TokenRow) -> None:
        """Store a token, new or changed."""
        put_row(self._connection, TOKENS, row)

    def named(self, name: str) -> TokenRow | None:
        """Return the token of that name, or None."""
        return next(iter(self._find(TOKENS.c.name == name)), None)

    def with_digest(self, digest: str) -> TokenRow | None:
        """Return the token that has this digest, or None."""
        return next(iter(self._find(TOKENS.c.digest == digest)), None)

    def all(self) -> list[TokenRow]:
        """Return every token, also those that are over, by name."""
        return self._find()

    def _find(self, *where: sa.ColumnElement[bool]) -> list[TokenRow]:
        statement = sa.select(TOKENS).where(*where).order_by(TOKENS.c.name)
        return [as_row(TokenRow, row) for row in self._connection.execute(statement)]
