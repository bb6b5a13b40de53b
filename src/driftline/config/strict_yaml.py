"""YAML read strictly: every mistake has its file, line and key, and nothing in the text is ever executed.

`Reader` turns a text into plain values and remembers the line of each key; `section_of` holds them against a table of
keys (msgspec structs). What the values mean is not known here.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import inspect as kinds

from driftline.errors import ConfigError, did_you_mean
from driftline.text.numbers import exact

Section = TypeVar("Section", bound=msgspec.Struct)
Key = tuple[str, ...]
"""Where a value stands: the names and indices that lead to it."""

_NODE_LIMIT = 100_000  # aliases may multiply nodes without end
_DEPTH_LIMIT = 20
_TOO_DEEP = "the file is nested too deeply, or repeats itself by aliases"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The file that is read, and the line of each of its keys."""

    path: Path
    lines: dict[Key, int] = field(default_factory=dict)

    def error(self, key: Key, reason: str, line: int | None = None) -> ConfigError:
        """Return what to raise for a mistake at a key; the line is that of the nearest known key around it."""
        if line is None:
            line = next((self.lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self.lines), None)
        steps = (step if step.isprintable() and len(step) <= 64 else shown(step) for step in key)
        return ConfigError(reason, path=self.path, line=line, key=".".join(steps))


# ---- YAML to plain values, remembering lines ---------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain words mean what they do in YAML 1.2: ``yes`` and dates are texts, ``1e-3`` is a number, ``010`` a text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # as PyYAML has it
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT and parent is not None:
            raise yaml.composer.ComposerError(problem=_TOO_DEEP, problem_mark=parent.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


_SCALARS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"~|null|Null|NULL|", lambda _: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", int),
    "float": (r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", float),
    "str": (r".*", str),
}
_TAG = "tag:yaml.org,2002:"
for _name, (_pattern, _) in list(_SCALARS.items())[:-1]:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"({_pattern})\Z"), None)


class Reader:
    """Walks YAML nodes: duplicate keys and endless aliases are mistakes, and each key's line is kept."""

    def __init__(self, file: SourceFile, name_of: Callable[[Key, Any], str | None] = lambda _key, _value: None) -> None:
        """``name_of`` may spell the name that a value stands for in the mapping at a key; otherwise its text is it."""
        self._file, self._name_of, self._nodes = file, name_of, 0

    def read(self, text: str) -> dict[str, Any]:
        """Return the mapping that the text is; raise `ConfigError` for anything else."""
        loader = None
        try:
            loader = _Loader(text)
            root = loader.get_single_node()
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            character = f"U+{ord(error.character):04X}" if isinstance(error.character, str) else f"{error.character:#x}"
            raise self._file.error((), f"this is not YAML: the character {character} is not allowed", line) from error
        except yaml.MarkedYAMLError as error:
            raise self._broken(error) from error
        except (ValueError, OverflowError) as error:  # PyYAML's own, of an escape or a version
            reason = "this is not YAML: a number or an escape is too large"
            raise self._file.error((), reason, loader.get_mark().line + 1 if loader is not None else None) from error
        if root is None:
            raise self._file.error((), "the file is empty; it starts with `models:`")
        if not isinstance(root, yaml.MappingNode):
            raise self._file.error((), "the file is not a mapping; it starts with `models:`", _line(root))
        found: dict[str, Any] = self._plain(root, ())
        return found

    def _broken(self, error: yaml.MarkedYAMLError) -> ConfigError:
        problem = "; ".join(part for part in (error.problem, error.context) if part)
        mark = error.problem_mark or error.context_mark
        if problem == _TOO_DEEP:
            return self._file.error((), problem, mark.line + 1 if mark else None)
        if "'\\t'" in problem:
            problem = "a line is indented with a tab; indent with spaces"
        elif "found another document" in problem:
            problem = "a second document starts here; a file is one"
        return self._file.error((), f"this is not YAML: {problem}", mark.line + 1 if mark else None)

    def _plain(self, node: yaml.Node, key: Key) -> Any:
        self._nodes += 1
        if self._nodes > _NODE_LIMIT or len(key) > _DEPTH_LIMIT:
            raise self._file.error((), _TOO_DEEP, _line(node))
        self._file.lines.setdefault(key, _line(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            raise self._file.error(key, f"the tag {shown(node.tag)} is not taken; leave it out", _line(node))
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*key, str(index))) for index, item in enumerate(node.value)]
        found: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = self._name(name_node, key)
            if name == "<<" and name_node.style is None:
                raise self._file.error((*key, name), "keys are not merged here; write them out", _line(name_node))
            if name in found:
                raise self._file.error((*key, name), "the key came before; give it once", _line(name_node))
            self._file.lines[*key, name] = _line(name_node)
            found[name] = self._plain(value_node, (*key, name))
        return found

    def _name(self, node: yaml.Node, key: Key) -> str:
        """A key is the text that stands there; as the name of a class ``true`` and ``1.0`` are spelled as it is."""
        if not isinstance(node, yaml.ScalarNode):
            raise self._file.error(key, "a list or mapping came as a key; a key is a text", _line(node))
        value = self._scalar(node, key)
        return self._name_of(key, value) or str(node.value)

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        name = node.tag.removeprefix(_TAG)
        if name not in _SCALARS:
            raise self._file.error(key, f"the tag {shown(node.tag)} is not taken; leave it out", _line(node))
        try:
            node.value.encode()
            pattern, make = _SCALARS[name]
            if "\0" in node.value or not re.fullmatch(pattern, node.value, re.DOTALL):
                raise ValueError
            return make(node.value)
        except ValueError:
            words = {"int": "number", "float": "number", "bool": "truth value", "null": "null"}.get(name, "text")
            raise self._file.error(
                key, f"{shown(node.value)} is not a {words} that can be taken", _line(node)
            ) from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


# ---- plain values against the table of keys ----------------------------------------------------------------


def section_of(file: SourceFile, plain: Mapping[str, Any], section: type[Section]) -> Section:
    """Return plain values as the table of keys has them; raise `ConfigError` for the first that is not what it says."""
    _check_keys(file, plain, _table_of(section))
    return msgspec.convert(plain, section)


@functools.cache
def _table_of(section: type[msgspec.Struct]) -> kinds.Type:
    """The table of keys, which takes several times as long to make as a file to be checked by it."""
    return kinds.type_info(section)


def _check_keys(
    file: SourceFile,
    value: Any,
    kind: kinds.Type,
    key: Key = (),
    known: kinds.Field | None = None,
) -> None:
    """Raise for the first value that is not what the table of keys says; ``known`` is the row of a known key."""
    kind = _alternative(value, kind)
    if not _fits(value, kind):
        raise file.error(key, _misfit(value, kind, known))
    if isinstance(kind, kinds.StructType):
        _check_names(file, value, kind, key)
        for one in kind.fields:
            if one.encode_name in value:
                _check_keys(file, value[one.encode_name], one.type, (*key, one.encode_name), one)
    elif isinstance(kind, kinds.DictType):
        for name, inner in value.items():
            if not _fits(name, kind.key_type):
                raise file.error((*key, name), f"a name is {_words(kind.key_type)}; rename it")
            _check_keys(file, inner, kind.value_type, (*key, name))
    elif isinstance(kind, kinds.ListType):
        for index, inner in enumerate(value):
            _check_keys(file, inner, kind.item_type, (*key, str(index)))


def _alternative(value: Any, kind: kinds.Type) -> kinds.Type:
    """Of a union the member that fits, without what annotates it; a union of nothing but null and one other is that."""
    if isinstance(kind, kinds.Metadata):
        return _alternative(value, kind.type)
    if not isinstance(kind, kinds.UnionType):
        return kind
    members = tuple(_alternative(value, one) for one in kind.types if not isinstance(one, kinds.NoneType))
    fitting = [one for one in members if _fits(value, one)]
    return (fitting or [members[0] if len(members) == 1 else kinds.UnionType(members)])[0]


def _check_names(file: SourceFile, value: Mapping[str, Any], kind: kinds.StructType, key: Key) -> None:
    known = [one.encode_name for one in kind.fields]
    for name in value:
        if name not in known:
            hint = did_you_mean(name, known)
            raise file.error((*key, name), f"is not a known key; known: {', '.join(known)}.{hint}")
    for one in kind.fields:
        if one.required and one.encode_name not in value:
            raise file.error(key, f"the key {one.encode_name!r} is missing; add it", None if key else 1)


def _fits(value: Any, kind: kinds.Type) -> bool:
    match kind:
        case kinds.StrType():
            return isinstance(value, str) and _long_enough(value, kind) and _matches(value, kind.pattern)
        case kinds.BoolType():
            return isinstance(value, bool)
        case kinds.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _within(value, kind)
        case kinds.FloatType():
            return isinstance(value, (int, float)) and not isinstance(value, bool) and _within(value, kind)
        case kinds.EnumType() | kinds.LiteralType():
            return isinstance(value, str) and value in _choices(kind)
        case kinds.ListType():
            return isinstance(value, list) and _long_enough(value, kind)
        case kinds.DictType():
            return isinstance(value, dict) and _long_enough(value, kind)
        case kinds.StructType():
            return isinstance(value, dict)
        case _:
            return False


def _long_enough(value: Sized, kind: kinds.StrType | kinds.ListType | kinds.DictType) -> bool:
    return (kind.min_length or 0) <= len(value) <= (sys.maxsize if kind.max_length is None else kind.max_length)


def _matches(text: str, pattern: str | None) -> bool:
    return pattern is None or re.fullmatch(pattern.removesuffix("$"), text) is not None


def _within(number: float, kind: kinds.IntType | kinds.FloatType) -> bool:
    return (
        abs(number) <= (sys.float_info.max if isinstance(kind, kinds.FloatType) else 2**63 - 1)
        and (kind.gt is None or number > kind.gt)
        and (kind.ge is None or number >= kind.ge)
        and (kind.lt is None or number < kind.lt)
        and (kind.le is None or number <= kind.le)
    )


def _choices(kind: kinds.EnumType | kinds.LiteralType) -> list[str]:
    return [str(one) for one in (kind.values if isinstance(kind, kinds.LiteralType) else kind.cls)]


def _misfit(value: Any, kind: kinds.Type, known: kinds.Field | None) -> str:
    came, hint = "empty" if value is None else shown(value), ""
    if value is None and known is not None and not known.required:
        hint = ", or leave the key out"
    elif isinstance(kind, (kinds.EnumType, kinds.LiteralType)) and isinstance(value, str):
        near = did_you_mean(value, _choices(kind))
        hint = f".{near}" if near else ""
    elif isinstance(kind, kinds.StrType) and isinstance(value, (bool, int, float)):
        such = known.default if known is not None else None
        if isinstance(such, str):
            return f"came {came}; allowed is a text such as {such!r}"
        hint = "; put it in quotes"
    return f"came {came}; allowed is {_words(kind)}{hint}"


def _number_words(kind: kinds.IntType | kinds.FloatType) -> str:
    match kind:
        case kinds.IntType(ge=int()):
            return f"a whole number from {kind.ge} to {kind.le}"
        case kinds.FloatType(gt=float() as low, lt=None):
            return f"a number above {exact(low)}"
        case kinds.FloatType(gt=float() as low, lt=float() | int() as high):
            return f"a number between {exact(low)} and {exact(high)}, such as 0.95"
        case kinds.FloatType(ge=float() | int() as low, le=float() | int() as high):
            return f"a number from {exact(low)} to {exact(high)}"
    return "a number"


def _words(kind: kinds.Type) -> str:
    match kind:
        case kinds.StrType():
            return _text_words(kind)
        case kinds.IntType() | kinds.FloatType():
            return _number_words(kind)
        case kinds.BoolType():
            return "true or false"
        case kinds.EnumType() | kinds.LiteralType():
            return ", ".join(_choices(kind))
        case kinds.ListType() | kinds.DictType():
            name, inner = ("list", "item") if isinstance(kind, kinds.ListType) else ("mapping", "key")
            return f"a {name} of at least one {inner}" if kind.min_length else f"a {name}"
        case kinds.StructType():
            return "a mapping"
        case kinds.UnionType():
            return " or ".join(dict.fromkeys(_words(one) for one in kind.types))
        case _:
            raise AssertionError(kind)  # a kind that no section has


def _text_words(kind: kinds.StrType) -> str:
    if kind.pattern is not None:
        return "a small letter or digit, then up to 63 small letters, digits and . _ -"
    return f"a text of 1 to {kind.max_length} characters" if kind.max_length is not None else "a text"


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, and on one line."""
    if isinstance(value, (dict, list)):
        name = "mapping" if isinstance(value, dict) else "list"
        return f"a {name}" if value else f"an empty {name}"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
