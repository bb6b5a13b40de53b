"""The retraining controller: asks for challengers when the policy says so, and advances each request step by step.

Each step can be repeated: rows are written anew, a runner finds the run it has started, a contest has the same result,
and registering or promoting a version again changes nothing. So a process that was killed at any point continues from
the stored state, and no request is run or promoted twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from driftline.environment import quiet_mlflow, secret
from driftline.errors import (
    ConflictError,
    DamagedError,
    DataError,
    RefusedError,
    UnavailableError,
    UnsignedError,
    UsageError,
)
from driftline.events import Window
from driftline.monitoring.hiding import opened
from driftline.monitoring.model import MonitoredModel
from driftline.net.bodies import read_body
from driftline.net.signatures import is_signed
from driftline.retrain.contests import hold_contest, incumbent, live_since, register
from driftline.retrain.facts import facts_of, labels_had, split_of, with_label_fault
from driftline.retrain.kept import Runs
from driftline.retrain.options import RetrainConfig
from driftline.retrain.policy import Ask, Trigger, decide
from driftline.retrain.probation import Standing, answered_since, judged_windows, standing
from driftline.retrain.registry import CHAMPION, BlobRegistry, FolderRegistry, MLflowRegistry, Registry
from driftline.retrain.reported import REPORT, is_kept, read_report, reported_contest, require_evidence
from driftline.retrain.request import FOLLOWING, OPEN, Stage
from driftline.retrain.requests import ask
from driftline.retrain.rows import SHADOW, RowsRecord, read_evaluation, write_rows, write_shadow
from driftline.retrain.runners import kind_of
from driftline.retrain.runners.runner import Handle, Predictions, Report, Request, Result, Runner, read_result
from driftline.sources.files import whole
from driftline.store.blobs import Blobs, Folder
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.store.state import State
from driftline.text import moments
from driftline.text.durations import length

DRIFTLINE = "driftline"
"""The name recorded where Driftline itself, and no person, made or moved a request."""

_RECORD = "rows.json"


@dataclass(slots=True)
class RetrainingController:
    """Retrains those models of a service that are in ``configs``.

    ``runs`` has the folders of runs; ``tell`` is called with lines for people to read. ``base_url`` returns the
    address of the service, to which runs elsewhere report; empty if it has none.
    """

    configs: Mapping[str, RetrainConfig]
    models: Mapping[str, MonitoredModel]
    state: State
    registry: Registry
    runners: Mapping[str, Runner]
    runs: Runs
    tell: Callable[[str], None]
    base_url: Callable[[], str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The secrets with which reports on a model's runs must be signed, by model."""
    _handles: dict[str, Handle] = field(default_factory=dict)
    _standing: dict[str, Standing] = field(default_factory=dict)
    _refused: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    _brought: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """The folder on this machine with the folders of runs."""
        return self.runs.folder

    def step(self, model: str, now: datetime) -> bool:
        """Advance the requests of a model, or ask for a challenger; return whether anything changed."""
        config = self.configs.get(model)
        if config is None:
            return False
        with self.state.read() as read:
            rows = Retraining(read.connection).rows(model, stages=OPEN)
        self._stop_cancelled()
        moved = [self._move_on(self.models[model], config, row, now) for row in rows]
        return any(moved) or self._consider(self.models[model], config, now)

    def _stop_cancelled(self) -> None:
        """Stop the runs of this process whose requests were cancelled."""
        if not self._handles:
            return
        with self.state.read() as read:
            running = {row.id for row in Retraining(read.connection).rows(stages=[Stage.RUNNING])}
        for id in [id for id in self._handles if id not in running]:
            self._handles.pop(id).stop()

    # ---- asking -----------------------------------------------------------------------------------------------------

    def _consider(self, model: MonitoredModel, config: RetrainConfig, now: datetime) -> bool:
        with self.state.read() as read:
            facts = facts_of(model, config, read)
            asked = decide(config.policy, facts) if facts is not None else None
            if facts is None or not isinstance(asked, Ask):
                return False
            known = (facts.now, labels_had(model.name, read))
            if self._refused.get(model.name) == known:  # refused for its labels, and no new ones have come
                return False
            asked = decide(config.policy, with_label_fault(facts, model, config, read))
        if not isinstance(asked, Ask):
            self._refused[model.name] = known
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
        except (UnavailableError, DamagedError):
            raise  # a server is away, or a file has to be restored: repeat the step later
        except (DataError, UsageError) as error:
            if Stage.FAILED not in FOLLOWING[Stage(row.stage)]:
                raise
            return self._moved(row, Stage.FAILED, now, str(error))

    def _prepare(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        with self.state.read() as read:
            parts = split_of(model, config, read)
        if parts is None:  # the windows are being judged again, as after an upgrade
            return False
        folder, columns = self.runs.of(row.id), model.config.columns
        if row.trigger == Trigger.SHADOW.value:
            span = Window(parts.training.start, parts.evaluation.end)
            record = write_shadow(folder, model.log, span, model.schema, columns, row.version)
        else:
            reference = whole(opened(model.config.reference, model.config))
            record = write_rows(folder, model.log, parts, model.schema, columns, reference)
        (folder / _RECORD).write_bytes(msgspec.json.encode(record))
        self.runs.keep(row.id)
        zone = model.config.window.timezone
        training, evaluation = (moments.span(one.begin, one.end, zone) for one in (record.training, record.evaluation))
        note = (
            f"{record.training.rows} rows to learn from, {training}; {record.evaluation.rows} to judge by, {evaluation}"
        )
        return self._moved(row, Stage.PREPARED, now, note, rows=msgspec.json.encode(record))

    def _start(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        del model, config
        return self._moved(row, Stage.RUNNING, now, "the run begins")

    def _look(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        if row.trigger == Trigger.SHADOW.value:
            return self._moved(row, Stage.RAN, now, f"{row.version} has answered beside the champion")
        if row.id not in self._handles:
            try:
                handle = self._begun(model, row)
            except RefusedError as error:
                return self._moved(row, Stage.FAILED, now, f"the request was refused: {error}")
            except UnavailableError as error:
                if self._overdue(config, row, now):
                    note = f"the request could not be handed over within {length(config.time_limit)}: {error}"
                    return self._moved(row, Stage.FAILED, now, note)
                raise
            if handle is None:
                return self._look_for_report(config, row, now)
            self._handles[row.id] = handle
        outcome = self._handles[row.id].outcome()
        if outcome is None:
            return False
        if outcome.result is not None:
            self.runs.keep_result(row.id, outcome.result)
        del self._handles[row.id]
        if not outcome.ok or outcome.result is None:
            return self._moved(row, Stage.FAILED, now, f"{outcome.reason}; its log: {outcome.log}")
        took = f" in {length(round(outcome.seconds))}" if outcome.seconds is not None else ""
        note = f"the challenger {outcome.result.version} was trained{took}"
        return self._moved(row, Stage.RAN, now, note, version=outcome.result.version)

    def _begun(self, model: MonitoredModel, row: RetrainingRow) -> Handle | None:
        """Start the run of a request, or find it; what says that it was handed over is kept for other machines."""
        if row.id not in self._brought:
            self.runs.bring(row.id)
            self._brought.add(row.id)
        known = self.runs.handed_over(row.id)
        try:
            return self.runners[model.name].start(self._request(row), self.runs.of(row.id))
        finally:
            if new := self.runs.handed_over(row.id) - known:
                self.runs.keep(row.id, new)

    @staticmethod
    def _overdue(config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        return now - row.changed_at >= config.time_limit

    def _look_for_report(self, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        self.runs.bring(row.id, REPORT)
        report = read_report(self.runs.of(row.id))
        if report is None and self._overdue(config, row, now):
            return self._moved(row, Stage.FAILED, now, f"nothing was reported within {length(config.time_limit)}")
        if report is None:
            return False  # handed over: the report is still to come
        if not report.ok or report.result is None or report.evidence is None:
            why = report.reason or "the run reported neither a challenger nor why there is none"
            return self._moved(row, Stage.FAILED, now, f"{why} {report.link}".strip())
        note = f"the challenger {report.result.version} was trained elsewhere {report.link}".strip()
        return self._moved(row, Stage.RAN, now, note, version=report.result.version)

    def _judge(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        self.runs.bring(row.id)
        folder = self.runs.of(row.id)
        record = msgspec.json.decode(row.rows, type=RowsRecord | None)
        if record is None:
            raise DataError("its rows were handed out by an earlier release, which kept no seal of them; ask again")
        evaluation = read_evaluation(folder, record)
        champion = incumbent(self.registry, model, evaluation)
        report = None
        if row.trigger == Trigger.SHADOW.value:  # there is no run; the version has the name that is in the log
            result = Result(row.version, Predictions(SHADOW))
        else:
            report = read_report(folder) if config.run.elsewhere else None  # a local run could forge a report
            result = read_result(folder) if report is None or report.result is None else report.result
        if row.version not in ("", result.version):
            raise DataError(f"the run called its challenger {row.version}, and then {result.version}; it has one name")
        if result.version == champion:
            raise DataError(f"the run calls its challenger {champion}, as the champion; it needs a name of its own")
        with self.state.read() as read:
            since = live_since(Retraining(read.connection).rows(model.name), champion)
        if report is None:
            contest = hold_contest(model, config, folder, result, record, evaluation, champion, since)
        else:  # its rows and answers are on the machine where it ran; the report has them
            contest = reported_contest(model, config, evaluation, report, champion, since)
            result = msgspec.structs.replace(result, artifacts=())
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
            stored = read.models.get(model.name)
        assert stored is not None and stored.watermark is not None  # it was judged
        self.tell(f"Retraining {model.name}: {row.version} is champion in place of {row.champion}.")
        note = f"{row.version} is champion in place of {row.champion}, on probation"
        return self._moved(row, Stage.BAKING, now, note, live_from=stored.watermark)

    def _bake(self, model: MonitoredModel, config: RetrainConfig, row: RetrainingRow, now: datetime) -> bool:
        assert row.live_from is not None  # set with the stage
        champion = self.registry.aliases(model.name).get(CHAMPION)
        if champion == row.champion:  # rolled back, but the process was killed before that was stored
            with contextlib.suppress(ConflictError):
                self.registry.roll_back(model.name, row.version)  # completes a rollback that is half done
            return self._moved(row, Stage.ROLLED_BACK, now, f"it was rolled back: {champion} is champion again")
        if champion != row.version:
            return self._moved(row, Stage.PROMOTED, now, f"its probation is over: {champion} is champion by now")
        with self.state.read() as read:
            stored = read.models.get(model.name)
            answered = answered_since(read, row)
            if (stands := self._standing.get(row.id)) is None or stands.answered != answered:
                stands = self._standing[row.id] = standing(model, read, answered)
        if stands.breached:
            note = f"{stands.breached} fires on windows since the promotion; {row.champion} is champion again"
            return self._roll_back(model, row, now, DRIFTLINE, note)
        if stored is None or stored.watermark is None or stored.watermark - row.live_from < config.bake:
            return False
        if (count := stands.judged) < config.bake_windows:
            over = f"{length(config.bake)} are over, and it has answered {judged_windows(count)}"
            return self._say(
                row,
                f"{row.version} is champion in place of {row.champion}, on probation: {over} of the "
                f"{config.bake_windows} that its probation takes",
            )
        note = f"no performance alert in {length(config.bake)}, {judged_windows(count)} that {row.version} answered"
        return self._moved(row, Stage.PROMOTED, now, note)

    def _say(self, row: RetrainingRow, note: str) -> bool:
        """Store a note on a request that stays in its stage, if it is a new one; always returns False."""
        if row.note != note:
            with self.state.work() as work:
                Retraining(work.connection).say(row.id, row.stage, note)
        return False

    def _roll_back(self, model: MonitoredModel, row: RetrainingRow, now: datetime, by: str, note: str) -> bool:
        self.registry.roll_back(model.name, row.version)
        self.tell(f"Retraining {model.name}: rolled back. {note}")
        return self._moved(row, Stage.ROLLED_BACK, now, note, by=by)

    def _moved(
        self, row: RetrainingRow, stage: Stage, now: datetime, note: str, *, by: str = DRIFTLINE, **values: object
    ) -> bool:
        with self.state.work() as work:
            return Retraining(work.connection).move(row.id, row.stage, stage.value, now, by=by, note=note, **values)

    def _request(self, row: RetrainingRow) -> Request:
        base = self.base_url()
        return Request(
            id=row.id,
            model=row.model,
            trigger=Trigger(row.trigger),
            reason=row.reason,
            asked_at=row.asked_at,
            callback=f"{base}/api/v1/retraining/{row.id}/result" if base else "",
        )

    def take_report(self, id: str, body: bytes, headers: Mapping[str, str], now: datetime) -> RetrainingRow:
        """Store the report of a run elsewhere: only the first one, and only while the request is running.

        The same report may come again, because its sender did not get the answer. Raises `ConflictError` for a second
        or late report and for one on a run of this machine, `UnsignedError` if it has to be signed and is not,
        `UnknownNameError` for an unknown request, and `DataError` for evidence that cannot be used.
        """
        with self.state.read() as read:
            row = Retraining(read.connection).row(id)
        model = self.models.get(row.model)
        config = self.configs.get(row.model)
        if model is None or config is None:
            raise ConflictError(f"{row.model} is not retrained any more; this report is not needed")
        if (secret := self.secrets.get(row.model)) and not is_signed(body, headers, secret, now):
            raise UnsignedError(
                "the report is not signed by `run.report_secret` within five minutes; sign it as docs/runners.md says"
            )
        report = read_body(body, Report)
        if secret and report.request_id != id:
            raise UnsignedError(f"the report says request_id {report.request_id!r}; a signed one says {id!r}")
        self.runs.bring(id, REPORT)
        if config.run.elsewhere and is_kept(self.runs.of(id), report):
            return row
        if row.stage != Stage.RUNNING.value:
            raise ConflictError(f"request {id} is {row.stage}; only a running one takes a report")
        if not config.run.elsewhere:
            raise ConflictError(f"request {id} runs on this machine; it leaves a result, and reports nothing")
        require_evidence(model, config, report)
        self.runs.take(id, report)
        return row

    # ---- people -----------------------------------------------------------------------------------------------------

    def roll_back(self, model: str, by: str, reason: str, now: datetime) -> RetrainingRow:
        """Make the previous champion champion again; raises `ConflictError` unless the present one is on probation.

        That begins when it is champion: a promotion that is not stored yet is stored first.
        """
        with self.state.read() as read:
            promoting = Retraining(read.connection).rows(model, stages=[Stage.PROMOTING])
        champion = self.registry.aliases(model).get(CHAMPION) if promoting else None
        for row in promoting:
            if row.version == champion:
                self._promote(self.models[model], self.configs[model], row, now)
        with self.state.read() as read:
            rows = Retraining(read.connection).rows(model, stages=[Stage.BAKING])
        if not rows:
            raise ConflictError(f"no champion of {model} is on probation; there is nothing to roll back")
        self._roll_back(self.models[model], rows[0], now, by, f"{by}: {reason}")
        with self.state.read() as read:
            return Retraining(read.connection).row(rows[0].id)


def open_controller(
    configs: Mapping[str, RetrainConfig],
    models: Mapping[str, MonitoredModel],
    state: State,
    registry: Registry,
    runs: Path | Runs,
    tell: Callable[[str], None],
    base_url: Callable[[], str] = lambda: "",
) -> RetrainingController:
    """Return the controller of a service; ``runs`` has its runs. Raises `UsageError` for an invalid runner."""
    runners = {name: open_runner(one) for name, one in configs.items()}
    kept = Runs(runs) if isinstance(runs, Path) else runs
    signed_by = {
        name: secret(one.run.report_secret) for name, one in configs.items() if one.run.report_secret is not None
    }
    return RetrainingController(configs, models, state, registry, runners, kept, tell, base_url, signed_by)


def open_registry(address: str | None, storage: Path, blobs: Blobs | None = None) -> Registry:
    """Return a service's registry: MLflow at an address, which may be a secret's name, or in its ``blobs``.

    ``storage`` is its folder on this machine; without ``blobs``, they are in it.
    """
    if address is None:
        if blobs is None or isinstance(blobs, Folder):
            return FolderRegistry(storage / "models")
        return BlobRegistry(blobs.within("models"), storage / "models")
    quiet_mlflow()
    return MLflowRegistry(secret(address), storage / "mlflow")


def open_runner(config: RetrainConfig) -> Runner:
    """Return the runner of a configuration; raises `UsageError` if a secret that it needs is missing."""
    key = config.run.key
    return kind_of(key).open(getattr(config.run, key), config)
