"""Read the bodies of requests within a limit, and write JSON answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from fastapi import Request, Response

from driftline.net.limits import QueueFullError, TooLargeError
from driftline.text import quoted
from driftline.web.requests import JSON, UnsupportedTypeError

SMALL_BODY_BYTES = 4 * 10**6
"""The limit of a body that is one JSON object, such as the feedback of a person."""

_BODIES_AT_A_TIME = 8
_LENGTH_DIGITS = 20


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(value), status, headers=dict(headers or {}), media_type="application/json")


class Bodies:
    """The bodies of all requests in progress; their total size is limited."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0

    @asynccontextmanager
    async def hold(
        self, request: Request, most_bytes: int | None = None, *, packed: bool = False
    ) -> AsyncIterator[bytes]:
        """Read a body as it was sent, and count its size until the request is done.

        Raises `TooLargeError` for one over the limit, before it is read where its size was sent, and `QueueFullError`
        while the bodies of other requests take all of the total. Without ``packed`` one with a Content-Encoding is
        refused.
        """
        most = self._most if most_bytes is None else min(most_bytes, self._most)
        if not packed and (coding := request.headers.get("content-encoding", "identity")) != "identity":
            raise UnsupportedTypeError(f"Content-Encoding {quoted(coding)} came; send the body as it is")
        stated = request.headers.get("content-length", "")
        if stated.isdecimal() and (len(stated) > _LENGTH_DIGITS or int(stated) > most):
            raise TooLargeError(f"the body has {stated[:_LENGTH_DIGITS]} bytes", most, "body")
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                if size + len(chunk) > most:
                    raise TooLargeError("the body is larger", most, "body")
                if self._held + len(chunk) > self._most * _BODIES_AT_A_TIME:
                    raise QueueFullError("many large bodies are being taken; try again later")
                size += len(chunk)
                self._held += len(chunk)
                chunks.append(chunk)
            yield b"".join(chunks)
        finally:
            self._held -= size


async def json_of(request: Request, most_bytes: int | None = SMALL_BODY_BYTES) -> bytes:
    """Read a JSON body. The content type must be JSON, which a form on another site cannot send.

    ``most_bytes`` None is the limit of any body.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise UnsupportedTypeError(f"send the body as Content-Type: {JSON}")
    bodies: Bodies = request.app.state.bodies
    async with bodies.hold(request, most_bytes) as body:
        return body


def json_schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON body: it is read raw, so that FastAPI does not know it."""
    whole = msgspec.json.schema(kind)
    return {"requestBody": {"required": True, "content": {JSON: {"schema": _without_references(whole, whole)}}}}


def _without_references(schema: Any, whole: Mapping[str, Any]) -> Any:
    """Replace the references of a schema by what they refer to: OpenAPI has definitions in another place."""
    if isinstance(schema, list):
        return [_without_references(one, whole) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _without_references(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    return {key: _without_references(value, whole) for key, value in schema.items() if key != "$defs"}
