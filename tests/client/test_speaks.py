"""What the SDK says by itself, how it ends, and how an id becomes known: stories with a server on a real socket."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.client import Monitor, delivery, pace, speaking
from driftline.client.speaking import Voice, one_line
from driftline.errors import UsageError
from tests.support.sdk_server import (
    SLOW_SECONDS,
    Answer,
    Server,
    counted,
    error,
    free_port,
    monitoring,
    mute_server,
    python,
    served,
    until,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as one:
        yield one


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST_WAIT_SECONDS", 0.02)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "driftline" and one.levelno == logging.WARNING]


# ---- warnings -------------------------------------------------------------------------------------------------------


def test_a_wrong_model_name_is_told_at_once_with_the_servers_words(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.judge = lambda _: error(404, message="unknown model 'wether'; known: weather. Did you mean 'weather'?")
    with monitoring(server) as monitor:
        monitor.log({}, prediction=1)
        assert monitor.flush(SLOW_SECONDS)
        [told] = said(caplog)
        for _ in range(5):
            monitor.log({}, prediction=1)
            assert monitor.flush(SLOW_SECONDS)
        assert said(caplog) == [told]
    assert "Did you mean 'weather'?" in told and server.url in told and "1 predictions were refused" in told
    assert said(caplog)[1:] == [f"{told} [5 times since this was last said, for 5 events]"]


def test_each_refused_field_is_told_with_its_reason_and_an_id_and_nothing_of_the_row(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.script.append(error(422, (0, "features.wind"), (2, "prediction")))
    with monitoring(server, flush_seconds=3600.0) as monitor:
        ids = [monitor.log({"name": "Ada Lovelace"}, prediction=1) for _ in range(3)]
        assert monitor.flush(SLOW_SECONDS)
    wind, prediction = said(caplog)
    assert "features.wind: is wrong" in wind and ids[0] in wind
    assert "prediction: is wrong" in prediction and ids[2] in prediction
    assert "Lovelace" not in wind + prediction


def test_a_server_that_is_away_is_told_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "driftline")
    port = free_port()
    with monitoring(f"http://127.0.0.1:{port}") as monitor:
        monitor.log({}, prediction=1)
        until(lambda: monitor.stats.failed_requests >= 4)
        [away] = said(caplog)
        with served(port):
            assert monitor.flush(SLOW_SECONDS)
    assert "refused" in away and f":{port}" in away
    assert [one.getMessage() for one in caplog.records][1:] == [f"model weather: http://127.0.0.1:{port} answers again"]


def test_a_full_queue_is_told_where_it_happens(caplog: pytest.LogCaptureFixture) -> None:
    with mute_server() as url:
        monitor = Monitor("weather", url, buffer_events=3)
        for _ in range(10):
            monitor.log({}, prediction=1)
        [full] = said(caplog)
        assert "buffer full" in full and "3 wait" in full
        monitor.close(0.0)
    assert monitor.stats.dropped == {"buffer full": 7, "closed": 3}
    assert any("6 times since this was last said, for 6 events" in one for one in said(caplog))
    assert any("closed with 3 of 10 events not sent" in one for one in said(caplog))


def test_arguments_that_are_lost_are_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    nothing: Any = None
    with monitoring(server) as monitor:
        monitor.log(nothing, prediction=1)
        monitor.log({"image": object()}, prediction=object())
        monitor.log({"image": object()}, prediction=1)
        assert monitor.flush(SLOW_SECONDS)
        mapping, prediction, image = said(caplog)
    assert "features are not a mapping" in mapping
    assert "prediction came as builtins.object" in prediction
    assert "features.image cannot be sent" in image


def test_without_handlers_warnings_reach_stderr_and_the_end_of_the_process_says_what_is_left() -> None:
    told = python(
        """
        from driftline import Monitor
        monitor = Monitor("weather", "http://127.0.0.1:9")
        for _ in range(1000):
            monitor.log({}, prediction=1)
        """,
        says=True,
    )
    lines = told.splitlines()
    assert len(lines) == 2 and "does not take events" in lines[0]
    assert "closed with 1,000 of 1,000 events not sent" in lines[1]


def test_nothing_is_said_where_nothing_is_lost(server: Server) -> None:
    assert python(f"import driftline\ndriftline.Monitor('weather', {server.url!r}).log({{}}, prediction=1)") == ""
    assert len(server.ids()) == 1


class Handler(logging.Handler):
    """A handler that logs to the monitor, and raises."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__()
        self.monitor, self.calls = monitor, 0

    def emit(self, record: logging.LogRecord) -> None:
        self.calls += 1
        nothing: Any = None
        self.monitor.log(nothing, prediction=1)
        raise ArithmeticError


def test_a_handler_that_raises_and_logs_itself_breaks_nothing() -> None:
    with monitoring("http://127.0.0.1:9", flush_seconds=3600.0) as monitor:
        handler = Handler(monitor)
        logging.getLogger("driftline").addHandler(handler)
        try:
            nothing: Any = None
            monitor.log(nothing, prediction=1)
        finally:
            logging.getLogger("driftline").removeHandler(handler)
        assert handler.calls == 1 and monitor.stats.dropped == {"features are not a mapping": 2}


@given(st.text())
def test_what_is_said_is_one_line(text: str) -> None:
    told = one_line(text)
    assert told.isprintable() and (told == text or not text.isprintable())


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.integers(1, 5)), max_size=80))
def test_a_kind_is_said_at_once_and_then_at_most_once_a_minute(steps: list[tuple[str, int, int]]) -> None:
    now, told = [0.0], deque[tuple[float, str]]()
    voice = Voice("m", clock=lambda: now[0])
    voice._log = lambda level, text: told.append((now[0], text))  # type: ignore[method-assign]
    events = 0
    for kind, seconds, number in steps:
        now[0] += seconds
        voice.say(kind, kind, number)
        events += number
    for kind in {kind for kind, _, _ in steps}:
        moments = [at for at, text in told if text.startswith(kind)]
        first = next(sum(step[1] for step in steps[: index + 1]) for index, step in enumerate(steps) if step[0] == kind)
        assert moments[0] == first
        assert all(b - a >= speaking.SECONDS_BETWEEN for a, b in itertools.pairwise(moments))
    voice.say_losses()
    assert not voice._heard or not any(one.events for one in voice._heard.values())


def test_many_kinds_do_not_flood(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.judge = lambda request: error(422, *((index, f"f{index}") for index in range(len(request.rows))))
    with monitoring(server, flush_seconds=3600.0) as monitor:
        for _ in range(400):
            monitor.log({}, prediction=1)
        assert monitor.flush(SLOW_SECONDS)
        assert len(said(caplog)) == speaking.KINDS_AT_ONCE + 1


# ---- the end --------------------------------------------------------------------------------------------------------


def test_a_nightly_batch_is_sent_whole(server: Server) -> None:
    """20,000 rows in a loop, then close: 9,000 were dropped and 5,809 in no account."""
    monitor = Monitor("weather", server.url)
    for number in range(20_000):
        monitor.log({"age": 40.0, "region": "north"}, prediction=number % 2, id=f"row{number}")
    monitor.close()
    stats = monitor.stats
    assert (stats.sent, stats.queued, stats.logged) == (20_000, 0, 20_000) and not stats.dropped
    assert server.ids() == [f"row{number}" for number in range(20_000)]


def test_closing_goes_on_while_something_is_sent_and_the_account_is_whole(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Each batch takes a while: more than nothing happens for all of them, but each is progress."""
    server.judge = lambda _: (time.sleep(0.1), Answer(202, {}))[1]
    monitor = Monitor("weather", server.url, batch_events=10, flush_seconds=3600.0)
    for _ in range(100):
        monitor.log({}, prediction=1)
    monitor._shipper.begin_close(time.perf_counter() + SLOW_SECONDS)
    monitor._shipper.end_close(stalled_seconds=SLOW_SECONDS / 4)
    assert monitor.stats.sent == 100 and not said(caplog)


def test_what_is_not_sent_in_time_is_lost_and_counted_and_an_answer_that_comes_after_all_is_sent(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    going, go = threading.Event(), threading.Event()
    server.judge = lambda _: (going.set(), go.wait(SLOW_SECONDS), Answer(202, {}))[2]
    monitor = Monitor("weather", server.url, batch_events=10, flush_seconds=3600.0, timeout_seconds=SLOW_SECONDS)
    for _ in range(25):
        monitor.log({}, prediction=1)
    assert going.wait(SLOW_SECONDS)
    monitor.close(timeout_seconds=0.2)
    assert monitor.stats.dropped == {"closed": 25} and monitor.stats.queued == monitor.stats.sent == 0
    assert "closed with 25 of 25 events not sent" in said(caplog)[-1]
    monitor.close()
    assert monitor.stats.dropped == {"closed": 25}
    go.set()
    until(lambda: monitor.stats.sent == 10)  # the batch on its way; the others are not sent any more
    assert monitor.stats.dropped == {"closed": 15} and counted(monitor.stats) == monitor.stats.logged == 25
    until(lambda: not monitor._shipper._thread.is_alive())  # type: ignore[union-attr]
    assert len(server.ids()) == 10


def test_a_server_that_asks_for_a_pause_gets_it_at_the_end_too(server: Server) -> None:
    server.script.extend([error(429, Retry_After="0.2"), error(503, Retry_After="0.2"), error(503, Retry_After="0.2")])
    monitor = Monitor("weather", server.url, flush_seconds=3600.0)
    sent = monitor.log({}, prediction=1)
    monitor.close()
    assert server.ids() == [sent] and monitor.stats.sent == 1
    gaps = [b.at - a.at for a, b in itertools.pairwise(server.requests)]
    assert all(gap >= 0.2 for gap in gaps) and len(gaps) == 3


def test_a_pause_longer_than_the_time_left_is_not_waited_for(server: Server) -> None:
    server.judge = lambda _: error(503, Retry_After="300")
    monitor = Monitor("weather", server.url, flush_seconds=3600.0)
    monitor.log({}, prediction=1)
    monitor.close(timeout_seconds=SLOW_SECONDS)
    assert monitor.stats.dropped == {"closed": 1} and len(server.requests) <= 2


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_worker_of_multiprocessing_sends_what_waits(server: Server, way: str, tmp_path: Any) -> None:
    """It ends without the hooks of atexit."""
    script = tmp_path / "workers.py"
    script.write_text(
        f"""
import multiprocessing, sys
from driftline import Monitor

def work(number):
    monitor = Monitor("weather", {server.url!r}, flush_seconds=3600.0)
    for _ in range(10):
        monitor.log({{}}, prediction=number)

if __name__ == "__main__":
    context = multiprocessing.get_context({way!r})
    workers = [context.Process(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""
    )
    python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert sorted(row["prediction"] for row in server.rows("predictions")) == [0] * 10 + [1] * 10


def test_a_pool_that_was_forked_from_a_process_with_a_monitor_sends_what_waits(server: Server) -> None:
    python(
        f"""
        import concurrent.futures, multiprocessing
        from driftline import Monitor
        monitor = Monitor("weather", {server.url!r}, flush_seconds=3600.0)
        monitor.log({{}}, prediction="parent")
        def work(number):
            monitor.log({{}}, prediction=f"child {{number}}")
        with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            list(pool.map(work, range(4)))
        """
    )
    assert sorted(row["prediction"] for row in server.rows("predictions")) == [
        *(f"child {n}" for n in range(4)),
        "parent",
    ]


# ---- room -----------------------------------------------------------------------------------------------------------


def test_the_queue_is_bounded_in_bytes() -> None:
    with mute_server() as url:
        monitor = Monitor("weather", url, buffer_bytes=100_000)
        for _ in range(50):
            monitor.log({"text": "x" * 10_000}, prediction=1)
        assert monitor.stats.queued == 9 and monitor.stats.dropped == {"buffer full": 41}
        monitor.close(0.0)


def test_rows_that_are_not_encoded_yet_count_their_bytes_too() -> None:
    with mute_server() as url:
        monitor = Monitor("weather", url, buffer_bytes=100_000)
        for _ in range(50):
            monitor.log({"pixels": np.zeros(10_000, dtype=np.uint8)}, prediction=1)
        assert 5 <= monitor.stats.queued <= 10
        monitor.close(0.0)


def test_one_row_larger_than_the_queue_is_sent_alone(server: Server) -> None:
    with monitoring(server, buffer_bytes=1000) as monitor:
        sent = monitor.log({"text": "x" * 10_000}, prediction=1)
    assert server.ids() == [sent]


def test_the_bytes_of_what_is_sent_are_free_again(server: Server) -> None:
    with monitoring(server, buffer_bytes=50_000) as monitor:
        for _ in range(20):
            monitor.log({"text": "x" * 10_000}, prediction=1)
            assert monitor.flush(SLOW_SECONDS)
        assert monitor._shipper._accounts.bytes == 0 and monitor.stats.sent == 20


def test_a_batch_program_may_wait_for_room(server: Server) -> None:
    with monitoring(server, buffer_events=50, batch_events=10, block_seconds=SLOW_SECONDS) as monitor:
        ids = [monitor.log({}, prediction=1) for _ in range(1000)]
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.sent == 1000 and not monitor.stats.dropped
    assert server.ids() == ids


def test_a_server_that_takes_nothing_is_waited_for_once_and_not_by_every_call() -> None:
    with mute_server() as url:
        monitor = Monitor("weather", url, buffer_events=5, block_seconds=0.3)
        began = time.perf_counter()
        for _ in range(200):
            monitor.log({}, prediction=1)
        assert 0.3 <= time.perf_counter() - began < SLOW_SECONDS  # not 195 times 0.3
        assert monitor.stats.dropped == {"buffer full": 195}
        monitor.close(0.0)


@pytest.mark.parametrize("wrong", [{"buffer_bytes": 0}, {"block_seconds": -1}, {"block_seconds": float("nan")}])
def test_settings_of_room_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Monitor("weather", **wrong)


# ---- refusals that name no row --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 422])
@settings(max_examples=15)
@given(bad=st.sets(st.integers(0, 99), max_size=4))
def test_rows_that_a_refusal_does_not_name_are_found_and_cost_no_other(status: int, bad: set[int]) -> None:
    with served() as server, monitoring(server, flush_seconds=3600.0) as monitor:
        server.judge = lambda request: (
            error(status) if any(row["prediction"] in bad for row in request.rows) else Answer(202, {})
        )
        for number in range(100):
            monitor.log({}, prediction=number)
        assert monitor.flush(SLOW_SECONDS)
        assert [row["prediction"] for row in server.rows("predictions")] == [n for n in range(100) if n not in bad]
        assert monitor.stats.dropped == ({f"refused: status {status}": len(bad)} if bad else {})


def test_a_server_that_refuses_everything_is_not_asked_for_each_row(server: Server) -> None:
    server.judge = lambda _: error(400)
    with monitoring(server, flush_seconds=3600.0, batch_events=1000) as monitor:
        for _ in range(1000):
            monitor.log({}, prediction=1)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"refused: status 400": 1000}
    assert len(server.requests) <= 2 * delivery.SPLITS + 1


@pytest.mark.parametrize("status", [401, 403, 404, 415])
def test_a_refusal_of_the_whole_is_not_asked_again(server: Server, status: int) -> None:
    server.judge = lambda _: error(status)
    with monitoring(server, flush_seconds=3600.0) as monitor:
        for _ in range(100):
            monitor.log({}, prediction=1)
        assert monitor.flush(SLOW_SECONDS)
    assert len(server.requests) == 1


# ---- how an id becomes known ----------------------------------------------------------------------------------------


def test_the_id_of_a_watched_call_is_that_of_the_mapping(server: Server) -> None:
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    with monitoring(server, version="v1") as monitor:

        @monitor.watch
        def predict(features: Mapping[str, float]) -> dict[str, Any]:
            return {"prediction": 1, "score": 0.9, "id": "order-4711", "time": at, "version": "v2", "more": 1}

        answer = predict({"age": 1.0})
        assert answer == {"prediction": 1, "score": 0.9, "id": "order-4711", "time": at, "version": "v2", "more": 1}
        assert monitor.last_id() == "order-4711"
        monitor.label(answer["id"], 0)
    [row] = server.rows("predictions")
    assert row.pop("latency_seconds") >= 0
    assert datetime.fromisoformat(row.pop("time")) == at
    assert row == {"id": "order-4711", "features": {"age": 1.0}, "prediction": 1, "score": 0.9, "version": "v2"}
    assert server.ids("labels") == ["order-4711"]


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_what_is_missing_in_the_mapping_is_as_if_not_there(server: Server, gap: Any) -> None:
    with monitoring(server, version="v1") as monitor:
        predict: Any = monitor.watch(
            lambda features: {"prediction": 1, "score": gap, "id": gap, "time": gap, "version": gap}
        )
        predict({})
        made = monitor.last_id()
    [row] = server.rows("predictions")
    assert uuid.UUID(made).version == 7 and row["id"] == made and row["version"] == "v1" and "score" not in row


def test_the_id_may_be_an_argument(server: Server) -> None:
    with monitoring(server) as monitor:

        @monitor.watch(id="order")
        def predict(order: str, features: Mapping[str, float], *, more: int = 0) -> int:
            return 1

        assert predict("o1", {"age": 1.0}) == 1
        predict(features={"age": 2.0}, order="o2")
        predict("o3", features={"age": 3.0}, more=1)
        assert monitor.last_id() == "o3"
    assert server.ids() == ["o1", "o2", "o3"]
    assert [row["features"]["age"] for row in server.rows("predictions")] == [1.0, 2.0, 3.0]


def test_the_id_may_be_a_function_of_the_arguments(server: Server) -> None:
    with monitoring(server) as monitor:

        @monitor.watch(id=lambda features: features.get("order"))
        async def predict(features: dict[str, Any]) -> int:
            features.clear()
            return 1

        async def main() -> list[str | None]:
            told = []
            for features in ({"order": "o1"}, {}, {"order": "o2"}):
                await predict(features)
                told.append(monitor.last_id())
            return told

        first, made, third = asyncio.run(main())
    assert first == "o1" and third == "o2" and uuid.UUID(made).version == 7
    assert server.ids() == [first, made, third]


def test_a_function_of_the_arguments_that_raises_costs_the_id_only(server: Server) -> None:
    with monitoring(server) as monitor:
        predict: Any = monitor.watch(id=lambda features: features["order"])(lambda features: 1)
        assert predict({}) == 1
        made = monitor.last_id()
    assert server.ids() == [made]


@pytest.mark.parametrize(
    ("source", "match"),
    [("ordr", "Did you mean 'order'.*features.*'ordr'"), (5, "5 came; allowed is the name of an argument")],
)
def test_an_argument_that_the_function_has_not_is_told_where_it_is_decorated(source: Any, match: str) -> None:
    with monitoring("http://127.0.0.1:9") as monitor, pytest.raises(UsageError, match=match):

        @monitor.watch(id=source)
        def predict(order: str, features: Mapping[str, float]) -> int:
            return 1


def test_an_id_is_learnt_by_its_own_thread_alone(server: Server) -> None:
    with monitoring(server) as monitor:
        predict: Any = monitor.watch(lambda features: features["n"])
        learnt: dict[int, list[str | None]] = {}
        meet = threading.Barrier(4)

        def work(mine: int) -> None:
            learnt[mine] = [monitor.last_id()]
            for _ in range(50):
                predict({"n": mine})
                meet.wait(SLOW_SECONDS)  # all have called: each learns its own
                learnt[mine].append(monitor.last_id())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SLOW_SECONDS)
        assert monitor.last_id() is None
    of = {row["id"]: row["features"]["n"] for row in server.rows("predictions")}
    for mine, ids in learnt.items():
        assert ids[0] is None and len(set(ids)) == 51
        assert all(of[id_] == mine for id_ in ids[1:] if id_ is not None)


def test_an_id_is_learnt_by_its_own_task_alone(server: Server) -> None:
    with monitoring(server) as monitor:

        @monitor.watch
        async def predict(features: Mapping[str, int]) -> int:
            await asyncio.sleep(0.001 * (features["n"] % 3))
            return features["n"]

        async def handle(number: int) -> tuple[int, str | None]:
            await predict({"n": number})
            await asyncio.sleep(0.002)  # others are answered meanwhile
            return number, monitor.last_id()

        async def main() -> list[tuple[int, str | None]]:
            return await asyncio.gather(*(handle(number) for number in range(30)))

        pairs = asyncio.run(main())
    of = {row["id"]: row["features"]["n"] for row in server.rows("predictions")}
    assert [of[id_] for _, id_ in pairs if id_ is not None] == [number for number, _ in pairs] == list(range(30))


def test_a_call_that_raises_leaves_no_id_of_another_and_monitors_keep_apart(server: Server) -> None:
    with monitoring(server) as one, monitoring(server) as other:

        @one.watch
        def predict(features: Mapping[str, Any]) -> int:
            if not features:
                raise LookupError
            return 1

        predict({"n": 1})
        assert one.last_id() is not None and other.last_id() is None
        inside = contextvars.copy_context()
        assert inside.run(one.last_id) == one.last_id()
        with pytest.raises(LookupError):
            predict({})
        assert one.last_id() is None and inside.run(one.last_id) is not None


def test_the_last_id_of_a_monitor_that_is_gone_is_not_that_of_a_new_one(server: Server) -> None:
    for _ in range(5):
        with monitoring(server) as monitor:
            assert monitor.last_id() is None
            predict: Any = monitor.watch(lambda features: 1)
            predict({})
            assert monitor.last_id() is not None
