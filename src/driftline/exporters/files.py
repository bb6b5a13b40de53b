"""Write files for other programs into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from driftline.errors import UsageError


class File(NamedTuple):
    """A file by its name, which may lead into folders (``a/b.yml``), and its text."""

    name: str
    text: str


def write_files(
    files: Sequence[File], folder: Path, *, force: bool = False, otherwise: str = "add --force"
) -> dict[Path, bool]:
    """Write files into a folder, which is made if needed; return by path whether each file was new or changed.

    An existing file with another text is overwritten only with ``force``; without it nothing is written, and
    `UsageError` is raised, as it is for a folder that cannot be written to. ``otherwise`` says what else
    can be done about existing files.
    """
    try:
        changed = {folder / file.name: _differs(folder / file.name, file.text) for file in files}
        others = [str(path) for path, differs in changed.items() if differs and path.exists()]
        if others and not force:
            raise UsageError(
                f"{', '.join(others)} would be overwritten and may hold changes of yours; nothing was written; "
                f"name another folder, or {otherwise}"
            )
        for file in files:
            if changed[folder / file.name]:
                (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / file.name).write_text(file.text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to ({error.strerror}); name another folder") from error
    return changed


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() != text.encode()
    except FileNotFoundError:
        return True
