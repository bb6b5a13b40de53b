"""What all tests share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import hypothesis
import pytest
import sqlalchemy as sa

from driftline.store import database
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
def _migrations_run_once() -> Iterator[None]:
    """Fill empty databases with what all migrations have made of the first one; others are migrated as ever."""
    migrate = database.migrate
    made = sa.create_engine("sqlite://")
    migrate(made)
    with contextlib.closing(made.raw_connection()) as connection:
        statements = list(connection.driver_connection.iterdump())[1:-1]  # without BEGIN and COMMIT
    made.dispose()

    def fill(engine: sa.Engine) -> None:
        if engine.dialect.name != "sqlite":
            migrate(engine)
            return
        with engine.begin() as connection:
            empty = not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
            for statement in statements if empty else ():
                connection.exec_driver_sql(statement)
        if not empty:
            migrate(engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "migrate", fill)
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
