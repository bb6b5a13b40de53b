"""What any process deletes: rows that were set aside, notices and folders of runs. What counts them never falls."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from driftline import clock
from driftline.config.load import load
from driftline.monitoring.forgetting import HoldBody, hold
from driftline.retrain.kept import Runs
from driftline.retrain.registry.registry import Version
from driftline.retrain.runs import delete_old_runs
from driftline.service.jobs import Pass
from driftline.service.keeping import Housekeeping
from driftline.service.runtime import Service
from driftline.store.database import open_database
from driftline.store.outbox import Outbox
from driftline.store.retention import Retention
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.store.tables import NOTIFICATIONS, QUARANTINE
from tests.support.churn import MODEL, write_config
from tests.support.steps import NOW

DAY = timedelta(days=1)


def notice(state: str, due: datetime, alert: str = "a", channel: str = "hook/1", attempts: int = 3) -> dict[str, Any]:
    return {
        "channel": channel,
        "model": MODEL,
        "alert": alert,
        "body": b"{}",
        "batch": None,
        "attempts": attempts,
        "refusals": 0,
        "due_at": due,
        "last_error": "",
        "state": state,
    }


def set_aside(model: str, arrived: datetime) -> dict[str, Any]:
    told = {"kind": "labels", "row_index": 0, "field": "id", "reason": "x", "row": b"{}"}
    return {"model": model, "arrived_at": arrived, **told}


def test_notices_go_once_they_are_settled_and_are_counted_for_ever(address: str) -> None:
    engine = open_database(address)
    rows = [notice("delivered", NOW - 100 * DAY) for _ in range(3)]
    rows += [notice("refused", NOW - 100 * DAY, channel="mail", attempts=5)]
    kept = [
        notice("waiting", NOW - 100 * DAY),
        notice("expired", NOW - 100 * DAY, alert="fires"),
        notice("delivered", NOW - 80 * DAY),
    ]
    with engine.begin() as connection:
        connection.execute(NOTIFICATIONS.insert(), [*rows, *kept])
        outbox, retention = Outbox(connection), Retention(connection)

        def told() -> list[dict[str, int]]:
            return [*map(outbox.count, ("delivered", "refused", "expired", "waiting")), outbox.count_failed_attempts()]

        before, steps = told(), list[int]()
        while not steps or steps[-1]:
            steps.append(retention.drop_notifications(NOW - 90 * DAY, 3, ["fires"]))
            assert told() == before
        assert steps == [3, 1, 0] and before[0] == {"hook/1": 4} and before[4]["mail"] == 5
        left = connection.execute(sa.select(NOTIFICATIONS.c.state)).scalars()
        assert sorted(left) == ["delivered", "expired", "waiting"]
    engine.dispose()


def test_old_rows_that_were_set_aside_go_unless_their_model_is_held(address: str) -> None:
    engine = open_database(address)
    with engine.begin() as connection:
        old, new = NOW - 31 * DAY, NOW - 29 * DAY
        rows = [set_aside("held", old), *[set_aside(MODEL, old)] * 4, set_aside(MODEL, new)]
        connection.execute(QUARANTINE.insert(), rows)
        retention = Retention(connection)
        assert [retention.drop_quarantine(NOW - 30 * DAY, 3, ["held"]) for _ in range(3)] == [3, 1, 0]
        left = connection.execute(sa.select(QUARANTINE.c.model, QUARANTINE.c.arrived_at).order_by(QUARANTINE.c.id))
        assert [tuple(row) for row in left] == [("held", old), (MODEL, new)]
    engine.dispose()


def request(id: str, version: str, stage: str) -> RetrainingRow:
    said = ("hand", "why", "ann", NOW, NOW, stage, NOW, "", 0)
    return RetrainingRow(id, MODEL, *said, version=version)


def test_folders_of_runs_go_but_not_of_versions_that_are_live_or_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("runs: forever", "runs: 90d"))
    service = Service(load(path))
    registry, runs = service.loop.registry, service.loop.folder
    stages = {
        "first": ("v1", "promoted"),
        "now": ("v2", "promoted"),
        "old": ("v0", "rolled back"),
        "lost": ("", "failed"),
    }
    with service.state.work() as work:
        for id, (version, stage) in {**stages, "runs": ("v3", "running")}.items():
            Retraining(work.connection).add(request(id, version, stage), busy=())
            (runs / id).mkdir(parents=True)
            (runs / id / "train.parquet").write_bytes(b"rows")
    for version in ("v0", "v1", "v2"):
        registry.register(Version(model=MODEL, version=version, created_at=NOW), {})
    registry.promote(MODEL, "v1", None)
    registry.promote(MODEL, "v2", "v1")
    assert delete_old_runs(service.state, registry, Runs(runs), NOW, ()) == 0  # none was over before
    hold(service.state, MODEL, HoldBody("case 17", "counsel"), NOW)
    house = Housekeeping(service.config, service.state, registry)
    monkeypatch.setattr(clock, "now", lambda: NOW + 91 * DAY)
    assert house.step(None) is Pass.DONE
    assert len(list(runs.iterdir())) == 5
    with service.state.work() as work:
        work.retention.end_hold(MODEL)
    Housekeeping(service.config, service.state, registry).step(None)
    assert {one.name for one in runs.iterdir()} == {"first", "now", "runs"}
    assert len(registry.versions(MODEL)) == 3
    with service.state.read() as read:
        assert len(Retraining(read.connection).rows(MODEL)) == 5
    service.stop()
