"""Who asks, and what they may: the roles, and which of them a request needs. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from driftline.errors import ForbiddenError
from driftline.net.hosts import READS


class Role(enum.StrEnum):
    """What a token is good for: `READ` every page and answer, `WRITE` events and nothing else, `ADMIN` everything."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who has signed in: their name, role, and the models that they are limited to (empty: none, all).

    ``rate`` is how much they may send, such as ``1000/s``; None for no limit.
    """

    name: str
    role: Role
    models: tuple[str, ...] = ()
    rate: str | None = None


def role_needed(method: str, *, events: bool) -> Role:
    """Return the least role of a request; ``events`` says that it posts predictions or labels.

    >>> role_needed("GET", events=False), role_needed("POST", events=True), role_needed("DELETE", events=False)
    (<Role.READ: 'read'>, <Role.WRITE: 'write'>, <Role.ADMIN: 'admin'>)
    """
    if method in READS:
        return Role.READ
    return Role.WRITE if events else Role.ADMIN


def require_allowed(caller: Caller, needed: Role, model: str | None) -> None:
    """Raise `ForbiddenError` where a caller may not do what needs a role, of a model or, if None, of all of them."""
    if caller.role not in (needed, Role.ADMIN):
        raise ForbiddenError(f"the token of {caller.name} is for {caller.role}; this needs {needed}")
    if caller.models and model not in caller.models:
        asked = "all models" if model is None else f"the model {model!r}"
        raise ForbiddenError(f"the token of {caller.name} is for {', '.join(caller.models)}; this is of {asked}")
