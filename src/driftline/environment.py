"""The environment of this process: secrets that a configuration names, and what is passed on to children."""

from __future__ import annotations

import os
from collections.abc import Mapping

from driftline.errors import UsageError

FROM_ENVIRONMENT = "env:"


def quiet_mlflow() -> None:
    """Have MLflow's client report to nobody, and give up soon on a server that is away; before it is imported."""
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }


def quiet_blas() -> None:
    """Have the threads of OpenBLAS sleep at once when they have nothing to do; before NumPy is imported.

    They are started by the import, and would spin for a tenth of a second on cores that others need.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 cycles; 2^28 otherwise


def read_little_ahead() -> None:
    """Have Polars read files of this machine one row group ahead: more is memory, and nothing is waited for."""
    os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", "1")


def environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ


def secret(text: str) -> str:
    """What a text stands for: ``env:NAME`` for the variable of that name, any other for itself."""
    if not text.startswith(FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(FROM_ENVIRONMENT)
    if not (value := os.environ.get(name)):
        raise UsageError(f"driftline.yaml asks for {text!r}, but the environment has no {name}; set it")
    return value
