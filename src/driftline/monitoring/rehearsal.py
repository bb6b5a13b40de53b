"""Rehearses a batch: works it in by the worker's own code, on a copy of what it touches, in a process of its own.

The other process may end (a library that aborts, a stack that overflows): that is an answer too, and the service goes
on. The copy has the known ids, waiting labels and windows that the batch touches, and what is gone of it, in a database
in memory, and empty tables of the log with the columns of the real ones, in a temporary folder.
"""

from __future__ import annotations

import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa

from driftline.errors import StorageError, panics_as_errors
from driftline.events import Label, Prediction, Schema, Task
from driftline.monitoring.ingest import work_in
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.planning import arrived
from driftline.profiles import Reference
from driftline.profiles.by_window import windows_of
from driftline.store.database import open_database
from driftline.store.framed import TIME
from driftline.store.inbox import InboxRow
from driftline.store.log import EventLog, Table
from driftline.store.models import ModelRow
from driftline.store.retention import Cut
from driftline.store.runs import Rows
from driftline.store.state import State, Work
from driftline.store.tables import EPOCH
from driftline.store.windows import WindowRow
from driftline.text import cause
from driftline.text.durations import length

_ANSWER_SECONDS = 120.0
_TOLD = 300
_BY_OTHERS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that people, systems and a lack of memory end a process by: no verdict on the rows."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a batch meets when it is processed; it is handed to the other process."""

    config: ModelConfig
    schema: Schema
    reference: Reference
    stored: ModelRow
    known: Rows
    waiting: Mapping[str, Label]
    windows: Sequence[WindowRow]
    tables: Mapping[Table, str]
    cut: Cut | None
    forgotten: Sequence[bytes]
    """Keyed hashes of those of the ids that were forgotten."""


def setting_of(model: MonitoredModel, state: State, rows: Sequence[InboxRow]) -> Setting:
    """Copy what the rows touch."""
    came, spec = arrived(rows), model.config.window
    with state.read() as read:
        stored = read.models.get(model.name)
        assert stored is not None  # open_model stores it
        known, waiting = read.predictions.find(model.name, came.keys), read.waiting_labels.of(model.name, came.ids)
        high, low = came.keys[:, known.known]
        there = Rows(high, low, known.times[known.known], known.marks[known.known])
        times = pl.Series(np.append(came.predictions.times, there.times)).cast(TIME)
        windows = [row for one in windows_of(times, spec) for row in read.windows.at(model.name, one.start)]
        cut, digest = read.retention.cut(model.name), model.config.key.digest
        forgotten = [digest(one) for one in read.forgettings.known(model.name, came.every_id, digest)]
    tables = model.log.table_schemas()
    return Setting(model.config, model.schema, model.reference, stored, there, waiting, windows, tables, cut, forgotten)


class InProcess:
    """A rehearsal in this process: what the other process does."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting, self._folder = setting, folder
        self._state = _Undoing(open_database("sqlite://"))
        with State(self._state.engine).work() as work:
            name = setting.config.name
            work.models.put(setting.stored)
            keys = np.stack([setting.known.high, setting.known.low])
            accepted_for = setting.config.labels.accepted_for
            work.predictions.put(
                name, keys, setting.known.times, setting.known.marks, came=EPOCH, kept_for=accepted_for
            )
            work.waiting_labels.put(name, setting.waiting)
            for window in setting.windows:
                work.windows.put(window)
            if setting.cut is not None:
                work.retention.put_cut(setting.cut)
            work.forgettings.remember(name, setting.forgotten, EPOCH)

    def __call__(self, rows: Sequence[InboxRow]) -> str | None:
        """Try some rows; return what went wrong with them, None where nothing did."""
        setting = self._setting
        shutil.rmtree(self._folder, ignore_errors=True)
        log = EventLog(self._folder, setting.schema)
        log.create_tables(setting.tables)
        model = MonitoredModel(setting.config, setting.schema, setting.reference, log, rebuild=False)
        try:
            with panics_as_errors():
                work_in(model, rows, self._state)
        except (OSError, MemoryError, sa.exc.OperationalError) as error:
            raise StorageError(f"a batch cannot be rehearsed: {cause(error)}") from error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the verdict
            return f"{type(error).__name__}: {error}"
        return None

    def check(self) -> None:
        """Raise `StorageError` where even an event that is fine fails."""
        said = self(_fine_rows(self._setting))
        if said is not None:
            raise StorageError(f"no batch can be rehearsed, not even one that is fine: {said}")


class _Undoing(State):
    """A state in which every transaction is undone at its end."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.engine = engine

    @contextmanager
    def work(self) -> Iterator[Work]:
        """Open a transaction that leaves no trace."""
        with self.engine.connect() as connection:
            yield Work(connection)
            connection.rollback()


def _fine_rows(setting: Setting) -> list[InboxRow]:
    """Return a prediction and its label that every model can take."""
    schema = setting.schema
    value: str | float = 0.0 if schema.task is Task.REGRESSION else (*schema.classes, "0")[0]
    now = setting.stored.last_arrival or datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    fine = Prediction(
        id="driftline: fine",
        time=now,
        version="",
        features=dict.fromkeys(schema.features),
        prediction=value,
        score={},
        latency_seconds=None,
    )
    label = Label(id=fine.id, label=value, time=now)
    return [InboxRow(1, "predictions", now, [fine]), InboxRow(2, "labels", now, [label])]


@contextmanager
def rehearse(model: MonitoredModel, state: State, rows: Sequence[InboxRow]) -> Iterator[Elsewhere]:
    """Open a rehearsal of a batch in another process; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="driftline-") as folder:
        elsewhere = Elsewhere(setting_of(model, state, rows), Path(folder))
        try:
            yield elsewhere
        finally:
            elsewhere.close()


class Elsewhere:
    """A rehearsal in another process, which is started anew after each time that it ends."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting, self._folder = pickle.dumps(setting), folder
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __call__(self, rows: Sequence[InboxRow]) -> str | None:
        """Try some rows there; return what went wrong with them, None where nothing did."""
        return self._ask(rows)

    def check(self) -> None:
        """Raise `StorageError` where even an event that is fine fails there."""
        if (said := self._ask(None)) is not None:
            raise StorageError(f"no batch can be rehearsed, not even one that is fine: {said}")

    def close(self) -> None:
        """End the other process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._connection = self._process = None

    def _ask(self, question: Sequence[InboxRow] | None) -> str | None:
        if self._connection is None:
            self._start()
        assert self._connection is not None and self._process is not None
        try:
            self._connection.send(question)
            if not self._connection.poll(_ANSWER_SECONDS):
                raise StorageError(f"a rehearsal did not end in {length(_ANSWER_SECONDS)}; trying again later")
            answer: Any = self._connection.recv()
        except (EOFError, ConnectionError):
            return self._ended()
        if isinstance(answer, StorageError):
            raise answer
        assert answer is None or isinstance(answer, str)
        return answer

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "driftline.monitoring.rehearsal",
                    str(theirs.fileno()),
                    str(self._folder / "log"),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        self._connection = Connection(ours.detach())
        self._connection.send(self._setting)

    def _ended(self) -> str:
        """Return what the end of the other process says of the rows that it was at."""
        assert self._process is not None
        code = self._process.wait()
        self.close()
        said = (self._folder / "said").read_text(errors="replace").strip()[-_TOLD:]
        if code >= 0 or -code in _BY_OTHERS:
            raise StorageError(f"a rehearsal was ended from outside (exit code {code}): {said}")
        return f"it ends the process ({signal.Signals(-code).name}): {said}"


def main(descriptor: int, folder: Path) -> None:
    """Answer what `Elsewhere` asks until it asks no more."""
    with Connection(descriptor) as connection:
        rehearsal = InProcess(pickle.loads(connection.recv()), folder)
        while True:
            try:
                question = connection.recv()
            except EOFError:
                return
            connection.send(_answer(rehearsal, question))


def _answer(rehearsal: InProcess, question: Sequence[InboxRow] | None) -> str | StorageError | None:
    try:
        if question is not None:
            return rehearsal(question)
        rehearsal.check()
    except StorageError as error:
        return StorageError(str(error))
    return None


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
