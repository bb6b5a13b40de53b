"""Gross faults, which need no history: a column without values, of another type or of unknown categories; no rows.

They are seen from the first window on, against a reference that may be a file. Each is so large that neither sampling
nor ordinary days explain it.
"""

from __future__ import annotations

import math

import numpy as np

from driftline.detection.distributions import log_normal_tail
from driftline.detection.findings import Finding
from driftline.detection.series import Role, SeriesKind, share_of, share_score
from driftline.detection.series_map import Observed
from driftline.profiles import CategoricalColumn, Column, Profile

_LEAST_RISE = 0.20
_LEAST_SCORE = 6.0
_USUAL_ROWS = 20.0
_LATENCY = "latency_seconds"


def gross_faults(reference: Observed, window: Observed, *, usual_rows: float | None = None) -> tuple[Finding, ...]:
    """The gross faults of a window, the surest first.

    ``reference`` is all that is known to be good, merged; ``usual_rows`` how many rows its windows have, None where it
    has no windows. A share has to rise by 20 points and six standard errors; a window without rows is a fault where 20
    are usual.
    """
    rows = window.profile.predictions
    if not rows:
        if usual_rows is None or usual_rows < _USUAL_ROWS:
            return ()
        chance = math.exp(-usual_rows)
        none = Finding(Role.VOLUME, "rows", "rows", SeriesKind.VOLUME, 1, -1.0, chance, usual_rows, 0.0)
        return (none,)
    found = _faults_of(Role.FEATURE, reference.profile.features, window.profile.features)
    found += _faults_of(Role.PREDICTION, reference.profile.outputs, window.profile.outputs)
    found += _faults_of(Role.LABEL, reference.profile.labels, window.profile.labels)
    return tuple(sorted(found, key=lambda one: (one.chance, one.column)))


def _faults_of(role: Role, reference: Profile, window: Profile) -> list[Finding]:
    found: list[Finding] = []
    for name, usual in reference.columns.items():
        if not window.rows or not usual.rows or name == _LATENCY:
            continue
        now = window.columns.get(name)
        other_type = now is not None and type(now) is not type(usual)
        gone = window.rows if now is None or other_type else now.absent
        measure = "type" if other_type else "missing"
        one = _rise(role, name, measure, SeriesKind.MISSING, (usual.absent, usual.rows), (gone, window.rows))
        if one is None and now is not None:
            one = _unseen(role, name, usual, now)
        if one is not None:
            found.append(one)
    return found


def _unseen(role: Role, name: str, usual: Column, now: Column) -> Finding | None:
    """Rows in categories that the reference does not have, where it has few enough to say so."""
    if not isinstance(usual, CategoricalColumn) or not isinstance(now, CategoricalColumn):
        return None
    known, count = usual.categories, now.categories.count
    if not known.exact or not now.categories.exact or 2 * len(known.counts) > known.count:
        return None
    new = sum(rows for category, rows in now.categories.counts.items() if category not in known.counts)
    return _rise(role, name, "unseen", SeriesKind.NOVEL, (0, known.count), (new, count))


def _rise(
    role: Role, column: str, measure: str, kind: SeriesKind, usual: tuple[int, int], now: tuple[int, int]
) -> Finding | None:
    """The rise of a share, as rows of how many; None where it is not gross."""
    k, n = (np.array([before, after], np.float64) for before, after in zip(usual, now, strict=True))
    if (n <= 0).any():
        return None
    before, after = share_score(k, n).tolist()
    score = (after - before) / math.sqrt(float((1 / n).sum()))
    shares = k / n
    if shares[1] - shares[0] < _LEAST_RISE or score < _LEAST_SCORE:
        return None
    chance = math.exp(max(float(log_normal_tail(np.array([score]))[0]), -700.0))
    least = min(share_of(before), float(shares[0]))
    return Finding(role, column, measure, kind, 1, float(shares[1]) - least, chance, float(shares[0]), float(shares[1]))
