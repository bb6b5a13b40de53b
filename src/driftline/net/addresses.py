"""Check addresses of servers: one definition for the configuration, the commands and the runners."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from driftline.errors import UsageError

_HOST_PORT = re.compile(r"[\w.\-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")
_NEVER = '"\\<>'  # characters that no address has, and that other programs take for its end


def is_web(text: str) -> bool:
    """Return whether a text is meant as an http(s) address, valid or not.

    >>> is_web("https://host/rows.csv"), is_web("s3://bucket/rows.csv"), is_web("rows.csv")
    (True, False, False)
    """
    return text.startswith(("http://", "https://"))


def is_address(text: str, *, plain: bool = False) -> bool:
    """Return whether a text is an http(s) address with a host, no port or a valid one, and no white space.

    Paths can be added to a ``plain`` one: it is in ASCII, without a query and a fragment.

    >>> is_address("https://example.com/hook?key=secret"), is_address("example.com"), is_address("http://host:0/")
    (True, False, False)
    >>> is_address("https://example.com/hook?key=secret", plain=True), is_address("http://[::1]:8000", plain=True)
    (False, True)
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not good or any(sign.isspace() or not sign.isprintable() or sign in _NEVER for sign in text):
        return False
    return not plain or (text.isascii() and not any(sign in text for sign in "?#"))


def is_host_and_port(text: str) -> bool:
    """Return whether a text is HOST:PORT, with an IPv6 address in brackets.

    >>> is_host_and_port("127.0.0.1:8000"), is_host_and_port("[::1]:8000"), is_host_and_port("localhost")
    (True, True, False)
    """
    if not _HOST_PORT.fullmatch(text):
        return False
    try:
        return bool(urlsplit(f"//{text}").port)
    except ValueError:
        return False


def require_address(url: str, what: str) -> None:
    """Raise `UsageError` unless paths can be added to an address; ``what`` names the server in the message."""
    # The address may hold a password: the message does not repeat it.
    if not is_address(url, plain=True):
        raise UsageError(f"the address of {what} is none; write http://HOST:PORT or https://HOST/PATH")
