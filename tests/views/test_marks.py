"""A page of a model or of an alert has another tag whenever it says something else, and the same while nothing does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from benchmarks.history import History, served
from driftline.alerts.attention import AcknowledgeBody, SilenceBody, acknowledge, add_silence
from driftline.alerts.feedback import FeedbackBody, FeedbackKind, say
from driftline.alerts.planner import NotificationPlanner
from driftline.config.load import load
from driftline.monitoring.forgetting import ForgetBody, HoldBody, ask_to_forget, hold, release
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.retention import delete_old_events, delete_old_windows
from driftline.retrain.policy import Ask, Trigger
from driftline.retrain.request import Stage
from driftline.retrain.requests import ask
from driftline.service.keeping import EventKeeper
from driftline.service.runtime import Service
from driftline.store.outbox import Outbox
from driftline.store.retraining import Retraining
from driftline.store.tables import ALERTS, NOTIFICATIONS, RETRAINING
from driftline.web.app import create_app
from tests.support.churn import MODEL, START, label, prediction
from tests.support.effort import counted
from tests.support.retraining import configured
from tests.support.steps import NOW, deliver, send_day, work

NOTIFY = 'notify: [{webhook: "http://127.0.0.1:9/", name: ops, severity: [page]}]\n'
OF_MODEL = tuple(f"/models/{MODEL}{rest}" for rest in ("", "/features/age", "/segments", "/rules"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is retrained when people ask, of whose alerts a receiver is told."""
    path = configured(tmp_path_factory.mktemp("marks"))
    path.write_text(path.read_text() + NOTIFY)
    return path


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    service = Service(load(folder))
    yield service
    service.stop()


def alert_of(service: Service) -> str:
    """The alert of the rule on accuracy; empty before there is one."""
    return next((one.id for one in service.views.alerts(MODEL) if one.rule == "accuracy-low"), "")


def told(service: Service, hours: int = 0) -> None:
    """Do what tells receivers of alerts, so many hours later."""
    NotificationPlanner(service.config.notify, lambda: "", lambda: None).tick(
        service.state, NOW + timedelta(hours=hours)
    )


def send(service: Service, first: int, last: int, *, right: int, wrong: int) -> None:
    for day in range(first, last):
        send_day(service, day, right=right, wrong=wrong)
    work(service)


def settle(service: Service) -> None:
    """A receiver takes its notices."""
    with service.state.work() as change:
        ids = change.connection.execute(sa.select(NOTIFICATIONS.c.id)).scalars().all()
        assert ids
        Outbox(change.connection).settle(ids, state="delivered")


def move(service: Service, *, say: bool) -> None:
    """A request for a challenger goes on, or says how it stands."""
    with service.state.work() as change:
        [id] = change.connection.execute(sa.select(RETRAINING.c.id)).scalars()
        known = Retraining(change.connection)
        if say:
            assert known.say(id, Stage.ASKED.value, "it waits for a machine")
        else:
            assert known.move(id, Stage.ASKED.value, Stage.FAILED.value, NOW, by="driftline", note="no machine")


def forget(service: Service) -> None:
    """One row, and one label that waits for its prediction, go by the wish of a person."""
    ask_to_forget(service.state, service.config.models[MODEL], ForgetBody(["1-1", "nobody"], "a letter", "ann"), NOW)
    keeper = EventKeeper(service.config)
    while keeper.step(service.models[MODEL], service.state, asked=True):
        pass


def cut(service: Service) -> None:
    while delete_old_events(service.models[MODEL], service.state, timedelta(days=6), NOW):
        pass


def clocked(service: Service) -> None:
    """An alert is put right without a step of its own, as where the clock has jumped."""
    with service.state.work() as change:
        [row] = [one for one in change.alerts.find(MODEL) if one.id == alert_of(service)]
        change.alerts.put(replace(row, muted="by a clock"))


def body_of(by: str = "ann") -> AcknowledgeBody:
    return AcknowledgeBody(by=by, reason="seen")


ACTIONS: dict[str, Callable[[Service], object]] = {
    "events wait": lambda one: deliver(one, "predictions", [prediction("a", 0.1, said=1)]),
    "they are worked on": work,
    "a label waits for its prediction": lambda one: (
        deliver(one, "labels", [label("nobody", 0.3, truth=1)]),
        work(one),
    ),
    "the same label once more": lambda one: (deliver(one, "labels", [label("nobody", 0.3, truth=1)]), work(one)),
    "the same event once more": lambda one: (deliver(one, "predictions", [prediction("a", 0.1, said=1)]), work(one)),
    "good days": lambda one: send(one, 1, 4, right=20, wrong=2),
    "bad days": lambda one: send(one, 4, 7, right=4, wrong=20),
    "a receiver is told": told,
    "it takes the notice": settle,
    "somebody takes the alert on": lambda one: acknowledge(one.state, alert_of(one), body_of(), NOW),
    "it is put right": clocked,
    "a silence begins": lambda one: (
        add_silence(one.state, SilenceBody({"model": MODEL}, "ann", "at work", duration="2h"), NOW),
        told(one),
    ),
    "a silence ends by the clock": lambda one: told(one, hours=3),
    "somebody tells of an incident": lambda one: say(
        one.state,
        one.config.models[MODEL],
        FeedbackBody(FeedbackKind.INCIDENT, since=START + timedelta(days=4), reason="an outage", by="ann"),
        NOW,
    ),
    "the worker takes notice": work,
    "a challenger is asked for": lambda one: ask(
        one.state, one.models[MODEL], Ask(Trigger.MANUAL, "it is time"), "ann", NOW
    ),
    "the request says how it stands": lambda one: move(one, say=True),
    "the request fails": lambda one: move(one, say=False),
    "labels are corrected": lambda one: (
        deliver(one, "labels", [label(f"4-{place}", 7.5, truth=place % 2) for place in range(24)]),
        work(one),
    ),
    "somebody holds the model": lambda one: hold(one.state, MODEL, HoldBody("ann", "an audit"), NOW),
    "and releases it": lambda one: release(one.state, MODEL, "ann", NOW),
    "somebody is forgotten": forget,
    "old events are deleted": cut,
    "old windows are deleted": lambda one: delete_old_windows(one.models[MODEL], one.state, timedelta(days=5), NOW),
    "windows are rebuilt": lambda one: rebuild(one.models[MODEL], one.state),
    "and judged": work,
}
SAME = {"somebody tells of an incident", "the worker takes notice"}
"""They may change no page, for the detector is off."""


def test_whatever_changes_a_page_changes_its_tag_and_nothing_else_does(service: Service) -> None:
    http, changed = TestClient(create_app(service)), set[str]()

    def pages() -> dict[str, tuple[str, str]]:
        """The tag and the text of each page."""
        found = {}
        for address in (*OF_MODEL, f"/alerts/{alert_of(service)}" if alert_of(service) else ""):
            answer = http.get(address) if address else None
            if answer is not None:
                assert answer.status_code == 200, answer.text
                found[address] = answer.headers["ETag"], answer.text
        return found

    before = pages()
    for what, act in ACTIONS.items():
        act(service)
        after = pages()
        for address in before.keys() & after.keys():
            (tag, text), (new_tag, new_text) = before[address], after[address]
            assert text == new_text or tag != new_tag, f"{what}: {address} says something else by the same tag"
            if text != new_text:
                changed.add(what)
        assert (before != after) or what in SAME, f"{what} changed nothing"
        for address, (tag, _) in after.items():
            again = http.get(address, headers={"If-None-Match": tag})
            assert again.status_code == 304, f"after {what}: nothing has happened to {address}"
        before = after
    assert changed >= ACTIONS.keys() - SAME


def test_an_alert_that_is_unknown_has_no_mark_and_its_page_no_tag_of_one(service: Service) -> None:
    assert service.views.alert_mark("nobody") == ()
    http = TestClient(create_app(service))
    for address in ("/alerts/nobody", f"/models/{MODEL}/features/nobody", f"/models/{MODEL}?windows=no"):
        answer = http.get(address)
        assert answer.status_code in (400, 404)
        known = http.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert known.status_code == answer.status_code


def test_another_process_has_the_same_tags_and_another_configuration_others(folder: Path, service: Service) -> None:
    mark, alert = service.views.model_mark(MODEL), service.views.alert_mark(alert_of(service))
    service.stop()
    again = Service(load(folder))
    assert again.views.model_mark(MODEL) == mark and again.views.alert_mark(alert_of(again)) == alert
    again.stop()
    folder.write_text(re.sub(r"below: 0\.75", "below: 0.7", folder.read_text()))
    other = Service(load(folder))
    assert other.views.model_mark(MODEL) != mark
    other.stop()


def test_another_model_leaves_a_tag_as_it_is() -> None:
    with served(History(2, 3, 2)) as service:
        first, second = (service.views.model_mark(name) for name in ("m000", "m001"))
        with service.state.work() as change:
            change.counters.add("m001", "labels", "", 1)
            row = change.alerts.find("m000")[0]
            change.alerts.put(replace(row, id="b" * 16, model="m001"))
        assert service.views.model_mark("m000") == first and service.views.model_mark("m001") != second
        with service.state.read() as read:
            assert read.connection.execute(sa.select(sa.func.count()).select_from(ALERTS)).scalar_one() == 2


def test_a_mark_takes_few_statements_and_no_more_work_for_a_long_history() -> None:
    efforts = []
    for windows in (5, 100):
        with served(History(1, windows, 2)) as service:
            service.views.alert_mark("a" * 16)
            for read in (lambda: service.views.model_mark("m000"), lambda: service.views.alert_mark("a" * 16)):
                with counted() as effort:
                    read()
                efforts.append(effort)
            with counted() as page:
                http = TestClient(create_app(service))
                tag = http.get("/models/m000").headers["ETag"]
            with counted() as same:
                assert http.get("/models/m000", headers={"If-None-Match": tag}).status_code == 304
            assert len(same.statements) <= 6 < len(page.statements)
    model, alert, long_model, long_alert = efforts
    assert len(model.statements) == len(long_model.statements) == 4  # one is BEGIN
    assert len(alert.statements) == len(long_alert.statements) == 7
    assert long_model.steps <= model.steps + 40 and long_alert.steps <= alert.steps + 40
