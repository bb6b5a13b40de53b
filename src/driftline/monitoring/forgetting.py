"""Erases a person's rows of one model: from the inbox, the log, the state and what was set aside.

It is asked for, and done by whoever works the model, in steps that can be repeated. Windows keep their counts and
values: first it is stored how many rows of which windows go, and these windows are left alone from then on. What comes
of these ids later is known by their keyed hashes, and dropped.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import msgspec
import polars as pl
from msgspec import Meta

from driftline.errors import ConflictError, UsageError
from driftline.events.values import identifier
from driftline.monitoring.agreement import known_marks
from driftline.monitoring.hiding import Hiding
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.options import ModelConfig
from driftline.store.forgetting import CLEANING, DONE, ERASING, STOPPED, WAITING, ForgettingRow
from driftline.store.log import TABLES
from driftline.store.retention import Hold, held_words
from driftline.store.state import State, Work

MOST_IDS = 10_000
"""How many ids one request may name."""

MOST_FILES = 4
"""How many files of the log one step writes anew."""

_NAMED = 20
_HASH_SHOWN = 16
_Id = Annotated[str, Meta(min_length=1, max_length=4096)]
_Reason = Annotated[str, Meta(max_length=1000)]


class ForgetBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Whose rows are to be erased, why, and who asks."""

    ids: Annotated[list[_Id | int], Meta(min_length=1, max_length=MOST_IDS)]
    reason: _Reason = ""
    by: Annotated[str, Meta(min_length=1, max_length=200)] = "somebody"


class HoldBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Why nothing of a model is to be deleted, and who says so."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    by: Annotated[str, Meta(min_length=1, max_length=200)] = "somebody"


class ForgottenWindow(msgspec.Struct, frozen=True):
    """A window that lost rows, which it still counts."""

    start: datetime
    version: str
    rows: int


class Found(msgspec.Struct, frozen=True):
    """How many rows were erased, by where they were; ``windows`` count theirs still."""

    predictions: int = 0
    labels: int = 0
    shadows: int = 0
    inbox: int = 0
    quarantine: int = 0
    runs: int = 0
    windows: list[ForgottenWindow] = []


class ForgettingView(msgspec.Struct, frozen=True):
    """A request to forget, as people see it: without the ids."""

    id: str
    model: str
    by: str
    reason: str
    asked_at: datetime
    ids: int
    state: str
    note: str
    done_at: datetime | None
    erased: Found | None


def view_of(row: ForgettingRow) -> ForgettingView:
    """Return what people are shown of a request."""
    found = None if row.found is None else msgspec.json.decode(row.found, type=Found)
    told = row.id, row.model, row.by, row.reason, row.asked_at, row.number, row.state, row.note, row.done_at
    return ForgettingView(*told, found)


# ---- asking ----------------------------------------------------------------------------------------------------------


def ask_to_forget(state: State, config: ModelConfig, body: ForgetBody, now: datetime) -> ForgettingView:
    """Store a request, and that it was made, without the ids in clear.

    Raises `ConflictError` for a model that somebody holds, and `UsageError` for what cannot be an id.
    """
    hiding, model, key = Hiding.of(config), config.name, config.key
    named = {as_stored(one) for one in body.ids}
    ids = sorted(named if hiding is None else map(hiding.identifier, named))
    shown = [key.digest(one).hex()[:_HASH_SHOWN] for one in ids[:_NAMED]]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    row = ForgettingRow(secrets.token_hex(8), model, body.by, body.reason, now, msgspec.msgpack.encode(ids), len(ids))
    with state.work() as work:
        require_unheld(work, model)
        work.forgettings.put(row)
        subject = f"{row.id}: {', '.join(shown)}{more}"
        work.audit.add(now, body.by, "forget", model=model, subject=subject, reason=body.reason)
    return view_of(row)


def as_stored(id: str | int) -> str:
    """Return an id as it is stored; raises `UsageError` for what cannot be one."""
    try:
        return identifier(id)
    except ValueError as error:
        raise UsageError(f"an id {error}") from None


def require_unheld(work: Work, model: str) -> None:
    """Raise `ConflictError` for a model that somebody holds."""
    if (hold := work.retention.holds().get(model)) is not None:
        raise ConflictError(f"{model} is held {held_words(hold)}: nothing of it is deleted until the hold is released")


def hold(state: State, model: str, body: HoldBody, now: datetime) -> Hold:
    """Have nothing of a model deleted: neither what is old, nor what somebody asks to forget."""
    row = Hold(model, body.by, body.reason, now)
    with state.work() as work:
        work.retention.put_hold(row)
        work.audit.add(now, body.by, "hold", model=model, reason=body.reason)
    return row


def release(state: State, model: str, by: str, now: datetime) -> Hold:
    """End a hold, and return it; raises `ConflictError` where there is none."""
    with state.work() as work:
        if (row := work.retention.holds().get(model)) is None:
            raise ConflictError(f"{model} is not held; there is nothing to release")
        work.retention.end_hold(model)
        work.audit.add(now, by, "release", model=model, reason=row.reason)
    return row


# ---- doing it --------------------------------------------------------------------------------------------------------

FromRuns = Callable[[Collection[str]], int | str]
"""Takes ids; erases their rows from the folders of the model's runs, and returns how many, or in words why not yet."""


def forget_next(model: MonitoredModel, state: State, from_runs: FromRuns, now: datetime) -> bool:
    """Take the next step of the oldest request of a model; return whether there is more to do at once."""
    with state.read() as read:
        row, held = read.forgettings.next(model.name), read.retention.holds().get(model.name)
    if row is None:
        return False
    if held is not None and row.state == WAITING:
        _put(state, replace(row, state=STOPPED, ids=None, note=f"held {held_words(held)}", done_at=now))
        return True
    if row.state == WAITING:
        return _begin(model, state, from_runs, row, now)
    if row.state == ERASING:
        return _erase(model, state, row)
    return _clean(model, state, row, now)


def _begin(model: MonitoredModel, state: State, from_runs: FromRuns, row: ForgettingRow, now: datetime) -> bool:
    """Forget what the state and the runs know, and store which windows lose how many rows."""
    ids = row.names()
    runs = from_runs(ids)
    if isinstance(runs, str):
        if row.note != runs:
            _put(state, replace(row, note=runs))
        return False
    with state.read() as read:
        through = known_marks(read, model.name)  # what the log has beyond waits in the inbox, and no window counts it
    logged = model.log.times_of(ids, through)
    known = logged["predictions"].rows() if "predictions" in logged else []
    lost = Counter((model.config.window.window_of(time).start, version) for time, version in known)
    windows = [ForgottenWindow(start, version, number) for (start, version), number in sorted(lost.items())]
    rows = {table: len(times) for table, times in logged.items()}
    with state.work() as work:
        inbox = work.forgettings.erase_waiting(model.name, set(ids))
        aside = work.forgettings.erase_quarantined(model.name, carries(ids))
        work.forgettings.erase_known(model.name, ids)
        work.forgettings.remember(model.name, (model.config.key.digest(one) for one in ids), now)
        work.retention.add_forgotten(model.name, lost)
        found = Found(
            predictions=rows.get("predictions", 0),
            labels=rows.get("labels", 0),
            shadows=rows.get("shadow", 0),
            inbox=inbox,
            quarantine=aside,
            runs=runs,
            windows=windows,
        )
        work.forgettings.put(replace(row, state=ERASING, note="", found=msgspec.json.encode(found)))
    return True


def _erase(model: MonitoredModel, state: State, row: ForgettingRow) -> bool:
    """Take the rows, which are counted, out of some files of the log."""
    gone, more = pl.col("id").is_in(pl.lit(pl.Series(row.names(), dtype=pl.String)).implode()), False
    for table in TABLES:
        more = model.log.erase(table, gone, most_files=MOST_FILES).more or more
    if more or not model.log.delete_erased():
        return more
    _put(state, replace(row, state=CLEANING, ids=None))
    return True


def _clean(model: MonitoredModel, state: State, row: ForgettingRow, now: datetime) -> bool:
    """Leave no byte in the database's file, and say that it is done."""
    if not state.wipe():
        return False
    with state.work() as work:
        work.forgettings.put(replace(row, state=DONE, done_at=now))
        found = _found(row)
        rows = found.predictions + found.labels + found.shadows + found.inbox + found.quarantine + found.runs
        work.audit.add(now, row.by, "forgotten", model=model.name, subject=row.id, reason=f"{rows} rows erased")
    return True


def _found(row: ForgettingRow) -> Found:
    return Found() if row.found is None else msgspec.json.decode(row.found, type=Found)


def _put(state: State, row: ForgettingRow) -> None:
    with state.work() as work:
        work.forgettings.put(row)


def carries(ids: Sequence[str]) -> Callable[[bytes], bool]:
    """Return what tells whether the JSON of a row that was set aside has one of the ids as a value, or in its bytes."""
    wanted, raw = set(ids), [one.encode(errors="surrogatepass") for one in ids]

    def has(value: Any) -> bool:
        if isinstance(value, dict):
            return any(has(one) for one in value.values())
        if isinstance(value, list):
            return any(has(one) for one in value)
        try:
            return value is not None and identifier(value) in wanted
        except (ValueError, TypeError):
            return False

    def told(row: bytes) -> bool:
        try:
            decoded = msgspec.json.decode(row)
        except (ValueError, RecursionError):
            return any(one in row for one in raw)
        if isinstance(decoded, dict) and isinstance(body := decoded.get("body"), str) and len(decoded) == 1:
            try:
                return any(one in base64.b64decode(body, validate=True) for one in raw)
            except binascii.Error:
                return False
        if isinstance(decoded, str):  # what could not be stored as JSON is stored as a text of it
            return any(one in decoded for one in ids)
        return has(decoded)

    return told
