"""Keepers of leases that come, go, are paused and return; and the tasks of which one process at a time does each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from driftline.alerts.channels.alertmanager import Alertmanager
from driftline.alerts.channels.webhook import Webhook
from driftline.config.load import load
from driftline.errors import InUseError, LeaseLostError, UsageError
from driftline.service.doctor import Status as Health
from driftline.service.doctor import diagnose
from driftline.service.jobs import Pass
from driftline.service.leases import (
    NOTIFY,
    PUSH,
    ROLES,
    Alone,
    LeaseKeeper,
    Status,
    model_lease,
    shares_of,
    status_of,
    storage_name,
)
from driftline.service.runtime import Service
from driftline.service.steps import Deliveries, while_held
from driftline.store.database import open_database
from driftline.store.leases import Fence, Leases, ProcessRow
from driftline.store.outbox import Outbox
from driftline.store.state import State
from tests.alerts.test_delivery import notice, put
from tests.support.churn import MODEL, prediction, write_config
from tests.support.postgresql import PostgreSQL
from tests.support.receiver import Server
from tests.support.servers import until
from tests.support.steps import NOW, deliver, work

SPAN, EVERY = timedelta(seconds=2.5), timedelta(seconds=0.1)
MODELS = [f"m{number}" for number in range(7)]

Join = Callable[..., LeaseKeeper]
Opened = Callable[[str], sa.Engine]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Databases that are closed at the end."""
    with ExitStack() as stack:

        def open_one(address: str) -> sa.Engine:
            engine = open_database(address)
            stack.callback(engine.dispose)
            return engine

        yield open_one


@pytest.fixture
def address(postgresql: PostgreSQL) -> str:
    return postgresql.cleared_database()


@pytest.fixture
def join(address: str, opened: Opened) -> Iterator[Join]:
    """Keepers of models, each with an engine of its own as processes have."""
    joined: list[LeaseKeeper] = []

    def keeper(role: str = "worker", **changes: Any) -> LeaseKeeper:
        options: dict[str, Any] = {"status": Status, "storage": "/data", "span": SPAN, "every": EVERY} | changes
        shares = shares_of(ROLES[role], MODELS)
        joined.append(LeaseKeeper(opened(address), ROLES[role], shares, **options))
        joined[-1].join()
        return joined[-1]

    yield keeper
    for one in joined:
        one.stop()


def models_of(keeper: LeaseKeeper) -> list[str]:
    return [name for name in keeper.names if name.startswith("model")]


def die(keeper: LeaseKeeper) -> dict[str, int]:
    """Stop renewing, and give nothing back; what it believes to hold."""
    keeper._stopping.set()
    assert keeper._thread is not None
    keeper._thread.join()
    return dict(keeper._tokens)


def test_models_are_shared_evenly_by_those_who_come_and_taken_over_from_those_who_die(join: Join) -> None:
    first = join()
    assert len(models_of(first)) == 7
    others = [join(), join()]
    until(lambda: sorted(len(models_of(one)) for one in (first, *others)) == [2, 2, 3], "an even share")
    held = {name for one in (first, *others) for name in models_of(one)}
    assert held == {model_lease(name) for name in MODELS}
    before = {one.id: one.names for one in (first, *others)}
    time.sleep(EVERY.total_seconds() * 5)
    assert {one.id: one.names for one in (first, *others)} == before  # nothing moves without a reason
    dead = die(others[0])
    began = time.monotonic()
    until(lambda: sorted(len(models_of(one)) for one in (first, others[1])) == [3, 4], "the dead one's are taken over")
    assert time.monotonic() - began < 30
    others[1].stop()
    until(lambda: len(models_of(first)) == 7, "all of them")
    assert all(first._tokens[name] > token for name, token in dead.items() if name in first._tokens)


def test_one_does_what_one_does_and_a_lease_that_is_in_use_stays(join: Join) -> None:
    first = join()
    used = models_of(first)[:6]
    entered = [first.using(name) for name in used]
    for one in entered:
        one.__enter__()
    second = join()
    until(lambda: second.names, "a share of it")
    time.sleep(EVERY.total_seconds() * 5)
    assert set(used) <= set(first.names)
    for one in entered:
        one.__exit__(None, None, None)
    until(lambda: sorted(len(models_of(one)) for one in (first, second)) == [3, 4], "an even share")
    assert sorted(first.held(PUSH) for first in (first, second)) == [False, True]
    assert not first.held(NOTIFY)


def test_who_was_paused_learns_that_it_has_lost_what_another_took(join: Join, address: str, opened: Opened) -> None:
    paused = join()
    die(paused)
    other = join()
    until(lambda: len(models_of(other)) == 7, "all of them")
    with pytest.raises(LeaseLostError), paused.using(model_lease("m0")) as fence:
        State(opened(address)).fenced(fence).require_lease()
    assert not paused.held(model_lease("m0"))  # it was told
    paused.beat()
    assert models_of(paused) == []  # and learns of the rest
    with pytest.raises(LeaseLostError), paused.using(model_lease("m1")):
        pytest.fail("it is another's")


def test_a_command_takes_everything_or_says_who_has_it(join: Join, address: str, opened: Opened) -> None:
    worker = join()
    shares = shares_of(ROLES["all"], MODELS)
    command = LeaseKeeper(opened(address), ROLES["all"], shares, "/data", Status)
    with pytest.raises(InUseError, match="the database is in use by another driftline"):
        command.take_all()
    assert command.names == []
    worker.stop()
    command.take_all()
    assert len(command.names) == len(MODELS) + 4  # keep, notify, push, retrain
    latecomer = join()
    assert latecomer.names == []
    command.stop()
    until(lambda: latecomer.names, "what was given back")


def test_a_process_that_keeps_its_log_elsewhere_is_refused(join: Join) -> None:
    join()
    with pytest.raises(InUseError, match="keeps its log in /data, and this one in /elsewhere"):
        join(storage="/elsewhere")
    assert storage_name("s3://bucket/data") == "s3://bucket/data"
    assert storage_name(Path("data")) == str(Path.cwd() / "data")


def test_what_a_later_release_says_of_itself_is_passed_over() -> None:
    row = ProcessRow("a", "all", "here", 1, "/data", NOW, NOW, NOW, b'{"problems": 7}')
    assert status_of(row) == Status()


# ---- tasks ----------------------------------------------------------------------------------------------------------


def test_a_sender_that_died_before_it_noted_its_message_is_followed_by_the_same_message(
    address: str, opened: Opened
) -> None:
    """It sends, and is taken for dead: another notice comes, and the next holder sends the first one as it was."""
    engine, receiver = opened(address), Server()
    state = State(engine)
    with engine.begin() as connection:
        Leases(connection).add([NOTIFY])
        old = Fence(NOTIFY, Leases(connection).take("old", [NOTIFY], 1, timedelta(seconds=-1))[NOTIFY])
    put(state, [notice("a", 1)])

    class Paused(Webhook):
        def send(self, message: Any) -> None:
            super().send(message)
            with engine.begin() as connection:
                taken.append(Leases(connection).take("new", [NOTIFY], 1, timedelta(minutes=1))[NOTIFY])
            put(state, [notice("b", 2)])

    taken: list[int] = []
    with pytest.raises(LeaseLostError):
        Deliveries("c", Paused(receiver.url, now=lambda: NOW), state, list).step(old)
    with pytest.raises(LeaseLostError):  # and it does not send what has come since
        Deliveries("c", Webhook(receiver.url, now=lambda: NOW), state, list).step(old)
    after = Deliveries("c", Webhook(receiver.url, now=lambda: NOW), state, list)
    while after.step(Fence(NOTIFY, taken[0])) is Pass.AGAIN:
        pass
    keys = [request.headers["idempotency-key"] for request in receiver.taken]
    notices = [[one["key"] for one in request.json["notices"]] for request in receiver.taken]
    assert (keys, notices) == (["a-1", "a-1", "b-2"], [["a-1"], ["a-1"], ["b-2"]])
    receiver.close()


def test_what_a_channel_knows_of_its_receiver_is_known_to_the_next_process(tmp_path: Path, opened: Opened) -> None:
    state, receiver = State(opened(f"sqlite:///{tmp_path / 'state.db'}")), Server()
    put(state, [notice("a", 1)])
    first, second = (Alertmanager(receiver.url, now=lambda: NOW) for _ in range(2))
    Deliveries("c", first, state, list).step(None)
    with state.read() as read:
        assert Outbox(read.connection).memory("c") == msgspec.json.encode(NOW)
    Deliveries("c", second, state, list).step(None)
    assert second.remember() == first.remember()
    second.recall(b"what an earlier release wrote")
    assert second.remember() == first.remember()
    receiver.close()


def test_a_step_is_taken_only_under_its_lease(join: Join) -> None:
    keeper, taken = join("notify"), list[Fence | None]()

    def step(fence: Fence | None) -> Pass:
        taken.append(fence)
        return Pass.AGAIN

    assert while_held(keeper, NOTIFY, step)() is Pass.AGAIN
    assert while_held(keeper, PUSH, step)() is Pass.DONE
    assert while_held(Alone(), PUSH, step)() is Pass.AGAIN
    assert taken == [Fence(NOTIFY, keeper._tokens[NOTIFY]), None]


# ---- a service ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["api", "worker", "notify"])
def test_other_roles_than_all_need_a_server(tmp_path: Path, role: str) -> None:
    with pytest.raises(UsageError, match=f"--role {role} came, .* several processes need one of a PostgreSQL"):
        Service(load(write_config(tmp_path)), role=ROLES[role])
    assert not (tmp_path / "data").exists()


def test_the_doctor_says_who_is_alive_and_what_nobody_holds(tmp_path: Path, address: str) -> None:
    config = load(write_config(tmp_path, f"database: {address}"))
    service = Service(config, role=ROLES["worker"])
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    work(service)
    found = {one.name: one for one in diagnose(config, NOW).checks}
    assert found["processes"].status is Health.OK
    assert found["processes"].message.startswith("worker on ")
    assert found["leases"].status is Health.WARNING
    assert found["leases"].message.startswith("nobody holds notify; ")
    assert f"model {MODEL}: worker on " in found["leases"].message
    service.stop()
    found = {one.name: one for one in diagnose(config, NOW).checks}
    assert found["processes"].message == "none is alive; start `driftline serve`"


def test_a_database_that_is_older_than_its_log_is_worked_on_under_a_higher_token(
    tmp_path: Path, address: str, opened: Opened
) -> None:
    config = load(write_config(tmp_path, f"database: {address}"))
    service = Service(config)
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    service.worker.step()
    die(service.keeper)
    engine = opened(address)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leases SET token = 40, expires_at = 0")
    service.stop()
    other = Service(config)  # takes it with 41
    other.models[MODEL].log.require_undamaged()
    assert other.models[MODEL].log.highest_token() == 41
    other.stop()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leases SET token = 3")
    restored = Service(config)
    deliver(restored, "predictions", [prediction("b", 0.2, said=1)])
    restored.worker.step()
    assert restored.models[MODEL].log.highest_token() == 42
    assert restored.models[MODEL].log.count("predictions") == 2
    restored.stop()
