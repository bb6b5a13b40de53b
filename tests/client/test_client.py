"""The SDK: stories with a server on a real socket, and the laws of ids and of the accounts."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import prometheus_client
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import driftline
from driftline.client import Monitor, Stats, accounts, delivery, encoding, ids, pace, transport
from driftline.errors import DriftlineError, UsageError
from tests.support.sdk_server import (
    SLOW_SECONDS,
    Answer,
    Request,
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


# ---- what arrives ---------------------------------------------------------------------------------------------------


def test_predictions_and_labels_arrive_whole_and_in_order(server: Server) -> None:
    before = datetime.now(UTC)
    with monitoring(server, version="v1") as monitor:
        first = monitor.log({"wind": 4.1, "sky": "grey"}, prediction="rain", score={"rain": 0.7, "sun": 0.3})
        second = monitor.log({"wind": 1.0}, prediction="sun", id="mine", version="v2", latency_seconds=0.25)
        monitor.label(first, "sun")
        assert monitor.flush(SLOW_SECONDS)
        wanted = Stats(queued=0, sent=3, dropped={}, failed_requests=0, errors=0, last_error="", logged=3, left_out={})
        assert monitor.stats == wanted
    rain, sun = server.rows("predictions")
    [label] = server.rows("labels")
    for row in (rain, sun, label):
        moment = datetime.fromisoformat(row.pop("time"))
        assert before - timedelta(milliseconds=1) <= moment <= datetime.now(UTC)
    assert rain == {
        "id": first,
        "version": "v1",
        "features": {"wind": 4.1, "sky": "grey"},
        "prediction": "rain",
        "score": {"rain": 0.7, "sun": 0.3},
    }
    assert sun == {
        "id": "mine",
        "version": "v2",
        "features": {"wind": 1.0},
        "prediction": "sun",
        "latency_seconds": 0.25,
    }
    assert label == {"id": first, "label": "sun"}
    assert second == "mine"
    assert uuid.UUID(first).version == 7


def test_requests_are_what_the_server_takes(server: Server) -> None:
    with Monitor("a model/β", f"{server.url}/behind/", token="secret") as monitor:
        monitor.log({}, prediction=1)
        assert monitor.flush(SLOW_SECONDS)
    [request] = server.requests
    assert request.path == "/behind/api/v1/models/a%20model%2F%CE%B2/predictions"
    assert request.headers["content-type"] == "application/x-ndjson"
    assert request.headers["authorization"] == "Bearer secret"
    assert uuid.UUID(request.key).version == 7


def test_predictions_go_before_the_labels_of_their_batch_in_few_requests_on_one_connection(server: Server) -> None:
    with monitoring(server, flush_seconds=3600.0, batch_events=1000) as monitor:
        for part in range(2):
            for number in range(100):
                monitor.label(monitor.log({"n": 100 * part + number}, prediction=0), 0)
            assert monitor.flush(SLOW_SECONDS)
    assert [request.kind for request in server.requests] == ["predictions", "labels"] * 2
    assert [row["features"]["n"] for row in server.rows("predictions")] == list(range(200))
    assert server.ids() == server.ids("labels")
    assert server.connections == 1


def test_a_full_batch_does_not_wait_for_the_clock(server: Server) -> None:
    with monitoring(server, flush_seconds=3600.0, batch_events=10) as monitor:
        for _ in range(25):
            monitor.log({}, prediction=0)
        until(lambda: len(server.ids()) >= 20)


def test_a_monitor_is_closed_once_and_takes_nothing_more(server: Server) -> None:
    with monitoring(server, flush_seconds=3600.0) as monitor:
        sent = monitor.log({}, prediction=0)
    assert server.ids() == [sent]
    until(lambda: server.connections == 1 and not server.open)
    monitor.close()
    monitor.log({}, prediction=0)
    assert monitor.flush()
    assert monitor.stats.dropped == {"closed": 1}


def test_what_the_caller_changes_after_the_call_is_not_sent(server: Server) -> None:
    with monitoring(server, flush_seconds=3600.0) as monitor:
        features, score = {"wind": 1.0}, {"rain": 0.5}
        monitor.log(features, prediction="rain", score=score)
        features["wind"] = score["rain"] = 9.0
        del features["wind"]
    [row] = server.rows("predictions")
    assert row["features"] == {"wind": 1.0} and row["score"] == {"rain": 0.5}


# ---- a server in trouble --------------------------------------------------------------------------------------------


def test_nothing_is_lost_while_the_server_is_down() -> None:
    port = free_port()
    with monitoring(f"http://127.0.0.1:{port}", batch_events=7) as monitor:
        ids = [monitor.log({"n": number}, prediction=0) for number in range(50)]
        until(lambda: monitor.stats.failed_requests >= 2)
        assert not monitor.flush(0.01)
        assert monitor.stats.queued == 50 and "refused" in monitor.stats.last_error
        server = Server(port)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.sent == 50
    assert server.ids() == ids
    server.close()


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408, 200, 301])
def test_a_batch_that_was_not_taken_comes_again_with_the_same_key(server: Server, status: int) -> None:
    server.script.extend([Answer(status, b"<html>later"), error(status)])
    with monitoring(server) as monitor:
        sent = monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.failed_requests == 2 and monitor.stats.sent == 2 and not monitor.stats.dropped
        assert monitor.stats.last_error == f"status {status}: no"
    assert [request.status for request in server.requests] == [status, status, 202, 202]
    first, second, third, fourth = (request.key for request in server.requests)
    assert first == second == third != fourth
    assert server.ids()[0] == sent


def test_an_answer_that_got_lost_is_asked_for_again_with_the_same_key(server: Server) -> None:
    """The server took the batch and fell over while it said so."""
    server.script.append(Answer(202, b"{}", {"Content_Length": "100", "Connection": "close"}))
    with monitoring(server) as monitor:
        sent = monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.sent == 1
    assert {request.key for request in server.requests} == {server.requests[0].key}
    assert set(server.ids()) == {sent}


def test_the_pause_that_the_server_asks_for_is_kept(server: Server) -> None:
    server.script.append(error(503, Retry_After="1"))
    with monitoring(server) as monitor:
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
    first, second = server.requests
    assert second.at - first.at >= 1.0


def test_waits_grow_with_jitter_and_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_WAIT_SECONDS", 0.08)
    server.script.extend([error(500)] * 6)
    waits: list[float] = []
    with monitoring(server) as monitor:
        stop = monitor._shipper._pace.closing
        monkeypatch.setattr(stop, "wait", waits.append)
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
    for wait, most in zip(waits, [0.02, 0.04, 0.08, 0.08, 0.08, 0.08], strict=True):
        assert most / 2 <= wait <= most


@given(
    st.one_of(st.text(), st.floats().map(str), st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")))
)
@example("nan")
@example("inf")
def test_any_retry_after_is_a_pause_of_at_most_five_minutes(header: str) -> None:
    assert 0.0 <= transport.seconds_of(header) <= 300.0


def test_a_retry_after_may_be_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert 50 < transport.seconds_of(soon.strftime("%a, %d %b %Y %H:%M:%S GMT")) <= 60


def test_a_kept_connection_that_the_server_ended_is_no_failure(server: Server) -> None:
    """Servers hang up on those who say nothing for a while."""
    server.judge = lambda _: Answer(202, {})
    with monitoring(server) as monitor:
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        connection = monitor._shipper._transport._connection
        assert connection is not None
        connection.sock.shutdown(socket.SHUT_RDWR)
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.failed_requests == 0 and monitor.stats.sent == 2
    assert server.connections == 2


def test_a_server_that_never_answers_holds_up_nobody() -> None:
    with mute_server() as url:
        monitor = Monitor("weather", url, flush_seconds=0.02, timeout_seconds=30.0)
        monitor.log({}, prediction=0)
        time.sleep(0.1)
        for _ in range(1000):
            monitor.log({}, prediction=0)
        began = time.perf_counter()
        assert not monitor.flush(0.1)
        monitor.close(0.5)
        assert time.perf_counter() - began >= 0.5
        assert monitor.stats.dropped == {"closed": 1001} and monitor.stats.queued == 0


def test_a_server_that_answers_too_late_is_tried_again() -> None:
    with mute_server() as url, monitoring(url, timeout_seconds=0.05) as monitor:
        monitor.log({}, prediction=0)
        until(lambda: monitor.stats.failed_requests >= 2)
        assert "timed out" in monitor.stats.last_error and monitor.stats.queued == 1


def test_closing_without_a_server_is_quick_and_counts_what_is_lost() -> None:
    monitor = Monitor("weather", f"http://127.0.0.1:{free_port()}", batch_events=10)
    for number in range(50):
        monitor.log({}, prediction=0)
        monitor.label(str(number), 0)
    monitor.close(SLOW_SECONDS)
    assert monitor.stats.failed_requests <= 3  # one more try, and no pause before it
    assert monitor.stats.dropped == {"closed": 100} and monitor.stats.queued == 0
    assert monitor.flush(0.0)


def test_garbage_for_an_answer_does_not_end_the_shipping() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def speak() -> None:
            for garbage in (b"", b"\x00\xff\n\n", b"HTTP/1.1 200\r\nContent-Length: -5\r\n\r\n", b"HTTP/9 abc\r\n\r\n"):
                other, _ = listening.accept()
                other.recv(65536)
                other.sendall(garbage)
                other.close()

        speaker = threading.Thread(target=speak, daemon=True)
        speaker.start()
        monitor = Monitor("weather", f"http://127.0.0.1:{port}", flush_seconds=0.02)
        sent = monitor.log({}, prediction=0)
        speaker.join(SLOW_SECONDS)
        assert not speaker.is_alive()
    server = Server(port)
    assert monitor.flush(SLOW_SECONDS)
    assert server.ids() == [sent]
    monitor.close()
    server.close()


# ---- a server that refuses ------------------------------------------------------------------------------------------


def test_refused_rows_are_dropped_with_their_field_and_the_others_go_on(server: Server) -> None:
    server.script.extend([error(422, (1, "features.wind"), (3, "prediction"), message="row 1: is wrong"), error(503)])
    with monitoring(server, flush_seconds=3600.0) as monitor:
        ids = [monitor.log({}, prediction=0) for _ in range(5)]
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"refused: features.wind": 1, "refused: prediction": 1}
        assert monitor.stats.sent == 3
    assert server.ids() == [ids[0], ids[2], ids[4]]
    refused, away, taken = (request.key for request in server.requests)
    assert refused != away == taken


def test_many_refusals_that_the_server_lists_few_at_a_time(server: Server) -> None:
    """It names a hundred rows at most in one answer, and the rest after the next try."""

    def judge(request: Request) -> Answer:
        wrong = [(index, "x") for index, row in enumerate(request.rows) if row["prediction"]]
        return error(422, *wrong[:3]) if wrong else Answer(202, {})

    server.judge = judge
    with monitoring(server, flush_seconds=3600.0, batch_events=1000) as monitor:
        for number in range(400):
            monitor.log({}, prediction=number % 8 > 0)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"refused: x": 350} and monitor.stats.sent == 50


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415, 422])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff<html>",
        b"[]",
        b'{"error": 3}',
        b'{"error": {"rows": 5}}',
        b'{"error": {"rows": [{"index": []}, 3, null]}}',
        b'{"error": {"rows": [{"index": 7, "field": "x"}, {"index": -1}]}}',
    ],
)
def test_a_refusal_without_rows_costs_its_batch_and_no_more(server: Server, status: int, body: bytes) -> None:
    server.script.append(Answer(status, body))
    with monitoring(server) as monitor:
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {f"refused: status {status}": 1}
        assert monitor.stats.last_error.startswith(f"status {status}: ")
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.sent == 1


def test_a_batch_that_is_too_large_is_halved_in_order(server: Server) -> None:
    def judge(request: Request) -> Answer:
        fits = len(request.rows) <= 3 and request.rows[0]["prediction"] != 5
        return Answer(202, {}) if fits else error(413)

    server.judge = judge
    with monitoring(server, flush_seconds=3600.0) as monitor:
        ids = [monitor.log({}, prediction=number) for number in range(20)]
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"refused: status 413": 1}
    assert server.ids() == ids[:5] + ids[6:]
    assert len({request.key for request in server.requests}) == len(server.requests)


def test_long_batches_are_cut_before_they_are_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BODY_BYTES", 2000)
    with monitoring(server, flush_seconds=3600.0) as monitor:
        ids = [monitor.log({"text": "x" * 500}, prediction=0) for _ in range(20)]
        large = monitor.log({"text": "x" * 5000}, prediction=0)
    assert server.ids() == [*ids, large]
    assert all(int(one.headers["content-length"]) <= 2100 for one in server.requests if len(one.rows) > 1)


def test_reasons_are_few_whatever_the_server_says(server: Server) -> None:
    server.judge = lambda request: error(422, *((index, f"f{index}") for index in range(len(request.rows))))
    with monitoring(server, flush_seconds=3600.0) as monitor:
        for _ in range(500):
            monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        assert sum(monitor.stats.dropped.values()) == 500 and len(monitor.stats.dropped) <= accounts.REASONS + 1
        assert monitor.stats.dropped["other"] == 500 - accounts.REASONS


# ---- the hot path ---------------------------------------------------------------------------------------------------


def test_a_full_buffer_drops_what_is_new(server: Server) -> None:
    server.script.append(error(503, Retry_After="60"))
    monitor = Monitor("weather", server.url, buffer_events=10, batch_events=3, flush_seconds=0.02)
    ids = [monitor.log({}, prediction=0) for _ in range(2)]
    until(lambda: monitor.stats.failed_requests == 1)  # what is on its way takes up its place, too
    ids += [monitor.log({}, prediction=0) for _ in range(23)]
    assert monitor.stats.queued == 10 and monitor.stats.dropped == {"buffer full": 15}
    monitor.close(SLOW_SECONDS)
    assert server.ids() == ids[:10]
    assert counted(monitor.stats) == 25


class Hostile(Mapping[str, Any]):
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise ArithmeticError(name)

    def _fail(self, *_: Any) -> Any:
        raise ArithmeticError

    __getitem__ = __iter__ = __len__ = __eq__ = __bool__ = __repr__ = __str__ = _fail  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class Matryoshka:
    """A number that is never plain."""

    def item(self) -> Matryoshka:
        return Matryoshka()


def round_and_round() -> list[Any]:
    round_: list[Any] = []
    round_.append(round_)
    return round_


STRANGE = st.one_of(
    st.builds(Hostile),
    st.builds(Matryoshka),
    st.builds(round_and_round),
    st.builds(object),
    st.sampled_from([np.arange(3), pd.NA, pd.Series([1.0]), datetime.min, datetime.max, "\ud800", 10**5000, type, ...]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
    st.dictionaries(st.one_of(st.text(max_size=3), st.integers(), st.none(), st.tuples()), st.floats(), max_size=3),
    st.lists(st.tuples(st.text(max_size=2), st.integers()), max_size=2),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(STRANGE, STRANGE, STRANGE, STRANGE, STRANGE, STRANGE, STRANGE), max_size=12))
def test_no_argument_raises_and_every_call_is_accounted_for(calls: list[tuple[Any, ...]]) -> None:
    with served() as server, monitoring(server, flush_seconds=3600.0) as monitor:
        for features, prediction, score, version, id_, when, latency in calls:
            given_id = monitor.log(
                features,
                prediction=prediction,
                score=score,
                version=version,
                id=id_,
                time=when,
                latency_seconds=latency,
            )
            assert known(id_) is None or given_id is id_
            monitor.label(id_, prediction, time=when)
        good = monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        stats = monitor.stats
        assert counted(stats) == 2 * len(calls) + 1 and stats.queued == 0
        assert stats.sent == len(server.ids()) + len(server.ids("labels"))
        assert server.ids()[-1] == good
        assert set(stats.dropped) <= {
            "cannot be encoded",
            "features are not a mapping",
            "features or score unreadable",
            "label is missing",
        }


def known(id_: Any) -> Any:
    """An id that is one: not missing."""
    try:
        return None if encoding.is_missing(id_) else id_
    except Exception:  # noqa: BLE001
        return id_


@pytest.mark.parametrize("features", [None, [("wind", 1.0)], (), "wind", pd.Series({"wind": 1.0})])
def test_features_that_are_no_mapping_are_counted(features: Any) -> None:
    with monitoring("http://127.0.0.1:9") as monitor:
        assert uuid.UUID(monitor.log(features, prediction=0)).version == 7
        assert monitor.stats.dropped == {"features are not a mapping": 1}
        assert monitor._shipper._thread is None


@pytest.mark.parametrize("when", [5, "2013-04-01", datetime])
def test_a_time_that_is_none_is_counted(server: Server, when: Any) -> None:
    with monitoring(server) as monitor:
        monitor.log({}, prediction=0, time=when)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"cannot be encoded": 1}
    assert not server.requests


def test_eight_threads_lose_and_double_nothing(server: Server) -> None:
    with monitoring(server) as monitor:
        given_ids: list[list[str]] = [[] for _ in range(8)]

        def work(mine: list[str]) -> None:
            mine.extend(monitor.log({"n": number}, prediction=0) for number in range(1000))

        threads = [threading.Thread(target=work, args=(mine,)) for mine in given_ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.sent == 8000
    assert Counter(server.ids()) == Counter(id_ for mine in given_ids for id_ in mine)
    assert set(Counter(server.ids()).values()) == {1}


def test_the_bound_holds_with_many_threads() -> None:
    monitor = Monitor("weather", f"http://127.0.0.1:{free_port()}", buffer_events=500)
    threads = [threading.Thread(target=lambda: [monitor.log({}, prediction=0) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monitor.stats.queued == 500 and monitor.stats.dropped == {"buffer full": 1500}
    monitor.close()


def test_a_log_within_a_log_does_not_hang(server: Server) -> None:
    """A signal handler or a destructor may log while the lock is held."""
    with monitoring(server) as monitor:
        with monitor._shipper._lock, ids._ids._lock:
            monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
    assert len(server.ids()) == 1


def test_a_fault_of_ours_costs_a_batch_and_not_the_thread(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with monitoring(server) as monitor:
        with monkeypatch.context() as patch:
            patch.setattr(monitor._shipper._transport, "post", lambda *_: 1 / 0)
            monitor.log({}, prediction=0)
            assert monitor.flush(SLOW_SECONDS)
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
        assert monitor.stats.dropped == {"failed: ZeroDivisionError": 1} and monitor.stats.sent == 1


def test_without_threads_the_events_wait(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    with monitoring(server) as monitor:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start")))
            monitor.log({}, prediction=0)
            assert not monitor.flush(3600.0)  # there is nobody to wait for
        assert monitor.stats.queued == 1 and monitor.stats.last_error == "can't start"
        monitor.log({}, prediction=0)
        assert monitor.flush(SLOW_SECONDS)
    assert len(server.ids()) == 2


# ---- ids ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, (1 << 48) * 1_000_000 - 1), min_size=1, max_size=50))
def test_ids_are_uuid7_unique_and_grow_whatever_the_clock_does(moments: list[int]) -> None:
    make = ids.Ids()
    made = [make(now_ns) for now_ns in moments]
    assert made == sorted(set(made))
    highest = 0
    for text, now_ns in zip(made, moments, strict=True):
        one = uuid.UUID(text)
        assert str(one) == text and one.version == 7 and one.variant == uuid.RFC_4122
        highest = max(highest, now_ns // 1_000_000)
        assert one.int >> 80 == highest


def test_a_million_ids_in_one_millisecond_stay_in_it() -> None:
    make = ids.Ids()
    assert len({make(0) for _ in range(20_000)}) == 20_000
    assert uuid.UUID(make(0)).int >> 80 == 0


def test_seeded_randomness_is_neither_used_nor_touched() -> None:
    random.seed(7)
    state = random.getstate()
    with monitoring("http://127.0.0.1:9") as monitor:
        first = monitor.log({}, prediction=0)
        until(lambda: monitor.stats.failed_requests > 0)
    assert random.getstate() == state
    random.seed(7)
    assert ids.Ids()(0)[14:] != ids.Ids()(0)[14:] != first[14:]


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"model": "  "},
        {"model": None},
        {"model": "\ud800"},
        {"url": "127.0.0.1:8000"},
        {"url": "ftp://host"},
        {"url": "http://"},
        {"url": "http://host:99999"},
        {"url": "http://host:x"},
        {"url": "http://[::1"},
        {"url": "http://host/a b"},
        {"url": "http://host/\n"},
        {"url": "http://host?x=1"},
        {"url": None},
        {"token": ""},
        {"token": "a\r\nX: y"},
        {"token": "ü"},
        {"token": 5},
        {"buffer_events": 0},
        {"buffer_events": 1.5},
        {"batch_events": -1},
        {"batch_events": "5"},
        {"flush_seconds": 0},
        {"flush_seconds": float("nan")},
        {"flush_seconds": float("inf")},
        {"timeout_seconds": -1.0},
        {"timeout_seconds": "5"},
    ],
)
def test_a_setting_that_does_not_fit_is_named(wrong: dict[str, Any]) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(UsageError, match=name) as caught:
        Monitor(**({"model": "weather"} | wrong))
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, DriftlineError)
    if name == "token" and value:
        assert str(value) not in str(caught.value)
    else:
        assert repr(value) in str(caught.value) or name == "token"


def test_who_stands_in_an_address_is_not_repeated() -> None:
    for url in ("http://user:word@host", "https://word@host:1/a@b", "http://user:wo/rd@host"):
        with pytest.raises(UsageError, match=r"url 'https?://…@(host|b).* came") as caught:
            Monitor("weather", url=url)
        assert "word" not in str(caught.value) and "rd@" not in str(caught.value)


def test_the_public_name_is_this_monitor() -> None:
    assert driftline.Monitor is Monitor


# ---- watch ----------------------------------------------------------------------------------------------------------


def observed() -> float:
    return prometheus_client.REGISTRY.get_sample_value("request_processing_seconds_count") or 0.0


def test_a_watched_function_is_timed_and_logged(server: Server) -> None:
    with monitoring(server) as monitor:

        @monitor.watch
        def predict(features: dict[str, float], *, shout: bool = False) -> str:
            """Says what the weather will be."""
            time.sleep(0.01)
            features.clear()
            return "RAIN" if shout else "rain"

        before = observed()
        assert predict({"wind": 1.0}) == "rain"
        assert predict(features={"wind": 2.0}, shout=True) == "RAIN"
        assert observed() == before + 2
        assert predict.__name__ == "predict" and predict.__doc__ == "Says what the weather will be."
    rows = server.rows("predictions")
    assert [row["features"] for row in rows] == [{"wind": 1.0}, {"wind": 2.0}]  # as they were before the call
    assert [row["prediction"] for row in rows] == ["rain", "RAIN"]
    assert all(0.01 <= row["latency_seconds"] < SLOW_SECONDS for row in rows)


@pytest.mark.parametrize("as_object", [False, True])
def test_an_async_function_is_watched_while_it_waits(server: Server, as_object: bool) -> None:
    async def predict(features: Mapping[str, float]) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        if features.get("wind", 0) > 5:
            raise LookupError("storm")
        return {"prediction": "rain", "score": {"rain": features["wind"]}, "more": object()}

    class Model:
        async def __call__(self, features: Mapping[str, float]) -> dict[str, Any]:
            return await predict(features)

    with monitoring(server) as monitor:
        watched: Any = monitor.watch(Model() if as_object else predict)

        async def main() -> list[Any]:
            calls = (watched({"wind": wind}) for wind in (0.1, 0.2, 9.0))
            return await asyncio.gather(*calls, return_exceptions=True)

        one, two, storm = asyncio.run(main())
        assert one["score"] == {"rain": 0.1} and set(two) == {"prediction", "score", "more"}
        assert isinstance(storm, LookupError) and monitor.stats.errors == 1
    rows = server.rows("predictions")
    assert sorted(row["score"]["rain"] for row in rows) == [0.1, 0.2]
    assert all(row["prediction"] == "rain" and row["latency_seconds"] >= 0.01 for row in rows)


@pytest.mark.parametrize("fault", [ValueError("mine"), StopIteration(3), RuntimeError("x")])
def test_exceptions_pass_through_and_are_counted(fault: Exception) -> None:
    with monitoring("http://127.0.0.1:9") as monitor:

        @monitor.watch
        def predict(features: Mapping[str, float]) -> str:
            raise fault

        before = observed()
        with pytest.raises(type(fault)) as caught:
            predict({})
        assert caught.value is fault
        assert monitor.stats.errors == 1 and counted(monitor.stats) == 0
        assert observed() == before + 1


def test_an_async_call_that_is_cancelled_is_no_error() -> None:
    with monitoring("http://127.0.0.1:9") as monitor:

        @monitor.watch
        async def predict(features: Mapping[str, float]) -> None:
            await asyncio.sleep(SLOW_SECONDS)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(predict({}), 0.01)

        asyncio.run(main())
        assert monitor.stats.errors == 0 and counted(monitor.stats) == 0


@settings(max_examples=60)
@given(st.lists(STRANGE, max_size=2), STRANGE)
def test_a_watched_function_returns_what_it_returns(arguments: list[Any], result: Any) -> None:
    monitor = Monitor("weather", "http://127.0.0.1:9", flush_seconds=3600.0)

    @monitor.watch
    def predict(*_: Any) -> Any:
        return result

    assert predict(*arguments) is result
    assert counted(monitor.stats) == 1
    monitor.close(0.0)


REGISTERED = """
import logging, prometheus_client
logging.disable()
{before}
from driftline.client import Monitor
for model in "ab":
    monitor = Monitor(model, "http://127.0.0.1:9")
    watched = monitor.watch(lambda features: 1)
    assert watched({{}}) == 1 and watched({{}}) == 1
    assert monitor.stats.queued == 2
print(prometheus_client.REGISTRY.get_sample_value("request_processing_seconds_count"))
"""


@pytest.mark.parametrize(
    ("before", "count"),
    [
        ("", "4.0"),
        ("prometheus_client.Summary('request_processing_seconds', 'mine')", "4.0"),
        ("prometheus_client.Histogram('request_processing_seconds', 'mine')", "4.0"),
        ("prometheus_client.Summary('request_processing_seconds', 'mine', ['route'])", "None"),
        ("prometheus_client.Gauge('request_processing_seconds', 'mine')", "None"),
        ("prometheus_client.Gauge('request_processing_seconds_count', 'mine').set(7)", "7.0"),
        ("import sys; sys.modules['driftline.x'] = 0", "4.0"),
    ],
)
def test_the_summary_gets_along_with_what_is_registered(before: str, count: str) -> None:
    assert python(REGISTERED.format(before=before)).strip() == count


# ---- the life of the process ----------------------------------------------------------------------------------------


def test_importing_starts_registers_and_loads_next_to_nothing() -> None:
    told = python(
        """
        import atexit, os, sys, threading
        def refuse(*_, **__): raise AssertionError("registered at import")
        import random  # registers a hook of its own
        kept, atexit.register = atexit.register, refuse
        kept_too, os.register_at_fork = os.register_at_fork, refuse
        import driftline.client
        atexit.register, os.register_at_fork = kept, kept_too
        assert "logging" not in sys.modules
        import logging
        logging.disable()
        assert threading.active_count() == 1
        monitor = driftline.Monitor("m", "http://127.0.0.1:9")
        assert threading.active_count() == 1  # nor does a monitor start anything before its first event
        monitor.log({}, prediction=0)
        assert [one.daemon for one in threading.enumerate() if one.name == "driftline-m"] == [True]
        print(*{"numpy", "prometheus_client", "polars", "httpx", "asyncio"} & set(sys.modules))
        """
    )
    assert told.strip() == ""


def test_what_waits_at_the_end_of_the_process_is_sent(server: Server) -> None:
    python(
        f"""
        from driftline import Monitor
        for model in "ab":
            monitor = Monitor(model, {server.url!r}, flush_seconds=3600.0)
            monitor.label(monitor.log({{}}, prediction=model), model)
        """
    )
    assert sorted(row["prediction"] for row in server.rows("predictions")) == ["a", "b"]
    assert len(server.rows("labels")) == 2


def test_the_end_of_the_process_waits_two_seconds_for_all_monitors_of_a_server_that_is_mute() -> None:
    with mute_server() as url:
        said = python(
            f"""
            import atexit, time
            from driftline import Monitor
            monitors = [Monitor("m", {url!r}, timeout_seconds=60.0) for _ in range(3)]
            for monitor in monitors:
                monitor.log({{}}, prediction=0)
            began = time.perf_counter()
            atexit._run_exitfuncs()
            assert time.perf_counter() - began < {SLOW_SECONDS}
            """,
            says=True,
        )
    assert said.count("closed with 1 of 1 events not sent") == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_starts_empty_and_sends_its_own(server: Server) -> None:
    told = python(
        f"""
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from driftline import Monitor
        from driftline.client import ids
        monitor = Monitor("m", {server.url!r}, flush_seconds=3600.0)
        monitor.log({{}}, prediction="sent", id="sent")
        assert monitor.flush(20)
        monitor.log({{}}, prediction="waits", id="waits")
        assert monitor.stats.queued == 1

        held, forked = threading.Event(), threading.Event()
        def hold():
            with monitor._shipper._lock, monitor._shipper._batch_done, ids._ids._lock:
                held.set()
                forked.wait()
        threading.Thread(target=hold).start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            assert monitor.stats.queued == monitor.stats.sent == 0 and monitor._shipper._thread is None
            print(monitor.log({{}}, prediction="child"), flush=True)
            assert monitor.flush(20)
            os._exit(0)
        forked.set()
        assert os.waitpid(pid, 0)[1] == 0
        print(monitor.log({{}}, prediction="parent"), flush=True)
        assert monitor.flush(20) and monitor.stats.sent == 3
        """
    )
    child, parent = told.split()
    assert child != parent
    assert Counter(server.ids()) == Counter(["sent", child, "waits", parent])
    assert server.connections == 2  # each has its own


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_children_of_one_parent_make_different_ids() -> None:
    told = python(
        """
        import os, random
        random.seed(0)
        from driftline import Monitor
        monitor = Monitor("m", "http://127.0.0.1:9")
        for _ in range(8):
            if (pid := os.fork()) == 0:
                print(*(monitor.log({}, prediction=0) for _ in range(50)), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
        """
    )
    assert len(set(told.split())) == 400
    assert all(re.fullmatch(r"[0-9a-f-]{36}", one) for one in told.split())
