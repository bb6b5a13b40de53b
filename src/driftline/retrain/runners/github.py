"""Train by GitHub Actions: an event of a repository starts the workflow that `driftline export ci github` writes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from driftline.environment import secret
from driftline.errors import UsageError
from driftline.fields import Text
from driftline.net.addresses import require_address
from driftline.net.outgoing import ask_unless, bearer, post
from driftline.retrain.runners.handover import SENDING, mark, was_taken
from driftline.retrain.runners.runner import Request, RunnerKind, RunOptions

EVENT = "driftline-retrain"

_LONGEST_REASON = 1_000
_FORBIDDEN, _MISSING = 403, 404


class _Run(msgspec.Struct, frozen=True):
    display_title: str = ""


class _Runs(msgspec.Struct, frozen=True):
    workflow_runs: tuple[_Run, ...] = ()


class GitHubSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A repository whose workflow trains."""

    repository: Text
    token: Text
    url: Text = "https://api.github.com"


@dataclass(frozen=True, slots=True)
class GitHub:
    """Sends ``repository_dispatch`` to a repository, ``OWNER/NAME``; the payload is the request.

    ``token`` needs *contents: write*. GitHub does not recognise an event that is sent twice. So a file in the run's
    folder records that it was sent; if the process ended before that was written, the repository's runs are searched,
    for which the token needs *actions: read*. Without that the event may be sent twice. ``url`` is that of the API.
    """

    repository: str
    token: str = field(repr=False)
    url: str = "https://api.github.com"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+/(?!\.{1,2}\Z)[\w.-]+", self.repository, re.ASCII):
            raise UsageError(f"the repository came as {self.repository!r}; write OWNER/NAME, such as example/models")
        require_address(self.url, "GitHub's API")

    def start(self, request: Request, folder: Path) -> None:
        """Send the event unless it was sent; raises `StorageError` and the errors of `driftline.net.outgoing.post`."""
        if was_taken(folder):
            return
        if not ((folder / SENDING).exists() and self._has_run(request.id)):
            mark(folder, SENDING)
            payload = request.payload() | {"reason": request.reason[:_LONGEST_REASON]}
            event = {"event_type": EVENT, "client_payload": payload}
            where = f"{self._repository()}/dispatches"
            post(where, msgspec.json.encode(event), headers=self._headers(), hidden=[self.token])
        mark(folder)

    def _has_run(self, id: str) -> bool:
        where = f"{self._repository()}/actions/runs?event=repository_dispatch&per_page=100"
        # A token without the right to search must not prevent the event.
        cannot = (_FORBIDDEN, _MISSING)
        found = ask_unless(cannot, "GET", where, _Runs, headers=self._headers(), hidden=[self.token])
        return found is not None and any(id in run.display_title.split() for run in found.workflow_runs)

    def _repository(self) -> str:
        return f"{self.url.rstrip('/')}/repos/{self.repository}"

    def _headers(self) -> dict[str, str]:
        return {
            **bearer(self.token),
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }


def _open(section: GitHubSection, config: RunOptions) -> GitHub:
    del config
    return GitHub(section.repository, secret(section.token), secret(section.url))


KIND = RunnerKind(GitHubSection, _open)
