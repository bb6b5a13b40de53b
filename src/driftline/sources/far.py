"""Copy text files from object stores and web servers, so that they are read by the same rules as local ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import polars as pl

from driftline.environment import s3_settings
from driftline.errors import DataError, UnreachableError, UsageError
from driftline.net.addresses import is_web
from driftline.sources.texts import Spool
from driftline.text import cause

_BLOCK_BYTES = 4 << 20
_ANY = "*?["
_PATH = "driftline.path"
_SECONDS = 60.0
_GONE = (404, 410)


class Copy(NamedTuple):
    """A copy of a file, and its address."""

    path: Path
    address: str


def copies(address: str, spool: Spool) -> list[Copy]:
    """Copy a file, or all files that match a pattern, into a spool, in the order of their addresses.

    Raises `UsageError` for a file that does not exist and for an unknown store, and `DataError` if a store does not
    answer.
    """
    return [Copy(_copied(one, spool), one) for one in _addresses(address)]


def _addresses(address: str) -> list[str]:
    """Return the addresses that match a pattern, listed by Polars, which also reads them."""
    if is_web(address) or not any(sign in address for sign in _ANY):
        return [address]
    scan = pl.scan_csv(
        address,
        has_header=False,
        new_columns=["line"],
        separator="\x01",
        quote_char=None,
        infer_schema=False,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        include_file_paths=_PATH,
        storage_options=store_options(address),
    )
    return _paths(scan, address)


def parquet_addresses(address: str) -> list[str]:
    """Return the addresses of the Parquet files that match a pattern, in order, but those without rows: of the others
    the footers are read. Raises `UsageError` where nothing matches.

    The pattern itself stands for files of which one has a sign of patterns in its name: alone, it would match others.
    """
    if is_web(address) or not any(sign in address for sign in _ANY):
        return [address]
    scan = pl.scan_parquet(
        address,
        schema={},
        missing_columns="insert",
        extra_columns="ignore",
        include_file_paths=_PATH,
        storage_options=store_options(address),
    )
    found = _paths(scan, address)
    if not found or any(sign in one for one in found for sign in _ANY):
        return [address]
    return found


def _paths(scan: pl.LazyFrame, address: str) -> list[str]:
    try:
        found: list[str] = scan.select(pl.col(_PATH).unique()).collect(engine="streaming")[_PATH].sort().to_list()
    except pl.exceptions.ComputeError as error:
        if "expanded paths were empty" in str(error):
            raise UsageError(f"{address}: no file fits this pattern") from None
        raise
    return found


def bare(address: str) -> str:
    """Return an address that may be shown and ends in its suffix: on a web server without what follows ``?``.

    That may be a signature.

    >>> bare("https://host/rows.csv?signature=secret"), bare("s3://bucket/rows?.csv")
    ('https://host/rows.csv', 's3://bucket/rows?.csv')
    """
    return address.partition("#")[0].partition("?")[0] if is_web(address) else address


def store_options(address: str) -> dict[str, str] | None:
    """Return what readers of an address in S3 need beside AWS's variables; None for all others."""
    return s3_settings() if address.startswith("s3://") else None


def _copied(address: str, spool: Spool) -> Path:
    target = spool.new(".far")
    with _from_web(address) if is_web(address) else _from_store(address) as blocks, target.open("wb") as file:
        file.writelines(blocks)
    return target


@contextmanager
def _from_web(address: str) -> Iterator[Iterator[bytes]]:
    from driftline.net.outgoing import download

    try:
        with download(address, _BLOCK_BYTES, _SECONDS) as (status, blocks):
            if status in _GONE:
                raise UsageError(f"{bare(address)}: there is no such file")
            if not 200 <= status < 300:
                raise DataError(f"{bare(address)} cannot be read: the server answers {status}")
            yield blocks
    except UnreachableError as error:
        raise DataError(f"{bare(address)} cannot be read: {error}") from error


@contextmanager
def _from_store(address: str) -> Iterator[Iterator[bytes]]:
    from deltalake._internal import DeltaFileSystemHandler  # the base of its public handler, which needs PyArrow
    from deltalake.exceptions import DeltaError

    parts = urlsplit(address, allow_fragments=False)
    try:
        store = DeltaFileSystemHandler(f"{parts.scheme}://{parts.netloc}", store_options(address))
    except (DeltaError, OSError, ValueError) as error:
        raise UsageError(
            f"{address}: text files are not read from {parts.scheme}://; copy it here, or name one of another type"
        ) from error
    key = parts.path.removeprefix("/") + (f"?{parts.query}" if parts.query else "")
    try:
        source = store.open_input_file(key)
    except FileNotFoundError:
        raise UsageError(f"{address}: there is no such file") from None
    except (DeltaError, OSError, ValueError) as error:
        raise DataError(f"{address} cannot be read: {_first_line(error)}") from error
    yield iter(lambda: bytes(source.read(_BLOCK_BYTES)), b"")


def _first_line(error: BaseException) -> str:
    return next(iter(cause(error).splitlines()), type(error).__name__)
