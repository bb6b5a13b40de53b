"""The kinds of runners: one file each, with its keys in ``driftline.yaml`` and the way to open it.

A runner gets a challenger trained, on this machine or by handing the request over. To add a kind, add a file with a
`KIND` and a line in `KINDS`: configuration, JSON Schema and retraining are composed of these.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftline.retrain.runners.runner import RunnerKind

KINDS = {
    "commands": "command",
    "function": "function",
    "github": "github",
    "airflow": "airflow",
    "prefect": "prefect",
    "dagster": "dagster",
    "webhook": "webhook",
}
"""The key of each kind, of which `run` has exactly one, and the name of its file."""


@functools.cache
def kind_of(key: str) -> RunnerKind:
    """Return a kind of runners by its key in `KINDS`."""
    kind: RunnerKind = importlib.import_module(f"{__name__}.{KINDS[key]}").KIND
    return kind
