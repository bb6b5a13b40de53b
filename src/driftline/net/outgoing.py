"""Make all requests to other servers: what is sent, what an answer means, and what errors must not show."""

from __future__ import annotations

import contextlib
import functools
import math
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from driftline.errors import RefusedError, UnavailableError, UnreachableError

if TYPE_CHECKING:
    import httpx  # at run time imported where it is used: most commands send nothing, and the import takes longer

TIMEOUT_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0
WHOLE_ANSWER_TIMES = 3
"""The time limit of a whole answer, in multiples of the time limit of each wait."""

LARGEST_ANSWER_BYTES = 8 * 10**6

NEVER_TAKEN = frozenset({400, 405, 411, 413, 414, 415, 422})
"""Statuses that mean that the server will never accept the same request."""

_SHOWN_LENGTH = 200
_READ_LENGTH = 4000

_Kind = TypeVar("_Kind")


def post(
    url: str,
    content: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    hidden: Sequence[str] = (),
    timeout_seconds: float = TIMEOUT_SECONDS,
    refused: Collection[int] = NEVER_TAKEN,
) -> None:
    """Post a body, JSON unless ``headers`` say otherwise, to an address; return when the answer is 200 to 299.

    Redirects are not followed and proxies of the environment are not used: an address may hold a secret, which must
    not travel. For the same reason no error shows the address or anything in ``hidden``, and no log the address.

    Raises `UnreachableError` if no answer comes in time, `RefusedError` for a status in ``refused``, which the same
    request would get again (400, 405, 411, 413, 414, 415, 422), and `UnavailableError` for any other status, with the
    seconds of Retry-After.
    """
    headers = {"Content-Type": "application/json", **(headers or {})}
    _request("POST", url, content, headers, hidden, timeout_seconds, refused=refused, read=False)


def delete(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Delete what is at an address; raises what `post` raises, and `UnavailableError` if nothing is there."""
    _request("DELETE", url, None, {}, (), timeout_seconds, read=False)


def get(url: str, kind: type[_Kind], *, timeout_seconds: float = TIMEOUT_SECONDS) -> _Kind:
    """Get JSON from an address as a ``kind``; raises what `post` raises, and `UnavailableError` for other content."""
    return _decoded(_request("GET", url, None, {}, (), timeout_seconds) or b"", kind)


def ask(
    method: str,
    url: str,
    kind: type[_Kind],
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    hidden: Sequence[str] = (),
) -> _Kind:
    """Send a body as JSON, and return the answer as a ``kind``; raises what `post` and `get` raise."""
    answer = ask_unless((), method, url, kind, body, headers=headers, hidden=hidden)
    assert answer is not None
    return answer


def ask_unless(
    statuses: Collection[int],
    method: str,
    url: str,
    kind: type[_Kind],
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    hidden: Sequence[str] = (),
) -> _Kind | None:
    """Do as `ask`; return None if the status is one of ``statuses``."""
    sent = {"Accept": "application/json", **({} if body is None else {"Content-Type": "application/json"})}
    content = None if body is None else msgspec.json.encode(body)
    answer = _request(method, url, content, sent | dict(headers or {}), hidden, TIMEOUT_SECONDS, unless=statuses)
    return None if answer is None else _decoded(answer, kind)


def bearer(token: str) -> dict[str, str]:
    """Return the header with a bearer token; empty without a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


@contextlib.contextmanager
def download(url: str, block_bytes: int, timeout_seconds: float) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Get a file that the user named: yields the status of the answer, and its bytes in blocks of ``block_bytes``.

    Unlike all other requests this one follows redirects and uses the proxies of the environment, since it is the
    user's own. Raises `UnreachableError` if there is no answer, or it breaks off.
    """
    import httpx

    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=timeout_seconds) as answer:
            yield answer.status_code, answer.iter_bytes(block_bytes)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreachableError(str(error) or type(error).__name__) from error


def _decoded(body: bytes, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnavailableError(f"the answer is not understood: {error}") from error


def _request(
    method: str,
    url: str,
    content: bytes | None,
    headers: Mapping[str, str],
    hidden: Sequence[str],
    timeout_seconds: float,
    *,
    refused: Collection[int] = NEVER_TAKEN,
    unless: Collection[int] = (),
    read: bool = True,
) -> bytes | None:
    """Return the body of an answer of 200 to 299, empty unless it is ``read``; None for a status of ``unless``."""
    import httpx

    try:
        address = httpx.URL(url)
        with (
            httpx.Client(timeout=timeout_seconds, trust_env=False, verify=_certificates()) as client,
            _bounded(timeout_seconds) as trace,
            client.stream(
                method,
                # httpx logs the address of each request: it gets only the server, and the transport the rest.
                address.copy_with(userinfo=b"", raw_path=b"/", fragment=None),
                extensions={"target": address.raw_path, "trace": trace},
                auth=(address.username, address.password) if address.userinfo else None,
                content=content,
                headers={"User-Agent": "driftline", **headers},
            ) as answer,
        ):
            if answer.status_code in unless:
                return None
            if not answer.is_success:
                paths = [url, str(address), address.raw_path.decode(), address.path]
                raise _error(answer, [*paths, *hidden], refused)
            return _whole(answer) if read else b""
    except (httpx.InvalidURL, UnicodeError) as error:
        # The messages of these errors quote parts of the address.
        raise UnreachableError(f"{type(error).__name__}: not an address that can be asked") from error
    except httpx.HTTPError as error:
        raise UnreachableError(_without(f"{type(error).__name__}: {error}", [url, *hidden])) from error


@contextlib.contextmanager
def _bounded(timeout_seconds: float) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """Bound the time of a whole request: httpx bounds each wait only, and a byte now and then would keep it for days.

    Yields the function for httpx's extension ``trace``. When the time is over, the connection ends as if the server had
    closed it.
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
    """The socket that a request uses."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._over = False

    def follow(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the connection, or the encrypted one that replaces it."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._over:
                self.hang_up()

    def hang_up(self) -> None:
        """End the connection, or the next one: reading from it then fails."""
        self._over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has already ended
                self._socket.shutdown(socket.SHUT_RDWR)


def _whole(answer: httpx.Response) -> bytes:
    """Return the body of an answer; raises `UnavailableError` for one that is too long."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            raise UnavailableError(f"the answer has more than {LARGEST_ANSWER_BYTES:,} bytes")
    return bytes(body)


@functools.cache
def _certificates() -> ssl.SSLContext:
    import httpx

    # Reading the certificates takes longer than most requests.
    return httpx.create_ssl_context(trust_env=False)


def _error(answer: httpx.Response, hidden: Sequence[str], refused: Collection[int]) -> UnavailableError:
    # Servers often quote the path of what they did not find.
    said = _without(" ".join(_beginning(answer).split()), hidden)[:_SHOWN_LENGTH]
    text = f"status {answer.status_code}: {said}".removesuffix(": ")
    if answer.status_code in refused:
        return RefusedError(text)
    return UnavailableError(text, retry_after=_retry_after_seconds(answer.headers))


def _beginning(answer: httpx.Response) -> str:
    """Return the beginning of an answer's text: the whole text may have any size, and may break off."""
    import httpx

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
    """Return the seconds of Retry-After, 0 to 3600, given in seconds or as a date; None if missing or unreadable."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            # By the server's own clock: ours may differ.
            wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = wait.total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_SECONDS)
