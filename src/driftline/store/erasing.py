"""Takes rows out of a table of the log, for good: files that have some are written anew without them, and deleted.

Nothing of it names a row: what Delta Lake's own delete would write into the table's history is the condition, and in it
whose rows they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from driftline.store.sums import DamagedError
from driftline.store.tidy import LiveFile, Tidier, commit, live_files, rows_in, sync


@dataclass(slots=True)
class Erased:
    """How many rows were taken out, of how many files; ``more`` where files are left to look at."""

    rows: int = 0
    files: int = 0
    more: bool = False


def erase(table: DeltaTable, tidier: Tidier, gone: pl.Expr, *, most_files: int | None = None) -> Erased:
    """Take the rows out that ``gone`` is true of, at most of so many files.

    Each file is a version of its own, so that what is cut off has done some of it. What was replaced is still in the
    place, until `Tidier.delete_all`. Raises `DamagedError` for a file with other bytes than were written.
    """
    found = Erased()
    for file in live_files(table):
        name = unquote(file.path)
        rows = pl.scan_parquet(tidier.place.uri(name), glob=False, storage_options=tidier.place.scan_options)
        hit = rows.filter(gone).select(pl.len()).collect().item()
        if not hit:
            continue
        if found.files == most_files:
            found.more = True
            break
        if damaged := tidier.sums.damaged([name]):
            raise DamagedError([tidier.place.uri(one) for one in damaged])
        _without(table, tidier, file, rows.filter(gone.not_() | gone.is_null()))
        found.rows += hit
        found.files += 1
    return found


def _without(table: DeltaTable, tidier: Tidier, file: LiveFile, left: pl.LazyFrame) -> None:
    """Write a file anew with the rows that are left of it; with none, it has no successor."""
    version, place = table.version() + 1, tidier.place
    name: str | None = tidier.name_of(file.tier, version)
    assert name is not None
    uri, options = place.uri(name), place.scan_options
    left.sink_parquet(uri, compression="zstd", maintain_order=True, storage_options=options)
    if rows_in(place, name)["numRecords"]:
        tidier.sums.add([name], anew=True)
        sync(place, [name])
    else:
        place.delete(name)
        name = None
    commit(place, version, [file], name, "DELETE")
    table.update_incremental()
