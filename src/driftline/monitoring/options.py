"""The options of one monitored model: the keys of its part of ``driftline.yaml``, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from driftline.errors import UsageError
from driftline.events import Task, Window, WindowSpec, parse_duration
from driftline.fields import Above0, Count, Short, Text
from driftline.profiles import Columns
from driftline.rules import Rule, Severity
from driftline.statistics import EffectThresholds
from driftline.store.hash_key import HashKey
from driftline.text.durations import written

Season = Literal["auto", "yearly", "none"]
"""``yearly``: inputs are compared with the reference's rows of the same and the neighbouring calendar months.
``none``: the detector takes days of the week for alike. ``auto``: neither.
"""

_FLOORS = EffectThresholds()
_MOST_ALARMS = 10_000
_LEAST_PER_ALARM, _MOST_PER_ALARM = timedelta(days=1), timedelta(days=3650)
LONGEST_LINK = 1000
"""So many signs of an address fit into every channel."""

LEAST_COVERAGE = 0.5
"""The label coverage that a rule asks for by default."""

_ONE_THRESHOLD = {
    "oneOf": [{"required": [side], "properties": {side: {"type": "number"}}} for side in ("below", "above")]
}


class ColumnsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which column of the reference plays which part; features are by default all columns that play no other part."""

    id: Text | None = None
    time: Text | None = None
    version: Text | None = None
    prediction: Text | None = None
    score: Text | Annotated[dict[str, Text], Meta(min_length=1)] | None = None
    label: Text | None = None
    features: list[Text] | None = None
    segments: list[Text] = []
    missing: list[str | int | float] | None = None
    time_format: Text | None = None
    categorical: list[Text] | None = None
    cluster: Text | None = None
    store: dict[Text, Literal["hash", "no"] | bool] = {}  # many readers of YAML take `no` for false


class LabelsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How long a window waits for its last labels, and how late a label is still taken."""

    expected_within: Short = "7d"
    accepted_for: Short = "90d"


class ReferenceSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the reference rows are, and whether inputs are compared with the same time of year only.

    ``first`` is the first time of production that the detector learns from, instead of the reference; ``rolling`` the
    newest one, again and again.
    """

    path: Text
    season: Season = "auto"
    first: Short | None = None
    rolling: Short | None = None


class CalendarSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An input that says whether a row is of a day that is no ordinary one."""

    column: Text


class MaintenanceSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A span of event time that the detector does not learn from, such as a rebuild of the data: ISO 8601 moments."""

    start: Short
    end: Short


class RuleSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"for_windows": "for"}):
    """One alert rule: a measure, and a threshold on exactly one side of it."""

    name: Short
    measure: Short
    below: float | None = None
    above: float | None = None
    for_windows: Count = 1
    severity: Severity = Severity.WARNING
    confidence: Annotated[float, Meta(gt=0.5, lt=1)] = 0.95
    min_samples: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1
    clear: float | None = None
    keep_firing_for: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    min_coverage: Annotated[float, Meta(ge=0, le=1)] = LEAST_COVERAGE
    segment: Literal["none", "all"] | Annotated[dict[str, Text | float | bool], Meta(min_length=1)] = "none"
    version: Short = "all"


class FloorsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The minimum effect sizes and significance levels for comparing columns; see `EffectThresholds`."""

    js: Above0 = _FLOORS.js
    wasserstein: Above0 = _FLOORS.wasserstein
    missing: Above0 = _FLOORS.missing
    missing_factor: Above0 = _FLOORS.missing_factor
    unseen: Above0 = _FLOORS.unseen
    chance: Above0 = _FLOORS.chance
    rows: Count = _FLOORS.rows


class AlertsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When to alert. ``budget`` is how many false alarms of the detector may be, ``severity`` that of its alerts."""

    budget: Short = "1 per 90d"
    severity: Severity = Severity.WARNING
    floors: FloorsSection = FloorsSection()
    stale_after: Short | None = None
    rules: list[Annotated[RuleSection, Meta(extra_json_schema=_ONE_THRESHOLD)]] = []


@dataclass(frozen=True, slots=True)
class Budget:
    """How many false alarms of the detector may be in a time, over everything of a model together.

    >>> str(Budget.parse("1 per 90d")), Budget.parse("none")
    ('1 per 90d', None)
    """

    alarms: int
    per: timedelta

    @classmethod
    def parse(cls, text: str) -> Budget | None:
        """Read ``N per DURATION``; None for *none*. Raises `UsageError` for anything else."""
        if text == "none":
            return None
        alarms, between, per = text.partition(" per ")
        if not (between and alarms.strip().isdecimal() and 0 < int(alarms) <= _MOST_ALARMS):
            raise UsageError(f"came {text!r}; allowed are false alarms in a time, such as '1 per 90d', or 'none'")
        budget = cls(int(alarms), parse_duration(per))
        if not _LEAST_PER_ALARM <= budget.per_alarm <= _MOST_PER_ALARM:
            raise UsageError(f"came {text!r}; allowed are from 1 per 1d to 1 per 3650d, or 'none'")
        return budget

    @property
    def per_alarm(self) -> timedelta:
        """The time for one false alarm."""
        return self.per / self.alarms

    @property
    def per_year(self) -> float:
        """False alarms a year."""
        return timedelta(days=365.25) / self.per_alarm

    def __str__(self) -> str:
        return f"{self.alarms} per {written(self.per)}"


@dataclass(frozen=True, slots=True)
class LabelsConfig:
    """How long a window waits for its last labels, and how late a label is still taken."""

    expected_within: timedelta
    accepted_for: timedelta


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model, checked."""

    name: str
    task: Task | None
    columns: Columns
    positive: str | None
    window: WindowSpec
    labels: LabelsConfig
    reference: Path
    season: Season
    rules: tuple[Rule, ...]
    floors: EffectThresholds = field(default_factory=EffectThresholds)
    stale_after: timedelta | None = None
    budget: Budget | None = None
    """None where the detector is off."""
    budget_severity: Severity = Severity.WARNING
    measures: Mapping[str, str] = field(default_factory=dict)
    """Measures of one's own by name: ``file.py:function``, the path of the file as it is found from here."""
    reference_first: timedelta | None = None
    """The first time of production that the detector learns from; None for the reference, where that has times."""
    reference_rolling: timedelta | None = None
    """The newest time of production, which the detector learns from again and again; None where that is kept."""
    calendar: frozenset[date] = frozenset()
    """Dates that are no ordinary days, in the time zone of the model."""
    calendar_column: str = ""
    """The input that says which rows are of such days; empty where none does."""
    maintenance: tuple[Window, ...] = ()
    store: Mapping[str, str] = field(default_factory=dict)
    """Columns that are not stored in clear: ``hash``, or ``no`` where they are left out."""
    team: str = ""
    """Who looks after it; empty where nobody has said so."""
    tags: tuple[str, ...] = ()
    """Words of one's own by which models are found."""
    docs: str = ""
    """Where it is documented, for those who are told of its alerts: an http(s) address, or empty."""
    key: HashKey = field(default_factory=lambda: HashKey(Path()), repr=False, compare=False)
    """By which ids that were forgotten, and values that are not to be stored in clear, are hashed."""
