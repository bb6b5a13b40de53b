"""Commands on this machine: what they are given, what they leave, and the limits that they are held to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import psutil
import pytest

from driftline.errors import ConflictError, StorageError, UsageError
from driftline.retrain.runners.command import Command
from driftline.retrain.runners.function import Function
from driftline.retrain.runners.run import Limits, Run
from driftline.retrain.runners.runner import Predictions, Request, Result, wait_for
from tests.retrain.runners.conftest import ID, SUCCEED, ended, python, request, surroundings
from tests.support.servers import until


def test_a_run_leaves_its_result_its_log_and_its_request(tmp_path: Path, folder: Path) -> None:
    handle = python(tmp_path, "print('learning')", SUCCEED).start(request(), folder)
    outcome = wait_for(handle, lambda: until(lambda: True, "a moment"))
    assert (outcome.ok, outcome.reason, outcome.exit_code) == (True, "", 0)
    assert outcome.result == Result("2026-11-23", Predictions("challenger.parquet"))
    assert outcome.seconds is not None and outcome.seconds > 0
    lines = outcome.log.read_text().splitlines()
    assert lines[0].startswith("[step 1 of 2: ") and lines[1] == "learning" and lines[2].startswith("[step 2 of 2: ")
    assert msgspec.json.decode((folder / "request.json").read_bytes(), type=Request) == request()
    assert json.loads((folder / "request.json").read_text())["request_id"] == ID


def test_a_request_that_is_described_already_stays_as_it_is(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "request.json").write_text('{"evidence": []}')
    assert ended(python(tmp_path, SUCCEED).start(request(), folder)).ok
    assert (folder / "request.json").read_text() == '{"evidence": []}'


def test_steps_follow_each_other_until_one_fails(tmp_path: Path, folder: Path) -> None:
    scripts = ["open('one', 'w')", "import sys; print('no rows', file=sys.stderr); sys.exit(3)", "open('three', 'w')"]
    outcome = ended(python(tmp_path, *scripts).start(request(), folder))
    assert (outcome.ok, outcome.exit_code) == (False, 3)
    assert outcome.reason == "step 2 of 3 ended with exit code 3: no rows"
    assert (folder / "one").exists() and not (folder / "three").exists()


def test_a_failure_of_one_command_says_which_and_its_last_words(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "train.py").write_text("raise ValueError('two\\nlines \\x1b[31m')")
    steps = [["{python}", "{project}/train.py"]]
    outcome = ended(Command(steps, surroundings(tmp_path)).start(request(), folder))
    assert outcome.reason == "'{python}' '{project}/train.py' ended with exit code 1: lines  [31m"
    assert outcome.result is None


def test_words_reach_the_program_as_they_are(tmp_path: Path, folder: Path) -> None:
    odd = ["$HOME", "`id`", "a; touch evil", "*", "{other}", "", "ü 😀", "--", "{run}/{project}"]
    script = "import json, sys; json.dump(sys.argv[1:], open('words.json', 'w'))"
    command = Command([["{python}", "-c", script, *odd]], surroundings(tmp_path))
    ended(command.start(request(), folder))
    assert json.loads((folder / "words.json").read_text()) == [*odd[:-1], f"{folder}/{tmp_path}"]


def test_a_run_gets_what_is_allowed_of_the_environment_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    script = "import json, os; json.dump(dict(os.environ), open('environment.json', 'w'))"
    around = surroundings(tmp_path, "TOKEN", TOKEN="mine", OTHER="no")
    ended(Command([["{python}", "-c", script]], around).start(request(), folder))
    got = json.loads((folder / "environment.json").read_text())
    got.pop("LC_CTYPE", None)  # Python sets it for itself
    assert got == {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "TOKEN": "mine",
        "PYTHONUNBUFFERED": "1",
        "DRIFTLINE_RUN": str(folder),
        "DRIFTLINE_REQUEST_ID": ID,
        "DRIFTLINE_MODEL": "churn",
    }
    for path in folder.iterdir():
        assert b"hush" not in path.read_bytes()
        assert b"mine" not in path.read_bytes() or path.name == "environment.json"


def test_a_name_that_the_environment_lacks_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no AWS_KEY, which"):
        surroundings(tmp_path, "AWS_KEY")


def test_the_surroundings_do_not_show_the_environment(tmp_path: Path) -> None:
    assert "hush" not in repr(python(tmp_path, SUCCEED))


def test_files_that_the_server_has_open_are_not_passed_on(tmp_path: Path, folder: Path) -> None:
    script = "import os; print(sorted(int(one) for one in os.listdir('/proc/self/fd')))"
    with (tmp_path / "secrets").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        outcome = ended(python(tmp_path, script).start(request(), folder))
    assert len(json.loads(outcome.log.read_text())) <= 4  # in, out, error, and the folder that is being listed


# ---- limits ------------------------------------------------------------------------------------------------

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
below = subprocess.Popen([sys.executable, "-c", deaf])
open("below", "w").write(str(below.pid))
print("ready", flush=True)
while True:
    time.sleep(600)
"""


def ready(handle: Run) -> None:
    """Wait until a run says that it is."""
    log = handle.folder / "run.log"
    until(lambda: log.exists() and "ready" in log.read_text(), "it runs")


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path, folder: Path) -> None:
    outcome = ended(python(tmp_path, "import time; time.sleep(600)", seconds=1.0).start(request(), folder))
    assert (outcome.ok, outcome.exit_code) == (False, -15)
    assert "took longer than 1 s and was ended" in outcome.reason
    assert outcome.seconds is not None and outcome.seconds >= 1


def test_a_run_that_will_not_end_is_ended_with_all_its_children(tmp_path: Path, folder: Path) -> None:
    handle = python(tmp_path, STUBBORN).start(request(), folder)
    ready(handle)
    handle.stop()
    outcome = ended(handle)
    assert outcome.exit_code == -9, "it was asked to end, and did not"
    assert "heard" in outcome.log.read_text()
    below = int((folder / "below").read_text())
    until(lambda: not _lives(below), "its child is gone")


def test_the_time_is_that_of_all_steps_together(tmp_path: Path, folder: Path) -> None:
    steps = ["import time; time.sleep(0.5)"] * 100
    outcome = ended(python(tmp_path, *steps, seconds=2.0).start(request(), folder))
    assert "of 100 took longer than 2 s" in outcome.reason


def test_a_run_that_ends_when_asked_has_its_time_for_it(tmp_path: Path, folder: Path) -> None:
    script = """
import signal, sys, time
def leave(*_):
    time.sleep(0.5); print("saved"); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready")
time.sleep(600)
"""
    handle = python(tmp_path, script, grace_seconds=60.0).start(request(), folder)
    ready(handle)
    handle.stop()
    outcome = ended(handle)
    assert (outcome.ok, outcome.exit_code) == (False, 0)
    assert outcome.log.read_text() == "ready\nsaved\n"


def test_memory_is_limited(tmp_path: Path, folder: Path) -> None:
    script = "import resource; print(resource.getrlimit(resource.RLIMIT_AS)); b = bytearray(2_000_000_000)"
    outcome = ended(python(tmp_path, script, memory_bytes=500_000_000).start(request(), folder))
    assert outcome.log.read_text().startswith("(500000000, 500000000)")
    assert outcome.reason.endswith("ended with exit code 1: MemoryError")


def test_of_a_long_log_the_beginning_and_the_end_are_kept(tmp_path: Path, folder: Path) -> None:
    script = "print('first'); print('x' * 3_000_000); print('last')"
    outcome = ended(python(tmp_path, script, log_bytes=10_000).start(request(), folder))
    log = outcome.log.read_text()
    assert 10_000 <= len(log) < 10_100
    assert log.startswith("first\nxxx") and log.endswith("xxx\nlast\n")
    left_out = 3_000_000 + len("first\n\nlast\n") - 10_000
    assert f"\n[{left_out} bytes are left out here]\n" in log


@pytest.mark.parametrize("length", [0, 1, 9_999, 10_000, 10_001])
def test_a_log_within_the_bound_is_whole(tmp_path: Path, folder: Path, length: int) -> None:
    script = f"import os, sys; os.write(1, b'ab' * {length // 2}); os.write(2, b'c' * {length % 2})"
    log = ended(python(tmp_path, script, log_bytes=10_000).start(request(), folder)).log.read_text()
    whole = "ab" * (length // 2) + "c" * (length % 2)
    assert log == whole or (length > 10_000 and "[1 bytes are left out here]" in log)


def test_what_is_left_in_the_background_ends_with_its_step(tmp_path: Path, folder: Path) -> None:
    """And does not hold the run up, although it has the log open."""
    script = """
import subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("below", "w").write(str(below.pid))
"""
    outcome = ended(python(tmp_path, script + SUCCEED).start(request(), folder))
    assert outcome.ok
    below = int((folder / "below").read_text())
    until(lambda: not _lives(below), "it is gone")


def test_a_run_can_be_stopped(tmp_path: Path, folder: Path) -> None:
    handle = python(tmp_path, "print('ready'); import time; time.sleep(600)", SUCCEED).start(request(), folder)
    ready(handle)
    handle.stop()
    outcome = ended(handle)
    assert (outcome.ok, outcome.exit_code) == (False, -15)
    assert outcome.reason.startswith("step 1 of 2 was stopped")
    handle.stop()
    assert handle.outcome() == outcome


def test_a_program_that_is_not_there_is_named(tmp_path: Path, folder: Path) -> None:
    outcome = ended(Command([["no-such-program", "now"]], surroundings(tmp_path)).start(request(), folder))
    assert (outcome.ok, outcome.exit_code) == (False, None)
    assert outcome.reason == "no-such-program now cannot be started: No such file or directory"


def test_a_step_that_kills_itself_is_told_from_one_that_fails(tmp_path: Path, folder: Path) -> None:
    outcome = ended(python(tmp_path, "import os; os.kill(os.getpid(), 9)").start(request(), folder))
    assert outcome.exit_code == -9
    assert "was ended by SIGKILL (was there too little memory?)" in outcome.reason


# ---- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[], [[]], ["python train.py"], [["python", "a\0b"]], [["python"], []], [[""]]])
def test_a_command_that_is_none_is_refused(tmp_path: Path, steps: list[list[str]]) -> None:
    with pytest.raises(UsageError, match="write a list of words"):
        Command(steps, surroundings(tmp_path))


@pytest.mark.parametrize("id", ["", "..", "a/b", "a b", "-x", "ü", "x" * 65, "a\n"])
def test_an_id_becomes_part_of_names_and_is_held_to_it(id: str) -> None:
    with pytest.raises(UsageError, match="the id of a request"):
        request(id)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be started in"):
        python(tmp_path, SUCCEED).start(request(), tmp_path / "file" / "run")


def test_the_folder_of_another_request_is_refused(tmp_path: Path, folder: Path) -> None:
    ended(python(tmp_path, SUCCEED).start(request(), folder))
    with pytest.raises(ConflictError, match="the folder of another request"):
        python(tmp_path, SUCCEED).start(request("other"), folder)


# ---- functions ---------------------------------------------------------------------------------------------


def function(project: Path, text: str, target: str = "train.py:train") -> Function:
    (project / "train.py").write_text(text)
    return Function(target, surroundings(project), Limits(seconds=60.0, grace_seconds=0.3))


RETURNS = """
import neighbour

class Kept:
    pass

def train(run):
    (run / "challenger.parquet").write_bytes(b"rows")
    import pickle; pickle.dumps(Kept())
    return {"version": "2", "predictions": {"challenger": "challenger.parquet"}}
"""


@pytest.mark.parametrize("target", ["train.py:train", "train:train"])
def test_a_function_is_called_with_the_run_and_returns_the_result(tmp_path: Path, folder: Path, target: str) -> None:
    (tmp_path / "neighbour.py").touch()
    outcome = ended(function(tmp_path, RETURNS, target).start(request(), folder))
    assert outcome.ok, outcome
    assert outcome.result == Result("2", Predictions("challenger.parquet"))


def test_a_function_may_write_its_result_itself(tmp_path: Path, folder: Path) -> None:
    indented = "\n".join(f"    {line}" for line in SUCCEED.splitlines())
    assert ended(function(tmp_path, f"def train(run):\n{indented}\n").start(request(), folder)).ok


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        ("def train(run): raise ValueError('no rows')", "train.py:train", "ValueError: no rows"),
        ("def train(run): return 3", "train.py:train", "returned a int; return what is to stand in result.json"),
        ("def train(run): return {'a': run}", "train.py:train", "cannot be written as JSON: Object of type PosixPath"),
        ("async def train(run): pass", "train.py:train", "is async; give a plain function"),
        ("train = 3", "train.py:train", "train.py has no function 'train'"),
        ("1 / 0", "train.py:train", "ZeroDivisionError: division by zero"),
        ("", "other.py:train", "there is no file"),
        ("", "other:train", "No module named 'other'"),
        ("import airflow", "train.py:train", "No module named 'airflow'"),
        ("import driftline.nothing", "train.py:train", "No module named 'driftline.nothing'"),
        ("def train(run): pass", "train.py:train", "the run left no result.json in its folder"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(
    tmp_path: Path, folder: Path, text: str, target: str, reason: str
) -> None:
    outcome = ended(function(tmp_path, text, target).start(request(), folder))
    assert not outcome.ok
    assert reason in outcome.reason


@pytest.mark.parametrize("target", ["", "train", "train.py:", ":train", "train.py:a b", "train.py:a.b", "\0.py:a"])
def test_a_target_that_is_none_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError, match="does not name a function"):
        Function(target, surroundings(tmp_path))


def test_a_function_is_held_to_the_limits_of_a_command(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "train.py").write_text("import time\ndef train(run): time.sleep(600)")
    limits = Limits(seconds=1.0, grace_seconds=0.3)
    outcome = ended(Function("train.py:train", surroundings(tmp_path), limits).start(request(), folder))
    assert outcome.reason == "train.py:train took longer than 1 s and was ended"


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
