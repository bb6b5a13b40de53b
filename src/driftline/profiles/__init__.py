"""From rows to profiles: batches of the canonical frame become `WindowProfile` values that merge."""

from driftline.profiles.build import profile_rows
from driftline.profiles.column import CategoricalColumn, Column, CompositeColumn, NumericColumn
from driftline.profiles.frame import Columns, canonical, infer_schema
from driftline.profiles.performance import Classification, Performance, Regression, ScorePair
from driftline.profiles.profile import Profile, WindowProfile
from driftline.profiles.reference import Reference

__all__ = [
    "CategoricalColumn",
    "Classification",
    "Column",
    "Columns",
    "CompositeColumn",
    "NumericColumn",
    "Performance",
    "Profile",
    "Reference",
    "Regression",
    "ScorePair",
    "WindowProfile",
    "canonical",
    "infer_schema",
    "profile_rows",
]
