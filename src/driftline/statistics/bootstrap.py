"""Bootstrap intervals (Efron 1979) for user-defined measures, from their values on resamples of the rows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.events import Schema, Task
from driftline.profiles.blocks import DAY, Keys, keys_of
from driftline.profiles.build import clusters_of
from driftline.profiles.frame import FEATURE, SCORE, with_predictions
from driftline.sources.own import Replicates
from driftline.statistics.intervals import Interval
from driftline.statistics.measure import Measure
from driftline.statistics.paired import Difference
from driftline.statistics.request import MeasureRequest
from driftline.statistics.special import t_quantile

_LEAST_BLOCKS = 10
"""With fewer, it cannot be told how far blocks vary."""


def rows_for(rows: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, npt.NDArray[np.int64] | None]:
    """Turn canonical rows (`driftline.profiles.frame`) into the labelled rows that user functions get, with blocks.

    The columns are ``label`` and ``prediction`` (names of classes, or numbers), ``score`` of the positive class of a
    binary model, or ``score.CLASS`` of each class, ``id`` and ``time`` if there are any, and the features under their
    own names; a feature named like one of these columns is left out. Blocks are those of `blocks_of`. Without a label
    or prediction column the frame is empty and the blocks are None.
    """
    rows = with_predictions(rows, schema)
    if "label" not in rows.columns or "prediction" not in rows.columns:
        return pl.DataFrame(), None
    rows = rows.filter(pl.col("label").is_not_null() & pl.col("prediction").is_not_null())
    binary = schema.task is Task.BINARY and schema.positive is not None
    parts: tuple[str, ...] = ("label", "prediction", "id", "time")
    names = {name: name for name in parts if name in rows.columns}
    scores = [name for name in rows.columns if name.startswith(SCORE)]
    names |= {name: "score" if binary and name == f"{SCORE}{schema.positive}" else name for name in scores}
    features = {name: name.removeprefix(FEATURE) for name in rows.columns if name.startswith(FEATURE)}
    names |= {name: plain for name, plain in features.items() if plain not in names.values()}
    keys = keys_of(clusters_of(rows, schema), rows["time"] if "time" in rows.columns else None)
    return rows.select(pl.col(name).alias(plain) for name, plain in names.items()), blocks_of(keys)


def measure_of(name: str, found: Replicates, *, confidence: float = 0.95) -> Measure:
    """Return the measure with its percentile interval, widened for few rows or blocks (Hesterberg 2015, 3.3).

    The interval is absent where the resamples could not be measured.
    """
    ask = MeasureRequest(name, confidence, None)
    if found.value is None:
        return ask.no(found.problem, found.n)
    if not found.draws or found.blocks < 2:
        return Measure(name, found.value, n=found.n, confidence=confidence)
    reach = math.sqrt(found.blocks / (found.blocks - 1)) * t_quantile(confidence, found.blocks - 1)
    tail = 0.5 * math.erfc(reach / math.sqrt(2))
    low, high = np.quantile(np.array(found.draws), [tail, 1 - tail])
    return ask.yes(found.value, Interval(float(low), float(high)), found.n)


def difference_of(name: str, found: Replicates, *, less_is_better: bool, confidence: float, rows: str) -> Difference:
    """Return by how much the first of two models is better by a user-defined measure; positive is better.

    ``found`` holds the differences, and ``rows`` names what was resampled (rows, days …). One-sided p-values are the
    shares of resamples on the other side of 0, with one added to both counts (Davison & Hinkley 1997, 4.11).
    """
    measure = measure_of(name, found, confidence=confidence)
    if measure.value is None or measure.low is None or measure.high is None:
        problem = measure.problem or "more than a tenth of the resamples could not be measured"
        return Difference(name, n=found.n, problem=problem)
    sign = -1.0 if less_is_better else 1.0
    low, high = sorted((sign * measure.low, sign * measure.high))
    draws, count = sign * np.array(found.draws), len(found.draws) + 1
    better, worse = (1 + int((draws <= 0).sum())) / count, (1 + int((draws >= 0).sum())) / count
    method = f"bootstrap of {found.blocks} {rows}"
    first, second = found.of
    return Difference(name, sign * measure.value, low, high, better, worse, first, second, found.n, method)


def enough_blocks(blocks: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
    """Return the blocks of rows, shape (n,); None where there are too few to draw from."""
    return blocks if blocks is not None and len(np.unique(blocks)) >= _LEAST_BLOCKS else None


def blocks_of(keys: Keys | None) -> npt.NDArray[np.int64] | None:
    """Return the block of each row, shape (n,): its cluster, or its day, or its hour where there are too few days.

    None where there are too few hours as well: then rows are resampled one by one. A row without a known cluster or
    time is a block of its own.
    """
    if keys is None:
        return None
    known = keys.known
    alone = -1 - np.arange(len(keys.numbers))
    for length in (DAY, 1) if keys.span else (1,):
        found = np.where(known, keys.numbers // length, 0)
        if len(np.unique(found[known])) >= _LEAST_BLOCKS:
            return np.where(known, found - found.min(), alone)
    return None
