"""HTTP/1.1 as this server takes it: strictly, within bounds, and answered by one write.

httptools (llhttp, the parser of Node.js) refuses what servers understand differently: two lengths of a body, lines that
do not end with CRLF, folded headers. What it takes and no sender of ours needs is refused here.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Literal
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MOST_HEAD_BYTES = 64 * 1024
"""How large a request line and headers may be, and how much may come that is neither of a head nor of a body."""

MOST_AHEAD = 64
"""How many requests of a connection may wait for the answers of earlier ones."""

Coming = Literal["head", "body"] | None
"""Which part of a request has begun to come, and has not ended."""

_NO_TARGET = re.compile(rb"[^\x21-\x7e]")
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_HTTP = "what came is not an HTTP/1.1 request"
_OF_AN_UPGRADE = frozenset({b"connection", b"upgrade"})


class BadRequestError(Exception):
    """What came is not a request that is taken."""

    def __init__(self, status: int = 400, message: str = _NO_HTTP) -> None:
        super().__init__(message)
        self.status = status


class Exchange(RequestResponseCycle):
    """One request and its answer: the head of an answer goes out together with the first part of its body."""

    _unsent: bytes = b""

    async def send(self, message: Any) -> None:
        """Send a part of the answer."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"an answer begins with its status, and {message['type']!r} came")
            self.response_started, self.waiting_for_100_continue = True, False
            self._unsent = self._head(message["status"], message.get("headers", ()))
        elif self.response_complete or message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']!r} came behind the status of an answer, or its end")
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def _head(self, status: int, headers: Any) -> bytes:
        lines, closes = [STATUS_LINE[status]], False
        for name, value in self.default_headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in headers:
            if _NO_TARGET.search(name) or _NO_VALUE.search(value):
                raise RuntimeError(f"the header {name!r} of an answer has characters that would end it")
            if name == b"content-length":
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"connection":
                closes = b"close" in value.lower()
            lines += (name, b": ", value, b"\r\n")
        self.keep_alive = self.keep_alive and not closes
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in (204, 304):
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _go_on(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length, body = 0, b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("the body of an answer has another length than its head says")
        if self._unsent or body:
            self.transport.write(self._unsent + body)
            self._unsent = b""
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


class Http1Protocol(HttpToolsProtocol):
    """One connection: uvicorn's protocol on httptools, with the bounds and the strictness of this server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = httptools.HttpRequestParser(self)  # uvicorn's own takes requests behind `Connection: close`
        self.coming: Coming = None
        self.resting = False
        """Whether a request was answered, and nothing has come since."""
        self._current: RequestResponseCycle | None = None
        self._parting: BadRequestError | None = None
        self._head_bytes = self._idle_bytes = 0

    # ---- what is known of the connection ----------------------------------------------------------------------------

    @property
    def answered(self) -> bool:
        """Whether no request that has come waits for the rest of its answer."""
        return self._newest is None or self._newest.response_complete

    @property
    def unspoken(self) -> bool:
        """Whether an answer that is written now is one to what is waited for: none has begun, and none is owed."""
        if self.pipeline:
            return False
        if self._newest is None or not self._newest.response_started:
            return True
        return self._newest.response_complete and self.coming != "body"

    @property
    def _newest(self) -> RequestResponseCycle | None:
        """The request that has come last; None before the first one, where uvicorn has no type for it."""
        return self.cycle

    def refuse(self, why: BadRequestError) -> None:
        """Answer that what came is not a request that is taken, and end the connection."""
        raise NotImplementedError

    # ---- what comes -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read what comes; nothing behind a request that is not taken, or that asked to close the connection."""
        last = self._newest is not None and not self._newest.keep_alive and not self.coming
        if last or self._parting is not None:
            return
        self.resting = False
        self._idle_bytes += len(data)
        try:
            self.parser.feed_data(data)
            if self._idle_bytes > MOST_HEAD_BYTES:
                raise BadRequestError(431, f"more than {MOST_HEAD_BYTES:,} bytes came that are no body")
        except httptools.HttpParserUpgrade as upgrade:
            self._as_it_would_be(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._part(error.__context__ if isinstance(error.__context__, BadRequestError) else _in_words(error))
        except BadRequestError as error:
            self._part(error)

    def on_message_begin(self) -> None:
        """Begin a request."""
        if len(self.pipeline) >= MOST_AHEAD:
            raise BadRequestError(503, f"more than {MOST_AHEAD} requests came before the answers of earlier ones")
        super().on_message_begin()
        self.coming, self._head_bytes = "head", 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._count(len(url))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one behind the body is dropped, for nobody has looked at it."""
        if self.coming != "head":
            return
        self._count(len(name) + len(value))
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            raise BadRequestError(431, f"the request line and headers have more than {MOST_HEAD_BYTES:,} bytes")

    def on_headers_complete(self) -> None:
        """Have a request answered, or wait for its turn."""
        self._idle_bytes = 0
        version = self.parser.get_http_version()
        self._require_plain(version)
        if self.parser.should_upgrade():
            return
        self.coming = "body"
        path, _, query = self.url.partition(b"?")
        text = path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(text) if "%" in text else text
        self.scope["raw_path"], self.scope["query_string"] = path, query
        waits = not self.answered
        self.cycle = exchange = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))
        else:
            self._start_asgi_task(exchange, self.app)

    def _require_plain(self, version: str) -> None:
        """Raise `BadRequestError` for a head that llhttp takes and no sender needs."""
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if version not in ("1.1", "1.0") or hosts > 1 or (version == "1.1" and not hosts):
            raise BadRequestError
        if b"transfer-encoding" in names:
            codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
            if version == "1.0" or codings != [b"chunked"]:
                raise BadRequestError(400, "a Transfer-Encoding came other than chunked, or not in HTTP/1.1")
        if not self.url.startswith(b"/") or _NO_TARGET.search(self.url) or self.parser.get_method() == b"CONNECT":
            raise BadRequestError

    def _as_it_would_be(self, rest: bytes) -> None:
        """Take a request that offers another protocol without its offer; it is the last one of the connection."""
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name not in _OF_AN_UPGRADE:
                head += (name, b": ", value, b"\r\n")
        head += (b"connection: close\r\n\r\n", rest)
        self.coming, self.parser = None, httptools.HttpRequestParser(self)
        self.data_received(b"".join(head))

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; of one whose request was answered already it is dropped."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._idle_bytes = 0
        if self.coming == "body":
            self.coming = None
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered; those behind it are never begun."""
        self.pipeline.clear()
        if self._current is not None and not self._current.response_complete:
            self._current.disconnected = True
            self._current.message_event.set()
        super().connection_lost(exc)

    # ---- what goes --------------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Turn to the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._parting is not None:
            self.refuse(self._parting)
        else:
            self.resting = self.coming is None

    def _part(self, why: BadRequestError) -> None:
        """Refuse what comes, once the requests before it are answered; one with a broken body gets no other answer."""
        self._parting = why
        if self.coming == "body":
            if self.pipeline:
                self.pipeline.popleft()
            elif self._current is not None and not self._current.response_complete:
                self._current.disconnected = True
                self._current.message_event.set()
                self.refuse(why)
                return
        if self._current is None or self._current.response_complete:
            self.refuse(why)


def _in_words(error: httptools.HttpParserError) -> BadRequestError:
    """Return what is wrong; of what llhttp says only what is worth more than that it is not HTTP."""
    if "Transfer-Encoding" in str(error) and "Content-Length" in str(error):
        return BadRequestError(
            400,
            "Transfer-Encoding and Content-Length came together, which servers understand differently; "
            "send one of them",
        )
    return BadRequestError()
