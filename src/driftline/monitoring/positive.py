"""The positive class of a binary model as programs and pages are shown it."""

from __future__ import annotations

from driftline.events import Schema, Task, guess_positive
from driftline.profiles import Columns
from driftline.profiles.infer import named_in
from driftline.rules.contest import PositiveView

_UNKNOWN = "as no class was known"


def positive_view(schema: Schema, columns: Columns, said: str | None, doubt: str = "") -> PositiveView | None:
    """Return the positive class of a schema, None of other models; ``said`` is what the user said of it."""
    if schema.task is not Task.BINARY or schema.positive is None:
        return None
    guess = guess_positive(schema.classes, **named_in(columns)) if said is None else None
    by = guess.by if guess is not None and guess.name == schema.positive else _UNKNOWN
    return PositiveView(schema.positive, said is None, by if said is None else None, doubt or None)
