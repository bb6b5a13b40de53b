"""Canonical rows to a profile: the one way from rows to states, for files, windows and rebuilds alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from driftline.events import Kind, Schema, Task
from driftline.profiles.column import CategoricalColumn, Column, NumericColumn
from driftline.profiles.frame import FEATURE, SCORE
from driftline.profiles.performance import Classification, Regression
from driftline.profiles.profile import Profile, WindowProfile
from driftline.sketches import Grid


def profile_rows(rows: pl.DataFrame, schema: Schema, grids: Mapping[str, Grid]) -> WindowProfile:
    """Profile canonical rows (see `driftline.profiles.frame`), shape (n, columns); no rows give the identity."""
    if not len(rows):
        return WindowProfile()
    target = Kind.NUMERIC if schema.task is Task.REGRESSION else Kind.CATEGORICAL
    scores = [name for name in rows.columns if name.startswith(SCORE)]
    outputs = {"latency_seconds": Kind.NUMERIC, "prediction": target}
    features = {FEATURE + name: kind for name, kind in schema.features.items()}
    labelled = rows.filter(pl.col("label").is_not_null()) if "label" in rows.columns else rows.clear()
    return WindowProfile(
        features=_profile(rows, features.items(), grids, prefix=FEATURE),
        outputs=_with_scores(_profile(rows, outputs.items(), grids), rows, scores),
        labels=_profile(labelled, [("label", target)], grids) if len(labelled) else Profile(),
        performance=_performance(labelled, schema, scores, grids),
    )


def _profile(
    rows: pl.DataFrame, kinds: Iterable[tuple[str, Kind]], grids: Mapping[str, Grid], *, prefix: str = ""
) -> Profile:
    columns: dict[str, Column] = {}
    for name, kind in sorted(kinds):
        if name not in rows.columns:
            continue
        if kind is Kind.NUMERIC:
            columns[name.removeprefix(prefix)] = NumericColumn.of(rows[name], grids.get(name))
        elif kind is Kind.CATEGORICAL:
            columns[name.removeprefix(prefix)] = CategoricalColumn.of(rows[name])
    return Profile(len(rows), columns)


def _with_scores(outputs: Profile, rows: pl.DataFrame, scores: list[str]) -> Profile:
    """Add the scores that were given. Only those: which classes a batch names must not change the whole."""
    given = {name: rows[name].drop_nulls() for name in scores}
    columns = {name: NumericColumn.of(values) for name, values in given.items() if len(values)}
    return Profile(outputs.rows, dict(sorted({**outputs.columns, **columns}.items())))


def _performance(
    labelled: pl.DataFrame, schema: Schema, scores: list[str], grids: Mapping[str, Grid]
) -> Classification | Regression | None:
    if not len(labelled) or "prediction" not in labelled.columns:
        return None
    if schema.task is Task.REGRESSION:
        centre = grids["label"].centre if "label" in grids else 0.0
        return Regression.of(labelled["label"], labelled["prediction"], centre=centre)
    return Classification.of(
        labelled["label"],
        labelled["prediction"],
        {name.removeprefix(SCORE): labelled[name] for name in scores if labelled[name].count()},
        positive=schema.positive,
    )
