"""Pure functions from profiles to numbers: a profile has no threshold, and only a comparison or a rule says "drift"."""

from driftline.statistics.catalogue import CATALOGUE, Better, MeasureSpec, least_change
from driftline.statistics.distances import DISTANCES
from driftline.statistics.drift import ColumnDrift, EffectThresholds, compare_columns, worst_first
from driftline.statistics.intervals import Interval, difference, wilson
from driftline.statistics.measure import Measure
from driftline.statistics.performance import label_coverage, measures, measures_by_class
from driftline.statistics.scores import CalibrationBin, calibration_bins, gains
from driftline.statistics.significance_tests import TESTS

__all__ = [
    "CATALOGUE",
    "DISTANCES",
    "TESTS",
    "Better",
    "CalibrationBin",
    "ColumnDrift",
    "EffectThresholds",
    "Interval",
    "Measure",
    "MeasureSpec",
    "calibration_bins",
    "compare_columns",
    "difference",
    "gains",
    "label_coverage",
    "least_change",
    "measures",
    "measures_by_class",
    "wilson",
    "worst_first",
]
