"""Opens a table of the log whose metadata may have suffered: what is only a hint is put aside, the rest is reported."""

from __future__ import annotations

import json
import logging

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from driftline.errors import StorageError
from driftline.sources.files import open_delta
from driftline.store.blobs import Blobs
from driftline.store.tidy import LOG

_HINT = f"{LOG}/_last_checkpoint"
_LOG = logging.getLogger("driftline")


def open_table(place: Blobs) -> DeltaTable:
    """Open a table; raise `TableNotFoundError` where there is none, `StorageError` where a commit of it is damaged.

    A hint at the last checkpoint that leads nowhere is put aside: all that it says stands in the other files.
    """
    try:
        return open_delta(place.root, options=place.table_options)
    except TableNotFoundError:
        raise
    except DeltaError:
        if not _put_hint_aside(place):
            _require_whole_commits(place)
            raise
    return open_table(place)


def _put_hint_aside(place: Blobs) -> bool:
    """Put the hint aside if there is no checkpoint of its version; whether that was done."""
    try:
        hint = place.get(_HINT)
    except FileNotFoundError:
        return False
    try:
        version = int(json.loads(hint)["version"])
    except (ValueError, KeyError, TypeError):
        version = -1
    checkpoint = f"{LOG}/{version:020}.checkpoint"
    if any(one.name.startswith(checkpoint) and one.name.endswith(".parquet") for one in place.list(LOG)):
        return False
    place.put(f"{_HINT}.broken", hint)
    place.delete(_HINT)
    _LOG.warning("%s leads to no checkpoint, and was put aside", place.uri(_HINT))
    return True


def _require_whole_commits(place: Blobs) -> None:
    for name in sorted((one.name for one in place.list(LOG) if one.name.endswith(".json")), reverse=True):
        try:
            for line in place.get(name).splitlines():
                json.loads(line)
        except ValueError:
            commit = place.uri(name)
            raise StorageError(f"the commit {commit} is cut off or damaged; bring back a backup") from None
