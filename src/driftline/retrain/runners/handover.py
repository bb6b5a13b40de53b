"""Whether a request was handed over: a file in the run's folder says that another server has taken it."""

from __future__ import annotations

from pathlib import Path

from driftline.errors import StorageError

TAKEN = "run.taken"


def was_taken(folder: Path) -> bool:
    """Return whether the request of a run's folder was handed over: then there is nothing left to do."""
    return (folder / TAKEN).exists()


def mark(folder: Path, name: str = TAKEN) -> None:
    """Leave an empty file in the run's folder, which is made if need be. Raises `StorageError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    except OSError as error:
        raise StorageError(f"the run's folder {folder} cannot be written to: {error.strerror}") from error
