"""The `retrain` section of ``driftline.yaml``: its keys, and the checked configuration made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from driftline.fields import Count, Short, Text
from driftline.retrain.policy import Policy
from driftline.retrain.runners import KINDS, kind_of


class WhenSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What asks for a challenger: alerts of some rules, the time since the last request, or a number of new labels."""

    alerts: list[Short] = []
    every: Short | None = None
    new_labels: Count | None = None


_ONE_RUNNER = {"oneOf": [{"required": [key]} for key in KINDS]}


def _key(run: RunSection) -> str:
    """Return the key of a checked section that names the runner."""
    return next(key for key in KINDS if getattr(run, key) is not None)


def _elsewhere(run: RunSection) -> bool:
    return all(getattr(run, key) is None for key in KINDS if not kind_of(key).elsewhere)


def _most_time(run: RunSection) -> str:
    return run.time_limit or ("1d" if run.elsewhere else "1h")


if TYPE_CHECKING:

    class RunSection:
        """The options that every runner has."""

        time_limit: str | None
        memory: str
        environment: list[str]
        report_secret: str | None

        key: str
        """The key of a checked section that names the runner."""
        elsewhere: bool
        """Whether another server trains and reports."""
        most_time: str
        """``time_limit``, or its default, longer for a run elsewhere, which may have to wait for a machine."""
else:
    RunSection = msgspec.defstruct(
        "RunSection",
        [
            *((key, kind_of(key).option | None, None) for key in KINDS),
            ("time_limit", Short | None, None),
            ("memory", Short, "4GB"),
            ("environment", list[Text], msgspec.field(default_factory=list)),
            ("report_secret", Text | None, None),
        ],
        namespace={
            "__doc__": "Who trains: commands or a Python function in a process of its own, with limits; "
            "or another server.",
            "key": property(_key),
            "elsewhere": property(_elsewhere),
            "most_time": property(_most_time),
        },
        module=__name__,
        forbid_unknown_fields=True,
        frozen=True,
    )


class GatesSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The conditions under which a challenger wins; see `driftline gate`."""

    measure: Short | None = None
    margin: Annotated[float, Meta(ge=0)] | None = None
    improvement: Annotated[float, Meta(ge=0)] | None = None
    floor: float | None = None
    least_rows: Count | None = None
    least_class_rows: Count | None = None
    segments: list[Text] = []


class TellSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The address that is notified when a challenger waits, is promoted, rolled back, held or has failed."""

    url: Text
    secret: Text | None = None


class RetrainSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When a challenger is trained, on which rows and by whom, and what happens when it wins."""

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
    """The checked `retrain` section of one model. Spans are event time, except for a run's time limit."""

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
    """The folder of the configuration file: commands may name it, and functions are loaded from it."""
