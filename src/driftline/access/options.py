"""How a service knows who asks: the section ``auth`` of driftline.yaml, and its values."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from driftline.access.callers import Role
from driftline.fields import Short, Text


class ProxySection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"addresses": "from"}):
    """A proxy that signs people in: in which header it names them, from which addresses it asks, and their role."""

    header: Short
    addresses: Annotated[list[Short], Meta(min_length=1)]
    role: Role = Role.ADMIN


class AuthSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Whether a token is required on loopback too, and whom else to believe."""

    required: bool = False
    proxy: ProxySection | None = None


class TlsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The files of a certificate with its chain, and of its key; both PEM."""

    certificate: Text
    key: Text


@dataclass(frozen=True, slots=True)
class Proxy:
    """The same as `ProxySection`, checked; ``header`` is in lower case."""

    header: str
    addresses: frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]
    role: Role


@dataclass(frozen=True, slots=True)
class Auth:
    """Whether a token is required on loopback too, and a proxy that signs people in, if there is one."""

    required: bool = False
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The same as `TlsSection`, checked: both files are there."""

    certificate: Path
    key: Path
