"""Opens a table of the log whose metadata may have suffered: what is only a hint is put aside, the rest is reported."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from driftline.errors import StorageError
from driftline.sources.files import open_delta

_HINT = "_last_checkpoint"
_LOG = logging.getLogger("driftline")


def open_table(folder: Path) -> DeltaTable:
    """Open a table; raise `TableNotFoundError` where there is none, `StorageError` where a commit of it is damaged.

    A hint at the last checkpoint that leads nowhere is put aside: all that it says stands in the folder.
    """
    try:
        return open_delta(str(folder))
    except TableNotFoundError:
        raise
    except DeltaError:
        if not _put_hint_aside(folder / "_delta_log"):
            _require_whole_commits(folder / "_delta_log")
            raise
    return open_table(folder)


def _put_hint_aside(log: Path) -> bool:
    """Put the hint aside if there is no checkpoint of its version; whether that was done."""
    hint = log / _HINT
    try:
        version = int(json.loads(hint.read_bytes())["version"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        version = -1
    if any(log.glob(f"{version:020}.checkpoint*.parquet")):
        return False
    hint.rename(log / f"{_HINT}.broken")
    _LOG.warning("%s leads to no checkpoint, and was put aside", hint)
    return True


def _require_whole_commits(log: Path) -> None:
    for commit in sorted(log.glob("*.json"), reverse=True):
        try:
            for line in commit.read_bytes().splitlines():
                json.loads(line)
        except ValueError:
            raise StorageError(f"the commit {commit} is cut off or damaged; bring back a backup") from None
