"""What only a PostgreSQL can do: be away, be locked or only read, be set otherwise; and no word holds its password."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from driftline.config.load import load
from driftline.errors import StorageError, UsageError
from driftline.service.runtime import Service
from driftline.service.trouble import in_words, is_of_surroundings
from driftline.store import postgresql as ours
from driftline.store.addresses import resolved, server_problem, without_secrets
from driftline.store.database import Watch, open_database
from driftline.store.inbox import Inbox
from driftline.store.state import State
from driftline.views.offline import open_state
from driftline.web import vitals
from driftline.web.vitals import Vitals
from tests.support.churn import prediction, write_config
from tests.support.postgresql import PASSWORD, PostgreSQL
from tests.support.servers import free_port
from tests.support.steps import deliver, work

# ---- addresses ------------------------------------------------------------------------------------------------------

PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=4, max_size=20)


@given(PASSWORDS)
def test_any_password_can_be_written(password: str) -> None:
    address = f"postgresql://me:{quote(password, safe='')}@db.example:5433/drift"
    assert server_problem(address) is None
    url = sa.make_url(resolved(address))
    assert (url.drivername, url.password, url.host, url.port) == ("postgresql+psycopg", password, "db.example", 5433)
    assert without_secrets(address) == "postgresql+psycopg://db.example:5433/drift"


@given(PASSWORDS)
def test_a_password_that_is_not_written_so_is_refused_or_taken_whole_and_never_repeated(password: str) -> None:
    address = f"postgresql+psycopg://me:{password}@db.example/drift"
    problem = server_problem(address)
    if problem is None:
        assert sa.make_url(address).host == "db.example"
        assert without_secrets(address) == "postgresql+psycopg://db.example/drift"
    else:
        assert problem == server_problem("postgresql+psycopg://a@b@c/d")


@pytest.mark.parametrize(
    "address", ["", "://", "db", "postgresql+psycopg://me@host:port/db", "postgresql+psycopg:///db", "mysql://a@b/c"]
)
def test_a_variable_that_holds_no_address_is_named_and_its_value_is_not(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_OF_TESTS", f"{address}{PASSWORD}" if address else "")
    with pytest.raises(UsageError, match="DATABASE_OF_TESTS") as caught:
        open_database("env:DATABASE_OF_TESTS")
    assert PASSWORD not in str(caught.value)


def test_a_socket_has_no_host_and_a_variable_is_shown_by_its_name() -> None:
    assert without_secrets("env:NAME") == "env:NAME"
    address = "postgresql+psycopg://me@/drift?host=/var/run/postgresql"
    assert server_problem(address) is None
    assert without_secrets(address) == "postgresql+psycopg:///var/run/postgresql/drift"


def test_the_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'driftline[postgres]'")):
        open_database("postgresql+psycopg://me@host/drift")


# ---- servers that are not as they should be -------------------------------------------------------------------------


def test_a_database_that_cannot_be_opened_is_one_line_without_the_password(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    right = postgresql.address("postgres")
    for address, words in {
        right.replace("driftline:", "nobody:"): "password authentication failed",
        right.replace(f":{postgresql.port}", f":{free_port()}"): "Connection refused",
        postgresql.address("none"): 'database "none" does not exist',
    }.items():
        config = write_config(tmp_path, f"database: {address}")
        assert PASSWORD not in repr(load(config))
        command = [sys.executable, "-m", "driftline", "serve", "--config", str(config), "--port", "0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert words in done.stderr
        assert PASSWORD not in done.stderr


def test_texts_in_another_encoding_are_refused_with_what_to_do(postgresql: PostgreSQL) -> None:
    postgresql.say("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'")
    with pytest.raises(StorageError, match="keeps text as SQL_ASCII; allowed is UTF8: createdb"):
        open_database(postgresql.address("ascii"))


def test_what_an_operator_has_set_does_not_undo_what_must_hold(postgresql: PostgreSQL) -> None:
    address = postgresql.new_database()
    name = address.rpartition("/")[2]
    for setting in ("synchronous_commit = off", "default_transaction_isolation = 'serializable'"):
        postgresql.say(f"ALTER DATABASE {name} SET {setting}")
    engine = open_database(address, sync_commits=False)
    with engine.begin() as connection:
        settings = [connection.exec_driver_sql(f"SHOW {one}").scalar_one() for one in _SETTINGS]
    assert settings == ["on", "read committed"]
    with State(engine).read() as read:
        level = read.connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
    assert level == "repeatable read"
    engine.dispose()


_SETTINGS = ("synchronous_commit", "transaction_isolation")


def test_an_empty_database_is_not_that_of_a_model_without_alerts(tmp_path: Path, postgresql: PostgreSQL) -> None:
    config = load(write_config(tmp_path, f"database: {postgresql.new_database()}"))
    with pytest.raises(UsageError, match="no `driftline serve` has run with postgresql") as caught:
        open_state(config)
    assert PASSWORD not in str(caught.value)
    with pytest.raises(UsageError, match="is in PostgreSQL: change `storage`"):
        config.at(tmp_path)


# ---- locks and silence ----------------------------------------------------------------------------------------------


@contextmanager
def held(postgresql: PostgreSQL, address: str, mode: str) -> Iterator[None]:
    """Another program holds the inbox."""
    other = sa.create_engine(address)
    with other.connect() as connection:
        connection.exec_driver_sql(f"LOCK TABLE inbox IN {mode} MODE")
        yield
        connection.rollback()
    other.dispose()


def test_a_table_that_another_program_holds_is_said_and_waited_for_a_while(
    tmp_path: Path, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_BUSY_SECONDS", 0.2)
    monkeypatch.setattr(vitals, "_FRESH", timedelta())
    address = postgresql.cleared_database()
    service = Service(load(write_config(tmp_path, f"database: {address}")))
    looks = Vitals(service.config, service.inbox)
    with held(postgresql, address, "ACCESS SHARE"):  # as a backup does
        assert asyncio.run(looks.seen()).problems == {}
    with held(postgresql, address, "EXCLUSIVE"):
        assert asyncio.run(looks.seen()).problems == {"database": "the database is locked by another program"}
        with pytest.raises(sa.exc.OperationalError) as caught:
            deliver(service, "predictions", [prediction("a", 0.1, said=1)])
        assert in_words(caught.value) == "the database is locked by another program"
        assert is_of_surroundings(caught.value)
    assert asyncio.run(looks.seen()).problems == {}
    assert deliver(service, "predictions", [prediction("a", 0.1, said=1)]) == 1
    work(service)
    looks._database.engine.dispose()
    service.stop()


def test_a_server_that_only_reads_is_said(postgresql: PostgreSQL) -> None:
    address = postgresql.new_database()
    engine = open_database(address)
    engine.dispose()
    postgresql.say(f"ALTER DATABASE {address.rpartition('/')[2]} SET default_transaction_read_only = on")
    watch = Watch(address, timedelta(seconds=1))
    words = "the database only reads: it is a standby, or is set to"
    assert str(watch.write_trouble()) == words
    with pytest.raises(sa.exc.DBAPIError) as caught, State(engine).work() as begun:
        begun.counters.add("m", "n", "", 1)
    assert in_words(caught.value) == words
    assert is_of_surroundings(caught.value)
    watch.engine.dispose()
    engine.dispose()


def test_tables_that_are_gone_are_said(postgresql: PostgreSQL) -> None:
    engine = open_database(postgresql.new_database())
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE inbox")
    with pytest.raises(sa.exc.ProgrammingError) as caught:
        Inbox(engine).waiting_models()
    assert in_words(caught.value).startswith("the tables of the database are gone")
    assert is_of_surroundings(caught.value)
    engine.dispose()


def test_a_server_that_says_nothing_is_not_waited_for(
    tmp_path: Path, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its processes stand still, as on a machine whose disk does."""
    monkeypatch.setattr(vitals, "_FRESH", timedelta())
    monkeypatch.setattr(vitals, "_OLD", timedelta())
    monkeypatch.setattr(vitals, "_ANSWER_WITHIN", timedelta(seconds=0.2))
    service = Service(load(write_config(tmp_path, f"database: {postgresql.cleared_database()}")))
    looks = Vitals(service.config, service.inbox)
    first = asyncio.run(looks.seen())
    assert first.problems == {}
    processes = [psutil.Process(postgresql.process.pid)]
    processes += processes[0].children(recursive=True)
    for one in processes:
        one.send_signal(signal.SIGSTOP)
    try:
        assert "does not answer" in asyncio.run(looks.seen()).problems["database"]
    finally:
        for one in processes:
            one.send_signal(signal.SIGCONT)
    looks._thread.shutdown()
    looks._database.engine.dispose()
    service.stop()
