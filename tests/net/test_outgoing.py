"""What an answer means for a message, and what must not be told of an address."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import RefusedError, UnavailableError, UnreachableError
from driftline.exporters import remote_write
from driftline.exporters.remote_write import RemoteWriter, Series
from driftline.net import outgoing
from driftline.net.outgoing import LONGEST_RETRY_SECONDS, get, post
from driftline.net.signatures import OLDEST_SIGNATURE_SECONDS, is_signed, signed
from tests.support.receiver import Answer, Server, serving

SECRET = "/services/T000/B000/hush"


def failure(server: Server, *answer: object, **options: object) -> UnavailableError:
    """What a post raises when it gets an answer."""
    server.answers.append(Answer(*answer))  # type: ignore[arg-type]
    with pytest.raises(UnavailableError) as caught:
        post(server.url + SECRET, b"{}", **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_an_answer_from_200_to_299_is_a_delivery(server: Server, status: int) -> None:
    server.answers.append(Answer(status))
    post(server.url + "/hook?a=b", b'{"a": 1}', headers={"X-More": "yes"})
    [request] = server.got
    assert (request.path, request.json) == ("/hook?a=b", {"a": 1})
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "driftline"
    assert request.headers["x-more"] == "yes"


def test_the_other_answers_are_refusals_for_good_or_for_now(server: Server) -> None:
    kinds = {status: type(failure(server, status)) for status in range(300, 600)}
    assert {status for status, kind in kinds.items() if kind is RefusedError} == {400, 405, 411, 413, 414, 415, 422}
    assert set(kinds.values()) == {RefusedError, UnavailableError}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: Server, status: int) -> None:
    with serving() as elsewhere:
        failure(server, status, {"Location": elsewhere.url + "/stolen"})
        assert elsewhere.got == []


def test_the_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    post(server.url, b"{}")
    assert len(server.got) == 1


def test_the_text_has_the_status_and_the_beginning_of_the_answer_in_one_line(server: Server) -> None:
    assert str(failure(server, 500, {}, b"no\n\n  luck " * 1000)) == f"status 500: {('no luck ' * 1000)[:200]}"
    assert str(failure(server, 404)) == "status 404"


@pytest.mark.parametrize(
    "body",
    [
        b"Cannot POST /services/T000/B000/hush",
        b"no such hook: {url}/services/T000/B000/hush, routing key R0UT1NG",
    ],
)
def test_an_answer_that_quotes_the_address_or_a_key_is_told_without(server: Server, body: bytes) -> None:
    text = str(failure(server, 404, {}, body.replace(b"{url}", server.url.encode()), hidden=["R0UT1NG"]))
    assert "hush" not in text and "R0UT1NG" not in text
    assert "…" in text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("86400", LONGEST_RETRY_SECONDS),
        ("inf", LONGEST_RETRY_SECONDS),
        ("nan", None),
        ("Mon, 23 Nov 2026 12:31:00 GMT", 45.0),
        ("Mon, 23 Nov 2026 12:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2099 12:00:00 GMT", LONGEST_RETRY_SECONDS),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_by_the_clock_of_the_server(
    server: Server, value: str | None, seconds: float | None
) -> None:
    error = failure(server, 429, {} if value is None else {"Retry-After": value})
    assert error.retry_after == seconds


@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_whatever_retry_after_says_it_is_no_time_or_one_within_bounds(shared_server: Server, value: str) -> None:
    error = failure(shared_server, 503, {"Retry-After": value})
    assert error.retry_after is None or 0.0 <= error.retry_after <= LONGEST_RETRY_SECONDS


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9" + SECRET,
        "http://" + SECRET,
        "http://[::hush",
        "http://127.0.0.1:hush/",
        "http://127.0.0.1:99999/hush",
        "ftp://127.0.0.1/hush",
        "hush",
        "",
        "http://127.0.0.1:9/hush\n",
        f"http://{'hush' * 20}.example.invalid./hush",
    ],
)
def test_an_address_that_nothing_answers_at_is_told_without_the_address(url: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        post(url, b"{}", timeout_seconds=5)
    assert "hush" not in str(caught.value)


def test_no_log_has_the_address_or_its_password(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    post(server.url.replace("//", "//ann:pa%20ss@") + "/hook/hush?token=t0ken#part", b"{}")
    [request] = server.got
    assert request.path == "/hook/hush?token=t0ken"
    assert request.headers["authorization"] == "Basic " + b64encode(b"ann:pa ss").decode()
    assert request.headers["host"] == server.url.removeprefix("http://")
    assert caplog.records
    for secret in ("hush", "t0ken", "pa%20ss", "pa ss"):
        assert secret not in caplog.text


def test_no_answer_in_time_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachableError, match="Timeout"):
        post(f"http://127.0.0.1:{silent.getsockname()[1]}{SECRET}", b"{}", timeout_seconds=0.1)


def raw_server(said: bytes) -> str:
    """The address of a server that says one thing to one client, and ends the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(said)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_connection_that_breaks_off_before_the_answer_is_none() -> None:
    with pytest.raises(UnreachableError):
        post(raw_server(b""), b"{}")
    with pytest.raises(UnreachableError):
        post(raw_server(b"not HTTP at all\r\n\r\n"), b"{}")


def test_the_status_counts_though_the_body_breaks_off_or_cannot_be_read() -> None:
    with pytest.raises(RefusedError, match="status 400"):
        post(raw_server(b"HTTP/1.1 400 Bad\r\nContent-Length: 1000\r\n\r\nhalf"), b"{}")
    with pytest.raises(RefusedError, match="status 422"):
        post(raw_server(b"HTTP/1.1 422 Bad\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf"), b"{}")
    post(raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"), b"{}")


def test_an_answer_of_any_size_is_read_to_its_beginning_only(server: Server) -> None:
    bomb = gzip.compress(b"a" * 50_000_000)
    error = failure(server, 500, {"Content-Encoding": "gzip"}, bomb)
    assert str(error) == f"status 500: {'a' * 200}"


class Status(msgspec.Struct):
    """What the server is asked for."""

    n: int


def test_what_a_server_says_is_a_value(server: Server) -> None:
    server.answers.append(Answer(200, {}, b'{"n": 7, "more": []}'))
    assert get(server.url + "/status", Status) == Status(7)
    [request] = server.got
    assert (request.path, request.headers["user-agent"]) == ("/status", "driftline")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"n": "seven"}', b"\xff"])
def test_an_answer_of_another_kind_is_one_of_a_server_that_cannot_help_now(server: Server, body: bytes) -> None:
    server.answers.append(Answer(200, {}, body))
    with pytest.raises(UnavailableError, match="not understood"):
        get(server.url, Status)


def test_asking_fails_as_posting_does(server: Server) -> None:
    server.answers.append(Answer(503, {"Retry-After": "9"}))
    with pytest.raises(UnavailableError, match="status 503") as caught:
        get(server.url, Status)
    assert caught.value.retry_after == 9
    with pytest.raises(UnreachableError):
        get("http://127.0.0.1:9", Status)


class Drip:
    """A server that answers a byte at a time, and waits less before each than any client minds."""

    def __init__(self, answer: bytes, pause: float) -> None:
        self.sent, self.left = 0, threading.Event()
        self._answer, self._pause = answer, pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(65_536)
                for sign in self._answer:
                    connection.sendall(bytes([sign]))
                    self.sent += 1
                    self.left.wait(self._pause)

    def close(self) -> None:
        self._listener.close()
        self.left.set()
        self._thread.join(20)


SLOW = {
    "head": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 2_000,
    "body": b"HTTP/1.1 500 No\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2_000,
}
ASKERS: dict[str, Callable[[str], object]] = {
    "post": lambda url: post(url, b"{}", timeout_seconds=0.1),
    "get": lambda url: get(url, dict, timeout_seconds=0.1),
    "runner": lambda url: outgoing.ask("GET", url, dict),
    "remote write": lambda url: RemoteWriter(url).push([Series("a", {}, [(0, 1.0)])]),
}


@pytest.mark.parametrize("part", SLOW)
@pytest.mark.parametrize("asker", ASKERS)
def test_a_receiver_that_answers_for_ever_is_hung_up_on(asker: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the whole does not: 2,000 of them would take 50 times as long as a whole answer may."""
    for module in (outgoing, remote_write):
        monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.1)
    drip = Drip(SLOW[part], pause=0.02)
    try:
        with pytest.raises(UnavailableError) as caught:
            ASKERS[asker](drip.url)
        assert drip.sent < 1_500
        assert drip.url not in str(caught.value)
    finally:
        drip.close()


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("status", [200, 500])
def test_of_an_answer_without_end_a_beginning_is_read(asker: str, status: int) -> None:
    """A server that sends as fast as it is read, up to 500 MB, is left after a few."""
    listener = socket.create_server(("127.0.0.1", 0))
    sent = 0

    def serve() -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 %d So\r\nContent-Type: application/json\r\n\r\n" % status)
                while sent < 500 * 10**6:
                    connection.sendall(b" " * 10**6)
                    sent += 10**6

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        with contextlib.suppress(UnavailableError):
            ASKERS[asker](f"http://127.0.0.1:{listener.getsockname()[1]}/")
    finally:
        listener.close()
        thread.join(20)
    assert sent < 100 * 10**6


# ---- signatures ---------------------------------------------------------------------------------------------------

AT = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.binary(max_size=50), st.text(min_size=1, max_size=20), st.integers(-600, 600))
def test_what_is_signed_is_known_by_its_secret_for_five_minutes(body: bytes, secret: str, seconds: int) -> None:
    headers = signed(body, secret, AT)
    now = AT + timedelta(seconds=seconds)
    assert is_signed(body, headers, secret, now) == (abs(seconds) <= OLDEST_SIGNATURE_SECONDS)
    assert not is_signed(body + b"x", headers, secret, AT)
    assert not is_signed(body, headers, secret + "x", AT)
    later = str(int(AT.timestamp()) + 1)
    assert not is_signed(body, headers | {"X-Driftline-Timestamp": later}, secret, AT)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Driftline-Timestamp": "now"},
        {"X-Driftline-Timestamp": "-1"},
        {"X-Driftline-Timestamp": "9" * 4000},
        {"X-Driftline-Timestamp": "\u0661"},
        {"X-Driftline-Timestamp": str(int(AT.timestamp()))},
        {"X-Driftline-Timestamp": str(int(AT.timestamp())), "X-Driftline-Signature": "sha256=ü"},
    ],
)
def test_headers_of_others_are_no_signature(headers: dict[str, str]) -> None:
    assert not is_signed(b"{}", headers, "hush", AT)
