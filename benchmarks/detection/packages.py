"""Other tools themselves, each in its own environment: what their packages say of a stream's rows.

Those that are not installed are said aloud; `make bench-detection` installs them into `.bench/`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.contenders import JOBS, python
from benchmarks.detection.peers import Peer, scored
from benchmarks.detection.streams import Stream

FOLDER = Path(__file__).parents[2] / ".bench"
PACKAGES = {"evidently": "evidently_windows", "nannyml": "nannyml_windows", "alibi-detect": "alibi_windows"}
"""The job of each package that gives scores."""
GLIDE, GLIDE_JOB = "glide-py", "glide_monitor"


class Agreement(NamedTuple):
    """How a package's scores compare with its rule as stated again: windows, the largest difference of a column's
    score relative to the larger, and in how many windows both alarm, or both do not, at the default threshold.
    """

    windows: int
    difference: float
    alike: int


def is_installed(package: str, folder: Path = FOLDER) -> bool:
    """Whether there is an environment of it."""
    return python(folder, package).exists()


def rows_of(stream: Stream, windows: int) -> pl.DataFrame:
    """The rows of the reference and of so many windows behind it, one by one: columns and the number of the window."""
    until = stream.reference + windows
    sizes = next(iter(stream.columns.values())).counts[:until].sum(axis=1)
    columns: dict[str, Any] = {"window": np.repeat(np.arange(until), sizes)}
    for name, cells in sorted(stream.columns.items()):
        values = [f"c{at:03d}" for at in range(cells.counts.shape[1] - 1)] if cells.values is None else cells.values
        every = pl.Series([*values, None])
        columns[name] = every.gather(
            np.concatenate([np.repeat(np.arange(len(one)), one) for one in cells.counts[:until]])
        )
    return pl.DataFrame(columns)


def compare(
    package: str, rules: Sequence[Peer], stream: Stream, windows: int, folder: Path = FOLDER
) -> list[Agreement]:
    """Hold a package's own scores to those of its rules as stated again."""
    with tempfile.TemporaryDirectory() as made:
        file = Path(made, "rows.parquet")
        rows_of(stream, windows).write_parquet(file)
        own = _run(folder, package, PACKAGES[package], file, stream.reference)
    found = []
    for rule in rules:
        ours = scored(rule, stream)
        theirs = np.stack([np.array(own[name], np.float64) for name in ours.names], axis=1)
        found.append(agreement(rule, ours.scores[:windows], theirs))
    return found


def agreement(peer: Peer, ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> Agreement:
    """Compare two sets of scores, shape (windows, columns)."""
    ours, theirs = np.minimum(ours, peer.most), np.minimum(theirs, peer.most)
    needed = max(int(np.ceil(peer.share * ours.shape[1])), 1)
    alarms = [(np.sort(one, axis=1)[:, -needed] >= peer.threshold) for one in (ours, theirs)]
    larger = np.maximum(np.maximum(np.abs(ours), np.abs(theirs)), 1e-9)
    return Agreement(len(ours), float((np.abs(ours - theirs) / larger).max()), int((alarms[0] == alarms[1]).sum()))


def glide_alarms(
    streams: Sequence[tuple[float, Sequence[tuple[int, int]]]], folder: Path = FOLDER
) -> list[npt.NDArray[np.bool_]]:
    """In which windows GLIDE is in alarm: of each stream the accuracy that it must not fall below, and how many of the
    labelled rows are right, of how many, in each window.
    """
    with tempfile.TemporaryDirectory() as made:
        file = Path(made, "accuracy.json")
        asked = [{"threshold": threshold, "windows": list(windows)} for threshold, windows in streams]
        file.write_text(json.dumps(asked), "utf-8")
        return [np.array(one, np.bool_) for one in _run(folder, GLIDE, GLIDE_JOB, file)]


def _run(folder: Path, package: str, job: str, *arguments: object) -> Any:
    command = [str(python(folder, package)), str(JOBS / f"{job}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{package} ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
