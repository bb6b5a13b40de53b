"""Record in a run's folder that another server has taken the request."""

from __future__ import annotations

from pathlib import Path

from driftline.errors import StorageError

TAKEN, SENDING = "run.taken", "github.sending"

HANDED_OVER = (TAKEN, SENDING)
"""What says in a run's folder that a server has, or may have, taken the request."""


def was_taken(folder: Path) -> bool:
    """Return whether the request was handed over, so that nothing is left to do."""
    return (folder / TAKEN).exists()


def mark(folder: Path, name: str = TAKEN) -> None:
    """Make an empty file in the run's folder, and the folder if needed; raises `StorageError` for the disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    except OSError as error:
        raise StorageError(f"the run's folder {folder} cannot be written to: {error.strerror}") from error
