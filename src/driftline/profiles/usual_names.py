"""Find columns whose names suggest a role, such as label or time, that the user did not give them."""

from __future__ import annotations

from collections.abc import Iterable

from driftline.lookalikes import shown_all
from driftline.profiles.columns import Columns

USUAL_NAMES = {
    "label": ("label", "target", "y", "y_true", "actual", "ground_truth"),
    "prediction": ("prediction", "predicted", "pred", "y_pred"),
    "score": ("score", "proba", "probability", "y_score", "y_proba"),
    "id": ("id", "uuid", "row_id"),
    "time": ("time", "timestamp", "ts", "datetime", "event_time"),
}
"""The usual names of columns of each role."""


def unplayed(columns: Columns, names: Iterable[str]) -> dict[str, str]:
    """Return the columns that are inputs only because the user gave them no role, with the role that the name suggests.

    Only roles that no column has are suggested. Empty if the user named the inputs.

    >>> unplayed(Columns(label="y"), ["Target", "y", "ID", "age"])
    {'ID': 'id'}
    >>> unplayed(Columns(features=("id", "age")), ["id", "age", "label"])
    {}
    """
    if columns.features is not None:
        return {}
    taken = {*columns.roles, *columns.ignore, *columns.segments, columns.cluster}
    open_parts = {part for part in USUAL_NAMES if not getattr(columns, part)}
    return {
        name: part
        for name in names
        for part, usual in USUAL_NAMES.items()
        if part in open_parts and name not in taken and name.strip().lower() in usual
    }


def unplayed_words(found: dict[str, str], how: str) -> str:
    """Say in one sentence how to give those columns their roles; ``how`` is a pattern with ``{part}`` and ``{column}``.

    >>> unplayed_words({"label": "label"}, "--{part} {column}")
    'column label is taken as an input; --label label makes it the label'
    >>> unplayed_words({"y": "label", "ts": "time"}, "--{part} {column}")
    'columns y and ts are taken as inputs; --label y and --time ts give them their parts'
    """
    told = shown_all(found)
    ways = [how.format(part=part, column=told[name]) for name, part in found.items()]
    if len(found) == 1:
        ((name, part),) = found.items()
        return f"column {told[name]} is taken as an input; {ways[0]} makes it the {part}"
    return f"columns {listed(told.values())} are taken as inputs; {listed(ways)} give them their parts"


def listed(texts: Iterable[str]) -> str:
    """Join one or more texts by commas, the last one by "and".

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
