"""Routes for operators: whether the process answers and processes, what it measures, and which process does what."""

from __future__ import annotations

import importlib.metadata
import os
import socket
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from driftline.service.leases import ROLES, LeaseKeeper, status_of
from driftline.service.runtime import Service
from driftline.store.leases import Leases, ProcessRow
from driftline.web.decode import json_answer
from driftline.web.ui.audit import BEFORE_CHANGE
from driftline.web.vitals import Vitals

_PAGE_LIMIT = 1000
_NO_WORKER = "no process works on models at the moment; what arrives is kept, and waits"


class LeaseView(msgspec.Struct, frozen=True):
    """A lease: what it is for, which process holds it (empty for none), and until when unless it is renewed."""

    name: str
    holder: str
    token: int
    expires_at: datetime


class ProcessView(msgspec.Struct, frozen=True):
    """A process that is alive; ``behind_seconds`` is how long ago it last said so."""

    id: str
    role: str
    host: str
    pid: int
    address: str
    started_at: datetime
    behind_seconds: float
    idle: bool
    problems: dict[str, str]
    warnings: dict[str, str]


def operations_routes(service: Service, registry: CollectorRegistry) -> APIRouter:
    """Return the routes that every process answers, whatever its role."""
    router = APIRouter(tags=["operations"])
    vitals = Vitals(service.config, service.inbox)

    @router.get("/health", name="health", summary="Tell whether the process answers.")
    async def health() -> Response:  # not in a thread: all of them may wait for the database
        return json_answer({"status": "ok"})

    @router.get("/ready", name="ready", summary="Tell whether events are being processed.")
    async def ready() -> Response:
        seen = await vitals.seen()
        others = _others(service, seen.processes)
        problems = {**_problems_of(others), **service.problems, **seen.problems}
        if not service.caught_up:
            problems.setdefault("start", "what was stored is being judged; it takes a moment")
        warnings: dict[str, object] = {**service.warnings}
        if seen.poisoned:
            warnings["poisoned"] = seen.poisoned
        if service.shared and not service.role.works and not any(one.role in _WORKING for one in others):
            warnings["workers"] = _NO_WORKER
        body = {
            "ready": not problems,
            "problems": problems,
            "warnings": warnings,
            "waiting_events": seen.waiting_events,
            "idle": service.idle and not (service.shared and (seen.waiting_events or _is_busy(others))),
        }
        return json_answer(body, 503 if problems else 200)

    @router.get("/metrics", summary="The Prometheus exposition.", response_class=PlainTextResponse)
    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return router


def system_routes(service: Service) -> APIRouter:
    """Return the routes on the whole service."""
    router = APIRouter(prefix="/api/v1", tags=["operations"])

    @router.get("/audit", summary="List who changed what, when and why, the newest first.")
    def audit(
        model: str | None = None, limit: int = Query(100, ge=1, le=_PAGE_LIMIT), before: int | None = BEFORE_CHANGE
    ) -> Response:
        return json_answer({"changes": service.views.changes(limit=limit, before=before, model=model)})

    @router.get("/system", summary="Tell which processes are alive, and which of them does what.")
    def system() -> Response:
        with service.state.read() as read:
            leases = Leases(read.connection)
            rows, live, now = leases.all(), leases.live(), leases.now()
        held = {row.name: row for row in rows if row.expires_at > now}
        views = [LeaseView(row.name, row.holder if row.name in held else "", row.token, row.expires_at) for row in rows]
        processes = [_view(one, now) for one in live] if service.shared else [_alone(service)]
        waiting = service.inbox.waiting_events()
        return json_answer({"processes": processes, "leases": views, "waiting_events": waiting})

    return router


def _alone(service: Service) -> ProcessView:
    """Return the one process of a service that shares its database with no other."""
    who = (service.role.name, socket.gethostname(), os.getpid(), service.address)
    return ProcessView("", *who, service.started, 0.0, service.idle, service.problems, service.warnings)


def _view(row: ProcessRow, now: datetime) -> ProcessView:
    said = status_of(row)
    return ProcessView(
        row.id,
        row.role,
        row.host,
        row.pid,
        said.address,
        row.started_at,
        round((now - row.said_at).total_seconds(), 3),
        said.idle,
        said.problems,
        said.warnings,
    )


# ---- the other processes --------------------------------------------------------------------------------------------

_WORKING = {role.name for role in ROLES.values() if role.works}


def problems_of_all(service: Service) -> dict[str, str]:
    """Return what is wrong with parts of the service, whichever process has said so."""
    if not service.shared:
        return service.problems
    with service.state.read() as read:
        others = _others(service, Leases(read.connection).live())
    return {**_problems_of(others), **service.problems}


def _others(service: Service, processes: Iterable[ProcessRow]) -> list[ProcessRow]:
    mine = service.keeper.id if isinstance(service.keeper, LeaseKeeper) else ""
    return [one for one in processes if one.id != mine]


def _problems_of(processes: Iterable[ProcessRow]) -> dict[str, str]:
    return {name: words for one in processes for name, words in status_of(one).problems.items()}


def _is_busy(processes: Iterable[ProcessRow]) -> bool:
    return any(one.role in _WORKING and not status_of(one).idle for one in processes)


class ProcessCollector:
    """What a process without series of models measures: what it holds, and what it cannot do."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield the present metric families."""
        service = self._service
        build = GaugeMetricFamily("driftline_build_info", "The release of Driftline; always 1.", labels=("version",))
        build.add_metric((importlib.metadata.version("driftline"),), 1)
        yield build
        leases = GaugeMetricFamily(
            "driftline_process_leases", "Leases that the process holds, by its role.", labels=("role",)
        )
        leases.add_metric((service.role.name,), len(service.keeper.names))
        yield leases
        said = "Models and other parts that the process cannot process."
        yield GaugeMetricFamily("driftline_process_problems", said, len(service.problems))

    def describe(self) -> Iterable[Metric]:
        """Return nothing, because registering must not read the state."""
        return ()
