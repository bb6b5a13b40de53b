"""Find what became worse than on the reference: significantly, and by the least change that counts.

Among many parts of the rows, such as segments, some look worse by chance. So the significance level holds for all of
them together, by Holm's (1979) method: with k parts left, each is tested at the k-th part of the level; those that are
found are taken out, and the others tested again. The tests are intervals of differences, from the same intervals that
are shown, so they allow for rows that depend on each other as these do.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from driftline.profiles import Classification, Performance, Regression
from driftline.profiles.naive import NO_REFERENCE, Naive
from driftline.statistics.catalogue import CATALOGUE, Better, least_change, lower_is_better
from driftline.statistics.intervals import difference
from driftline.statistics.measure import Measure
from driftline.statistics.performance import class_measures, each_against_the_rest, measures, size_of

SURE = 0.99
"""The two-sided confidence of the difference: a part that did not change is found worse 1 time in 200 at most."""

_ROUNDS = 4  # of Holm's method; with fewer rounds than it could take, it finds less, and errs no more

Ends = tuple[float, float, float]
"""A value and the two ends of its interval."""

Pair = tuple[Performance | None, Performance | None]
"""The performance on the reference, and on the current rows."""

_Key = TypeVar("_Key", bound=Hashable)


class Fall(NamedTuple):
    """A measure that became worse; ``least`` is the least change that counts."""

    measure: str
    was: Ends
    became: Ends
    least: float


def judged_measures() -> tuple[str, ...]:
    """Return the measures that are compared with the reference unless others are asked for."""
    return tuple(name for name, spec in CATALOGUE.items() if spec.judged)


def falls(
    pair: Pair,
    *,
    names: Iterable[str] | None = None,
    sure: float = SURE,
    positive: str | None = None,
    naive: Naive = NO_REFERENCE,
) -> list[Fall]:
    """Return the measures, by default the `judged_measures`, that are worse on the current rows than on the reference.

    A bias is judged by its size. A measure of which neither more nor less is better is never worse.
    """
    asked = [*(judged_measures() if names is None else names)]
    wanted = {*asked, "mae"}
    before, now = (measures(side, confidence=sure, positive=positive, names=wanted, naive=naive) for side in pair)
    mae = before["mae"].value if "mae" in before else None
    found = []
    for name in asked:
        was, became = (_ends(side.get(name)) for side in (before, now))
        if was is None or became is None:
            continue
        if CATALOGUE[name].better is Better.NEARER_0:
            least = least_change(name, was[0], mae)
            sizes = size_of(*was), size_of(*became)
            worse = sizes[1][0] - sizes[0][0] >= least and difference(sizes[1], sizes[0]).low > 0
        else:
            least = least_change(name, was[0])
            worse = _moved(name, was, became) >= least and _significant(name, pair, was, became, sure)
        if worse:
            found.append(Fall(name, was, became, least))
    return found


def _moved(name: str, was: Ends, became: Ends) -> float:
    """Return by how much a measure is worse; negative where it is better."""
    return became[0] - was[0] if lower_is_better(name) else was[0] - became[0]


def _significant(name: str, pair: Pair, was: Ends, became: Ends, sure: float) -> bool:
    spec, (reference, current) = CATALOGUE[name], pair
    if spec.better is None:
        return False
    if spec.rose is not None and isinstance(reference, Regression) and isinstance(current, Regression):
        return spec.rose(reference, current, sure)
    return (difference(became, was) if lower_is_better(name) else difference(was, became)).low > 0


def _ends(measure: Measure | None) -> Ends | None:
    if measure is None or measure.value is None or measure.low is None or measure.high is None:
        return None
    return measure.value, measure.low, measure.high


def falls_among(
    parts: Mapping[_Key, Pair],
    *,
    least_rows: int,
    names: Iterable[str] | None = None,
    sure: float = SURE,
    positive: str | None = None,
    naive: Naive = NO_REFERENCE,
) -> dict[_Key, list[Fall]]:
    """Return the parts that became worse, with what did, in their order; the level holds for all of them together.

    Parts with fewer than ``least_rows`` labelled rows on either side are not tested: how many rows a part has says
    nothing of how it changed, so that leaving them out costs no certainty.
    """
    asked = None if names is None else tuple(names)

    def fallen(key: _Key, sure: float) -> list[Fall]:
        return falls(parts[key], names=asked, sure=sure, positive=positive, naive=naive)

    return _holm([key for key, pair in parts.items() if _rows(pair) >= least_rows], fallen, sure)


def falls_by_class(pair: Pair, *, least_rows: int, sure: float = SURE) -> dict[str, list[Fall]]:
    """Return the classes that became worse, with what did, by name; the level holds for all of them together.

    Each is told from all others, see `measures_by_class`. One with fewer than ``least_rows`` labelled rows on either
    side is not tested, as in `falls_among`.
    """
    before, now = (each_against_the_rest(side) for side in pair)
    names = class_measures()

    def fallen(name: str, sure: float) -> list[Fall]:
        return falls((before[name], now[name]), names=names, sure=sure, positive=name)

    both = (name for name in now if name in before)
    return _holm(
        [name for name in both if min(_labelled(name, side) for side in (before[name], now[name])) >= least_rows],
        fallen,
        sure,
    )


def _holm(keys: list[_Key], fallen: Callable[[_Key, float], list[Fall]], sure: float) -> dict[_Key, list[Fall]]:
    """Return what has fallen at a level that holds for all keys together, in their order."""
    left, found = keys, dict[_Key, list[Fall]]()
    for _ in range(_ROUNDS):
        level = 1 - (1 - sure) / max(len(left), 1)
        worse = {key: those for key in left if (those := fallen(key, level))}
        found |= worse
        left = [key for key in left if key not in worse]
        if not worse or not left:
            break
    return {key: found[key] for key in keys if key in found}


def _rows(pair: Pair) -> int:
    return min(0 if side is None else side.count for side in pair)


def _labelled(name: str, performance: Classification) -> int:
    return sum(count for (label, _), count in performance.confusion.items() if label == name)
