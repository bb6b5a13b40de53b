"""Judges windows of a model within a budget of false alarms: series, baseline, scores, alarms. No I/O, clock or chance.

A `SeriesMap` of the reference windows turns stored profiles into values of series; a `Detector` folds over these.
"""

from driftline.detection.alarms import DetectorVerdict, Episode, Outcome
from driftline.detection.cadence import Cadence
from driftline.detection.detector import LEAST_WINDOWS, Detector, DetectorState, SeriesWindow, Settings, Use
from driftline.detection.findings import Finding
from driftline.detection.fold import Fold, FoldState, Learnt, Reading, SingleState
from driftline.detection.history import Accepted, Basis, HistoryWindow, Turn, Watched, turns_of
from driftline.detection.judge import REFERENCE_WINDOWS, Judged, Learning, judge_history, learn_first, learn_reference
from driftline.detection.series import Role, Series, SeriesKind, Values
from driftline.detection.series_map import Observed, SeriesMap
from driftline.detection.suspicion import SuspectedKind, Suspicion

__all__ = [
    "LEAST_WINDOWS",
    "REFERENCE_WINDOWS",
    "Accepted",
    "Basis",
    "Cadence",
    "Detector",
    "DetectorState",
    "DetectorVerdict",
    "Episode",
    "Finding",
    "Fold",
    "FoldState",
    "HistoryWindow",
    "Judged",
    "Learning",
    "Learnt",
    "Observed",
    "Outcome",
    "Reading",
    "Role",
    "Series",
    "SeriesKind",
    "SeriesMap",
    "SeriesWindow",
    "Settings",
    "SingleState",
    "SuspectedKind",
    "Suspicion",
    "Turn",
    "Use",
    "Values",
    "Watched",
    "judge_history",
    "learn_first",
    "learn_reference",
    "turns_of",
]
