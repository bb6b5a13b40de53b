"""All keys of ``driftline.yaml``, composed of the sections that each room owns, and their JSON Schema.

What the sections do not have is an error.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from driftline.access.options import AuthSection, TlsSection
from driftline.alerts.channels import KINDS
from driftline.alerts.options import NotifySection
from driftline.events import Task
from driftline.exporters.options import PrometheusSection
from driftline.fields import Name, Short, Text
from driftline.logs import LogSection
from driftline.monitoring.options import (
    AlertsSection,
    CalendarSection,
    ColumnsSection,
    LabelsSection,
    MaintenanceSection,
    ReferenceSection,
)
from driftline.net.limits import LimitsSection
from driftline.retrain.options import RetrainSection
from driftline.store.keep import KeepSection

_ONE_RECEIVER = {"oneOf": [{"required": [kind]} for kind in KINDS]}

DEFAULT_FOLDER = "./driftline-data"
"""The folder of events and state, where none is said."""

_DATABASE = {
    "description": "Where the state is kept: a file, a PostgreSQL, or the name of a variable or file with its address.",
    "pattern": r"^(sqlite:///|postgresql(\+psycopg)?://|env:|file:).",
}


class ModelSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One model."""

    reference: ReferenceSection
    task: Task | None = None
    team: Short | None = None
    tags: list[Short] = []
    docs: Text | None = None
    columns: ColumnsSection = ColumnsSection()
    positive: Text | int | float | bool | None = None
    window: Short = "1d"
    timezone: Short = "UTC"
    labels: LabelsSection = LabelsSection()
    calendar: Text | CalendarSection | None = None
    maintenance: list[MaintenanceSection] = []
    measures: dict[Short, Text] = {}
    alerts: AlertsSection = AlertsSection()
    retrain: RetrainSection | None = None


class FileSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    models: Annotated[dict[Name, ModelSection], Meta(min_length=1)]
    notify: list[Annotated[NotifySection, Meta(extra_json_schema=_ONE_RECEIVER)]] = []
    prometheus: PrometheusSection = PrometheusSection()
    limits: LimitsSection = LimitsSection()
    auth: AuthSection = AuthSection()
    tls: TlsSection | None = None
    log: LogSection = LogSection()
    url: Text | None = None
    hosts: list[Text] = []
    registry: Text | None = None
    keep: KeepSection = KeepSection()
    storage: Text = DEFAULT_FOLDER
    scratch: Text | None = None
    database: Annotated[Text, Meta(extra_json_schema=_DATABASE)] | None = None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the file; it accepts whatever `driftline.config.load.parse` does."""
    schema = _without_null(msgspec.json.schema(FileSection))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "driftline.yaml", **schema}


def _without_null(schema: Any) -> Any:
    """Take ``null`` out of a schema: an optional key is left out, not empty."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    found = {key: _without_null(value) for key, value in schema.items() if value is not None}
    if len(found.get("anyOf", ())) == 1:
        found |= found.pop("anyOf")[0]
    return found
