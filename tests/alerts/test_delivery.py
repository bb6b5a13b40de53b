"""The outbox: at least once, each alert's notices in order, whatever the receiver does and whenever the sender dies."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.alerts.channels.webhook import Webhook
from driftline.alerts.delivery import (
    DIGEST_WAIT,
    DIGEST_WAIT_AT_MOST,
    MOST_NOTICES,
    MOST_OVER,
    REFUSALS,
    TRIED_AT_LEAST,
    TRIED_FOR,
    deliver_next,
    next_message,
)
from driftline.alerts.message import AlertView, Event, Message, Notice, Span
from driftline.config.load import load
from driftline.errors import RefusedError, UnavailableError, UnreachableError
from driftline.net.backoff import LONGEST_WAIT_SECONDS, wait_seconds
from driftline.net.outgoing import LONGEST_RETRY_SECONDS
from driftline.service.runtime import Service
from driftline.store.database import open_database
from driftline.store.outbox import NotificationRow, Outbox
from driftline.store.state import State
from tests.support.churn import MODEL, prediction, write_config
from tests.support.receiver import Answer, Server
from tests.support.steps import NOW, a_day, deliver

FIRED = b'{"event": "fired"}'


@pytest.fixture
def receiver() -> Iterator[Server]:
    server = Server(Answer(500), Answer(429))
    yield server
    server.close()


def notice(alert: str, number: int, *, model: str = MODEL, said_at: datetime = NOW) -> Notice:
    span = Span(NOW - timedelta(days=1), NOW)
    view = AlertView(
        id=alert,
        model=model,
        rule="accuracy-low",
        measure="accuracy",
        severity="page",
        title="Model accuracy below threshold!",
        status="firing",
        window=span,
        span=span,
        value=0.5,
        low=0.4,
        high=0.6,
        n=60,
        threshold=0.75,
        worst=0.5,
        value_now=None,
        fired_at=NOW,
        ended_at=None,
        findings=None,
        history=[],
    )
    return Notice(Event.FIRED, f"{alert}-{number}", said_at, "because", view)


def put(state: State, notices: Sequence[Notice], channel: str = "c") -> None:
    with state.work() as work:
        for one in notices:
            Outbox(work.connection).add(channel, one.alert.model, one.alert.id, msgspec.json.encode(one), NOW)


def count(state: State, what: str) -> int:
    with state.read() as read:
        return Outbox(read.connection).count(what).get("c", 0)


class Scripted:
    """A channel that does what it is told, and remembers what arrived."""

    def __init__(self, script: Sequence[str] = ()) -> None:
        self.script, self.arrived, self.tried = list(script), list[Message](), list[Message]()

    def send(self, message: Message) -> None:
        self.tried.append(message)
        answer = self.script.pop(0) if self.script else "ok"
        if answer in ("ok", "lost answer"):
            self.arrived.append(message)
        if answer == "ok":
            return
        raise {"refused": RefusedError, "unreachable": UnreachableError}.get(answer, UnavailableError)(answer)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(open_database(f"sqlite:///{tmp_path / 'state.db'}"))


def run(state: State, channel: Any, clock: Clock, *, until: timedelta = timedelta(hours=2)) -> None:
    """Deliver until nothing is due, moving the clock on, as a channel's thread does."""
    rng, end = random.Random(1), clock.now + until
    while clock.now < end:
        while deliver_next(state, "c", channel, clock, rng).tried:
            pass
        clock.now += timedelta(seconds=LONGEST_WAIT_SECONDS)


def test_a_failing_receiver_gets_each_message_in_the_end_and_in_order(state: State, receiver: Server) -> None:
    put(state, [notice("a", 1)])
    clock = Clock()
    channel = Webhook(receiver.url, now=clock)
    assert deliver_next(state, "c", channel, clock, random.Random(1)).tried
    put(state, [notice("a", 2)])
    run(state, channel, clock)
    told = [[one["key"] for one in request.json["notices"]] for request in receiver.taken]
    assert told == [["a-1"], ["a-2"]]
    assert [request.headers["idempotency-key"] for request in receiver.taken] == ["a-1", "a-2"]
    assert (count(state, "delivered"), count(state, "waiting")) == (2, 0)


def test_a_message_is_not_tried_before_it_is_due(state: State) -> None:
    put(state, [notice("a", 1)])
    clock, channel = Clock(), Scripted(["unreachable"])
    assert not deliver_next(state, "c", channel, clock, random.Random(1)).reached
    assert not deliver_next(state, "c", channel, clock, random.Random(1)).tried
    with state.read() as read:
        [row] = Outbox(read.connection).waiting("c", 10)
    assert (row.attempts, row.due_at > NOW, row.last_error) == (1, True, "unreachable")


def test_what_waits_of_one_model_goes_out_in_one_message_and_again_as_it_was(state: State) -> None:
    put(state, [notice("a", 1), notice("b", 1), notice("x", 1, model="other"), notice("a", 2)])
    clock, channel = Clock(), Scripted(["lost answer"])
    assert deliver_next(state, "c", channel, clock, random.Random(1)).tried
    put(state, [notice("a", 3), notice("c", 1)])
    run(state, channel, clock)
    first, *others = [[one.key for one in message.notices] for message in channel.arrived]
    assert first == ["a-1", "b-1", "a-2"]
    assert sorted(map(tuple, others)) == [("a-1", "b-1", "a-2"), ("a-3",), ("c-1",), ("x-1",)]
    again = [message.key for message in channel.arrived if len(message.notices) == 3]
    assert again == ["a-1", "a-1"]


def test_a_message_that_never_arrives_does_not_hold_up_other_alerts(state: State) -> None:
    put(state, [notice("a", 1)])
    clock, channel = Clock(), Scripted(["error"])
    assert deliver_next(state, "c", channel, clock, random.Random(1)).tried
    put(state, [notice("a", 2), notice("b", 1)])
    assert deliver_next(state, "c", channel, clock, random.Random(1)).tried
    assert [one.key for one in channel.arrived[0].notices] == ["b-1"]
    assert not deliver_next(state, "c", channel, clock, random.Random(1)).tried


def test_what_is_refused_again_and_again_is_set_aside_and_the_next_goes_on(state: State) -> None:
    put(state, [notice("a", 1)])
    clock, channel = Clock(), Scripted(["refused"] * REFUSALS)
    assert deliver_next(state, "c", channel, clock, random.Random(1)).tried
    put(state, [notice("a", 2)])
    run(state, channel, clock)
    assert [message.key for message in channel.arrived] == ["a-2"]
    assert (count(state, "refused"), count(state, "delivered"), len(channel.tried)) == (1, 1, REFUSALS + 1)


def test_a_receiver_that_was_away_for_long_may_refuse_as_often_as_any_other(state: State) -> None:
    put(state, [notice("a", 1)])
    script = ["error", "refused", "unreachable", "refused", "error", "refused", "lost answer", "refused", "error"]
    channel = Scripted(script)
    assert script.count("refused") == REFUSALS - 1
    run(state, channel, Clock())
    assert [message.key for message in channel.arrived] == ["a-1", "a-1"]
    assert (count(state, "refused"), count(state, "delivered")) == (0, 1)


def test_days_in_which_nothing_was_tried_give_nothing_up(state: State) -> None:
    """The service was stopped, or the clock jumped ahead, and the receiver is away for a moment after that."""
    put(state, [notice("a", 1)])
    clock, channel = Clock(), Scripted(["unreachable"] * (TRIED_AT_LEAST - 1))
    clock.now += 100 * TRIED_FOR
    run(state, channel, clock)
    assert [message.key for message in channel.arrived] == ["a-1"]
    assert (count(state, "expired"), count(state, "delivered")) == (0, 1)


def test_a_receiver_that_is_away_for_days_gets_only_what_is_still_news(state: State) -> None:
    put(state, [notice("a", 1)])
    clock, channel = Clock(), Scripted(["unreachable"] * 10_000)
    run(state, channel, clock, until=TRIED_FOR + timedelta(hours=1))
    assert (count(state, "expired"), count(state, "waiting")) == (1, 0)
    with state.read() as read:
        assert Outbox(read.connection).count_failed_attempts()["c"] == len(channel.tried)


def test_a_receiver_that_asks_for_time_gets_it(state: State) -> None:
    class Busy(Scripted):
        def send(self, message: Message) -> None:
            raise UnavailableError("busy", retry_after=1800.0)

    put(state, [notice("a", 1)])
    deliver_next(state, "c", Busy(), Clock(), random.Random(1))
    with state.read() as read:
        assert Outbox(read.connection).waiting("c", 1)[0].due_at >= NOW + timedelta(seconds=1800)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["m", "n"])), max_size=12),
    st.lists(st.sampled_from(["ok", "error", "lost answer", "unreachable", "refused"]), max_size=12),
    st.lists(st.integers(0, 3), max_size=12),
)
def test_each_alert_is_told_in_order_at_least_once_and_twice_only_with_the_same_key(
    alerts: list[tuple[str, str]], script: list[str], arrivals: list[int]
) -> None:
    state = State(open_database("sqlite://"))
    clock, channel, rng = Clock(), Scripted(script), random.Random(1)
    numbered = [notice(f"{model}{alert}", number, model=model) for number, (alert, model) in enumerate(alerts)]
    left = list(numbered)
    for some in arrivals:
        put(state, left[:some])
        left = left[some:]
        deliver_next(state, "c", channel, clock, rng)
        clock.now += timedelta(seconds=0.7)
    put(state, left)
    run(state, channel, clock)
    refused = {one.key for message in channel.tried[:] for one in message.notices} - {
        one.key for message in channel.arrived for one in message.notices
    }
    assert not refused or script.count("refused") >= REFUSALS
    for alert in {one.alert.id for one in numbered}:
        heard = [one.key for message in channel.arrived for one in message.notices if one.alert.id == alert]
        once = list(dict.fromkeys(heard))
        assert once == [one.key for one in numbered if one.alert.id == alert and one.key not in refused]
    bodies: dict[str, list[str]] = {}
    for message in channel.arrived:
        keys = [one.key for one in message.notices]
        assert bodies.setdefault(message.key, keys) == keys


@given(st.integers(0, 3 * MOST_NOTICES))
def test_a_message_has_a_bounded_number_of_notices(number: int) -> None:
    rows = [
        NotificationRow(id, "c", "m", f"a{id}", FIRED, None, 0, 0, NOW, "", "waiting") for id in range(1, number + 1)
    ]
    assert len(next_message(rows, NOW)) == min(number, MOST_NOTICES)


def over(id: int, model: str = "m", due: timedelta = timedelta()) -> NotificationRow:
    return NotificationRow(id, "c", model, f"a{id}", b'{"event": "over"}', None, 0, 0, NOW + due, "", "waiting")


def test_what_is_over_goes_out_as_one_digest_of_its_model_and_beside_nothing_else() -> None:
    fired = [NotificationRow(9, "c", "m", "a9", FIRED, None, 0, 0, NOW, "", "waiting")]
    waiting = [over(1), over(2, "n"), over(3), *fired]
    assert next_message(waiting, NOW) == [over(1), over(3)]
    assert next_message([*fired, over(10)], NOW) == fired


def test_a_digest_waits_for_more_of_its_model_but_not_for_ever() -> None:
    waiting = [over(1), over(2, due=DIGEST_WAIT), over(3, "n", due=DIGEST_WAIT)]
    assert next_message(waiting, NOW) == []
    assert next_message(waiting, NOW + DIGEST_WAIT) == waiting[:2]
    late = [over(1), over(2, due=DIGEST_WAIT_AT_MOST + DIGEST_WAIT)]
    assert next_message(late, NOW + DIGEST_WAIT_AT_MOST) == late
    fired = NotificationRow(9, "c", "m", "a9", FIRED, None, 0, 0, NOW, "", "waiting")
    assert next_message([*waiting, fired], NOW) == [fired]  # what goes on does not wait for it


@given(st.integers(1, 2 * MOST_OVER))
def test_a_digest_has_a_bounded_number_of_alerts(number: int) -> None:
    assert len(next_message([over(id) for id in range(number)], NOW)) == min(number, MOST_OVER)


@given(st.timedeltas(timedelta(days=-800), timedelta(days=800)))
def test_a_notice_waits_as_long_as_any_may_and_no_longer(ahead: timedelta) -> None:
    """Its time was reckoned by a clock that has been put back since: by a year, it may be."""
    row = NotificationRow(1, "c", "m", "a", FIRED, None, 0, 0, NOW + ahead, "", "waiting")
    waits = timedelta() < ahead <= timedelta(seconds=LONGEST_RETRY_SECONDS)
    assert next_message([row], NOW) == ([] if waits else [row])


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_waits_grow_up_to_a_bound_and_are_spread(attempts: int, seed: int) -> None:
    wait = wait_seconds(attempts, random.Random(seed))
    full = min(2.0 ** min(attempts - 1, 30), LONGEST_WAIT_SECONDS)
    assert full / 2 <= wait <= full


def test_an_alert_reaches_the_webhook_that_wants_it_and_no_other(tmp_path: Path) -> None:
    wanted, other, third = Server(), Server(), Server()
    more = "\n".join(
        [
            "notify:",
            f'  - {{webhook: "{wanted.url}", severity: [page], models: ["ch*"]}}',
            f'  - {{webhook: "{other.url}", severity: [info]}}',
            f'  - {{webhook: "{third.url}", models: [fraud]}}',
        ]
    )
    service = Service(load(write_config(tmp_path, more)))
    service.address = "http://127.0.0.1:8000"
    predictions, labels = a_day(0, right=30, wrong=30)
    deliver(service, "predictions", predictions)
    deliver(service, "labels", labels)
    deliver(service, "predictions", [prediction("next", 1.5, said=1)])
    service.start()
    wanted.wait_for(lambda got: len(got) == 1)
    service.stop()
    [request] = wanted.taken
    key, message = request.headers["idempotency-key"], request.json
    assert (message["event"], message["alert"]["model"], message["alert"]["value"]) == ("fired", MODEL, 0.5)
    assert message["text"].startswith("churn: ⚠️ Alert: Model accuracy below threshold!\naccuracy-low: window ")
    assert message["url"] == f"http://127.0.0.1:8000/alerts/{message['alert']['id']}"
    assert key == message["key"] == message["notices"][0]["key"]
    assert [point["value"] for point in message["notices"][0]["recent"]] == [0.5]
    assert other.got == third.got == []
    for receiver in (wanted, other, third):
        receiver.close()
