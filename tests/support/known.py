"""What the state knows of predictions, by their ids: written and read as a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import polars as pl

from driftline.sketches.hashing import fingerprints
from driftline.store.framed import TIME
from driftline.store.predictions import label_marks
from driftline.store.state import Work
from driftline.store.tables import EPOCH

Label = str | float | None
KEPT = timedelta(days=90)


def put_known(work: Work, model: str, known: Mapping[str, tuple[datetime, Label]], *, came: datetime = EPOCH) -> None:
    """Have the state know predictions, by id: when they were, and their label."""
    ids, times = pl.Series([*known], dtype=pl.String), pl.Series([time for time, _ in known.values()], dtype=TIME)
    keys, marks = fingerprints(ids), [mark_of(label) for _, label in known.values()]
    micros = times.to_physical().to_numpy()
    work.predictions.put(model, keys, micros, pl.Series(marks, dtype=pl.UInt64).to_numpy(), came=came, kept_for=KEPT)


def known_of(work: Work, model: str, ids: Iterable[str]) -> dict[str, tuple[datetime, int]]:
    """Those of the ids that the state knows: when they were, and the mark of their label."""
    ids = list(ids)
    found = work.predictions.find(model, fingerprints(pl.Series(ids, dtype=pl.String)))
    return {
        id: (EPOCH + timedelta(microseconds=time), mark)
        for id, there, time, mark in zip(
            ids, found.known.tolist(), found.times.tolist(), found.marks.tolist(), strict=True
        )
        if there
    }


def mark_of(label: Label) -> int:
    """The mark of one label."""
    dtype = pl.Float64 if isinstance(label, float) else pl.String
    return int(label_marks(pl.Series([label], dtype=dtype))[0])
