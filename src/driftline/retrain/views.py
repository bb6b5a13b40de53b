"""Views of retraining for people and programs, made from the state and the registry."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from driftline.monitoring.model import MonitoredModel
from driftline.retrain.facts import facts_of, with_label_fault
from driftline.retrain.options import RetrainConfig
from driftline.retrain.policy import Ask, Wait, decide
from driftline.retrain.request import Stage
from driftline.retrain.rows import RowsRecord
from driftline.rules.contest import Contest
from driftline.store.retention import Cut, gone_words
from driftline.store.retraining import Retraining, RetrainingRow, StepRow
from driftline.store.state import State

if TYPE_CHECKING:
    from driftline.retrain.controller import RetrainingController


_contest = msgspec.json.Decoder(Contest | None)
_record = msgspec.json.Decoder(RowsRecord | None)


class RequestView(msgspec.Struct, frozen=True):
    """A request for a challenger; ``event_time`` and ``live_from`` are event time, other times wall-clock time."""

    id: str
    model: str
    trigger: str
    reason: str
    by: str
    asked_at: datetime
    event_time: datetime
    stage: str
    over: bool
    changed_at: datetime
    note: str
    version: str
    champion: str
    live_from: datetime | None
    contest: msgspec.Raw
    steps: list[StepRow]
    rows: str = ""
    """Of the rows that it was handed, since when some are no longer in the log, in words; empty where all are."""


class RequestsView(msgspec.Struct, frozen=True):
    """The requests for a model. ``blocked`` says what asks for a challenger, and why none is trained; else empty."""

    model: str
    blocked: str
    requests: list[RequestView]


class ChampionView(msgspec.Struct, frozen=True):
    """The present and the previous champion, None without one, and whether the present one is on probation."""

    model: str
    champion: str | None
    previous: str | None
    on_probation: bool


def decode_contest(contest: bytes | msgspec.Raw) -> Contest | None:
    """Return a stored contest; None if it was not held yet."""
    found: Contest | None = _contest.decode(contest)
    return found


def request_view(state: State, id: str) -> RequestView:
    """Return one request; raises `UnknownNameError` for an unknown id."""
    with state.read() as read:
        known = Retraining(read.connection)
        row = known.row(id)
        return _view(row, known.steps([id])[id], read.retention.cut(row.model))


def requests_view(state: State, model: MonitoredModel, config: RetrainConfig | None, *, most: int) -> RequestsView:
    """Return the newest requests for a model, up to ``most``, and what blocks the next one."""
    blocked = ""
    with state.read() as read:
        known = Retraining(read.connection)
        rows = known.rows(model.name, most=most)
        steps, cut = known.steps(row.id for row in rows), read.retention.cut(model.name)
        facts = facts_of(model, config, read) if config is not None else None
        asked: Ask | Wait | None = None
        if config is not None and facts is not None:
            asked = decide(config.policy, facts)
            if isinstance(asked, Ask):
                asked = decide(config.policy, with_label_fault(facts, model, config, read))
        if isinstance(asked, Wait):
            blocked = f"{asked.reason}, but {asked.blocked_by}"
    return RequestsView(model.name, blocked, [_view(row, steps[row.id], cut) for row in rows])


def all_requests(state: State, model: str | None = None, *, most: int = 100) -> list[RequestView]:
    """Return the newest requests for all models, or for one, up to ``most``."""
    with state.read() as read:
        known = Retraining(read.connection)
        rows = known.rows(model, most=most)
        steps, cuts = known.steps(row.id for row in rows), read.retention.cuts()
    return [_view(row, steps[row.id], cuts.get(row.model)) for row in rows]


def champion_view(loop: RetrainingController, model: str) -> ChampionView:
    """Return which version of a model is champion."""
    aliases = loop.registry.aliases(model)
    champion = aliases.get("champion")
    with loop.state.read() as read:  # after the aliases, which a promotion changes before its row
        recent = Retraining(read.connection).rows(model, stages=[Stage.PROMOTING, Stage.BAKING])
    on_probation = champion is not None and any(row.version == champion for row in recent)
    return ChampionView(model, champion, aliases.get("previous"), on_probation)


def _view(row: RetrainingRow, steps: list[StepRow], cut: Cut | None) -> RequestView:
    return RequestView(
        id=row.id,
        model=row.model,
        trigger=row.trigger,
        reason=row.reason,
        by=row.by,
        asked_at=row.asked_at,
        event_time=row.event_time,
        stage=row.stage,
        over=Stage(row.stage).over,
        changed_at=row.changed_at,
        note=row.note,
        version=row.version,
        champion=row.champion,
        live_from=row.live_from,
        contest=msgspec.Raw(row.contest),
        steps=steps,
        rows=_gone(row, cut),
    )


def _gone(row: RetrainingRow, cut: Cut | None) -> str:
    record = _record.decode(row.rows)
    if record is None or cut is None or min(record.training.begin, record.evaluation.begin) >= cut.before:
        return ""
    return gone_words(cut)
