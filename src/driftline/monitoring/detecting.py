"""Judges the stored windows of a served model by its detector: what changed is folded again, from where it changed.

What the detector says is a pure function of the windows in order of time. The values of the series of each window are
stored, and states to go on from: a late label costs the windows since the one that it is of, and reads no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

import msgspec

from driftline.detection import (
    LEAST_WINDOWS,
    DetectorState,
    DetectorVerdict,
    Observed,
    SeriesWindow,
    Settings,
)
from driftline.events import WHOLE, Slice, Window, WindowSpec
from driftline.monitoring.assess import stage_of
from driftline.monitoring.budget import FIRST_WINDOWS, Day, LearntDetector, days_of, detail_of, spec_of, verdict_of
from driftline.monitoring.options import Budget, ModelConfig
from driftline.monitoring.segments import decoded_segments
from driftline.monitoring.setup import ModelSetup
from driftline.profiles import WindowProfile
from driftline.profiles.segments import SegmentProfiles
from driftline.rules import Verdict
from driftline.rules.backtest import BUDGET, Detail
from driftline.sketches import decode, encode
from driftline.store.detections import DetectionRow, DetectorRow, DetectorStateRow
from driftline.store.judgements import Judgement
from driftline.store.models import ModelRow
from driftline.store.state import Work
from driftline.store.tables import EPOCH
from driftline.store.windows import WindowRow

KEEP_EVERY = 28
"""A state to go on from is kept each time that so many windows were judged."""

_SERIES = 1
"""The release of the series and of what is stored of them: another one has all windows judged anew."""

_detail = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Detected:
    """What is to be stored after some windows changed: verdicts from the first of them on, and what they rest on.

    ``since`` is the start of the first window that is judged anew. ``learnt`` is there where the detector has learnt
    anew: nothing that is stored of it is then true any more.
    """

    since: datetime
    learnt: DetectorRow | None
    settings: Settings
    windows: Sequence[DetectionRow]
    states: Sequence[DetectorStateRow]
    verdicts: Sequence[DetectorVerdict]
    details: Mapping[datetime, Detail]


def detector_fingerprint(config: ModelConfig, profiles: bytes) -> bytes:
    """What the series of a model rest on; ``profiles`` is the fingerprint of its profiles."""
    return hashlib.sha256(repr((_SERIES, profiles, config.budget)).encode()).digest()


def learnt_from_reference(setup: ModelSetup, budget: Budget, days: Sequence[Day], fingerprint: bytes) -> DetectorRow:
    """A detector that has learnt from the windows of the reference; one that has not where these are too few."""
    if len(days) < LEAST_WINDOWS:
        return DetectorRow(setup.name, fingerprint, EPOCH, from_reference=False, learnt=b"")
    learnt = LearntDetector.of(setup, budget, days)
    return DetectorRow(setup.name, fingerprint, days[-1].window.end, from_reference=True, learnt=encode(learnt))


def detect(setup: ModelSetup, read: Work, changed: Iterable[datetime], stored: ModelRow) -> Detected | None:
    """Judge the windows that begin at the moments ``changed``, and those after them, by the model's detector.

    None where nothing is to be judged: there is no budget, too little history, or no value has changed.
    """
    watermark, fingerprint = stored.watermark, detector_fingerprint(setup.config, stored.fingerprint)
    if setup.config.budget is None or watermark is None or not stored.fingerprint:  # or the windows are built anew
        return None
    spec, known = spec_of(setup.config.window), read.detections.detector(setup.name)
    starts = sorted({spec.window_of(start).start for start in changed})
    if known is None or known.fingerprint != fingerprint or not known.learnt or _is_learnt_from(known, starts):
        return _learn(setup, read, watermark, fingerprint)
    learnt = decode(known.learnt, LearntDetector)
    due = [*_not_judged_before(read, setup.name, spec, starts), *starts]
    days = [day for start in dict.fromkeys(due) if start >= known.begins for day in _day(setup, read, start, watermark)]
    return _judged(setup.name, setup.config.budget, read, learnt, days)


def _is_learnt_from(known: DetectorRow, starts: Sequence[datetime]) -> bool:
    """Whether the detector learnt from one of some windows, in order of time."""
    return not known.from_reference and bool(starts) and starts[0] < known.begins


def _not_judged_before(read: Work, model: str, spec: WindowSpec, starts: Sequence[datetime]) -> list[datetime]:
    """The day before the first one that changed, where it closed without a window that closed it."""
    last = read.windows.last_start_before(model, starts[0]) if starts else None
    if last is None:
        return []
    day = spec.window_of(last).start
    return [] if read.detections.at(model, day) is not None else [day]


def _day(setup: ModelSetup, read: Work, start: datetime, watermark: datetime) -> list[Day]:
    """What was observed in a window that the detector judges; nothing while it is open."""
    window = spec_of(setup.config.window).window_of(start)
    if watermark < window.end:
        return []
    rows = read.windows.between(setup.name, start=window.start, end=window.end)
    return list(days_of(_observed(rows, watermark, setup.config), spec_of(setup.config.window)))


def _observed(rows: Sequence[WindowRow], watermark: datetime, config: ModelConfig) -> Iterator[Day]:
    """The windows of some rows, in order of time."""
    by_start: dict[datetime, list[WindowRow]] = {}
    for row in rows:
        by_start.setdefault(row.start, []).append(row)
    for versions in by_start.values():
        whole = reduce(WindowProfile.merge, [decode(row.profile, WindowProfile) for row in versions])
        segments = reduce(SegmentProfiles.merge, [decoded_segments(row.segments) for row in versions])
        window = versions[0].window
        labelled = stage_of(window, versions, watermark, config) == "judged"
        yield Day(window, Observed(whole, segments), labelled)


def _learn(setup: ModelSetup, read: Work, watermark: datetime, fingerprint: bytes) -> Detected | None:
    """Learn from the first windows of production, once the labels of all of them are in, and judge the others."""
    first, spec, budget = read.windows.first_start(setup.name), spec_of(setup.config.window), setup.config.budget
    if first is None or budget is None:
        return None
    span = spec.window_of(first)
    for _ in range(FIRST_WINDOWS - 1):
        span = spec.window_of(span.end)
    if watermark < span.end:
        return None
    rows = read.windows.between(setup.name)
    days = [day for day in days_of(_observed(rows, watermark, setup.config), spec) if day.window.end <= watermark]
    count = max(sum(day.window.end <= span.end for day in days), LEAST_WINDOWS)
    if len(days) < count or not all(day.labelled for day in days[:count]):
        return None
    learnt = LearntDetector.of(setup, budget, days[:count])
    row = DetectorRow(setup.name, fingerprint, days[count - 1].window.end, from_reference=False, learnt=encode(learnt))
    found = _folded(setup.name, budget, learnt, learnt.state, learnt.series_of(days[count:]))
    return Detected(row.begins, row, learnt.detector.settings, *found)


def _judged(model: str, budget: Budget, read: Work, learnt: LearntDetector, days: Sequence[Day]) -> Detected | None:
    """Fold the windows again from the first one whose values have changed."""
    fresh = {one.window.start: one for one in learnt.series_of(days)} if days else {}
    for start, one in list(fresh.items()):
        stored = read.detections.at(model, start)
        if stored is not None and stored.values == encode(one):
            del fresh[start]
    if not fresh:
        return None
    since = min(fresh)
    before = read.detections.state_before(model, since)
    state = learnt.state if before is None else decode(before.state, DetectorState)
    stored_windows = read.detections.after(model, None if before is None else before.start)
    windows = {row.start: decode(row.values, SeriesWindow) for row in stored_windows} | fresh
    found = _folded(model, budget, learnt, state, [windows[start] for start in sorted(windows)])
    return Detected(min(since, *windows), None, learnt.detector.settings, *found)


def _folded(
    model: str, budget: Budget, learnt: LearntDetector, state: DetectorState, windows: Sequence[SeriesWindow]
) -> tuple[list[DetectionRow], list[DetectorStateRow], list[DetectorVerdict], dict[datetime, Detail]]:
    rows, states, verdicts = list[DetectionRow](), list[DetectorStateRow](), list[DetectorVerdict]()
    details: dict[datetime, Detail] = {}
    for place, window in enumerate(windows):
        state, verdict = learnt.detector.step(state, window)
        start = window.window.start
        if verdict.findings:
            details[start] = detail_of(verdict, budget, learnt.spec)
        said = _detail.encode(details[start]) if start in details else None
        rows.append(DetectionRow(model, start, encode(window), said))
        verdicts.append(verdict)
        kept = state.steps % KEEP_EVERY == 0
        if kept or place == len(windows) - 1:
            states.append(DetectorStateRow(model, start, kept, encode(state)))
    return rows, states, verdicts, details


def judgement_of(model: str, window: Window, slice: Slice, verdict: Verdict, now: datetime) -> Judgement:
    """A verdict as it is stored; ``now`` is wall-clock time."""
    return Judgement(
        model=model,
        rule=verdict.rule,
        window_start=window.start,
        window_end=window.end,
        judged_at=now,
        state=verdict.state.value,
        value=verdict.value,
        low=verdict.low,
        high=verdict.high,
        n=verdict.n,
        threshold=verdict.threshold,
        reason=verdict.reason,
        current=True,
        bound=verdict.bound,
        confidence=verdict.confidence,
        slice=slice,
    )


def store_detected(setup: ModelSetup, work: Work, found: Detected, watermark: datetime, now: datetime) -> set[datetime]:
    """Store what was found; return the starts of the windows of which the detector says something else than before.

    States of windows that no label can change any more are not kept. ``now`` is wall-clock time.
    """
    model, settings = setup.name, found.settings
    since = found.since
    if found.learnt is not None:
        work.detections.put_detector(found.learnt)
        since = EPOCH
    work.detections.put(found.windows)
    work.detections.replace_states(model, since, found.states, watermark - setup.config.labels.accepted_for)
    earlier = {one.window_start: one for one in work.judgements.find(model, rule=BUDGET, start=since)}
    moved = set[datetime]()
    for said in found.verdicts:
        verdict = verdict_of(said, settings)
        if (detail := found.details.get(said.window.start)) is not None and detail.sentences:
            verdict = replace(verdict, reason=detail.sentences[0].removesuffix("."))
        fresh = judgement_of(model, said.window, WHOLE, verdict, now)
        before = earlier.pop(said.window.start, None)
        if before is None or replace(before, judged_at=now) != fresh:
            work.judgements.put(fresh)
            moved.add(fresh.window_start)
    for outdated in earlier.values():
        work.judgements.retire(outdated)
        moved.add(outdated.window_start)
    return moved
