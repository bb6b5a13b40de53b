"""What a power failure leaves: the order of the system calls, as strace records it, of a real service's batches."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.churn import write_config

SCRIPT = """
import os, sys
from pathlib import Path
from driftline.monitoring import ingest
from driftline.config.load import load
from driftline.service.runtime import Service
from driftline.store import log
from tests.support.churn import label, prediction
from tests.support.steps import deliver
from driftline.monitoring.draining import drain

marker = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY)
service = Service(load(Path(sys.argv[1])))
real = ingest.done
def done(*args):
    os.write(marker, b"removal")
    return real(*args)
ingest.done = done
model = service.models["churn"]
for number in range(12):
    deliver(service, "predictions", [prediction(f"{number}-{one}", 0.1, said=1) for one in range(3)])
    deliver(service, "labels", [label(f"{number}-{one}", 0.2, truth=1) for one in range(3)])
    os.write(marker, b"accepted")
    drain(model, service.inbox, service.state)
    os.write(marker, b"drained")
service.stop()
"""

CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)$")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call, and the path that it speaks of."""

    name: str
    path: str
    text: str


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    strace = shutil.which("strace")
    assert strace is not None, "this test needs strace: apt-get install strace"
    folder = tmp_path_factory.mktemp("synced")
    config, trace = write_config(folder), folder / "trace"
    names = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat"
    command = [strace, "-f", "-y", "-s", "16", "-o", str(trace), "-e", f"trace={names}"]
    command += [sys.executable, "-c", SCRIPT, str(config), str(folder / "marker")]
    subprocess.run(command, check=True, timeout=300, cwd=Path(__file__).parents[2])
    return [call for line in trace.read_text().splitlines() if (call := parsed(line)) is not None]


def parsed(line: str) -> Call | None:
    """The last path of the call: of a renaming, the new one."""
    found = CALL.match(line)
    if found is None or " = -1 " in line:
        return None
    name, rest = found.groups()
    if name in (
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "unlink",
        "unlinkat",
        "openat",
        "mkdir",
        "mkdirat",
    ):
        paths = re.findall(r'"([^"]*)"', rest)
    else:
        paths = re.findall(r"^\d+<([^>]*)>", rest)
    return Call(name, paths[-1], rest) if paths else None


def marks(calls: list[Call], what: str) -> list[int]:
    return [place for place, one in enumerate(calls) if one.path.endswith("/marker") and f'"{what}"' in one.text]


def synced(calls: list[Call], path: str, begin: int, end: int) -> bool:
    return any(one.name in ("fsync", "fdatasync") and one.path == path for one in calls[begin:end])


def made(calls: list[Call], begin: int, end: int) -> list[tuple[int, str]]:
    """The files of the log that appear between two places under the name that they keep."""
    found = []
    for place, one in enumerate(calls[begin:end], begin):
        new = one.name in ("rename", "renameat", "renameat2", "link", "linkat") or (
            one.name == "openat" and "O_CREAT" in one.text
        )
        if new and re.search(r"/log/churn/\w+/(_delta_log/\d{20}\.json|[^/]*\.parquet)$", one.path):
            found.append((place, one.path))
    return found


def test_an_answer_waits_until_the_batch_is_on_the_disk(calls: list[Call]) -> None:
    for mark in marks(calls, "accepted"):
        written = max(
            place for place in range(mark) if calls[place].name == "pwrite64" and calls[place].path.endswith("-wal")
        )
        assert synced(calls, calls[written].path, written, mark)


def test_the_log_is_on_the_disk_before_the_inbox_forgets(calls: list[Call]) -> None:
    begin, files = 0, 0
    for mark in marks(calls, "removal"):
        for place, path in made(calls, begin, mark):
            files += 1
            assert synced(calls, str(Path(path).parent), place, mark), f"the name of {path}"
            if path.endswith(".json"):
                written = max(  # under this name or the one before
                    (one for one in range(begin, mark) if calls[one].name == "write" and ".json" in calls[one].path),
                    default=place,
                )
                assert any(
                    one.name == "fsync" and "_delta_log" in one.path and ".json" in one.path
                    for one in calls[written:mark]
                )
            else:
                assert synced(calls, path, place, mark), path
        begin = mark
    assert files >= 12 * 4  # of predictions and labels, a file and a commit each


def test_the_names_of_new_folders_are_on_the_disk_before_the_inbox_forgets(calls: list[Call]) -> None:
    first = marks(calls, "removal")[0]
    folders = [(place, one.path) for place, one in enumerate(calls[:first]) if one.name in ("mkdir", "mkdirat")]
    ours = [(place, path) for place, path in folders if "/data" in path]
    assert any(path.endswith("/log/churn/predictions") for _, path in ours)
    for place, path in ours:
        parent = str(Path(path).parent)
        assert any(one.name == "fsync" and one.path.rstrip("/") == parent.rstrip("/") for one in calls[place:first]), (
            f"the name of {path}"
        )


def test_what_a_merge_replaces_is_deleted_only_after_the_merge_is_on_the_disk(calls: list[Call]) -> None:
    merges = [(place, path) for place, path in made(calls, 0, len(calls)) if "/tier-1-" in path]
    assert merges
    for place, path in merges:
        table = str(Path(path).parent)
        commit = next(
            at for at, name in made(calls, place, len(calls)) if name.startswith(f"{table}/_delta_log/") and at > place
        )
        assert synced(calls, path, place, commit) and synced(calls, table, place, commit)
        gone = [
            at
            for at, one in enumerate(calls)
            if at > place and one.name in ("unlink", "unlinkat") and one.path.startswith(f"{table}/part-")
        ]
        assert gone and synced(calls, f"{table}/_delta_log", commit, gone[0])
