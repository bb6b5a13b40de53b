"""Writes a rule as it stands in ``driftline.yaml``."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from driftline.config.first_file import scalar
from driftline.events import Segment
from driftline.rules import Rule
from driftline.text.numbers import exact

_KEYS = {"for_windows": "for"}


def rule_text(rule: Rule) -> str:
    """Return the entry of ``alerts.rules`` that comes to this rule; what is as usual is left out.

    Law: a configuration with this entry has this rule.

    >>> print(rule_text(Rule("accuracy-low", "accuracy", below=0.7, for_windows=2)))
    - name: accuracy-low
      measure: accuracy
      below: 0.7
      for: 2
    """
    return "\n".join(f"{'  ' if place else '- '}{line}" for place, line in enumerate(_lines(rule)))


def _lines(rule: Rule) -> Iterator[str]:
    for field in msgspec.structs.fields(Rule):
        value = getattr(rule, field.name)
        if field.required or value != field.default:
            yield f"{_KEYS.get(field.name, field.name)}: {_written(value)}"


def _written(value: str | float | Segment | None) -> str:
    if isinstance(value, Segment):
        return f"{{{scalar(value.column)}: {scalar(value.value)}}}"
    if isinstance(value, str):
        return scalar(str(value))
    assert value is not None  # which is the default of every field that may be None
    return exact(value)
