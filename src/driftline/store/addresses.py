"""Addresses of databases, as text: what is allowed, what they stand for, and how they are shown, without a password."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from driftline.environment import is_named, secret
from driftline.errors import UsageError

SQLITE, POSTGRESQL = "sqlite", "postgresql+psycopg"
FORM = f"{POSTGRESQL}://USER@HOST:PORT/NAME"
"""How the address of a PostgreSQL is written."""

_SCHEMES = (POSTGRESQL, "postgresql")
_OPTIONS = (
    "application_name",
    "channel_binding",
    "host",
    "options",
    "passfile",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
)
_NAME = re.compile(r"/[^/@]+")


def is_server(address: str) -> bool:
    """Whether an address is that of a PostgreSQL, or of a variable or file that holds one; otherwise it is a file's."""
    return is_named(address) or address.startswith(tuple(f"{scheme}:" for scheme in _SCHEMES))


def server_problem(address: str) -> str | None:
    """Why a text is no address of a PostgreSQL, or None. It may hold a password, so nothing of it is repeated.

    >>> server_problem("postgresql+psycopg://driftline@db.example:5432/driftline")
    >>> server_problem("postgresql+psycopg://driftline:p@ss@db.example/driftline")
    'is not postgresql+psycopg://USER@HOST:PORT/NAME; in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25'
    """
    try:
        parts = urlsplit(address)
        whole = parts.scheme in _SCHEMES and bool(_NAME.fullmatch(parts.path)) and not parts.fragment
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        whole = whole and parts.port != 0 and parts.netloc.count("@") < 2 and address.isprintable()
        whole = whole and bool(parts.hostname or dict(options).get("host"))
    except ValueError:
        whole, options = False, []
    if not whole:
        return f"is not {FORM}; in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
    if any(name not in _OPTIONS for name, _ in options):
        return f"has an option behind `?` that is not allowed; allowed are {', '.join(_OPTIONS)}"
    return None


def resolved(address: str) -> str:
    """What an address stands for: the value of what it names, with the driver that it is opened by.

    Raises `UsageError` where it holds no address of a PostgreSQL.
    """
    if not is_server(address):
        return address
    found = secret(address)
    if (problem := server_problem(found)) is not None:
        raise UsageError(f"database: {'what ' + address + ' holds' if found != address else 'the address'} {problem}")
    return f"{POSTGRESQL}:{found.partition(':')[2]}"


def without_secrets(address: str) -> str:
    """How an address is shown: a file and the name of a variable as they are, of a server its name and host.

    >>> without_secrets("postgresql+psycopg://driftline:secret@db.example:5432/driftline?sslmode=require")
    'postgresql+psycopg://db.example:5432/driftline'
    """
    if not is_server(address) or is_named(address):
        return address
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "")
    return f"{POSTGRESQL}://{host}{unquote(parts.path)}"
