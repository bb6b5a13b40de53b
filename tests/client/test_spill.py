"""The spill folder: what cannot be sent is kept in files, and arrives once, in order, from this process or the next."""

from __future__ import annotations

import logging
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.client import Monitor, Stats, pace, spill
from driftline.client.records import Part
from driftline.client.spill import Spill, SpillFullError
from driftline.errors import DamagedError, UsageError
from tests.support.churn import MODEL, write_config
from tests.support.sdk_server import (
    SLOW_SECONDS,
    Answer,
    Request,
    Server,
    error,
    free_port,
    mute_server,
    python,
    served,
    until,
)
from tests.support.served import serving, wait_until_idle


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(pace, "LONGEST_WAIT_SECONDS", 0.1)


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as one:
        yield one


def monitor_of(folder: Path, server: Server | str, **more: Any) -> Monitor:
    url = server if isinstance(server, str) else server.url
    return Monitor("weather", url, **({"spill": folder, "flush_seconds": 0.02, "batch_events": 5} | more))


def away() -> str:
    return f"http://127.0.0.1:{free_port()}"


def files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())


def is_balanced(stats: Stats) -> bool:
    return stats.logged + stats.found == stats.queued + stats.spilled + stats.sent + sum(stats.dropped.values())


def log(monitor: Monitor, count: int) -> list[str]:
    return [monitor.log({"n": number}, prediction=0) for number in range(count)]


# ---- from one process to the next -----------------------------------------------------------------------------------


def test_what_was_left_is_sent_first_by_the_next_process_in_order_and_once(tmp_path: Path, server: Server) -> None:
    first = monitor_of(tmp_path, away())
    ids = log(first, 12)
    first.label(ids[0], 1)
    first.close(SLOW_SECONDS)
    assert first.stats.spilled == 13 and not first.stats.dropped and is_balanced(first.stats)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files(tmp_path)) and files(tmp_path)
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o700 for one in tmp_path.rglob("*") if one.is_dir())
    with monitor_of(tmp_path, server) as second:
        later = log(second, 3)
        assert second.flush(SLOW_SECONDS)
        assert second.stats.found == 13 and second.stats.sent == 16 and second.stats.logged == 3
        assert is_balanced(second.stats)
    assert server.ids() == ids + later and server.ids("labels") == ids[:1]
    assert not files(tmp_path)


def test_a_monitor_that_logs_nothing_sends_what_was_left(tmp_path: Path, server: Server) -> None:
    with monitor_of(tmp_path, away()) as first:
        ids = log(first, 3)
    with monitor_of(tmp_path, server):
        until(lambda: server.ids() == ids)


def test_a_server_that_comes_back_gets_all_in_order(tmp_path: Path) -> None:
    port = free_port()
    with monitor_of(tmp_path, f"http://127.0.0.1:{port}") as monitor:
        ids = log(monitor, 12)
        until(lambda: monitor.stats.spilled == 12)
        with served(port) as server:
            ids += log(monitor, 12)
            assert monitor.flush(SLOW_SECONDS)
            assert server.ids() == ids and len({one.key for one in server.requests}) == len(server.requests)
            assert monitor.stats.spilled == 0 and monitor.stats.sent == 24 and is_balanced(monitor.stats)
    assert not files(tmp_path)


def test_files_do_not_wait_for_the_queues_clock(tmp_path: Path) -> None:
    port = free_port()
    with monitor_of(tmp_path, f"http://127.0.0.1:{port}", flush_seconds=3600.0) as monitor:
        ids = log(monitor, 5)  # a full batch does not wait for others
        until(lambda: monitor.stats.spilled == 5)
        with served(port) as server:
            until(lambda: server.ids() == ids)
            assert monitor.stats.failed_requests < 100  # and it does not ask without a pause


def test_what_a_killed_process_was_writing_is_removed_and_the_rest_is_sent(tmp_path: Path, server: Server) -> None:
    with monitor_of(tmp_path, away()) as first:
        ids = log(first, 5)
    [kept] = files(tmp_path)
    kept.with_name("000000000002-5.part").write_bytes(kept.read_bytes()[:99])
    (kept.parents[1] / "00000000000000000001-1-empty").mkdir()
    with monitor_of(tmp_path, server) as monitor:
        assert monitor.flush(SLOW_SECONDS) and monitor.stats.found == 5
    assert server.ids() == ids and not files(tmp_path) and not any(kept.parents[1].iterdir())


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_the_server_asks_for_is_spent_in_files(tmp_path: Path, server: Server, status: int) -> None:
    server.script.append(error(status, Retry_After="1"))
    with monitor_of(tmp_path, server) as monitor:
        ids = log(monitor, 3)
        until(lambda: monitor.stats.spilled == 3)
        assert files(tmp_path) and monitor.flush(SLOW_SECONDS)
    first, second = server.requests
    assert second.at - first.at >= 1.0 and first.key == second.key and server.ids() == ids


def test_an_answer_that_got_lost_is_asked_for_by_the_next_process_with_the_same_key(
    tmp_path: Path, server: Server
) -> None:
    server.script.extend([Answer(202, lost=True), error(500)])
    with monitor_of(tmp_path, server, flush_seconds=3600.0) as monitor:
        ids = log(monitor, 3)
    assert monitor.stats.spilled == 3
    with monitor_of(tmp_path, server) as monitor:
        assert monitor.flush(SLOW_SECONDS)
    assert len({one.key for one in server.requests}) == 1 and server.ids() == ids * 2


def test_a_batch_under_way_at_the_end_is_kept_with_its_key(tmp_path: Path, server: Server) -> None:
    with mute_server() as url:
        monitor = monitor_of(tmp_path, url, timeout_seconds=30.0)
        ids = log(monitor, 3)
        time.sleep(0.2)  # the first batch waits for an answer that will not come
        ids += log(monitor, 9)
        monitor.close(0.2)
        assert monitor.stats.spilled == 12 and monitor.stats.queued == 0 and is_balanced(monitor.stats)
    with monitor_of(tmp_path, server) as after:
        assert after.flush(SLOW_SECONDS)
    assert server.ids() == ids


def test_the_end_of_the_process_says_what_it_left(tmp_path: Path, server: Server) -> None:
    script = f"""
    from driftline.client import Monitor
    monitor = Monitor("weather", "{away()}", spill={str(tmp_path)!r})
    for number in range(3):
        monitor.log({{}}, prediction=number)
    """
    told = python(script, says=True)
    assert f"closed with 3 events not sent: they are kept in {tmp_path} for the next start" in told
    with monitor_of(tmp_path, server) as monitor:
        assert monitor.flush(SLOW_SECONDS)
    assert [row["prediction"] for row in server.rows("predictions")] == [0, 1, 2]


def test_a_service_that_is_killed_midway_has_each_event_once_at_the_end(tmp_path: Path) -> None:
    """A real service, killed while events come; it starts again elsewhere, and another monitor sends the rest."""
    config, folder, ids = write_config(tmp_path / "service"), tmp_path / "spill", list[str]()

    def come(monitor: Monitor, count: int) -> None:
        ids.extend(monitor.log({"age": 30.0, "plan": "pro"}, prediction=1) for _ in range(count))

    with serving(config) as (process, address), Monitor(MODEL, address, spill=folder, flush_seconds=0.02) as first:
        come(first, 2000)
        until(lambda: first.stats.sent > 0)
        process.kill()
        come(first, 1000)
        until(lambda: first.stats.spilled > 0)
    assert not first.stats.dropped and first.stats.sent + first.stats.spilled == 3000
    with serving(config) as (_, address):
        with Monitor(MODEL, address, spill=folder) as second:
            assert second.flush(SLOW_SECONDS)
            assert second.stats.sent == first.stats.spilled
        wait_until_idle(address)
        model = httpx.get(
            f"{address}/api/v1/models/{MODEL}", trust_env=False, verify=False, timeout=SLOW_SECONDS
        ).json()
    assert model["predictions"] == len(set(ids)) == 3000
    assert not files(folder)


# ---- several processes ----------------------------------------------------------------------------------------------

_OTHER = """
import os, sys, time
from driftline.client import Monitor
monitor = Monitor("weather", sys.argv[1], spill=sys.argv[2], flush_seconds=0.02, batch_events=5)
for number in range(10):
    monitor.log({{"n": number}}, prediction=0, id=f"other-{{number}}")
while monitor.stats.spilled < 10:
    time.sleep(0.01)
{more}
print("ready", flush=True)
time.sleep(600)
"""


def other_process(url: str, folder: Path, more: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _OTHER.format(more=textwrap.dedent(more)), url, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_a_living_process_has_is_its_own_until_it_is_killed(tmp_path: Path, server: Server) -> None:
    other = other_process(away(), tmp_path)
    try:
        with monitor_of(tmp_path, server) as monitor:
            mine = log(monitor, 3)
            assert monitor.flush(SLOW_SECONDS)
            assert server.ids() == mine and monitor.stats.found == 0
    finally:
        other.kill()
        other.communicate()
    with monitor_of(tmp_path, server) as monitor:
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.found == 10
    assert server.ids() == [*mine, *(f"other-{number}" for number in range(10))]
    assert not files(tmp_path)


def test_a_child_that_lives_longer_than_its_parent_neither_sends_nor_locks_what_is_its_parents(
    tmp_path: Path, server: Server
) -> None:
    more = """
    child = os.fork()
    if child == 0:
        print(monitor.stats.spilled, os.getpid(), flush=True)
        time.sleep(600)
    time.sleep(0.5)
    """
    command = [sys.executable, "-c", _OTHER.format(more=textwrap.dedent(more)), away(), str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    spilled, child = parent.stdout.readline().split()
    try:
        assert spilled == "0" and parent.stdout.readline() == "ready\n"
        parent.kill()
        parent.wait()
        with monitor_of(tmp_path, server) as monitor:
            assert monitor.stats.found == 10
            assert monitor.flush(SLOW_SECONDS)
    finally:
        os.kill(int(child), signal.SIGKILL)
        parent.communicate()
    assert len(server.ids()) == 10


def test_models_do_not_send_what_is_another_ones(tmp_path: Path, server: Server) -> None:
    with Monitor("../a/b", away(), spill=tmp_path) as first:
        first.log({}, prediction=0)
    assert {file.relative_to(tmp_path).parts[0] for file in files(tmp_path)} == {f"___a_b-{_digest('../a/b')}"}
    with Monitor("../a_b", server.url, spill=tmp_path) as other:
        assert other.stats.found == 0
    assert files(tmp_path) and not server.requests


def _digest(model: str) -> str:
    import hashlib

    return hashlib.sha256(model.encode()).hexdigest()[:8]


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_rows_of_a_file_that_are_refused_are_counted_and_the_others_go_on(tmp_path: Path, server: Server) -> None:
    with monitor_of(tmp_path, away()) as first:
        ids = log(first, 10)
    server.script.extend([error(422, (1, "features.n")), error(503), Answer(202, {}), error(413)])
    with monitor_of(tmp_path, server) as monitor:
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"refused: features.n": 1} and monitor.stats.sent == 9
        assert is_balanced(monitor.stats)
    assert server.ids() == ids[:1] + ids[2:]
    assert [len(one.rows) for one in server.requests] == [5, 4, 4, 5, 2, 3]
    assert server.requests[1].key == server.requests[2].key
    assert len({one.key for one in server.requests}) == 5


def test_halves_have_the_same_keys_whenever_they_are_made() -> None:
    part = Part("labels", "key", [b"1", b"2", b"3"])
    assert part.halves() == part.halves()
    keys = {part.key, *(half.key for half in part.halves()), *(half.key for half in part.of(part.lines).halves())}
    assert len(keys) == 5


# ---- damage and bounds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other", "link", "folder", "count"])
def test_a_file_that_is_damaged_is_set_aside_and_told_and_the_others_are_sent(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    with monitor_of(tmp_path, away(), flush_seconds=60) as first:  # by number alone, however slow this machine is
        ids = log(first, 15)
    one, two, _ = files(tmp_path)
    data = two.read_bytes()
    if damage == "count":
        two.rename(two.with_name(two.name.replace("-5.", "-7.")))
    elif damage in ("link", "folder"):
        two.unlink()
        two.symlink_to(one) if damage == "link" else two.mkdir()
    else:
        flipped = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
        two.write_bytes({"cut": data[:-9], "bit": flipped, "empty": b"", "other": b"{}\n{}"}[damage])
    with monitor_of(tmp_path, server) as monitor:
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"spill file damaged": 7 if damage == "count" else 5}
        assert is_balanced(monitor.stats)
    assert server.ids() == ids[:5] + ids[10:]
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert any("is set aside" in text for text in told)
    assert [one.parent.name for one in tmp_path.rglob("*.batch") if one.parent.is_dir()][:1] == ["damaged"]


def test_the_limit_holds_and_more_events_wait_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monitor = monitor_of(tmp_path, away(), spill_limit=2000)
    log(monitor, 50)
    until(lambda: monitor.stats.failed_requests >= 3)
    sizes = sum(file.stat().st_size for file in files(tmp_path))
    assert 1000 < sizes <= 2000
    assert 0 < monitor.stats.spilled < 50 and monitor.stats.spilled + monitor.stats.queued == 50
    monitor.close(SLOW_SECONDS)
    assert monitor.stats.spilled + monitor.stats.dropped["closed"] == 50 and is_balanced(monitor.stats)
    assert any("its limit is reached" in one.getMessage() for one in caplog.records)


def test_the_limit_is_that_of_all_processes_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "SECONDS_BETWEEN_LOOKS", -1.0)
    part = Part("labels", "key", [b"x" * 500])
    one, two = Spill(tmp_path, "m", 1500), Spill(tmp_path, "m", 1500)
    one.keep(part)
    two.keep(part)
    for full in (one, two):
        with pytest.raises(SpillFullError):
            full.keep(part)
    assert two.find() == 0
    one.release()
    assert two.find() == 1 and two.waiting == 2


def test_a_disk_that_is_full_costs_nothing_while_there_is_memory(tmp_path: Path, server: Server) -> None:
    """The system refuses files of more than 64 bytes to this process."""
    script = f"""
    import resource, time
    from driftline.client import Monitor
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    monitor = Monitor("weather", "{away()}", spill={str(tmp_path)!r}, flush_seconds=0.02)
    monitor.log({{"n": 1}}, prediction=0)
    while monitor.stats.failed_requests < 2:
        time.sleep(0.01)
    assert monitor.stats.queued == 1 and monitor.stats.spilled == 0, monitor.stats
    monitor.close(5)
    assert monitor.stats.dropped == {{"closed": 1}}, monitor.stats
    """
    told = python(script, says=True)
    assert "cannot be written: [Errno 27] File too large; more events wait in memory" in told
    assert "closed with 1 of 1 events not sent: they are lost" in told
    assert not files(tmp_path)


def test_a_folder_that_vanishes_is_told_and_another_is_made(tmp_path: Path, server: Server) -> None:
    one = Spill(tmp_path, "m", 10**6)
    one.keep(Part("labels", "key", [b"1"]))
    [file] = files(tmp_path)
    file.unlink()
    with pytest.raises(DamagedError, match="cannot be read"):
        one.first()
    assert one.set_aside() is not None and one.waiting == 0
    one.keep(Part("labels", "key", [b"2"]))
    found = one.first()
    assert found is not None and found[1].lines == [b"2"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"spill_limit": 0}, "spill_limit 0 came"),
        ({"spill_limit": "much"}, "spill_limit 'much' came"),
        ({"spill_limit": "0GB"}, "allowed are bytes"),
        ({"spill_limit": True}, "allowed are bytes"),
        ({"spill": "/dev/null/x"}, "cannot be used"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        Monitor("weather", **({"spill": tmp_path} | wrong))


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Spill(tmp_path, "m", 1)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match="is not a folder of this user"):
        Spill(tmp_path, "m", 1)


# ---- the law --------------------------------------------------------------------------------------------------------

_ANSWERS = st.sampled_from(
    [
        Answer(202, {}),
        error(503),
        error(429, Retry_After="0"),
        error(413),
        error(422, (0, "x")),
        Answer(202, lost=True),
    ]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_ANSWERS, max_size=8), min_size=1, max_size=3))
def test_whatever_the_server_answers_each_event_arrives_once_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[Answer]]
) -> None:
    folder, ids, refused = tmp_path_factory.mktemp("spill"), [], 0
    with served() as server:
        taken: dict[str, list[str]] = {}

        def judge(request: Request) -> Answer:
            return Answer(202, {})

        server.judge = judge
        for script in [*runs, []]:
            server.script.extend(script)
            with monitor_of(folder, server, flush_seconds=3600.0) as monitor:
                ids += log(monitor, 12)
            assert is_balanced(monitor.stats) and monitor.stats.queued == 0
            refused += sum(monitor.stats.dropped.values())
            server.script.clear()
        with monitor_of(folder, server) as monitor:
            assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.spilled == 0
        for request in server.requests:
            if request.status == 202:
                come = [row["id"] for row in request.rows]
                assert taken.setdefault(request.key, come) == come  # so that the server knows a repeated batch
    arrived = {one for come in taken.values() for one in come}
    assert len(arrived) + refused >= len(ids) and arrived <= set(ids)
    assert not files(folder)
