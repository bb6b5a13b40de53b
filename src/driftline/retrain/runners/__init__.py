"""The kinds of runners: one file each, which owns its keys in ``driftline.yaml`` and how it is opened.

A runner gets a challenger trained, on this machine or by handing the request over. Another kind is another file with a
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
"""`run` has exactly one of these keys; behind each the file of its kind."""


@functools.cache
def kind_of(key: str) -> RunnerKind:
    """Return what is to be known of a kind, by its key in `KINDS`."""
    kind: RunnerKind = importlib.import_module(f"{__name__}.{KINDS[key]}").KIND
    return kind
