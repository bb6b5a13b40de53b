"""Read how the service itself is, for its page."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from driftline.service.leases import status_of
from driftline.service.runtime import Service
from driftline.store.addresses import resolved, without_secrets
from driftline.store.keep import FOREVER, Keep, in_days
from driftline.store.leases import LeaseRow, Leases, ProcessRow
from driftline.store.outbox import Outbox
from driftline.web.operations import problems_of_all
from driftline.web.ui.system import Kept, Process, Receiver, SystemView, Waiting

_MODELS_SHOWN = 20
_GIVEN_UP = ("refused", "expired")


def system_of(service: Service) -> SystemView:
    """Return how the service is, as of now; the number of statements is that of its receivers and a few more."""
    config, inbox = service.config, service.inbox
    waiting, oldest = inbox.waiting_events(), inbox.oldest_waiting()
    with service.state.read() as read:
        leases = Leases(read.connection)
        rows, live, now = leases.all(), leases.live(), leases.now()
        receivers = _receivers(service, Outbox(read.connection))
        cuts, holds = read.retention.cuts(), read.retention.holds()
    held: dict[str, list[str]] = {}
    for row in rows:
        if row.expires_at > now:
            held.setdefault(row.holder, []).append(row.name)
    processes = [_process(one, (now - one.said_at).total_seconds(), held) for one in live]
    most = sorted(waiting, key=lambda name: -waiting[name])[:_MODELS_SHOWN]
    return SystemView(
        release=importlib.metadata.version("driftline"),
        started=service.started,
        problems=problems_of_all(service),
        warnings=service.warnings,
        processes=processes if service.shared else [_alone(service)],
        free_leases=_free(rows, held) if service.shared else (),
        models=len(config.models),
        waiting=[Waiting(name, waiting[name], oldest.get(name)) for name in most],
        waiting_events=sum(waiting.values()),
        events_place=str(config.blobs.root),
        database=without_secrets(resolved(config.database)),
        database_bytes=inbox.database_bytes(),
        free_bytes=_free_bytes(config.storage),
        receivers=receivers,
        kept=[*_kept(config.keep)],
        cuts=[*cuts.values()][:_MODELS_SHOWN],
        holds=[*holds.values()][:_MODELS_SHOWN],
    )


def _process(row: ProcessRow, behind_seconds: float, held: Mapping[str, Sequence[str]]) -> Process:
    said, holds = status_of(row), held.get(row.id, ())
    return Process(row.role, row.host, row.pid, said.address, row.started_at, behind_seconds, said.idle, holds)


def _alone(service: Service) -> Process:
    who = service.role.name, socket.gethostname(), os.getpid(), service.address
    return Process(*who, service.started, 0.0, service.idle, ())


def _free(rows: Sequence[LeaseRow], held: Mapping[str, Sequence[str]]) -> list[str]:
    taken = {name for names in held.values() for name in names}
    return [row.name for row in rows if row.name not in taken]


def _receivers(service: Service, outbox: Outbox) -> list[Receiver]:
    delivered, waiting, failed = outbox.count("delivered"), outbox.count("waiting"), outbox.count_failed_attempts()
    given_up = [outbox.count(state) for state in _GIVEN_UP]
    found = []
    for one in service.config.notify:
        first = outbox.waiting(one.name, 1) if waiting.get(one.name) else []
        found.append(
            Receiver(
                one.name,
                one.kind,
                delivered.get(one.name, 0),
                waiting.get(one.name, 0),
                sum(counts.get(one.name, 0) for counts in given_up),
                failed.get(one.name, 0),
                first[0].last_error if first else "",
            )
        )
    return found


def _kept(keep: Keep) -> Iterator[Kept]:
    events = sorted({*keep.events.values()}, key=lambda one: (one is None, one))
    yield Kept("events", " or ".join(_period(one) for one in events) + (", by model" if len(events) > 1 else ""))
    yield Kept("windows", _period(keep.windows))
    yield Kept("quarantine", _period(keep.quarantine))
    yield Kept("notifications", _period(keep.notifications))
    yield Kept("runs", _period(keep.runs))


def _period(period: timedelta | None) -> str:
    return FOREVER if period is None else in_days(period)


def _free_bytes(folder: Path) -> int | None:
    with suppress(OSError):
        return shutil.disk_usage(folder).free
    return None
