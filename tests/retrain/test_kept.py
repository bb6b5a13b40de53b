"""A model that is retrained where storage is in S3, on machines that have no folder in common."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from driftline.config.load import load
from driftline.errors import ConflictError, StorageError
from driftline.profiles import Columns
from driftline.retrain.controller import RetrainingController, open_controller, open_registry
from driftline.retrain.kept import Runs
from driftline.retrain.request import Stage
from driftline.retrain.runners.runner import Handle, Predictions, Report, Request, Result
from driftline.retrain.runs import drop_copies, forget_in_runs
from driftline.rules.contest import Contest
from driftline.service.runtime import Service
from driftline.store.retraining import Retraining
from driftline.store.s3 import Bucket
from tests.service.test_keeping import request
from tests.support.churn import MODEL
from tests.support.retraining import NOW, configured, days, loop, requests
from tests.support.s3 import S3


@pytest.fixture
def service(tmp_path: Path, s3: S3) -> Iterator[Service]:
    path = configured(tmp_path)
    far = f"storage: {s3.address()}\ndatabase: sqlite:///./state.db\nscratch: ./scratch"
    path.write_text(path.read_text().replace("storage: ./data", far))
    service = Service(load(path))
    yield service
    service.stop()


def move_house(service: Service) -> None:
    """Have the loop go on as it would on another machine, which has nothing of this one's but the bucket."""
    config, known = service.config, service.loop
    shutil.rmtree(config.storage / "runs", ignore_errors=True)
    shutil.rmtree(config.storage / "models", ignore_errors=True)
    registry = open_registry(None, config.storage, config.blobs)
    runs = Runs(config.storage / "runs", config.blobs.within("runs"))
    service.loop = open_controller(known.configs, service.models, service.state, registry, runs, lambda line: None)


def test_a_challenger_goes_through_all_stages_each_on_another_machine(service: Service) -> None:
    days(service, 0, 12)
    seen = []
    for stage in (Stage.ASKED, Stage.PREPARED, Stage.RUNNING, Stage.RAN, Stage.PROMOTING, Stage.BAKING):
        row = loop(service, until=lambda row, stage=stage: row.stage == stage.value)
        seen.append(row.stage)
        if stage is not Stage.RUNNING:
            move_house(service)
    assert seen[-1] == Stage.BAKING.value and (row.version, row.champion) == ("v2", "v1")
    assert msgspec.json.decode(row.contest, type=Contest).decision == "promote"
    learned = service.loop.registry.path(MODEL, "v2") / "model.json"
    assert msgspec.json.decode(learned.read_bytes()) == {"basic": 1, "pro": 0}
    kept = {one.name for one in service.config.blobs.within("runs").within(row.id).list()}
    assert kept >= {"train.parquet", "evaluation.parquet", "rows.json", "result.json", "said.parquet", "model.json"}
    assert not {one for one in kept if one.startswith(("run.pid", "run.child", "."))}
    days(service, 12, 17, version="v2")
    assert loop(service).stage == Stage.PROMOTED.value
    assert not (service.config.storage / "log").exists()


class Elsewhere:
    """A server that takes requests, and counts them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self, request: Request, folder: Path) -> Handle | None:
        from driftline.retrain.runners.handover import mark, was_taken

        if not was_taken(folder):
            self.asked.append(request.id)
            mark(folder)
        return None


def test_a_request_that_was_handed_over_is_not_sent_again_from_another_machine(service: Service) -> None:
    days(service, 0, 12)
    server = Elsewhere()

    def elsewhere() -> RetrainingController:
        service.loop = replace(service.loop, runners={MODEL: server})
        return service.loop

    elsewhere()
    row = loop(service, until=lambda row: row.stage == Stage.RUNNING.value)
    for _ in range(3):
        elsewhere().step(MODEL, NOW)
        move_house(service)
    assert server.asked == [row.id]
    assert requests(service)[0].stage == Stage.RUNNING.value


def test_of_two_reports_to_two_machines_the_first_counts(tmp_path: Path, s3: S3) -> None:
    place = Bucket.at(s3.address())
    one, other = Runs(tmp_path / "one", place), Runs(tmp_path / "other", place)
    first = Report(ok=True, result=Result("v2", Predictions("said.parquet")))
    one.take("r1", first)
    for runs in (one, other, Runs(tmp_path / "third", place)):
        with pytest.raises(ConflictError, match="reported already; the first report counts"):
            runs.take("r1", Report(ok=False, reason="another"))
        runs.bring("r1", "report.json")
        assert msgspec.json.decode((runs.of("r1") / "report.json").read_bytes(), type=Report) == first


def test_what_was_handed_out_is_the_same_on_every_machine_and_is_fetched_once(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Bucket.at(s3.address())
    one, other = Runs(tmp_path / "one", place), Runs(tmp_path / "other", place)
    one.of("r").mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(one.of("r") / "train.parquet")
    (one.of("r") / "run.pid").write_text("{}")
    (one.of("r") / ".part").write_text("")
    one.keep("r")
    fetched: list[Any] = []
    real: Callable[..., Any] = Bucket.stream
    monkeypatch.setattr(Bucket, "stream", lambda self, name: fetched.append(name) or real(self, name))
    for _ in range(2):
        other.bring("r")
        other.bring("r", "none")
    assert [path.name for path in other.of("r").iterdir()] == ["train.parquet"] and fetched.count("train.parquet") == 1
    assert pl.read_parquet(other.of("r") / "train.parquet")["a"].to_list() == [1]


def test_a_run_is_deleted_here_and_in_the_bucket(tmp_path: Path, s3: S3) -> None:
    runs = Runs.at(tmp_path, Bucket.at(s3.address()))
    for id in ("r1", "r2"):
        runs.of(id).mkdir(parents=True)
        (runs.of(id) / "a").write_text("1")
        runs.keep(id)
    assert runs.delete("r1") and not runs.delete("r1")
    assert runs.blobs is not None
    assert [one.name for one in runs.blobs.list()] == ["r2/a"] and not runs.of("r1").exists()


def test_rows_are_forgotten_in_the_bucket_whatever_a_machine_has_of_them(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine has them as they were; on another it was cut off between its own copy and the bucket's."""
    bucket = service.config.blobs.within("runs")
    one, other = Runs(tmp_path / "one", bucket), Runs(tmp_path / "other", bucket)
    one.of("r").mkdir(parents=True)
    pl.DataFrame({"id": ["a", "b", "c"]}).write_parquet(one.of("r") / "train.parquet")
    one.keep("r")
    other.bring("r")
    with service.state.work() as work:
        Retraining(work.connection).add(request("r", "v1", "failed"), busy=())

    def forget(runs: Runs, id: str) -> int | str:
        return forget_in_runs(service.state, runs, MODEL, Columns(), [id])

    def kept() -> list[str]:
        return pl.read_parquet(bucket.within("r").get("train.parquet"))["id"].to_list()

    def end(*_: Any) -> None:
        raise StorageError("the bucket is away")

    with monkeypatch.context() as patch:
        patch.setattr(Runs, "keep", end)
        with pytest.raises(StorageError):
            forget(one, "a")
    assert kept() == ["a", "b", "c"]
    assert (forget(one, "a"), kept()) == (1, ["b", "c"])
    assert (forget(other, "b"), kept()) == (1, ["c"])
    assert pl.read_parquet(other.of("r") / "train.parquet")["id"].to_list() == ["c"]
    for runs in (one, other):  # what each has beside the bucket goes, once the run is over
        runs.of("going on").mkdir()
        shutil.copy(runs.of("r") / "train.parquet", runs.of("going on") / "train.parquet")
        drop_copies(service.state, runs)
        assert [path.parent.name for path in runs.folder.rglob("*.parquet")] == ["going on"]
    drop_copies(service.state, Runs(one.folder))  # in a folder they are no copies
    assert kept() == ["c"] and len(list(one.folder.rglob("*.parquet"))) == 1


def test_in_a_folder_nothing_is_copied(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "a").write_text("1")
    runs.keep("r")
    runs.bring("r")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["r", "r/a"]
