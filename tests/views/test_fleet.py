"""A list of many models: what it tells is what the summaries, verdicts and alerts say, and it costs little."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from benchmarks.history import HOUR, History, served
from benchmarks.history import START as BEGINNING
from driftline.alerts.attention import AcknowledgeBody, acknowledge
from driftline.config.load import load
from driftline.events import WHOLE
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.summary import WindowBrief, WindowSummary, brief_of
from driftline.service.runtime import Service
from driftline.store import database
from driftline.store.tables import BRIEFS, SUMMARIES
from driftline.views.fleet import POINTS, FleetReader, FleetRow
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.effort import counted
from tests.support.steps import NOW, deliver, send_day, work

_brief, _summary = msgspec.msgpack.Decoder(WindowBrief), msgspec.msgpack.Decoder(WindowSummary)


def fresh(service: Service) -> FleetReader:
    """A reader that has not read yet."""
    return FleetReader(service.config, service.tasks, service.state, service.inbox)


def row(service: Service) -> FleetRow:
    """The one model; a reader that has read before says the same as one that has not."""
    [known], [new] = service.views.fleet(), fresh(service).rows()
    assert known == new
    return new


def require_briefs_of_summaries(service: Service) -> int:
    """Check that each brief is that of its summary; return how many there are."""
    with service.state.read() as read:
        of_all_rows = sa.select(SUMMARIES.c.model, SUMMARIES.c.start, SUMMARIES.c.body).where(
            SUMMARIES.c.slice == WHOLE
        )
        summaries = {tuple(key): _summary.decode(body) for *key, body in read.connection.execute(of_all_rows)}
        briefs = {tuple(key): _brief.decode(body) for *key, body in read.connection.execute(sa.select(BRIEFS))}
    assert briefs == {key: brief_of(one) for key, one in summaries.items()}
    return len(briefs)


def test_a_list_tells_what_the_windows_verdicts_and_alerts_say(service: Service) -> None:
    assert row(service).course == type(row(service).course)() and row(service).last_arrival is None
    for day in range(4):
        send_day(service, day, right=50 if day < 2 else 20, wrong=10 if day < 2 else 40)
        work(service)
        row(service)
    seen, windows = row(service), service.views.windows(MODEL)
    judged = [one for one in windows if one.summary.stage == "judged"]
    view = judged[-1].summary.performance["accuracy"]
    assert seen.course.measure == "accuracy" == service.config.models[MODEL].rules[0].measure
    assert seen.course.values == tuple(one.summary.performance["accuracy"].value for one in windows)
    assert (seen.course.value, seen.course.low, seen.course.high, seen.course.n) == (
        view.value,
        view.low,
        view.high,
        view.n,
    )
    assert seen.course.coverage == judged[-1].summary.coverage.value and seen.course.start == judged[-1].summary.start
    said = [(one.rule, one.state, one.value) for one in judged[-1].verdicts]
    assert [(one.rule, one.state, one.value) for one in seen.course.verdicts] == said != []
    firing = service.views.alerts(MODEL, status="firing")
    assert {one.id for one in seen.alerts} == {one.id for one in firing} != set()
    assert {(one.severity, one.title) for one in seen.alerts} == {(one.severity, one.title) for one in firing}
    model = service.views.model(MODEL)
    assert (seen.predictions, seen.labels, seen.version) == (model.predictions, model.labels, "v1")
    assert require_briefs_of_summaries(service) == len(windows)


def test_the_mark_changes_with_everything_that_is_told_and_with_nothing_else(service: Service) -> None:
    marks = [service.views.fleet_mark()]

    def changed() -> bool:
        marks.append(service.views.fleet_mark())
        return marks[-1] != marks[-2]

    assert not changed()
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    assert changed() and row(service).waiting_events == 1
    work(service)
    assert changed() and row(service).waiting_events == 0
    work(service)
    assert not changed()
    deliver(service, "labels", [label("a", 0.2, truth=1)])
    assert changed()
    work(service)
    assert changed()
    for day in range(1, 4):
        send_day(service, day, right=20, wrong=40)
    work(service)
    assert changed()
    alert = row(service).alerts[0]
    acknowledge(service.state, alert.id, AcknowledgeBody(by="ann", reason="seen"), NOW)
    assert changed() and row(service).alerts[0].acknowledged_by == "ann"
    service.views.fleet()
    assert not changed()


def test_a_late_label_changes_what_is_told_of_an_old_window(service: Service) -> None:
    for day in range(3):
        deliver(service, "predictions", [prediction(f"{day}-{k}", day + k / 100, said=1) for k in range(40)])
        deliver(service, "labels", [label(f"{day}-{k}", day + 0.5, truth=1) for k in range(30)])
        work(service)
    before = row(service).course.values
    deliver(service, "labels", [label(f"0-{k}", 2.5, truth=0) for k in range(30, 40)])
    work(service)
    assert row(service).course.values[0] == 0.75 != before[0] and row(service).course.values[1:] == before[1:]
    require_briefs_of_summaries(service)


def test_a_rebuild_and_a_migration_make_the_same_briefs(service: Service) -> None:
    for day in range(3):
        send_day(service, day, right=50, wrong=10)
    work(service)
    before = row(service)
    number = require_briefs_of_summaries(service)
    rebuild(service.models[MODEL], service.state)
    assert row(service).course.values == () and require_briefs_of_summaries(service) == 0
    work(service)
    assert row(service).course == before.course and require_briefs_of_summaries(service) == number
    engine = database.open_database(service.config.database)
    with engine.begin() as connection:
        stored = connection.execute(sa.select(BRIEFS)).all()
        connection.execute(sa.text("DROP TABLE briefs"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0055'"))
    database.migrate(engine)
    with engine.begin() as connection:
        migrated = connection.execute(sa.select(BRIEFS)).all()
    assert len(stored) == number and [briefly(one) for one in migrated] == [briefly(one) for one in stored]
    engine.dispose()


def briefly(stored: sa.Row[Any]) -> tuple[str, int, WindowBrief]:
    """A stored brief as releases had it before they knew how late labels come."""
    model, start, body = stored
    return model, start, replace(_brief.decode(body), label_delays=())


def test_without_rules_the_first_headline_stands_for_a_model(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    path.write_text(re.sub(r"      rules:\n(        - .*\n)+", "", path.read_text()))
    service = Service(load(path))
    assert row(service).course.measure == ""
    send_day(service, 0, right=50, wrong=10)
    send_day(service, 1, right=50, wrong=10)
    work(service)
    assert row(service).course.measure == "accuracy" and row(service).course.verdicts == ()
    service.stop()


@pytest.fixture(scope="module")
def fleets() -> Iterator[tuple[Service, Service]]:
    """Three models with a short history, and twelve with a long one."""
    with served(History(3, 5, 2)) as small, served(History(12, 3 * POINTS, 2)) as large:
        yield small, large


def test_many_models_take_no_more_statements_and_only_what_is_shown_is_read(fleets: tuple[Service, Service]) -> None:
    cold, warm = [], []
    for service in fleets:
        reader = fresh(service)
        for efforts in (cold, warm):
            with counted() as effort:
                rows = reader.rows()
            efforts.append(effort)
        with counted() as effort:
            reader.mark()
        assert len(effort.statements) == 2  # one is BEGIN
        assert all(len(one.course.values) <= POINTS and one.course.verdicts for one in rows)
        assert len(rows) == len(service.models)
    assert len(cold[0].statements) == len(cold[1].statements) <= 12
    assert len(warm[0].statements) == len(warm[1].statements) == len(cold[0].statements) - 2
    assert [one.course.end for one in fresh(fleets[1]).rows()] == [BEGINNING + HOUR * 3 * POINTS] * 12


def test_only_the_models_that_are_asked_for_are_told(fleets: tuple[Service, Service]) -> None:
    assert [one.name for one in fleets[1].views.fleet(("m003", "m001", "unknown"))] == ["m001", "m003"]
