"""Recall a model's schema and reference from the state, as they are wanted by what is shown."""

from __future__ import annotations

import functools

from driftline.events import Schema
from driftline.profiles import Reference
from driftline.sketches import decode
from driftline.store.models import ModelRow

_REMEMBERED = 4  # models that are being looked at; a reference of a hundred columns has some megabytes


def schema_of(row: ModelRow) -> Schema:
    """Return the stored schema."""
    return decode(row.schema, Schema)


def reference_of(row: ModelRow) -> Reference:
    """Return the stored reference; those that were asked for last are not decoded again."""
    return _decoded(row.reference)


@functools.lru_cache(_REMEMBERED)
def _decoded(body: bytes) -> Reference:
    return decode(body, Reference)
