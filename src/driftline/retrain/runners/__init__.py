"""Runners: they get a challenger trained, on this machine or by handing the request over."""

from driftline.retrain.runners.airflow import Airflow
from driftline.retrain.runners.command import Command
from driftline.retrain.runners.dagster import Dagster
from driftline.retrain.runners.function import Function
from driftline.retrain.runners.github import GitHub
from driftline.retrain.runners.prefect import Prefect
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
from driftline.retrain.runners.webhook import Webhook

__all__ = [
    "Airflow",
    "Command",
    "Dagster",
    "Function",
    "GitHub",
    "Handle",
    "Limits",
    "Outcome",
    "Predictions",
    "Prefect",
    "Report",
    "Request",
    "Result",
    "Run",
    "Runner",
    "Surroundings",
    "Webhook",
    "read_result",
    "wait_for",
]
