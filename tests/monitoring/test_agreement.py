"""State and log at the start: of one time, made so, or refused with what to do. Nothing acknowledged is forgotten."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from driftline.config.load import Config, load
from driftline.errors import StorageError
from driftline.monitoring import ingest
from driftline.monitoring.agreement import known_marks
from driftline.monitoring.draining import drain
from driftline.monitoring.judging import refresh_labels
from driftline.monitoring.rebuild import rebuild
from driftline.service.runtime import Service
from driftline.sketches.hashing import fingerprints
from driftline.store.log import TABLES
from driftline.store.predictions import label_marks
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.steps import deliver, work


def keep(config: Config, name: str) -> None:
    """Take a backup of the state, as one does of a database that is in use."""
    target = config.storage.parent / name
    with sqlite3.connect(config.storage / "state.db") as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()


def bring_back(config: Config, name: str | None) -> None:
    """Restore a backup of the state; None: the state is gone."""
    for one in config.storage.glob("state.db*"):
        one.unlink()
    if name is not None:
        shutil.copy(config.storage.parent / name, config.storage / "state.db")


def come_to_rest(service: Service) -> Service:
    """Do what the worker does from the start."""
    service.worker.catch_up(MODEL)
    work(service)
    return service


def consistent(service: Service, *, lost: bool = False) -> None:
    """The state is what the log says, to the byte and the count; counters go on counting what was lost."""
    model = service.models[MODEL]
    view = service.views.model(MODEL)
    rows = model.log.known_rows()
    assert rows["id"].n_unique() == len(rows)
    assert (view.predictions, view.labels) == (len(rows), rows["label"].count()) or lost
    assert view.waiting_events == 0
    with service.state.read() as read:
        known = read.predictions.find(MODEL, fingerprints(rows["id"]))
        assert known.known.all()
        assert known.times.tolist() == rows["time"].to_physical().to_list()
        assert known.marks.tolist() == label_marks(rows["label"]).tolist()
        assert known_marks(read, MODEL) == model.log.last_seqs()
    assert rebuild(model, service.state).differing == ()


def ids(service: Service) -> list[str]:
    return sorted(service.models[MODEL].log.known_rows()["id"])


def predictions(names: str, day: float = 0.1) -> list[dict[str, Any]]:
    return [prediction(one, day, said=1, score=0.5) | {"latency_seconds": 0.25} for one in names.split()]


def labels(names: str, truth: int = 1) -> list[dict[str, Any]]:
    return [label(one, 0.2, truth=truth) for one in names.split()]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(write_config(tmp_path))


@pytest.mark.parametrize("backup", ["old.db", None])
def test_an_older_or_lost_state_recalls_what_the_log_knows_and_forgets_nothing(
    config: Config, backup: str | None
) -> None:
    service = Service(config)
    for one in ["a1", "a2", "a3"]:
        deliver(service, "predictions", predictions(one))
        work(service)
    service.stop()
    keep(config, "old.db")
    service = Service(config)
    deliver(service, "predictions", predictions("b1 b2 b3 b4", day=1.1))
    work(service)
    deliver(service, "labels", labels("a1 b1"))
    deliver(service, "labels", labels("a1", truth=0))
    work(service)
    view = service.views.model(MODEL)
    service.stop()

    bring_back(config, backup)
    service = Service(config)
    deliver(service, "predictions", predictions("c1 c2"))  # before the worker's first pass
    come_to_rest(service)
    assert ids(service) == ["a1", "a2", "a3", "b1", "b2", "b3", "b4", "c1", "c2"]
    deliver(service, "predictions", predictions("c3 b1"))
    deliver(service, "labels", labels("c3"))
    work(service)
    consistent(service)
    after = service.views.model(MODEL)
    assert (after.predictions, after.labels, after.corrected_labels) == (10, 3, view.corrected_labels)
    with service.state.read() as read:
        stored = read.models.get(MODEL)
    assert stored is not None and stored.latency is not None
    service.stop()
    again = Service(config)
    assert not again.models[MODEL].behind
    again.stop()


events = st.lists(
    st.tuples(st.sampled_from(["predictions", "labels", "drain"]), st.integers(0, 5), st.integers(0, 1)), max_size=8
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=events, after=events, later=events)
@example(
    before=[("predictions", 0, 1), ("drain", 0, 0), ("labels", 0, 1)],  # waits in the backup
    after=[("drain", 0, 0), ("labels", 0, 0)],  # and was corrected afterwards
    later=[],
)
@example(before=[("labels", 1, 1), ("drain", 0, 0)], after=[("predictions", 1, 1)], later=[])
def test_whatever_happened_before_and_after_the_backup_the_state_is_what_the_log_says(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]], later: list[tuple[str, int, int]]
) -> None:
    """What was in the log when the state was lost stays as it was, with its newest label; what comes then is added."""
    with tempfile.TemporaryDirectory() as folder:
        config = load(write_config(Path(folder)))
        service = Service(config)

        def live(some: list[tuple[str, int, int]]) -> None:
            for kind, id, value in some:
                if kind == "drain":
                    while drain(service.models[MODEL], service.inbox, service.state):
                        pass
                else:
                    row = (
                        prediction(str(id), 0.1, said=value)
                        if kind == "predictions"
                        else label(str(id), 0.2, truth=value)
                    )
                    deliver(service, kind, [row])  # type: ignore[arg-type]

        live(before)
        service.stop()
        keep(config, "old.db")
        service = Service(config)
        live([*after, ("drain", 0, 0)])
        truth = {id: said for id, _, said in service.models[MODEL].log.known_rows().rows()}
        service.stop()
        bring_back(config, "old.db")
        service = come_to_rest(Service(config))
        assert {id: said for id, _, said in service.models[MODEL].log.known_rows().rows()} == truth
        live([*later, ("drain", 0, 0)])
        for kind, id, value in later:
            if kind == "labels" and str(id) in truth:
                truth[str(id)] = str(value)
            elif kind == "predictions":
                truth.setdefault(str(id), None)
        found = {id: said for id, _, said in service.models[MODEL].log.known_rows().rows()}
        assert found.keys() == truth.keys()
        assert all(found[id] == said for id, said in truth.items() if said is not None)
        refresh_labels(service.models[MODEL], service.state)
        consistent(service)
        service.stop()


def test_an_early_label_of_the_backup_still_finds_its_prediction(config: Config) -> None:
    service = Service(config)
    deliver(service, "predictions", predictions("a"))
    deliver(service, "labels", labels("late"))
    work(service)
    service.stop()
    keep(config, "old.db")
    service = Service(config)
    deliver(service, "predictions", predictions("b"))
    work(service)
    service.stop()
    bring_back(config, "old.db")
    service = come_to_rest(Service(config))
    deliver(service, "predictions", predictions("late"))
    work(service)
    assert dict(service.models[MODEL].log.known_rows().select("id", "label").rows())["late"] == "1"
    consistent(service)
    service.stop()


def lose_log(config: Config) -> None:
    shutil.rmtree(config.storage / "log")


def lose_table(config: Config) -> None:
    shutil.rmtree(config.storage / "log" / MODEL / "labels")


def lose_file(config: Config) -> None:
    min((config.storage / "log" / MODEL / "predictions").glob("*.parquet")).unlink()


def cut_file(config: Config) -> None:
    file = min((config.storage / "log" / MODEL / "labels").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:100])


def older_log(config: Config) -> None:
    shutil.rmtree(config.storage / "log")
    shutil.copytree(config.storage.parent / "log-before", config.storage / "log")


@pytest.mark.parametrize("lose", [lose_log, lose_table, lose_file, cut_file, older_log])
def test_a_log_that_has_lost_rows_is_refused_in_one_line_or_accepted_by_hand(
    config: Config, lose: Callable[[Config], None]
) -> None:
    service = Service(config)
    deliver(service, "predictions", predictions("a b"))
    deliver(service, "labels", labels("a"))
    work(service)
    shutil.copytree(config.storage / "log", config.storage.parent / "log-before")
    deliver(service, "predictions", predictions("c"))
    deliver(service, "labels", labels("b"))
    work(service)
    service.stop()
    lose(config)
    path = str(config.storage.parent / "driftline.yaml")
    for arguments in (["serve", "--port", "0"], ["rebuild", MODEL]):
        refused = subprocess.run(
            [sys.executable, "-m", "driftline", *arguments, "--config", path],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (refused.returncode, refused.stdout) == (2, "")
        [line] = refused.stderr.splitlines()
        assert MODEL in line and "backup" in line and f"driftline rebuild {MODEL} --accept-loss" in line
    with pytest.raises(StorageError):
        Service(config)
    service = Service(config, accept_loss=MODEL)
    deliver(service, "predictions", predictions("d"))
    come_to_rest(service)
    assert "d" in ids(service)
    consistent(service, lost=True)
    service.stop()
    Service(config).stop()  # and is not refused any more


def test_the_rows_that_are_left_go_on_by_the_command_line(config: Config) -> None:
    service = Service(config)
    deliver(service, "predictions", predictions("a b"))
    work(service)
    deliver(service, "predictions", predictions("c"))
    work(service)
    service.stop()
    lose_file(config)
    path = str(config.storage.parent / "driftline.yaml")
    command = [sys.executable, "-m", "driftline", "rebuild", MODEL, "--accept-loss", "--config", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "1 differed" in done.stdout
    service = Service(config)
    assert not service.models[MODEL].behind
    consistent(service, lost=True)
    service.stop()


def crash(service: Service, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before the state has what the log has."""
    with monkeypatch.context() as patch:
        patch.setattr(ingest, name, lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            drain(service.models[MODEL], service.inbox, service.state)
    service.stop()


@pytest.mark.parametrize("first", ["rebuild", "drain"])
def test_a_batch_that_is_half_way_is_no_disagreement_and_counts_once(
    config: Config, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    service = Service(config)
    deliver(service, "predictions", predictions("a"))
    work(service)
    deliver(service, "predictions", predictions("b c"))
    deliver(service, "labels", labels("a b"))
    crash(service, "_update_model", monkeypatch)
    service = Service(config)
    assert not service.models[MODEL].behind
    if first == "rebuild":
        assert rebuild(service.models[MODEL], service.state).differing == ()
    work(service)
    assert [one.summary.predictions for one in service.views.windows(MODEL)] == [3]
    consistent(service)
    service.stop()


def test_a_state_of_an_earlier_release_is_taken_as_it_is_and_watched_from_then_on(config: Config) -> None:
    service = Service(config)
    deliver(service, "predictions", predictions("a b"))
    work(service)
    service.stop()
    with sqlite3.connect(config.storage / "state.db") as connection:
        connection.execute("UPDATE models SET log_marks = NULL")
    connection.close()
    keep(config, "old.db")
    service = Service(config)
    assert not service.models[MODEL].behind
    deliver(service, "predictions", predictions("c"))
    work(service)
    consistent(service)
    service.stop()
    bring_back(config, "old.db")  # its log is newer, which shows in the number of batches
    service = come_to_rest(Service(config))
    assert ids(service) == ["a", "b", "c"]
    consistent(service)
    service.stop()
    with sqlite3.connect(config.storage / "state.db") as connection:
        connection.execute("UPDATE models SET log_marks = NULL")
    connection.close()
    lose_log(config)
    with pytest.raises(StorageError, match="older than the state"):
        Service(config)


def test_numbers_of_batches_are_never_given_twice(config: Config) -> None:
    service = Service(config)
    for one in "abcdef":
        deliver(service, "predictions", predictions(one))
        work(service)
    highest = max(service.models[MODEL].log.last_seqs().values())
    service.stop()
    bring_back(config, None)
    service = Service(config)
    deliver(service, "predictions", predictions("new"))
    with service.state.read() as read:
        assert read.connection.execute(sa.text("SELECT min(seq) FROM inbox")).scalar_one() > highest
    assert set(service.models[MODEL].log.last_seqs()) == set(TABLES)
    service.stop()


def test_a_backup_that_was_taken_while_it_ran_is_whole(config: Config, tmp_path: Path) -> None:
    """As the page says: first the state, then of each table the metadata and the files."""
    service = Service(config)
    service.start()
    stop = threading.Event()
    sent: list[str] = []

    def send() -> None:
        while not stop.is_set():
            names = [f"{len(sent)}-{one}" for one in range(3)]
            deliver(service, "predictions", predictions(" ".join(names)))
            sent.extend(names)
            service.wake()

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(4):
        acknowledged = list(sent)
        target = back_up(config.storage, tmp_path / f"backup-{number}")
        time.sleep(0.3)
        copied = Service(config.at(target))
        come_to_rest(copied)
        assert set(ids(copied)) >= set(acknowledged)
        consistent(copied)
        copied.stop()
    stop.set()
    sender.join()
    service.stop()


def back_up(storage: Path, target: Path) -> Path:
    while True:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        source, copy = sqlite3.connect(storage / "state.db"), sqlite3.connect(target / "state.db")
        source.backup(copy)
        source.close()
        copy.close()
        try:
            for table in sorted((storage / "log").glob("*/*")):
                beside = target / "log" / table.parent.name / table.name
                shutil.copytree(table / "_delta_log", beside / "_delta_log", copy_function=os.link)
                for file in table.glob("*.parquet"):
                    os.link(file, beside / file.name)
        except (FileNotFoundError, shutil.Error):
            continue
        return target
