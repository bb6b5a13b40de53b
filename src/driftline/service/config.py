"""``driftline.yaml``: read strictly, every mistake named with file, line and key. The only reader of configuration.

The ``*Section`` structs are the file's table of keys: what they do not have is an error, and the JSON Schema of
``driftline schema`` is made from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml

from driftline.errors import ConfigError, UsageError, did_you_mean
from driftline.events import Task, WindowSpec, parse_duration
from driftline.profiles import Columns
from driftline.rules import Rule, Severity

_Value = TypeVar("_Value")

FILE_LIMIT_BYTES = 2**20
_NODE_LIMIT = 100_000  # aliases may multiply nodes without end
_DEPTH_LIMIT = 20

CLASSIFICATION_MEASURES = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")
REGRESSION_MEASURES = ("mae", "rmse", "r2")
COMMON_MEASURES = ("label_coverage",)
MEASURES = (*CLASSIFICATION_MEASURES, *REGRESSION_MEASURES, *COMMON_MEASURES)

NOT_YET = ("budget", "retrain", "segments", "alertmanager", "slack", "first", "rolling")
"""Keys of the design that this release does not have."""

Season = Literal["yearly"]
"""``yearly``: inputs are compared with the reference's rows of the same and the neighbouring calendar months."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class ColumnsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which column of the reference plays which part."""

    id: str | None = None
    time: str | None = None
    version: str | None = None
    prediction: str | None = None
    score: str | dict[str, str] | None = None
    label: str | None = None
    features: list[str] | None = None


class LabelsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How late labels come."""

    expected_within: str = "7d"
    accepted_for: str = "90d"


class ReferenceSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the reference rows are, and whether inputs are compared with the same time of year only."""

    path: str
    season: Season | None = None


class RuleSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"for_windows": "for"}):
    """One alert rule."""

    name: str
    measure: str
    below: float | None = None
    above: float | None = None
    for_windows: int = 1
    severity: Severity = Severity.WARNING
    confidence: float = 0.95
    min_samples: int = 1


class AlertsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When to alert."""

    rules: list[RuleSection] = []


class ModelSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One model."""

    reference: ReferenceSection
    task: Task | None = None
    columns: ColumnsSection = ColumnsSection()
    positive: str | int | bool | None = None
    window: str = "1d"
    timezone: str = "UTC"
    labels: LabelsSection = LabelsSection()
    alerts: AlertsSection = AlertsSection()


class NotifySection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One receiver of alerts."""

    webhook: str
    severity: list[Severity] = msgspec.field(default_factory=lambda: list(Severity))


class FileSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    models: dict[Name, ModelSection]
    notify: list[NotifySection] = []
    storage: str = "./driftline-data"
    database: str | None = None


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
        return replace(self, storage=folder, database=_sqlite(folder))


def load(path: Path) -> Config:
    """Read a configuration file; raise `ConfigError` for whatever is wrong with it."""
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT_BYTES:
            raise ConfigError(f"the file has {size} bytes; allowed are {FILE_LIMIT_BYTES}", path=path)
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise ConfigError("there is no such file; write one, or name it with --config", path=path) from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", path=path) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8: byte {error.start} is wrong", path=path) from error
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Read a configuration from text; ``path`` is for messages, and its folder for relative paths."""
    lines: dict[tuple[str, ...], int] = {}
    plain = _Reader(path, lines).read(text)
    try:
        section = msgspec.convert(plain, FileSection)
    except msgspec.ValidationError as error:
        raise _translated(error, plain, path, lines) from None
    return _Builder(path, lines).build(section)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(FileSection)}


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'state.db'}"


# ---- YAML to plain values, remembering lines ------------------------------------------------------------------------


class _Reader:
    """Walks YAML nodes: duplicate keys and endless aliases are mistakes, and each key's line is kept."""

    def __init__(self, path: Path, lines: dict[tuple[str, ...], int]) -> None:
        self._path, self._lines, self._nodes = path, lines, 0

    def read(self, text: str) -> dict[str, Any]:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                raise ConfigError("the file is not a mapping; it starts with `models:`", path=self._path, line=1)
            found: dict[str, Any] = self._plain(loader, root, ())
            return found
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            raise ConfigError(f"this is not YAML: {error.problem}", path=self._path, line=line) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"this is not YAML: {error}", path=self._path) from error
        finally:
            loader.dispose()

    def _plain(self, loader: yaml.SafeLoader, node: yaml.Node, key: tuple[str, ...]) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > _NODE_LIMIT or len(key) > _DEPTH_LIMIT:
            raise ConfigError("the file is nested too deeply or repeats itself", path=self._path, line=line)
        self._lines.setdefault(key, line)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(loader, item, (*key, str(index))) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            value = loader.construct_object(node)
            return value if isinstance(value, (str, int, float, bool, type(None))) else node.value
        found: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            at = name_node.start_mark.line + 1
            if name in found:
                raise ConfigError("the key came before", path=self._path, line=at, key=".".join((*key, name)))
            self._lines[*key, name] = at
            found[name] = self._plain(loader, value_node, (*key, name))
        return found


# ---- msgspec's complaints in our words ------------------------------------------------------------------------------

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_AT = re.compile(r" - at `(?:key in )?\$?([^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")


def _translated(
    error: msgspec.ValidationError, plain: Any, path: Path, lines: Mapping[tuple[str, ...], int]
) -> ConfigError:
    text = str(error)
    at = _AT.search(text)
    steps = [name or index for name, index in _STEP.findall(at[1])] if at else []
    reason = _AT.sub("", text)
    for key in _candidates(plain, steps):
        if found := _UNKNOWN.search(reason):
            full = (*key, found[1])
            if full in lines:
                return ConfigError(_unknown(found[1], key), path=path, line=lines[full], key=".".join(full))
        elif found := _MISSING.search(reason):
            if found[1] not in (_at(plain, key) or {}):
                words = f"the key {found[1]!r} is missing"
                return ConfigError(words, path=path, line=lines.get(key), key=".".join(key))
        elif _fails(plain, key, reason):
            return ConfigError(reason, path=path, line=lines.get(key), key=".".join(key))
    return ConfigError(reason, path=path)


def _candidates(plain: Any, steps: list[str]) -> list[tuple[str, ...]]:
    """The keys that msgspec's path may mean: it writes ``[...]`` for any name in a mapping."""
    found: list[tuple[str, ...]] = [()]
    for step in steps:
        if step == "...":
            found = [(*key, name) for key in found for name in (_at(plain, key) or {})]
        else:
            found = [(*key, step) for key in found]
    return found


def _at(plain: Any, key: tuple[str, ...]) -> Any:
    for step in key:
        plain = plain[int(step)] if isinstance(plain, list) else plain.get(step) if isinstance(plain, dict) else None
    return plain


def _fails(plain: Any, key: tuple[str, ...], reason: str) -> bool:
    """Whether the value at a key is of the type that the complaint says it got."""
    got = re.search(r"got `(\w+)`", reason)
    names = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None), "array": list, "object": dict}
    value = _at(plain, key)
    return got is None or got[1] not in names or type(value) is names[got[1]]


def _unknown(name: str, parent: tuple[str, ...]) -> str:
    if name in NOT_YET:
        return "is not available in this release"
    known = _known_keys(parent)
    return f"is not a known key; known: {', '.join(known)}.{did_you_mean(name, known)}"


def _known_keys(parent: tuple[str, ...]) -> list[str]:
    section: type[msgspec.Struct] = FileSection
    inner: dict[str, type[msgspec.Struct]] = {
        "columns": ColumnsSection,
        "labels": LabelsSection,
        "reference": ReferenceSection,
        "alerts": AlertsSection,
        "rules": RuleSection,
        "notify": NotifySection,
    }
    for index, step in enumerate(parent):
        section = ModelSection if index == 1 and parent[0] == "models" else inner.get(step, section)
    return list(section.__struct_encode_fields__)


# ---- sections to checked values -------------------------------------------------------------------------------------


class _Builder:
    """Builds the checked configuration; a value that does not fit is named with its line and key."""

    def __init__(self, path: Path, lines: Mapping[tuple[str, ...], int]) -> None:
        self._path, self._lines = path, lines

    def build(self, section: FileSection) -> Config:
        if not section.models:
            raise self._error(("models",), "no model came; name at least one")
        for name, one in section.models.items():
            if one.reference.season is not None and one.columns.time is None:
                raise self._error(
                    ("models", name, "reference", "season"), "a season needs `columns: {time: …}` to know the months"
                )
        storage = self._folder(section.storage)
        return Config(
            models={name: self._model(name, one) for name, one in section.models.items()},
            notify=tuple(self._notify(index, one) for index, one in enumerate(section.notify)),
            storage=storage,
            database=self._database(section.database, storage),
        )

    def _model(self, name: str, section: ModelSection) -> ModelConfig:
        key = ("models", name)
        columns = section.columns
        window = self._checked((*key, "window"), lambda: WindowSpec(section.window))
        window = self._checked((*key, "timezone"), lambda: replace(window, timezone=section.timezone))
        names = [rule.name for rule in section.alerts.rules]
        for index, rule in enumerate(names):
            if rule in names[:index]:
                raise self._error((*key, "alerts", "rules", str(index), "name"), f"{rule!r} came before; name it apart")
        return ModelConfig(
            name=name,
            task=section.task,
            columns=Columns(
                id=columns.id,
                time=columns.time,
                version=columns.version,
                prediction=columns.prediction,
                score=columns.score,
                label=columns.label,
                features=tuple(columns.features) if columns.features is not None else None,
            ),
            positive=None if section.positive is None else str(section.positive),
            window=window,
            labels=LabelsConfig(
                expected_within=self._checked(
                    (*key, "labels", "expected_within"), lambda: parse_duration(section.labels.expected_within)
                ),
                accepted_for=self._checked(
                    (*key, "labels", "accepted_for"), lambda: parse_duration(section.labels.accepted_for)
                ),
            ),
            reference=self._path.parent / section.reference.path,
            season=section.reference.season,
            rules=tuple(
                self._rule((*key, "alerts", "rules", str(index)), rule, section.task)
                for index, rule in enumerate(section.alerts.rules)
            ),
        )

    def _rule(self, key: tuple[str, ...], section: RuleSection, task: Task | None) -> Rule:
        known = MEASURES
        if task is not None:
            of_task = REGRESSION_MEASURES if task is Task.REGRESSION else CLASSIFICATION_MEASURES
            known = (*of_task, *COMMON_MEASURES)
        if section.measure not in known:
            reason = f"{section.measure!r} is not a measure; known: {', '.join(known)}."
            raise self._error((*key, "measure"), reason + did_you_mean(section.measure, known))
        return self._checked(
            key,
            lambda: Rule(
                name=section.name,
                measure=section.measure,
                below=section.below,
                above=section.above,
                for_windows=section.for_windows,
                severity=section.severity,
                confidence=section.confidence,
                min_samples=section.min_samples,
            ),
        )

    def _notify(self, index: int, section: NotifySection) -> NotifyConfig:
        if not section.webhook.startswith(("http://", "https://")):
            raise self._error(("notify", str(index), "webhook"), f"{section.webhook!r} is not an http(s) address")
        return NotifyConfig(section.webhook, tuple(section.severity))

    def _folder(self, storage: str) -> Path:
        if "://" in storage:
            raise self._error(("storage",), f"{storage!r}: only a folder is available in this release")
        return self._path.parent / storage

    def _database(self, database: str | None, storage: Path) -> str:
        if database is None:
            return _sqlite(storage)
        if not database.startswith("sqlite:///"):
            raise self._error(("database",), f"{database!r}: only sqlite:///FILE is available in this release")
        return f"sqlite:///{self._path.parent / database.removeprefix('sqlite:///')}"

    def _checked(self, key: tuple[str, ...], make: Callable[[], _Value]) -> _Value:
        try:
            return make()
        except UsageError as error:
            raise self._error(key, str(error)) from error

    def _error(self, key: tuple[str, ...], reason: str) -> ConfigError:
        line = next((self._lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self._lines), None)
        return ConfigError(reason, path=self._path, line=line, key=".".join(key))
