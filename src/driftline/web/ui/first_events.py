"""Say how the first events of a model are sent: lines to copy, for this very model and address."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from driftline.events import Kind, Schema, Task
from driftline.monitoring.options import ModelConfig
from driftline.templating import url_segment

_FEATURES = 8  # features in an example; a row may leave out others

_VALUES: Mapping[Kind, object] = {Kind.NUMERIC: 1.5, Kind.CATEGORICAL: "a", Kind.TEXT: "a text"}
_RULES: Mapping[Task, str] = {
    Task.BINARY: "{name: accuracy-low, measure: accuracy, below: 0.75}",
    Task.MULTICLASS: "{name: accuracy-low, measure: accuracy, below: 0.75}",
    Task.REGRESSION: "{name: error-high, measure: mae, above: 10}",
}


@dataclass(frozen=True, slots=True)
class FirstEvents:
    """What is shown of a model of which nothing has come: two commands, a program, and a rule where it has none.

    ``waiting`` events are stored and not processed yet.
    """

    model: str
    waiting: int
    predictions: str
    labels: str
    program: str
    rule: str


def first_events(request: Request, config: ModelConfig, schema: Schema | None, waiting: int = 0) -> FirstEvents:
    """Return the lines; each text in them is quoted for where it stands: in a shell, in Python, or in YAML."""
    address = str(request.base_url).rstrip("/")
    signed = getattr(request.state, "caller", None) is not None
    schema = schema or Schema(config.task or Task.BINARY)
    usual = ((name, _VALUES[kind]) for name, kind in schema.features.items() if kind in _VALUES)
    features = dict(itertools.islice(usual, _FEATURES))
    said = 12.5 if schema.task is Task.REGRESSION else schema.classes[0] if schema.classes else "1"
    token = ', token="dl_…"' if signed else ""
    return FirstEvents(
        model=config.name,
        waiting=waiting,
        predictions=_curl(
            address, config.name, "predictions", {"id": "first", "features": features, "prediction": said}, signed
        ),
        labels=_curl(address, config.name, "labels", {"id": "first", "label": said}, signed),
        program=(
            "import driftline\n\n"
            f"monitor = driftline.Monitor({config.name!r}, url={address!r}{token})\n"
            f"id = monitor.log({features!r}, prediction={said!r})\n"
            f"monitor.label(id, {said!r})\n"
            "monitor.close()\n"
        ),
        rule=""
        if config.rules
        else f"models:\n  {json.dumps(config.name)}:\n    alerts:\n      rules:\n        - {_RULES[schema.task]}\n",
    )


def _curl(address: str, model: str, kind: str, row: Mapping[str, object], signed: bool) -> str:
    words = ["curl", f"{address}/api/v1/models/{url_segment(model)}/{kind}", "-H", "Content-Type: application/json"]
    command = shlex.join([*words, *(["-H", "Authorization: Bearer dl_…"] if signed else [])])
    return f"{command} \\\n  -d {shlex.quote(json.dumps([row], ensure_ascii=False))}\n"
