"""Say how what a model lacks is sent or configured: lines to copy, for this very model and address."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import Request

from driftline.config.first_file import scalar
from driftline.events import Kind, Schema, Task
from driftline.monitoring.options import ModelConfig
from driftline.templating import url_segment

_FEATURES = 8  # features in an example; a row may leave out others
_SEGMENTS = 2

_VALUES: Mapping[Kind, object] = {Kind.NUMERIC: 1.5, Kind.CATEGORICAL: "a", Kind.TEXT: "a text"}
_RULES: Mapping[Task, str] = {
    Task.BINARY: "{name: accuracy-low, measure: accuracy, below: 0.75}",
    Task.MULTICLASS: "{name: accuracy-low, measure: accuracy, below: 0.75}",
    Task.REGRESSION: "{name: error-high, measure: mae, above: 10}",
}


class Lines(NamedTuple):
    """Lines to copy, and what they are."""

    what: str
    text: str


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
    schema = schema or Schema(config.task or Task.BINARY)
    features, said, of_id = _features(schema), _said(schema), {"id": "first"}
    return FirstEvents(
        model=config.name,
        waiting=waiting,
        predictions=_curl(request, config.name, "predictions", {**of_id, "features": features, "prediction": said}),
        labels=_curl(request, config.name, "labels", {**of_id, "label": said}),
        program=_program(
            request,
            config.name,
            f"id = monitor.log({features!r}, prediction={said!r})\n",
            f"monitor.label(id, {said!r})\n",
        ),
        rule="" if config.rules else first_rule(config, schema).text,
    )


def first_labels(request: Request, config: ModelConfig, schema: Schema | None) -> tuple[Lines, ...]:
    """Return how the label of a prediction is sent."""
    schema = schema or Schema(config.task or Task.BINARY)
    said, of = _said(schema), "ID-OF-A-PREDICTION"
    command = _curl(request, config.name, "labels", {"id": of, "label": said})
    program = _program(request, config.name, f"monitor.label({of!r}, {said!r})\n")
    return Lines("Shell command for a label", command), Lines("Python program for a label", program)


def first_rule(config: ModelConfig, schema: Schema | None) -> Lines:
    """Return a first rule, as it stands in a configuration."""
    task = schema.task if schema is not None else config.task or Task.BINARY
    return Lines("Rule for driftline.yaml", _of_model(config, f"alerts:\n      rules:\n        - {_RULES[task]}\n"))


def first_segments(config: ModelConfig, schema: Schema | None) -> Lines:
    """Return how the columns of segments are named: the first inputs that have names for values."""
    known = [] if schema is None else [name for name, kind in schema.inputs.items() if kind is Kind.CATEGORICAL]
    columns = ", ".join(scalar(one) for one in known[:_SEGMENTS] or ["COLUMN"])
    return Lines("Segments for driftline.yaml", _of_model(config, f"columns:\n      segments: [{columns}]\n"))


def set_aside(request: Request, config: ModelConfig, schema: Schema | None) -> Lines:
    """Return how a batch is sent whose bad rows are to be set aside."""
    schema = schema or Schema(config.task or Task.BINARY)
    row = {"id": "first", "features": _features(schema), "prediction": _said(schema)}
    command = _curl(request, config.name, "predictions", row, query="?on_error=quarantine")
    return Lines("Shell command for a batch", command)


def _features(schema: Schema) -> dict[str, object]:
    usual = ((name, _VALUES[kind]) for name, kind in schema.features.items() if kind in _VALUES)
    return dict(itertools.islice(usual, _FEATURES))


def _said(schema: Schema) -> float | str:
    return 12.5 if schema.task is Task.REGRESSION else schema.classes[0] if schema.classes else "1"


def _of_model(config: ModelConfig, lines: str) -> str:
    return f"models:\n  {scalar(config.name)}:\n    {lines}"


def _program(request: Request, model: str, *lines: str) -> str:
    token = ', token="dl_…"' if _is_signed(request) else ""
    monitor = f"monitor = driftline.Monitor({model!r}, url={_address(request)!r}{token})\n"
    return f"import driftline\n\n{monitor}{''.join(lines)}monitor.close()\n"


def _curl(request: Request, model: str, kind: str, row: Mapping[str, object], query: str = "") -> str:
    place = f"{_address(request)}/api/v1/models/{url_segment(model)}/{kind}{query}"
    words = ["curl", place, "-H", "Content-Type: application/json"]
    command = shlex.join([*words, *(["-H", "Authorization: Bearer dl_…"] if _is_signed(request) else [])])
    return f"{command} \\\n  -d {shlex.quote(json.dumps([row], ensure_ascii=False))}\n"


def _address(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _is_signed(request: Request) -> bool:
    return getattr(request.state, "caller", None) is not None
