"""What the detector must reach: alarms a year without a change, and the share of changes found within so many windows.

The budget itself is 365 / 90 = 4.06 alarms a year.
"""

from __future__ import annotations

ALARMS = {
    **{("iid", rows): most for rows, most in ((100, 2.5), (1_000, 2.0), (10_000, 2.0))},
    **{("day-effects", rows): 3.0 for rows in (100, 1_000, 10_000)},
    **{("realistic", rows): 4.0 for rows in (100, 1_000, 10_000)},
    ("realistic reference=7", 1_000): 6.0,
    ("realistic reference=14", 1_000): 4.0,
    ("realistic reference=56", 1_000): 4.0,
    ("realistic annual=0.5", 1_000): 4.0,
    ("realistic holidays=3%", 1_000): 5.0,
    ("realistic paydays=1", 1_000): 5.0,
    ("realistic paydays=3", 1_000): 5.0,
    ("realistic 4 columns", 1_000): 4.0,
}
"""(stream, rows a window): alarms a year, at most, in the mean of the streams."""

MODEL_ALARMS = 4.0
"""Alarms a year, at most, of models with labels and segments beside their columns."""

FOUND = {
    ("mean 0.25", 1_000): (0.50, 28),
    ("mean 0.5", 1_000): (0.60, 7),
    ("mean 1", 1_000): (0.70, 3),
    ("scale 1.25", 1_000): (0.75, 7),
    ("scale 1.5", 1_000): (0.85, 3),
    ("cat_swap 1", 1_000): (0.75, 3),
    ("cat_move 0.05", 1_000): (0.65, 28),
    ("cat_move 0.15", 1_000): (0.65, 3),
    ("new_cat 0.02", 1_000): (0.85, 1),
    ("missing 0.02", 1_000): (0.65, 3),
    ("missing 0.1", 1_000): (0.75, 1),
    ("missing 0.1 pulse1", 1_000): (0.75, 1),
    ("unit 0.02", 1_000): (0.75, 1),
    ("shape 0.6", 1_000): (0.75, 7),
    ("mean 0.5 ramp30", 1_000): (0.55, 28),
    ("mean_many 0.1", 1_000): (0.40, 28),
    ("mean 0.5", 10_000): (0.65, 7),
    ("mean 1", 10_000): (0.65, 1),
    ("scale 1.25", 10_000): (0.65, 3),
    ("scale 1.5", 10_000): (0.80, 3),
    ("cat_swap 1", 10_000): (0.80, 28),
    ("cat_move 0.05", 10_000): (0.75, 28),
    ("cat_move 0.15", 10_000): (0.65, 7),
    ("new_cat 0.02", 10_000): (0.85, 1),
    ("missing 0.02", 10_000): (0.65, 3),
    ("missing 0.1", 10_000): (0.65, 3),
    ("mean 0.5", 100): (0.65, 28),
    ("mean 1", 100): (0.65, 7),
    ("scale 1.5", 100): (0.65, 7),
    ("cat_move 0.15", 100): (0.65, 7),
    ("new_cat 0.02", 100): (0.80, 28),
    ("missing 0.02", 100): (0.50, 28),
    ("missing 0.1", 100): (0.65, 3),
    ("unit 0.02", 100): (0.80, 28),
}
"""(change, rows a window): the share found, at least, and within how many windows."""

NAMED_FIRST = 0.8
"""The share of what is found, at least, in which a changed column is named first."""

HARDLY_FOUND = ("mean 0.1", "mean 0.5 ramp30", "mean 0.5 pulse1")
"""The changes that do not count for that."""
