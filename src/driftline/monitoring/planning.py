"""Decides what the events of inbox rows do, given what was known before them: all of a batch at once, by column.

The rules are those of going through the events in the order of their arrival. The first prediction of an id counts,
later ones are duplicates. The newest label of an id counts; one that says what is known already is a duplicate. A label
that comes more than ``accepted_for`` after its prediction is too late; one that comes before it waits for it. What is
`Gone` is counted, and does nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.events import Label
from driftline.events.columns import LabelColumns, PredictionColumns, moment_of
from driftline.sketches.hashing import fingerprints
from driftline.store.framed import TIME, PredictionFrame
from driftline.store.inbox import InboxRow
from driftline.store.logged import Came, LivePredictions, LoggedPrediction, micros_of
from driftline.store.predictions import label_marks
from driftline.store.runs import NO_MARK, Found, Words

AHEAD = timedelta(minutes=10)
"""How far event time may run ahead of the clock: one sender whose clock is wrong closes no window of the others."""

_KNOWN, _NEVER = -1, np.iinfo(np.int64).max
_Ints = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]
_Counts = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Gone:
    """What is not taken any more: predictions of before ``since`` (event time), and ids that were ``forgotten``."""

    since: datetime | None = None
    forgotten: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Arrived:
    """The events of inbox rows by column, in the order of their arrival.

    ``keys``, shape (2, ids), are of the ids that predictions and labels have, each once. ``predictions_of`` and
    ``labels_of`` say which of these each has; ``predictions_at`` and ``labels_at`` its place among all events. Times of
    labels are microseconds since 1970. ``gone`` counts the events that are no longer among them, and predictions of
    before ``since`` (microseconds, too) take no labels.
    """

    predictions: LivePredictions
    shadows: Sequence[LoggedPrediction]
    predictions_at: _Ints
    predictions_of: _Ints
    label_ids: pl.Series
    label_values: Sequence[str | float]
    label_times: _Ints
    labels_at: _Ints
    labels_of: _Ints
    label_seqs: _Ints
    keys: Words
    watermark: datetime | None
    labels_until: datetime | None
    gone: Mapping[tuple[str, str], int] = field(default_factory=dict)
    since: int | None = None

    @property
    def ids(self) -> pl.Series:
        """The ids themselves, of each event."""
        return pl.concat([self.predictions.ids, self.label_ids.alias(self.predictions.ids.name)])

    @property
    def every_id(self) -> pl.Series:
        """These, and the ids of shadows, which are looked up nowhere."""
        shadows = pl.Series(self.ids.name, [one.prediction.id for one in self.shadows], dtype=pl.String)
        return pl.concat([self.ids, shadows])

    def without(self, gone: Gone) -> Arrived:
        """Return those that are taken. Event time has come as far as all of them say."""
        if gone.since is None and not gone.forgotten:
            return self
        counts: _Counts = Counter()
        since = None if gone.since is None else int(micros_of([gone.since])[0])
        left = _left(self.predictions.ids, self.predictions.times, gone, since, "prediction", counts)
        shadow_ids, shadow_times = [], []
        for one in self.shadows:
            shadow_ids.append(one.prediction.id)
            shadow_times.append(one.prediction.time)
        shadows = _left(
            pl.Series(shadow_ids, dtype=pl.String), micros_of(shadow_times), gone, since, "prediction", counts
        )
        labels = _left(self.label_ids, None, gone, since, "label", counts)
        return replace(
            self,
            predictions=self.predictions.chosen(left),
            shadows=[self.shadows[place] for place in shadows.tolist()],
            predictions_at=self.predictions_at[left],
            predictions_of=self.predictions_of[left],
            label_ids=self.label_ids.gather(labels.tolist()),
            label_values=[self.label_values[place] for place in labels.tolist()],
            label_times=self.label_times[labels],
            labels_at=self.labels_at[labels],
            labels_of=self.labels_of[labels],
            label_seqs=self.label_seqs[labels],
            gone=counts,
            since=since,
        )


def _left(ids: pl.Series, times: _Ints | None, gone: Gone, since: int | None, kind: str, counts: _Counts) -> _Ints:
    """Return the places of the events that are taken, and count the others."""
    taken = np.ones(len(ids), np.bool_)
    if gone.forgotten:
        taken = np.array([id not in gone.forgotten for id in ids.to_list()], np.bool_)
        counts["invalid_events", f"{kind}.forgotten"] += int((~taken).sum())
    if times is not None and since is not None:
        late = taken & (times < since)
        counts["invalid_events", f"{kind}.too_late"] += int(late.sum())
        taken &= ~late
    return np.flatnonzero(taken)


@dataclass(frozen=True, slots=True)
class Plan:
    """What some inbox rows amount to, given what was known before them.

    ``labels`` are rows of the log. ``keys``, ``times`` (microseconds since 1970) and ``marks`` are of the predictions
    that are new, or have another label. ``waiting`` are the labels whose prediction has not come, ``matched`` the ids
    whose waiting label has found its prediction; ``labels_until`` is how far event time has come by the labels alone.
    """

    predictions: LivePredictions
    shadows: Sequence[LoggedPrediction]
    labels: pl.DataFrame
    keys: Words
    times: _Ints
    marks: Words
    waiting: dict[str, Label]
    matched: set[str]
    counts: dict[tuple[str, str], int]
    watermark: datetime | None
    labels_until: datetime | None


def arrived(rows: Sequence[InboxRow]) -> Arrived:
    """Return the events of inbox rows by column."""
    live = Came()
    shadows: list[LoggedPrediction] = []
    label_ids, label_values, label_times = list[str](), list[str | float](), list[_Ints]()
    labels_at, label_seqs = list[int](), list[int]()
    place = 0
    for row in rows:
        if isinstance(row.events, (PredictionColumns, PredictionFrame)):
            places = np.arange(place, place + len(row.events))
            place += len(row.events)
            if isinstance(row.events, PredictionFrame):
                live.frames.append((row.seq, row.events))
                live.frames_at.append(places)
            else:
                live.lists.append((row.seq, row.events))
                live.lists_at.append(places)
            continue
        if row.kind == "labels":
            ids, values, times = _labels_of(row)
            label_ids += ids
            label_values += values
            label_times.append(times)
            labels_at += range(place, place + len(ids))
            label_seqs += [row.seq] * len(ids)
            place += len(ids)
            continue
        for one in row.predictions:
            if one.role == "shadow":  # kept for contests; no window speaks of it
                shadows.append(LoggedPrediction(row.seq, one))
            else:
                live.single.append(LoggedPrediction(row.seq, one))
                live.single_at.append(place)
            place += 1
    predictions = LivePredictions.of(live)
    every = pl.concat([predictions.ids, pl.Series(predictions.ids.name, label_ids, dtype=pl.String)], rechunk=True)
    keys, of = _each_once(fingerprints(every))
    until = [_until(row) for row in rows if row.kind == "labels" and len(row.events)]
    return Arrived(
        predictions=predictions,
        shadows=shadows,
        predictions_at=predictions.at,
        predictions_of=of[: len(predictions)],
        label_ids=every[len(predictions) :],
        label_values=label_values,
        label_times=np.concatenate([np.empty(0, np.int64), *label_times]),
        labels_at=np.array(labels_at, np.int64),
        labels_of=of[len(predictions) :],
        label_seqs=np.array(label_seqs, np.int64),
        keys=keys,
        watermark=max(_until(row) for row in rows if len(row.events)),
        labels_until=max(until, default=None),
    )


def _labels_of(row: InboxRow) -> tuple[Sequence[str], Sequence[str | float], _Ints]:
    """Return ids, labels and times of a batch of labels."""
    if isinstance(row.events, LabelColumns):
        return row.events.ids, row.events.labels, np.array(row.events.times, np.int64)
    labels = row.labels
    return [one.id for one in labels], [one.label for one in labels], micros_of([one.time for one in labels])


def _until(row: InboxRow) -> datetime:
    """Return how far event time has come by a batch: as far as it says, and at most `AHEAD` of when it arrived."""
    if isinstance(row.events, PredictionFrame):
        newest = row.events.newest
    elif isinstance(row.events, (PredictionColumns, LabelColumns)):
        newest = moment_of(max(row.events.times))
    else:
        newest = max(one.time for one in row.events)
    return min(newest, row.arrived_at + AHEAD)


def _each_once(keys: Words) -> tuple[Words, _Ints]:
    """Return keys, shape (2, n), each once and in order, and for each of the n its place among these."""
    high, low = keys
    order = np.argsort(high)
    alike = high[order[1:]] == high[order[:-1]]
    if np.any(alike & (low[order[1:]] != low[order[:-1]])):  # two keys begin alike, by a chance of 2**-64 a pair
        order = np.lexsort((low, high))
    high, low = high[order], low[order]
    begins = np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1]))[: len(order)]
    of = np.empty(len(order), np.int64)
    of[order] = np.cumsum(begins) - 1
    return np.stack([high[begins], low[begins]]), of


class _Offers(NamedTuple):
    """Labels on offer, by column, each of shape (n,): each is for the id of a place among the keys.

    ``at`` are their places among all events, ``times`` in microseconds since 1970, and ``which`` says whose they are.
    """

    of: _Ints
    at: _Ints
    seqs: _Ints
    times: _Ints
    marks: Words
    which: _Ints

    def where(self, chosen: _Flags | _Ints) -> Self:
        """Return those that a mask, or places, choose."""
        return type(self)._make(column[chosen] for column in self)

    def in_order(self) -> Self:
        """Return them id by id, those of one id in the order of their arrival."""
        return self.where(np.lexsort((self.at, self.of)))


def make_plan(
    rows: Sequence[InboxRow],
    came: Arrived,
    known: Found,
    waiting: Mapping[str, Label],
    target: type[pl.Float64] | type[pl.String],
    *,
    accepted_for: timedelta,
) -> Plan:
    """Decide what each event of inbox rows does. Pure: the same rows on the same state give the same plan.

    ``came`` are the events of the rows, ``known`` is what is known of their keys, ``waiting`` are the labels that wait
    for one of their ids, and ``target`` is the type of labels in the log.
    """
    counts: _Counts = Counter(came.gone)
    new = _first_of_each(came.predictions_of)
    new = new[~known.known[came.predictions_of[new]]]
    predictions = came.predictions.chosen(new)
    counts["duplicate_events", "prediction"] += len(came.predictions) - len(new)
    for version, number in predictions.versions.value_counts().rows():
        counts["predictions", version] += number
    counts.update(("shadow_predictions", one.prediction.version) for one in came.shadows)

    ids_of_new = came.predictions_of[new]
    since = np.where(known.known, _KNOWN, _NEVER)  # the place among all events from which on each id is known
    since[ids_of_new] = came.predictions_at[new]
    times, marks, seqs = known.times.copy(), known.marks.copy(), np.zeros(len(since), np.int64)
    times[ids_of_new] = predictions.times
    seqs[ids_of_new] = predictions.seqs

    waited = _waited_for(came, waiting, since)
    labels = _Labels.of(list(waited.values()), came, target)
    offers = _offers(came, list(waited), labels)
    early = offers.at < since[offers.of]
    last = _last_early(offers.where(early).in_order(), counts)
    found = last.where(since[last.of] != _NEVER)
    found = found._replace(at=since[found.of], seqs=seqs[found.of])
    rest = _Offers._make(map(np.concatenate, zip(found, offers.where(~early), strict=True))).in_order()
    taken = _taken(rest, times, marks, came.since, accepted_for, counts)
    marks[taken.of] = taken.marks
    changed = _either(ids_of_new, taken.of, len(since))
    still = last.where((since[last.of] == _NEVER) & (last.at >= 0)).which.tolist()
    return Plan(
        predictions=predictions,
        shadows=came.shadows,
        labels=_labels_frame(taken.where(np.argsort(taken.at)), times, labels),
        keys=came.keys[:, changed],
        times=times[changed],
        marks=marks[changed],
        waiting={one.id: one for one in map(labels.row, still)},
        matched={one.id for place, one in waited.items() if since[place] != _NEVER},
        counts={key: number for key, number in counts.items() if number},
        watermark=came.watermark,
        labels_until=came.labels_until,
    )


def _first_of_each(of: _Ints) -> _Ints:
    """Return, in order, the places at which each number comes for the first time."""
    first = np.empty(of.max(initial=-1) + 1, np.int64)
    first[of[::-1]] = np.arange(len(of))[::-1]
    return np.flatnonzero(first[of] == np.arange(len(of)))


def _either(some: _Ints, others: _Ints, size: int) -> _Ints:
    """Return, in order, the numbers below a size that are among some or among others."""
    there = np.zeros(size, np.bool_)
    there[some] = there[others] = True
    return np.flatnonzero(there)


def _waited_for(came: Arrived, waiting: Mapping[str, Label], since: _Ints) -> dict[int, Label]:
    """Return the labels that wait for an id that was not known before, by the id's place among the keys."""
    if not waiting:
        return {}
    events = chain(
        zip(came.label_ids.to_list(), came.labels_of.tolist(), strict=True),
        zip(came.predictions.ids.to_list(), came.predictions_of.tolist(), strict=True),
    )
    places = {id: place for id, place in events if id in waiting}
    return {place: one for id, one in waiting.items() if since[place := places[id]] != _KNOWN}


class _Labels(NamedTuple):
    """Labels by column, each of shape (n,): those that waited, as if they came before all others, and those that came.

    Times are microseconds since 1970.
    """

    ids: pl.Series
    values: pl.Series
    times: _Ints

    @classmethod
    def of(cls, waited: Sequence[Label], came: Arrived, target: type[pl.Float64] | type[pl.String]) -> Self:
        """Return both; ``target`` is the type of labels in the log."""
        before = pl.Series([one.id for one in waited], dtype=pl.String)
        values = pl.Series([*(one.label for one in waited), *came.label_values], dtype=target)
        return cls(
            pl.concat([before, came.label_ids.alias(before.name)]) if waited else came.label_ids,
            values,
            np.append(micros_of([one.time for one in waited]), came.label_times),
        )

    def row(self, place: int) -> Label:
        """Return one of them."""
        return Label(id=self.ids[place], label=self.values[place], time=moment_of(int(self.times[place])))


def _offers(came: Arrived, waited: Sequence[int], labels: _Labels) -> _Offers:
    """Return on offer the labels that waited, for the ids at these places, and those that came."""
    before = len(waited)
    return _Offers(
        of=np.append(np.array(waited, np.int64), came.labels_of),
        at=np.append(np.full(before, -1), came.labels_at),
        seqs=np.append(np.zeros(before, np.int64), came.label_seqs),
        times=labels.times,
        marks=label_marks(labels.values),
        which=np.arange(len(labels.times)),
    )


def _last_early(early: _Offers, counts: _Counts) -> _Offers:
    """Return the one label of each id that waits, of those that are earlier than its prediction; count the others.

    One that says the same as the one before it is a duplicate.
    """
    here = early.at >= 0
    again = here & (early.marks == _before(early, np.full(len(here), NO_MARK)))
    counts["duplicate_events", "label"] += int(again.sum())
    counts["early_labels", ""] += int((here & ~again).sum())
    kept = early.where(~again)
    return kept.where(np.append(kept.of[1:] != kept.of[:-1], True)[: len(kept.of)])


def _taken(
    rest: _Offers, times: _Ints, marks: Words, since: int | None, accepted_for: timedelta, counts: _Counts
) -> _Offers:
    """Return the labels that say something new of predictions that are known, which are id by id, and count all.

    ``times`` and ``marks`` are of the predictions, before these labels.
    """
    in_time = rest.times - times[rest.of] <= accepted_for // timedelta(microseconds=1)
    if since is not None:
        in_time &= times[rest.of] >= since
    counts["invalid_events", "label.too_late"] += int((~in_time).sum())
    rest = rest.where(in_time)
    before = _before(rest, marks[rest.of])
    new = rest.marks != before
    counts["duplicate_events", "label"] += int((~new).sum())
    counts["labels", ""] += int((new & (before == NO_MARK)).sum())
    counts["corrected_labels", ""] += int((new & (before != NO_MARK)).sum())
    return rest.where(new)


def _before(offers: _Offers, first: Words) -> Words:
    """Return the mark before each label, which are id by id: that of the one before it, or ``first`` for the first."""
    again = np.append(False, offers.of[1:] == offers.of[:-1])[: len(first)]
    return np.where(again, np.append(NO_MARK, offers.marks[:-1])[: len(first)], first)


def _labels_frame(taken: _Offers, times: _Ints, labels: _Labels) -> pl.DataFrame:
    """Return labels as rows of the log."""
    which = pl.Series(taken.which)
    return pl.DataFrame(
        {
            "seq": pl.Series(taken.seqs),
            "prediction_time": pl.Series(times[taken.of]).cast(TIME),
            "id": labels.ids.gather(which),
            "time": pl.Series(taken.times).cast(TIME),
            "label": labels.values.gather(which),
        }
    )
