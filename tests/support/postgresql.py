"""A real PostgreSQL from Debian's package, as a user of its own, on a free port."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from driftline.store import database
from driftline.store.tables import METADATA
from tests.support.servers import free_port, until

PASSWORD = "s3cret-of-the-tests"


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    return found[-1].parent if found else None


class PostgreSQL:
    """One server. Unless it is ``durable`` it does not wait for the disk: a power failure would lose something.

    It orders texts as people do, as most servers do: what relies on code points has to say so.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._fsync, binaries = "on" if durable else "off", _binaries()
        if binaries is None:
            pytest.skip("PostgreSQL is missing: apt-get install postgresql")
        self._bin, self.port, self._numbers = binaries, free_port(), itertools.count(1)
        self.folder = Path(tempfile.mkdtemp(prefix="driftline-postgresql-"))
        self._user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if self._user:  # the server refuses to run as root
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb",
            "-D",
            "data",
            "-U",
            "driftline",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=icu",
            "--icu-locale=en-US",
            "-A",
            "scram-sha-256",
            "--pwfile=password",
            "--no-sync",
        )
        self.start()
        self._migrated: str | None = None
        self._reached = ("--host=127.0.0.1", f"--port={self.port}", "--username=driftline")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run(command, cwd=self.folder, env=environment, check=True, capture_output=True, **self._user)

    def start(self) -> None:
        """Start, or start again, on the same port."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": self._fsync,
            "full_page_writes": self._fsync,
            "max_connections": "200",
        }
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", "data", *given]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._user)
        until(self._answers, "PostgreSQL is ready")

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        command = [str(self._bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(command, check=False).returncode == 0

    def kill(self) -> None:
        """End it at once, with all its connections, as a crash does."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def remove(self) -> None:
        """End it, and leave nothing."""
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)

    def address(self, name: str) -> str:
        """The address of a database, with the password in it."""
        return f"postgresql+psycopg://driftline:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def say(self, statement: str, name: str = "postgres") -> None:
        """Execute one statement outside of any transaction."""
        engine = sa.create_engine(self.address(name), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def copy(self, address: str) -> str:
        """Copy a database by a backup that is restored into a new one, as `docs/backup.md` says; its address."""
        to = self.new_database()
        names = [one.rpartition("/")[2] for one in (address, to)]
        file = f"{names[0]}.dump"
        self._run("pg_dump", *self._reached, "--format=custom", f"--file={file}", names[0])
        self._run("pg_restore", *self._reached, "--clean", "--if-exists", f"--dbname={names[1]}", file)
        return to

    def new_database(self) -> str:
        """Make a database without tables, and return its address: some megabytes, and a twentieth of a second."""
        name = f"test_{next(self._numbers)}"
        self.say(f"CREATE DATABASE {name}")
        return self.address(name)

    def cleared_database(self) -> str:
        """Return the address of the one database that has all tables, with nothing in them and nobody at them."""
        if self._migrated is None:
            self._migrated = self.new_database()
            database.open_database(self._migrated).dispose()
        name = self._migrated.rpartition("/")[2]
        others = f"pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        clear = (  # to truncate them all would take ten times as long: it makes them new files
            f"SELECT pg_terminate_backend(pid) FROM {others}",
            *(f"DELETE FROM {table}" for table in METADATA.tables),
            "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'",
        )
        self.say("; ".join(clear), name)
        return self._migrated


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One server for all tests of this process."""
    pytest.importorskip("psycopg", reason="psycopg is missing: pip install 'driftline[postgres]'")
    server = PostgreSQL()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables, of every kind that there is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with all tables, of every kind that there is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.cleared_database()
