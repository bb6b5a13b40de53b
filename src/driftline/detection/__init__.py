"""Judges windows of a model within a budget of false alarms: series, baseline, scores, alarms. No I/O, clock or chance.

A `SeriesMap` of the reference windows turns stored profiles into values of series; a `Detector` folds over these.
"""

from driftline.detection.alarms import DetectorVerdict, Episode, Outcome
from driftline.detection.cadence import Cadence
from driftline.detection.detector import LEAST_WINDOWS, Detector, DetectorState, SeriesWindow, Settings, Use
from driftline.detection.findings import Finding
from driftline.detection.history import Accepted, Basis, HistoryWindow, Watched
from driftline.detection.judge import Judged, judge_history
from driftline.detection.series import Role, Series, SeriesKind, Values
from driftline.detection.series_map import Observed, SeriesMap
from driftline.detection.suspicion import SuspectedKind, Suspicion

__all__ = [
    "LEAST_WINDOWS",
    "Accepted",
    "Basis",
    "Cadence",
    "Detector",
    "DetectorState",
    "DetectorVerdict",
    "Episode",
    "Finding",
    "HistoryWindow",
    "Judged",
    "Observed",
    "Outcome",
    "Role",
    "Series",
    "SeriesKind",
    "SeriesMap",
    "SeriesWindow",
    "Settings",
    "SuspectedKind",
    "Suspicion",
    "Use",
    "Values",
    "Watched",
    "judge_history",
]
