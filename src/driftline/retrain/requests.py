"""Make, approve, refuse and cancel requests for challengers."""

from __future__ import annotations

import secrets
from collections.abc import Container
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from driftline.errors import ConflictError, UsageError
from driftline.monitoring.model import MonitoredModel
from driftline.retrain.facts import facts_of, labels_had, with_label_fault
from driftline.retrain.options import RetrainConfig
from driftline.retrain.policy import Ask, Trigger, blocked_because
from driftline.retrain.request import BUSY, CANCELLABLE, Stage
from driftline.retrain.runners.run import Run
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.store.state import State

Words = Annotated[str, Meta(min_length=1, max_length=1000)]


class AskBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who acts on a request or a champion, and why."""

    by: Words
    reason: Words


class ShadowBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who asks for the contest of a version that has answered as a shadow, and why."""

    version: Words
    by: Words
    reason: Words


def request_id(now: datetime) -> str:
    """Return a new id of 20 hexadecimal digits: 12 of the milliseconds, so that ids sort by time, and 8 random ones."""
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(4)}"


def ask(state: State, model: MonitoredModel, asked: Ask, by: str, now: datetime, *, version: str = "") -> RetrainingRow:
    """Store a request and return it; raises `ConflictError` while another one for the model is unfinished."""
    with state.work() as work:
        stored = work.models.get(model.name)
        row = RetrainingRow(
            id=request_id(now),
            model=model.name,
            trigger=asked.trigger.value,
            reason=asked.reason,
            by=by,
            asked_at=now,
            event_time=stored.watermark if stored is not None and stored.watermark is not None else now,
            stage=Stage.ASKED.value,
            changed_at=now,
            note=asked.reason,
            labels=labels_had(model.name, work),
            version=version,
        )
        Retraining(work.connection).add(row, busy=BUSY)
    return row


def ask_by_person(
    state: State, model: MonitoredModel, config: RetrainConfig | None, body: AskBody, now: datetime
) -> RetrainingRow:
    """Store a person's request. The policy's conditions apply, except for the cooldown and the limit for a day.

    Raises `UsageError` if the model has no `retrain` in its configuration, and `ConflictError` with the reason if no
    challenger may be trained now.
    """
    _require_allowed(state, model, config)
    return ask(state, model, Ask(Trigger.MANUAL, body.reason), body.by, now)


def ask_for_shadow(
    state: State, model: MonitoredModel, config: RetrainConfig | None, body: ShadowBody, now: datetime
) -> RetrainingRow:
    """Store a person's request for the contest of a shadow; raises the same errors as `ask_by_person`."""
    _require_allowed(state, model, config, least_labels=0)
    return ask(state, model, Ask(Trigger.SHADOW, body.reason), body.by, now, version=body.version)


def _require_allowed(
    state: State, model: MonitoredModel, config: RetrainConfig | None, *, least_labels: int | None = None
) -> None:
    if config is None:
        raise UsageError(
            f"{model.name} has no `retrain` in driftline.yaml; say there who trains a challenger, and on what"
        )
    with state.read() as read:
        facts = facts_of(model, config, read)
        if facts is not None:
            facts = with_label_fault(facts, model, config, read)
    if facts is None:
        raise ConflictError(f"no window of {model.name} has been judged yet: there is nothing to learn from")
    policy = config.policy if least_labels is None else replace(config.policy, least_labels=least_labels)
    if because := blocked_because(policy, facts, person=True):
        raise ConflictError(f"no challenger of {model.name} may be trained now: {because}")


def cancel_by_person(state: State, runs: Path, id: str, body: AskBody, now: datetime) -> RetrainingRow:
    """Cancel a request before its contest: it counts as failed, and its run on this machine is stopped.

    ``runs`` has the folders of runs. A run elsewhere goes on, but its report will be refused. Raises `ConflictError`
    after the contest, and `UnknownNameError` for an unknown request.
    """
    with state.work() as work:
        known = Retraining(work.connection)
        row = known.row(id)
        if row.stage not in CANCELLABLE:
            raise ConflictError(
                f"request {id} is {row.stage}; only one whose contest was not held can be cancelled: refuse one that "
                "is waiting, roll one back that is on probation"
            )
        known.move(id, row.stage, Stage.FAILED.value, now, by=body.by, note=f"cancelled by {body.by}: {body.reason}")
        row = known.row(id)
    Run(runs / id).stop()
    return row


def decide_by_person(
    retrained: Container[str], state: State, id: str, stage: Stage, body: AskBody, now: datetime
) -> RetrainingRow:
    """Approve (`Stage.PROMOTING`) or refuse (`Stage.REFUSED`) a challenger that has won.

    Raises `ConflictError` unless it is waiting for that, and for an approval if its model is no longer in
    ``retrained``, so that nothing would promote it.
    """
    with state.work() as work:
        known = Retraining(work.connection)
        row = known.row(id)
        if stage is Stage.PROMOTING and row.model not in retrained:
            raise ConflictError(
                f"request {id} cannot be approved: {row.model} has no `retrain` in the configuration any more, so that "
                "nothing would promote it; put it back, or refuse the request"
            )
        if not known.move(id, Stage.WAITING.value, stage.value, now, by=body.by, note=body.reason):
            raise ConflictError(f"request {id} is {row.stage}; only one that is waiting can be approved or refused")
        return known.row(id)
