"""``driftline.yaml``: read strictly, every mistake named with file, line and key. The only reader of configuration.

The ``*Section`` structs are the file's table of keys: what they do not have is an error, and the JSON Schema of
``driftline schema`` is made from them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import msgspec
from msgspec import Meta
from msgspec import inspect as kinds

from driftline.errors import UsageError, did_you_mean
from driftline.events import MISSING_TEXTS, Task, WindowSpec, class_name, parse_duration
from driftline.profiles import Columns
from driftline.profiles.times import checked_time_format
from driftline.retrain.policy import Policy
from driftline.rules import Rule, Severity
from driftline.rules.topic import WINDOW_MEASURES, rests_on_labels
from driftline.service.hosts import host_problem
from driftline.service.limits import Limits, LimitsSection
from driftline.service.retrain_sections import (
    RUNNERS,
    RetrainConfig,
    RetrainSection,
    RunSection,
    TellSection,
    parse_bytes,
)
from driftline.service.strict_yaml import Key, Reader, SourceFile, check, shown
from driftline.statistics import Floors
from driftline.statistics.paired import CLASSIFICATION as PAIRED_CLASSIFICATION
from driftline.statistics.paired import REGRESSION as PAIRED_REGRESSION
from driftline.statistics.performance import CLASSIFICATION, REGRESSION

_Value = TypeVar("_Value")

FILE_LIMIT_BYTES = 2**20
_FROM_ENVIRONMENT = "env:"
_SHORTEST_REPEAT = timedelta(minutes=1)
_LONGEST = timedelta(days=36_600)  # a century: longer ones are typing errors, and leave the calendar

Season = Literal["yearly"]
"""``yearly``: inputs are compared with the reference's rows of the same and the neighbouring calendar months."""

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, Meta(min_length=1)]
Short = Annotated[str, Meta(min_length=1, max_length=100)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Above0 = Annotated[float, Meta(gt=0.0)]
_FLOORS = Floors()
_LEAST_COVERAGE = 0.5

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
    segments: list[Text] = []
    missing: list[str | int | float] | None = None
    time_format: Text | None = None
    categorical: list[Text] | None = None
    cluster: Text | None = None


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
    clear: float | None = None
    keep_firing_for: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    min_coverage: Annotated[float, Meta(ge=0, le=1)] = _LEAST_COVERAGE


class FloorsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is a trifle and what is chance, when columns are compared; see `Floors`."""

    js: Above0 = _FLOORS.js
    wasserstein: Above0 = _FLOORS.wasserstein
    missing: Above0 = _FLOORS.missing
    missing_factor: Above0 = _FLOORS.missing_factor
    unseen: Above0 = _FLOORS.unseen
    chance: Above0 = _FLOORS.chance
    rows: Count = _FLOORS.rows


class AlertsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When to alert."""

    floors: FloorsSection = FloorsSection()
    stale_after: Short | None = None
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
    retrain: RetrainSection | None = None


class EmailSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"sender": "from"}):
    """A mail server and whom it writes to."""

    host: Text
    sender: Text
    to: Annotated[list[Text], Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    username: Text | None = None
    password: Text | None = None
    security: Literal["none", "starttls", "tls"] = "starttls"


RECEIVERS = ("webhook", "alertmanager", "slack", "teams", "pagerduty", "email", "apprise")
"""The kinds of receivers: an entry of ``notify`` has exactly one of these keys."""

_HOLDING = ("alertmanager", "pagerduty")
"""Receivers that hold alerts which go on, and call people for them."""

_ONE_RECEIVER = {"oneOf": [{"required": [kind]} for kind in RECEIVERS]}


class NotifySection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One receiver of alerts: where, and which alerts it wants."""

    webhook: Text | None = None
    alertmanager: Text | None = None
    slack: Text | None = None
    teams: Text | None = None
    pagerduty: Text | None = None
    email: EmailSection | None = None
    apprise: Text | None = None
    secret: Text | None = None
    url: Text | None = None
    name: Name | None = None
    severity: Annotated[list[Severity], Meta(min_length=1)] = msgspec.field(default_factory=lambda: list(Severity))
    models: list[Text] = []
    repeat: Short | None = None
    digest: bool | None = None


class PrometheusSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What Prometheus gets."""

    max_series: Annotated[int, Meta(ge=100, le=10_000_000)] = 10_000
    remote_write: Text | None = None


class FileSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    models: Annotated[dict[Name, ModelSection], Meta(min_length=1)]
    notify: list[Annotated[NotifySection, Meta(extra_json_schema=_ONE_RECEIVER)]] = []
    prometheus: PrometheusSection = PrometheusSection()
    limits: LimitsSection = LimitsSection()
    url: Text | None = None
    hosts: list[Text] = []
    registry: Text | None = None
    storage: Text = "./driftline-data"
    database: Text | None = None


NOT_YET: Mapping[type, tuple[str, ...]] = {
    ReferenceSection: ("first", "rolling"),
    AlertsSection: ("budget",),
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
    floors: Floors = field(default_factory=Floors)
    stale_after: timedelta | None = None
    retrain: RetrainConfig | None = None


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """One receiver, of a kind in `RECEIVERS`. Secrets stand as they were written; see `secret`.

    ``digest`` says whether it hears of alerts that were over when they were first seen.
    """

    name: str
    kind: str
    section: NotifySection
    severity: tuple[Severity, ...]
    models: tuple[str, ...]
    repeat: timedelta | None
    digest: bool = True


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; paths are absolute or relative to the working directory, no longer to the file.

    ``url`` is where people reach this service, for links; empty where it was not said. ``hosts`` are the names under
    which it may be asked besides that and loopback. ``registry`` is the address of an MLflow, None for a folder in the
    storage.
    """

    models: Mapping[str, ModelConfig]
    notify: tuple[NotifyConfig, ...]
    storage: Path
    database: str
    prometheus: PrometheusSection
    url: str
    registry: str | None = None
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def at(self, folder: Path) -> Config:
        """The same, with events and state in another folder."""
        return replace(self, storage=folder, database=_sqlite(folder / "state.db"))


def load(path: Path) -> Config:
    """Read a configuration file; raise `ConfigError` for whatever is wrong with it."""
    file = SourceFile(path)
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


def quiet_mlflow() -> None:
    """Have MLflow's client report to nobody, and give up soon on a server that is away; before it is imported."""
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }


def environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ


def secret(text: str) -> str:
    """What a text stands for: ``env:NAME`` for the variable of that name, any other for itself."""
    if not text.startswith(_FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(_FROM_ENVIRONMENT)
    if not (value := os.environ.get(name)):
        raise UsageError(f"driftline.yaml asks for {text!r}, but the environment has no {name}; set it")
    return value


def parse(text: str, path: Path) -> Config:
    """Read a configuration from text; ``path`` is for messages, and its folder for relative paths."""
    file = SourceFile(path)
    plain = Reader(file, _class_name_at).read(text)
    check(file, plain, kinds.type_info(FileSection), to_come=_TO_COME)
    return _Builder(file).build(msgspec.convert(plain, FileSection))


def _class_name_at(key: Key, value: Any) -> str | None:
    """The keys of a mapping of scores are classes: ``true`` and ``1.0`` are the class 1."""
    return class_name(value) if key[-2:] == ("columns", "score") and isinstance(value, (bool, float)) else None


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
            raise UsageError(f"{shown(part)} has a `?`, at which the address of the database would end; rename it")
    return f"sqlite:///{file}"


# ---- sections to checked values ----------------------------------------------------------------------------


class _Builder:
    """Builds the checked configuration; a value that does not fit is named with its line and key."""

    def __init__(self, file: SourceFile) -> None:
        self._file, self._folder = file, file.path.parent

    def build(self, section: FileSection) -> Config:
        storage = self._storage(section.storage)
        return Config(
            models={name: self._model(("models", name), one) for name, one in section.models.items()},
            notify=self._receivers(section.notify),
            storage=storage,
            database=self._database(section.database, storage),
            prometheus=self._prometheus(section.prometheus),
            url="" if section.url is None else self._address(("url",), section.url).rstrip("/"),
            registry=None if section.registry is None else self._address(("registry",), section.registry),
            hosts=tuple(self._host(("hosts", str(index)), one) for index, one in enumerate(section.hosts)),
            limits=self._limits(("limits",), section.limits),
        )

    def _host(self, key: Key, name: str) -> str:
        if problem := host_problem(name):
            raise self._file.error(key, f"came {shown(name)}; {problem}")
        return name.lower()

    def _limits(self, key: Key, section: LimitsSection) -> Limits:
        return Limits(
            body_bytes=self._checked((*key, "body"), lambda: parse_bytes(section.body)),
            unpacked_bytes=self._checked((*key, "unpacked"), lambda: parse_bytes(section.unpacked)),
            rows=section.rows,
            header_time=self._time_limit((*key, "header_time"), section.header_time),
            body_time=self._time_limit((*key, "body_time"), section.body_time),
            connections=section.connections,
        )

    def _time_limit(self, key: Key, text: str) -> timedelta:
        if not (limit := self._duration(key, text)):
            raise self._file.error(key, f"came {shown(text)}; allowed is a time longer than nothing, such as '10s'")
        return limit

    def _model(self, key: Key, section: ModelSection) -> ModelConfig:
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
            floors=self._checked(
                (*key, "alerts", "floors"), lambda: Floors(**msgspec.structs.asdict(section.alerts.floors))
            ),
            stale_after=self._optional_duration((*key, "alerts", "stale_after"), section.alerts.stale_after),
            retrain=self._retrain((*key, "retrain"), section, section.retrain) if section.retrain is not None else None,
        )

    def _retrain(self, key: Key, model: ModelSection, section: RetrainSection) -> RetrainConfig:
        known = [rule.name for rule in model.alerts.rules]
        for index, name in enumerate(section.when.alerts):
            if name not in known:
                reason = f"{shown(name)} is not a rule of this model; its rules: {', '.join(known) or 'none'}."
                raise self._file.error((*key, "when", "alerts", str(index)), reason + did_you_mean(name, known))
        measure = section.gates.measure
        measures = PAIRED_REGRESSION if model.task is Task.REGRESSION else PAIRED_CLASSIFICATION
        if measure is not None and model.task is not None and measure not in measures:
            reason = f"{shown(measure)} is not a measure of a {model.task} model; known: {', '.join(measures)}."
            raise self._file.error((*key, "gates", "measure"), reason + did_you_mean(measure, measures))
        if section.gates.margin is not None and section.gates.improvement is not None:
            reason = (
                "came with `improvement`; a challenger is either not worse by a margin, or better by an improvement"
            )
            raise self._file.error((*key, "gates", "margin"), reason)
        policy = Policy(
            alerts=tuple(section.when.alerts),
            every=self._optional_duration((*key, "when", "every"), section.when.every),
            new_labels=section.when.new_labels,
            cooldown=self._duration((*key, "cooldown"), section.cooldown),
            most_a_day=section.most_a_day,
            least_labels=section.least_labels,
        )
        run = self._runner((*key, "run"), section.run)
        return RetrainConfig(
            policy=policy,
            run=run,
            time_limit=self._duration((*key, "run", "time_limit"), run.most_time),
            memory_bytes=self._checked((*key, "run", "memory"), lambda: parse_bytes(run.memory)),
            train_on=self._duration((*key, "train_on"), section.train_on),
            evaluate_on=self._duration((*key, "evaluate_on"), section.evaluate_on),
            auto=section.approval == "auto",
            gates=section.gates,
            bake=self._duration((*key, "bake"), section.bake),
            bake_windows=section.bake_windows,
            tell=self._tell((*key, "tell"), section.tell),
            folder=self._folder,
        )

    def _tell(self, key: Key, section: TellSection | None) -> TellSection | None:
        if section is not None:
            self._address((*key, "url"), section.url)
        return section

    def _runner(self, key: Key, section: RunSection) -> RunSection:
        given = [kind for kind in RUNNERS if getattr(section, kind) is not None]
        if len(given) != 1:
            came = " and ".join(given) or "none"
            raise self._file.error(key, f"came {came} of {', '.join(RUNNERS)}; a runner is exactly one of them")
        [kind] = given
        if isinstance(address := getattr(getattr(section, kind), "url", None), str):
            self._address((*key, kind, "url"), address)
        return section

    def _columns(self, key: Key, section: ColumnsSection, task: Task | None) -> Columns:
        if section.score is not None and task is Task.REGRESSION:
            raise self._file.error((*key, "score"), "came for a regression model, which has none; leave it out")
        if isinstance(section.score, str) and task is Task.MULTICLASS:
            reason = "came as one column; a multiclass model takes a mapping, such as {rain: p_rain, sun: p_sun}"
            raise self._file.error((*key, "score"), reason)
        parts: dict[str, Key] = {}
        for part in ("id", "time", "version", "prediction", "score", "label", "features"):
            for column, at in _named(getattr(section, part), (*key, part)):
                if column in parts:
                    other = ".".join(parts[column][len(key) :])
                    raise self._file.error(at, f"the column {shown(column)} is also {other}; it plays one part")
                parts[column] = at
        return Columns(
            id=section.id,
            time=section.time,
            version=section.version,
            prediction=section.prediction,
            score=section.score,
            label=section.label,
            features=None if section.features is None else tuple(section.features),
            segments=tuple(section.segments),
            missing=MISSING_TEXTS if section.missing is None else tuple(map(class_name, section.missing)),
            time_format=self._checked((*key, "time_format"), lambda: checked_time_format(section.time_format)),
            categorical=self._codes((*key, "categorical"), section, parts),
            cluster=self._cluster((*key, "cluster"), section, parts),
        )

    def _cluster(self, key: Key, section: ColumnsSection, parts: Mapping[str, Key]) -> str | None:
        column = section.cluster
        if column is None:
            return None
        at = parts.get(column)
        if at is not None and "features" not in at:
            raise self._file.error(key, f"the column {shown(column)} is also {at[-1]}; what rows share is an input")
        if section.features is not None and column not in section.features:
            reason = f"{shown(column)} is not one of `features`; what rows share is an input."
            raise self._file.error(key, reason + did_you_mean(column, section.features))
        return column

    def _codes(self, key: Key, section: ColumnsSection, parts: Mapping[str, Key]) -> tuple[str, ...] | None:
        for index, column in enumerate(section.categorical or ()):
            at = parts.get(column)
            if at is not None and "features" not in at:
                reason = f"the column {shown(column)} is also {at[-1]}; codes are inputs"
                raise self._file.error((*key, str(index)), reason)
            if section.features is not None and column not in section.features:
                reason = f"{shown(column)} is not one of `features`; codes are inputs."
                raise self._file.error((*key, str(index)), reason + did_you_mean(column, section.features))
        return None if section.categorical is None else tuple(dict.fromkeys(section.categorical))

    def _window(self, key: Key, section: ModelSection) -> WindowSpec:
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

    def _labels(self, key: Key, section: LabelsSection) -> LabelsConfig:
        expected = self._duration((*key, "expected_within"), section.expected_within)
        accepted = self._duration((*key, "accepted_for"), section.accepted_for)
        if accepted < expected:
            reason = (
                f"labels are expected within {section.expected_within}, but taken for {section.accepted_for} only; "
                "accepted_for is at least expected_within"
            )
            raise self._file.error(key, reason)
        return LabelsConfig(expected, accepted)

    def _duration(self, key: Key, text: str) -> timedelta:
        duration = self._checked(key, lambda: parse_duration(text))
        if duration > _LONGEST:
            raise self._file.error(key, f"came {text!r}; allowed are at most 100 years (36600d)")
        return duration

    def _optional_duration(self, key: Key, text: str | None) -> timedelta | None:
        return None if text is None else self._duration(key, text)

    def _rules(self, key: Key, sections: Iterable[RuleSection], task: Task | None) -> tuple[Rule, ...]:
        found: list[Rule] = []
        for index, section in enumerate(sections):
            at = (*key, str(index))
            if not section.name.isprintable() or section.name != section.name.strip():
                reason = f"came {shown(section.name)}; allowed is a text that can be seen, without spaces around it"
                raise self._file.error((*at, "name"), reason)
            if section.name in [rule.name for rule in found]:
                raise self._file.error((*at, "name"), f"{shown(section.name)} came before; name it apart")
            found.append(self._rule(at, section, task))
        return tuple(found)

    def _rule(self, key: Key, section: RuleSection, task: Task | None) -> Rule:
        known = (
            *(CLASSIFICATION if task is not Task.REGRESSION else ()),
            *(REGRESSION if task in (None, Task.REGRESSION) else ()),
            *WINDOW_MEASURES,
        )
        if section.measure not in known:
            of = f" of a {task} model" if task is not None else ""
            reason = f"{shown(section.measure)} is not a measure{of}; known: {', '.join(known)}."
            raise self._file.error((*key, "measure"), reason + did_you_mean(section.measure, known))
        values = {name: getattr(section, name) for name in section.__struct_fields__}
        if section.min_coverage != _LEAST_COVERAGE and not rests_on_labels(section.measure):
            reason = f"is for rules on performance and on label_drift; {section.measure} needs no labels, leave it out"
            raise self._file.error((*key, "min_coverage"), reason)
        return self._checked(key, lambda: Rule(**values))

    def _receivers(self, sections: Iterable[NotifySection]) -> tuple[NotifyConfig, ...]:
        found: list[NotifyConfig] = []
        for index, section in enumerate(sections):
            one = self._receiver(("notify", str(index)), section, index + 1)
            if one.name in [other.name for other in found]:
                reason = f"{shown(one.name)} is the name of two receivers; give one of them another `name`"
                raise self._file.error(("notify", str(index)), reason)
            found.append(one)
        return tuple(found)

    def _receiver(self, key: Key, section: NotifySection, number: int) -> NotifyConfig:
        given = [kind for kind in RECEIVERS if getattr(section, kind) is not None]
        if len(given) != 1:
            came = " and ".join(given) or "none"
            raise self._file.error(key, f"came {came} of {', '.join(RECEIVERS)}; a receiver is exactly one of them")
        [kind] = given
        for extra, owner in (("secret", "webhook"), ("url", "pagerduty")):
            if getattr(section, extra) is not None and kind != owner:
                raise self._file.error((*key, extra), f"is for {owner} only; leave it out")
        if kind in ("webhook", "alertmanager", "slack", "teams"):
            self._address((*key, kind), getattr(section, kind))
        if section.url is not None:
            self._address((*key, "url"), section.url)
        repeat = self._optional_duration((*key, "repeat"), section.repeat)
        if repeat is not None and kind == "alertmanager":
            raise self._file.error((*key, "repeat"), "Alertmanager repeats by its own `repeat_interval`; leave it out")
        if repeat is not None and repeat < _SHORTEST_REPEAT:
            raise self._file.error((*key, "repeat"), f"came {shown(section.repeat)}; allowed is 1min or more")
        if section.digest and kind in _HOLDING:
            reason = f"{kind} is for what goes on; what is over goes to other receivers, leave it out"
            raise self._file.error((*key, "digest"), reason)
        digest = kind not in _HOLDING if section.digest is None else section.digest
        name = section.name or f"{kind}-{number}"
        return NotifyConfig(name, kind, section, tuple(section.severity), tuple(section.models), repeat, digest)

    def _prometheus(self, section: PrometheusSection) -> PrometheusSection:
        if section.remote_write is not None:
            self._address(("prometheus", "remote_write"), section.remote_write)
        return section

    def _address(self, key: Key, text: str) -> str:
        # An address may hold a secret: messages do not repeat it.
        if text.startswith(_FROM_ENVIRONMENT):
            return text
        try:
            address = urlsplit(text)
            good = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        except ValueError:
            good = False
        if not good or any(sign.isspace() or not sign.isprintable() for sign in text):
            reason = "is not an http(s) address; write one such as https://example.com/hook"
            raise self._file.error(key, reason)
        return text

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
                ("database",), f"{shown(scheme)} is not available in this release; allowed is sqlite:///FILE"
            )
        if not name or name == ":memory:" or "?" in name:
            raise self._file.error(("database",), "sqlite:/// is followed by the name of a file, without options")
        local = self._local(("database",), name)
        return self._checked(("database",), lambda: _sqlite(self._folder / local))

    def _local(self, key: Key, path: str) -> str:
        """A path as it stands: no address of another machine, and nothing that a shell would have replaced."""
        if "://" in path:
            scheme = path.partition("://")[0]
            raise self._file.error(key, f"{shown(scheme)} is not available in this release; allowed is a local path")
        if path.startswith("~") or "${" in path:
            raise self._file.error(key, f"came {shown(path)}; neither `~` nor `${{…}}` is replaced; write the path out")
        return path

    def _checked(self, key: Key, make: Callable[[], _Value]) -> _Value:
        try:
            return make()
        except UsageError as error:
            raise self._file.error(key, str(error)) from error


def _named(value: str | Mapping[str, str] | list[str] | None, key: Key) -> list[tuple[str, Key]]:
    """The columns that a key of `ColumnsSection` names, each with its own key."""
    if isinstance(value, Mapping):
        return [(column, (*key, name)) for name, column in value.items()]
    if isinstance(value, list):
        return [(column, (*key, str(index))) for index, column in enumerate(value)]
    return [] if value is None else [(value, key)]
