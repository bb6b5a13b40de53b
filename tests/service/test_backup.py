"""Backups as `docs/backup.md` has them, of a state in PostgreSQL: events before and after, each half restored alone."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from driftline.config.load import load
from driftline.errors import StorageError
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from driftline.store.tables import EPOCH, LEASES, PROCESSES
from tests.support.churn import MODEL, prediction, write_config
from tests.support.postgresql import PostgreSQL
from tests.support.steps import deliver, work

PAGE = Path(__file__).parents[2] / "docs" / "backup.md"


def back_up_log(storage: Path, target: Path) -> None:
    """Copy the log by the function of the page; the state that it wants beside it is of no use here."""
    [function] = re.findall(r"^```python\n(import os.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    sqlite3.connect(storage / "state.db").close()
    found: dict[str, Any] = {}
    exec(function, found)
    found["back_up"](storage, target)
    (storage / "state.db").unlink()
    (target / "state.db").unlink()


def send(service: Service, day: int, rows: int) -> None:
    deliver(service, "predictions", [prediction(f"{day}-{i}", day + 0.1, said=1, score=0.9) for i in range(rows)])
    work(service)


def opened(folder: Path, address: str) -> Service:
    service = Service(load(write_config(folder, f"database: {address}")))
    service.worker.catch_up(MODEL)
    work(service)
    return service


def restored(postgresql: PostgreSQL, address: str) -> str:
    """Restore a copy of a database; the processes that were alive when it was made are taken for dead by now."""
    to = postgresql.copy(address)
    engine = sa.create_engine(to)
    with engine.begin() as connection:
        connection.execute(PROCESSES.delete())
        connection.execute(LEASES.update().values(expires_at=EPOCH))
    engine.dispose()
    return to


def known(service: Service) -> int:
    return service.views.model(MODEL).predictions


def test_each_half_of_a_backup_and_both(tmp_path: Path, postgresql: PostgreSQL) -> None:
    address = postgresql.new_database()
    service = opened(tmp_path / "first", address)
    send(service, 0, 80)
    state = restored(postgresql, address)
    back_up_log(tmp_path / "first" / "data", tmp_path / "old")
    send(service, 1, 40)  # after the backup
    newer_state = restored(postgresql, address)
    service.stop()

    shutil.copytree(tmp_path / "old", tmp_path / "whole" / "data")
    whole = opened(tmp_path / "whole", restored(postgresql, state))
    assert (known(whole), rebuild(whole.models[MODEL], whole.state).differing) == (80, ())
    send(whole, 1, 40)  # whoever kept them sends them again
    send(whole, 1, 40)
    assert (known(whole), rebuild(whole.models[MODEL], whole.state).differing) == (120, ())
    whole.stop()

    shutil.copytree(tmp_path / "first" / "data" / "log", tmp_path / "older state" / "data" / "log")
    older = opened(tmp_path / "older state", state)
    assert (known(older), rebuild(older.models[MODEL], older.state).differing) == (120, ())
    send(older, 2, 10)  # no number is given twice
    assert known(older) == 130
    older.stop()

    shutil.copytree(tmp_path / "old", tmp_path / "older log" / "data")
    with pytest.raises(StorageError, match="accept-loss"):
        opened(tmp_path / "older log", newer_state)
