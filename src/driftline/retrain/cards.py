"""Gather model cards from the registry, the requests, the windows and the alerts."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from driftline.errors import UnknownNameError
from driftline.events import Slice, Window
from driftline.monitoring.summary import WindowSummary
from driftline.reports.model_card import CardEvent, CardMeasure, CardRows, ModelCard
from driftline.retrain.answers import UNVERSIONED
from driftline.retrain.registry import CHAMPION, PREVIOUS, Registry, Version
from driftline.retrain.rows import RowsRecord
from driftline.retrain.views import decode_contest
from driftline.rules import held_against
from driftline.rules.contest import Contest
from driftline.store.retraining import Retraining
from driftline.store.state import State, Work

_summary = msgspec.msgpack.Decoder(WindowSummary)


def model_card(
    model: str, version: str | None, task: str, state: State, registry: Registry, timezone: str = "UTC"
) -> ModelCard:
    """Return the card of a version, by default the champion's.

    Raises `UnknownNameError` for a version that neither the registry nor the log knows.
    """
    aliases = registry.aliases(model)
    with state.read() as read:
        seen = read.counters.versions(model)
        known = {one.version: one for one in registry.versions(model)}
        name = version or aliases.get(CHAMPION) or (seen[-1] if seen else "")
        if name not in known and name not in seen:
            raise UnknownNameError(f"version of {model}", name, {*known, *seen})
        stored = known.get(name)
        answered = "" if name == UNVERSIONED and name not in seen else name
        summary = _newest(read, model, answered)
        contest = decode_contest(stored.contest) if stored is not None else None
        requests = [row for row in Retraining(read.connection).rows(model) if row.version == name]
        steps = Retraining(read.connection).steps(row.id for row in requests)
        first, last = read.windows.first_of_version(model, answered), read.windows.last_of_version(model, answered)
        live = Window(first, last) if first is not None and last is not None else None
        alerts = held_against(read.alerts.find(model), live)
    status = next((what for what, one in aliases.items() if one == name and what in (CHAMPION, PREVIOUS)), "")
    card = ModelCard(
        model=model,
        version=name,
        task=task,
        timezone=timezone,
        registered_at=stored.created_at if stored is not None else None,
        status=status,
        parent=(stored.parent or "") if stored is not None else "",
        code=stored.code if stored is not None else "",
        rows=_rows(stored),
        signature=tuple(stored.signature.items()) if stored is not None else (),
        files=[(file, one.size_bytes, one.sha256) for file, one in stored.files.items()] if stored is not None else (),
        window=(summary.start, summary.end) if summary is not None else None,
        measures=_measures(summary),
        drift=_drift(summary),
        alerts=None if alerts is None else [CardEvent(row.fired_at, row.rule, row.status) for row in alerts],
        history=[CardEvent(one.at, one.stage, one.note, one.by) for row in requests[::-1] for one in steps[row.id]],
    )
    return _with_contest(card, contest) if contest is not None else card


def _newest(read: Work, model: str, version: str) -> WindowSummary | None:
    """Return the newest judged window with labelled predictions of a version."""
    for body in reversed(read.summaries.between(model, slice=Slice(version))):
        summary = _summary.decode(body)
        if summary.stage == "judged" and summary.labelled:
            return summary
    return None


def _rows(stored: Version | None) -> list[CardRows]:
    if stored is None or "rows" not in stored.data:
        return []
    record = msgspec.convert(stored.data["rows"], RowsRecord)
    return [
        CardRows(what, span.begin, span.end, span.rows)
        for what, span in (("learned from", record.training), ("judged by", record.evaluation))
    ]


def _measures(summary: WindowSummary | None) -> list[CardMeasure]:
    if summary is None:
        return []
    return [
        CardMeasure(name, one.value, one.low, one.high, one.n, one.problem) for name, one in summary.performance.items()
    ]


def _drift(summary: WindowSummary | None) -> list[str]:
    if summary is None:
        return []
    outputs = {"predictions": summary.prediction_drift, "labels": summary.label_drift}
    views = {**summary.drift, **{name: view for name, view in outputs.items() if view is not None}}
    return [f"{name} ({', '.join(view.changes) or view.reason})" for name, view in views.items() if view.drifted]


def _with_contest(card: ModelCard, contest: Contest) -> ModelCard:
    return replace(
        card,
        decision=contest.decision,
        reason=contest.reason,
        gates=[(gate.name, gate.passed, gate.reason) for gate in contest.gates],
        segments=[
            (f"{one.segment} = {one.value}", one.difference.second, one.difference.first, one.difference.n)
            for one in contest.segments
        ],
    )
