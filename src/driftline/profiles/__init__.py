"""From rows to profiles: batches of the canonical frame become `WindowProfile` values that merge."""

from driftline.profiles.build import Profiler, Workers, profile_rows
from driftline.profiles.column import CategoricalColumn, Column, CompositeColumn, NumericColumn
from driftline.profiles.frame import Columns, canonical
from driftline.profiles.infer import infer_schema, kind_of
from driftline.profiles.performance import Classification, Performance, Regression, ScorePair
from driftline.profiles.profile import Profile, WindowProfile
from driftline.profiles.reference import Reference, layout_of

__all__ = [
    "CategoricalColumn",
    "Classification",
    "Column",
    "Columns",
    "CompositeColumn",
    "NumericColumn",
    "Performance",
    "Profile",
    "Profiler",
    "Reference",
    "Regression",
    "ScorePair",
    "WindowProfile",
    "Workers",
    "canonical",
    "infer_schema",
    "kind_of",
    "layout_of",
    "profile_rows",
]
