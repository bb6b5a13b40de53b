"""Keeps a table of the log small: small files are brought together in tiers, old ones go, and so does old metadata.

Each append makes a file. Ten files of a tier become one of the next, so that a row is rewritten once a tier: about
log10(appends) times in all, and never again once its file is large. What a merge has replaced is deleted a minute
later, or sooner where it would take more room than what is live; never while this process reads the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

import polars as pl
from deltalake import DeltaTable

from driftline.errors import LeaseLostError
from driftline.store.blobs import Blob, Blobs
from driftline.store.durable import sync_files
from driftline.store.sums import DamagedError, NoSums, Sums, sums_of

FILES_OF_A_TIER = 10
FULL_BYTES = 32 * 2**20
"""A file of this size is not rewritten any more."""

OLD = timedelta(seconds=60)
"""How long a file that a merge has replaced is kept for others that are reading it."""

ROOM_FOR_OLD = 0.75
"""What such files may take of the room that the live ones take."""

LEASE = "driftline-lease"
"""The application transaction of a table that has the token of the lease by which it is written."""

CHECKPOINT_EVERY, FAR_CHECKPOINT_EVERY = 50, 10
"""How many versions begin at one checkpoint, in a folder and in a store where each that is read is a request."""

PROPERTIES = {
    "delta.dataSkippingStatsColumns": "seq,time",
    "delta.deletedFileRetentionDuration": "interval 1 minutes",
    "delta.logRetentionDuration": "interval 1 minutes",
}
"""Of a table of ours: what its metadata says of each file, and how long it says anything of those that are gone."""

LOG = "_delta_log"
"""The folder of a table with its metadata."""

_TIERED = re.compile(r"tier-(\d+)-\d+(?:-\d+)?\.parquet")
_VERSION = re.compile(r"(\d{20})\.(json|checkpoint.*\.parquet)")


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A live file: its path as the table names it, and where its rows stand among the others."""

    path: str
    size: int
    first_seq: int

    @property
    def tier(self) -> int:
        """How often its rows were brought together."""
        found = _TIERED.fullmatch(unquote(self.path))
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class _Old:
    """A file that was replaced: by which version of the table, and when that was (the store's time)."""

    name: str
    size: int
    version: int
    since: datetime


@dataclass(slots=True)
class Tidier:
    """Tidies one table; it belongs to the table's only writer. ``place`` is the table's.

    ``token`` is that of the lease by which it is the only one, None for a writer that has no lease. Then other
    processes may read the table: a file that was replaced stays for a minute, whatever room it takes.
    """

    place: Blobs
    token: int | None = None
    old: list[_Old] | None = field(default=None)
    """What waits to be deleted, the oldest first; None until the place has been looked at."""

    checkpoint: int = -1
    """The version of the newest checkpoint that is known of."""

    sums: Sums | NoSums = field(init=False)
    """The checksums of the table's files."""

    def __post_init__(self) -> None:
        """The checksums stand beside the files, or are the store's."""
        self.sums = sums_of(self.place)

    def tidy(self, table: DeltaTable, *, read: int | None) -> None:
        """Merge what is due, delete what is old, and cut the metadata.

        ``read`` is the oldest version that this process is reading; None while it reads none.
        """
        table.update_incremental()  # a merge may have been committed and then broken off
        require_writer(table, self.token)
        live = live_files(table)
        if self.old is None:
            strays = self._strays(live, table.version())
            require_writer(table, self.token)  # or they may be what the next writer is about to commit
            self.old = strays
        while (due := _due(live)) is not None:
            try:
                self._merge(table, *due)
            except BaseException:
                self.old = None  # it may be committed all the same: what it has replaced is found again
                raise
            live = live_files(table)
        self._delete(sum(one.size for one in live), self._time_of(table.version()), read)
        if table.version() - self.checkpoint >= self._every:
            self._cut_metadata(table)

    def name_of(self, tier: int, version: int) -> str:
        """Return the name of a file that a version of the table adds; no other holder of the lease has it."""
        token = "" if self.token is None else f"-{self.token}"
        return f"tier-{tier}-{version:020}{token}.parquet"

    def _merge(self, table: DeltaTable, tier: int, files: Sequence[LiveFile]) -> None:
        version = table.version() + 1
        merged = self.name_of(tier + 1, version)
        names = [unquote(one.path) for one in files]
        if damaged := self.sums.damaged(names):
            # Its values would become those of a file that is right.
            raise DamagedError([self.place.uri(name) for name in damaged])
        options = self.place.scan_options
        scans = [pl.scan_parquet(self.place.uri(name), glob=False, storage_options=options) for name in names]
        rows = pl.concat(scans, how="diagonal")
        rows.sink_parquet(
            self.place.uri(merged),
            compression="zstd",
            compression_level=1,
            maintain_order=True,
            storage_options=options,
        )
        self.sums.add([merged], anew=True)
        sync(self.place, [merged])
        commit(self.place, version, files, merged)
        table.update_incremental()
        assert self.old is not None  # `tidy` has looked
        since = self._time_of(version)
        self.old += [_Old(name, one.size, version, since) for name, one in zip(names, files, strict=True)]

    def delete_all(self, table: DeltaTable, *, read: int | None) -> bool:
        """Delete every file that is not live, however young, and any that was set aside as broken.

        Return whether all are gone: none is deleted while this process ``read`` an older version.
        """
        self.old = None
        if read is not None and read < table.version():
            return False
        strays = [one.name for one in self._strays(live_files(table), table.version())]
        broken = [one.name for one in self.place.list() if one.name.endswith(".broken")]
        require_writer(table, self.token)  # or they may be what the next writer is about to commit
        for name in [*strays, *broken]:
            self.place.delete(name)
        sync(self.place, [LOG])  # and with it the list of the folder that it stands in
        return True

    def _delete(self, live_bytes: int, now: datetime, read: int | None) -> None:
        """Delete what is old enough, and the oldest of the rest where they take too much room."""
        assert self.old is not None  # `tidy` has looked
        room, total = ROOM_FOR_OLD * live_bytes, sum(one.size for one in self.old)
        while self.old:
            first = self.old[0]
            if read is not None and read < first.version:
                return
            if (total <= room or self.token is not None) and timedelta() <= now - first.since < OLD:
                return
            self.place.delete(first.name)
            self.old.pop(0)
            total -= first.size

    @property
    def _every(self) -> int:
        return min(CHECKPOINT_EVERY, FAR_CHECKPOINT_EVERY) if self.place.lasting else CHECKPOINT_EVERY

    def _time_of(self, version: int) -> datetime:
        """Return when a version was written, as the store has it: it reads no clock."""
        return _known(self.place, _commit_name(version)).modified

    def _strays(self, live: Iterable[LiveFile], version: int) -> list[_Old]:
        """Return the files of the place that are not live: replaced before this process began, or never committed."""
        known = {unquote(one.path) for one in live}
        strays = [
            _Old(one.name, one.size_bytes, version, one.modified) for one in self._data() if one.name not in known
        ]
        return sorted(strays, key=lambda one: one.since)

    def _data(self) -> list[Blob]:
        return [one for one in self.place.list() if "/" not in one.name and one.name.endswith(".parquet")]

    def _cut_metadata(self, table: DeltaTable) -> None:
        """Write a checkpoint if the last one is old, and delete what is not needed by readers that begin at the one
        before it.
        """
        names = [one.name.removeprefix(f"{LOG}/") for one in self.place.list(LOG)]
        found = [(int(match[1]), match[2], name) for name in names if (match := _VERSION.fullmatch(name))]
        checkpoints = sorted({version for version, kind, _ in found if kind != "json"})
        self.checkpoint = checkpoints[-1] if checkpoints else 0
        if table.version() - self.checkpoint < self._every:
            return
        if not PROPERTIES.items() <= table.metadata().configuration.items():  # a table of an earlier release
            table.alter.set_table_properties(PROPERTIES)
            sync(self.place, files_of_versions(self.place, [table.version()]))
        table.create_checkpoint()
        self.checkpoint = table.version()
        written = [one.name for one in self.place.list(LOG) if f"/{self.checkpoint:020}.checkpoint" in one.name]
        sync(self.place, [*written, f"{LOG}/_last_checkpoint"])
        for version, _, name in found:
            if checkpoints and version < checkpoints[-1]:
                self.place.delete(f"{LOG}/{name}")
        self.sums.keep(one.name for one in self._data())


def sync(place: Blobs, names: Iterable[str]) -> None:
    """Wait until files that others have written are on the disk; in a store that answers only then they are."""
    if not place.lasting:
        sync_files(Path(place.uri(name)) for name in names)


def require_writer(table: DeltaTable, token: int | None) -> None:
    """Raise `LeaseLostError` where a later holder of the lease has opened the table to write; it is brought up to date.

    A holder says so by a commit of its own, before it writes anything else.
    """
    if token is not None:
        table.update_incremental()
        if (table.transaction_version(LEASE) or 0) > token:
            raise LeaseLostError("another process writes the event log by now")


def files_of_versions(place: Blobs, versions: Iterable[int]) -> list[str]:
    """Return the files that commits have made, their own included, as far as they are still there."""
    found: list[str] = []
    for version in versions:
        commit = _commit_name(version)
        try:
            lines = place.get(commit).decode().splitlines()
        except FileNotFoundError:
            continue
        added = (json.loads(line).get("add") for line in lines)
        found += [unquote(one["path"]) for one in added if one is not None]
        found.append(commit)
    return [one for one in found if place.find(one) is not None]


def live_sizes(table: DeltaTable) -> dict[str, int]:
    """Return the files of a table as it stands, with their sizes in bytes."""
    return {unquote(one.path): one.size for one in live_files(table)}


def live_files(table: DeltaTable) -> list[LiveFile]:
    """Return the files of a table as it stands, in the order of their rows."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    first = actions["min.seq"] if "min.seq" in actions.columns else pl.Series([None] * len(actions))
    rows = zip(actions["path"], actions["size_bytes"], first, strict=True)
    return sorted(
        (LiveFile(path, size, seq or 0) for path, size, seq in rows), key=lambda one: (one.first_seq, one.path)
    )


def _due(live: Sequence[LiveFile]) -> tuple[int, list[LiveFile]] | None:
    """Return the files that are to be merged now, the oldest of their tier, and the tier."""
    tiers: dict[int, list[LiveFile]] = {}
    for one in live:
        if one.size < FULL_BYTES:
            tiers.setdefault(one.tier, []).append(one)
    full = [(tier, _enough(files)) for tier, files in tiers.items() if len(files) >= FILES_OF_A_TIER]
    return min(full, key=lambda one: one[0], default=None)


def _enough(files: Sequence[LiveFile]) -> list[LiveFile]:
    """Return the oldest files of a tier, as many as make a large file: no merge rewrites more than two of these."""
    sizes = accumulate(one.size for one in files[:FILES_OF_A_TIER])
    needed = next((number for number, size in enumerate(sizes, 1) if size >= FULL_BYTES), FILES_OF_A_TIER)
    return list(files[: max(needed, 2)])


def rows_in(place: Blobs, file: str) -> dict[str, Any]:
    """Return what the metadata says of a merged file."""
    rows = pl.scan_parquet(place.uri(file), glob=False, storage_options=place.scan_options)
    seqs = rows.select(pl.len().alias("rows"), pl.col("seq").min().alias("first"), pl.col("seq").max().alias("last"))
    number, first, last = seqs.collect().row(0)
    return {"numRecords": number, "minValues": {"seq": first}, "maxValues": {"seq": last}, "nullCount": {"seq": 0}}


def commit(
    place: Blobs,
    version: int,
    files: Sequence[LiveFile],
    merged: str | None,
    operation: Literal["OPTIMIZE", "DELETE"] = "OPTIMIZE",
) -> None:
    """Write the version of a table in which one file, or none, stands for some others.

    ``OPTIMIZE`` says that it has the same rows, which is no change of data, and ``DELETE`` that it has fewer.
    """
    known = _known(place, unquote(files[0].path) if merged is None else merged)
    at, changed = int(known.modified.timestamp() * 1000), operation == "DELETE"
    info: dict[str, Any] = {
        "timestamp": at,
        "operation": operation,
        "operationParameters": {},
        "engineInfo": "driftline",
    }
    actions: list[dict[str, Any]] = [{"commitInfo": info}]
    actions += [
        {
            "remove": {
                "path": one.path,
                "deletionTimestamp": at,
                "dataChange": changed,
                "extendedFileMetadata": True,
                "partitionValues": {},
                "size": one.size,
            }
        }
        for one in files
    ]
    if merged is not None:
        added = {
            "path": quote(merged),
            "partitionValues": {},
            "size": known.size_bytes,
            "modificationTime": at,
            "dataChange": changed,
            "stats": json.dumps(rows_in(place, merged)),
        }
        actions.append({"add": added})
    lines = "".join(json.dumps(one) + "\n" for one in actions)
    if not place.put_new(_commit_name(version), lines.encode()):
        raise FileExistsError(
            f"{place.uri(_commit_name(version))} was written by somebody else: the log has one writer"
        )


def _commit_name(version: int) -> str:
    return f"{LOG}/{version:020}.json"


def _known(place: Blobs, name: str) -> Blob:
    """Return what is known of a file that has just been written."""
    found = place.find(name)
    if found is None:
        raise FileNotFoundError(f"{place.uri(name)} is gone")
    return found
