"""Pure functions from profiles to numbers: a profile knows no threshold, a statistic never says "drift"."""

from driftline.statistics.distances import DISTANCES
from driftline.statistics.drift import ColumnDrift, Floors, compare_columns, worst_first
from driftline.statistics.intervals import Interval, difference, wilson
from driftline.statistics.measure import Measure
from driftline.statistics.performance import HIGHER_IS_BETTER, label_coverage, measures

__all__ = [
    "DISTANCES",
    "HIGHER_IS_BETTER",
    "ColumnDrift",
    "Floors",
    "Interval",
    "Measure",
    "compare_columns",
    "difference",
    "label_coverage",
    "measures",
    "wilson",
    "worst_first",
]
