"""Connections against a real server: half-sent requests, slow clients, foreign names, and an end that is an end."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from driftline.config.load import load
from driftline.service.runtime import Service
from tests.support.churn import MODEL, prediction, write_config
from tests.support.served import post, serving
from tests.support.servers import until
from tests.support.starting import Started
from tests.support.steps import a_day, work

PREDICTIONS = f"/api/v1/models/{MODEL}/predictions"
LIMITS = "limits: {header_time: 1s, body_time: 2s, connections: 20}"
Served = tuple[Started, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with short limits, which every test must leave answering."""
    more = f"{LIMITS}\nhosts: [driftline.example]\nurl: https://proxy.example/driftline"
    with serving(write_config(tmp_path_factory.mktemp("served"), more)) as (process, address):
        yield process, address


@pytest.fixture(autouse=True)
def _still_answers(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "served" in request.fixturenames:
        _, address = request.getfixturevalue("served")
        assert httpx.get(f"{address}/health", timeout=10, trust_env=False, verify=False).status_code == 200


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    one = socket.create_connection((host, int(port)), timeout=20)
    one.settimeout(20)
    return one


def ask(address: str, *lines: str, body: bytes = b"") -> bytes:
    """Send the lines of a head and a body, and return all that is answered."""
    with connect(address) as one:
        one.sendall("".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body)
        return read_all(one)


def read_all(one: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := one.recv(65536):
            parts.append(part)
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


HALF = {
    "nothing": b"",
    "a line": b"GET /health HTTP/1.1\r\n",
    "a head": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100,
    "a body": f"POST {PREDICTIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n".encode()
    + b"Content-Type: application/json\r\n\r\n[",
    "a chunk": f"POST {PREDICTIONS} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n".encode()
    + b"Content-Type: application/json\r\n\r\n5\r\n[1",
}


@pytest.mark.parametrize("sent", HALF.values(), ids=HALF)
def test_a_request_that_does_not_come_to_its_end_is_ended_in_words(served: Served, sent: bytes) -> None:
    with connect(served[1]) as one:
        one.sendall(sent)
        answer = read_all(one)
    assert status(answer) == 408
    assert b"RequestTimeoutError" in answer


@pytest.mark.parametrize("begun", [b"GET /health HTTP/1.1\r\nX: ", HALF["a body"]], ids=["head", "body"])
def test_a_request_that_trickles_is_ended_all_the_same(served: Served, begun: bytes) -> None:
    with connect(served[1]) as one:
        one.sendall(begun)
        with contextlib.suppress(OSError):
            for _ in range(400):
                one.sendall(b" ")
                time.sleep(0.05)
            pytest.fail("it was still listened to after 20 s")


def test_half_open_connections_do_not_keep_others_out(served: Served) -> None:
    address = served[1]
    with contextlib.ExitStack() as stack:
        for number in range(200):  # ten times as many as are allowed
            one = stack.enter_context(connect(address))
            with contextlib.suppress(OSError):
                one.sendall(list(HALF.values())[number % 3])
            if number % 20 == 19:
                assert httpx.get(f"{address}/health", timeout=10, trust_env=False, verify=False).status_code == 200


def test_where_all_are_at_work_a_new_one_is_told_to_come_again(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(served[1])).sendall(HALF["a body"])
        time.sleep(0.3)
        with connect(served[1]) as one:
            answer = read_all(one)
    assert status(answer) == 503
    assert b"Retry-After: 1\r\n" in answer
    until(lambda: _answers(served[1]), "room", 10)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=10, trust_env=False, verify=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_client_that_does_not_read_is_left(served: Served) -> None:
    with connect(served[1]) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.suppress(OSError):
            for _ in range(600):
                one.sendall(request)
                time.sleep(0.02)
            pytest.fail("it was still answered after 12 s")


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\xff" * 100, b"GET / HTTP/x\r\n\r\n"])
def test_what_is_no_http_is_refused(served: Served, sent: bytes) -> None:
    with connect(served[1]) as one:
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        answer = read_all(one)
    assert answer == b"" or status(answer) == 400


def test_rubbish_in_the_midst_of_a_request_ends_that_request_only(served: Served) -> None:
    with connect(served[1]) as one:
        one.sendall(HALF["a chunk"] + b"no chunk at all\r\n\r\n" * 10)
        assert status(read_all(one)) == 400


def test_a_length_over_the_limit_is_answered_before_the_body_is_sent(served: Served) -> None:
    head = [
        f"POST {PREDICTIONS} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Content-Length: 99999999999",
    ]
    with connect(served[1]) as one:
        one.sendall("".join(f"{line}\r\n" for line in [*head, ""]).encode())
        assert one.recv(20).startswith(b"HTTP/1.1 413")


# ---- Host and Origin -------------------------------------------------------------------------------------------------

ROUTES = [
    "/",
    "/health",
    "/ready",
    "/metrics",
    "/api/v1/models",
    "/static/driftline.css",
    "/nothing",
    "/api/openapi.json",
]


@pytest.mark.parametrize("route", ROUTES)
def test_a_foreign_host_is_misdirected_on_every_route(served: Served, route: str) -> None:
    for host in ("evil.example", "localhost.evil.example", "localhost@evil.example", "0.0.0.0"):
        answer = ask(served[1], f"GET {route} HTTP/1.1", f"Host: {host}", "Connection: close")
        assert status(answer) == 421, host
        assert b"not a name of this server" in answer
    for host in ("localhost", "127.0.0.9:1234", "[::1]", "DRIFTLINE.example.", "proxy.example"):
        answer = ask(served[1], f"GET {route} HTTP/1.1", f"Host: {host}", "Connection: close")
        assert status(answer) in (200, 404), host


def test_a_missing_or_repeated_host_is_refused(served: Served) -> None:
    assert status(ask(served[1], "GET /health HTTP/1.1", "Connection: close")) == 400
    assert (
        status(ask(served[1], "GET /health HTTP/1.1", "Host: localhost", "Host: localhost", "Connection: close")) == 400
    )
    assert status(ask(served[1], "GET /health HTTP/1.0")) == 421


@pytest.mark.parametrize("length", [0, 4, 5, 18])
def test_a_body_with_two_ends_is_refused_and_nothing_after_it_is_answered(served: Served, length: int) -> None:
    """What one server takes for the body, another takes for the next request: neither is worked on."""
    body = b"12\r\n" + b'[{"prediction":1}]' + b"\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = [
        f"POST {PREDICTIONS} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Transfer-Encoding: chunked",
    ]
    answer = ask(served[1], *head, body=body)
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"send one of them" in answer


def test_a_page_of_elsewhere_silences_nothing(served: Served) -> None:
    body = b'{"matchers": {}, "hours": 1}'
    lines = ["POST /api/v1/silences HTTP/1.1", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += ["Connection: close", f"Host: {served[1].removeprefix('http://')}"]
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        answer = ask(served[1], *lines, f"Origin: {origin}", body=body)
        assert status(answer) == 403, origin
    assert status(ask(served[1], *lines, f"Origin: {served[1]}", body=body)) in (201, 400, 422)


# ---- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", HALF.values(), ids=HALF)
def test_a_signal_ends_it_whatever_is_half_sent(tmp_path: Path, sent: bytes) -> None:
    with serving(write_config(tmp_path)) as (process, address), connect(address) as one:
        assert (
            httpx.post(
                address + PREDICTIONS, json=[prediction("a", 0.1, said=1)], trust_env=False, verify=False
            ).status_code
            == 202
        )
        one.sendall(sent)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert b" 202 " not in read_all(one)


SLOW = """
import time

def cost(rows):
    time.sleep(120 if rows["age"].max() > 90 else 0)
    return 0.5
"""


def test_a_signal_ends_it_in_time_whoever_hangs(tmp_path: Path) -> None:
    """A receiver that never answers, a request that is half sent, a measure that takes minutes; nothing is lost."""
    (tmp_path / "costs.py").write_text(SLOW)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        more = f"notify: [{{webhook: 'http://127.0.0.1:{silent.getsockname()[1]}/'}}]"
        config = write_config(tmp_path, more)
        config.write_text(
            config.read_text().replace("    window: 1d\n", "    window: 1d\n    measures: {cost: costs.py:cost}\n")
        )
        with serving(config, "--stop-within", "3s", stderr=subprocess.PIPE) as (process, address):
            for kind, rows in zip(("predictions", "labels"), a_day(0, right=30, wrong=30), strict=True):
                assert post(address, kind, rows)
            assert post(address, "predictions", [prediction("next", 2.5, said=1)])
            silent.settimeout(30)
            receiver, _ = silent.accept()
            predictions, labels = a_day(5, right=30, wrong=30)
            assert post(
                address, "predictions", [one | {"features": {"age": 99.0, "plan": "pro"}} for one in predictions]
            )
            assert post(address, "labels", labels)
            assert post(address, "predictions", [prediction("last", 9.5, said=1)])
            until(lambda: len(psutil.Process(process.pid).children()) > 0, "the measure is asked", 30)
            with connect(address) as half:
                half.sendall(HALF["a body"])
                began = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
            assert 2.5 < time.monotonic() - began < 15
            receiver.close()
            assert process.stderr is not None and "done again after the next start" in process.stderr.read()
    config.write_text(config.read_text().replace("costs.py:cost", "quick.py:cost"))
    (tmp_path / "quick.py").write_text("def cost(rows):\n    return 0.5\n")
    service = Service(load(config))
    try:
        work(service)
        assert service.views.model(MODEL).predictions == 122
    finally:
        service.stop()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with serving(write_config(tmp_path)) as (process, address), connect(address) as one:
        one.sendall(HALF["a body"])
        time.sleep(0.3)
        assert (
            httpx.get(f"{address}/health", trust_env=False, verify=False).status_code == 200
        )  # what was sent before is read, too
        process.send_signal(signal.SIGTERM)
        time.sleep(0.6)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_one_signal_that_is_passed_on_twice_is_one(tmp_path: Path) -> None:
    """`timeout` sends a signal to its child, and then to the whole group."""
    with serving(write_config(tmp_path)) as (process, address):
        assert post(address, "predictions", [prediction("a", 0.1, said=1)])
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
