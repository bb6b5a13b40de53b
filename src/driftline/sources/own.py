"""Compute measures that users wrote: a function of labelled rows, called with all rows and with resamples of them.

``file.py:function`` is called in another process, which may fail, print, or never end: then there is no value, and the
result says why.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.sources.functions import load_function
from driftline.text.durations import length

DRAWS = 200
"""The number of resamples of the rows, for the interval."""
TIME_LIMIT = timedelta(seconds=60)
"""The longest time for all calls together."""

_GRACE_SECONDS = 5

_SEED = 20130404
_MOST_FAILED = 0.1
_TOLD = 300

Function = Callable[[pl.DataFrame], object]
"""Takes n labelled rows, a frame of the columns ``label``, ``prediction``, scores and features; returns a number."""


class Replicates(msgspec.Struct, frozen=True):
    """The values of a function on n rows in so many ``blocks`` (n if each row is its own block).

    ``value`` is finite, or None, and then ``problem`` says why. ``draws`` are the finite values on resamples,
    ascending; empty if there is no interval. ``of`` are the values on both frames if two were compared.
    """

    value: float | None
    n: int
    blocks: int = 0
    draws: tuple[float, ...] = ()
    problem: str = ""
    of: tuple[float, ...] = ()


def replicates_of(
    function: Function,
    rows: pl.DataFrame,
    blocks: npt.NDArray[np.int64] | None = None,
    against: pl.DataFrame | None = None,
) -> Replicates:
    """Call a function with rows, and with `DRAWS` resamples of these, or of their ``blocks``, shape (n,).

    With ``against``, other answers to the same n rows, the value is that of ``rows`` minus that of ``against``, on the
    same resamples of both. The same rows give the same resamples. If the function fails there is no value, and
    ``problem`` says why; a few resamples may fail, such as those without a row of a rare class.

    >>> replicates_of(lambda rows: (rows["label"] == rows["prediction"]).mean(), pl.DataFrame())
    Replicates(value=None, n=0, blocks=0, draws=(), problem='no labelled rows', of=())
    """
    n = rows.height
    if not n:
        return Replicates(None, 0, problem="no labelled rows")
    both = [rows] if against is None else [rows, against]
    asked = [_asked(function, one) for one in both]
    if problem := next((one for one in asked if isinstance(one, str)), ""):
        return Replicates(None, n, problem=problem)
    values = tuple(one for one in asked if isinstance(one, float))
    draws: list[float] = []
    rng = np.random.default_rng(_SEED)
    order, ends = (np.arange(n), np.arange(n + 1)) if blocks is None else _grouped(blocks)
    count = len(ends) - 1
    for _ in range(DRAWS if count > 1 else 0):
        chosen = rng.integers(0, count, count)
        places = np.concatenate([order[ends[one] : ends[one + 1]] for one in chosen]) if blocks is not None else chosen
        drawn = [_asked(function, one[places]) for one in both]
        if (numbers := tuple(one for one in drawn if isinstance(one, float))) and len(numbers) == len(both):
            draws.append(_difference(numbers))
    few = len(draws) < (1 - _MOST_FAILED) * DRAWS
    of = () if against is None else values
    return Replicates(_difference(values), n, count, () if few else tuple(sorted(draws)), of=of)


def _difference(values: tuple[float, ...]) -> float:
    return values[0] - sum(values[1:])


def _grouped(blocks: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the indices of rows block by block, shape (n,), and where each block begins in them, shape (k + 1,)."""
    order = np.argsort(blocks, kind="stable")
    _, begins = np.unique(blocks[order], return_index=True)
    return order, np.append(begins, len(blocks))


def _asked(function: Function, rows: pl.DataFrame) -> float | str:
    """Return the function's value, a finite number, or a text that says what is wrong."""
    try:
        found = function(rows)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is theirs
        return f"the function raised {type(error).__name__}: {error}"[:_TOLD]
    try:
        number = float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return f"the function returned {_short(found)}; allowed is a finite number"
    return number if math.isfinite(number) else f"the function returned {number}; allowed is a finite number"


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


# ---- in another process ------------------------------------------------------------------------------------


def replicates_apart(
    place: str,
    rows: pl.DataFrame,
    blocks: npt.NDArray[np.int64] | None = None,
    against: pl.DataFrame | None = None,
    *,
    limit: timedelta = TIME_LIMIT,
) -> Replicates:
    """Do as `replicates_of` for ``file.py:function`` in a separate process, which is ended after ``limit``."""
    n = rows.height
    with tempfile.TemporaryDirectory(prefix="driftline-measure-") as name:
        folder = Path(name)
        there = {} if blocks is None else {"blocks": pl.Series(blocks, dtype=pl.Int64)}
        rows.write_ipc(folder / "rows.arrow")
        pl.DataFrame(there).write_ipc(folder / "blocks.arrow")
        (pl.DataFrame() if against is None else against).write_ipc(folder / "against.arrow")
        seconds = limit.total_seconds()
        command = [sys.executable, "-m", "driftline.sources.own", place, name, str(math.ceil(seconds) + _GRACE_SECONDS)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            problem = f"{place} took longer than {length(limit)} for {DRAWS + 1} calls"
            return Replicates(None, n, problem=problem)
        answer = folder / "answer.json"
        if not answer.exists():
            last = (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
            return Replicates(None, n, problem=f"{place} ended with {done.returncode}: {last}"[:_TOLD])
        return _read(json.loads(answer.read_bytes()))


def _read(answer: Mapping[str, Any]) -> Replicates:
    return Replicates(**{**answer, "draws": tuple(answer["draws"]), "of": tuple(answer["of"])})


def _main(place: str, folder: Path) -> None:
    """Compute the replicates in the separate process."""
    from driftline.errors import UsageError

    rows, blocks, other = (pl.read_ipc(folder / f"{name}.arrow") for name in ("rows", "blocks", "against"))
    try:
        function = load_function(place, "measures.py:cost")
    except UsageError as error:
        found = Replicates(None, rows.height, problem=str(error)[:_TOLD])
    else:
        drawn = blocks["blocks"].to_numpy() if blocks.width else None
        found = replicates_of(function, rows, drawn, other if other.width else None)
    answer = {name: getattr(found, name) for name in Replicates.__struct_fields__}
    (folder / "answer.part").write_text(json.dumps(answer), encoding="utf-8")
    (folder / "answer.part").replace(folder / "answer.json")


if __name__ == "__main__":
    signal.alarm(int(sys.argv[3]))  # it ends even if the process that waits for it is killed
    _main(sys.argv[1], Path(sys.argv[2]))
