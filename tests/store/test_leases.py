"""A lease has one holder, and what is done under an older token of it leaves no trace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from driftline.errors import LeaseLostError
from driftline.service.trouble import in_words, is_of_surroundings
from driftline.store.database import open_database, try_turn, wait_turn
from driftline.store.inbox import Inbox
from driftline.store.leases import Fence, Leases, ProcessRow
from driftline.store.state import State
from tests.support.postgresql import PostgreSQL

LONG, OVER = timedelta(minutes=1), timedelta(seconds=-1)
NAMES = ("model a", "model b", "notify")


@pytest.fixture
def engine(address: str) -> Iterator[sa.Engine]:
    engine = open_database(address)
    with engine.begin() as connection:
        Leases(connection).add(NAMES)
    yield engine
    engine.dispose()


def take(engine: sa.Engine, holder: str, span: timedelta = LONG, most: int = 9) -> dict[str, int]:
    with engine.begin() as connection:
        return Leases(connection).take(holder, NAMES, most, span)


def test_what_is_held_is_not_taken_and_what_has_expired_is_taken_with_the_next_token(engine: sa.Engine) -> None:
    assert take(engine, "a", most=2) == {"model a": 1, "model b": 1}
    assert take(engine, "b", OVER) == {"notify": 1}
    assert take(engine, "c") == {"notify": 2}
    with engine.begin() as connection:
        leases = Leases(connection)
        assert leases.renew("b", {"notify": 1}, LONG) == set()
        assert leases.renew("a", {"model a": 1, "model b": 7}, LONG) == {"model a"}
        leases.release("a", {"model a": 1})
        leases.release("b", {"notify": 1})  # which is another's by now
        leases.add(NAMES)  # again: it changes nothing
    assert take(engine, "d") == {"model a": 2}


def test_it_is_seen_whether_somebody_holds_one(engine: sa.Engine) -> None:
    def held() -> bool:
        with engine.connect() as connection:
            return Leases(connection).any_held()

    assert not held()
    tokens = take(engine, "a", most=1)
    assert held()
    with engine.begin() as connection:
        Leases(connection).release("a", tokens)
    assert not held()
    take(engine, "a", OVER)
    assert not held()


def test_one_that_has_expired_is_its_holders_until_another_takes_it(engine: sa.Engine) -> None:
    tokens = take(engine, "a", OVER)
    with engine.begin() as connection:
        assert Leases(connection).renew("a", tokens, LONG) == set(NAMES)
    assert take(engine, "b") == {}


def test_the_work_of_an_earlier_holder_leaves_no_trace(engine: sa.Engine) -> None:
    state = State(engine)
    mine = state.of("a", Fence("model a", take(engine, "a", OVER)["model a"]))
    with mine.work() as work:
        work.counters.add("a", "predictions", "v", 1)
    take(engine, "b")
    with pytest.raises(LeaseLostError, match="another process works on model a by now"), mine.work() as work:
        work.counters.add("a", "predictions", "v", 1)
    with pytest.raises(LeaseLostError):
        mine.require_lease()
    with state.read() as read:
        assert read.counters.of("a") == {("predictions", "v"): 1}


def test_a_token_can_be_raised_by_its_holder_alone(engine: sa.Engine) -> None:
    tokens = take(engine, "a")
    with engine.begin() as connection:
        Leases(connection).outgrow("a", Fence("model a", tokens["model a"]), 41)
    State(engine).fenced(Fence("model a", 42)).require_lease()
    with pytest.raises(LeaseLostError), engine.begin() as connection:
        Leases(connection).outgrow("b", Fence("model a", 42), 50)


def test_processes_live_until_they_are_not_heard_of(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        leases = Leases(connection)
        now = leases.now()
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
        for id, until in (("live", now + LONG), ("dead", now - LONG)):
            leases.put_process(ProcessRow(id, "all", "here", 1, "/data", now, now, until, b"{}"))
        assert [one.id for one in leases.live()] == ["live"]
        leases.forget_dead(now)
        leases.forget_process("live")
        assert leases.live() == []


# ---- what only a server can show ------------------------------------------------------------------------------------


@pytest.fixture
def server(postgresql: PostgreSQL) -> Iterator[sa.Engine]:
    engine = open_database(postgresql.cleared_database())
    with engine.begin() as connection:
        Leases(connection).add(NAMES)
    yield engine
    engine.dispose()


def test_a_lease_is_renewed_and_not_taken_while_a_transaction_of_its_holder_goes_on(server: sa.Engine) -> None:
    tokens = take(server, "a", OVER)
    with State(server).of("a", Fence("model a", tokens["model a"])).work():
        with server.begin() as connection:
            assert Leases(connection).renew("a", tokens, OVER) == set(NAMES)
        assert take(server, "b") == {"model b": 2, "notify": 2}  # and does not wait for the other
    assert take(server, "b") == {"model a": 2}


def test_models_do_not_wait_for_each_other_and_those_who_change_one_do(server: sa.Engine) -> None:
    state, order = State(server), list[str]()

    def change() -> None:
        with state.of("a").work():
            order.append("second")

    with state.of("a").work(), state.of("b").work(), state.work():
        other = threading.Thread(target=change)
        other.start()
        time.sleep(0.2)
        order.append("first")
    other.join(20)
    assert order == ["first", "second"]


def test_a_turn_that_another_has_is_not_waited_for(server: sa.Engine) -> None:
    with server.begin() as one, server.begin() as other:
        wait_turn(one, "leases")
        assert not try_turn(other, "leases")
        assert try_turn(other, "something else")


def test_who_is_paused_in_the_middle_of_a_write_is_ended_by_the_server_and_readers_are_not(
    server: sa.Engine,
) -> None:
    def limit(connection: sa.Connection) -> str:
        return str(connection.execute(sa.text("SHOW idle_in_transaction_session_timeout")).scalar_one())

    with server.connect() as connection:
        assert limit(connection) == "10s"
        connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
        wait_turn(connection, "state of a")
        with State(server).read() as read:
            assert limit(read.connection) == "0"
        with State(server).of("a").work() as work:  # the turn of the paused one
            work.counters.add("a", "predictions", "v", 1)
        with pytest.raises(sa.exc.DBAPIError, match="idle-in-transaction timeout") as ended:
            limit(connection)
    assert in_words(ended.value) == "the database ended a write that was paused"
    assert is_of_surroundings(ended.value)


def test_bytes_that_two_processes_find_damaged_are_set_aside_once(server: sa.Engine) -> None:
    with server.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO inbox (model, kind, arrived_at, events, body) VALUES ('a', 'labels', 0, 3, 'damaged')"
        )
    one, other = Inbox(server), Inbox(server)
    barrier = threading.Barrier(2)

    def look(inbox: Inbox) -> None:
        barrier.wait()
        assert inbox.take("a", most_events=9) == []

    threads = [threading.Thread(target=look, args=(inbox,)) for inbox in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(one.quarantined("a", most=9)) == 1
