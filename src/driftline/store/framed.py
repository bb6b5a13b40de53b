"""Predictions that came by column and stay so: one frame from the door to the log, never one object an event."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from driftline.errors import DataError
from driftline.events import Kind, Prediction, Schema, Task
from driftline.events.columns import PredictionColumns
from driftline.profiles.frame import FEATURE, SCORE

TIME = pl.Datetime("us", "UTC")
_OPTIONAL = "latency_seconds"


@dataclass(frozen=True, slots=True)
class PredictionFrame:
    """Checked predictions as rows of the log, without ``seq``; none of them is a shadow.

    Columns of scores and latencies that no row has a value of may be left out. ``names`` are the different values of
    columns of which they are known.
    """

    frame: pl.DataFrame
    names: Mapping[str, Collection[str]] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        """Return how many events there are."""
        return self.frame.height

    @property
    def newest(self) -> datetime:
        """The latest of the times; there is at least one."""
        found = self.frame["time"].max()
        assert isinstance(found, datetime)
        return found.astimezone(UTC)

    @property
    def scored(self) -> list[str]:
        """The classes that a row has a score of."""
        scores = (one for one in self.frame if one.name.startswith(SCORE))
        return [one.name.removeprefix(SCORE) for one in scores if one.null_count() < len(one)]

    def different(self, column: str) -> Collection[str | float]:
        """Return the values of a column, each once."""
        known = self.names.get(column)
        return self.frame[column].unique().to_list() if known is None else known

    def columns(self) -> PredictionColumns:
        """Return the same events as lists."""
        rows, listed = self.frame, {one.name: one.to_list() for one in self.frame if one.name != "time"}
        return PredictionColumns(
            ids=listed["id"],
            times=rows["time"].to_physical().to_list(),
            versions=listed["version"],
            features={name.removeprefix(FEATURE): of for name, of in listed.items() if name.startswith(FEATURE)},
            predictions=listed["prediction"],
            scores={name.removeprefix(SCORE): of for name, of in listed.items() if name.startswith(SCORE)},
            latencies=listed.get(_OPTIONAL) or [None] * len(self),
        )

    def rows(self) -> list[Prediction]:
        """Return the same events one by one."""
        return self.columns().rows()

    def packed(self) -> bytes:
        """Return them as a stream of Arrow, which is read again without looking at a value."""
        stream = io.BytesIO()
        self.frame.rechunk().write_ipc_stream(stream)  # one message, however many the body had
        return stream.getvalue()

    @classmethod
    def unpacked(cls, body: bytes) -> PredictionFrame:
        """Read what `packed` has returned; raise `DataError` for what it has not."""
        try:
            return cls(pl.read_ipc_stream(io.BytesIO(body)))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, OverflowError) as error:
            raise DataError("the stored bytes of the batch are no frame") from error


def is_packed(body: bytes) -> bool:
    """Return whether bytes are those of a packed frame: no MessagePack of events begins so.

    >>> is_packed(PredictionFrame(pl.DataFrame()).packed()), is_packed(b"")
    (True, False)
    """
    return body.startswith(b"\xff\xff\xff\xff")


def target_type(schema: Schema) -> type[pl.Float64] | type[pl.String]:
    """Return the type of predictions and labels: names of classes, or numbers."""
    return pl.Float64 if schema.task is Task.REGRESSION else pl.String


def feature_type(kind: Kind) -> type[pl.Float64] | type[pl.String]:
    """Return the type of a feature."""
    return pl.Float64 if kind is Kind.NUMERIC else pl.String


def logged_frame(parts: Sequence[tuple[int, PredictionFrame]], schema: Schema) -> pl.DataFrame:
    """Return the predictions of batches as rows of the log; there is at least one batch.

    Each comes with its number in the inbox. A feature that the model had not yet is null. Raises `DataError` where they
    were checked by a schema that has others.
    """
    frames = [one.frame for _, one in parts]
    try:
        whole = pl.concat(frames, how="vertical", rechunk=True)
    except pl.exceptions.PolarsError:  # some have columns that others have not
        wanted = _wanted(schema, {name for one in frames for name in one.columns})
        whole = pl.concat([pl.DataFrame([*_typed(one, wanted)]) for one in frames], how="vertical", rechunk=True)
    seqs = np.repeat(np.array([seq for seq, _ in parts], np.int64), [len(one) for _, one in parts])
    return pl.DataFrame([pl.Series("seq", seqs), *_typed(whole, _wanted(schema, whole.columns))])


def _wanted(schema: Schema, there: Collection[str]) -> dict[str, Any]:
    """Return the columns of the log, in their order, each with its type; ``there`` are those of batches."""
    scores = {SCORE + name for name in schema.classes} | {name for name in there if name.startswith(SCORE)}
    return {
        "id": pl.String,
        "time": TIME,
        "version": pl.String,
        "prediction": target_type(schema),
        _OPTIONAL: pl.Float64,
        **{FEATURE + name: feature_type(kind) for name, kind in schema.features.items()},
        **dict.fromkeys(sorted(scores), pl.Float64),
    }


def _typed(frame: pl.DataFrame, wanted: Mapping[str, Any]) -> Iterator[pl.Series]:
    """Yield the wanted columns of a frame, null where it has none."""
    there = set(frame.columns)
    for name, dtype in wanted.items():
        if name not in there and (name == _OPTIONAL or name.startswith((FEATURE, SCORE))):
            yield pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height)
        elif name not in there or frame[name].dtype != dtype:
            came = f"is {frame[name].dtype}" if name in there else "is not there"
            raise DataError(f"column {name!r} of a waiting batch {came}: it was taken under another configuration")
        else:
            yield frame[name]
