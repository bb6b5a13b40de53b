"""Send batches over one kept-alive connection to the server, and interpret its answers."""

from __future__ import annotations

import email.utils
import http.client
import math
import re
import urllib.parse
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from driftline.client.ids import now_ns
from driftline.errors import UsageError

Kind = Literal["predictions", "labels"]
KINDS: tuple[Kind, ...] = ("predictions", "labels")
"""The kinds of events, in the order in which a batch is sent."""

NDJSON, ARROW = "application/x-ndjson", "application/vnd.apache.arrow.stream"

LONGEST_RETRY_AFTER_SECONDS = 300.0
_READ_BYTES = 2**20
_TEXT_LENGTH = 500
_USER = re.compile(r"//.*@")  # who, and their password
_COME_AGAIN = (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_EARLY, http.HTTPStatus.TOO_MANY_REQUESTS)
_OF_SOME_ROW = (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.CONFLICT, http.HTTPStatus.UNPROCESSABLE_ENTITY)


class Refused(NamedTuple):
    """Why the server refused a row: the field, and the server's reason."""

    field: str
    reason: str


class Answer(NamedTuple):
    """The result of a request: *taken* (durable), *refused* (for good), or *away* (to be retried with the same key)."""

    fate: Literal["taken", "refused", "away"]
    message: str = ""
    status: int = 0
    bad: Mapping[int, Refused] = {}
    """The refused rows, by index."""
    after_seconds: float = 0.0
    """The pause that the server asked for; 0 if it did not."""
    accepted: int = 0
    set_aside: int = 0
    """Of a batch that was taken: how many rows it accepted, and how many it put into quarantine."""

    @property
    def may_be_of_one_row(self) -> bool:
        """Whether a single row may be the reason for the refusal, although the answer names none."""
        return self.status in _OF_SOME_ROW


class Transport:
    """Posts batches of one model, from the shipping thread alone; raises `UsageError` for invalid settings."""

    def __init__(self, model: str, url: str, token: str | None, timeout_seconds: float) -> None:
        _require(_is_name(model), f"model {model!r} came; allowed is a name, as in the server's driftline.yaml")
        shown = _USER.sub("//…@", repr(url))
        _require(_is_address(url), f"url {shown} came; allowed is http://HOST:PORT or https://…; check the address")
        _require(token is None or _is_ascii(token), "the token is not printable ASCII; check it for a line end")
        parts = urllib.parse.urlsplit(url)
        secure = parts.scheme == "https"
        self.url = url
        self._connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._host, self._port, self._timeout_seconds = parts.hostname or "", parts.port, timeout_seconds
        self._path = f"{parts.path.rstrip('/')}/api/v1/models/{urllib.parse.quote(model, safe='')}/"
        self._headers = {"User-Agent": "driftline"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    def forget(self) -> None:
        """Forget the connection without closing it: after a fork it belongs to the parent."""
        self._connection = None

    def post(
        self, kind: Kind, body: bytes, key: str, content_type: str = NDJSON, *, quarantine: bool = False
    ) -> Answer:
        """Send a batch and return the result; with ``quarantine`` bad rows are set aside instead of refused."""
        kept = self._connection is not None
        try:
            return self._post(kind + ("?on_error=quarantine" if quarantine else ""), body, key, content_type)
        except (OSError, http.client.HTTPException) as error:
            self.hang_up()
            if kept and not isinstance(error, TimeoutError):  # the server had closed the connection: make a new one
                return self.post(kind, body, key, content_type, quarantine=quarantine)
            return Answer("away", f"{type(error).__name__}: {error}")

    def _post(self, path: str, body: bytes, key: str, content_type: str) -> Answer:
        if self._connection is None:
            self._connection = self._connect(self._host, self._port, timeout=self._timeout_seconds)
        headers = {**self._headers, "Content-Type": content_type, "Idempotency-Key": key}
        self._connection.request("POST", self._path + path, body, headers)
        response = self._connection.getresponse()
        text = response.read(_READ_BYTES)
        if response.will_close or not response.isclosed():
            self.hang_up()
        status = response.status
        if status == http.HTTPStatus.ACCEPTED:
            return _taken(text)
        message, bad = _error_of(text)
        message = f"status {status}: {message}"
        if 400 <= status < 500 and status not in _COME_AGAIN:
            return Answer("refused", message, status, bad)
        # A redirection, or a 200 instead of a 202: this is not our server, or not yet. The events are kept.
        return Answer("away", message, status, after_seconds=seconds_of(response.headers.get("Retry-After")))

    def hang_up(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


# ---- answers --------------------------------------------------------------------------------------------------------


class _Accepted(msgspec.Struct):
    accepted: int = 0
    quarantined: int = 0


def _taken(body: bytes) -> Answer:
    try:
        said = msgspec.json.decode(body, type=_Accepted)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Accepted()
    return Answer("taken", accepted=said.accepted, set_aside=said.quarantined)


class _ErrorRow(msgspec.Struct):
    index: int
    field: str = ""
    reason: str = ""


class _Error(msgspec.Struct):
    message: str = ""
    rows: list[_ErrorRow] = []


class _ErrorBody(msgspec.Struct):
    error: _Error


def _error_of(body: bytes) -> tuple[str, Mapping[int, Refused]]:
    """Return the message and the refused rows of the server's error; of any other body, its beginning."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body[:200].decode(errors="replace"), {}
    return error.message[:_TEXT_LENGTH], {row.index: Refused(row.field, row.reason) for row in error.rows}


def seconds_of(retry_after: str | None) -> float:
    """Read a Retry-After header, seconds or a date, as seconds: 0 if it is absent or invalid, at most five minutes.

    >>> seconds_of("2"), seconds_of(None), seconds_of("soon"), seconds_of("nan"), seconds_of("1e9")
    (2.0, 0.0, 0.0, 0.0, 300.0)
    """
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after or "").timestamp() - now_ns() / 1e9
        except (ValueError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


# ---- settings -------------------------------------------------------------------------------------------------------


def _require(good: bool, text: str) -> None:
    if not good:
        raise UsageError(text)


def _is_ascii(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _is_name(value: object) -> bool:
    try:
        return isinstance(value, str) and value.encode().strip() != b""
    except UnicodeEncodeError:
        return False


def _is_address(value: object) -> bool:
    try:
        parts = urllib.parse.urlsplit(str(value))
        _ = parts.port  # raises for one that is no port
    except ValueError:
        return False
    whole = not (" " in str(value) or parts.query or parts.fragment or "@" in parts.netloc)
    return _is_ascii(value) and parts.scheme in ("http", "https") and bool(parts.hostname) and whole
