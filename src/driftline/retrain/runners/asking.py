"""Requests to the servers that take a request over: one question in JSON, its answer, and whether it was taken."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from driftline.errors import RefusedError, StorageError, UnavailableError, UnreachableError, UsageError
from driftline.net.outgoing import bounded

TIMEOUT_SECONDS = 10.0
TAKEN = "run.taken"
"""A file in the run's folder that says that another server has taken the request."""

_REFUSED = frozenset({400, 405, 411, 413, 414, 415, 422})
_READ_LENGTH = 1_000_000
_SHOWN_LENGTH = 200

_Kind = TypeVar("_Kind")


def ask(
    method: str,
    url: str,
    kind: type[_Kind],
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    hidden: Sequence[str] = (),
) -> _Kind:
    """Send a body as JSON, and read the answer as a value of a kind where the status is 200 to 299.

    Redirects are not followed, proxies of the environment are not used: there are secrets in the headers. What is
    ``hidden`` stands in no error. Raises as `driftline.net.outgoing.post` does, but knows of no Retry-After, and
    `UnavailableError` for other content.
    """
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
    """As `ask`; None where the status is one of ``statuses``."""
    sent = {"Accept": "application/json", "User-Agent": "driftline", **(headers or {})}
    if body is not None:
        sent["Content-Type"] = "application/json"
    try:
        with (
            httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client,
            bounded(TIMEOUT_SECONDS) as trace,
            client.stream(
                method,
                url,
                content=None if body is None else msgspec.json.encode(body),
                headers=sent,
                extensions={"trace": trace},
            ) as answer,
        ):
            text = _beginning(answer)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise UnreachableError(_without(f"{type(error).__name__}: {error}", hidden)) from error
    if answer.status_code in statuses:
        return None
    if not answer.is_success:
        said = _without(" ".join(text.decode("utf-8", errors="replace").split()), hidden)[:_SHOWN_LENGTH]
        error_type = RefusedError if answer.status_code in _REFUSED else UnavailableError
        raise error_type(f"status {answer.status_code}: {said}".removesuffix(": "))
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnavailableError(f"the answer is not understood: {error}") from error


def bearer(token: str) -> dict[str, str]:
    """The header that says who asks; none without a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def check_address(url: str, what: str) -> None:
    """Raise `UsageError` where the address of a server is none."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    # It may hold a password: it is not repeated.
    if not fits or not url.isascii() or not url.isprintable() or any(sign in url for sign in ' ?#"\\'):
        raise UsageError(f"the address of {what} is none; write http://HOST:PORT or https://HOST/PATH")


def was_taken(folder: Path) -> bool:
    """Whether the request of a run's folder was handed over: then there is nothing left to do."""
    return (folder / TAKEN).exists()


def mark(folder: Path, name: str = TAKEN) -> None:
    """Leave an empty file in the run's folder, which is made if need be. Raises `StorageError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    except OSError as error:
        raise StorageError(f"the run's folder {folder} cannot be written to: {error.strerror}") from error


def _beginning(answer: httpx.Response) -> bytes:
    text = b""
    for chunk in answer.iter_bytes():
        text += chunk
        if len(text) > _READ_LENGTH:
            break
    return text[:_READ_LENGTH]


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 1:
            text = text.replace(secret, "…")
    return text
