"""Runs what the documentation shows: the ```python and ```console blocks of README.md and docs/**/*.md.

Each page has one temporary directory and one Python namespace; its blocks run there from top to bottom. Of a console
block the lines run that begin with `$ driftline` or another of `PROGRAMS`, and what they print is compared with what
stands below them (`...` stands for anything). Without output below, only the exit code counts. It must be 0; 1 (alerts
found) will do where the output that says so is shown; any other is shown by `; echo $?`. A command that ends with `&`
runs until its page ends, or says `$ kill $(jobs -p)`. Blocks of other languages are not run. Nor are those behind
`<!--- skip: start if(missing("NAME")) --->` where that library is not installed: `make test-integrations` has it.

The ports that the pages name (`PORTS`) are free ones when they run, others for each page.
"""

from __future__ import annotations

import atexit
import contextlib
import doctest
import functools
import gc
import importlib.util
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser
from sybil.region import Lexeme

# Alembic runs this file; it cannot be imported.
collect_ignore = ["src/driftline/store/migrations/env.py"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Collect without the garbage collector, which would go through all modules and tests again and again.

    They stay until the end: afterwards it looks at what the tests make, and at nothing else.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # compiled modules name what is left at the end as leaked


LONG = (
    "tests/demo/test_demo.py",
    "tests/cli/test_streams.py",
    "tests/exporters/test_same_verdicts.py",
    "tests/monitoring/test_agreement.py",
    "tests/retrain/test_controller.py",
    "tests/retrain/test_controller_killed.py",
    "tests/retrain/test_surface.py",
    "tests/monitoring/test_detecting_hours.py",
    "tests/monitoring/test_poison.py",
    "tests/monitoring/test_exactly_once.py",
    "tests/service/test_postgresql.py",
    "tests/service/test_killed.py",
    "tests/service/test_detector_cost.py",
    "tests/service/test_s3.py",
    "tests/store/test_tidy.py",
    "tests/web/test_http.py",
    "tests/web/ui/test_browser.py",
)
"""Files that take long, though they have few tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: a long file that begins last is waited for by every process but its own.

    xdist would begin with the files that have most tests, which are the quick ones; see ``--no-loadscope-reorder``.
    """

    def when(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return LONG.index(file) if file in LONG else len(LONG) + (not file.endswith(".md"))

    items.sort(key=when)


END_JOBS = "kill $(jobs -p)"
"""Ends what was started with `&`."""


@pytest.fixture(scope="session", autouse=True)
def _authorities_read_once() -> Iterator[None]:
    """Read whom everybody trusts once: httpx does so for each client, and five sixths of a request are that."""
    make = httpx.create_ssl_context
    once = functools.cache(lambda: make(trust_env=False))  # whatever the environment names when the first asks

    @functools.wraps(make)
    def made(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        named = trust_env and ("SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ)
        plain = verify is True and cert is None and not named
        return once() if plain else make(verify, cert, trust_env)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", made)
        yield


PROGRAMS = ("driftline", "python", "prometheus", "promtool", "prometheus-alertmanager", "amtool", "curl", "until")
TRAILING = re.compile(r" +$", re.MULTILINE)
NAMED_PORTS = ("8000", "8080", "9090", "9093")
PORTS = re.compile(r"(?<=127\.0\.0\.1:)(8000|8080|9090|9093)\b|(?<=--port )80[08]0\b|(?<=127\.0\.0\.1\W, )8080\b")


def with_ports(text: str, namespace: dict[str, Any]) -> str:
    """The text with free ports of this page in place of the ones it names."""
    return PORTS.sub(lambda found: namespace["_ports"][found[0]], text)


def free_ports() -> dict[str, str]:
    """A port that nobody listens on for each that pages name."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in NAMED_PORTS]
        return {name: str(one.getsockname()[1]) for name, one in zip(NAMED_PORTS, listeners, strict=True)}


def missing(library: str) -> bool:
    """Whether a library is not installed; never of the one that `make test-integrations` has installed."""
    return os.environ.get("DRIFTLINE_INTEGRATION") != library and importlib.util.find_spec(library) is None


def run_python(example: Example) -> str | None:
    """Run a block in its page's namespace."""
    block = example.parsed
    example.parsed = Lexeme(with_ports(block, example.namespace), block.offset, block.line_offset)
    return PythonEvaluator()(example)


def commands(block: str) -> list[tuple[str, str]]:
    """Split a console block into commands, each with the output shown below it, or with nothing."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found:
            command, output = found[-1]
            more = command.endswith("\\") and not output
            found[-1] = (f"{command}\n{line}", "") if more else (command, f"{output}{line}\n")
    return found


def run_console(example: Example) -> str | None:
    """Run a block's commands; return what differs, or None."""
    for command, shown in commands(with_ports(example.parsed, example.namespace)):
        if command == END_JOBS:
            end_jobs(example.namespace["_running"])
            continue
        if command.split()[0] not in PROGRAMS:
            continue
        if command.endswith("&"):
            words = ["bash", "-c", "exec " + command.removesuffix("&")]
            example.namespace["_running"].append(subprocess.Popen(words, stdin=subprocess.DEVNULL))
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        if done.returncode not in ((0, 1) if shown else (0,)):
            return f"$ {command}\nexit code {done.returncode}:\n{done.stdout}"
        printed = TRAILING.sub("", done.stdout).rstrip("\n") + "\n"
        if shown and not doctest.OutputChecker().check_output(shown.rstrip("\n") + "\n", printed, doctest.ELLIPSIS):
            return f"$ {command}\nthe page shows:\n{shown}\nit printed:\n{done.stdout}"
    return None


def end_jobs(running: list[subprocess.Popen[bytes]]) -> None:
    """Ask what a page has started to end, as `kill` does; it must, for a reader goes on with the next page."""
    while running:
        one = running.pop()
        one.terminate()
        one.wait(timeout=30)


def enter(namespace: dict[str, Any]) -> None:
    """Move into a directory of the page's own, with this environment's `driftline` on the path."""
    leave = namespace["_leave"] = contextlib.ExitStack()
    folder = leave.enter_context(tempfile.TemporaryDirectory(prefix="driftline-page-", ignore_cleanup_errors=True))
    leave.enter_context(contextlib.chdir(folder))
    patch = leave.enter_context(pytest.MonkeyPatch.context())
    patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    patch.delenv("COLUMNS", raising=False)
    namespace["_ports"], namespace["_running"], namespace["missing"] = free_ports(), [], missing
    leave.callback(end_processes, set(psutil.Process().children()))


def end_processes(before: set[psutil.Process]) -> None:
    """End what a page started and, because a block failed, did not end."""
    started = set(psutil.Process().children()) - before
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(started, timeout=10)


def leave(namespace: dict[str, Any]) -> None:
    """Undo `enter`."""
    namespace["_leave"].close()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", run_python), CodeBlockParser("console", run_console), SkipParser()],
    patterns=["docs/*.md", "docs/*/*.md", "README.md"],
    setup=enter,
    teardown=leave,
).pytest()
