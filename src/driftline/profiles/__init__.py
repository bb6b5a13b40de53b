"""Turn rows into profiles: batches of the canonical frame become `WindowProfile` values that merge.

Public names are imported when they are first used, so that naming columns does not import NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftline.lazy import imported_on_use

if TYPE_CHECKING:
    from driftline.profiles.build import Profiler, Workers, profile_rows
    from driftline.profiles.column import CategoricalColumn, Column, CompositeColumn, NumericColumn
    from driftline.profiles.columns import Columns
    from driftline.profiles.frame import canonical
    from driftline.profiles.infer import infer_schema, kind_of
    from driftline.profiles.performance import Classification, Performance, Regression, ScorePair
    from driftline.profiles.profile import Profile, WindowProfile
    from driftline.profiles.reference import Reference, layout_of
else:
    __getattr__ = imported_on_use(
        __name__,
        {
            "CategoricalColumn": "driftline.profiles.column",
            "Classification": "driftline.profiles.performance",
            "Column": "driftline.profiles.column",
            "Columns": "driftline.profiles.columns",
            "CompositeColumn": "driftline.profiles.column",
            "NumericColumn": "driftline.profiles.column",
            "Performance": "driftline.profiles.performance",
            "Profile": "driftline.profiles.profile",
            "Profiler": "driftline.profiles.build",
            "Reference": "driftline.profiles.reference",
            "Regression": "driftline.profiles.performance",
            "ScorePair": "driftline.profiles.performance",
            "WindowProfile": "driftline.profiles.profile",
            "Workers": "driftline.profiles.build",
            "canonical": "driftline.profiles.frame",
            "infer_schema": "driftline.profiles.infer",
            "kind_of": "driftline.profiles.infer",
            "layout_of": "driftline.profiles.reference",
            "profile_rows": "driftline.profiles.build",
        },
    )

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
