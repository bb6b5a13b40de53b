"""Write the report of a check as one JSON document."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from driftline.results.check import CheckReport


def document(report: CheckReport) -> dict[str, Any]:
    """Return a report as plain values, for JSON: numbers are finite or None, and columns are a list in their order."""
    plain = {name: _plain(getattr(report, name)) for name in CheckReport.__struct_fields__}
    return plain | {"columns": [*plain["columns"].values()]}


def to_json(report: CheckReport) -> str:
    """Write a report as JSON."""
    return json.dumps(document(report), indent=2, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    match value:
        case msgspec.Struct():
            keys = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
            return {key: _plain(getattr(value, name)) for key, name in keys}
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case tuple():
            return [_plain(one) for one in value]
        case enum.Enum():
            return value.value
    return value
