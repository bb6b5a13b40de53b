"""Read the facts that the retraining policy decides by from the state of a model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from driftline.events import Task
from driftline.monitoring.model import MonitoredModel
from driftline.profiles import WindowProfile
from driftline.profiles.column import CategoricalColumn
from driftline.retrain.options import RetrainConfig
from driftline.retrain.policy import Facts, FiringAlert, label_fault
from driftline.retrain.request import BUSY
from driftline.retrain.rows import Split, split
from driftline.rules import Status
from driftline.sketches import decode
from driftline.store.retraining import Retraining
from driftline.store.state import Work
from driftline.store.windows import WindowRow


def facts_of(model: MonitoredModel, config: RetrainConfig, read: Work) -> Facts | None:
    """Return the facts about a model, without a check of its labels; None before its first judged window."""
    stored, parts, began = (
        read.models.get(model.name),
        split_of(model, config, read),
        read.windows.first_start(model.name),
    )
    if stored is None or stored.watermark is None or parts is None or began is None:
        return None
    rows = Retraining(read.connection).rows(model.name)
    busy = [row for row in rows if row.stage in BUSY]
    return Facts(
        now=stored.watermark,
        began=began,
        firing=[FiringAlert(row.rule, row.measure) for row in read.alerts.find(model.name, status=Status.FIRING.value)],
        asked=sorted(row.event_time for row in rows),
        new_labels=labels_had(model.name, read) - (rows[0].labels if rows else 0),
        labelled_rows=read.windows.labelled_within(model.name, parts.training.start, parts.training.end),
        going_on=busy[0].id if busy else "",
    )


def with_label_fault(facts: Facts, model: MonitoredModel, config: RetrainConfig, read: Work) -> Facts:
    """Return the facts with a check of the labels that a contest would be judged by.

    It reads profiles, which takes long, so call it only if everything else says that a challenger is to be trained.
    """
    parts = split_of(model, config, read)
    assert parts is not None  # there are facts
    windows = read.windows.between(model.name, start=parts.evaluation.start, end=parts.evaluation.end)
    return replace(facts, label_fault=_label_fault(model, windows))


def labels_had(model: str, read: Work) -> int:
    """Return how many labels and corrections of labels have come for a model."""
    return sum(value for (name, _), value in read.counters.of(model).items() if name in ("labels", "corrected_labels"))


def split_of(model: MonitoredModel, config: RetrainConfig, read: Work) -> Split | None:
    """Return the spans to train on and to judge by, up to the newest judged window's end; None before the first."""
    newest = read.windows.newest_settled_start(model.name)
    if newest is None:
        return None
    until: datetime = model.config.window.window_of(newest).end
    return split(until, train_on=config.train_on, evaluate_on=config.evaluate_on)


def _label_fault(model: MonitoredModel, windows: Sequence[WindowRow]) -> str:
    """Say what is wrong with the labels that a contest would be judged by; empty where they are plausible.

    Good labels from before would hide a fault that began lately, so the newest window is checked alone, then the two
    newest together, and so on.
    """
    if model.schema.task is Task.REGRESSION:
        return ""  # before any profile is read
    now: Counter[str] = Counter()
    for _, versions in itertools.groupby(reversed(windows), key=lambda row: row.start):
        for row in versions:
            now.update(_labels(decode(row.profile, WindowProfile)))
        if fault := fault_of_labels(model, now):
            return fault
    return ""


def fault_of_labels(model: MonitoredModel, labels: Mapping[str, int]) -> str:
    """Say what is wrong with labels, counted by class, compared with the reference; empty for a regression."""
    if model.schema.task is Task.REGRESSION:
        return ""
    return label_fault(_labels(model.reference.profile), labels)


def _labels(profile: WindowProfile) -> Counter[str]:
    column = profile.labels.columns.get("label")
    return Counter(column.categories.counts) if isinstance(column, CategoricalColumn) else Counter()
