"""Check JSON bodies of requests against a type, with msgspec."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from driftline.errors import DataError
from driftline.text import short

_Body = TypeVar("_Body", bound=msgspec.Struct)


def read_body(data: bytes, kind: type[_Body]) -> _Body:
    """Decode a JSON body to a type; raises `DataError` if it is not JSON or does not match the type."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"the body is not what it should be: {short(str(error), 300)}") from error
    except RecursionError as error:
        raise DataError("the body is nested too deeply") from error
