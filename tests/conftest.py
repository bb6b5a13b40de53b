"""What all tests share."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa

from driftline.store import database, sqlite
from driftline.store import postgresql as postgresql_server
from tests.support.churn import config, service
from tests.support.postgresql import address, empty_address, postgresql
from tests.support.receiver import Server, serving
from tests.support.s3 import faulty_s3, s3, s3_server
from tests.support.served import churn_address

__all__ = [
    "address",
    "churn_address",
    "config",
    "empty_address",
    "faulty_s3",
    "postgresql",
    "s3",
    "s3_server",
    "server",
    "service",
    "shared_server",
]

# Time limits on single examples fail on slow machines and say nothing; CI takes the same examples each time, and fewer.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=40, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session", autouse=True)
def _tables_made_once() -> Iterator[None]:
    """Copy the tables into an empty file, which takes a twentieth of making them; others are opened as ever."""
    migrate, lock = database.migrate, threading.Lock()
    made = sa.create_engine("sqlite://")
    migrate(made)

    @functools.wraps(migrate)
    def copy(engine: sa.Engine) -> None:
        file = sqlite.file_of(str(engine.url)) if engine.dialect.name == "sqlite" else None
        with lock:
            if file is not None and not (file.exists() and file.stat().st_size):
                with (
                    contextlib.closing(made.raw_connection()) as here,
                    contextlib.closing(engine.raw_connection()) as to,
                ):
                    here.driver_connection.backup(to.driver_connection)
        migrate(engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "migrate", copy)
        yield


class _Compiled(dict[Any, Any]):
    """Statements as they are compiled, by the kind of the database where an engine keeps them by its own dialect."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), value)


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once() -> Iterator[None]:
    """Compile what is asked of a database once, and not again for the engine of each test: half of a small one."""
    compiled = _Compiled()

    def sharing(make: Callable[..., sa.Engine]) -> Callable[..., sa.Engine]:
        @functools.wraps(make)
        def made(*args: Any, **options: Any) -> sa.Engine:
            engine = make(*args, **options)
            engine.update_execution_options(compiled_cache=compiled)
            return engine

        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "_engine", sharing(sqlite._engine))
        patch.setattr(postgresql_server, "create", sharing(postgresql_server.create))
        yield


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    """One server for all examples of a law."""
    with serving() as server:
        yield server
