"""Finds, among the events of a batch that keeps failing, those that it fails on.

A batch is tried in rehearsal (`driftline.monitoring.rehearsal`): by the worker's own code, on a copy, in another
process. What fails there fails for its rows; what only fails in earnest fails for its surroundings (a full disk, a
locked database), and is kept and tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from driftline.monitoring.model import MonitoredModel
from driftline.store.inbox import InboxRow
from driftline.store.poison import Poison, events_of
from driftline.store.state import State

MOST_TRIALS = 256
"""In one search; what is found until then is set aside, and the next pass goes on from there."""

FAILURES = 3
"""A batch that failed so often is looked into; and again when it has failed twice as often, and so on."""

Trial = Callable[[Sequence[int]], str | None]
"""Tries some of the events (their positions, in order); returns what went wrong, None where nothing did."""


class Rehearsal(Protocol):
    """Tries parts of a batch. Raises `StorageError` where the surroundings are at fault."""

    def __call__(self, rows: Sequence[InboxRow]) -> str | None:
        """Try these; return what went wrong, None where nothing did."""

    def check(self) -> None:
        """Raise `StorageError` where even an event that is fine fails: then no verdict on the others counts."""


Open = Callable[[MonitoredModel, State, Sequence[InboxRow]], AbstractContextManager[Rehearsal]]


def is_due(failures: int) -> bool:
    """Return whether a batch that failed so often is to be looked into now.

    >>> [failures for failures in range(30) if is_due(failures)]
    [3, 6, 12, 24]
    """
    times, rest = divmod(failures, FAILURES)
    return rest == 0 and times > 0 and times & (times - 1) == 0


def find_poison(model: MonitoredModel, state: State, rows: Sequence[InboxRow], rehearsal: Open) -> list[Poison]:
    """Return the events that the batch fails on, with their reasons; none where the rows are not at fault."""
    places = [(row, index) for row in rows for index in range(len(events_of(row)))]
    with rehearsal(model, state, rows) as trial:
        found = search(len(places), lambda some: trial(_parts([places[one] for one in some])))
        if found:
            trial.check()
    return [Poison(*places[position], reason) for position, reason in sorted(found.items())]


def search(size: int, trial: Trial, *, most_trials: int = MOST_TRIALS) -> dict[int, str]:
    """Return the positions that fail, each with what was said of it, in few trials.

    A part that fails is halved until one is left: 2 log2(size) trials for each of them. What fails only in company
    is found then: the first position at which all that stands before it, taken together with it, fails.
    """
    left = _Limited(trial, most_trials)
    found: dict[int, str] = {}
    parts = [range(size)]
    while parts and left.trials:
        part = parts.pop()
        reason = left(part) if part else None
        if reason is not None and len(part) == 1:
            found[part[0]] = reason
        elif reason is not None:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
    if parts:
        return found
    rest = [one for one in range(size) if one not in found]
    while rest and left.trials and left(rest) is not None:
        position, reason = _first_in_company(rest, left)
        if reason is None:
            break
        found[rest.pop(position)] = reason
    return found


class _Limited:
    """A trial that counts down."""

    def __init__(self, trial: Trial, trials: int) -> None:
        self._trial, self.trials = trial, trials

    def __call__(self, some: Sequence[int]) -> str | None:
        self.trials -= 1
        return self._trial(some)


def _first_in_company(rest: Sequence[int], trial: _Limited) -> tuple[int, str | None]:
    """Return where the shortest beginning that fails ends, and what is said of it;
    no reason where the trials ran out.
    """
    passes, fails, reason = 0, len(rest), None
    while fails - passes > 1 and trial.trials:
        middle = (passes + fails) // 2
        said = trial(rest[:middle])
        if said is None:
            passes = middle
        else:
            fails, reason = middle, said
    if fails - passes > 1:
        return fails - 1, None
    return fails - 1, reason or trial(rest[:fails])


def _parts(places: Sequence[tuple[InboxRow, int]]) -> list[InboxRow]:
    """Inbox rows that have these events only."""
    chosen: dict[int, tuple[InboxRow, list[int]]] = {}
    for row, index in places:
        chosen.setdefault(row.seq, (row, []))[1].append(index)
    return [
        InboxRow(
            row.seq,
            row.kind,
            row.arrived_at,
            [row.predictions[index] for index in indices]
            if row.kind == "predictions"
            else [row.labels[index] for index in indices],
        )
        for row, indices in chosen.values()
    ]
