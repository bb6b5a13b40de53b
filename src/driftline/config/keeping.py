"""From the section ``keep`` to how long things are kept: never shorter than what else is configured needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from driftline.config.checking import Checker
from driftline.config.strict_yaml import Key, shown
from driftline.detection import Settings
from driftline.monitoring.options import ModelConfig
from driftline.retrain.options import RetrainConfig
from driftline.store.keep import FOREVER, USUAL_EVENTS, Keep, KeepSection, in_days
from driftline.text.durations import length

_LEAST = timedelta(days=1)
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def keep_of(
    check: Checker,
    key: Key,
    section: KeepSection,
    models: Mapping[str, ModelConfig],
    retrain: Mapping[str, RetrainConfig],
) -> Keep:
    """Check how long things are kept. Where nobody says how long events are, that is as long as the model needs."""
    said = None if section.events is None else _period(check, (*key, "events"), section.events)
    events: dict[str, timedelta | None] = {}
    for name, model in models.items():
        needs = dict(_needs(name, model, retrain.get(name)))
        longest = max(needs, key=lambda one: needs[one])
        if section.events is None:
            events[name] = max(USUAL_EVENTS, needs[longest])
            continue
        if said is not None and said < needs[longest]:
            reason = f"came {shown(section.events)}, but {longest} need {in_days(needs[longest])}; keep them as long"
            raise check.error((*key, "events"), reason)
        events[name] = said
    return Keep(
        events=events,
        windows=_windows(check, (*key, "windows"), section.windows, models, events),
        quarantine=_period(check, (*key, "quarantine"), section.quarantine),
        notifications=_period(check, (*key, "notifications"), section.notifications),
        runs=_period(check, (*key, "runs"), section.runs),
    )


def _needs(name: str, model: ModelConfig, retrain: RetrainConfig | None) -> Iterator[tuple[str, timedelta]]:
    """What needs events of the past, and of how long a time: by the keys that say so."""
    window = model.window.window_of(_SOME_TIME)
    one = window.end - window.start
    yield f"models.{name}.labels.accepted_for and a window", model.labels.accepted_for + one
    if retrain is not None:
        yield f"models.{name}.retrain.train_on and evaluate_on", retrain.train_on + retrain.evaluate_on


def _windows(
    check: Checker,
    key: Key,
    text: str,
    models: Mapping[str, ModelConfig],
    events: Mapping[str, timedelta | None],
) -> timedelta | None:
    period = _period(check, key, text)
    if period is None:
        return None
    for name, model in models.items():
        kept = events[name]
        if kept is None or period < kept:
            as_long = FOREVER if kept is None else in_days(kept)
            reason = f"came {shown(text)}, but keep.events of {name} is {as_long}; windows are kept at least as long"
            raise check.error(key, reason)
        window = model.window.window_of(_SOME_TIME)
        learnt = Settings().most_windows * max(window.end - window.start, _LEAST)
        if period < learnt:
            reason = f"came {shown(text)}, but the detector of {name} learns from {length(learnt)} of windows"
            raise check.error(key, f"{reason}; keep them as long")
    return period


def _period(check: Checker, key: Key, text: str) -> timedelta | None:
    if text == FOREVER:
        return None
    period = check.duration(key, text)
    if period < _LEAST:
        raise check.error(key, f"came {shown(text)}; allowed is a day (1d) or longer, or {FOREVER!r}")
    return period
