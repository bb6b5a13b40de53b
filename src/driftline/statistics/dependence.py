"""PLACEHOLDER, overwritten by the developer of this module."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Dependence:
    measure: str
    value: float | None
    threshold: float | None
    drifted: bool
    p_value: float | None
    problem: str
    reason: str
    pairs: tuple[object, ...]


def compare_dependence(reference: pl.DataFrame, current: pl.DataFrame) -> Dependence | None:
    return None
