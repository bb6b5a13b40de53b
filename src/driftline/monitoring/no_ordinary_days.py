"""Days that are no ordinary ones, such as holidays, as a column of the rows says."""

from __future__ import annotations

import numpy as np

from driftline.errors import ConfigError, UnknownNameError
from driftline.events import Kind, Schema
from driftline.lookalikes import shown
from driftline.profiles import CategoricalColumn, Column, NumericColumn

_ORDINARY = frozenset({"false", "no", "0", "f", "n"})
_FLAGS = (Kind.CATEGORICAL, Kind.NUMERIC)


def require_flag(model: str, column: str, schema: Schema) -> None:
    """Refuse, by a `ConfigError`, a column that is no input of a model or cannot say yes or no."""
    key = f"models.{model}.calendar.column"
    if column not in schema.features:
        raise ConfigError(str(UnknownNameError("feature", column, schema.features)), key=key)
    if schema.features[column] not in _FLAGS:
        raise ConfigError(
            f"{shown(column)} came as {schema.features[column].value}; "
            "allowed is a column of truth values, of 0 and 1, or of names such as those of holidays",
            key=key,
        )


def has_mostly(column: Column | None) -> bool:
    """Whether at least half of some rows are of a day that is no ordinary one.

    Such a row has true, a number other than 0, or a name; others have false, 0, *no*, or nothing.

    >>> import polars as pl
    >>> has_mostly(CategoricalColumn.of(pl.Series(["Easter", None])))
    True
    >>> has_mostly(NumericColumn.of(pl.Series([0, 0, 1]))), has_mostly(None)
    (False, False)
    """
    if isinstance(column, CategoricalColumn):
        ordinary = sum(rows for name, rows in column.categories.counts.items() if name.casefold() in _ORDINARY)
        return 0 < column.rows <= 2 * (column.categories.count - ordinary)
    if isinstance(column, NumericColumn):
        sketch = column.sketch
        zero = sketch.counts[sketch.cells == sketch.grid.cells_of(np.zeros(1))].sum()
        return 0 < column.rows <= 2 * (sketch.count - int(zero))
    return False
