"""The rows that a contest is judged on, in the form in which they are sent: labels and both versions' answers.

A run on another machine sends these rows, not a verdict: the gates are checked where they are configured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.events import Task
from driftline.rules.contestants import Entry, Rows
from driftline.statistics.influence import Floats, Texts

MOST_ROWS = 1_000_000

Value = str | bool | int | float | None
Values = Annotated[list[Value], msgspec.Meta(max_length=MOST_ROWS)]
Numbers = Annotated[list[float | None], msgspec.Meta(max_length=MOST_ROWS)]


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version's answers to n rows: n predictions, None where it gave none, and n scores of each class that it scores.

    ``latency_seconds`` has any number of measurements, possibly none.
    """

    prediction: Values
    score: Annotated[dict[str, Numbers], msgspec.Meta(max_length=1_000)] = {}
    latency_seconds: Annotated[list[float], msgspec.Meta(max_length=MOST_ROWS)] = []


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The n labelled rows of a contest: n labels, and the answers of champion and challenger.

    ``id``, the n ids under which predictions were logged, lets Driftline check labels and answers against its log.
    ``seconds`` are the n times of the rows since 1970, ``segments`` the n values of each segment, and
    ``trained_until`` is the time in seconds at which the challenger's training data ended. Raises `ValueError` for
    columns of different lengths, a row without a label and an id that comes twice.
    """

    label: Values
    champion: Said
    challenger: Said
    id: Annotated[list[str], msgspec.Meta(max_length=MOST_ROWS)] | None = None
    seconds: Annotated[list[float], msgspec.Meta(max_length=MOST_ROWS)] | None = None
    segments: Annotated[
        dict[str, Annotated[list[str | None], msgspec.Meta(max_length=MOST_ROWS)]], msgspec.Meta(max_length=100)
    ] = {}
    trained_until: float | None = None

    def __post_init__(self) -> None:
        columns: dict[str, list[Value] | list[str] | list[float] | list[str | None] | list[float | None]] = {
            **{f"{who}.prediction": said.prediction for who, said in self.said.items()},
            **{f"{who}.score of {name!r}": one for who, said in self.said.items() for name, one in said.score.items()},
            **{f"segment {name!r}": values for name, values in self.segments.items()},
        }
        if self.id is not None:
            columns["id"] = self.id
        if self.seconds is not None:
            columns["seconds"] = self.seconds
        for name, values in columns.items():
            if len(values) != len(self.label):
                raise ValueError(f"{name} has {len(values)} values, label has {len(self.label)}; one for each row")
        if None in self.label:
            raise ValueError(f"row {self.label.index(None)} has no label; leave such rows out")
        if self.id is not None and len(set(self.id)) < len(self.id):
            raise ValueError("an id came twice; each row has its own")

    @property
    def said(self) -> Mapping[str, Said]:
        """The answers of each of the two, by its role."""
        return {"champion": self.champion, "challenger": self.challenger}


def evidence_of(champion: Entry, challenger: Entry, rows: Rows, ids: list[str] | None = None) -> Evidence:
    """Return the evidence of a contest: the rows that the champion was asked about, and both versions' answers."""
    kept = np.ones(len(rows.labels), np.bool_) if champion.asked is None else champion.asked
    return Evidence(
        label=_values(rows.labels[kept], rows.task),
        champion=_said(champion, kept, rows.task),
        challenger=_said(challenger, kept, rows.task),
        id=None if ids is None else [id for id, there in zip(ids, kept.tolist(), strict=True) if there],
        seconds=None if rows.seconds is None else rows.seconds[kept].tolist(),
        segments={name: values[kept].tolist() for name, values in rows.segments.items()},
        trained_until=rows.trained_until,
    )


def _said(entry: Entry, kept: npt.NDArray[np.bool_], task: Task) -> Said:
    said = _values(entry.predictions[kept], task)
    return Said(
        prediction=[one if there else None for one, there in zip(said, entry.answered[kept].tolist(), strict=True)],
        score={name: _finite(score[kept]) for name, score in entry.scores.items()},
        latency_seconds=entry.latency_seconds.tolist(),
    )


def _values(values: Texts | Floats, task: Task) -> list[Value]:
    return [*_finite(np.asarray(values, np.float64))] if task is Task.REGRESSION else [*values.tolist()]


def _finite(values: Floats) -> list[float | None]:
    return [one if math.isfinite(one) else None for one in values.tolist()]
