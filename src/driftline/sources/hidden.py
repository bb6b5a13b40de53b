"""Rows of which some columns never come in clear: they are replaced as soon as they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import polars as pl

from driftline.sources.rows import Rows


class HiddenRows:
    """Other rows, each batch of which goes through ``hide``; ``hidden`` columns become texts, ``left_out`` none.

    Hidden columns are read as they are written: 02139 is no number before it is hidden.
    """

    def __init__(
        self,
        rows: Rows,
        hide: Callable[[pl.DataFrame], pl.DataFrame],
        hidden: Collection[str],
        left_out: Collection[str] = (),
    ) -> None:
        self._rows, self._hide, self._hidden, self._left_out = rows.retyped(hidden), hide, hidden, left_out
        self.name, self.count, self.narrow, self.typed = rows.name, rows.count, rows.narrow, rows.typed
        self.notes: Sequence[str] = self._rows.notes
        kept = {name: dtype for name, dtype in self._rows.schema.items() if name not in left_out}
        self.schema: Mapping[str, pl.DataType] = kept | {name: pl.String() for name in kept if name in hidden}

    def sample(self) -> pl.DataFrame:
        """Return the first rows."""
        return self._hide(self._rows.sample())

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield all rows of some columns."""
        for batch in self._rows.batches(columns):
            yield self._hide(batch)
        self.notes = self._rows.notes

    def retyped(self, texts: Collection[str]) -> HiddenRows:
        """Return the same with other columns as texts."""
        return HiddenRows(self._rows.retyped({*texts, *self._hidden}), self._hide, self._hidden, self._left_out)
