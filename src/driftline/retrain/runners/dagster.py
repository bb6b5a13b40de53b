"""Train by a run of a Dagster job; the request is in its tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from driftline.environment import secret
from driftline.errors import RefusedError, UnavailableError, UsageError
from driftline.fields import Text
from driftline.net.addresses import require_address
from driftline.net.outgoing import ask
from driftline.retrain.runners.handover import mark, was_taken
from driftline.retrain.runners.runner import Request, RunnerKind, RunOptions

TAG = "driftline/"
"""The prefix of the tags: ``driftline/request_id``, ``driftline/model`` …"""

_FIND = """
query Find($tags: [ExecutionTag!]) {
  runsOrError(filter: {tags: $tags}, limit: 1) {
    __typename
    ... on Runs { results { runId } }
    ... on Error { message }
  }
}"""
_LAUNCH = """
mutation Launch($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}, executionMetadata: {tags: $tags}}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}"""
_SHOWN_LENGTH = 200


class _Reply(msgspec.Struct, frozen=True, rename={"kind": "__typename"}):
    kind: str = ""
    message: str = ""
    results: tuple[dict[str, Any], ...] = ()
    errors: tuple[dict[str, Any], ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    data: dict[str, _Reply] | None = None
    errors: tuple[dict[str, Any], ...] = ()


class DagsterSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A job that trains."""

    url: Text
    job: Text
    location: Text
    repository: Text = "__repository__"
    token: Text | None = None


@dataclass(frozen=True, slots=True)
class Dagster:
    """Launches a job, without run configuration, unless there is a run with the request's tag.

    Dagster does not enforce one run for a tag: two senders at the same moment would both launch one.
    ``url`` is the webserver's, ``location`` the code location of the job; ``token`` is one of Dagster+.
    """

    url: str
    job: str
    location: str
    repository: str = "__repository__"
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        require_address(self.url, "Dagster")
        if not (self.job and self.location and self.repository):
            raise UsageError("a job of Dagster has a name, a code location and a repository; write all of them")

    def start(self, request: Request, folder: Path) -> None:
        """Launch the run if there is none; raises the errors of `driftline.net.outgoing.post`."""
        if was_taken(folder):
            return
        payload = request.payload()
        tags = [{"key": TAG + name, "value": value} for name, value in payload.items() if value]
        mine = [{"key": f"{TAG}request_id", "value": request.id}]
        found = self._ask(_FIND, "runsOrError", tags=mine)
        if found.kind != "Runs":
            raise _error(found)
        if not found.results:
            selector = {
                "repositoryLocationName": self.location,
                "repositoryName": self.repository,
                "jobName": self.job,
            }
            launched = self._ask(_LAUNCH, "launchRun", selector=selector, tags=tags)
            if launched.kind != "LaunchRunSuccess":
                raise _error(launched)
        mark(folder)

    def _ask(self, query: str, name: str, **variables: Any) -> _Reply:
        answer = ask(
            "POST",
            f"{self.url.rstrip('/')}/graphql",
            _Answer,
            {"query": query, "variables": variables},
            headers={"Dagster-Cloud-Api-Token": self.token} if self.token else {},
            hidden=[self.token],
        )
        reply = (answer.data or {}).get(name)
        if reply is None:
            raise UnavailableError(f"the answer is not understood: {_messages(answer.errors)}")
        return reply


def _error(reply: _Reply) -> UnavailableError:
    """Turn an error, which comes with the status 200, into an exception."""
    said = f"{reply.kind}: {reply.message or _messages(reply.errors)}"[:_SHOWN_LENGTH]
    return RefusedError(said) if reply.kind == "RunConfigValidationInvalid" else UnavailableError(said)


def _messages(errors: tuple[dict[str, Any], ...]) -> str:
    return "; ".join(" ".join(str(error.get("message", "")).split()) for error in errors)[:_SHOWN_LENGTH]


def _open(section: DagsterSection, config: RunOptions) -> Dagster:
    del config
    return Dagster(secret(section.url), section.job, section.location, section.repository, secret(section.token or ""))


KIND = RunnerKind(DagsterSection, _open)
