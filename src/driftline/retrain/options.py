"""The `retrain` part of ``driftline.yaml``: its keys, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from driftline.fields import Count, Short, Text
from driftline.retrain.policy import Policy

Command = Annotated[list[Text], Meta(min_length=1)]


class WhenSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What asks for a challenger: alerts by rule, a time since the last one, or so many new labels."""

    alerts: list[Short] = []
    every: Short | None = None
    new_labels: Count | None = None


class GitHubSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A repository whose workflow trains."""

    repository: Text
    token: Text
    url: Text = "https://api.github.com"


class AirflowSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A DAG that trains."""

    url: Text
    dag: Text
    username: Text | None = None
    password: Text | None = None
    token: Text | None = None


class PrefectSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A deployment of a flow that trains: its server's address with ``/api``, and FLOW/DEPLOYMENT."""

    url: Text
    deployment: Text
    token: Text | None = None


class DagsterSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A job that trains."""

    url: Text
    job: Text
    location: Text
    repository: Text = "__repository__"
    token: Text | None = None


class WebhookSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Any server that trains when it is told to."""

    url: Text
    secret: Text | None = None


RUNNERS = ("commands", "function", "github", "airflow", "prefect", "dagster", "webhook")
"""The kinds of runners: `run` has exactly one of these keys."""

_ONE_RUNNER = {"oneOf": [{"required": [kind]} for kind in RUNNERS]}


class RunSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who trains: commands or a Python function in a process of its own, with limits; or another server."""

    commands: Annotated[list[Command], Meta(min_length=1)] | None = None
    function: Text | None = None
    github: GitHubSection | None = None
    airflow: AirflowSection | None = None
    prefect: PrefectSection | None = None
    dagster: DagsterSection | None = None
    webhook: WebhookSection | None = None
    time_limit: Short | None = None
    memory: Short = "4GB"
    environment: list[Text] = []
    report_secret: Text | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether another server trains, and reports."""
        return self.commands is None and self.function is None

    @property
    def most_time(self) -> str:
        """``time_limit``, or what stands for it: a run elsewhere may have to wait for a machine."""
        return self.time_limit or ("1d" if self.elsewhere else "1h")


class GatesSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a challenger has to be to win; see `driftline gate`."""

    measure: Short | None = None
    margin: Annotated[float, Meta(ge=0)] | None = None
    improvement: Annotated[float, Meta(ge=0)] | None = None
    floor: float | None = None
    least_rows: Count | None = None
    least_class_rows: Count | None = None
    segments: list[Text] = []


class TellSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who is told when a challenger waits, is promoted, rolled back, held or has failed."""

    url: Text
    secret: Text | None = None


class RetrainSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When a challenger is trained, on what, by whom, and what becomes of it."""

    run: Annotated[RunSection, Meta(extra_json_schema=_ONE_RUNNER)]
    when: WhenSection = WhenSection()
    cooldown: Short = "1d"
    most_a_day: Count = 1
    least_labels: Count = 200
    train_on: Short = "365d"
    evaluate_on: Short = "30d"
    approval: Literal["manual", "auto"] = "manual"
    gates: GatesSection = GatesSection()
    bake: Short = "7d"
    bake_windows: Count = 3
    tell: TellSection | None = None


@dataclass(frozen=True, slots=True)
class RetrainConfig:
    """`retrain` of one model, checked. Spans are of event time, but for the limit of a run."""

    policy: Policy
    run: RunSection
    time_limit: timedelta
    memory_bytes: int
    train_on: timedelta
    evaluate_on: timedelta
    auto: bool
    gates: GatesSection
    bake: timedelta
    bake_windows: int
    tell: TellSection | None
    folder: Path
    """Where the configuration lies: commands run with it on their path, functions are looked for there."""
