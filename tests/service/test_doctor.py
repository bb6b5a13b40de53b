"""What the doctor finds: each part of a service, made wrong; and that looking changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from driftline.access.callers import Role
from driftline.access.tokens import create_token
from driftline.config.load import Config, load
from driftline.service import doctor
from driftline.service.doctor import Diagnosis, Status, diagnose
from driftline.service.runtime import Service
from tests.support.churn import prediction, write_config
from tests.support.postgresql import PostgreSQL
from tests.support.steps import NOW, deliver, work

NAMES = ["versions", "compiled loops", "storage", "disk", "clock", "database", "migrations", "waiting events", "lag"]
NAMES += ["events set aside", "event times", "holds", "tokens", "references", "service"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(load(write_config(tmp_path)))
    yield service
    service.stop()


def look(config: Config, now: datetime | None = None) -> Diagnosis:
    return diagnose(config, now or datetime.now(UTC))


def not_well(found: Diagnosis) -> dict[str, tuple[Status, str]]:
    return {one.name: (one.status, one.message) for one in found.checks if one.status is not Status.OK}


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(one): (one.stat().st_mtime_ns, one.stat().st_size)
        for one in folder.rglob("*")
        if "state.db-" not in one.name
    }


def test_a_service_that_works_is_well_and_is_not_touched(service: Service, tmp_path: Path) -> None:
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    work(service)
    before = seen(tmp_path)
    found = look(service.config)
    assert [one.name for one in found.checks] == NAMES
    assert (not_well(found), found.ok) == ({}, True)
    after = seen(tmp_path)
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} <= {str(tmp_path / "data")}  # a file came and went


def test_before_the_first_start_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    config = load(write_config(tmp_path))
    before = seen(tmp_path)
    found = look(config)
    assert (found.ok, not_well(found)) == (True, {})
    assert "creates it" in next(one.message for one in found.checks if one.name == "storage")
    assert seen(tmp_path) == before


def test_a_service_that_has_stopped_is_said(service: Service) -> None:
    service.stop()
    assert not_well(look(service.config)).keys() == {"service"}


@pytest.mark.parametrize(("free", "status"), [(99 * 10**6, Status.FAILED), (999 * 10**6, Status.WARNING)])
def test_a_disk_that_fills_is_said(
    service: Service, monkeypatch: pytest.MonkeyPatch, free: int, status: Status
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage(10**12, 0, free))
    found = look(service.config)
    assert (not_well(found)["disk"][0], found.ok) == (status, status is Status.WARNING)


def test_a_clock_that_is_off_is_said(service: Service) -> None:
    found = look(service.config, datetime.now(UTC) - timedelta(hours=1))
    assert "synchronise both clocks" in not_well(found)["clock"][1]


def test_events_that_wait_long_are_said_and_those_that_came_now_are_not(service: Service) -> None:
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    assert "lag" not in not_well(look(service.config, NOW + timedelta(minutes=1)))
    status, said = not_well(look(service.config, NOW + timedelta(minutes=90)))["lag"]
    assert status is Status.WARNING and "churn for 1 hour" in said and "is the service running?" in said
    work(service)
    found = look(service.config, NOW + timedelta(minutes=90))
    assert next(one.message for one in found.checks if one.name == "lag") == "nothing waits to be processed"


def test_the_version_of_the_database_is_said(service: Service) -> None:
    [said] = [one.message for one in look(service.config).checks if one.name == "database"]
    assert f"(SQLite {sqlite3.sqlite_version})" in said


def test_a_server_whose_clock_is_another_is_said(tmp_path: Path, postgresql: PostgreSQL) -> None:
    config = load(write_config(tmp_path, f"database: {postgresql.new_database()}"))
    Service(config).stop()
    found = look(config)
    names = [one.name for one in found.checks]
    expected = [*NAMES]
    expected.insert(NAMES.index("migrations"), "database clock")
    expected.insert(expected.index("events set aside"), "processes")
    assert names == expected
    assert not_well(found).keys() == {"processes", "service"}
    assert re.search(r"\(PostgreSQL [0-9.]+\)", next(one.message for one in found.checks if one.name == "database"))
    for off in (timedelta(hours=1), -timedelta(seconds=30)):
        status, said = not_well(look(config, datetime.now(UTC) + off))["database clock"]
        assert status is Status.WARNING and "synchronise both clocks" in said


def test_events_of_the_future_are_said(service: Service) -> None:
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    work(service)
    [(_, said)] = [not_well(look(service.config, datetime(2020, 1, 1, tzinfo=UTC)))["event times"]]
    assert "the clock of who sends them" in said


@pytest.mark.parametrize(
    ("revision", "status", "word"),
    [("0003", Status.WARNING, "driftline migrate"), ("9999", Status.FAILED, "a later release")],
)
def test_tables_of_another_release_are_said_and_left(
    service: Service, revision: str, status: Status, word: str, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "data" / "state.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
    found = not_well(look(service.config))["migrations"]
    assert found[0] is status and word in found[1]
    with sqlite3.connect(tmp_path / "data" / "state.db") as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)


def test_a_database_that_is_none_is_said(service: Service, tmp_path: Path) -> None:
    service.stop()
    for file in (tmp_path / "data").glob("state.db*"):
        file.write_bytes(b"no database at all" * 1000)
    found = look(service.config)
    status, said = not_well(found)["database"]
    assert (status, found.ok) == (Status.FAILED, False)
    assert "\n" not in said and "SELECT" not in said


def test_a_database_that_is_away_is_said_without_its_password(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text() + "database: postgresql+psycopg://me:hush@127.0.0.1:1/nothing\n")
    pytest.importorskip("psycopg")
    found = look(load(config))
    status, said = not_well(found)["database"]
    assert status is Status.FAILED and "hush" not in said


def test_a_reference_that_is_gone_is_said(service: Service) -> None:
    for one in service.config.models.values():
        one.reference.unlink()
    found = look(service.config)
    assert (not_well(found)["references"][0], found.ok) == (Status.FAILED, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [("age,plan\n40,pro\n", "unknown column"), ("", "reference.csv"), ("\x00\x1b[2J", "reference")],
)
def test_a_reference_that_no_service_could_use_is_said(tmp_path: Path, content: str, words: str) -> None:
    """As `serve` would, before it is started."""
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("reference.parquet", "reference.csv"))
    (tmp_path / "reference.csv").write_text(content)
    status, said = not_well(look(load(config)))["references"]
    assert status is Status.FAILED and said.startswith("models.churn.reference: ")
    assert words in said and "\x1b" not in said


def test_a_token_that_expires_soon_is_said(service: Service) -> None:
    now = datetime.now(UTC)
    create_token(service.state, "ci", Role.WRITE, now, lasts=timedelta(days=13), by="root")
    create_token(service.state, "ann", Role.ADMIN, now, lasts=timedelta(days=15), by="root")
    create_token(service.state, "gone", Role.ADMIN, now - timedelta(days=9), lasts=timedelta(days=1), by="root")
    assert not_well(look(service.config))["tokens"][1] == ("2 are good; ci expire within 14 days: create others")


def test_a_certificate_that_does_not_fit_its_key_is_said(tmp_path: Path) -> None:
    authority = trustme.CA()
    one, other = (authority.issue_cert("127.0.0.1") for _ in range(2))
    one.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    one.private_key_pem.write_to_path(tmp_path / "own.key")
    other.private_key_pem.write_to_path(tmp_path / "other.key")
    config = write_config(tmp_path)
    plain = config.read_text()
    for key, well in (("own.key", True), ("other.key", False)):
        config.write_text(plain + f"tls: {{certificate: server.pem, key: {key}}}\n")
        found = look(load(config))
        assert found.ok is well
        assert [one.status for one in found.checks if one.name == "certificate"] == [
            Status.OK if well else Status.FAILED
        ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_said(service: Service, tmp_path: Path) -> None:
    (tmp_path / "data").chmod(0o500)
    try:
        assert not_well(look(service.config))["storage"][0] is Status.FAILED
    finally:
        (tmp_path / "data").chmod(0o700)


def test_on_the_command_line(service: Service, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "doctor", "--config", str(tmp_path / "driftline.yaml")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], [one["name"] for one in told["checks"]]) == (0, True, NAMES)
    service.stop()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").write_text("a file where a folder should be")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 1 and max(map(len, done.stdout.splitlines())) <= 80
    assert "failed" in done.stdout
