"""HTTP/1.1, strictly: what servers could understand differently is refused, whatever comes is bounded, and the rest is
what h11 reads as well.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h11
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from driftline.net.limits import Limits
from driftline.web.connections import bounded
from driftline.web.http1 import MOST_AHEAD, MOST_HEAD_BYTES


class Request(NamedTuple):
    """What the application saw; the body is None where it was cut off."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes | None


@dataclass
class Wire:
    """A transport that keeps what is written."""

    writes: list[bytes] = field(default_factory=list)
    closed: bool = False

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    @property
    def statuses(self) -> list[int]:
        return [int(one) for one in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.written)]

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name)

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@dataclass
class Talk:
    """One connection: what came through it to the application, and what went back."""

    wire: Wire = field(default_factory=Wire)
    seen: list[Request] = field(default_factory=list)
    answers: list[list[dict[str, Any]]] = field(default_factory=list)
    left_open: bool = True

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body: bytes | None = b""
        while body is not None:
            message = await receive()
            body = None if message["type"] == "http.disconnect" else body + message["body"]
            if not message.get("more_body"):
                break
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.seen.append(Request(scope["method"], scope["raw_path"] + query, [*scope["headers"]], body))
        if body is not None:
            for message in self.answers[len(self.seen) - 1] if self.answers else OK:
                await send(message)

    def hear(self, *parts: bytes, look_after: float = 0.0) -> Talk:
        """Hear parts, each once all that was to be done for the ones before is done; look at the time at the end."""
        asyncio.run(self._hear(parts, look_after))
        return self

    async def _hear(self, parts: tuple[bytes, ...], look_after: float) -> None:
        config = uvicorn.Config(
            self.app, http=bounded(Limits()), interface="asgi3", ws="none", log_config=None, proxy_headers=False
        )
        config.load()
        protocol = bounded(Limits())(config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(self.wire)  # type: ignore[arg-type]
        for part in parts:
            if not self.wire.closed:
                protocol.data_received(part)
            for _ in range(8 * (1 + len(protocol.pipeline))):
                await asyncio.sleep(0)
        protocol.end_if_overdue(asyncio.get_running_loop().time() + look_after)
        self.left_open = not self.wire.closed
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)


def answer(status: int, body: bytes, *more: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> list[Any]:
    parts = [body, *more]
    sent = [{"type": "http.response.body", "body": part, "more_body": at < len(more)} for at, part in enumerate(parts)]
    return [{"type": "http.response.start", "status": status, "headers": headers}, *sent]


OK = answer(200, b"{}", headers=((b"content-length", b"2"),))
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"".join(line + b"\r\n" for line in (b"POST /x HTTP/1.1", b"Host: a", *lines)) + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
UNCLEAR = {
    "two ends": post(b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n"),
    "two ends, turned round": post(CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n"),
    "two lengths": post(b"Content-Length: 4", b"Content-Length: 5", body=b"abcde"),
    "one length twice": post(b"Content-Length: 4", b"Content-Length: 4", body=b"abcd"),
    "a list of lengths": post(b"Content-Length: 4, 4", body=b"abcd"),
    "a length with a sign": post(b"Content-Length: +4", body=b"abcd"),
    "a negative length": post(b"Content-Length: -1", body=b"abcd"),
    "a length of letters": post(b"Content-Length: 0x4", body=b"abcd"),
    "an empty length": post(b"Content-Length:", body=b"abcd"),
    "an endless length": post(b"Content-Length: " + b"9" * 30, body=b"abcd"),
    "identity": post(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "nearly chunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "another coding first": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked first": post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked twice": post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "chunked, then not": post(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "a control character": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "a space before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "a folded header": post(b"X: a", b" b"),
    "a folded coding": post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"),
    "no CR": b"POST /x HTTP/1.1\nHost: a\n\n",
    "no CR behind a header": post(b"X: a\nContent-Length: 4", body=b"abcd"),
    "no CR at the end": b"GET /x HTTP/1.1\r\nHost: a\r\n\n",
    "no LF": post(b"X: a\rContent-Length: 4", body=b"abcd"),
    "NUL": post(b"X: a\0b"),
    "a name with a space": post(b"X Y: a"),
    "no name": post(b": a"),
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two hosts": post(b"Host: b"),
    "chunked in 1.0": b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/2.0": b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a whole address": b"GET http://evil/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel to a path": b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "everything": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target beyond ASCII": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"FOO /x HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("sent", UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_could_be_understood_differently_is_refused_and_nothing_behind_it_is_heard(
    sent: bytes, at_once: bool
) -> None:
    talk = Talk().hear(*([sent + NEXT] if at_once else [bytes([one]) for one in sent + NEXT]))
    assert [one for one in talk.seen if one.body is not None] == []
    assert (talk.wire.statuses, talk.wire.closed) == ([400], True)


BROKEN = {
    "no CR behind a size": b"4\nabcd\r\n0\r\n\r\n",
    "no CR behind data": b"4\r\nabcd\n0\r\n\r\n",
    "letters": b"0x4\r\nabcd\r\n0\r\n\r\n",
    "a sign": b"-4\r\nabcd\r\n0\r\n\r\n",
    "a space": b"4 \r\nabcd\r\n0\r\n\r\n",
    "an endless size": b"f" * 18 + b"\r\nabcd\r\n0\r\n\r\n",
    "no CR behind an extension": b"4;a=b\nabcd\r\n0\r\n\r\n",
    "more than was said": b"4\r\nabcde\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_broken_body_ends_its_request_and_not_those_before_it(body: bytes, before: int) -> None:
    talk = Talk().hear(NEXT * before + post(CHUNKED, body=body) + NEXT)
    assert [one.body for one in talk.seen if one.body is not None] == [b""] * before
    assert (talk.wire.statuses, talk.wire.closed) == ([200] * before + [400], True)


def test_what_stands_behind_a_body_is_no_header() -> None:
    sent = post(CHUNKED, body=b"2\r\n[]\r\n0\r\nAuthorization: Bearer x\r\nHost: b\r\n\r\n") + NEXT
    talk = Talk().hear(sent)
    assert [[name for name, _ in one.headers] for one in talk.seen] == [[b"host", b"transfer-encoding"], [b"host"]]
    assert talk.wire.statuses == [200, 200]


ENDLESS = {
    "target": (b"GET /", b"x" * 1000),
    "header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x" * 1000),
    "name of a header": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"x" * 1000),
    "headers": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n" * 200),
    "empty lines": (b"", b"\r\n" * 500),
    "extension of a chunk": (post(CHUNKED, body=b"4;a="), b"x" * 1000),
    "trailer": (post(CHUNKED, body=b"0\r\nX: "), b"x" * 1000),
    "trailers": (post(CHUNKED, body=b"0\r\n"), b"X: y\r\n" * 200),
    "digits of a size": (post(CHUNKED), b"0" * 1000),
}


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("together", [1, 150])
def test_nothing_that_is_no_body_goes_on_for_long(what: str, together: int) -> None:
    begin, part = ENDLESS[what]
    rounds = 2 * MOST_HEAD_BYTES // (len(part) * together) + 2
    talk = Talk().hear(begin, *[part * together] * rounds)
    assert talk.wire.closed
    assert talk.wire.statuses in ([400], [431])
    assert [one for one in talk.seen if one.body is not None] == []


def test_a_large_head_is_taken_and_a_larger_one_refused() -> None:
    for size, status in ((MOST_HEAD_BYTES - 100, 200), (MOST_HEAD_BYTES + 1, 431)):
        talk = Talk().hear(post(b"X: " + b"x" * size, b"Content-Length: 0"))
        assert talk.wire.statuses == [status]


def test_bodies_of_any_size_pass_and_small_chunks_are_no_overhead_too_much() -> None:
    chunks = b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    talk = Talk().hear(
        post(CHUNKED), chunks[:200_000], chunks[200_000:], post(b"Content-Length: 300000"), b"y" * 300_000
    )
    assert [one.body for one in talk.seen] == [b"x" * 50_000, b"y" * 300_000]


def test_requests_sent_ahead_are_answered_in_their_order_and_too_many_end_the_connection() -> None:
    talk = Talk().hear(b"".join(NEXT.replace(b"next", b"%d" % at) for at in range(MOST_AHEAD + 20)))
    assert [one.target for one in talk.seen] == [b"/%d" % at for at in range(MOST_AHEAD + 1)]
    assert talk.wire.statuses == [200] * (MOST_AHEAD + 1) + [503]
    assert talk.wire.closed


@pytest.mark.parametrize("rest", [NEXT, b"rubbish"])
def test_nothing_is_heard_behind_a_request_that_closes(rest: bytes) -> None:
    for sent in (post(b"Connection: close", b"Content-Length: 0"), b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n"):
        talk = Talk().hear(sent + rest, rest)
        assert (len(talk.seen), talk.wire.statuses, talk.wire.closed) == (1, [200], True)
        assert b"connection: close" in talk.wire.written


@pytest.mark.parametrize("body", [b"", b"[]", b"x" * 5000])
@pytest.mark.parametrize("cut", [None, 1, 90, 120])
def test_an_offer_of_another_protocol_is_not_taken_up_and_its_request_is(body: bytes, cut: int | None) -> None:
    """Java's client offers h2c with each first request, also with one that has a body."""
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAA")
    for sent in (
        post(*offer, b"Content-Length: %d" % len(body), body=body),
        post(*offer, CHUNKED, body=(b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"),
    ):
        talk = Talk().hear(*([sent] if cut is None else [sent[:cut], sent[cut:]]))
        assert [one.body for one in talk.seen] == [body]
        assert (talk.wire.statuses, talk.wire.closed) == ([200], True)


# ---- answers --------------------------------------------------------------------------------------------------------

LENGTH = ((b"content-length", b"4"),)
ANSWERS = {
    "with a length": (answer(200, b"abcd", headers=LENGTH), b"abcd"),
    "in parts": (answer(200, b"ab", b"cd", headers=LENGTH), b"abcd"),
    "without a length": (answer(200, b"ab", b"", b"cd"), b"abcd"),
    "without a body": (answer(204, b""), b""),
    "not modified": (answer(304, b""), b""),
}


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
def test_answers_are_what_a_client_reads(method: bytes, said: tuple[list[Any], bytes]) -> None:
    messages, body = said
    talk = Talk(answers=[messages, messages]).hear((method + b" / HTTP/1.1\r\nHost: a\r\n\r\n") * 2)
    client = h11.Connection(h11.CLIENT)
    for at in range(2):
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        if not at:
            client.receive_data(talk.wire.written)
        events = []
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            events.append(event)
        assert isinstance(events[0], h11.Response) and events[0].status_code == messages[0]["status"]
        assert b"".join(bytes(one.data) for one in events[1:]) == (b"" if method == b"HEAD" else body)  # type: ignore[union-attr]
        client.start_next_cycle()
    assert client.trailing_data == (b"", False)


def test_an_answer_is_one_write() -> None:
    assert len(Talk().hear(NEXT).wire.writes) == 1
    assert len(Talk(answers=[answer(204, b"")]).hear(NEXT).wire.writes) == 1
    assert len(Talk(answers=[answer(200, b"ab", b"cd", headers=LENGTH)]).hear(NEXT).wire.writes) == 2


WRONG = {
    "too short": answer(200, b"abc", headers=LENGTH),
    "too long": answer(200, b"abcde", headers=LENGTH),
    "no status": answer(200, b"")[1:],
    "two ends": [*OK, OK[-1]],
    "two statuses": [OK[0], *OK],
    "a header that ends another": answer(200, b"", headers=((b"x", b"a\r\ny: b"),)),
}


@pytest.mark.parametrize("messages", WRONG.values(), ids=WRONG)
def test_an_application_that_answers_wrongly_is_not_believed(messages: list[Any]) -> None:
    wire = Talk(answers=[messages]).hear(NEXT).wire
    assert wire.statuses in ([], [500], [200])
    assert wire.closed or wire.written.endswith(b"\r\n\r\n{}")
    assert b"\r\ny: b" not in wire.written


def test_a_body_that_is_waited_for_is_asked_for() -> None:
    wire = Talk().hear(post(b"Expect: 100-continue", b"Content-Length: 2"), b"[]").wire
    assert wire.statuses == [100, 200]


@pytest.mark.parametrize(
    ("sent", "seconds", "statuses"),
    [
        (NEXT, 6.0, [200]),
        (NEXT + b"GET", 11.0, [200, 408]),
        (b"GET", 11.0, [408]),
        (post(b"Content-Length: 2"), 61.0, [408]),
        (NEXT + post(b"Content-Length: 2", body=b"["), 61.0, [200, 408]),
    ],
)
def test_who_sends_nothing_more_is_left_in_time_and_not_before(
    sent: bytes, seconds: float, statuses: list[int]
) -> None:
    before = Talk().hear(sent, look_after=seconds - 1.5)
    assert (before.left_open, before.wire.statuses) == (True, [one for one in statuses if one != 408])
    after = Talk().hear(sent, look_after=seconds)
    assert (after.left_open, after.wire.statuses) == (False, statuses)


# ---- beside h11 -----------------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [b"Host: a", b"X: y", b"x-y:z ", b"X:\t\xe4 ", b"Host : a", b" fold", b"Content-Length: 3", CHUNKED]
)
MORE_LINES = st.sampled_from(
    [b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue", b"X: \x7f", b"Content-Length: 03"]
)
TARGETS = st.sampled_from([b"/", b"/a%20b?c=%ff", b"/a?b?c", b"//x", b"/\x80", b"/a#b", b"*", b"/a b"])
BODIES = st.sampled_from(
    [
        b"",
        b"abc",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;x=y\r\nabc\r\n00\r\nA: b\r\n\r\n",
        b"abcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)


def by_h11(sent: bytes) -> list[Request]:
    """Return the whole requests that h11 reads, until it reads no more."""
    server, found = h11.Connection(h11.SERVER), list[Request]()
    server.receive_data(sent)
    try:
        while True:
            event = server.next_event()
            if not isinstance(event, h11.Request):
                return found
            body = b""
            while isinstance(part := server.next_event(), h11.Data):
                body += bytes(part.data)
            if not isinstance(part, h11.EndOfMessage):
                return found
            found.append(Request(event.method.decode(), event.target, [*event.headers], body))
            server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            server.send(h11.EndOfMessage())
            server.start_next_cycle()
    except h11.ProtocolError:
        return found


@given(
    st.sampled_from([b"GET", b"POST", b"DELETE"]),
    TARGETS,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"]),
    st.lists(LINES | MORE_LINES, max_size=4).map(lambda lines: [b"Host: a", *lines]),
    BODIES,
    st.lists(st.integers(1, 300), max_size=3),
)
def test_what_is_taken_is_what_h11_reads_however_it_is_cut(
    method: bytes, target: bytes, version: bytes, lines: list[bytes], body: bytes, cuts: list[int]
) -> None:
    sent = b" ".join((method, target, version)) + b"\r\n" + b"".join(one + b"\r\n" for one in lines) + b"\r\n" + body
    places = sorted({0, *cuts, len(sent)})
    parts = [sent[begin:end] for begin, end in itertools.pairwise(places)]
    seen = [one for one in Talk().hear(*parts).seen if one.body is not None]
    assert seen == [one for one in Talk().hear(sent).seen if one.body is not None]
    bare = [one._replace(headers=[(name, value.strip()) for name, value in one.headers]) for one in seen]
    read = [one._replace(headers=[(name, value.strip()) for name, value in one.headers]) for one in by_h11(sent)]
    assert bare == read[: len(bare)]
