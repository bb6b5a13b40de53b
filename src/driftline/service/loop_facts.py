"""What the policy of retraining goes by: read from the state of a model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from driftline.events import Task
from driftline.profiles import WindowProfile
from driftline.profiles.column import CategoricalColumn
from driftline.retrain.policy import Facts, FiringAlert, label_fault
from driftline.retrain.request import BUSY
from driftline.retrain.rows import Split, split
from driftline.rules import Status
from driftline.service.model import MonitoredModel
from driftline.service.retrain_sections import RetrainConfig
from driftline.sketches import decode
from driftline.store.retraining import Retraining
from driftline.store.state import WindowRow, Work


def facts_of(model: MonitoredModel, config: RetrainConfig, read: Work) -> Facts | None:
    """What is known of a model now; None before its first judged window."""
    stored, parts = read.model(model.name), split_of(model, config, read)
    if stored is None or stored.watermark is None or parts is None:
        return None
    known = Retraining(read.connection)
    rows = known.rows(model.name)
    windows = read.windows(model.name)
    labels = labels_had(model.name, read)
    busy = [row for row in rows if row.stage in BUSY]
    return Facts(
        now=stored.watermark,
        began=min(row.start for row in windows),
        firing=[FiringAlert(row.rule, row.measure) for row in read.alerts(model.name, status=Status.FIRING.value)],
        asked=sorted(row.event_time for row in rows),
        new_labels=labels - (rows[0].labels if rows else 0),
        labelled_rows=sum(
            row.labelled for row in windows if parts.training.start <= row.start and row.end <= parts.training.end
        ),
        going_on=busy[0].id if busy else "",
        label_fault=_label_fault(model, [row for row in windows if row.window.overlaps(parts.evaluation)]),
    )


def labels_had(model: str, read: Work) -> int:
    """How many labels and corrections of labels a model has had."""
    return sum(value for (name, _), value in read.counters(model).items() if name in ("labels", "corrected_labels"))


def split_of(model: MonitoredModel, config: RetrainConfig, read: Work) -> Split | None:
    """What to learn from and what to judge by: before the end of the newest judged window; None before the first."""
    newest = read.newest_settled_start(model.name)
    if newest is None:
        return None
    until: datetime = model.config.window.window_of(newest).end
    return split(until, train_on=config.train_on, evaluate_on=config.evaluate_on)


def _label_fault(model: MonitoredModel, windows: Sequence[WindowRow]) -> str:
    """Whether the labels that a contest would be judged by are those of a world that there is.

    A fault that has begun lately is hidden by what was good before: the newest window is looked at alone, then the two
    newest, and so on.
    """
    if model.schema.task is Task.REGRESSION:
        return ""
    reference = _labels(model.reference.profile)
    now: Counter[str] = Counter()
    for _, versions in itertools.groupby(reversed(windows), key=lambda row: row.start):
        for row in versions:
            now.update(_labels(decode(row.profile, WindowProfile)))
        if fault := label_fault(reference, now):
            return fault
    return ""


def _labels(profile: WindowProfile) -> Counter[str]:
    column = profile.labels.columns.get("label")
    return Counter(column.categories.counts) if isinstance(column, CategoricalColumn) else Counter()
