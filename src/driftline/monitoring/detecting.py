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
from itertools import groupby, islice

import msgspec
from msgspec import structs

from driftline.detection import (
    Cadence,
    DetectorState,
    DetectorVerdict,
    Fold,
    FoldState,
    HistoryWindow,
    Learnt,
    Observed,
    Reading,
    SingleState,
    Turn,
    turns_of,
)
from driftline.detection.history import singles_of
from driftline.events import WHOLE, Slice, Window
from driftline.monitoring.assess import Arrived
from driftline.monitoring.budget import (
    cadence_of,
    detail_of,
    fill_gaps,
    judged_windows,
    learn_from_first,
    learn_from_reference,
    own_window,
    verdict_of,
)
from driftline.monitoring.feedback import Guidance, Step
from driftline.monitoring.options import Budget, ModelConfig
from driftline.monitoring.segments import stored_profiles
from driftline.monitoring.setup import ModelSetup
from driftline.profiles import WindowProfile
from driftline.rules import Verdict
from driftline.rules.backtest import BUDGET, Detail
from driftline.sketches import decode, encode
from driftline.store.counters import LABELS_UNTIL
from driftline.store.detections import (
    SINGLE_PART,
    WHOLE_PART,
    DetectionRow,
    Detections,
    DetectorRow,
    DetectorStateRow,
)
from driftline.store.judgements import Judgement
from driftline.store.models import ModelRow
from driftline.store.state import Work
from driftline.store.tables import EPOCH
from driftline.store.windows import WindowRow

KEEP_EVERY = 28
"""A state to go on from is kept each time that so many windows were judged; of days of shorter ones a quarter of them.
"""

_SERIES = 2
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
    unseasonal = config.season == "none"
    more = [one for one in (config.calendar_column, config.reference_rolling, unseasonal) if one]  # as it was without
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
    return _Judging(setup, budget, read, come, known, guidance).judged(changed, again)


@dataclass(frozen=True, slots=True)
class _Judging:
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
        stored = self.known.learnt or self.known.so_far
        if newest is None and not stored:
            return self._learning()
        learnt = decode(stored, Learnt) if stored else None
        fold = None if learnt is None else learnt.fold(self.cadence)
        fresh, ends_day = dict[datetime, bytes](), False
        for turns in self._due({*changed}, newest, again):
            for turn, mark in zip(turns, self._marks(turns, fold), strict=True):
                start = turn.window.start
                if (again is not None and start >= again) or not self._is_known(start, mark):
                    fresh[start] = mark
                    ends_day = ends_day or turn.whole is not None
        if not fresh:
            return None
        learns = not self.known.learnt and ends_day
        if learnt is None or fold is None or learns or min(fresh) < self.known.begins:
            return self._learning()
        return self._folded_again(learnt, fold, fresh)

    def _due(self, changed: set[datetime], newest: datetime | None, again: datetime | None) -> Iterator[list[Turn]]:
        """What may be judged anew, day by day: windows that changed or waited for labels, and with these the days that
        they are of; those that have closed since the newest that was judged; and all from ``again`` on.
        """
        cadence, begins = self.cadence, self.known.begins if self.known.from_reference else EPOCH
        after = begins if newest is None else cadence.whole_of(newest).start
        since = self.read.windows.starts_since(self.model, after if again is None else min(after, again))
        changed = changed if newest is None else {*changed, *self._waited(newest)}
        moments = (*changed, *since, *(one for one in (newest, again) if one is not None))
        days = {cadence.whole_of(moment) for moment in moments}
        changed_singles = {cadence.single_spec.window_of(start) for start in changed}
        for day in sorted(days):
            closed = [one for one in cadence.singles_in(day) if one.end <= self.come.watermark]
            if not closed or not self._has_rows(closed):
                continue
            known = {*self.read.detections.starts_between(self.model, day.start, day.end)}
            due = {
                one
                for one in closed
                if one in changed_singles or one.start not in known or (again is not None and one.start >= again)
            }
            if due and self.guidance.calendar_column:  # any row may say that its day is no ordinary one
                due = {*closed}
            if due := {one for one in due if one.start >= begins}:
                yield list(self._turns(day, closed, due))

    def _waited(self, newest: datetime) -> Iterator[datetime]:
        """The starts of overdue windows without all labels that still waited for these when the newest was judged."""
        cadence, config, expected = self.cadence, self.setup.config, self.setup.config.labels.expected_within
        since = cadence.whole_of(cadence.whole_of(newest - expected).start - _INSTANT).start
        is_learnt = bool(self.known.learnt or self.known.so_far)
        unlabelled = self.read.windows.starts_unlabelled(self.model, since, self.come.watermark - expected)
        overdue = (one for one in map(config.window.window_of, unlabelled) if self.come.is_overdue(one, config))
        for start in sorted({cadence.single_spec.window_of(one.start).start for one in overdue}):
            is_read = is_learnt and start >= self.known.begins
            stored = self.read.detections.at(self.model, start) if is_read else None
            if stored is None or not _is_labelled(decode(stored.values, Reading)):
                yield start

    def _has_rows(self, closed: Sequence[Window]) -> bool:
        """Whether a window has closed that begins in these."""
        own = self.read.windows.closed_after(self.model, closed[0].start - _INSTANT, self.come.watermark, 1)
        return bool(own) and own[0].start < closed[-1].end

    def _turns(self, day: Window, closed: Sequence[Window], due: set[Window]) -> Iterator[Turn]:
        """Read what is due of a day: all of it if it is over, since the whole of it is judged again."""
        last = self.cadence.last_single(day)
        is_over = closed[-1] == last
        asked = closed if is_over else sorted(due)
        rows = (
            row
            for span in _joined(asked)
            for row in self.read.windows.between(self.model, start=span.start, end=span.end)
        )
        singles = singles_of(self._observed(rows), self.cadence)
        for turn in turns_of(fill_gaps(asked, singles, self.guidance), self.cadence, closed[-1].end):
            if turn.window in due or (is_over and turn.window == last):
                yield turn

    def _observed(self, rows: Iterable[WindowRow]) -> Iterator[HistoryWindow]:
        """The model's own windows of stored ones, in order of time."""
        for _, group in groupby(rows, key=lambda row: row.start):
            stored = list(group)
            versions, segments = stored_profiles(stored)
            window, whole = stored[0].window, reduce(WindowProfile.merge, versions.values())
            labelled = self.come.has_labels_of(window, stored, self.setup.config)
            yield own_window(window, Observed(whole, segments), self.cadence, self.guidance, labelled=labelled)

    def _marks(self, turns: Sequence[Turn], fold: Fold | None) -> list[bytes]:
        """What is stored of windows: what the detector reads, or a digest where it has learnt from them."""
        if fold is None:
            return [_digest(one) for one in turns]
        begins = self.known.begins
        readings = iter(fold.readings([one for one in turns if one.window.start >= begins]))
        return [encode(next(readings)) if one.window.start >= begins else _digest(one) for one in turns]

    def _is_known(self, start: datetime, mark: bytes) -> bool:
        stored = self.read.detections.at(self.model, start)
        return stored is not None and stored.values == mark

    def _folded_again(self, learnt: Learnt, fold: Fold, fresh: Mapping[datetime, bytes]) -> Detected:
        """Fold the windows from the first one whose values have changed."""
        since = min(fresh)
        state = state_before(self.read.detections, self.model, learnt, since)
        known = {row.start: row.values for row in self.read.detections.since(self.model, state.end)}
        values = sorted((known | {**fresh}).items())
        readings = [decode(one, Reading) for _, one in values]
        guidance = self.guidance if self.known.learnt else Guidance()
        folded = self._folded(fold, learnt.state, state, readings, guidance)
        return Detected(min(since, values[0][0]), None, self.cadence, *folded)

    def _learning(self) -> Detected | None:
        """Judge all windows anew, and learn from the first ones for good where there are enough."""
        until = self.come.watermark
        rows = [row for row in self.read.windows.between(self.model) if row.end <= until]
        own = ((one.window, one.observed, one.labelled) for one in self._observed(rows))
        windows = judged_windows(own, self.cadence, self.guidance, until)
        turns, first, open_day = turns_of(windows, self.cadence, until), dict[datetime, bytes](), list[Turn]()

        def taken() -> Iterator[Turn]:
            for turn in turns:
                first[turn.window.start] = _digest(turn)
                open_day[:] = [] if turn.whole is not None else [*open_day, turn]
                yield turn

        found = learn_from_first(self.setup, self.budget, taken())
        if not found.verdicts:
            return None
        learnt, rest, guidance = found.learnt, turns, self.guidance
        verdicts = found.verdicts
        if learnt is None and found.so_far is not None:
            learnt, rest, guidance = found.so_far, iter(open_day), Guidance()
            verdicts = found.verdicts[: found.known]
        details = {one.window.start: detail_of(one, self.cadence) for one in verdicts if one.findings}
        detections = [self._row(one.window.start, first[one.window.start], details) for one in verdicts]
        states, said, begins = list[DetectorStateRow](), [*verdicts], EPOCH
        if learnt is not None:
            fold, begins = learnt.fold(self.cadence), learnt.state.end
            readings = [one for some in _batched(rest) for one in fold.readings(some)]
            folded = self._folded(fold, learnt.state, learnt.state, readings, guidance)
            detections, states = detections + folded[0], folded[1]
            said, details = said + folded[2], details | folded[3]
        known, so_far = (encode(one) if one is not None else b"" for one in (found.learnt, found.so_far))
        row = DetectorRow(self.model, self.known.fingerprint, begins, False, known, so_far)
        return Detected(said[0].window.start, row, self.cadence, detections, states, said, details)

    def _folded(
        self, fold: Fold, first: FoldState, state: FoldState, readings: Sequence[Reading], guidance: Guidance
    ) -> tuple[list[DetectionRow], list[DetectorStateRow], list[DetectorVerdict], dict[datetime, Detail]]:
        """Judge windows one after the other: what is stored of them, the states on the way, what is said."""
        rows, states, verdicts = list[DetectionRow](), list[DetectorStateRow](), list[DetectorVerdict]()
        details, last = dict[datetime, Detail](), len(readings) - 1
        steps = fold_on(self.read.detections, self.model, fold, first, state, guidance, readings)
        for place, (reading, _, after, verdict) in enumerate(steps):
            start = reading.window.start
            if verdict.findings:
                details[start] = detail_of(verdict, self.cadence)
            rows.append(self._row(start, encode(reading), details))
            verdicts.append(verdict)
            every = KEEP_EVERY if after.single is None else max(KEEP_EVERY // 4, 1)
            kept = reading.whole is not None and after.whole.steps % every == 0
            if kept or place == last:
                changed = kept or any(one.whole is not None for one in readings)
                states += _state_rows(self.model, start, after, kept=kept, whole=changed)
        return rows, states, verdicts, details

    def _row(self, start: datetime, values: bytes, details: Mapping[datetime, Detail]) -> DetectionRow:
        said = _detail.encode(details[start]) if start in details else None
        return DetectionRow(self.model, start, values, said)


def _digest(turn: Turn) -> bytes:
    return hashlib.sha256(encode(turn.own)).digest()


def _is_labelled(reading: Reading) -> bool:
    """Whether the labels of the window itself, not of its day, are in; not where it had no rows."""
    own = reading.whole if reading.single is None else reading.single
    return own is not None and own.labelled


def _batched(turns: Iterator[Turn]) -> Iterator[list[Turn]]:
    """Some at a time: the profiles of a long history are not held together."""
    while some := list(islice(turns, KEEP_EVERY)):
        yield some


def _joined(windows: Iterable[Window]) -> list[Window]:
    """The same time in fewer spans."""
    spans = list[Window]()
    for one in windows:
        spans[-1:] = [Window(spans[-1].start, one.end)] if spans and spans[-1].end == one.start else [*spans[-1:], one]
    return spans


# ---- states ----------------------------------------------------------------------------------------------------------


def fold_on(
    detections: Detections,
    model: str,
    fold: Fold,
    first: FoldState,
    state: FoldState,
    guidance: Guidance,
    readings: Iterable[Reading],
) -> Iterator[Step]:
    """Judge windows one after the other, as people have said that they are to be taken; ``first`` is the state that was
    learnt first.
    """
    return guidance.folded(fold, state, readings, lambda one: with_values(detections, model, fold.cadence, first, one))


def state_before(detections: Detections, model: str, learnt: Learnt, start: datetime) -> FoldState:
    """The newest state that is stored and knows only of windows before a moment, or else the one learnt first.

    The values of its history are left out: `with_values`.
    """
    if learnt.state.single is None:
        row = detections.state_before(model, WHOLE_PART, start)
        return learnt.state if row is None else FoldState(decode(row.state, DetectorState))
    row = detections.state_before(model, SINGLE_PART, start)
    if row is None:
        return learnt.state
    whole = detections.state_before(model, WHOLE_PART, row.start + _INSTANT)
    known = learnt.state.whole if whole is None else decode(whole.state, DetectorState)
    return FoldState(known, decode(row.state, SingleState))


def _state_rows(
    model: str, start: datetime, state: FoldState, *, kept: bool, whole: bool
) -> Iterator[DetectorStateRow]:
    """A state as it is stored: its values are stored with the windows."""
    if whole:
        yield DetectorStateRow(model, WHOLE_PART, start, kept, encode(state.whole.without_values()))
    if state.single is not None:
        single = replace(state.single, detector=state.single.detector.without_values())
        yield DetectorStateRow(model, SINGLE_PART, start, kept, encode(single))


def with_values(detections: Detections, model: str, cadence: Cadence, first: FoldState, state: FoldState) -> FoldState:
    """A state with the values of its history, from the windows that are stored and the state learnt ``first``."""
    whole = {one.start: one for one in first.whole.history}
    single = {} if first.single is None else {one.start: one for one in first.single.detector.history}
    missing = {cadence.last_single(cadence.whole_of(start)).start for start in state.whole.bare if start not in whole}
    if state.single is not None:
        missing |= {start for start in state.single.detector.bare if start not in single}
    found = [
        decode(values, Reading)
        for start, end in _runs(missing)
        for values in detections.values_between(model, start, end)
    ]
    wholes = whole | {one.whole.window.start: one.whole for one in found if one.whole is not None}
    restored = state.whole.with_values(wholes)
    if state.single is None:
        return FoldState(restored)
    singles = single | {one.window.start: one.single for one in found if one.single is not None}
    return FoldState(restored, replace(state.single, detector=state.single.detector.with_values(singles)))


def _runs(starts: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """The first and the last of moments, before and after their widest gap: old windows, and the newest ones."""
    ordered = sorted(starts)
    if not ordered:
        return []
    cut = max(range(1, len(ordered)), key=lambda at: ordered[at] - ordered[at - 1], default=1)
    return [(part[0], part[-1]) for part in (ordered[:cut], ordered[cut:]) if part]


# ---- what is stored --------------------------------------------------------------------------------------------------


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
