"""Requests to other servers: one POST or GET of JSON, and what its answer means."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import msgspec

from driftline.errors import RefusedError, UnavailableError, UnreachableError

TIMEOUT_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0
WHOLE_ANSWER_TIMES = 3
"""An answer may come slowly, but as a whole in so many times what each part of it may take."""

LARGEST_ANSWER_BYTES = 8 * 10**6

OLDEST_SIGNATURE_SECONDS = 300.0
_LONGEST_TIMESTAMP = 12

_NEVER_TAKEN = frozenset({400, 405, 411, 413, 414, 415, 422})
_SHOWN_LENGTH = 200
_READ_LENGTH = 4000


def post(
    url: str,
    content: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    hidden: Sequence[str] = (),
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> None:
    """Post JSON to an address; return when the answer is 200 to 299.

    Redirects are not followed, proxies of the environment are not used: an address may hold a secret, which must not
    travel. For the same reason no error repeats the address, nor what is ``hidden``, and no log the address.

    Raises `UnreachableError` without an answer in time, `RefusedError` for an answer that the same request will get
    again (400, 405, 411, 413, 414, 415, 422), and `UnavailableError` for any other, with the seconds of Retry-After.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "driftline", **(headers or {})}
    _ask("POST", url, content, headers=headers, hidden=hidden, timeout_seconds=timeout_seconds)


def signed(body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """Headers that say when a body was sent and that we sent it; none without a secret.

    ``X-Driftline-Timestamp`` is the time in whole seconds since 1970, ``X-Driftline-Signature`` is ``sha256=`` and the
    HMAC, in hexadecimal digits, of the timestamp, a full stop and the body.
    """
    if not secret:
        return {}
    timestamp = str(int(now.timestamp()))
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Driftline-Timestamp": timestamp, "X-Driftline-Signature": f"sha256={digest}"}


def delete(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Delete what stands at an address; raises as `post` does, `UnavailableError` where nothing stands there."""
    _ask("DELETE", url, None, headers={"User-Agent": "driftline"}, hidden=(), timeout_seconds=timeout_seconds)


def is_signed(body: bytes, headers: Mapping[str, str], secret: str, now: datetime) -> bool:
    """Whether a body came with the headers of `signed`, by this secret and at most five minutes ago (or ahead)."""
    timestamp = headers.get("X-Driftline-Timestamp", "")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _LONGEST_TIMESTAMP):
        return False
    if abs(now.timestamp() - int(timestamp)) > OLDEST_SIGNATURE_SECONDS:
        return False
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={digest}".encode(), headers.get("X-Driftline-Signature", "").encode())


_Answer = TypeVar("_Answer")


def get(url: str, kind: type[_Answer], *, timeout_seconds: float = TIMEOUT_SECONDS) -> _Answer:
    """Get JSON from an address, as a value of a kind; raises as `post` does, `UnavailableError` for other content."""
    body = _ask("GET", url, None, headers={"User-Agent": "driftline"}, hidden=(), timeout_seconds=timeout_seconds)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"the answer is not understood: {error}") from error


def _ask(
    method: str,
    url: str,
    content: bytes | None,
    *,
    headers: Mapping[str, str],
    hidden: Sequence[str],
    timeout_seconds: float,
) -> bytes:
    try:
        address = httpx.URL(url)
        with (
            httpx.Client(timeout=timeout_seconds, trust_env=False, verify=_certificates()) as client,
            bounded(timeout_seconds) as trace,
            client.stream(
                method,
                # httpx logs the address of each request: it is told of the server, and the transport of the rest.
                address.copy_with(userinfo=b"", raw_path=b"/", fragment=None),
                extensions={"target": address.raw_path, "trace": trace},
                auth=(address.username, address.password) if address.userinfo else None,
                content=content,
                headers=headers,
            ) as answer,
        ):
            if not answer.is_success:
                raise _error(answer, [url, str(address), address.raw_path.decode(), address.path, *hidden])
            return _whole(answer) if method == "GET" else b""
    except (httpx.InvalidURL, UnicodeError) as error:
        # Their texts quote parts of the address.
        raise UnreachableError(f"{type(error).__name__}: not an address that can be asked") from error
    except httpx.HTTPError as error:
        raise UnreachableError(_without(f"{type(error).__name__}: {error}", [url, *hidden])) from error


@contextlib.contextmanager
def bounded(timeout_seconds: float) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """Bound a request as a whole: httpx bounds each wait of it, and a byte now and then would keep it for days.

    Gives what httpx takes as the extension ``trace``. When the time is over the connection ends, as if by the server.
    """
    line = _Line()
    timer = threading.Timer(timeout_seconds * WHOLE_ANSWER_TIMES, line.hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield line.follow
    finally:
        timer.cancel()


class _Line:
    """The socket by which a request goes."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._over = False

    def follow(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the connection, and of the encrypted one that takes its place."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._over:
                self.hang_up()

    def hang_up(self) -> None:
        """End the connection, or the one that comes: whoever reads from it is told so."""
        self._over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is over
                self._socket.shutdown(socket.SHUT_RDWR)


def _whole(answer: httpx.Response) -> bytes:
    """An answer's body; raises `UnavailableError` for one that has no end."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            raise UnavailableError(f"the answer has more than {LARGEST_ANSWER_BYTES:,} bytes")
    return bytes(body)


@functools.cache
def _certificates() -> ssl.SSLContext:
    # Reading them takes longer than most requests.
    return httpx.create_ssl_context(trust_env=False)


def _error(answer: httpx.Response, hidden: Sequence[str]) -> UnavailableError:
    # Servers like to quote the path of what they did not find.
    said = _without(" ".join(beginning(answer).split()), hidden)[:_SHOWN_LENGTH]
    text = f"status {answer.status_code}: {said}".removesuffix(": ")
    if answer.status_code in _NEVER_TAKEN:
        return RefusedError(text)
    return UnavailableError(text, retry_after=_retry_after_seconds(answer.headers))


def beginning(answer: httpx.Response) -> str:
    """The beginning of an answer's text: the whole may be of any size, and may break off."""
    text = ""
    try:
        for chunk in answer.iter_text():
            text += chunk
            if len(text) >= _READ_LENGTH:
                break
    except httpx.HTTPError:
        return text
    return text


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 1:
            text = text.replace(secret, "…")
    return text


def _retry_after_seconds(headers: httpx.Headers) -> float | None:
    """Seconds to wait, 0 to 3600, of a Retry-After in seconds or as a date; None without one that can be read."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            # By the server's own clock: ours may be another.
            wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = wait.total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_SECONDS)
