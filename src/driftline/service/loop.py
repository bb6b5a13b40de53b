"""Retraining: asks for challengers when the policy says so, and moves each request on, one step at a time.

Whatever a step does to the outside can be done again: rows are written anew, a runner finds its run, a contest has the
same result, a version that is registered stays, a champion that is champion stays. So a process that dies anywhere goes
on where the state says that it was, and no request is run or promoted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from driftline.errors import ConflictError, DataError, UnavailableError, UsageError
from driftline.retrain.policy import Ask, Trigger, decide
from driftline.retrain.registry import FolderRegistry, Registry
from driftline.retrain.request import OPEN, Stage
from driftline.retrain.rows import RowsRecord, write_rows
from driftline.retrain.runners import Command, Function, Handle, Limits, Request, Runner, Surroundings, read_result
from driftline.rules import Status
from driftline.rules.topic import Topic, topic_of
from driftline.service.asking import ask
from driftline.service.config import Config, environment
from driftline.service.contests import hold_contest, incumbent, register
from driftline.service.loop_facts import facts_of, split_of
from driftline.service.model import MonitoredModel
from driftline.service.retrain_sections import RetrainConfig
from driftline.store.files import read_rows
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.store.state import State

DRIFTLINE = "driftline"
"""Who asked, or moved a request, where no person did."""

_RECORD = "rows.json"


@dataclass(slots=True)
class Loop:
    """Retraining of the models of one service. ``folder`` has the folders of runs; ``tell`` gets lines for people."""

    models: Mapping[str, MonitoredModel]
    state: State
    registry: Registry
    runners: Mapping[str, Runner]
    folder: Path
    tell: Callable[[str], None]
    _handles: dict[str, Handle] = field(default_factory=dict)

    def step(self, model: str, now: datetime) -> bool:
        """Do what there is to do for a model; True where something moved."""
        config = self.models[model].config.retrain
        if config is None:
            return False
        with self.state.read() as read:
            rows = Retraining(read.connection).rows(model, stages=OPEN)
        moved = [self._move_on(self.models[model], config, row, now) for row in rows]
        return any(moved) or self._consider(self.models[model], config, now)

    # ---- asking -----------------------------------------------------------------------------------------------------

    def _consider(self, model: MonitoredModel, config: RetrainConfig, now: datetime) -> bool:
        with self.state.read() as read:
            facts = facts_of(model, config, read)
        asked = decide(config.policy, facts) if facts is not None else None
        if not isinstance(asked, Ask):
            return False
        ask(self.state, model, asked, DRIFTLINE, now)
        self.tell(f"Retraining {model.name}: {asked.reason}.")
        return True

    # ---- the steps --------------------------------------------------------------------------------------------------

    def _move_on(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        steps = {
            Stage.ASKED: self._prepare,
            Stage.PREPARED: self._start,
            Stage.RUNNING: self._look,
            Stage.RAN: self._judge,
            Stage.PROMOTING: self._promote,
            Stage.BAKING: self._bake,
        }
        step = steps.get(Stage(row.stage))
        if step is None:
            return False
        try:
            return step(model, config, row, now)
        except UnavailableError:
            raise  # somebody is away: the same step again
        except (DataError, UsageError) as error:
            return self._moved(row, Stage.FAILED, now, str(error))

    def _prepare(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        with self.state.read() as read:
            parts = split_of(model, config, read)
        if parts is None:
            raise DataError("no window has been judged yet: there is nothing to learn from")
        reference = read_rows(model.config.reference)
        folder = self.folder / row.id
        record = write_rows(folder, model.log, parts, model.schema, model.config.columns, reference)
        (folder / _RECORD).write_bytes(msgspec.json.encode(record))
        note = (
            f"{record.training.rows} rows to learn from, {_days(record.training.begin, record.training.end)}; "
            f"{record.evaluation.rows} to judge by, {_days(record.evaluation.begin, record.evaluation.end)}"
        )
        return self._moved(row, Stage.PREPARED, now, note)

    def _start(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        del model, config
        return self._moved(row, Stage.RUNNING, now, "the run begins")

    def _look(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        del config
        if row.id not in self._handles:
            handle = self.runners[model.name].start(_request(row), self.folder / row.id)
            if handle is None:
                return False  # handed over: the result comes by itself
            self._handles[row.id] = handle
        outcome = self._handles[row.id].outcome()
        if outcome is None:
            return False
        del self._handles[row.id]
        if not outcome.ok or outcome.result is None:
            return self._moved(row, Stage.FAILED, now, f"{outcome.reason}; its log: {outcome.log}")
        took = f" in {outcome.seconds:.0f} s" if outcome.seconds is not None else ""
        note = f"the challenger {outcome.result.version} was trained{took}"
        return self._moved(row, Stage.RAN, now, note, version=outcome.result.version)

    def _judge(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        folder = self.folder / row.id
        result, record = read_result(folder), msgspec.json.decode((folder / _RECORD).read_bytes(), type=RowsRecord)
        champion = incumbent(self.registry, model, folder)
        if result.version == champion:
            raise DataError(f"the run calls its challenger {champion}, as the champion; it needs a name of its own")
        contest = hold_contest(model, config, folder, result, record, champion)
        register(self.registry, model, folder, result, record, contest, row)
        stage, note = Stage.HELD, contest.reason
        if contest.decision == "promote":
            stage = Stage.PROMOTING if config.auto else Stage.WAITING
            note += "" if config.auto else " A person has to approve."
        self.tell(f"Retraining {model.name}: {result.version} against {champion}: {contest.decision}. {note}")
        return self._moved(row, stage, now, note, contest=msgspec.json.encode(contest), champion=champion)

    def _promote(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        del config
        try:
            self.registry.promote(model.name, row.version, row.champion)
        except ConflictError as error:
            return self._moved(row, Stage.FAILED, now, f"another champion came in between: {error}")
        with self.state.read() as read:
            stored = read.model(model.name)
        assert stored is not None and stored.watermark is not None  # it was judged
        self.tell(f"Retraining {model.name}: {row.version} is champion in place of {row.champion}.")
        note = f"{row.version} is champion in place of {row.champion}, on probation"
        return self._moved(row, Stage.BAKING, now, note, live_from=stored.watermark)

    def _bake(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        assert row.live_from is not None  # set with the stage
        with self.state.read() as read:
            stored = read.model(model.name)
            firing = read.alerts(model.name, status=Status.FIRING.value)
        bad = [
            one for one in firing if topic_of(one.measure) is Topic.PERFORMANCE and one.window_start >= row.live_from
        ]
        if bad:
            note = f"{bad[0].rule} fires on windows since the promotion; {row.champion} is champion again"
            return self._roll_back(model, row, now, DRIFTLINE, note)
        if stored is None or stored.watermark is None or stored.watermark - row.live_from < config.bake:
            return False
        return self._moved(row, Stage.PROMOTED, now, f"no performance alert in {config.bake}")

    def _roll_back(self, model: MonitoredModel, row: RetrainingRow, now: datetime, by: str, note: str) -> bool:
        self.registry.roll_back(model.name, row.version)
        self.tell(f"Retraining {model.name}: rolled back. {note}")
        return self._moved(row, Stage.ROLLED_BACK, now, note, by=by)

    def _moved(
        self, row: RetrainingRow, stage: Stage, now: datetime, note: str, *, by: str = DRIFTLINE, **values: object
    ) -> bool:
        with self.state.work() as work:
            return Retraining(work.connection).move(row.id, row.stage, stage.value, now, by=by, note=note, **values)

    # ---- people -----------------------------------------------------------------------------------------------------

    def roll_back(self, model: str, by: str, reason: str, now: datetime) -> RetrainingRow:
        """Make the previous champion champion again, while the present one is on probation."""
        with self.state.read() as read:
            rows = Retraining(read.connection).rows(model, stages=[Stage.BAKING])
        if not rows:
            raise ConflictError(f"no champion of {model} is on probation; there is nothing to roll back")
        self._roll_back(self.models[model], rows[0], now, by, f"{by}: {reason}")
        with self.state.read() as read:
            return Retraining(read.connection).row(rows[0].id)


def _request(row: RetrainingRow) -> Request:
    return Request(id=row.id, model=row.model, trigger=Trigger(row.trigger), reason=row.reason, asked_at=row.asked_at)


def _days(begin: datetime, end: datetime) -> str:
    return f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}"


def open_loop(config: Config, models: Mapping[str, MonitoredModel], state: State, tell: Callable[[str], None]) -> Loop:
    """The loop of a service; runs and versions lie in its storage. Raises `UsageError` for a runner that is none."""
    storage = Path(config.storage)
    runners = {
        name: open_runner(model.config.retrain) for name, model in models.items() if model.config.retrain is not None
    }
    return Loop(models, state, FolderRegistry(storage / "models"), runners, storage / "runs", tell)


def open_runner(config: RetrainConfig) -> Runner:
    """The runner of a configuration."""
    limits = Limits(seconds=config.time_limit.total_seconds(), memory_bytes=config.memory_bytes)
    surroundings = Surroundings(config.folder.resolve(), environment(), config.run.environment)
    if config.run.function is not None:
        return Function(config.run.function, surroundings, limits)
    return Command(config.run.commands or [], surroundings, limits)
