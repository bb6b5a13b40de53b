"""What the report of a check says, in a terminal and on its page alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from driftline.lookalikes import shown, shown_all
from driftline.statistics import CATALOGUE, Better, least_change
from driftline.statistics.performance import size_of
from driftline.text.numbers import figure, figures

if TYPE_CHECKING:  # a check has none
    from driftline.rules.contest import Contest


RULE_STATES: Mapping[str, str] = {"breach": "in breach", "ok": "ok", "nodata": "not judged"}
"""What a rule says of a window, in words."""


class Fallen(NamedTuple):
    """Rows, such as those of a segment or a class, where a measure is worse than on the reference."""

    where: str
    measure: str
    current: Mapping[str, Any]
    reference: Mapping[str, Any]


def cleaned(text: str, *, keep: str = "") -> str:
    """Names come from strangers: nothing in them moves the cursor, rings the bell or turns the direction of reading.

    >>> cleaned("wind\x1b[2J"), cleaned("a\u3000b") == "a\u3000b"
    ('wind�[2J', True)
    """
    return text if text.isprintable() else "".join(sign if _is_sign(sign, keep) else "\ufffd" for sign in text)


def _is_sign(sign: str, keep: str) -> bool:
    return sign.isprintable() or sign in keep or unicodedata.category(sign) == "Zs"


def figures_of(measure: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """A measure's value, the ends of its interval, and the reference's value; – where there is none.

    The two values are told apart where they differ.

    >>> measure = {"value": 0.00061, "low": 0.0006, "high": None, "reference": {"value": 0.00064}}
    >>> figures_of(measure), figures_of(measure | {"reference": None})[0]
    (('0.00061', '0.001', '–', '0.00064'), '0.001')
    """
    before = measure["reference"]["value"] if measure["reference"] is not None else None
    value = measure["value"]
    told = figures(value) if before is None else figures(value, before)
    low, high = ("–" if end is None else figure(end) for end in (measure["low"], measure["high"]))
    return told[0], low, high, "–" if before is None else told[1]


def is_worse(name: str, measure: Mapping[str, Any], among: Mapping[str, Any] | None = None) -> bool:
    """Whether a measure's whole interval is worse than the reference's whole interval, by more than a trifle.

    That two 95 % intervals do not even touch is a rarer chance than 1 in 100. Never so where either is unknown, or
    where neither more nor less is better; but of the bias the size counts, where its mean absolute error is ``among``
    the measures. See `least_change`.

    >>> before = {"value": 0.9, "low": 0.88, "high": 0.92}
    >>> is_worse("accuracy", {"value": 0.8, "low": 0.78, "high": 0.82, "reference": before})
    True
    >>> is_worse("accuracy", {"value": 0.87, "low": 0.84, "high": 0.90, "reference": before})
    False
    """
    before, better = measure.get("reference"), CATALOGUE[name].better if name in CATALOGUE else None
    mae = _mae_before(among) if better is Better.NEARER_0 else None
    if before is None or better is None or (better is Better.NEARER_0 and mae is None):
        return False
    ends = [[side[key] for key in ("value", "low", "high")] for side in (measure, before)]
    if None in [*ends[0], *ends[1]]:
        return False
    (value, low, high), (was, lowest, highest) = (size_of(*end) for end in ends) if mae is not None else ends
    if abs(value / 2 - was / 2) < least_change(name, was, mae) / 2:  # halves do not overflow
        return False
    return bool(high < lowest if better is Better.HIGHER else low > highest)


def _mae_before(among: Mapping[str, Any] | None) -> float | None:
    """The mean absolute error of the reference; None where it is not known."""
    before = (among or {}).get("mae", {}).get("reference")
    return None if before is None else before["value"]


def fallen(parts: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Fallen]:
    """Of parts of the rows (their name, their measures) those with a worse measure, by how far the first such fell."""
    found = []
    for where, performance in parts:
        name = next((name for name, measure in performance.items() if is_worse(name, measure)), None)
        if name is not None:
            measure = performance[name]
            found.append(Fallen(where, name, measure, measure["reference"]))
    return sorted(found, key=_fall, reverse=True)


def _fall(part: Fallen) -> float:
    was, became = float(part.reference["value"]), float(part.current["value"])
    return abs(became / 2 - was / 2) / max(abs(became / 2), abs(was / 2), 1e-300)  # halves: no overflow


def parts_of(document: Mapping[str, Any], kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The name and the measures of each of the document's "segments" or "classes"; names that look alike in quotes."""
    if kind == "segments":
        names = _told([(part["column"], part["value"]) for part in document["segments"]])
        return [(name, part["performance"]) for name, part in zip(names, document["segments"], strict=True)]
    classes = document["classes"] or {}
    told = shown_all(classes)
    return [(told[name], measures) for name, measures in classes.items()]


def told_segments(contest: Contest) -> list[str]:
    """The segments of a contest in words, those that look alike in quotes."""
    return _told([(one.segment, one.value) for one in contest.segments])


def _told(segments: Sequence[tuple[str, str]]) -> list[str]:
    values: dict[str, list[str]] = {}
    for column, value in segments:
        values.setdefault(column, []).append(value)
    told = {column: shown_all(those) for column, those in values.items()}
    return [f"{shown(column)} = {told[column][value]}" for column, value in segments]


def is_compared(measures: Mapping[str, Any]) -> bool:
    """Whether the reference has a value of any of these measures that the current rows have, too."""
    return any(
        measure["value"] is not None and measure["reference"] is not None and measure["reference"]["value"] is not None
        for measure in measures.values()
    )


def problems(performance: Mapping[str, Any]) -> list[str]:
    """Why measures have no value, each reason once, with the names of all that lack one for it.

    >>> none = {"value": None, "problem": "no scores"}
    >>> problems({"roc_auc": none, "accuracy": {"value": 0.9, "problem": None}, "log_loss": none})
    ['roc_auc, log_loss: no scores']
    """
    names: dict[str, list[str]] = {}
    for name, measure in performance.items():
        if measure["value"] is None:
            names.setdefault(measure["problem"] or "could not be measured", []).append(name)
    return [f"{', '.join(those)}: {problem}" for problem, those in names.items()]
