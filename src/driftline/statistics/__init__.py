"""Pure functions from profiles to numbers: a profile knows no threshold, a statistic never says "drift"."""

from driftline.statistics.distances import DISTANCES
from driftline.statistics.drift import ColumnDrift, Floors, compare_columns, worst_first
from driftline.statistics.intervals import Interval, difference, wilson
from driftline.statistics.measure import Measure
from driftline.statistics.performance import HEADLINES, HIGHER_IS_BETTER, label_coverage, measures, measures_by_class

__all__ = [
    "DISTANCES",
    "HEADLINES",
    "HIGHER_IS_BETTER",
    "ColumnDrift",
    "Floors",
    "Interval",
    "Measure",
    "compare_columns",
    "difference",
    "label_coverage",
    "measures",
    "measures_by_class",
    "wilson",
    "worst_first",
]
