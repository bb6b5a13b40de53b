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
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np

from driftline.errors import CodecError, DriftlineError

MAGIC = b"DLS"
VERSION = 1

_State = TypeVar("_State")


def encode(state: object) -> bytes:
    """Return the bytes of a state (a frozen struct or dataclass); equal states have equal bytes."""
    return MAGIC + bytes([VERSION]) + msgspec.msgpack.encode(_own_writer(state)(state))


def decode(data: bytes, kind: type[_State]) -> _State:
    """Return the state of the class ``kind`` that the bytes encode; raises `CodecError` for any other bytes."""
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError("these bytes are not an encoded state: the magic is missing")
    version = data[len(MAGIC)] if len(data) > len(MAGIC) else None
    if version != VERSION:
        raise CodecError(f"state of version {version} came; this release reads version {VERSION}; upgrade driftline")
    try:
        state = _state(kind, msgspec.msgpack.decode(data[len(MAGIC) + 1 :]))
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


def _dtype(kind: Any) -> np.dtype[Any]:
    scalar = typing.get_args(typing.get_args(kind)[1])[0]
    dtype: np.dtype[Any] = np.dtype(scalar).newbyteorder("<")
    return dtype


def _members(kind: Any) -> tuple[Any, ...] | None:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else None


# ---- writing --------------------------------------------------------------------------------------------------------
# What an annotation asks for is found out once: a state has hundreds of parts, and a page reads hundreds of states.


@functools.cache
def _writer(kind: Any) -> Callable[[Any], Any]:
    """Return what makes a value of an annotated type plain."""
    if (members := _members(kind)) is not None:
        return _union_writer(members)
    if _is_state(kind):
        return lambda value: [write(getattr(value, name)) for name, write in _field_writers(kind)]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is np.ndarray:
        dtype = _dtype(kind)
        return lambda value: value.astype(dtype).tobytes()
    if origin is tuple:
        if args[-1] is not Ellipsis:
            writers = [_writer(one) for one in args]
            return lambda value: [write(item) for write, item in zip(writers, value, strict=True)]
        each = _writer(args[0])
        return list if each is _as_it_is else lambda value: [each(item) for item in value]
    if origin is Mapping:
        of_key, of_item = map(_writer, args)
        return lambda value: [[of_key(key), of_item(item)] for key, item in value.items()]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return lambda value: value.value
    return _integer if kind is int else _as_it_is


def _own_writer(state: object) -> Callable[[Any], Any]:
    kind: Any = type(state)
    return _writer(kind)


@functools.cache
def _field_writers(kind: type) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    return tuple((name, _writer(hint)) for name, hint in _fields(kind))


def _union_writer(members: tuple[Any, ...]) -> Callable[[Any], Any]:
    if sum(map(_is_state, members)) > 1:
        return lambda value: None if value is None else [type(value).__name__, _own_writer(value)(value)]
    writers = [(_plain_type(member), _writer(member)) for member in members if member is not type(None)]
    if len(writers) > 1:
        return lambda value: None if value is None else _by_type(dict(writers), _as_plain(value))(value)
    write = writers[0][1]
    return lambda value: None if value is None else write(value)


def _plain_type(kind: Any) -> type:
    """The type that a value of an annotated type has when it is plain: what tells the members of a union apart."""
    return list if _is_state(kind) or typing.get_origin(kind) in (tuple, Mapping) else typing.cast(type, kind)


def _as_plain(value: Any) -> type:
    return list if isinstance(value, (tuple, Mapping)) else type(value)


def _by_type(known: Mapping[type, Callable[[Any], Any]], kind: type) -> Callable[[Any], Any]:
    if kind not in known:
        raise CodecError(f"{kind.__name__} came; allowed is one of {', '.join(one.__name__ for one in known)}")
    return known[kind]


def _as_it_is(value: Any) -> Any:
    return value


def _integer(value: int) -> int | bytes:
    if -(2**63) <= value < 2**63:
        return value
    return value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)


# ---- reading --------------------------------------------------------------------------------------------------------


@functools.cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return what makes a value of an annotated type of what is plain, or raises."""
    if (members := _members(kind)) is not None:
        return _union_reader(members)
    if _is_state(kind):
        return functools.partial(_state, kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is np.ndarray:
        written = _dtype(kind)
        own = written.newbyteorder("=")
        return lambda plain: np.frombuffer(_expect(bytes, plain), written).astype(own)
    if origin is tuple:
        return _tuple_reader(args)
    if origin is Mapping:
        return functools.partial(_mapping, _reader(args[0]), _reader(args[1]))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    if kind is int:
        return lambda plain: (
            int.from_bytes(plain, "little", signed=True) if isinstance(plain, bytes) else _expect(int, plain)
        )
    return functools.partial(_expect, kind)


@functools.cache
def _field_readers(kind: type) -> tuple[Callable[[Any], Any], ...]:
    return tuple(_reader(hint) for _, hint in _fields(kind))


def _state(kind: type, plain: Any) -> Any:
    readers, values = _field_readers(kind), _expect(list, plain)
    if not 0 < len(values) <= len(readers):
        raise CodecError(f"{len(values)} fields came for {kind}, which has {len(readers)} in this release")
    return kind(*[read(value) for read, value in zip(readers, values, strict=False)])


def _tuple_reader(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    if args[-1] is not Ellipsis:
        readers = [_reader(one) for one in args]
        return lambda plain: tuple([read(item) for read, item in zip(readers, _expect(list, plain), strict=True)])
    each = _reader(args[0])
    return lambda plain: tuple([each(item) for item in _expect(list, plain)])


def _mapping(of_key: Callable[[Any], Any], of_item: Callable[[Any], Any], plain: Any) -> Any:
    pairs = [_expect(list, pair) for pair in _expect(list, plain)]
    found = {of_key(key): of_item(item) for key, item in pairs}
    if len(found) < len(pairs):
        raise CodecError(f"{len(pairs)} keys came, of which {len(found)} differ; each comes once")
    return found


def _union_reader(members: tuple[Any, ...]) -> Callable[[Any], Any]:
    optional, states = type(None) in members, {one.__name__: one for one in members if _is_state(one)}
    if len(states) > 1:
        read: Callable[[Any], Any] = functools.partial(_one_of, states)
    else:
        readers = [(_plain_type(member), _reader(member)) for member in members if member is not type(None)]
        read = readers[0][1] if len(readers) == 1 else lambda plain: _by_type(dict(readers), type(plain))(plain)
    return (lambda plain: None if plain is None else read(plain)) if optional else read


def _one_of(states: Mapping[str, Any], plain: Any) -> Any:
    name, inner = _expect(list, plain)
    if name not in states:
        raise CodecError(f"{name!r} came; allowed is one of {', '.join(sorted(states))}")
    return _reader(states[name])(inner)


def _expect(kind: type, plain: Any) -> Any:
    if type(plain) is not kind:
        raise CodecError(f"{type(plain).__name__} came where {kind.__name__} is expected")
    return plain
