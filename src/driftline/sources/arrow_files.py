"""Read files of Arrow and Parquet that have columns of types that Polars lacks, with PyArrow if it is installed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftline.errors import UsageError
from driftline.sources.rows import ReopenedRows, batch_rows, readable

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = b"ARROW1"


def rows_by_pyarrow(files: Sequence[Path], name: str, ignore: Collection[str]) -> ReopenedRows | None:
    """Return the rows of files that Polars cannot read, or cannot read completely; None without PyArrow.

    Only the requested columns are read.
    """
    try:
        import pyarrow.dataset  # noqa: F401
    except ImportError:
        return None
    with readable(name, foreign=True):
        if all(_begins(file).startswith(b"PAR1") for file in files):
            return _dataset(files, "parquet", name, ignore)
        if all(_begins(file).startswith(_FILE) for file in files):
            return _dataset(files, "ipc", name, ignore)
        return _streams(files, name, ignore)


def _begins(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_FILE))


def _dataset(files: Sequence[Path], kind: str, name: str, ignore: Collection[str]) -> ReopenedRows:
    import pyarrow.dataset

    from driftline.sources.profiled import holds_profiles  # which opens files with this

    rows = pyarrow.dataset.dataset([str(file.absolute()) for file in files], format=kind)
    profiled = [holds_profiles(one.physical_schema.names) for one in rows.get_fragments()]
    if any(profiled) and not all(profiled):
        raise UsageError(
            f"{name} has files of rows ({files[profiled.index(False)]}) and tables of profiles "
            f"({files[profiled.index(True)]}); name either the ones or the others"
        )

    def opened(columns: Sequence[str]) -> Any:
        size = batch_rows(len(columns))
        scanner = rows.scanner(columns=list(columns), batch_size=size, batch_readahead=1, fragment_readahead=1)
        return scanner.to_reader()

    return ReopenedRows(opened, _none(rows.schema), name, rows.count_rows(), ignore)


def _none(schema: pa.Schema) -> Any:
    import pyarrow as pa

    return pa.RecordBatchReader.from_batches(schema, [])


def _streams(files: Sequence[Path], name: str, ignore: Collection[str]) -> ReopenedRows:
    import pyarrow as pa

    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for file in files:
            with pa.ipc.open_stream(str(file)) as reader:
                for batch in reader:
                    yield batch.select(columns)

    with pa.ipc.open_stream(str(files[0])) as first:
        schema = first.schema

    def opened(columns: Sequence[str]) -> Any:
        wanted = pa.schema([schema.field(column) for column in columns])
        return pa.RecordBatchReader.from_batches(wanted, batches(columns))

    return ReopenedRows(opened, _none(schema), name, None, ignore)
