"""Recall a model's schema and reference from the state, as they are wanted by what is shown."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from driftline.events import Schema
from driftline.monitoring.options import ModelConfig
from driftline.profiles import Reference
from driftline.sketches import decode
from driftline.statistics.catalogue import headlines
from driftline.statistics.performance import measures
from driftline.store.models import ModelRow

_REMEMBERED = 4  # models that are being looked at; a reference of a hundred columns has some megabytes


def schema_of(row: ModelRow) -> Schema:
    """Return the stored schema."""
    return decode(row.schema, Schema)


def reference_of(row: ModelRow) -> Reference:
    """Return the stored reference; those that were asked for last are not decoded again."""
    return _decoded(row.reference)


def measures_of_reference(row: ModelRow, config: ModelConfig) -> Mapping[str, float]:
    """Return the headlines and the measures of rules on the reference, as far as they have a value there."""
    reference, schema = decode(row.reference, Reference), schema_of(row)
    names = {*headlines(), *(rule.measure for rule in config.rules)}
    found = measures(reference.profile.performance, positive=schema.positive, names=names, naive=reference.naive)
    return {name: one.value for name, one in found.items() if one.value is not None}


@functools.lru_cache(_REMEMBERED)
def _decoded(body: bytes) -> Reference:
    return decode(body, Reference)
