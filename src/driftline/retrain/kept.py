"""What a run has read and written, kept in blobs: a run works in a folder of its machine, which another has not.

Where blobs are in that folder anyway, there is nothing to copy.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from driftline.errors import ConflictError, StorageError
from driftline.retrain.reported import REPORT, write_report
from driftline.retrain.runners.handover import HANDED_OVER
from driftline.retrain.runners.runner import REQUEST, RESULT, Report, Result
from driftline.retrain.runners.supervisor import LOG
from driftline.store.blobs import Blobs, Folder, checked, fetch
from driftline.text import cause

_OF_THIS_MACHINE = ("run.pid", "run.child", "run.exit")
"""What speaks of processes: on another machine it would speak of others."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The folders of runs on this machine, and the blobs in which they are kept; None if those are the folders."""

    folder: Path
    blobs: Blobs | None = None

    @classmethod
    def at(cls, storage: Path, blobs: Blobs) -> Runs:
        """Return the runs of a storage: its folder on this machine, and its blobs."""
        return cls(storage / "runs", None if isinstance(blobs, Folder) else blobs.within("runs"))

    def delete(self, id: str) -> bool:
        """Delete all that is kept of a run, here and in the blobs; return whether there was anything."""
        folder, found = self.of(id), [] if self.blobs is None else self.blobs.within(id).list()
        there = folder.is_dir()
        try:
            if there:
                shutil.rmtree(folder)
        except OSError as error:
            raise StorageError(f"the run in {folder} cannot be deleted: {cause(error)}") from error
        for one in found:
            assert self.blobs is not None  # there is one in it
            self.blobs.within(id).delete(one.name)
        return there or bool(found)

    def drop_copies(self, id: str, ending: str) -> None:
        """Delete a run's files on this machine whose names have an ending, where blobs are what is kept of it."""
        if self.blobs is None:
            return
        try:
            for one in self.of(id).rglob(f"*{ending}"):
                one.unlink()
        except OSError as error:
            raise StorageError(f"copies in {self.of(id)} cannot be deleted: {cause(error)}") from error

    def of(self, id: str) -> Path:
        """Return the folder of a run on this machine; it need not exist."""
        return self.folder / id

    def handed_over(self, id: str) -> frozenset[str]:
        """Return what says, on this machine, that another server has taken the request."""
        return frozenset(name for name in HANDED_OVER if (self.of(id) / name).exists())

    def keep(self, id: str, names: Iterable[str] | None = None) -> None:
        """Copy files of a run to the blobs, those that are there; without ``names``, all that the folder itself has.

        Raises `StorageError` if that cannot be done.
        """
        if self.blobs is None:
            return
        folder = self.of(id)
        found = (one.name for one in folder.iterdir() if one.name[0] != ".") if names is None else names
        try:
            for name in sorted({*found}.difference(_OF_THIS_MACHINE)):
                if (folder / name).is_file():
                    self.blobs.within(id).put(name, folder / name)
        except OSError as error:
            raise StorageError(f"the run in {folder} cannot be kept: {cause(error)}") from error

    def keep_result(self, id: str, result: Result) -> None:
        """Copy what a run has left: its result, the files that this names, and its log."""
        said = [result.predictions.challenger, *filter(None, [result.predictions.champion])]
        self.keep(id, [RESULT, LOG, REQUEST, *said, *result.artifacts])

    def bring(self, id: str, name: str | None = None) -> None:
        """Copy what is missing in a run's folder from the blobs: one file, or all; nothing where it is nowhere.

        Raises `StorageError` if that cannot be done.
        """
        if self.blobs is None:
            return
        folder, kept = self.of(id), self.blobs.within(id)
        names = [one.name for one in kept.list()] if name is None else [name]
        for one in names:
            if (folder / checked(one)).exists():
                continue
            try:
                fetch(kept, one, folder / one)
            except FileNotFoundError:  # not there yet
                continue
            except OSError as error:
                raise StorageError(f"the run in {folder} cannot be brought here: {cause(error)}") from error

    def renew(self, id: str, ending: str) -> None:
        """Copy a run's files whose names have an ending from the blobs, over those that are in its folder.

        These know nothing of what other machines have changed. Raises `StorageError` if that cannot be done.
        """
        if self.blobs is None:
            return
        folder, kept = self.of(id), self.blobs.within(id)
        for one in kept.list():
            if one.name.endswith(ending):
                try:
                    fetch(kept, one.name, folder / checked(one.name))
                except OSError as error:
                    raise StorageError(f"the run in {folder} cannot be brought here: {cause(error)}") from error

    def take(self, id: str, report: Report) -> None:
        """Store the report of a run elsewhere; raises `ConflictError` for a second one, of another machine's too."""
        folder = self.of(id)
        self.bring(id, REPORT)
        if self.blobs is not None:
            folder.mkdir(parents=True, exist_ok=True)
        write_report(folder, report)
        if self.blobs is not None and not self.blobs.within(id).put_new(REPORT, folder / REPORT):
            (folder / REPORT).unlink()
            raise ConflictError("this run has been reported already; the first report counts")
