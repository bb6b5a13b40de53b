"""``driftline.yaml``: read strictly, every mistake named with file, line and key. The only reader of configuration.

The ``*Section`` structs are the file's table of keys: what they do not have is an error, and the JSON Schema of
``driftline schema`` is made from them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import msgspec
import yaml
from msgspec import Meta
from msgspec import inspect as kinds

from driftline.errors import ConfigError, UsageError, did_you_mean
from driftline.events import Task, WindowSpec, class_name, parse_duration
from driftline.profiles import Columns
from driftline.rules import Rule, Severity
from driftline.statistics.performance import CLASSIFICATION, REGRESSION

_Value = TypeVar("_Value")
_Key = tuple[str, ...]

FILE_LIMIT_BYTES = 2**20
_NODE_LIMIT = 100_000  # aliases may multiply nodes without end
_DEPTH_LIMIT = 20
_TOO_DEEP = "the file is nested too deeply, or repeats itself by aliases"
_LONGEST = timedelta(days=36_600)  # a century: longer ones are typing errors, and leave the calendar

COMMON_MEASURES = ("label_coverage",)

Season = Literal["yearly"]
"""``yearly``: inputs are compared with the reference's rows of the same and the neighbouring calendar months."""

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, Meta(min_length=1)]
Short = Annotated[str, Meta(min_length=1, max_length=100)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]

_ONE_THRESHOLD = {
    "oneOf": [{"required": [side], "properties": {side: {"type": "number"}}} for side in ("below", "above")]
}


class ColumnsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which column of the reference plays which part; features are by default all columns that play no other part."""

    id: Text | None = None
    time: Text | None = None
    version: Text | None = None
    prediction: Text | None = None
    score: Text | Annotated[dict[str, Text], Meta(min_length=1)] | None = None
    label: Text | None = None
    features: list[Text] | None = None


class LabelsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How long a window waits for its last labels, and how late a label is still taken."""

    expected_within: Short = "7d"
    accepted_for: Short = "90d"


class ReferenceSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the reference rows are, and whether inputs are compared with the same time of year only."""

    path: Text
    season: Season | None = None


class RuleSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"for_windows": "for"}):
    """One alert rule: a measure, and a threshold on exactly one side of it."""

    name: Short
    measure: Short
    below: float | None = None
    above: float | None = None
    for_windows: Count = 1
    severity: Severity = Severity.WARNING
    confidence: Annotated[float, Meta(gt=0.5, lt=1)] = 0.95
    min_samples: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1


class AlertsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When to alert."""

    rules: list[Annotated[RuleSection, Meta(extra_json_schema=_ONE_THRESHOLD)]] = []


class ModelSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One model."""

    reference: ReferenceSection
    task: Task | None = None
    columns: ColumnsSection = ColumnsSection()
    positive: Text | int | float | bool | None = None
    window: Short = "1d"
    timezone: Short = "UTC"
    labels: LabelsSection = LabelsSection()
    alerts: AlertsSection = AlertsSection()


class NotifySection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One receiver of alerts."""

    webhook: Text
    severity: Annotated[list[Severity], Meta(min_length=1)] = msgspec.field(default_factory=lambda: list(Severity))


class FileSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    models: Annotated[dict[Name, ModelSection], Meta(min_length=1)]
    notify: list[NotifySection] = []
    storage: Text = "./driftline-data"
    database: Text | None = None


NOT_YET: Mapping[type, tuple[str, ...]] = {
    ModelSection: ("retrain",),
    ColumnsSection: ("segments",),
    ReferenceSection: ("first", "rolling"),
    AlertsSection: ("budget",),
    NotifySection: ("alertmanager", "slack"),
}
"""Keys of the design that this release does not have, by the section that they will stand in."""

_TO_COME = frozenset(name for names in NOT_YET.values() for name in names)


@dataclass(frozen=True, slots=True)
class LabelsConfig:
    """How long a window waits for its last labels, and how late a label is still taken."""

    expected_within: timedelta
    accepted_for: timedelta


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model, checked."""

    name: str
    task: Task | None
    columns: Columns
    positive: str | None
    window: WindowSpec
    labels: LabelsConfig
    reference: Path
    season: Season | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """One receiver: the address of a webhook and the severities that it wants."""

    webhook: str
    severity: tuple[Severity, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; paths are absolute or relative to the working directory, no longer to the file."""

    models: Mapping[str, ModelConfig]
    notify: tuple[NotifyConfig, ...]
    storage: Path
    database: str

    def at(self, folder: Path) -> Config:
        """The same, with events and state in another folder."""
        return replace(self, storage=folder, database=_sqlite(folder / "state.db"))


def load(path: Path) -> Config:
    """Read a configuration file; raise `ConfigError` for whatever is wrong with it."""
    file = _File(path)
    try:
        with path.open("rb") as opened:
            data = opened.read(FILE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise file.error((), "there is no such file; write one, or name it with --config") from None
    except OSError as error:
        raise file.error((), f"the file cannot be read: {error.strerror}") from error
    if len(data) > FILE_LIMIT_BYTES:
        raise file.error((), f"the file has more than {FILE_LIMIT_BYTES} bytes, the most that is allowed")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"the byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        raise file.error((), reason, line) from error
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Read a configuration from text; ``path`` is for messages, and its folder for relative paths."""
    file = _File(path)
    plain = _Reader(file).read(text)
    _check(file, plain, kinds.type_info(FileSection), ())
    return _Builder(file).build(msgspec.convert(plain, FileSection))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file: whatever `parse` takes, it takes."""
    schema = _without_null(msgspec.json.schema(FileSection))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "driftline.yaml", **schema}


def _without_null(schema: Any) -> Any:
    """An optional key is left out, not empty: take ``null`` out of a schema."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    found = {key: _without_null(value) for key, value in schema.items() if value is not None}
    if len(found.get("anyOf", ())) == 1:
        found |= found.pop("anyOf")[0]
    return found


def _sqlite(file: Path) -> str:
    for part in file.parts:
        if "?" in part:
            raise UsageError(f"{_shown(part)} has a `?`, at which the address of the database would end; rename it")
    return f"sqlite:///{file}"


@dataclass(frozen=True, slots=True)
class _File:
    """The file that is read, and the line of each of its keys."""

    path: Path
    lines: dict[_Key, int] = field(default_factory=dict)

    def error(self, key: _Key, reason: str, line: int | None = None) -> ConfigError:
        """What to raise for a mistake at a key; the line is that of the nearest known key around it."""
        if line is None:
            line = next((self.lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self.lines), None)
        steps = (step if step.isprintable() and len(step) <= 64 else _shown(step) for step in key)
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


class _Reader:
    """Walks YAML nodes: duplicate keys and endless aliases are mistakes, and each key's line is kept."""

    def __init__(self, file: _File) -> None:
        self._file, self._nodes = file, 0

    def read(self, text: str) -> dict[str, Any]:
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

    def _plain(self, node: yaml.Node, key: _Key) -> Any:
        self._nodes += 1
        if self._nodes > _NODE_LIMIT or len(key) > _DEPTH_LIMIT:
            raise self._file.error((), _TOO_DEEP, _line(node))
        self._file.lines.setdefault(key, _line(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            raise self._file.error(key, f"the tag {_shown(node.tag)} is not taken; leave it out", _line(node))
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

    def _name(self, node: yaml.Node, key: _Key) -> str:
        """A key is the text that stands there; as the name of a class ``true`` and ``1.0`` are spelled as it is."""
        if not isinstance(node, yaml.ScalarNode):
            raise self._file.error(key, "a list or mapping came as a key; a key is a text", _line(node))
        value = self._scalar(node, key)
        is_class = key[-2:] == ("columns", "score") and isinstance(value, (bool, float))
        return class_name(value) if is_class else str(node.value)

    def _scalar(self, node: yaml.ScalarNode, key: _Key) -> Any:
        name = node.tag.removeprefix(_TAG)
        if name not in _SCALARS:
            raise self._file.error(key, f"the tag {_shown(node.tag)} is not taken; leave it out", _line(node))
        try:
            node.value.encode()
            pattern, make = _SCALARS[name]
            if "\0" in node.value or not re.fullmatch(pattern, node.value, re.DOTALL):
                raise ValueError
            return make(node.value)
        except ValueError:
            words = {"int": "number", "float": "number", "bool": "truth value", "null": "null"}.get(name, "text")
            raise self._file.error(
                key, f"{_shown(node.value)} is not a {words} that can be taken", _line(node)
            ) from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


# ---- plain values against the table of keys ----------------------------------------------------------------


def _check(file: _File, value: Any, kind: kinds.Type, key: _Key, known: kinds.Field | None = None) -> None:
    """Raise for the first value that is not what the table of keys says; ``known`` is the row of a known key."""
    kind = _alternative(value, kind)
    if not _fits(value, kind):
        raise file.error(key, _misfit(value, kind, known))
    if isinstance(kind, kinds.StructType):
        _check_names(file, value, kind, key)
        for one in kind.fields:
            if one.encode_name in value:
                _check(file, value[one.encode_name], one.type, (*key, one.encode_name), one)
    elif isinstance(kind, kinds.DictType):
        for name, inner in value.items():
            if not _fits(name, kind.key_type):
                raise file.error((*key, name), f"a name is {_words(kind.key_type)}; rename it")
            _check(file, inner, kind.value_type, (*key, name))
    elif isinstance(kind, kinds.ListType):
        for index, inner in enumerate(value):
            _check(file, inner, kind.item_type, (*key, str(index)))


def _alternative(value: Any, kind: kinds.Type) -> kinds.Type:
    """Of a union the member that fits, without what annotates it; a union of nothing but null and one other is that."""
    if isinstance(kind, kinds.Metadata):
        return _alternative(value, kind.type)
    if not isinstance(kind, kinds.UnionType):
        return kind
    members = tuple(_alternative(value, one) for one in kind.types if not isinstance(one, kinds.NoneType))
    fitting = [one for one in members if _fits(value, one)]
    return (fitting or [members[0] if len(members) == 1 else kinds.UnionType(members)])[0]


def _check_names(file: _File, value: Mapping[str, Any], kind: kinds.StructType, key: _Key) -> None:
    known = [one.encode_name for one in kind.fields]
    for name in value:
        if name not in known and name in _TO_COME:
            raise file.error((*key, name), "is not available in this release; leave it out")
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
    came, hint = "empty" if value is None else _shown(value), ""
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


def _words(kind: kinds.Type) -> str:
    match kind:
        case kinds.StrType():
            return _text_words(kind)
        case kinds.IntType(ge=int()):
            return f"a whole number from {kind.ge} to {kind.le}"
        case kinds.FloatType(gt=float()):
            return f"a number between {kind.gt:g} and {kind.lt:g}, such as 0.95"
        case kinds.IntType() | kinds.FloatType():
            return "a number"
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


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        name = "mapping" if isinstance(value, dict) else "list"
        return f"a {name}" if value else f"an empty {name}"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---- sections to checked values ----------------------------------------------------------------------------


class _Builder:
    """Builds the checked configuration; a value that does not fit is named with its line and key."""

    def __init__(self, file: _File) -> None:
        self._file, self._folder = file, file.path.parent

    def build(self, section: FileSection) -> Config:
        storage = self._storage(section.storage)
        return Config(
            models={name: self._model(("models", name), one) for name, one in section.models.items()},
            notify=tuple(self._notify(("notify", str(index)), one) for index, one in enumerate(section.notify)),
            storage=storage,
            database=self._database(section.database, storage),
        )

    def _model(self, key: _Key, section: ModelSection) -> ModelConfig:
        if section.positive is not None and section.task not in (None, Task.BINARY):
            raise self._file.error((*key, "positive"), f"came for a {section.task} model; only binary has one")
        if section.reference.season is not None and section.columns.time is None:
            reason = "a season needs `columns: {time: …}` to know the months"
            raise self._file.error((*key, "reference", "season"), reason)
        return ModelConfig(
            name=key[-1],
            task=section.task,
            columns=self._columns((*key, "columns"), section.columns, section.task),
            positive=None if section.positive is None else class_name(section.positive),
            window=self._window(key, section),
            labels=self._labels((*key, "labels"), section.labels),
            reference=self._folder / self._local((*key, "reference", "path"), section.reference.path),
            season=section.reference.season,
            rules=self._rules((*key, "alerts", "rules"), section.alerts.rules, section.task),
        )

    def _columns(self, key: _Key, section: ColumnsSection, task: Task | None) -> Columns:
        if section.score is not None and task is Task.REGRESSION:
            raise self._file.error((*key, "score"), "came for a regression model, which has none; leave it out")
        if isinstance(section.score, str) and task is Task.MULTICLASS:
            reason = "came as one column; a multiclass model takes a mapping, such as {rain: p_rain, sun: p_sun}"
            raise self._file.error((*key, "score"), reason)
        parts: dict[str, _Key] = {}
        for part in ("id", "time", "version", "prediction", "score", "label", "features"):
            for column, at in _named(getattr(section, part), (*key, part)):
                if column in parts:
                    other = ".".join(parts[column][len(key) :])
                    raise self._file.error(at, f"the column {_shown(column)} is also {other}; it plays one part")
                parts[column] = at
        return Columns(
            id=section.id,
            time=section.time,
            version=section.version,
            prediction=section.prediction,
            score=section.score,
            label=section.label,
            features=None if section.features is None else tuple(section.features),
        )

    def _window(self, key: _Key, section: ModelSection) -> WindowSpec:
        at = (*key, "window")
        window = self._checked(at, lambda: WindowSpec(section.window))
        try:
            one = window.window_of(datetime(2000, 1, 1, tzinfo=UTC))
            too_long = one.end - one.start > _LONGEST
        except (ValueError, OverflowError):
            too_long = True
        if too_long:
            raise self._file.error(at, f"came {section.window!r}; allowed is a window of at most 100 years")
        try:
            return replace(window, timezone=section.timezone)
        except UsageError as error:
            hint = did_you_mean(section.timezone, available_timezones())
            raise self._file.error((*key, "timezone"), str(error) + ("." + hint if hint else "")) from error

    def _labels(self, key: _Key, section: LabelsSection) -> LabelsConfig:
        expected = self._duration((*key, "expected_within"), section.expected_within)
        accepted = self._duration((*key, "accepted_for"), section.accepted_for)
        if accepted < expected:
            reason = (
                f"labels are expected within {section.expected_within}, but taken for {section.accepted_for} only; "
                "accepted_for is at least expected_within"
            )
            raise self._file.error(key, reason)
        return LabelsConfig(expected, accepted)

    def _duration(self, key: _Key, text: str) -> timedelta:
        duration = self._checked(key, lambda: parse_duration(text))
        if duration > _LONGEST:
            raise self._file.error(key, f"came {text!r}; allowed are at most 100 years (36600d)")
        return duration

    def _rules(self, key: _Key, sections: Iterable[RuleSection], task: Task | None) -> tuple[Rule, ...]:
        found: list[Rule] = []
        for index, section in enumerate(sections):
            at = (*key, str(index))
            if not section.name.isprintable() or section.name != section.name.strip():
                reason = f"came {_shown(section.name)}; allowed is a text that can be seen, without spaces around it"
                raise self._file.error((*at, "name"), reason)
            if section.name in [rule.name for rule in found]:
                raise self._file.error((*at, "name"), f"{_shown(section.name)} came before; name it apart")
            found.append(self._rule(at, section, task))
        return tuple(found)

    def _rule(self, key: _Key, section: RuleSection, task: Task | None) -> Rule:
        known = (
            *(CLASSIFICATION if task is not Task.REGRESSION else ()),
            *(REGRESSION if task in (None, Task.REGRESSION) else ()),
            *COMMON_MEASURES,
        )
        if section.measure not in known:
            of = f" of a {task} model" if task is not None else ""
            reason = f"{_shown(section.measure)} is not a measure{of}; known: {', '.join(known)}."
            raise self._file.error((*key, "measure"), reason + did_you_mean(section.measure, known))
        values = {name: getattr(section, name) for name in section.__struct_fields__}
        return self._checked(key, lambda: Rule(**values))

    def _notify(self, key: _Key, section: NotifySection) -> NotifyConfig:
        # An address may hold a secret: messages do not repeat it.
        try:
            address = urlsplit(section.webhook)
            good = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        except ValueError:
            good = False
        if not good or any(sign.isspace() or not sign.isprintable() for sign in section.webhook):
            reason = "is not an http(s) address; write one such as https://example.com/hook"
            raise self._file.error((*key, "webhook"), reason)
        return NotifyConfig(section.webhook, tuple(section.severity))

    def _storage(self, storage: str) -> Path:
        return self._folder / self._local(("storage",), storage)

    def _database(self, database: str | None, storage: Path) -> str:
        if database is None:
            return self._checked(("storage",), lambda: _sqlite(storage / "state.db"))
        # An address may hold a password: messages do not repeat it.
        scheme, found, name = database.partition(":///")
        if scheme != "sqlite" or not found:
            scheme = database.partition(":")[0] if "://" in database else "another database"
            raise self._file.error(
                ("database",), f"{_shown(scheme)} is not available in this release; allowed is sqlite:///FILE"
            )
        if not name or name == ":memory:" or "?" in name:
            raise self._file.error(("database",), "sqlite:/// is followed by the name of a file, without options")
        local = self._local(("database",), name)
        return self._checked(("database",), lambda: _sqlite(self._folder / local))

    def _local(self, key: _Key, path: str) -> str:
        """A path as it stands: no address of another machine, and nothing that a shell would have replaced."""
        if "://" in path:
            scheme = path.partition("://")[0]
            raise self._file.error(key, f"{_shown(scheme)} is not available in this release; allowed is a local path")
        if path.startswith("~") or "${" in path:
            raise self._file.error(
                key, f"came {_shown(path)}; neither `~` nor `${{…}}` is replaced; write the path out"
            )
        return path

    def _checked(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        try:
            return make()
        except UsageError as error:
            raise self._file.error(key, str(error)) from error


def _named(value: str | Mapping[str, str] | list[str] | None, key: _Key) -> list[tuple[str, _Key]]:
    """The columns that a key of `ColumnsSection` names, each with its own key."""
    if isinstance(value, Mapping):
        return [(column, (*key, name)) for name, column in value.items()]
    if isinstance(value, list):
        return [(column, (*key, str(index))) for index, column in enumerate(value)]
    return [] if value is None else [(value, key)]
