"""Runs and kill -9: of the server, of the supervisor, of the step. No request runs twice, and no run is mistaken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from driftline.errors import StorageError
from driftline.retrain.runners import supervisor
from driftline.retrain.runners.run import Limits, Run, end_leftovers
from tests.retrain.runners.conftest import ID, SUCCEED, ended, python, request, stored
from tests.support.servers import until

# Each execution leaves a line; it goes on when it is told to.
COUNTED = (
    """
import os, time
with open("executions", "a") as file:
    file.write(f"{os.getpid()}\\n")
while not os.path.exists("go"):
    time.sleep(0.02)
"""
    + SUCCEED
)

SERVER = """
import sys, time
from pathlib import Path
from tests.retrain.runners.conftest import python, request
from tests.retrain.runners.test_killed import COUNTED

folder = Path(sys.argv[1])
handle = python(folder, COUNTED).start(request(), folder)
print("started", flush=True)
time.sleep(600)
"""


def executions(folder: Path) -> list[str]:
    path = folder / "executions"
    return path.read_text().splitlines() if path.exists() else []


def lives(pid: int) -> bool:
    return supervisor.began(pid) is not None


@pytest.fixture
def server(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts the run, and is there until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_a_run_outlives_a_server_that_is_killed(folder: Path, server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None and server.stdout.readline() == "started\n"
    until(lambda: executions(folder), "it runs")
    server.kill()
    server.wait()
    handle = python(folder, COUNTED).start(request(), folder)
    assert handle.outcome() is None, "it is going on"
    (folder / "go").touch()
    outcome = ended(handle)
    assert outcome.ok and outcome.exit_code == 0
    assert len(executions(folder)) == 1
    again = python(folder, COUNTED).start(request(), folder)
    assert again.outcome() == outcome, "and is not run again when it is over"
    assert len(executions(folder)) == 1


def test_a_server_killed_at_any_moment_of_the_start_runs_it_once(tmp_path: Path) -> None:
    """The next start waits a bit longer each time before it kills: before, in and after the claim."""
    for number in range(8):
        folder = tmp_path / str(number)
        starting = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.DEVNULL)
        until(lambda folder=folder: (folder / "request.json").exists(), "it is about to start")
        threading.Event().wait(0.02 * number)
        starting.kill()
        starting.wait()
        (folder / "go").touch()
        handle = python(folder, COUNTED).start(request(), folder)
        assert ended(handle).ok
        assert len(executions(folder)) == 1


def test_of_many_that_start_it_at_once_one_does(tmp_path: Path, folder: Path) -> None:
    handles: list[Run] = []
    threads = [
        threading.Thread(target=lambda: handles.append(python(tmp_path, COUNTED).start(request(), folder)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (folder / "go").touch()
    assert len(handles) == 6
    assert ended(handles[0]).ok
    assert all(handle.outcome() == handles[0].outcome() for handle in handles)
    assert len(executions(folder)) == 1


def test_without_its_supervisor_a_run_is_lost_and_nothing_of_it_goes_on(tmp_path: Path, folder: Path) -> None:
    below = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    handle = python(tmp_path, below + COUNTED).start(request(), folder)
    until(lambda: executions(folder), "it runs")
    step = stored(folder, "run.child")["pid"]
    family = [one.pid for one in psutil.Process(step).children()]
    assert len(family) == 1
    os.kill(stored(folder, "run.pid")["pid"], signal.SIGKILL)
    outcome = ended(handle)
    assert (outcome.ok, outcome.exit_code, outcome.seconds) == (False, None, None)
    assert "was lost" in outcome.reason
    until(lambda: not any(lives(pid) for pid in (step, *family)), "nothing of it is left")
    assert python(tmp_path, COUNTED).start(request(), folder).outcome() == outcome
    assert len(executions(folder)) == 1


def test_a_step_that_is_killed_is_an_outcome(tmp_path: Path, folder: Path) -> None:
    handle = python(tmp_path, COUNTED).start(request(), folder)
    until(lambda: executions(folder), "it runs")
    os.kill(stored(folder, "run.child")["pid"], signal.SIGKILL)
    outcome = ended(handle)
    assert outcome.exit_code == -9
    assert "was ended by SIGKILL" in outcome.reason


def test_the_number_of_a_process_that_is_not_ours_is_not_taken_for_ours(tmp_path: Path, folder: Path) -> None:
    """After a restart of the machine the numbers of ``run.pid`` and ``run.child`` belong to others."""
    folder.mkdir(parents=True)
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert stranger.stdout is not None and stranger.stdout.readline()
        began = supervisor.began(stranger.pid)
        assert began is not None
        boot, _, ticks = began.rpartition(" ")
        for other in (f"{boot} {int(ticks) - 1}", f"another-boot {ticks}"):
            earlier = {"pid": stranger.pid, "began": other}
            (folder / "run.pid").write_text(json.dumps({"request": ID, **earlier}))
            (folder / "run.child").write_text(json.dumps(earlier))
            handle = python(tmp_path, COUNTED).start(request(), folder)
            outcome = handle.outcome()
            assert outcome is not None and "was lost" in outcome.reason
            handle.stop()
            assert stranger.poll() is None, "and it is left alone"
        assert executions(folder) == []
    finally:
        stranger.kill()
        stranger.communicate()


def test_leftovers_are_those_of_the_same_session(tmp_path: Path) -> None:
    """The first process of the session is gone, its child is not; and a session that began before is another's."""
    script = """
import subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
print(below.pid)
"""
    command = [sys.executable, "-c", script]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    began = supervisor.began(first.pid)
    assert began is not None
    below = int(first.communicate()[0])
    boot, _, ticks = began.rpartition(" ")
    end_leftovers(None)
    end_leftovers({"pid": first.pid, "began": None})
    end_leftovers({"pid": first.pid, "began": f"another-boot {ticks}"})
    end_leftovers({"pid": first.pid, "began": f"{boot} {int(ticks) + 10**9}"})
    assert lives(below)
    end_leftovers({"pid": first.pid, "began": began})
    until(lambda: not lives(below), "it is gone")


def test_a_process_that_nobody_has_waited_for_is_over() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    identity = supervisor.identity(process.pid)
    until(lambda: supervisor.began(process.pid) is None, "it ended")
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert not supervisor.is_alive(identity)
    process.wait()
    assert supervisor.began(process.pid) is None
    assert supervisor.is_alive(supervisor.identity(os.getpid()))
    assert not supervisor.is_alive({"pid": process.pid, "began": None})


def test_where_there_is_no_proc_ps_says_the_same() -> None:
    own = supervisor._began_by_ps(os.getpid())
    assert own is not None and own == supervisor._began_by_ps(os.getpid())
    process = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: supervisor._began_by_ps(process.pid) is None, "it ended")
    process.wait()
    assert supervisor._began_by_ps(process.pid) is None


@pytest.mark.parametrize("name", ["run.pid", "run.exit"])
def test_a_file_of_a_run_that_is_damaged_is_no_outcome(tmp_path: Path, folder: Path, name: str) -> None:
    handle = python(tmp_path, SUCCEED).start(request(), folder)
    ended(handle)
    if name == "run.pid":
        (folder / "run.exit").unlink()
    (folder / name).write_text("{")
    with pytest.raises(StorageError, match="cannot be followed"):
        handle.outcome()


def test_a_supervisor_that_cannot_make_its_files_says_so(tmp_path: Path, folder: Path) -> None:
    """Root may write anywhere: a folder stands where a file is to be."""
    (folder / "run.log").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"did not begin: IsADirectoryError"):
        python(tmp_path, COUNTED).start(request(), folder)
    assert "was lost" in ended(python(tmp_path, COUNTED).start(request(), folder)).reason
    assert executions(folder) == []


def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "run.log").symlink_to("/dev/full")
    outcome = ended(python(tmp_path, "print('x' * 100_000)", SUCCEED).start(request(), folder))
    assert outcome.ok


def test_limits_have_sound_defaults() -> None:
    assert Limits() == Limits(seconds=3600, grace_seconds=10, memory_bytes=None, log_bytes=10_000_000)
