"""Runners: they get a challenger trained, on this machine or by handing the request over."""

from driftline.retrain.runners.command import Command
from driftline.retrain.runners.function import Function
from driftline.retrain.runners.run import Limits, Run, Surroundings
from driftline.retrain.runners.runner import (
    Handle,
    Outcome,
    Predictions,
    Report,
    Request,
    Result,
    Runner,
    read_result,
    wait_for,
)

__all__ = [
    "Command",
    "Function",
    "Handle",
    "Limits",
    "Outcome",
    "Predictions",
    "Report",
    "Request",
    "Result",
    "Run",
    "Runner",
    "Surroundings",
    "read_result",
    "wait_for",
]
