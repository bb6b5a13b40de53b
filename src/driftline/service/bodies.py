"""Bodies of requests and answers: read raw, within a limit, and checked by msgspec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response

from driftline.errors import DataError, UsageError
from driftline.service.batches import JSON, UnsupportedTypeError

BODY_LIMIT_BYTES = 32 * 2**20

_Body = TypeVar("_Body", bound=msgspec.Struct)


class BodyTooLargeError(UsageError):
    """A body over the limit."""


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(value), status, headers=dict(headers or {}), media_type="application/json")


async def body_of(request: Request) -> bytes:
    """The body of a request, `BODY_LIMIT_BYTES` at most, as it was sent."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedTypeError(
            f"Content-Encoding {request.headers['content-encoding']!r} came; send the body as it is"
        )
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT_BYTES:
            raise BodyTooLargeError(f"the body is over {BODY_LIMIT_BYTES} bytes; send smaller batches")
        chunks.append(chunk)
    return b"".join(chunks)


async def json_of(request: Request) -> bytes:
    """The body; only JSON by name, which no form of another site can send unasked."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise UnsupportedTypeError(f"send the body as Content-Type: {JSON}")
    return await body_of(request)


def json_schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The description of a JSON body: it is read raw, so that FastAPI does not know it."""
    whole = msgspec.json.schema(kind)
    return {"requestBody": {"required": True, "content": {JSON: {"schema": _without_references(whole, whole)}}}}


def _without_references(schema: Any, whole: Mapping[str, Any]) -> Any:
    """A schema with what it refers to in its place: OpenAPI looks for definitions elsewhere."""
    if isinstance(schema, list):
        return [_without_references(one, whole) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _without_references(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    return {key: _without_references(value, whole) for key, value in schema.items() if key != "$defs"}


def read_body(data: bytes, kind: type[_Body]) -> _Body:
    """Check a JSON body; raises `DataError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DataError(f"the body is not what it should be: {error}") from error
