"""Train by a run of a deployed flow of Prefect 3, which takes the request as its parameter ``request``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from driftline.environment import secret
from driftline.errors import UsageError
from driftline.fields import Text
from driftline.net.addresses import require_address
from driftline.net.outgoing import ask, bearer
from driftline.retrain.runners.handover import mark, was_taken
from driftline.retrain.runners.runner import Request, RunnerKind, RunOptions


class _Deployment(msgspec.Struct, frozen=True):
    id: str


class PrefectSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A deployment of a flow that trains: its server's address with ``/api``, and FLOW/DEPLOYMENT."""

    url: Text
    deployment: Text
    token: Text | None = None


@dataclass(frozen=True, slots=True)
class Prefect:
    """Creates a run of a deployment, ``FLOW/DEPLOYMENT``. The id of the request is its idempotency key.

    ``url`` is the API's address, such as ``http://127.0.0.1:4200/api``; ``token`` is an API key of Prefect Cloud.
    """

    url: str
    deployment: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        require_address(self.url, "Prefect's API")
        flow, _, name = self.deployment.partition("/")
        if not flow or not name or "/" in name or {flow, name} & {".", ".."}:
            raise UsageError(f"the deployment came as {self.deployment!r}; write FLOW/DEPLOYMENT, such as train/churn")

    def start(self, request: Request, folder: Path) -> None:
        """Create the run, or find it already created; raises the errors of `driftline.net.outgoing.post`."""
        if was_taken(folder):
            return
        api = f"{self.url.rstrip('/')}/deployments"
        flow, _, name = self.deployment.partition("/")
        headers, hidden = bearer(self.token), [self.token]
        where = f"{api}/name/{quote(flow, safe='')}/{quote(name, safe='')}"
        id = ask("GET", where, _Deployment, headers=headers, hidden=hidden).id
        body = {
            "name": f"driftline-{request.id}",
            "idempotency_key": f"driftline-{request.id}",
            "parameters": {"request": request.payload()},
            "tags": ["driftline", request.model],
        }
        where = f"{api}/{quote(id, safe='')}/create_flow_run"
        ask("POST", where, dict[str, Any], body, headers=headers, hidden=hidden)
        mark(folder)


def _open(section: PrefectSection, config: RunOptions) -> Prefect:
    del config
    return Prefect(secret(section.url), section.deployment, secret(section.token or ""))


KIND = RunnerKind(PrefectSection, _open)
