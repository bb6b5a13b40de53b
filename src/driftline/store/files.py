"""Opens the files that people have: Parquet, CSV, Arrow IPC, newline-delimited JSON, and tables of Delta Lake.

A path, a glob, a folder, or the address of any of these in an object store, such as ``s3://bucket/data/*.parquet``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from glob import escape, glob, iglob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from driftline.errors import DataError, UsageError
from driftline.events.missing import MISSING_TEXTS
from driftline.store.rows import Rows, ScannedRows, readable

if TYPE_CHECKING:
    from deltalake import DeltaTable

_DUPLICATED = re.compile(r"(?P<name>.*)_duplicated_\d+")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")
_COMPRESSED = (".gz", ".zst")
_OTHERS = {".csv": ";\t|", ".tsv": ",;|"}  # signs that separate columns elsewhere
_FIRST_ROWS = 2_000
_SMALL_BYTES = 16 << 20  # of a text file: its types are taken from all rows


def _ipc(path: str) -> pl.LazyFrame:
    try:
        scan = pl.scan_ipc(path)
        scan.collect_schema()
    except pl.exceptions.ComputeError:  # the streaming format, which has no footer
        return pl.concat([pl.read_ipc_stream(file).lazy() for file in sorted(glob(path)) or [path]])
    return scan


_TYPED: Mapping[str, Callable[[str], pl.LazyFrame]] = {
    ".parquet": pl.scan_parquet,
    ".pq": pl.scan_parquet,
    ".arrow": _ipc,
    ".arrows": _ipc,
    ".feather": _ipc,
}
_SEPARATED: Mapping[str, str] = {".csv": ",", ".tsv": "\t"}
_JSON = (".ndjson", ".jsonl")
SUFFIXES = (*_TYPED, *_SEPARATED, *_JSON)
"""The files that are read, by suffix in small letters; texts may end in ``.gz`` or ``.zst`` besides."""


def open_rows(path: str | Path, missing: Sequence[str] = MISSING_TEXTS) -> Rows:
    """Open rows to be read in batches.

    Raises `UsageError` for what is not there or not known, `DataError` for what is broken. A folder is a Delta Lake
    table, or holds Parquet files. ``missing`` are the texts that stand for no value in CSV and TSV.
    """
    name = str(path)
    if not name:
        raise UsageError("an empty path came; name a file, a folder, a pattern or an address")
    if _ADDRESS.match(name):
        return _open(name.rstrip("/"), name, missing)
    with readable(name):  # what may not be looked at, or has a name too long for that
        return _open_local(name, missing)


def _open_local(name: str, missing: Sequence[str]) -> Rows:
    path = Path(name)
    if not path.exists():
        if not any(sign in name for sign in "*?["):
            raise UsageError(f"{name}: there is no such file")
        if not any(iglob(name, recursive=True)):
            raise UsageError(f"{name}: no file fits this pattern")
        return _open(name, name, missing)
    if not path.is_dir():
        return _open(escape(name), name, missing)
    if (path / "_delta_log").is_dir():  # whatever its name ends in
        return ScannedRows(_delta(name), name, narrow=True)
    if not any(path.rglob("*.parquet")):
        raise UsageError(
            f"{name} is a folder without a Delta Lake table or Parquet files; "
            "name a file, or a folder with _delta_log or *.parquet"
        )
    return ScannedRows(pl.scan_parquet(f"{escape(name)}/**/*.parquet"), name, narrow=True)


def read_rows(path: Path, missing: Sequence[str] = MISSING_TEXTS) -> pl.DataFrame:
    """Read a whole file into memory; arguments and errors as of `open_rows`."""
    rows = open_rows(path, missing)
    return pl.concat([rows.sample().clear(), *rows.batches(list(rows.schema))], how="vertical_relaxed")


def _open(path: str, name: str, missing: Sequence[str]) -> Rows:
    suffix = _suffix(path)
    with readable(name):
        if suffix in _TYPED:
            return ScannedRows(_TYPED[suffix](path), name, narrow=True)
        if suffix in _JSON:
            return _text_rows(lambda rows, texts: pl.scan_ndjson(path, infer_schema_length=rows), name, ())
        if suffix in _SEPARATED:
            scan = partial(_separated, path, _SEPARATED[suffix], list(missing))
            rows = _text_rows(scan, name, (), retype=True)
            _refuse_duplicates(rows.schema, name)
            _refuse_separators(rows.schema, name, _OTHERS[suffix])
            return rows
        if not suffix and _ADDRESS.match(path):
            return ScannedRows(_delta(path), name, narrow=True)
    kind = f"of type {suffix!r}" if suffix else "without a suffix"
    raise UsageError(f"{name}: files {kind} are not read; allowed are {', '.join(SUFFIXES)}")


_Scan = Callable[[int | None, Collection[str]], pl.LazyFrame]
"""Scans a text file: how many rows are looked at for the types (None: all), and which columns stay texts."""


def _separated(path: str, separator: str, missing: list[str], rows: int | None, texts: Collection[str]) -> pl.LazyFrame:
    """Dates are not guessed: Polars would swap day and month in silence."""
    scan = partial(
        pl.scan_csv, path, separator=separator, try_parse_dates=False, null_values=missing, infer_schema_length=rows
    )
    there = texts and [name for name in scan().collect_schema() if name in texts]
    return scan(schema_overrides=dict.fromkeys(there, pl.String)) if there else scan()


def _text_rows(scan: _Scan, name: str, texts: Collection[str], *, retype: bool = False) -> ScannedRows:
    small = Path(name).is_file() and Path(name).stat().st_size <= _SMALL_BYTES
    return ScannedRows(
        scan(None if small else _FIRST_ROWS, texts),
        name,
        narrow=False,
        again=None if small else lambda: scan(None, texts),
        retype=(lambda more: _text_rows(scan, name, {*texts, *more}, retype=True)) if retype else None,
    )


def _suffix(path: str) -> str:
    last = path.rsplit("/", 1)[-1].lower()
    for compressed in _COMPRESSED:
        last = last.removesuffix(compressed)
    return Path(last).suffix


def open_delta(path: str) -> DeltaTable:
    """A table of Delta Lake that Polars can read, whatever its folder is called.

    A table in ``my data`` names its files as in ``my%20data``, where nobody finds them.
    """
    from deltalake import DeltaTable

    table = DeltaTable(path)
    named, quoted = table.file_uris, table.table_uri.removeprefix("file://")
    if table.table_uri.startswith("file://"):
        folder = f"{Path(path).absolute()}/"
        table.file_uris = lambda *filters, **more: [  # type: ignore[method-assign]
            folder + file.removeprefix(quoted) if file.startswith(quoted) else file for file in named(*filters, **more)
        ]
    return table


def _delta(path: str) -> pl.LazyFrame:
    from deltalake.exceptions import DeltaError

    try:
        return pl.scan_delta(open_delta(path))
    except DeltaError as error:
        raise OSError(str(error)) from error


def _refuse_duplicates(schema: Mapping[str, Any], name: str) -> None:
    for column in schema:
        found = _DUPLICATED.fullmatch(column)
        if found and found["name"] in schema:
            raise DataError(f"{name}: the column {found['name']!r} comes more than once; give each a name of its own")


def _refuse_separators(schema: Mapping[str, Any], name: str, others: str) -> None:
    """One column of whole lines would be free text, and no drift would be found in it."""
    header = next(iter(schema), "")
    sign = next((sign for sign in others if sign in header), None)
    if len(schema) == 1 and sign is not None:
        raise DataError(
            f"{name}: its one column {header!r} looks like several, separated by {sign!r}; "
            "separate them by commas (.csv) or tabs (.tsv)"
        )
