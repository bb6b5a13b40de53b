"""A command starts with what it needs: its help needs nothing that takes long to import."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from driftline.cli.main import COMMANDS, rare_collections
from driftline.environment import environment, quiet_blas

SLOW = {"alembic", "deltalake", "fastapi", "httpx", "msgspec", "numpy", "polars", "pydantic", "rich", "sqlalchemy"}

ASK = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"driftline.cli.{name}")
    print(name, *{one.partition(".")[0] for one in sys.modules})
"""


def test_the_help_of_a_command_imports_nothing_that_takes_long() -> None:
    said = subprocess.run([sys.executable, "-c", ASK, *COMMANDS], check=True, capture_output=True, text=True).stdout
    lines = {name: SLOW.intersection(modules) for name, *modules in map(str.split, said.splitlines())}
    assert lines == {name: set() for name in COMMANDS}


def test_what_a_command_made_is_not_searched_for_garbage_when_it_ends() -> None:
    before, collections = gc.get_threshold(), []
    with rare_collections():
        made = [[number] for number in range(50_000)]
        gc.callbacks.append(lambda phase, info: collections.append((phase, info)))
    try:
        [[number] for number in range(100)]
        assert not collections
        assert gc.get_threshold() == before
        assert len(made) == 50_000
    finally:
        gc.callbacks.pop()


def test_threads_of_blas_sleep_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "20")  # so that it is as it was afterwards
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT")
    quiet_blas()
    assert environment()["OPENBLAS_THREAD_TIMEOUT"] == "4"
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "20")
    quiet_blas()
    assert environment()["OPENBLAS_THREAD_TIMEOUT"] == "20"
