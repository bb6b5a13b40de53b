"""Driftline watches machine-learning models in production.

The public names are imported when they are first used, so that ``import driftline`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftline.checks.api import check
    from driftline.checks.report import Report
    from driftline.client import Monitor
    from driftline.errors import AlertsFound, DriftlineError, UsageError
    from driftline.rules import Rule
    from driftline.statistics import EffectThresholds

_HOMES = {
    "AlertsFound": "driftline.errors",
    "DriftlineError": "driftline.errors",
    "EffectThresholds": "driftline.statistics",
    "Monitor": "driftline.client",
    "Report": "driftline.checks.report",
    "Rule": "driftline.rules",
    "UsageError": "driftline.errors",
    "check": "driftline.checks.api",
}

__all__ = ["AlertsFound", "DriftlineError", "EffectThresholds", "Monitor", "Report", "Rule", "UsageError", "check"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'driftline' has no attribute {name!r}; public: {', '.join(sorted(_HOMES))}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
