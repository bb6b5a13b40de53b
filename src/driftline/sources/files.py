"""Open the files that people have: Parquet, CSV, Arrow IPC, newline-delimited JSON, and tables of Delta Lake.

Each by a path, a glob, a folder, or an address in an object store, such as ``s3://bucket/data/*.parquet``.
"""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from glob import escape, glob, iglob
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from driftline.errors import DataError, UsageError
from driftline.events import MISSING_TEXTS
from driftline.sources import ndjson, separated
from driftline.sources.arrow import INDEX
from driftline.sources.arrow_files import rows_by_pyarrow
from driftline.sources.far import bare, copies, parquet_addresses, store_options
from driftline.sources.rows import Rows, ScannedRows, readable
from driftline.sources.texts import Spool
from driftline.text.digits import OTHER_DIGITS

if TYPE_CHECKING:
    from deltalake import DeltaTable

_LOG = logging.getLogger("driftline")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")
_COMPRESSED = (".gz", ".zst")
_FIRST_ROWS = 2_000
_SMALL_BYTES = 16 << 20  # up to this size, the types of a text file are taken from all its rows


def _parquet(path: str) -> pl.LazyFrame:
    return pl.scan_parquet(path, storage_options=store_options(path))


def _ipc(path: str) -> pl.LazyFrame:
    try:
        scan = pl.scan_ipc(path, storage_options=store_options(path))
        scan.collect_schema()
    except pl.exceptions.ComputeError:  # the streaming format, which has no footer
        return pl.concat([pl.read_ipc_stream(file).lazy() for file in sorted(glob(path)) or [path]])
    return scan


_TYPED: Mapping[str, Callable[[str], pl.LazyFrame]] = {
    ".parquet": _parquet,
    ".pq": _parquet,
    ".arrow": _ipc,
    ".arrows": _ipc,
    ".feather": _ipc,
}
_SEPARATED: Mapping[str, str] = {".csv": ",", ".tsv": "\t"}
_JSON = (".ndjson", ".jsonl")
SUFFIXES = (*_TYPED, *_SEPARATED, *_JSON)
"""The suffixes of files that are read, in small letters; text files may also end in ``.gz`` or ``.zst``."""


def open_rows(path: str | Path, missing: Sequence[str] = MISSING_TEXTS, ignore: Collection[str] = ()) -> Rows:
    """Open rows to be read in batches.

    A folder is a Delta Lake table, or holds Parquet files. ``missing`` are the texts that mean a missing value in CSV
    and TSV. Columns in ``ignore`` are not read for the sample: they are missing there. Raises `UsageError` for a path
    that does not exist and for an unknown kind of file, and `DataError` for a broken file.
    """
    name = str(path)
    if not name:
        raise UsageError("an empty path came; name a file, a folder, a pattern or an address")
    if _ADDRESS.match(name):
        shown = bare(name)
        return _open(name.rstrip("/") if shown == name else name, shown, missing, ignore)
    with readable(name):  # no permission to look at it, or too long a name
        return _open_local(name, missing, ignore)


def _open_local(name: str, missing: Sequence[str], ignore: Collection[str]) -> Rows:
    path = Path(name)
    if not path.exists():
        if not any(sign in name for sign in "*?["):
            raise UsageError(f"{name}: there is no such file")
        if not any(iglob(name, recursive=True)):
            raise UsageError(f"{name}: no file fits this pattern")
        return _open(name, name, missing, ignore)
    if not path.is_dir():
        return _open(escape(name), name, missing, ignore)
    if (path / "_delta_log").is_dir():  # whatever its suffix
        return ScannedRows(_delta(name), name, narrow=True, ignore=ignore)
    if not any(path.rglob("*.parquet")):
        raise UsageError(
            f"{name} is a folder without a Delta Lake table or Parquet files; "
            "name a file, or a folder with _delta_log or *.parquet"
        )
    return _typed(".parquet", f"{escape(name)}/**/*.parquet", name, ignore)


def files_of(path: str) -> list[str]:
    """Return the files of a pattern, or of a local folder of Parquet files, in order: these may differ in columns and
    types. Everything else is opened as a whole: a file, a table of Delta Lake, text files at an address.
    """
    there = Path(path)
    with readable(path):
        if _ADDRESS.match(path):
            return parquet_addresses(path) if _suffix(path) in (".parquet", ".pq") else [path]
        if there.is_dir() and not (there / "_delta_log").is_dir():
            return sorted(str(file) for file in there.rglob("*.parquet") if file.is_file()) or [path]
        if there.exists():
            return [path]
        return [str(file) for file in _files(path)] or [path]


def read_rows(path: Path, missing: Sequence[str] = MISSING_TEXTS) -> pl.DataFrame:
    """Read a whole file into memory, and log its notes; arguments and errors are those of `open_rows`."""
    return whole(open_rows(path, missing))


def whole(rows: Rows) -> pl.DataFrame:
    """Read all rows into memory, and log their notes."""
    frame = pl.concat([rows.sample().clear(), *rows.batches(list(rows.schema))], how="vertical_relaxed")
    for note in rows.notes:
        _LOG.warning("%s", note)
    return frame


def _open(path: str, name: str, missing: Sequence[str], ignore: Collection[str]) -> Rows:
    suffix = _suffix(bare(path))
    with readable(name):
        if suffix in _TYPED:
            return _typed(suffix, path, name, ignore)
        if suffix in _JSON:
            return _Json(path, name).rows()
        if suffix in _SEPARATED:
            return _Separated(path, name, _SEPARATED[suffix], list(missing)).rows()
        if not suffix and _ADDRESS.match(path):
            return ScannedRows(_delta(path), name, narrow=True, ignore=ignore)
    kind = f"of type {suffix!r}" if suffix else "without a suffix"
    raise UsageError(f"{name}: files {kind} are not read; allowed are {', '.join(SUFFIXES)}")


def _typed(suffix: str, path: str, name: str, ignore: Collection[str]) -> Rows:
    """Open files that state their types; with PyArrow if Polars lacks one of these types."""
    try:
        with readable(name):
            scan = _TYPED[suffix](path)
            index = [column for column in scan.collect_schema() if column.startswith(INDEX)]
            rows = ScannedRows(scan.drop(index) if index else scan, name, narrow=True, ignore=ignore)
            rows.look(first=_TYPED[suffix] is _ipc)
            return rows
    except DataError:
        try:
            others = None if _ADDRESS.match(path) else rows_by_pyarrow(_files(path), name, ignore)
        except DataError:  # it is broken
            others = None
        if others is None:
            raise
        return others


def _files(path: str) -> list[Path]:
    """Return the files that match a pattern, in order."""
    return [Path(file) for file in sorted(glob(path, recursive=True)) if Path(file).is_file()]


def _texts(path: str, name: str, spool: Spool) -> list[tuple[Path, str]]:
    """Return the text files of a path, pattern or address, each with its name for messages; remote ones are copied."""
    files = copies(path, spool) if _ADDRESS.match(path) else [(file, str(file)) for file in _files(path)]
    return [(file, name if len(files) == 1 else called) for file, called in files]


def _are_small(files: Iterable[Path]) -> bool:
    return sum(file.stat().st_size for file in files) <= _SMALL_BYTES


class _Separated:
    """Files of CSV or TSV: checked, mended where necessary, and mended again if Polars still cannot read them."""

    def __init__(self, path: str, name: str, separator: str, missing: list[str]) -> None:
        self._name, self._missing, self._spool = name, missing, Spool()
        self._parts = [
            separated.part_of(file, called, separator, self._spool) for file, called in _texts(path, name, self._spool)
        ]
        self._mended: list[separated.Part] = []
        self._notes = [note for part in self._parts for note in part.notes]
        self._first = None if _are_small(part.path for part in self._parts) else _FIRST_ROWS

    def rows(self, texts: frozenset[str] = frozenset()) -> ScannedRows:
        """Return the rows of the files; columns in ``texts`` stay as they are written."""
        again = [partial(self._scan_mended, texts), partial(self._scan_digits, texts)]
        if self._first is not None:
            again.insert(0, partial(self._scan, None, texts))
        return ScannedRows(
            self._scan(self._first, texts),
            self._name,
            narrow=False,
            again=again,
            retype=lambda more: self.rows(texts.union(more)),
            notes=self._notes,
            kept=self._spool,
        )

    def _scan(self, rows: int | None, texts: frozenset[str]) -> pl.LazyFrame:
        return separated.scan_parts(self._parts, self._missing, rows, texts)

    def _scan_mended(self, texts: frozenset[str]) -> pl.LazyFrame:
        if not self._mended:
            self._mended = [part if part.mended else separated.mended(part, self._spool) for part in self._parts]
            self._notes[:] = [note for part in self._mended for note in part.notes]
        return separated.scan_parts(self._mended, self._missing, None, texts)

    def _scan_digits(self, texts: frozenset[str]) -> pl.LazyFrame:
        """Scan columns as texts that Polars takes for numbers but cannot read: those with digits of other scripts."""
        written = separated.scan_parts(self._mended, self._missing, 0, frozenset())
        found = written.select(pl.all().str.contains(OTHER_DIGITS).any()).collect(engine="streaming")
        odd = [name for name in found.columns if found[name].any()]
        return separated.scan_parts(self._mended, self._missing, None, texts.union(odd))


class _Json:
    """Files of newline-delimited JSON: mended if Polars cannot read them."""

    def __init__(self, path: str, name: str) -> None:
        self._name, self._spool = name, Spool()
        self._parts = [ndjson.part_of(file, called, self._spool) for file, called in _texts(path, name, self._spool)]
        self._mended: list[ndjson.JsonPart] = []

    def rows(self) -> ScannedRows:
        """Return the rows of the files."""
        again: list[Callable[[], pl.LazyFrame]] = [self._scan_mended, partial(self._scan_mended, nested=True)]
        first = None if _are_small(part.path for part in self._parts) else _FIRST_ROWS
        if first is not None:
            again.insert(0, lambda: ndjson.scan_parts(self._parts, None))
        return ScannedRows(
            ndjson.scan_parts(self._parts, first),
            self._name,
            narrow=False,
            again=again,
            notes=[note for part in self._parts for note in part.notes],
            kept=self._spool,
        )

    def _scan_mended(self, *, nested: bool = False) -> pl.LazyFrame:
        if not self._mended:
            self._mended = [part if part.kinds else ndjson.mended(part, self._spool) for part in self._parts]
        return ndjson.scan_parts(self._mended, None, nested=nested)


def _suffix(path: str) -> str:
    last = path.rsplit("/", 1)[-1].lower()
    for compressed in _COMPRESSED:
        last = last.removesuffix(compressed)
    return Path(last).suffix


def open_delta(path: str, version: int | None = None, options: Mapping[str, str] | None = None) -> DeltaTable:
    """Return a table of Delta Lake, now or at a version, that Polars can read whatever the name of its folder.

    A table in ``my data`` gives the addresses of its files as ``my%20data``, which Polars would not find. ``options``
    are those of the object store that it is in.
    """
    from deltalake import DeltaTable

    table = DeltaTable(path, version=version, storage_options=None if options is None else dict(options))
    this, quoted = weakref.ref(table), table.table_uri.removeprefix("file://")
    if table.table_uri.startswith("file://"):
        folder = f"{Path(path).absolute()}/"
        table.file_uris = lambda *filters, **more: [  # type: ignore[method-assign]
            folder + file.removeprefix(quoted) if file.startswith(quoted) else file
            for file in DeltaTable.file_uris(this(), *filters, **more)  # type: ignore[arg-type]
        ]
    return table


def _delta(path: str) -> pl.LazyFrame:
    from deltalake.exceptions import DeltaError

    try:
        return pl.scan_delta(open_delta(path, options=store_options(path)))
    except DeltaError as error:
        raise OSError(str(error)) from error
