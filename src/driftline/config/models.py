"""From the section of a model to its checked options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import msgspec
from msgspec import structs

from driftline.config.calendar import read_calendar
from driftline.config.checking import LONGEST, Checker
from driftline.config.schema import ModelSection
from driftline.config.strict_yaml import Key, shown
from driftline.detection import LEAST_WINDOWS, Cadence, Settings
from driftline.errors import UsageError, did_you_mean
from driftline.events import MISSING_TEXTS, Segment, Task, Window, WindowSpec, class_name
from driftline.monitoring.options import (
    LEAST_COVERAGE,
    LONGEST_LINK,
    Budget,
    CalendarSection,
    ColumnsSection,
    LabelsConfig,
    LabelsSection,
    MaintenanceSection,
    ModelConfig,
    RuleSection,
)
from driftline.net.addresses import is_address
from driftline.profiles import Columns
from driftline.profiles.times import checked_time_format
from driftline.rules import Rule
from driftline.rules.backtest import BUDGET
from driftline.rules.rule import MEASURE_NAME
from driftline.rules.topic import OF_FEATURES, feature_measure, rests_on_labels
from driftline.sources.functions import is_file
from driftline.statistics import EffectThresholds
from driftline.statistics.catalogue import CATALOGUE, rule_measures
from driftline.text.durations import length


def model_of(check: Checker, key: Key, section: ModelSection) -> ModelConfig:
    """Check what is said of one model, whose name the key ends with."""
    if section.positive is not None and section.task not in (None, Task.BINARY):
        raise check.error((*key, "positive"), f"came for a {section.task} model; only binary has one")
    if section.reference.season == "yearly" and section.columns.time is None:
        reason = "a season needs `columns: {time: …}` to know the months"
        raise check.error((*key, "reference", "season"), reason)
    window = _window(check, key, section)
    return ModelConfig(
        name=key[-1],
        task=section.task,
        team="" if section.team is None else _word(check, (*key, "team"), section.team),
        tags=_tags(check, (*key, "tags"), section.tags),
        docs="" if section.docs is None else _link(check, (*key, "docs"), section.docs),
        columns=_columns(check, (*key, "columns"), section.columns, section.task),
        store={
            column: _stored(check, (*key, "columns", "store", column), how)
            for column, how in section.columns.store.items()
        },
        positive=None if section.positive is None else class_name(section.positive),
        window=window,
        labels=_labels(check, (*key, "labels"), section.labels),
        reference=check.folder / check.local((*key, "reference", "path"), section.reference.path),
        season=section.reference.season,
        reference_first=_learnt_time(check, (*key, "reference", "first"), section, section.reference.first),
        reference_rolling=_rolling(check, (*key, "reference", "rolling"), section),
        calendar=_calendar(check, (*key, "calendar"), section.calendar),
        calendar_column=_calendar_column(check, (*key, "calendar", "column"), section),
        maintenance=tuple(
            _maintenance(check, (*key, "maintenance", str(index)), one) for index, one in enumerate(section.maintenance)
        ),
        measures=_own_measures(check, (*key, "measures"), section.measures),
        rules=_rules(check, (*key, "alerts", "rules"), section),
        floors=check.checked(
            (*key, "alerts", "floors"), lambda: EffectThresholds(**msgspec.structs.asdict(section.alerts.floors))
        ),
        budget=check.checked((*key, "alerts", "budget"), lambda: Budget.parse(section.alerts.budget)),
        budget_severity=section.alerts.severity,
        stale_after=check.optional_duration((*key, "alerts", "stale_after"), section.alerts.stale_after),
    )


def _word(check: Checker, key: Key, text: str) -> str:
    """Return a word that people choose from a list."""
    if not text.isprintable() or text != text.strip():
        reason = f"came {shown(text)}; allowed is a text that can be seen, without spaces around it"
        raise check.error(key, reason)
    return text


def _link(check: Checker, key: Key, text: str) -> str:
    """Return an address that everybody who is told of the model may open."""
    if not is_address(text) or len(text) > LONGEST_LINK:
        reason = f"is no http(s) address of at most {LONGEST_LINK} signs"
        raise check.error(key, f"{reason}; write one such as https://wiki.example.com/churn")
    if "@" in urlsplit(text).netloc:  # the message does not repeat it
        raise check.error(key, "has a user or a password, and everybody sees it; leave out what stands before the @")
    return text


def _tags(check: Checker, key: Key, tags: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for index, tag in enumerate(tags):
        at = (*key, str(index))
        if _word(check, at, tag) in found:
            raise check.error(at, f"{shown(tag)} came before; each tag stands once")
        found.append(tag)
    return tuple(found)


def _learnt_time(check: Checker, key: Key, section: ModelSection, text: str | None) -> timedelta | None:
    if text is None:
        return None
    time, window = check.duration(key, text), _judged_length(section)
    if time < LEAST_WINDOWS * window:
        least = length(LEAST_WINDOWS * window)
        reason = f"at least {LEAST_WINDOWS} windows of a day or longer are learnt from, here {least}"
        raise check.error(key, f"came {shown(text)}; {reason}")
    return time


def _rolling(check: Checker, key: Key, section: ModelSection) -> timedelta | None:
    rolling, window = _learnt_time(check, key, section, section.reference.rolling), _judged_length(section)
    if rolling is not None and rolling > Settings().most_windows * window:
        most = length(Settings().most_windows * window)
        reason = f"at most {Settings().most_windows} windows of a day or longer are learnt from, here {most}"
        raise check.error(key, f"came {shown(section.reference.rolling or '')}; {reason}")
    return rolling


def _judged_length(section: ModelSection) -> timedelta:
    """How long a window is that the detector judges: a day, where the model's own are shorter."""
    return max(Cadence(WindowSpec(section.window)).length, timedelta(days=1))


def _calendar(check: Checker, key: Key, path: str | CalendarSection | None) -> frozenset[date]:
    if not isinstance(path, str):
        return frozenset()
    return check.checked(key, lambda: read_calendar(check.folder / check.local(key, path)))


def _calendar_column(check: Checker, key: Key, section: ModelSection) -> str:
    if not isinstance(section.calendar, CalendarSection):
        return ""
    column, features = section.calendar.column, section.columns.features
    if features is not None and column not in features:
        reason = f"{shown(column)} is not one of `features`; what says which days are no ordinary ones is an input."
        raise check.error(key, reason + did_you_mean(column, features))
    return column


def _maintenance(check: Checker, key: Key, section: MaintenanceSection) -> Window:
    start, end = (_moment(check, (*key, name), getattr(section, name)) for name in ("start", "end"))
    if end <= start:
        raise check.error((*key, "end"), f"came {shown(section.end)}, not after the start {shown(section.start)}")
    return Window(start, end)


def _moment(check: Checker, key: Key, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise check.error(key, f"came {shown(text)}; allowed is a moment such as 2026-01-03T06:00Z") from None
    if moment.tzinfo is None:
        raise check.error(key, f"came {shown(text)} without a time zone; add one, such as 'Z' for UTC")
    return moment.astimezone(UTC)


def _columns(check: Checker, key: Key, section: ColumnsSection, task: Task | None) -> Columns:
    if section.score is not None and task is Task.REGRESSION:
        raise check.error((*key, "score"), "came for a regression model, which has none; leave it out")
    if isinstance(section.score, str) and task is Task.MULTICLASS:
        reason = "came as one column; a multiclass model takes a mapping, such as {rain: p_rain, sun: p_sun}"
        raise check.error((*key, "score"), reason)
    parts: dict[str, Key] = {}
    for part in ("id", "time", "version", "prediction", "score", "label", "features"):
        for column, at in _named(getattr(section, part), (*key, part)):
            if column in parts:
                other = ".".join(parts[column][len(key) :])
                raise check.error(at, f"the column {shown(column)} is also {other}; it plays one part")
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
        ignore=_left_out(check, (*key, "store"), section, parts),
        missing=MISSING_TEXTS if section.missing is None else tuple(map(class_name, section.missing)),
        time_format=check.checked((*key, "time_format"), lambda: checked_time_format(section.time_format)),
        categorical=_codes(check, (*key, "categorical"), section, parts),
        cluster=_cluster(check, (*key, "cluster"), section, parts),
    )


def _left_out(check: Checker, key: Key, section: ColumnsSection, parts: Mapping[str, Key]) -> tuple[str, ...]:
    """Return the columns that are not stored at all; what is judged is stored, though it may be hashed."""
    inputs = {*section.segments, *(section.categorical or ()), section.cluster}
    for column, how in section.store.items():
        is_left_out = _stored(check, (*key, column), how) == "no"
        part = parts[column][len(key) - 1] if column in parts else "segments" if column in inputs else ""
        if part in ("time", "version", "prediction", "score", "label"):
            reason = f"{shown(column)} is the {part}, which is judged; inputs, segments and the id may be hashed"
            raise check.error((*key, column), reason)
        if is_left_out and part:
            reason = f"{shown(column)} is named among `{part}`; hash it, or leave it out there"
            raise check.error((*key, column), reason)
    return tuple(column for column, how in section.store.items() if how != "hash")


def _stored(check: Checker, key: Key, how: str | bool) -> str:
    """Return how a column is stored; ``no`` may have been read as false."""
    if how is True:
        raise check.error(key, "came true; allowed is hash, no")
    return "no" if how is False else how


def _cluster(check: Checker, key: Key, section: ColumnsSection, parts: Mapping[str, Key]) -> str | None:
    column = section.cluster
    if column is None:
        return None
    at = parts.get(column)
    if at is not None and "features" not in at:
        raise check.error(key, f"the column {shown(column)} is also {at[-1]}; what rows share is an input")
    if section.features is not None and column not in section.features:
        reason = f"{shown(column)} is not one of `features`; what rows share is an input."
        raise check.error(key, reason + did_you_mean(column, section.features))
    return column


def _codes(check: Checker, key: Key, section: ColumnsSection, parts: Mapping[str, Key]) -> tuple[str, ...] | None:
    for index, column in enumerate(section.categorical or ()):
        at = parts.get(column)
        if at is not None and "features" not in at:
            reason = f"the column {shown(column)} is also {at[-1]}; codes are inputs"
            raise check.error((*key, str(index)), reason)
        if section.features is not None and column not in (*section.features, *section.segments):
            reason = f"{shown(column)} is not one of `features`; codes are inputs."
            raise check.error((*key, str(index)), reason + did_you_mean(column, section.features))
    return None if section.categorical is None else tuple(dict.fromkeys(section.categorical))


def _window(check: Checker, key: Key, section: ModelSection) -> WindowSpec:
    at = (*key, "window")
    window = check.checked(at, lambda: WindowSpec(section.window))
    try:
        one = window.window_of(datetime(2000, 1, 1, tzinfo=UTC))
        too_long = one.end - one.start > LONGEST
    except (ValueError, OverflowError):
        too_long = True
    if too_long:
        raise check.error(at, f"came {section.window!r}; allowed is a window of at most 100 years")
    try:
        return structs.replace(window, timezone=section.timezone)
    except UsageError as error:
        hint = did_you_mean(section.timezone, available_timezones())
        raise check.error((*key, "timezone"), str(error) + ("." + hint if hint else "")) from error


def _labels(check: Checker, key: Key, section: LabelsSection) -> LabelsConfig:
    expected = check.duration((*key, "expected_within"), section.expected_within)
    accepted = check.duration((*key, "accepted_for"), section.accepted_for)
    if accepted < expected:
        reason = (
            f"labels are expected within {section.expected_within}, but taken for {section.accepted_for} only; "
            "accepted_for is at least expected_within"
        )
        raise check.error(key, reason)
    return LabelsConfig(expected, accepted)


def _rules(check: Checker, key: Key, model: ModelSection) -> tuple[Rule, ...]:
    found: list[Rule] = []
    for index, section in enumerate(model.alerts.rules):
        at = (*key, str(index))
        if _word(check, (*at, "name"), section.name) == BUDGET:
            raise check.error(
                (*at, "name"), f"{BUDGET!r} is what the detector's alerts are called; name yours otherwise"
            )
        if section.name in [rule.name for rule in found]:
            raise check.error((*at, "name"), f"{shown(section.name)} came before; name it apart")
        _check_measure(check, (*at, "measure"), section.measure, model)
        found.append(_rule(check, at, section, model))
    return tuple(found)


def _own_measures(check: Checker, key: Key, measures: Mapping[str, str]) -> dict[str, str]:
    """Return the functions by name, their files beside the configuration."""
    found = {}
    for name, text in measures.items():
        if not MEASURE_NAME.fullmatch(name) or "." in name:
            raise check.error((*key, name), "is no name of a measure; it has letters, digits and _, such as 'cost'")
        if name in CATALOGUE:
            raise check.error((*key, name), f"{shown(name)} is a measure already; give yours another name")
        place, colon, function = text.rpartition(":")
        if not (colon and place and function):
            reason = f"came {shown(text)}; allowed is FILE.py:FUNCTION or MODULE:FUNCTION, such as 'measures.py:cost'"
            raise check.error((*key, name), reason)
        found[name] = f"{check.folder / check.local((*key, name), place)}:{function}" if is_file(place) else text
    return found


def _check_measure(check: Checker, key: Key, measure: str, model: ModelSection) -> None:
    task, features = model.task, model.columns.features
    known = (*rule_measures(task), *model.measures)
    _, feature = feature_measure(measure) or ("", "")
    if not feature and measure not in known:
        of = f" of a {task} model" if task is not None else ""
        listed = (*known, *(f"{kind}.FEATURE" for kind in OF_FEATURES))
        reason = f"{shown(measure)} is not a measure{of}; known: {', '.join(listed)}."
        raise check.error(key, reason + did_you_mean(measure, known))
    if feature and features is not None and feature not in features:
        reason = f"{shown(feature)} is not one of `features`: {', '.join(features)}."
        raise check.error(key, reason + did_you_mean(feature, features))


def _rule(check: Checker, key: Key, section: RuleSection, model: ModelSection) -> Rule:
    values = {name: getattr(section, name) for name in section.__struct_fields__}
    if section.min_coverage != LEAST_COVERAGE and not rests_on_labels(section.measure):
        reason = f"is for rules on performance and on label_drift; {section.measure} needs no labels, leave it out"
        raise check.error((*key, "min_coverage"), reason)
    for part, default in (("segment", "none"), ("version", "all")):
        if section.measure in model.measures and getattr(section, part) != default:
            reason = f"came for {section.measure}, a measure of your own; it is of all rows together, leave it out"
            raise check.error((*key, part), reason)
    values["segment"] = _segment(check, (*key, "segment"), section, model.columns.segments)
    return check.checked(key, lambda: Rule(**values))


def _segment(check: Checker, key: Key, section: RuleSection, segments: Sequence[str]) -> Segment | str:
    if section.segment == "none":
        return section.segment
    if not segments:
        reason = "came for a model without segments; name their columns in `columns: {segments: […]}`"
        raise check.error(key, reason)
    if isinstance(section.segment, str):
        return section.segment
    if len(section.segment) > 1:
        reason = f"came {len(section.segment)} columns; allowed is one with its value, such as {{season: winter}}"
        raise check.error(key, reason)
    [(column, value)] = section.segment.items()
    if column not in segments:
        reason = f"{shown(column)} is not one of `columns.segments`; known: {', '.join(segments)}."
        raise check.error((*key, column), reason + did_you_mean(column, segments))
    return Segment(column, class_name(value))


def _named(value: str | Mapping[str, str] | list[str] | None, key: Key) -> list[tuple[str, Key]]:
    """Return the columns that a key of `ColumnsSection` names, each with its own key."""
    if isinstance(value, Mapping):
        return [(column, (*key, name)) for name, column in value.items()]
    if isinstance(value, list):
        return [(column, (*key, str(index))) for index, column in enumerate(value)]
    return [] if value is None else [(value, key)]
