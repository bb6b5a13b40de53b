"""A command starts with what it needs: its help needs nothing that takes long to import."""

from __future__ import annotations

import subprocess
import sys

from driftline.cli.main import COMMANDS

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
