"""The reference: what a model's rows looked like when all was well. Computed once, stored, compared with ever after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from driftline.events import Kind, Schema, Task
from driftline.profiles.build import profile_rows
from driftline.profiles.frame import FEATURE
from driftline.profiles.profile import WindowProfile
from driftline.sketches import Grid

_EXACT_INTEGERS = 256  # whole numbers up to here have a cell of their own on the plain grid
_SAMPLE_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Reference:
    """The profile of the reference rows and the grids that every later profile of the model is counted on."""

    grids: Mapping[str, Grid] = field(default_factory=dict)
    profile: WindowProfile = field(default_factory=WindowProfile)

    @classmethod
    def of(cls, rows: pl.DataFrame, schema: Schema) -> Reference:
        """Choose the grids from canonical rows and profile them."""
        numeric = [FEATURE + name for name, kind in schema.features.items() if kind is Kind.NUMERIC]
        if schema.task is Task.REGRESSION:
            numeric += ["prediction", "label"]
        grids = {name: grid_for(rows[name]) for name in sorted(numeric) if name in rows.columns}
        return cls(grids, profile_rows(rows, schema, grids))


def grid_for(values: pl.Series) -> Grid:
    """Choose a grid: centred on the median, scaled by half the 16-84 % range as a power of two.

    Whole numbers up to 256 keep the plain grid, on which they are exact. Deterministic; looks at evenly spaced rows.
    """
    step = max(len(values) // _SAMPLE_ROWS, 1)
    there = values.gather_every(step).cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    finite = there[np.isfinite(there)]
    if not len(finite) or (bool((finite == np.rint(finite)).all()) and float(np.abs(finite).max()) <= _EXACT_INTEGERS):
        return Grid()
    low, middle, high = (float(q) * 4 for q in np.quantile(finite / 4, [0.16, 0.5, 0.84]))  # a quarter never overflows
    with np.errstate(over="ignore"):
        spread = (high / 2 - low / 2) or float(np.std(finite / 2) * 2)
    if not (math.isfinite(spread) and spread > 0):
        return Grid()
    scale = 2.0 ** max(min(round(math.log2(spread)), 1000), -1000)
    return Grid(middle + 0.0, scale)
