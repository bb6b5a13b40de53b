"""How late the labels of a model come, by what is kept of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate

import msgspec

from driftline.monitoring.summary import WindowBrief
from driftline.profiles.delays import STEPS
from driftline.store.overview import Overview
from driftline.store.state import Work

MOST_WINDOWS = 1000
"""So many windows are looked at, the newest."""

_brief = msgspec.msgpack.Decoder(WindowBrief)


class Unlabelled(msgspec.Struct, frozen=True):
    """Of predictions that have reached an age, in seconds, the share that had no label then, 0 to 1."""

    age_seconds: int
    predictions: int
    share: float


class LabelDelayView(msgspec.Struct, frozen=True):
    """How late the labels of a model come, in its newest ``windows``: by event time, and by their first label.

    ``median_seconds`` and ``p90_seconds`` are the steps of `STEPS` within which a half and nine tenths of the labels
    came, of those that come at all; both are None where none has. ``unlabelled`` has the share that was still without
    one by age, as far as there are predictions so old: only those can tell, so that what is young does not count as
    missing.
    """

    windows: int
    labels: int
    median_seconds: int | None
    p90_seconds: int | None
    unlabelled: list[Unlabelled]


def label_delay(read: Work, model: str, watermark: datetime) -> LabelDelayView | None:
    """Return how late labels come, by what the state knows; None where no label has come."""
    bodies = Overview(read.connection).briefs([model], MOST_WINDOWS).get(model, [])
    return delay_of([_brief.decode(body) for body in bodies], watermark)


def delay_of(briefs: Sequence[WindowBrief], watermark: datetime) -> LabelDelayView | None:
    """Return how late the labels of some windows came, where event time has come to ``watermark``.

    Windows whose labels were counted by a release that did not know how late they came are left out.

    Law: that a window is split into two of the same end changes nothing but their number.
    """
    known = [one for one in briefs if one.label_delays or not one.labelled]
    labels = sum(count for one in known for _, count in one.label_delays)
    if not labels:
        return None
    found = [Unlabelled(age, rows, 1 - labelled / rows) for age, rows, labelled in _by_age(known, watermark) if rows]
    came = list(accumulate((1 - one.share for one in found), max))  # windows differ: as much as had come, came
    reached = came[-1] if came else 0.0
    within = [
        next((one.age_seconds for one, share in zip(found, came, strict=True) if share >= part * reached), None)
        if reached > 0
        else None
        for part in (0.5, 0.9)
    ]
    return LabelDelayView(len(known), labels, within[0], within[1], found)


def _by_age(briefs: Sequence[WindowBrief], watermark: datetime) -> list[tuple[int, int, int]]:
    """Return of each step how many predictions are so old, and how many of them were labelled within it.

    A window counts from the age that its youngest prediction has reached; one pass over the windows, oldest first.
    """
    found, left = list[tuple[int, int, int]](), sorted(briefs, key=lambda one: one.end)
    rows, counts = sum(one.predictions for one in left), dict.fromkeys(STEPS, 0)
    for one in left:
        for step, count in one.label_delays:
            counts[step] = counts.get(step, 0) + count
    for age in STEPS:
        while left and watermark - left[-1].end < timedelta(seconds=age):
            gone = left.pop()
            rows -= gone.predictions
            for step, count in gone.label_delays:
                counts[step] -= count
        if not left:
            break
        found.append((age, rows, sum(count for step, count in counts.items() if step <= age)))
    return found
