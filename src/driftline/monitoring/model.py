"""One monitored model as the service holds it: its configuration, schema, reference and event log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl
from msgspec import structs

from driftline.errors import ConfigError, DataError, UnknownNameError, UsageError
from driftline.events import Schema, Task
from driftline.monitoring.budget import reference_windows, rule_of
from driftline.monitoring.detecting import detector_fingerprint, detector_row
from driftline.monitoring.hiding import opened
from driftline.monitoring.no_ordinary_days import require_flag
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.segments import with_segments
from driftline.monitoring.setup import ModelSetup
from driftline.profiles import Reference, canonical, infer_schema
from driftline.profiles.by_window import in_calendar
from driftline.profiles.reading import read_as_served
from driftline.rules import Rule
from driftline.rules.backtest import BUDGET
from driftline.rules.rule import difference
from driftline.rules.topic import Topic, feature_measure, topic_of
from driftline.sketches import decode, encode
from driftline.sources.files import whole
from driftline.sources.profiled import is_profiles
from driftline.sources.rows import head_rows
from driftline.statistics.drift import EffectThresholds
from driftline.store.blobs import Blobs, place_of
from driftline.store.log import EventLog, log_of
from driftline.store.models import ModelRow
from driftline.store.state import State, Work
from driftline.store.windows import KNOWN_WINDOWS


@dataclass(frozen=True, slots=True)
class MonitoredModel(ModelSetup):
    """A model with all that is needed to process its events and to judge its windows."""

    log: EventLog
    rebuild: bool
    """Whether what the profiles depend on has changed since they were stored: they must come from the log anew."""

    rule_changes: Mapping[str, str] = field(default_factory=dict)
    """By rule, in words, how the configuration has changed since its windows were judged; of all that must be again."""

    behind: bool = False
    """Whether the log is newer than the state, which must recall what it knows from there; see `agreement`."""


def open_models(
    configs: Mapping[str, ModelConfig], storage: Path | Blobs, state: State, *, to_work: bool = True
) -> dict[str, MonitoredModel]:
    """Open all models, whose logs lie in ``storage``; only to look at them unless ``to_work``.

    A `ConfigError` names every model whose reference cannot be used, and why, in one line.
    """
    opened: dict[str, MonitoredModel] = {}
    wrong: list[str] = []
    for name, one in configs.items():
        try:
            opened[name] = (open_model if to_work else look_at_model)(one, storage, state.of(name))
        except (DataError, UsageError) as error:
            said = str(error)
            wrong.append(said if isinstance(error, ConfigError) else f"models.{name}.reference: {said}")
    if wrong:
        raise ConfigError("; ".join(wrong))
    return opened


def look_at_model(config: ModelConfig, storage: Path | Blobs, state: State) -> MonitoredModel:
    """Open a model that another process may work on: nothing is stored, and its log is only read."""
    with state.read() as read:
        stored = read.models.get(config.name)
    if stored is not None and stored.fingerprint == fingerprint_of(config):
        schema, reference = decode(stored.schema, Schema), decode(stored.reference, Reference)
    else:
        schema, reference, _ = read_reference(config)
    _require_features(config, schema)
    log = EventLog(log_of(place_of(storage), config.name), schema, writer=False)
    return MonitoredModel(config, schema, reference, log, rebuild=False)


def open_model(config: ModelConfig, storage: Path | Blobs, state: State) -> MonitoredModel:
    """Read or recall the reference, store what is new, and open the log, to be written under the lease of the state.

    The reference profile is computed once: again only when its file or what it depends on has changed.
    """
    fingerprint, rules = fingerprint_of(config), _rules(config)
    with state.read() as read:
        stored, counted = read.models.get(config.name), (KNOWN_WINDOWS, "") in read.counters.of(config.name)
        detector = read.detections.detector(config.name)
    learnt = detector_fingerprint(config, fingerprint)
    learns = config.budget is not None and (detector is None or detector.fingerprint != learnt)
    rows: pl.DataFrame | None = None
    reread = False
    if stored is not None and stored.fingerprint == fingerprint and not learns:
        schema, reference = decode(stored.schema, Schema), decode(stored.reference, Reference)
        reread = bool(schema.segments) and not reference.segments.columns  # of a release that kept none of it
    if stored is None or stored.fingerprint != fingerprint or learns or reread:
        schema, reference, rows = read_reference(config)
    _require_features(config, schema)
    rebuild = stored is not None and stored.fingerprint != fingerprint
    if stored is not None and reread:
        with state.work() as work:
            work.models.put(replace(stored, reference=encode(reference)))
    if stored is None or rebuild or stored.rules != rules:
        with state.work() as work:
            work.models.put(
                ModelRow(
                    model=config.name,
                    fingerprint=fingerprint if not rebuild else b"",  # known as done only after the rebuild
                    rules=rules if stored is None else stored.rules,  # known as done once they have judged
                    schema=encode(schema),
                    reference=encode(reference),
                    watermark=stored.watermark if stored is not None else None,
                    latency=stored.latency if stored is not None else None,
                    last_arrival=stored.last_arrival if stored is not None else None,
                    log_marks=stored.log_marks if stored is not None else msgspec.msgpack.encode({}),
                )
            )
            built_in = [] if config.budget is None else [BUDGET]
            work.judgements.retire_others(config.name, [*(rule.name for rule in config.rules), *built_in])
            work.windows.unsettle_all(config.name, since=_measurable(config, work))
    if learns and rows is not None and config.budget is not None:
        setup = ModelSetup(config, schema, reference)
        learnt_first = detector_row(setup, config.budget, reference_windows(setup, rows), learnt)
        with state.work() as work:
            work.detections.put_detector(learnt_first)
            work.windows.unsettle_all(config.name, since=_measurable(config, work))
    elif config.budget is None and detector is not None:
        with state.work() as work:
            work.detections.drop(config.name)
    if not counted:  # new, or of a release that counted them each time
        with state.work() as work:
            work.windows.recount(config.name)
    token = None if state.fence is None else state.fence.token
    log = EventLog(log_of(place_of(storage), config.name), schema, token=token)
    log.take_over()
    return MonitoredModel(config, schema, reference, log, rebuild, _rule_changes(config, stored))


def _measurable(config: ModelConfig, work: Work) -> datetime | None:
    """Return since when windows can be judged again by all measures: those of one's own need events; None for all."""
    cut = work.retention.cut(config.name) if config.measures else None
    return None if cut is None else cut.before


def _require_features(config: ModelConfig, schema: Schema) -> None:
    """Refuse rules on features that the reference does not have."""
    for index, rule in enumerate(config.rules):
        _, feature = feature_measure(rule.measure) or ("", "")
        if feature and feature not in schema.features:
            key = f"models.{config.name}.alerts.rules.{index}.measure"
            raise ConfigError(str(UnknownNameError("feature", feature, schema.features)), key=key)


def remember_fingerprint(model: MonitoredModel, state: State) -> None:
    """Say that the stored profiles are those of the present reference and windows."""
    with state.work() as work:
        stored = work.models.get(model.name)
        assert stored is not None  # open_model stores it
        work.models.put(replace(stored, fingerprint=fingerprint_of(model.config)))


def remember_rules(model: MonitoredModel, state: State) -> MonitoredModel:
    """Say that the present rules have judged all windows; return the model without changes of them."""
    rules = _rules(model.config)
    with state.read() as read:
        stored = read.models.get(model.name)
    if stored is not None and stored.rules != rules:
        with state.work() as work:
            stored = work.models.get(model.name)
            assert stored is not None  # it was there
            work.models.put(replace(stored, rules=rules))
    return replace(model, rule_changes={})


def forget_rules(model: str, work: Work) -> None:
    """Have all windows judged again when a model that is configured no longer comes back."""
    stored = work.models.get(model)
    if stored is not None and stored.rules:
        work.models.put(replace(stored, rules=b""))


class _JudgedBy(msgspec.Struct, array_like=True, frozen=True):
    """What windows are judged by, as it is stored; earlier releases had no budget."""

    rules: tuple[Rule, ...] = ()
    floors: EffectThresholds = EffectThresholds()
    budget: str = ""
    budget_rule: Rule | None = None


def _judged_by(config: ModelConfig) -> _JudgedBy:
    if config.budget is None:
        return _JudgedBy(config.rules, config.floors)
    return _JudgedBy(config.rules, config.floors, str(config.budget), rule_of(config))


def _rules(config: ModelConfig) -> bytes:
    return msgspec.json.encode(_judged_by(config))


def _rule_changes(config: ModelConfig, stored: ModelRow | None) -> dict[str, str]:
    """In words, by rule. Rules of an earlier release are not known, nor is then what has changed."""
    if stored is None or stored.rules == _rules(config):
        return {}
    now = _judged_by(config)
    rules = (*now.rules, *([] if now.budget_rule is None else [now.budget_rule]))
    try:
        before = msgspec.json.decode(stored.rules or b"[[], {}]", type=_JudgedBy)
    except (msgspec.MsgspecError, UsageError):
        return dict.fromkeys((rule.name for rule in rules), "")
    old = {rule.name: rule for rule in (*before.rules, *([] if before.budget_rule is None else [before.budget_rule]))}
    found = dict[str, str]()
    for rule in rules:
        if rule.name not in old:
            found[rule.name] = "the rule is configured again"
        elif changed := difference(old[rule.name], rule):
            found[rule.name] = f"the rule was changed: {changed}"
        elif rule.name == BUDGET and before.budget != now.budget:
            found[rule.name] = f"the budget was changed: {before.budget} → {now.budget}"
        elif before.floors != now.floors and topic_of(rule.measure) is Topic.DRIFT:
            found[rule.name] = "what counts as drift was changed"
    return found or dict.fromkeys((rule.name for rule in rules), "")


def read_reference(config: ModelConfig) -> tuple[Schema, Reference, pl.DataFrame]:
    """Read a model's reference: the schema of its rows, what they look like, and the rows themselves, canonical.

    Raises `DataError` and `ConfigError` for a reference that shows nothing.
    """
    columns = config.columns
    if is_profiles(config.reference):
        raise DataError(f"{config.reference} is a table of profiles; a reference is a file of the rows themselves")
    rows = rows_as_served(config.reference, config)
    if not rows.height:
        raise DataError(f"{config.reference} has no rows; a reference shows what is usual")
    looked_at = head_rows(rows.width)
    schema = infer_schema(rows, columns, task=config.task, positive=config.positive, looked_at=looked_at)
    if schema.task is not Task.REGRESSION and len(schema.classes) < 2 and columns.label is not None:
        raise ConfigError(
            f"the reference {config.reference} has fewer than two classes in {columns.label!r}; "
            "a classifier's reference shows each class",
            key=f"models.{config.name}.reference",
        )
    if columns.cluster is not None:
        if columns.cluster not in schema.features:
            raise UnknownNameError("feature", columns.cluster, schema.features)
        schema = structs.replace(schema, cluster=columns.cluster)
    if config.calendar_column:
        require_flag(config.name, config.calendar_column, schema)
    season_timezone = config.window.timezone if config.season == "yearly" else None
    known = canonical(rows, columns, schema)
    if "time" in known.columns:
        known = known.with_columns(in_calendar(known["time"]))
    reference = Reference.of(known, schema, season_timezone=season_timezone)
    schema = with_segments(schema, config, rows, known)
    return schema, reference.with_segments(known, schema) if schema.segments else reference, known


def rows_as_served(path: str | Path, config: ModelConfig) -> pl.DataFrame:
    """Read all rows of a model's file so that they are like the events; errors as of `open_rows`."""
    rows = opened(path, config)
    return read_as_served(whole(rows), config.columns, typed=rows.typed)


def fingerprint_of(config: ModelConfig) -> bytes:
    """Return what tells the reference as it is now, and how it is read, from others.

    Raises `DataError` for one that is not there.
    """
    parts: tuple[object, ...] = (
        config.columns,
        config.task,
        config.positive,
        config.window,
        "yearly" if config.season == "yearly" else None,  # the others are the detector's own
        _digest_of_file(config.reference),
    )
    if config.columns.segments:  # earlier releases left them out of the profiles
        parts = (*parts, "segments")
    if config.store:  # under another key, equal values are others
        parts = (*parts, "store", sorted(config.store.items()), config.key.shown("the key itself"))
    return _digest(repr(parts).encode())


def _digest_of_file(path: Path) -> bytes:
    """Return the digest of a reference, or a `DataError` that says why there is none."""
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise DataError(f"{path} is no file; a model's reference is one file of rows")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; a path that is not absolute begins at the configuration's") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
