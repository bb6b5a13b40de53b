"""Tokens: made once and shown once, stored as digests, revoked by name."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from driftline.access.callers import Caller, Role
from driftline.access.rates import per_second
from driftline.errors import ConflictError, UnauthorizedError, UnknownNameError, UsageError
from driftline.store.state import State, Work
from driftline.store.tokens import TokenRow
from driftline.text.moments import given_moment, moment

_PREFIX, _BYTES = "dl_", 32
_TOKEN = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"[^\W_](?:[\w.@+-]{0,98}[^\W_])?")


def create_token(
    state: State,
    name: str,
    role: Role,
    now: datetime,
    *,
    models: Iterable[str] = (),
    lasts: timedelta | None = None,
    rate: str | None = None,
    by: str,
) -> str:
    """Make a token and store its digest; the token itself is returned, and cannot be read again.

    The name is written wherever its holder changes something. ``rate`` is how much it may send, such as ``1000/s``.
    Raises `UsageError` for a name or rate that is none, and `ConflictError` while another token of that name is good.
    ``now`` is wall-clock time.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"the name {name!r} came; allowed are up to 100 letters, digits, and . _ @ + - between them, such as ci-eu"
        )
    expires = None if lasts is None else _expiry(now, lasts)
    if rate is not None:
        per_second(rate)
    token = _PREFIX + secrets.token_urlsafe(_BYTES)
    row = TokenRow(name, _digest(token), role.value, tuple(sorted(set(models))), now, expires, rate=rate)
    with state.work() as work:
        known = work.tokens.named(name)
        if known is not None and _over(known, now) is None:
            raise ConflictError(f"there is a token of {name} already; revoke it first, or take another name")
        work.tokens.put(row)
        work.audit.add(now, by, "create token", subject=name, reason=_limits(row))
    return token


def _expiry(now: datetime, lasts: timedelta) -> datetime:
    if lasts <= timedelta(0):
        raise UsageError("a token has to be good for some time; write a length such as 90d")
    try:
        return given_moment("the end", now + lasts)
    except OverflowError:
        raise UsageError("the token would be good beyond the year 9998; write a shorter time") from None


def _limits(row: TokenRow) -> str:
    models = f" of {', '.join(row.models)}" if row.models else ""
    until = "" if row.expires_at is None else f" until {moment(row.expires_at)}"
    return f"{row.role}{models}{until}" + ("" if row.rate is None else f", at most {row.rate}")


def revoke_token(state: State, name: str, now: datetime, *, by: str) -> TokenRow:
    """Revoke a token: from now on nobody signs in by it. Raises `UnknownNameError`; one that is over stays as it is."""
    with state.work() as work:
        row = work.tokens.named(name)
        if row is None:
            raise UnknownNameError("token", name, [one.name for one in work.tokens.all()])
        if _over(row, now) is None:
            row = replace(row, revoked_at=now)
            work.tokens.put(row)
            work.audit.add(now, by, "revoke token", subject=name)
    return row


def has_admin(work: Work, now: datetime) -> bool:
    """Return whether anybody could administer the service by a token."""
    return any(row.role == Role.ADMIN and not row.models and _over(row, now) is None for row in work.tokens.all())


def caller_of(work: Work, token: str, now: datetime) -> Caller:
    """Return whose token it is; raise `UnauthorizedError` for one that is unknown, expired or revoked."""
    row = work.tokens.with_digest(_digest(token)) if _TOKEN.fullmatch(token) else None
    if row is None:
        raise UnauthorizedError("this token is not known; create one by `driftline token create`")
    if over := _over(row, now):
        raise UnauthorizedError(f"this token {over}; create another one by `driftline token create`")
    return Caller(row.name, Role(row.role), row.models, row.rate)


def _over(row: TokenRow, now: datetime) -> str | None:
    """Return why a token is no good any more, or None."""
    if row.revoked_at is not None:
        return "was revoked"
    return "has expired" if row.expires_at is not None and row.expires_at <= now else None


def state_of(row: TokenRow, now: datetime) -> str:
    """Return in a word how a token is: good, expired or revoked."""
    return {"was revoked": "revoked", "has expired": "expired"}.get(_over(row, now) or "", "good")


def csrf_of(token: str) -> str:
    """Return what a page has to send with each write, so that it is known to have been read by who was signed in."""
    return hmac.new(token.encode(), b"driftline page", hashlib.sha256).hexdigest()


def _digest(token: str) -> str:
    """A token has 256 random bits: nobody finds it from a digest, however quick that is."""
    return hashlib.sha256(token.encode()).hexdigest()
