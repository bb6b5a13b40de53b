"""Refuse requests that other sites make: Host must be a name of this server, and a write must come from its own pages.

A page of another site can have its name resolved to 127.0.0.1 (DNS rebinding) and then sends requests as if it were
ours: its Host shows that. A page of another site that sends a form here without that is recognised by its Origin.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from driftline.text import quoted

_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*))(?::(?P<port>[0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}
_MOST_REMEMBERED = 100
READS = ("GET", "HEAD")
"""The methods that change nothing."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refusal(NamedTuple):
    """Why a request is refused: 421 for a foreign Host, 403 for a foreign Origin."""

    status: int
    message: str


def host_problem(name: str) -> str | None:
    """Return why a text of the configuration is not a host name; None if it is one.

    >>> host_problem("driftline.example"), host_problem("https://driftline.example/")
    (None, 'allowed is a name or an address without scheme, port and path, such as driftline.example')
    """
    found = _AUTHORITY.fullmatch(name)
    if found is not None and found["port"] is None:
        return None
    return "allowed is a name or an address without scheme, port and path, such as driftline.example"


class Hosts:
    """The names of a server: those of loopback, and ``names``; with ``any_address``, any IP address as well.

    >>> ours = Hosts(["driftline.example"])
    >>> ours.refuse("GET", ["localhost:8000"], []), ours.refuse("GET", ["evil.example"], []).status
    (None, 421)
    """

    def __init__(self, names: Iterable[str] = (), *, any_address: bool = False) -> None:
        self._names = frozenset(_folded(name) for name in names)
        self._any_address = any_address
        self._good: set[str] = set()

    @classmethod
    def of(cls, names: Iterable[str], url: str, *, any_address: bool = False) -> Hosts:
        """Return the hosts for the configured names and the host of the configured address."""
        host = urlsplit(url).hostname if "://" in url else None
        known = [f"[{host}]" if ":" in host else host] if host else []
        return cls([*names, *known], any_address=any_address)

    def refuse(self, method: str, hosts: list[str], origins: list[str]) -> Refusal | None:
        """Return why a request is refused, from all its ``Host`` and ``Origin`` headers; None if it is accepted."""
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._ours(host):
            came = quoted(", ".join(hosts))
            return Refusal(
                421,
                f"Host {came} is not a name of this server; it answers to loopback, its `url` and the `hosts` "
                "of its configuration",
            )
        if method not in READS and origins and not (len(origins) == 1 and self._own_page(origins[0], host)):
            came = quoted(", ".join(origins))
            return Refusal(403, f"a page of {came} may not write here; only the pages of this server may")
        return None

    def _ours(self, host: str) -> bool:
        """Return whether a name is of this server; the few good ones that most requests have are remembered."""
        if host in self._good:
            return True
        good = self._named(host)
        if good and len(self._good) < _MOST_REMEMBERED:
            self._good.add(host)
        return good

    def _named(self, host: str) -> bool:
        found = _AUTHORITY.fullmatch(host)
        if found is None or int(found["port"] or 0) > 65_535:
            return False
        name = _folded(found["name"])
        address = _address(name)
        if address is None:
            return name == "localhost" or name in self._names
        return address.is_loopback or self._any_address or name in self._names

    def _own_page(self, origin: str, host: str) -> bool:
        """Return whether an origin is this server: the same host and port, or a configured name."""
        scheme, there, authority = origin.partition("://")
        found, asked = _AUTHORITY.fullmatch(authority), _AUTHORITY.fullmatch(host)
        if not there or scheme.lower() not in _PORTS or found is None or asked is None:
            return False
        name = _folded(found["name"])
        if name in self._names:
            return True
        port = _PORTS[scheme.lower()]
        return name == _folded(asked["name"]) and int(found["port"] or port) == int(asked["port"] or port)


def _folded(name: str) -> str:
    """Return a name in the form in which names are compared: in small letters, without the dot of the root."""
    folded = name.lower().removesuffix(".")
    address = _address(folded)
    return folded if address is None else str(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


_KINDS = {403: "ForeignOriginError", 421: "MisdirectedRequestError"}


def guarded(app: App, hosts: Hosts) -> App:
    """Return an ASGI application that refuses requests that `Hosts` refuses, and passes on the others."""

    async def ask(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None
        if scope["type"] == "http":
            said: dict[bytes, list[str]] = {b"host": [], b"origin": []}
            for name, value in scope["headers"]:
                if name in said:
                    said[name].append(value.decode("latin-1"))
            refusal = hosts.refuse(scope["method"], said[b"host"], said[b"origin"])
        if refusal is None:
            await app(scope, receive, send)
            return
        body = msgspec.json.encode({"error": {"type": _KINDS[refusal.status], "message": refusal.message}})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return ask
