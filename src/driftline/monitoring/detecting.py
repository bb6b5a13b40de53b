"""Judges the stored windows of a served model by its detector: what changed is folded again, from where it changed.

What the detector says is a pure function of the windows in order of time. The values of the series of each window are
stored, and states to go on from: a late label costs the windows since the one that it is of, and reads no other. Until
enough is learnt for good, the first windows are judged together each time that one of them changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import groupby

import msgspec
from msgspec import structs

from driftline.detection import (
    Basis,
    Cadence,
    DetectorState,
    DetectorVerdict,
    HistoryWindow,
    Observed,
    SeriesWindow,
)
from driftline.events import WHOLE, Slice, Window
from driftline.monitoring.assess import Arrived
from driftline.monitoring.budget import (
    Learnt,
    cadence_of,
    detail_of,
    judged_spec,
    judged_windows,
    learn_from_first,
    learn_from_reference,
    verdict_of,
)
from driftline.monitoring.feedback import Guidance
from driftline.monitoring.options import Budget, ModelConfig
from driftline.monitoring.segments import stored_profiles
from driftline.monitoring.setup import ModelSetup
from driftline.profiles import WindowProfile
from driftline.rules import Verdict
from driftline.rules.backtest import BUDGET, Detail
from driftline.sketches import decode, encode
from driftline.store.counters import LABELS_UNTIL
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

_INSTANT = timedelta(microseconds=1)

_detail = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Detected:
    """What is to be stored after some windows changed: verdicts from the first of them on, and what they rest on.

    ``since`` is the start of the first window that is judged anew. ``learnt`` is there where the detector has learnt
    anew: nothing that is stored of it is then true any more.
    """

    since: datetime
    learnt: DetectorRow | None
    cadence: Cadence
    windows: Sequence[DetectionRow]
    states: Sequence[DetectorStateRow]
    verdicts: Sequence[DetectorVerdict]
    details: Mapping[datetime, Detail]


def detector_fingerprint(config: ModelConfig, profiles: bytes) -> bytes:
    """What the series of a model rest on; ``profiles`` is the fingerprint of its profiles."""
    said = (config.reference_first, sorted(config.calendar), config.maintenance)
    more = [one for one in (config.calendar_column, config.reference_rolling) if one]  # as it was without them
    return hashlib.sha256(repr((_SERIES, profiles, config.budget, *said, *more)).encode()).digest()


def detector_row(
    setup: ModelSetup, budget: Budget, reference: Sequence[HistoryWindow], fingerprint: bytes
) -> DetectorRow:
    """A detector that has learnt from the windows of the reference; one that has not where these are too few."""
    learnt = learn_from_reference(setup, budget, reference)
    if learnt is None:
        return DetectorRow(setup.name, fingerprint, EPOCH, from_reference=False, learnt=b"")
    return DetectorRow(setup.name, fingerprint, learnt.state.end, from_reference=True, learnt=encode(learnt))


def detect(
    setup: ModelSetup,
    read: Work,
    changed: Iterable[datetime],
    stored: ModelRow,
    guidance: Guidance,
    again: datetime | None = None,
) -> Detected | None:
    """Judge the windows that begin at the moments ``changed``, and those after them, by the model's detector.

    Windows from ``again`` on are judged anew though they did not change, as people say something else of them. None
    where nothing is to be judged: there is no budget, or nothing that was judged has changed.
    """
    budget, known, watermark = setup.config.budget, read.detections.detector(setup.name), stored.watermark
    if budget is None or known is None or watermark is None:
        return None
    if known.fingerprint != detector_fingerprint(setup.config, stored.fingerprint):  # the windows are built anew
        return None
    come = Arrived(watermark, read.counters.moment(setup.name, LABELS_UNTIL))
    return _Fold(setup, budget, read, come, known, guidance).judged(changed, again)


@dataclass(frozen=True, slots=True)
class _Fold:
    """A model's detector, and the windows that are stored when events have ``come`` so far."""

    setup: ModelSetup
    budget: Budget
    read: Work
    come: Arrived
    known: DetectorRow
    guidance: Guidance

    @property
    def model(self) -> str:
        return self.setup.name

    @property
    def cadence(self) -> Cadence:
        return cadence_of(self.setup.config, self.budget)

    def judged(self, changed: Iterable[datetime], again: datetime | None) -> Detected | None:
        newest = self.read.detections.newest_start(self.model)
        if newest is None and not self.known.learnt:
            return self._learning()
        learnt = decode(self.known.learnt, Learnt) if self.known.learnt else None
        basis = learnt.basis(self.cadence) if learnt is not None else None
        told = [] if again is None else self.read.windows.starts_since(self.model, again)
        marks = self._marks(self._closed(self._due([*changed, *told], newest)), basis)
        fresh = {
            start: mark
            for start, mark in marks.items()
            if (again is not None and start >= again) or not self._is_known(start, mark)
        }
        if not fresh:
            return None
        if learnt is None or basis is None or min(fresh) < self.known.begins:
            return self._learning()
        return self._folded_again(learnt, basis, fresh)

    def _due(self, changed: Iterable[datetime], newest: datetime | None) -> list[datetime]:
        """The starts of the windows that may be judged anew, in order: those that changed, waited for labels, or have
        come since the newest that was judged, of which a day may have closed without another of its hours.
        """
        spec, begins = judged_spec(self.setup.config.window), self.known.begins
        after = begins if newest is None else spec.window_of(newest).end
        since = self.read.windows.starts_since(self.model, after)
        waited = () if newest is None else self._waited(newest)
        starts = sorted({spec.window_of(start).start for start in (*changed, *waited, *since)})
        return [start for start in starts if start >= begins or not self.known.from_reference]

    def _waited(self, newest: datetime) -> Iterator[datetime]:
        """The starts of overdue windows without all labels that still waited for these when the newest was judged."""
        spec, expected = judged_spec(self.setup.config.window), self.setup.config.labels.expected_within
        since = spec.window_of(spec.window_of(newest - expected).start - _INSTANT).start
        for start in self.read.windows.starts_unlabelled(self.model, since, self.come.watermark - expected):
            begin = spec.window_of(start).start
            stored = self.read.detections.at(self.model, begin) if begin >= self.known.begins else None
            if stored is None or not self.known.learnt or not decode(stored.values, SeriesWindow).labelled:
                yield begin

    def _closed(self, starts: Iterable[datetime]) -> Iterator[HistoryWindow]:
        """The windows that begin at these moments, without those that event time has not closed yet."""
        spec = judged_spec(self.setup.config.window)
        for start in starts:
            window = spec.window_of(start)
            if window.end <= self.come.watermark:
                rows = self.read.windows.between(self.model, start=window.start, end=window.end)
                yield from self._observed(rows)

    def _observed(self, rows: Sequence[WindowRow]) -> Iterator[HistoryWindow]:
        """The windows that are judged of stored ones, in order of time."""
        own = []
        for _, group in groupby(rows, key=lambda row: row.start):
            stored = list(group)
            versions, segments = stored_profiles(stored)
            window, whole = stored[0].window, reduce(WindowProfile.merge, versions.values())
            labelled = self.come.has_labels_of(window, stored, self.setup.config)
            own.append((window, Observed(whole, segments), labelled))
        return judged_windows(own, self.cadence, self.guidance)

    def _marks(self, windows: Iterable[HistoryWindow], basis: Basis | None) -> dict[datetime, bytes]:
        """What is stored of windows, by start: values of the series, or a digest where these were learnt from."""
        return {
            one.window.start: _digest(one)
            if basis is None or one.window.start < self.known.begins
            else encode(basis.windows([one])[0])
            for one in windows
        }

    def _is_known(self, start: datetime, mark: bytes) -> bool:
        stored = self.read.detections.at(self.model, start)
        return stored is not None and stored.values == mark

    def _folded_again(self, learnt: Learnt, basis: Basis, fresh: Mapping[datetime, bytes]) -> Detected:
        """Fold the windows from the first one whose values have changed."""
        since = min(fresh)
        before = self.read.detections.state_before(self.model, since)
        state = learnt.state if before is None else decode(before.state, DetectorState)
        known = {row.start: row.values for row in self.read.detections.since(self.model, state.end)}
        values = sorted((known | {**fresh}).items())
        windows = [decode(one, SeriesWindow) for _, one in values]
        return Detected(min(since, values[0][0]), None, self.cadence, *self._folded(basis, state, windows))

    def _learning(self) -> Detected | None:
        """Judge all windows anew, and learn from the first ones for good where there are enough."""
        spec = judged_spec(self.setup.config.window)
        stored, until = self.read.windows.between(self.model), self.come.watermark
        rows = [row for row in stored if spec.window_of(row.start).end <= until]
        windows = list(self._observed(rows))
        if not windows:
            return None
        verdicts, learnt = learn_from_first(self.setup, self.budget, windows)
        first, rest = windows[: len(verdicts)], windows[len(verdicts) :]
        details = {one.window.start: detail_of(one, self.cadence) for one in verdicts if one.findings}
        detections = [self._row(one.window.start, _digest(one), details) for one in first]
        states, said = list[DetectorStateRow](), [*verdicts]
        if learnt is not None:
            basis = learnt.basis(self.cadence)
            folded = self._folded(basis, learnt.state, basis.windows(rest) if rest else [])
            detections, states, said, details = (
                detections + folded[0],
                folded[1],
                said + folded[2],
                details | folded[3],
            )
        begins = first[-1].window.end if learnt is not None else EPOCH
        known = encode(learnt) if learnt is not None else b""
        row = DetectorRow(self.model, self.known.fingerprint, begins, from_reference=False, learnt=known)
        return Detected(windows[0].window.start, row, self.cadence, detections, states, said, details)

    def _folded(
        self, basis: Basis, state: DetectorState, windows: Sequence[SeriesWindow]
    ) -> tuple[list[DetectionRow], list[DetectorStateRow], list[DetectorVerdict], dict[datetime, Detail]]:
        """Judge windows one after the other: what is stored of them, the states on the way, what is said."""
        rows, states, verdicts = list[DetectionRow](), list[DetectorStateRow](), list[DetectorVerdict]()
        details: dict[datetime, Detail] = {}
        guided = self.guidance.folded(basis.detector, state, windows)
        for place, (window, (after, verdict)) in enumerate(zip(windows, guided, strict=True)):
            start = window.window.start
            if verdict.findings:
                details[start] = detail_of(verdict, self.cadence)
            rows.append(self._row(start, encode(window), details))
            verdicts.append(verdict)
            kept = after.steps % KEEP_EVERY == 0
            if kept or place == len(windows) - 1:
                states.append(DetectorStateRow(self.model, start, kept, encode(after)))
        return rows, states, verdicts, details

    def _row(self, start: datetime, values: bytes, details: Mapping[datetime, Detail]) -> DetectionRow:
        said = _detail.encode(details[start]) if start in details else None
        return DetectionRow(self.model, start, values, said)


def _digest(window: HistoryWindow) -> bytes:
    return hashlib.sha256(encode(window)).digest()


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
    model, since = setup.name, found.since
    if found.learnt is not None:
        work.detections.put_detector(found.learnt)
        since = EPOCH
    work.detections.put(found.windows)
    work.detections.replace_states(model, since, found.states, watermark - setup.config.labels.accepted_for)
    earlier = {one.window_start: one for one in work.judgements.find(model, rule=BUDGET, start=since)}
    fresh = list[Judgement]()
    for said in found.verdicts:
        verdict = verdict_of(said, found.cadence)
        if (detail := found.details.get(said.window.start)) is not None and detail.sentences:
            verdict = structs.replace(verdict, reason=detail.sentences[0].removesuffix("."))
        one = judgement_of(model, said.window, WHOLE, verdict, now)
        before = earlier.pop(said.window.start, None)
        if before is None or replace(before, judged_at=now) != one:
            fresh.append(one)
    work.judgements.put_all(fresh)
    work.judgements.retire_all(list(earlier.values()))
    return {one.window_start for one in (*fresh, *earlier.values())}
