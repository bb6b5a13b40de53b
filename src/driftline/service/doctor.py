"""Examine a service from outside, whether it runs or not: each finding says how a part is and what to do.

Nothing is changed: no table is migrated, no folder created, and nothing is sent anywhere.
"""

from __future__ import annotations

import enum
import fcntl
import importlib.metadata
import os
import platform
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import sqlalchemy as sa

from driftline import clock
from driftline.access.tokens import state_of
from driftline.config.load import Config
from driftline.errors import DriftlineError, UsageError
from driftline.monitoring.hiding import opened
from driftline.monitoring.options import ModelConfig
from driftline.profiles.infer import feature_columns
from driftline.service.leases import NOTIFY, model_lease
from driftline.service.trouble import in_words
from driftline.sketches.compiled import kernel
from driftline.store.addresses import resolved, without_secrets
from driftline.store.database import Watch, clock_of, has_state, is_shared, newest_revision, revision_of, version_of
from driftline.store.inbox import Inbox
from driftline.store.leases import Leases
from driftline.store.models import Models
from driftline.store.poison import poisoned
from driftline.store.retention import held_words
from driftline.store.s3 import Bucket, Patience, probe
from driftline.store.state import State
from driftline.text import visible
from driftline.text.durations import length
from driftline.text.moments import moment
from driftline.text.numbers import count, number

LEAST_FREE_BYTES, LITTLE_FREE_BYTES = 100 * 10**6, 10**9
"""Less free disk than the first is a failure, than the second a warning."""

_PATIENCE = timedelta(seconds=5)
_FAR_PATIENCE = Patience(request=_PATIENCE, connection=_PATIENCE, retries=1, retrying=2 * _PATIENCE)
_SOON = timedelta(days=14)
_CLOCK_OFF = timedelta(seconds=5)
_AHEAD = timedelta(days=1)
_MANY_WAITING = 100_000
_LATE = timedelta(minutes=5)
_LIBRARIES = ("driftline", "polars", "deltalake", "numpy", "sqlalchemy")


class Status(enum.StrEnum):
    """How a part is: all well, worth knowing, or not working."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(msgspec.Struct, frozen=True):
    """One part of a service, how it is, and in words why and what to do."""

    name: str
    status: Status
    message: str


class Diagnosis(msgspec.Struct, frozen=True):
    """All checks, in a fixed order; it is ``ok`` where none has failed."""

    ok: bool
    checks: tuple[Check, ...]


def diagnose(config: Config, now: datetime) -> Diagnosis:
    """Examine the service of a configuration; what goes wrong is a check that failed. ``now`` is wall-clock time."""
    began = clock.monotonic_seconds()
    found = [_versions(), _loops(), *_storage(config, now)]
    found += _database(config, now + timedelta(seconds=clock.monotonic_seconds() - began))
    found += [*_references(config), *_certificate(config), _running(config)]
    return Diagnosis(all(one.status is not Status.FAILED for one in found), tuple(found))


def _versions() -> Check:
    told = [f"Python {platform.python_version()}"]
    told += [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]
    return Check("versions", Status.OK, ", ".join(told))


def _loops() -> Check:
    if kernel() is not None:
        return Check("compiled loops", Status.OK, "in use")
    return Check(
        "compiled loops",
        Status.WARNING,
        "not there: profiles are as exact, and slower; install a wheel, or a C compiler",
    )


# ---- the folder -----------------------------------------------------------------------------------------------------


def _storage(config: Config, now: datetime) -> Iterator[Check]:
    if config.bucket is None:
        yield from _folder("storage", Path(config.storage), now)
        return
    place = Bucket.at(config.bucket, _FAR_PATIENCE)
    try:
        problem = probe(place, f"doctor-{secrets.token_hex(8)}")
    except UsageError as error:  # a package is missing, or the file of credentials is none
        problem = str(error)
    if problem is None:
        said = f"{place.root} can be written, and takes conditional writes, so that no writer overwrites another"
        yield Check("storage", Status.OK, said)
    else:
        yield Check("storage", Status.FAILED, problem)
    yield from _folder("scratch", Path(config.storage), now)


def _folder(name: str, folder: Path, now: datetime) -> Iterator[Check]:
    if folder.exists() and not folder.is_dir():
        yield Check(name, Status.FAILED, f"{folder} is no folder")
        return
    if not folder.exists():
        beside = next(one for one in folder.absolute().parents if one.exists())
        if os.access(beside, os.W_OK):
            yield Check(name, Status.OK, f"{folder} is not there yet; `driftline serve` creates it")
        else:
            yield Check(name, Status.FAILED, f"{folder} cannot be created: {beside} cannot be written")
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            written = datetime.fromtimestamp(os.stat(file.name).st_mtime, UTC)
    except OSError as error:
        yield Check(name, Status.FAILED, in_words(OSError(error.errno, error.strerror, str(folder))))
        return
    yield Check(name, Status.OK, f"{folder} can be written")
    free = shutil.disk_usage(folder).free
    status = Status.FAILED if free < LEAST_FREE_BYTES else Status.WARNING if free < LITTLE_FREE_BYTES else Status.OK
    advice = "" if status is Status.OK else "; make room before events are refused"
    yield Check("disk", status, f"{number(free / 10**9)} GB are free where {folder} is{advice}")
    if abs(now - written) > _CLOCK_OFF:
        said = f"the disk says {moment(written)}, this machine {moment(now)}; synchronise both clocks"
        yield Check("clock", Status.WARNING, said)
    else:
        yield Check("clock", Status.OK, f"{moment(now)}, as the disk says")


def _running(config: Config) -> Check:
    try:
        with (Path(config.storage) / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return Check("service", Status.OK, "none has run here yet")
    except BlockingIOError:
        return Check("service", Status.OK, f"one works in {config.storage}")
    except OSError as error:
        return Check("service", Status.FAILED, in_words(error))
    return Check("service", Status.WARNING, f"none works in {config.storage}; start `driftline serve`")


# ---- the database ---------------------------------------------------------------------------------------------------


def _database(config: Config, now: datetime) -> Iterator[Check]:
    try:
        shown = without_secrets(resolved(config.database))
        if not has_state(config.database):
            yield Check("database", Status.OK, f"{shown} is empty; `driftline serve` or `driftline migrate` fills it")
            return
        watch = Watch(config.database, _PATIENCE)
    except DriftlineError as error:
        yield Check("database", Status.FAILED, str(error))
        return
    try:
        trouble = watch.write_trouble()
        if trouble is not None:
            yield Check("database", Status.FAILED, f"{shown}: {in_words(trouble)}")
        else:
            yield Check("database", Status.OK, f"{shown} can be read and written ({version_of(watch.engine)})")
        yield from _server_clock(watch.engine, now)
        has, needs = revision_of(watch.engine), newest_revision()
        yield _migrations(has, needs)
        if has == needs:
            yield from _state(config, watch.engine, now)
    except sa.exc.SQLAlchemyError as error:
        yield Check("database", Status.FAILED, f"{shown}: {in_words(error)}")
    finally:
        watch.engine.dispose()


def _server_clock(engine: sa.Engine, now: datetime) -> Iterator[Check]:
    began = clock.monotonic_seconds()
    said = clock_of(engine)
    if said is None:
        return
    here = now + timedelta(seconds=clock.monotonic_seconds() - began)
    if abs(here - said) > _CLOCK_OFF:
        off = f"the database says {moment(said)}, this machine {moment(here)}; synchronise both clocks"
        yield Check("database clock", Status.WARNING, off)
    else:
        yield Check("database clock", Status.OK, f"{moment(said)}, as this machine says")


def _migrations(has: str, needs: str) -> Check:
    if has == needs:
        return Check("migrations", Status.OK, f"all are applied ({has})")
    if has > needs:
        said = f"the database is of a later release ({has}, this one knows {needs}); install that one"
        return Check("migrations", Status.FAILED, said)
    return Check(
        "migrations", Status.WARNING, f"{needs} is not applied (it has {has}); back up, then `driftline migrate`"
    )


def _state(config: Config, engine: sa.Engine, now: datetime) -> Iterator[Check]:
    waiting = Inbox(engine).waiting_events()
    most = sum(waiting.values())
    told = ", ".join(f"{model} {count(events)}" for model, events in sorted(waiting.items())) or "none"
    status = Status.WARNING if most > _MANY_WAITING else Status.OK
    yield Check("waiting events", status, told + ("; more come than are processed" if status is not Status.OK else ""))
    yield _lag(Inbox(engine).oldest_waiting(), now)
    with State(engine).read() as read:
        if is_shared(config.database):
            yield from _processes(config, Leases(read.connection))
        aside = poisoned(read.connection)
        told = ", ".join(f"{model} {count(events)}" for model, events in sorted(aside.items()))
        yield Check(
            "events set aside",
            Status.WARNING if told else Status.OK,
            f"{told}; read them at /api/v1/models/MODEL/quarantine" if told else "none",
        )
        yield from _event_times(config, read.models, now)
        holds = read.retention.holds().values()
        told = "; ".join(f"{one.model} is held {held_words(one)}" for one in holds)
        yield Check("holds", Status.OK, f"{told}: nothing of it is deleted" if told else "none")
        tokens = [one for one in read.tokens.all() if state_of(one, now) == "good"]
    ending = [one.name for one in tokens if one.expires_at is not None and one.expires_at - now < _SOON]
    said = f"{count(len(tokens))} are good"
    if ending:
        said += f"; {', '.join(ending)} expire within {_SOON.days} days: create others"
    yield Check("tokens", Status.WARNING if ending else Status.OK, said)


def _lag(oldest: Mapping[str, datetime], now: datetime) -> Check:
    """Say how long the oldest batch waits: a service that works takes it within seconds."""
    if not oldest:
        return Check("lag", Status.OK, "nothing waits to be processed")
    waits = {model: now - since for model, since in oldest.items()}
    told = ", ".join(f"{model} for {length(_whole(span))}" for model, span in sorted(waits.items()))
    if max(waits.values()) <= _LATE:
        return Check("lag", Status.OK, f"the oldest events wait: {told}")
    advice = "is the service running? /ready and its log say what holds a model up"
    return Check("lag", Status.WARNING, f"the oldest events wait: {told}; {advice}")


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=max(0, round(span.total_seconds())))


def _processes(config: Config, leases: Leases) -> Iterator[Check]:
    """Say which processes are alive, and which of them holds what."""
    live, now = {one.id: one for one in leases.live()}, leases.now()
    if not live:
        yield Check("processes", Status.WARNING, "none is alive; start `driftline serve`")
        return
    seen = [f"{one.role} on {one.host}, process {one.pid}, {_ago(now - one.said_at)}" for one in live.values()]
    yield Check("processes", Status.OK, "; ".join(seen))
    held = {row.name: live[row.holder] for row in leases.all() if row.expires_at > now and row.holder in live}
    told = [f"{name}: {one.role} on {one.host}, process {one.pid}" for name, one in held.items()]
    free = [name for name in [*map(model_lease, config.models), NOTIFY] if name not in held]
    if free:
        said = f"nobody holds {', '.join(free)}; start a process of the role, or wait a moment; "
        yield Check("leases", Status.WARNING, said + ("; ".join(told) or "nothing is held"))
    else:
        yield Check("leases", Status.OK, "; ".join(told))


def _ago(since: timedelta) -> str:
    return f"heard of {number(max(since.total_seconds(), 0.0))} s ago"


def _event_times(config: Config, models: Models, now: datetime) -> Iterator[Check]:
    ahead = []
    for model in config.models:
        row = models.get(model)
        if row is not None and row.watermark is not None and row.watermark - now > _AHEAD:
            ahead.append(f"{model} has events of {moment(row.watermark)}")
    if ahead:
        said = f"{'; '.join(ahead)}: the clock of who sends them, or of this machine, is wrong"
        yield Check("event times", Status.WARNING, said)
    else:
        yield Check("event times", Status.OK, "no event is from the future")


# ---- files that the configuration names -----------------------------------------------------------------------------


def _references(config: Config) -> Iterator[Check]:
    missing = [f"{name}: {one.reference}" for name, one in config.models.items() if not _is_there(one.reference)]
    if missing:
        yield Check("references", Status.FAILED, f"not there: {'; '.join(missing)}")
        return
    wrong = [said for one in config.models.values() if (said := _no_reference(one))]
    if wrong:
        yield Check("references", Status.FAILED, "; ".join(wrong))
    else:
        yield Check("references", Status.OK, f"{count(len(config.models))} can be read")


def _no_reference(model: ModelConfig) -> str:
    """Return why a file cannot be the reference of a model, by its head; empty if it can be."""
    try:
        feature_columns(opened(model.reference, model).schema, model.columns)
    except (DriftlineError, OSError) as error:
        return f"models.{model.name}.reference: {visible(str(error))}"
    return ""


def _is_there(reference: Path) -> bool:
    text = str(reference)
    if any(sign in text for sign in "*?["):
        return any(reference.parent.glob(reference.name))
    return os.access(reference, os.R_OK)


def _certificate(config: Config) -> Iterator[Check]:
    if config.tls is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(config.tls.certificate, config.tls.key)
    except OSError as error:  # `ssl.SSLError` is one
        said = f"{config.tls.certificate} and {config.tls.key} do not fit: {error.strerror or error}"
        yield Check("certificate", Status.FAILED, said)
    else:
        yield Check("certificate", Status.OK, f"{config.tls.certificate} fits its key")
