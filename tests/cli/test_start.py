"""A command starts with what it needs: its help needs nothing that takes long to import."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from driftline.cli.main import COMMANDS, main, rare_collections
from driftline.environment import environment, quiet_blas, read_little_ahead, share_this_python

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


@pytest.mark.parametrize(
    ("set_up", "variable", "usual"),
    [
        (quiet_blas, "OPENBLAS_THREAD_TIMEOUT", "4"),
        (read_little_ahead, "POLARS_ROW_GROUP_PREFETCH_SIZE", "1"),
        (share_this_python, "PYSPARK_PYTHON", sys.executable),
    ],
)
def test_what_a_library_is_told_is_what_the_environment_says_where_it_does(
    monkeypatch: pytest.MonkeyPatch, set_up: Callable[[], None], variable: str, usual: str
) -> None:
    monkeypatch.setenv(variable, "20")  # so that it is as it was afterwards
    monkeypatch.delenv(variable)
    set_up()
    assert environment()[variable] == usual
    monkeypatch.setenv(variable, "20")
    set_up()
    assert environment()[variable] == "20"


ENDS = """
import atexit, sys, tempfile, threading, time
from driftline.cli import main as commands

class Never:
    def __del__(self):
        print("taken down")

left, folders = Never(), []
threading.Thread(target=lambda: (time.sleep(0.1), print("a thread", end=" "))).start()

def command(arguments, **options):
    folders.append(tempfile.TemporaryDirectory())
    atexit.register(lambda: print("tidied up", folders[0].name, end=""))
    return 1

commands.root.main = command
commands.run()
"""


def test_the_process_ends_with_its_exit_code_when_all_have_tidied_up_and_takes_nothing_down() -> None:
    came = subprocess.run([sys.executable, "-c", ENDS], check=False, capture_output=True, text=True)
    said, _, folder = came.stdout.rpartition(" ")
    assert (came.returncode, said, came.stderr) == (1, "a thread tidied up", "")
    assert not Path(folder).exists()


def test_rows_of_an_object_store_are_read_as_far_ahead_as_polars_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_ROW_GROUP_PREFETCH_SIZE", "1")
    monkeypatch.delenv("POLARS_ROW_GROUP_PREFETCH_SIZE")
    for side, ahead in (("s3://bucket/a.xlsx", None), ("nowhere.xlsx", "1")):
        with pytest.raises(SystemExit):
            main(["check", side, "nowhere.parquet"])
        assert environment().get("POLARS_ROW_GROUP_PREFETCH_SIZE") == ahead
