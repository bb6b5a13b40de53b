"""Send pages, their files and JSON compressed to browsers that say they take it.

Why that gives no secret away (BREACH): a compressed answer is shorter where a text that an attacker chooses repeats one
that it holds. The only secret of a page is what it sends with each write, and that is masked anew in each answer
(`driftline.web.access.masked`); answers in JSON hold none.
"""

from __future__ import annotations

from collections.abc import Callable

import cramjam
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES = 1024
"""Less than this is not worth it: it fits into one packet anyway."""

_KINDS = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml", "application/json"})
_IN_A_THREAD_BYTES = 32_768
_ZSTD_LEVEL, _GZIP_LEVEL = 3, 5


def _zstd(body: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(body, level=_ZSTD_LEVEL))


def _gzip(body: bytes) -> bytes:
    return bytes(cramjam.gzip.compress(body, level=_GZIP_LEVEL))


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {"zstd": _zstd, "gzip": _gzip}
"""What a body can be encoded as, the best first."""


def chosen(accepted: str) -> str | None:
    """Return the encoding that a header Accept-Encoding asks for; None for none.

    >>> chosen("gzip, deflate, br, zstd"), chosen("gzip;q=1.0, zstd;q=0"), chosen("*"), chosen("br"), chosen("gzip;q=x")
    ('zstd', 'gzip', 'zstd', None, None)
    """
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    wanted = {name: weights.get(name, weights.get("*", 0.0)) for name in ENCODINGS}
    best = max(wanted, key=lambda name: wanted[name])
    return best if wanted[best] > 0 else None


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


class Compressed:
    """Compresses the bodies of answers that are whole. Each encoding of an answer has an ETag of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        encoding = chosen(Headers(scope=scope).get("accept-encoding", ""))
        if encoding is not None:
            _take_encoding_off(scope, encoding)
        await self._app(scope, receive, _Answer(send, encoding))


class _Answer:
    """Sends one answer: holds its head back until its body is there."""

    def __init__(self, send: Send, encoding: str | None) -> None:
        self._send, self._encoding = send, encoding
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_for_both(message):
            self._head = message
            return
        head, self._head = self._head, None
        if head is None:
            await self._send(message)
            return
        headers = MutableHeaders(raw=list(head["headers"]))
        headers.add_vary_header("Accept-Encoding")
        body = message.get("body", b"")
        if self._encoding is not None and not message.get("more_body", False):
            if head["status"] == 304:
                _name(headers, self._encoding)
            elif len(body) >= LEAST_BYTES and "content-encoding" not in headers:
                pack = ENCODINGS[self._encoding]
                body = await run_in_threadpool(pack, body) if len(body) > _IN_A_THREAD_BYTES else pack(body)
                headers["Content-Encoding"], headers["Content-Length"] = self._encoding, str(len(body))
                _name(headers, self._encoding)
        await self._send({**head, "headers": headers.raw})
        await self._send({**message, "body": body})


def _is_for_both(head: Message) -> bool:
    """Return whether an answer may be encoded: it is of such a kind, or says that one has not changed."""
    kind = Headers(raw=head["headers"]).get("content-type", "").partition(";")[0].strip().lower()
    return kind in _KINDS or bool(head["status"] == 304)


def _name(headers: MutableHeaders, encoding: str) -> None:
    """Give the ETag of an answer the name of its encoding."""
    tag = headers.get("etag", "")
    if tag.endswith('"'):
        headers["ETag"] = f'{tag[:-1]}-{encoding}"'


def _take_encoding_off(scope: Scope, encoding: str) -> None:
    """Have a request ask whether an answer has changed as if it had not been encoded."""
    tag = f'-{encoding}"'.encode()
    scope["headers"] = [
        (name, value.replace(tag, b'"') if name == b"if-none-match" else value) for name, value in scope["headers"]
    ]
