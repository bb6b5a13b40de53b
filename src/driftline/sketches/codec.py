"""Encode states to bytes and back: versioned, reproducible, and safe to read from untrusted sources.

The layout is MessagePack behind a header of magic and version. A struct is the array of its fields, a mapping an
array of pairs, an array its little-endian bytes; a member of a union carries its class name. What is read is checked
against the annotated types and then by the class itself; bytes never cause anything to be imported or executed.

Old bytes stay readable: new fields are added at the end of a class, with defaults, which bytes with fewer fields take.
Bytes with more fields than the class has come from a newer release and are refused.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np

from driftline.errors import CodecError, DriftlineError

MAGIC = b"DLS"
VERSION = 1

_State = TypeVar("_State")


def encode(state: object) -> bytes:
    """Return the bytes of a state (a frozen struct or dataclass); equal states have equal bytes."""
    return MAGIC + bytes([VERSION]) + msgspec.msgpack.encode(_plain(state, type(state)))


def decode(data: bytes, kind: type[_State]) -> _State:
    """Return the state of the class ``kind`` that the bytes encode; raises `CodecError` for any other bytes."""
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError("these bytes are not an encoded state: the magic is missing")
    version = data[len(MAGIC)] if len(data) > len(MAGIC) else None
    if version != VERSION:
        raise CodecError(f"state of version {version} came; this release reads version {VERSION}; upgrade driftline")
    try:
        state = _state(msgspec.msgpack.decode(data[len(MAGIC) + 1 :]), kind)
    except (msgspec.DecodeError, DriftlineError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError(f"these bytes are not a {kind.__name__}: {error}") from error
    return typing.cast(_State, state)


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(kind)
    structure: Any = kind
    names = getattr(structure, "__struct_fields__", None) or [one.name for one in dataclasses.fields(structure)]
    return tuple((name, _unaliased(hints[name])) for name in names)


def _is_state(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind))


def _unaliased(kind: Any) -> Any:
    """The type that an alias stands for: from Python 3.12 on, NumPy's ``NDArray`` is an alias to resolve."""
    origin = typing.get_origin(kind)
    return origin.__value__[typing.get_args(kind)] if hasattr(origin, "__value__") else kind


def _is_array(kind: Any) -> bool:
    return typing.get_origin(kind) is np.ndarray


def _dtype(kind: Any) -> np.dtype[Any]:
    scalar = typing.get_args(typing.get_args(kind)[1])[0]
    dtype: np.dtype[Any] = np.dtype(scalar).newbyteorder("<")
    return dtype


def _members(kind: Any) -> tuple[Any, ...] | None:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else None


def _plain(value: Any, kind: Any) -> Any:
    if (members := _members(kind)) is not None:
        if value is None:
            return None
        states = [member for member in members if _is_state(member)]
        if len(states) > 1:
            return [type(value).__name__, _plain(value, type(value))]
        return _plain(value, next(member for member in members if member is not type(None)))
    if _is_state(kind):
        return [_plain(getattr(value, name), hint) for name, hint in _fields(typing.cast(type, kind))]
    if _is_array(kind):
        return value.astype(_dtype(kind)).tobytes()
    origin = typing.get_origin(kind)
    if origin is tuple:
        args = typing.get_args(kind)
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return [_plain(item, item_kind) for item, item_kind in zip(value, kinds, strict=True)]
    if origin is Mapping:
        key_kind, item_kind = typing.get_args(kind)
        return [[_plain(key, key_kind), _plain(item, item_kind)] for key, item in value.items()]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value.value
    if kind is int and not -(2**63) <= value < 2**63:
        return value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return value


def _state(plain: Any, kind: Any) -> Any:
    if (members := _members(kind)) is not None:
        return _union_member(plain, members)
    if _is_state(kind):
        fields = _fields(typing.cast(type, kind))
        values = _expect(plain, list)
        if not 0 < len(values) <= len(fields):
            raise CodecError(f"{len(values)} fields came for {kind}, which has {len(fields)} in this release")
        return typing.cast(type, kind)(*[_state(value, hint) for value, (_, hint) in zip(values, fields, strict=False)])
    if _is_array(kind):
        dtype = _dtype(kind)
        return np.frombuffer(_expect(plain, bytes), dtype).astype(dtype.newbyteorder("="))
    origin = typing.get_origin(kind)
    if origin is tuple:
        items, args = _expect(plain, list), typing.get_args(kind)
        kinds = [args[0]] * len(items) if args[-1] is Ellipsis else args
        return tuple(_state(item, item_kind) for item, item_kind in zip(items, kinds, strict=True))
    if origin is Mapping:
        key_kind, item_kind = typing.get_args(kind)
        pairs = [_expect(pair, list) for pair in _expect(plain, list)]
        found = {_state(key, key_kind): _state(item, item_kind) for key, item in pairs}
        if len(found) < len(pairs):
            raise CodecError(f"{len(pairs)} keys came, of which {len(found)} differ; each comes once")
        return found
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(plain)
    if kind is int and isinstance(plain, bytes):
        return int.from_bytes(plain, "little", signed=True)
    return _expect(plain, kind)


def _union_member(plain: Any, members: tuple[Any, ...]) -> Any:
    if plain is None and type(None) in members:
        return None
    states: dict[str, Any] = {m.__name__: m for m in members if _is_state(m)}
    if len(states) > 1:
        name, inner = _expect(plain, list)
        if name not in states:
            raise CodecError(f"{name!r} came; allowed is one of {', '.join(sorted(states))}")
        return _state(inner, states[name])
    return _state(plain, next(member for member in members if member is not type(None)))


def _expect(plain: Any, kind: type) -> Any:
    if type(plain) is not kind:
        raise CodecError(f"{type(plain).__name__} came where {kind.__name__} is expected")
    return plain
