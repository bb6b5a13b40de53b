"""Say in sentences what changed and what did not: the reasons that an alert gives beside its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftline.text import listed

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """The result of comparing one column with the reference. ``judged`` is False where it could not be compared.

    ``severity`` is the effect size in units of the minimum one: 0 or more, larger is worse.
    """

    judged: bool
    drifted: bool
    changes: tuple[str, ...]
    reason: str
    severity: float = 0.0


@dataclass(frozen=True, slots=True)
class Moved:
    """How a series of a column moved.

    ``what`` says it in words, ``windows`` over how many windows, and ``chance`` how often chance alone moves any series
    as far in the budget's period.
    """

    column: str
    what: str
    windows: int
    chance: float


@dataclass(frozen=True, slots=True)
class Findings:
    """The state of a model's columns in one window, in sentences, and as lists for programs.

    Changed inputs are sorted by effect, the largest first. ``named`` are the columns and measures that an alert of the
    detector is about, ``kinds`` the kinds of change that it found (*location*, *missing* …), and ``moved``
    the findings in words; ``suspected`` is what kind of fault they look like. These are empty for other alerts.
    """

    inputs_changed: tuple[str, ...]
    inputs_stable: tuple[str, ...]
    inputs_not_judged: tuple[str, ...]
    sentences: tuple[str, ...]
    named: tuple[str, ...] = ()
    moved: tuple[Moved, ...] = ()
    kinds: tuple[str, ...] = ()
    suspected: str = ""


def findings_of(
    inputs: Mapping[str, ColumnFinding], prediction: ColumnFinding | None, label: ColumnFinding | None
) -> Findings:
    """Say what changed: first in the inputs, then in the predictions, then in the labels.

    >>> rain = ColumnFinding(True, True, ("rain 52 % → 0 % (gone)",), "")
    >>> wind = ColumnFinding(True, False, (), "")
    >>> for sentence in findings_of({"wind": wind}, None, rain).sentences:
    ...     print(sentence)
    Inputs stable: wind.
    Labels changed: rain 52 % → 0 % (gone).
    """
    moved = (name for name, one in inputs.items() if one.judged and one.drifted)
    changed = tuple(sorted(moved, key=lambda name: -inputs[name].severity))  # equal effects keep their order
    stable = tuple(name for name, one in inputs.items() if one.judged and not one.drifted)
    unknown = tuple(name for name, one in inputs.items() if not one.judged)
    sentences = [_changed_input(name, inputs[name]) for name in changed[:_MOST_NAMES]]
    if more := len(changed[_MOST_NAMES:]):
        sentences.append(f"{more} more {'input' if more == 1 else 'inputs'} changed.")
    if stable:
        sentences.append(f"{'Other inputs' if changed else 'Inputs'} stable: {listed(stable, _MOST_NAMES)}.")
    if unknown:
        sentences.append(f"Inputs not judged: {listed(unknown, _MOST_NAMES)} ({inputs[unknown[0]].reason}).")
    sentences += _about("Predictions", prediction) + _about("Labels", label)
    return Findings(changed, stable, unknown, tuple(sentences))


def _changed_input(name: str, finding: ColumnFinding) -> str:
    return f"Input {name} changed: {', '.join(finding.changes) or finding.reason}."


def _about(what: str, finding: ColumnFinding | None) -> list[str]:
    if finding is None:
        return []
    if not finding.judged:
        return [f"{what} not judged ({finding.reason})."]
    if finding.drifted:
        return [f"{what} changed: {', '.join(finding.changes) or finding.reason}."]
    return [f"{what} stable."]
