"""Pure functions from profiles to numbers: a profile knows no threshold, a statistic never says "drift"."""

from driftline.statistics.measure import Measure

__all__ = ["Measure"]
