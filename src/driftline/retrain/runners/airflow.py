"""Train by a DAG run of Airflow 3; the request is its ``conf``."""

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
from driftline.net.outgoing import ask, ask_unless, bearer
from driftline.retrain.runners.handover import mark, was_taken
from driftline.retrain.runners.runner import Request, RunnerKind, RunOptions

_LONGEST_NOTE = 1_000
_THERE = 409


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class AirflowSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A DAG that trains."""

    url: Text
    dag: Text
    username: Text | None = None
    password: Text | None = None
    token: Text | None = None


@dataclass(frozen=True, slots=True)
class Airflow:
    """Creates the run ``driftline__ID`` of a DAG; a run of that name that already exists belongs to the same request.

    ``url`` is the API server's. A ``token`` is used as it is. Otherwise one is requested at ``/auth/token`` each time,
    with ``username`` and ``password``, or without them, which only a server answers that treats everybody as admin.
    """

    url: str
    dag: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        require_address(self.url, "Airflow")
        if not self.dag or self.dag in (".", ".."):
            raise UsageError(f"the DAG came as {self.dag!r}; write its id, such as train_churn")

    def start(self, request: Request, folder: Path) -> None:
        """Create the run if it does not exist; raises the errors of `driftline.net.outgoing.post`."""
        if was_taken(folder):
            return
        token = self.token or self._token()
        ask_unless(
            [_THERE],
            "POST",
            f"{self.url.rstrip('/')}/api/v2/dags/{quote(self.dag, safe='')}/dagRuns",
            dict[str, Any],
            {
                "dag_run_id": f"driftline__{request.id}",
                "logical_date": None,
                "conf": request.payload(),
                "note": request.reason[:_LONGEST_NOTE],
            },
            headers=bearer(token),
            hidden=[token],
        )
        mark(folder)

    def _token(self) -> str:
        where = f"{self.url.rstrip('/')}/auth/token"
        if not self.username:
            return ask("GET", where, _Token).access_token
        credentials = {"username": self.username, "password": self.password}
        return ask("POST", where, _Token, credentials, hidden=[self.password]).access_token


def _open(section: AirflowSection, config: RunOptions) -> Airflow:
    del config
    username, password, token = (secret(one or "") for one in (section.username, section.password, section.token))
    return Airflow(secret(section.url), section.dag, username, password, token)


KIND = RunnerKind(AirflowSection, _open)
