"""Exit codes: who reads what a command prints, and how far, changes no verdict. Every command of click is here."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from driftline.cli import main as cli
from driftline.cli import streams
from driftline.config.load import load
from driftline.service.runtime import Service
from tests.support.churn import MODEL, prediction, write_config
from tests.support.steps import deliver, send_day, work

SLOW_SECONDS = 60.0
DRIFTLINE = (sys.executable, "-m", "driftline")


def commands() -> Iterator[tuple[str, ...]]:
    """Every command that click knows, and every command below it."""
    for name in cli.COMMANDS:
        command = importlib.import_module(f"driftline.cli.{name}").command
        below = command.commands if isinstance(command, click.Group) else {}
        if not below or command.invoke_without_command:
            yield (name,)
        yield from ((name, other) for other in below)


CALLS: Mapping[tuple[str, ...], Sequence[tuple[int, str]]] = {
    ("init",): [
        (0, "init rows.csv --output made.yaml --force"),
        (0, "init rows.csv --output made.yaml --force --json"),
    ],
    ("watch",): [
        (1, "watch model.py:score --count 1 --port 0 --alert accuracy<0.9"),
        (0, "watch model.py:score --count 1 --port 0 --json"),
    ],
    ("check",): [
        (0, "check rows.csv rows.csv"),
        (1, "check rows.csv other.csv"),
        (1, "check rows.csv other.csv --json"),
        (2, "check rows.csv other.csv --engine local"),
    ],
    ("migrate",): [(0, "migrate"), (0, "migrate --json")],
    ("backtest",): [
        (0, "backtest reference.parquet"),
        (0, "backtest reference.parquet --engine local --json"),
        (2, "backtest nothing.parquet"),
        (1, "backtest served:churn"),
    ],
    ("profile",): [
        (0, "profile reference.parquet --output profiles.parquet"),
        (0, "profile reference.parquet --output profiles.parquet --json"),
        (2, "profile reference.parquet --output rows.csv"),
        (2, "profile nowhere:rows --engine sql --rows scored --output profiles.parquet"),
    ],
    ("test",): [
        (0, "test good.yaml"),
        (1, "test bad.yaml"),
        (1, "test bad.yaml --json"),
        (2, "test nothing.yaml"),
    ],
    ("gate",): [
        (1, "gate good.csv bad.csv truth.csv --label y"),
        (1, "gate good.csv bad.csv truth.csv --label y --json"),
        (0, "gate bad.csv good.csv truth.csv --label y"),
    ],
    ("serve",): [
        (2, "serve --stop-within 0s"),
        (2, "serve --stop-within 2d"),
        (2, "serve --config nowhere.yaml"),
    ],  # one that serves has a test of its own
    ("send",): [(2, f"send {MODEL} rows.csv --kind predictions --url nowhere")],
    ("doctor",): [(0, "doctor"), (0, "doctor --json")],
    ("audit",): [(0, "audit"), (0, "audit --json")],
    ("forget",): [
        (2, "forget nobody --id x"),
        (2, f"forget {MODEL} --id x"),
        (0, f"forget {MODEL} --id x --yes --json"),
    ],
    ("hold",): [(2, f"hold {MODEL}"), (2, f"hold {MODEL} --release")],
    ("token", "create"): [(2, "token create @ --role read --by me")],
    ("token", "list"): [(0, "token list"), (0, "token list --json")],
    ("token", "revoke"): [(2, "token revoke nobody --by me")],
    ("rebuild",): [(0, f"rebuild {MODEL}"), (0, f"rebuild {MODEL} --json")],
    ("alerts",): [(1, "alerts"), (1, "alerts --all"), (1, "alerts --json")],
    ("models",): [(0, "models"), (0, "models --json")],
    ("explain",): [(2, "explain nobody")],
    ("accept",): [(2, "accept nobody --since 2026-01-01")],
    ("ack",): [(2, "ack nobody --reason x --by me")],
    ("silence", "add"): [(0, "silence add --match model=* --for 1h --reason x --by me")],
    ("silence", "list"): [(0, "silence list")],
    ("silence", "end"): [(2, "silence end nobody")],
    ("retrain",): [(2, f"retrain {MODEL}")],
    ("challengers",): [(0, "challengers"), (0, "challengers --json")],
    ("challengers", "approve"): [(2, "challengers approve nobody --reason x --by me")],
    ("challengers", "cancel"): [(2, "challengers cancel nobody --reason x --by me")],
    ("challengers", "refuse"): [(2, "challengers refuse nobody --reason x --by me")],
    ("card",): [(0, f"card {MODEL}"), (2, f"card {MODEL} v9")],
    ("notify", "test"): [(2, "notify test nobody")],
    ("export", "prometheus"): [(0, "export prometheus prometheus")],
    ("export", "grafana"): [(0, "export grafana grafana")],
    ("export", "ci"): [(0, "export ci github repository --model m")],
    ("demo",): [(2, "demo --data ."), (0, "demo --files weather")],  # the whole of it takes most of a minute
    ("schema",): [(0, "schema")],
}
"""What each command is called with here, in a folder with a firing alert, and the exit code that it has."""

OTHERS = [(2, ""), (2, "export"), (2, "chek"), (0, "--version"), (0, "--help"), (2, "check")]
HELP = ([], ["export"])
"""Shown on stdout, although they are no proper calls."""


def calls() -> list[tuple[int, list[str]]]:
    found = [*(call for calls in CALLS.values() for call in calls), *OTHERS]
    helps = [(0, [*command, "--help"]) for command in commands()]
    return [*((code, text.split()) for code, text in found), *helps]


# A command of its own process would cost seconds to start, a hundred times: each is the child of one that has imported
# them all, with the streams that Python makes at its start. It is told a line of calls, and tells a line of outcomes.
DRIVER = """
import gc, importlib, io, json, os, signal, sys
from driftline.cli import main as cli

for name in cli.COMMANDS:
    importlib.import_module(f"driftline.cli.{name}")
checking = ("checks.api", "checks.run", "checks.compare")
asking = ("views.offline", "cli.request_table", "monitoring.backtest", "monitoring.profiling", "engines.stored")
rest = ("demo.story", "retrain.gate", "watching.report", "watching.metrics", "web.server")
for room in (*checking, *asking, *rest):
    importlib.import_module(f"driftline.{room}")  # once for all children: a command imports these when it is called
gc.freeze()  # a child that looked through all modules for garbage would have a copy of each

def stream(number):
    try:
        os.fstat(number)
    except OSError:
        return None
    raw = io.FileIO(number, "w", closefd=False)
    unbuffered = mode == "unbuffered"
    return io.TextIOWrapper(raw if unbuffered else io.BufferedWriter(raw), encoding="utf-8", write_through=unbuffered)

def child(arguments):
    signal.alarm(60)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    errors = os.open("stderr", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 2)
    os.close(errors)
    if mode == "closed":
        os.close(1)
    elif mode in ("buffered", "unbuffered"):
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
        os.close(writing)
    else:
        os.dup2(os.open("/dev/full" if mode == "full" else "stdout", os.O_RDWR | os.O_CREAT), 1)
    sys.stdout = sys.__stdout__ = stream(1)
    sys.stderr = sys.__stderr__ = stream(2)
    code = 99
    try:
        cli.main(arguments)
    except SystemExit as ended:
        code = ended.code
        try:
            for one in (sys.stdout, sys.stderr):
                if one is not None:
                    one.flush()
        except OSError:
            code = 120  # as of Python's own end
    finally:
        os._exit(code)

for line in sys.stdin:
    mode, calls = json.loads(line)
    told = []
    for arguments in calls:
        if (pid := os.fork()) == 0:
            child(arguments)
        status = os.waitpid(pid, 0)[1]
        with open("stderr", errors="replace") as errors:
            told.append((os.waitstatus_to_exitcode(status), errors.read()))
    print(json.dumps(told), flush=True)
"""

Run = Callable[[str, Sequence[Sequence[str]]], list[tuple[int, str]]]
"""Gives exit code and stderr of each call, with a stdout of some mode."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a service has worked, with one firing alert; and files for the other commands."""
    here = tmp_path_factory.mktemp("cli")
    service = Service(load(write_config(here)))
    try:
        send_day(service, 0, right=30, wrong=30)
        deliver(service, "predictions", [prediction("next", 1.5, said=1)])
        work(service)
    finally:
        service.stop()
    (here / "model.py").write_text("def score():\n    return 0.5\n")
    given = "windows: [{accuracy: 0.5}]"
    (here / "good.yaml").write_text(f"tests: [{{name: t, {given}, expect: [{{rule: accuracy-low}}]}}]\n")
    (here / "bad.yaml").write_text(f"tests: [{{name: t, {given}}}]\n")
    (here / "rows.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(300)))
    (here / "other.csv").write_text("a,b\n" + "".join(f"{i % 7 + 90},{i % 5}\n" for i in range(300)))
    truth = [i * 7 % 11 % 2 for i in range(400)]
    rows = {"truth": ("y", truth), "good": ("prediction", truth), "bad": ("prediction", [1 - y for y in truth])}
    for name, (column, values) in rows.items():
        (here / f"{name}.csv").write_text(f"{column}\n" + "".join(f"{value}\n" for value in values))
    return here


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[Run]:
    command = [sys.executable, "-W", "ignore", "-c", DRIVER]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdin is not None and driver.stdout is not None
        asked, answers = driver.stdin, driver.stdout

        def told(mode: str, calls: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
            print(json.dumps([mode, calls]), file=asked, flush=True)
            return [(code, said) for code, said in json.loads(answers.readline())]

        yield told


# ---- laws -----------------------------------------------------------------------------------------------------------


def test_every_command_that_click_knows_is_called_here() -> None:
    assert set(commands()) == set(CALLS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("mode", ["read", "unbuffered", "closed"])
def test_a_reader_changes_no_verdict(run: Run, mode: str) -> None:
    wanted, arguments = zip(*calls(), strict=True)
    for call, code, (came, said) in zip(arguments, wanted, run(mode, arguments), strict=True):
        assert (call, came) == (call, code), said
        assert "Traceback" not in said and "Exception ignored" not in said
        if code == 2 and call not in HELP:
            assert said.startswith("driftline: ") and said.count("\n") == 1
        else:
            assert said == "" or {"watch", "--json"} <= set(call)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full here")
def test_what_cannot_be_written_is_never_fine_and_never_an_alert(run: Run) -> None:
    for (_, call), (came, said) in zip(calls(), run("full", [call for _, call in calls()]), strict=True):
        assert (call, came) == (call, 2)
        told = said.splitlines()[-1] if {"watch", "--json"} <= set(call) else said
        assert told.startswith("driftline: ") and told.strip().count("\n") == 0 and "Traceback" not in said


# ---- one of each, as a user has it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("check rows.csv rows.csv | head -2", 0),
        ("check rows.csv other.csv | head -1", 1),
        ("check rows.csv rows.csv | head -c0", 0),
        ("check rows.csv rows.csv >&-", 0),
        ("check rows.csv other.csv 2>&- >&-", 1),
        ("alerts | head -1", 1),
        ("schema | head -1", 0),
        ("check --help | head -1", 0),
        ("check rows.csv nowhere.csv 2>&1 | head -c0", 2),
        ("-u check rows.csv other.csv | head -1", 1),
    ],
)
def test_in_a_shell(folder: Path, words: str, code: int) -> None:
    unbuffered = "1" if words.startswith("-u ") else ""
    command, pipe, rest = words.removeprefix("-u ").partition(" | ")
    script = f"{' '.join(DRIFTLINE)} {command}{pipe}{rest and rest + ' > /dev/null'}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=SLOW_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")


def test_a_file_that_is_opened_while_stdout_is_closed_is_not_written_to(folder: Path) -> None:
    """Its number would be that of stdout: what is printed would stand in the database."""
    before = (folder / "rows.csv").read_text()
    for words in ("alerts >&-", "check rows.csv other.csv --html page.html >&- 2>&-"):
        subprocess.run(["bash", "-c", f"{' '.join(DRIFTLINE)} {words}"], cwd=folder, timeout=SLOW_SECONDS, check=False)
    assert (folder / "rows.csv").read_text() == before
    assert (folder / "page.html").read_text().startswith("<!")
    done = subprocess.run([*DRIFTLINE, "alerts", "--json"], cwd=folder, capture_output=True, check=False)
    assert len(json.loads(done.stdout)["alerts"]) == 1


def test_the_bare_command_shows_the_help_on_stdout(folder: Path) -> None:
    narrow = {**os.environ, "COLUMNS": "80"}
    bare, asked = (
        subprocess.run([*DRIFTLINE, *words], capture_output=True, text=True, env=narrow, check=False)
        for words in ([], ["--help"])
    )
    assert (bare.returncode, bare.stderr) == (2, "") and bare.stdout == asked.stdout
    assert all(len(line) <= 80 for line in bare.stdout.splitlines()) and len(bare.stdout.splitlines()) > 20
    assert all(f"\n  {name} " in bare.stdout for name in cli.COMMANDS)
    steps = [line.strip() for line in bare.stdout.partition("First steps:\n")[2].splitlines()[1::2]]
    assert [line.split()[:2] for line in steps] == [["driftline", name] for name in ("demo", "watch", "init")]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_character_gets_another_and_json_stays_json(folder: Path, encoding: str) -> None:
    (folder / "grün.csv").write_text("größe,日本\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(300)))
    (folder / "blau.csv").write_text("größe,日本\n" + "".join(f"{i % 7 + 90},{i % 5}\n" for i in range(300)))
    for form in ([], ["--json"]):
        done = subprocess.run(
            [*DRIFTLINE, "check", "grün.csv", "blau.csv", *form],
            cwd=folder,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=SLOW_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, b"")
    assert {column["column"] for column in json.loads(done.stdout.decode())["columns"]} == {"größe", "日本"}


def test_a_service_whose_reader_has_gone_serves_on_and_ends_well(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    reading, writing = os.pipe()
    os.close(reading)
    words = [*DRIFTLINE, "serve", "--port", str(port)]
    with subprocess.Popen(words, cwd=folder, stdout=writing, stderr=subprocess.PIPE, text=True) as server:
        os.close(writing)
        try:
            until_healthy(port)
            used = subprocess.run(
                [*DRIFTLINE, "rebuild", MODEL], cwd=folder, capture_output=True, text=True, check=False
            )
            assert used.returncode == 2 and "is in use by another driftline" in used.stderr
            assert used.stderr.count("\n") == 1
            again = subprocess.run(
                [*DRIFTLINE, "serve", "--port", "0"], cwd=folder, capture_output=True, text=True, check=False
            )
            assert again.returncode == 2 and again.stderr.count("\n") == 1
        finally:
            server.send_signal(signal.SIGTERM)
            _, said = server.communicate(timeout=SLOW_SECONDS)
    assert (server.returncode, said) == (0, "")


def until_healthy(port: int) -> None:
    give_up = time.monotonic() + SLOW_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < give_up
            time.sleep(0.1)


# ---- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_in_which_no_service_worked_is_told_and_left_alone(folder: Path, run: Run, place: str) -> None:
    """A mistyped --data said "No alert is firing", with exit code 0, and made a new state there."""
    (folder / "empty").mkdir(exist_ok=True)
    rest = [
        "alerts",
        "alerts --json",
        "models",
        "challengers",
        f"rebuild {MODEL}",
        f"card {MODEL}",
        "ack x --reason r --by me",
    ]
    calls = [*(f"{words} --data {place}" for words in rest), f"silence --data {place} list"]
    for call, (code, said) in zip(calls, run("read", [call.split() for call in calls]), strict=True):
        assert (call, code) == (call, 2)
        assert said.startswith(f"driftline: no `driftline serve` has run in {place}:")
        assert said.count("\n") == 1 and "--data" in said
    assert not (folder / "nowhere").exists() and not list((folder / "empty").iterdir())


def test_a_rebuild_that_fails_leaves_no_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError

    monkeypatch.chdir(folder)
    monkeypatch.setattr("driftline.monitoring.rebuild.rebuild", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main(["rebuild", MODEL])
    assert ended.value.code == 70 and "ArithmeticError" in capsys.readouterr().err
    Service(load(folder / "driftline.yaml")).stop()  # raises where another holds the folder


# ---- the mechanism --------------------------------------------------------------------------------------------------


class Panic(BaseException):
    """As a library in Rust has it: no Exception."""


def test_a_panic_of_a_library_is_a_fault_of_ours_and_no_alert(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def panic(*_: object, **__: object) -> None:
        raise Panic("index out of bounds")

    monkeypatch.setattr(cli.root, "main", panic)
    with pytest.raises(SystemExit) as ended:
        cli.main(["alerts"])
    assert ended.value.code == 70 and "please report it" in capsys.readouterr().err


def test_a_pipe_that_does_not_wait_is_waited_for() -> None:
    """Some that start us (Node) leave the pipe non-blocking: a long report ended in BlockingIOError."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    patient = streams._Patient(writing, "<stdout>")
    data = bytes(range(256)) * 4096
    got = bytearray()
    pid = os.fork() if hasattr(os, "fork") else pytest.skip("there is no fork here")
    if pid == 0:
        os.close(reading)
        os._exit(patient.write(data) != len(data))
    os.close(writing)
    while part := os.read(reading, 1 << 16):
        got += part
    os.close(reading)
    assert os.waitpid(pid, 0)[1] == 0 and bytes(got) == data


def test_streams_of_another_program_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before: Any = sys.stdout
    with streams.patient_streams() as out:
        assert out is None and sys.stdout is before
