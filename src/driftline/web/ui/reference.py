"""Describe the API on a page: from the OpenAPI document, without scripts of third parties."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation."""

    name: str
    place: str
    required: bool
    allowed: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: method and path, what it does, what it takes. ``body`` is a JSON Schema, or empty."""

    method: str
    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    types: tuple[str, ...]
    body: str


def operations(document: Mapping[str, Any]) -> list[tuple[str, list[Operation]]]:
    """Return the operations of an OpenAPI document by tag, in the order of the document."""
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = next((one["schema"] for one in content.values()), None)
            found = Operation(
                method=method.upper(),
                path=path,
                summary=operation.get("summary", ""),
                parameters=tuple(_parameter(one) for one in operation.get("parameters", ())),
                types=tuple(content),
                body=json.dumps(schema, indent=2, ensure_ascii=False) if schema else "",
            )
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(found)
    return list(groups.items())


def _parameter(one: Mapping[str, Any]) -> Parameter:
    return Parameter(one["name"], one["in"], bool(one.get("required")), _allowed(one.get("schema", {})))


def _allowed(schema: Mapping[str, Any]) -> str:
    """Describe the allowed values of a parameter in a few words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    words = str(schema.get("format") or schema.get("type") or "anything")
    if "minimum" in schema and "maximum" in schema:
        words += f" from {schema['minimum']} to {schema['maximum']}"
    return words
