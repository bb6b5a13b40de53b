"""The environment of this process: secrets that a configuration names, and what is passed on to children."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from driftline.errors import UsageError

FROM_ENVIRONMENT, FROM_FILE = "env:", "file:"
_SECRET_BYTES = 2**16


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


def share_this_python() -> None:
    """Have the workers that Spark starts run in this Python, unless another one is named; before there is a session.

    Spark would take whatever ``python3`` is first on the path, which may have nothing installed.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)


def environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ


def is_named(text: str) -> bool:
    """Whether a text names where a secret is, instead of holding it."""
    return text.startswith((FROM_ENVIRONMENT, FROM_FILE))


def secret(text: str) -> str:
    """What a text stands for: ``env:NAME`` for a variable, ``file:PATH`` for what a file has, any other for itself.

    The path is absolute; the line end at the end of a file is left out. Raises `UsageError` where there is nothing.
    """
    if text.startswith(FROM_FILE):
        return _of_file(text.removeprefix(FROM_FILE))
    if not text.startswith(FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(FROM_ENVIRONMENT)
    if not (value := os.environ.get(name)):
        raise UsageError(f"a secret is asked for at {text!r}, but the environment has no {name}; set it")
    return value


def s3_settings() -> dict[str, str]:
    """Settings of clients of S3 from AWS's variables, by the names that Delta Lake, Polars and obstore share.

    Keys come from variables, or from the profile ``AWS_PROFILE`` of the file that ``AWS_SHARED_CREDENTIALS_FILE``
    names, or that stands at AWS's own place. Without either, the clients ask the machine for its role.
    """
    found = {}
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        found["aws_region"] = region
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        found["aws_endpoint"] = endpoint
        if endpoint.startswith("http://"):
            found["aws_allow_http"] = "true"
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        found |= _s3_keys_of_file()
    return found


def _s3_keys_of_file() -> dict[str, str]:
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")
    profile = os.environ.get("AWS_PROFILE") or "default"
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        section = dict(parser.items(profile)) if parser.has_section(profile) else {}
    except (OSError, configparser.Error, UnicodeDecodeError):
        raise UsageError(f"{path} is no file of AWS credentials; mend it, or set AWS_ACCESS_KEY_ID") from None
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return {name: section[name] for name in names if name in section}


def _of_file(name: str) -> str:
    path, said = Path(name), f"a secret is asked for at {FROM_FILE + name!r}, but"
    if not path.is_absolute():
        raise UsageError(f"{said} the path is not absolute; write it from / on, such as {FROM_FILE}/run/secrets/hook")
    try:
        with path.open("rb") as file:
            data = file.read(_SECRET_BYTES + 1)
        value = data.decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{said} the file cannot be read: {reason}") from None
    if not value or len(data) > _SECRET_BYTES:
        raise UsageError(f"{said} the file has {len(data)} bytes; allowed are 1 to {_SECRET_BYTES}")
    return value
