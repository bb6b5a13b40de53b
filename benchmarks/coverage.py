"""How often does an interval hold the true value? Simulated, so that the truth is known.

python -m benchmarks.coverage [--runs N] [--write]

Each case draws samples of 30, 100 and 1,000 rows of one distribution and measures them. *Holds*: the share of the
samples whose two-sided 95 % interval holds the truth, of those that have one. *Wrong end*: of the one-sided bounds at
95 % that rules are judged by, the worse of both, which ought to be 5 % and may be 10 %. ``--write`` puts the table into
docs/measures.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.between import between
from driftline.profiles import Classification, Performance, Regression
from driftline.profiles.blocks import Keys
from driftline.statistics import measures

Numbers = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Performance]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "measures.md"
BEGIN, END = "<!-- coverage: python -m benchmarks.coverage --write -->", "<!-- end of coverage -->"
SIZES = (30, 100, 1_000)
TRUTH_ROWS, TRUTH_PARTS = 1_000_000, 4
LEAST_SHOWN = 20
"""Samples with an interval, below which a share of them says nothing."""
TWO_SIDED, ONE_SIDED = 0.95, 0.90
ROUNDING = 1e-9


class Case(NamedTuple):
    """A distribution of labelled rows; ``known`` are true values that a large sample would miss."""

    draw: Draw
    positive: str | None = None
    known: Mapping[str, float] = {}


def scored(share: float, separation: float, *, stretched: float = 1.0) -> Draw:
    """A binary model with a share of positive rows; calibrated unless its logits are stretched."""

    def draw(rng: np.random.Generator, n: int) -> Performance:
        positive = rng.random(n) < share
        z = rng.normal(size=n) + np.where(positive, separation / 2, -separation / 2)
        score = 1 / (1 + np.exp(-stretched * (np.log(share / (1 - share)) + separation * z)))
        labels, said = (pl.Series(side).cast(pl.Int8).cast(pl.String) for side in (positive, score >= 0.5))
        return Classification.of(labels, said, {"1": pl.Series(score)}, positive="1")

    return draw


def by_day(n: int, rows: int) -> tuple[npt.NDArray[np.int64], int]:
    """The day of each of n rows, of so many rows a day, and how many days there are."""
    day = np.arange(n) // rows
    return day, int(day.max()) + 1


def lucky_scores(rows: int, luck: float) -> Draw:
    """A binary model that is right more often on some days than on others, of so many rows each."""

    def draw(rng: np.random.Generator, n: int) -> Performance:
        day, days = by_day(n, rows)
        positive = rng.random(n) < 0.4
        right = rng.random(n) < 1 / (1 + np.exp(-1.5 - rng.normal(0, luck, days)[day]))
        score = np.clip(np.where(positive == right, 0.8, 0.2) + rng.normal(0, 0.05, n), 0.01, 0.99)
        labels, said = (pl.Series(side).cast(pl.Int8).cast(pl.String) for side in (positive, score >= 0.5))
        keys = Keys(1, 24 * day)
        return Classification.of(labels, said, {"1": pl.Series(score)}, positive="1", keys=keys)

    return draw


def lucky_errors(rows: int, luck: float) -> Draw:
    """A regression with a bias and a size of errors of each day, of so many rows."""

    def draw(rng: np.random.Generator, n: int) -> Performance:
        day, days = by_day(n, rows)
        size = np.exp(rng.normal(0, luck, days))[day]
        errors = rng.normal(0, luck, days)[day] + rng.normal(0, 1, n) * size
        labels = rng.normal(50, 3, n)
        return Regression.of(pl.Series(labels), pl.Series(labels + errors), keys=Keys(1, 24 * day), unit=2.0)

    return draw


def erring(errors: Callable[[np.random.Generator, int], Numbers], *, long_labels: bool = False) -> Draw:
    """A regression with such errors, of normal labels or of lognormal ones."""

    def draw(rng: np.random.Generator, n: int) -> Performance:
        labels = rng.lognormal(0, 1, n) if long_labels else rng.normal(50, 3, n)
        return Regression.of(pl.Series(labels), pl.Series(labels + errors(rng, n)))

    return draw


def lognormal(sigma: float) -> dict[str, float]:
    """The bias and the RMSE of errors that are lognormal less 1."""
    mean = np.exp(sigma**2 / 2)
    return {"bias": float(mean - 1), "rmse": float(np.sqrt(np.exp(2 * sigma**2) - 2 * mean + 1))}


CASES: dict[str, Case] = {
    "half are positive": Case(scored(0.5, 1.5), "1"),
    "half, nearly always right": Case(scored(0.5, 4.0), "1"),
    "half, too sure": Case(scored(0.5, 1.5, stretched=1.5), "1"),
    "10 % are positive": Case(scored(0.1, 2.0), "1"),
    "3 % are positive": Case(scored(0.03, 2.0), "1"),
    "1 % are positive": Case(scored(0.01, 3.0), "1"),
    "5 %, too sure": Case(scored(0.05, 2.0, stretched=1.5), "1"),
    "normal errors": Case(erring(lambda rng, n: rng.normal(0, 1, n))),
    "normal errors, lognormal labels": Case(
        erring(lambda rng, n: rng.normal(0, 1, n), long_labels=True), known={"r2": 1 - 1 / ((np.e - 1) * np.e)}
    ),
    "skewed errors (lognormal, 1)": Case(erring(lambda rng, n: rng.lognormal(0, 1, n) - 1), known=lognormal(1.0)),
    "skewed errors (lognormal, 1.5)": Case(
        erring(lambda rng, n: rng.lognormal(0, 1.5, n) - 1),
        known={**lognormal(1.5), "r2": 1 - lognormal(1.5)["rmse"] ** 2 / 9},
    ),
    "Student's t, 3 degrees": Case(
        erring(lambda rng, n: rng.standard_t(3, n)), known={"bias": 0.0, "rmse": 3**0.5, "r2": 1 - 3 / 9}
    ),
    "1 % of errors 100 times as large": Case(
        erring(lambda rng, n: np.where(rng.random(n) < 0.01, 10.0, 0.1) * rng.normal(size=n)), known={"bias": 0.0}
    ),
    "5 % of errors 20 times as large": Case(
        erring(lambda rng, n: np.where(rng.random(n) < 0.05, 20.0, 1.0) * rng.normal(size=n)), known={"bias": 0.0}
    ),
    "right by day": Case(lucky_scores(10, 0.8), "1"),
    "errors by day": Case(lucky_errors(10, 0.5), known={"bias": 0.0}),
    "90 % of errors are 0": Case(erring(lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.normal(size=n)))),
}


def truth_of(case: Case) -> dict[str, float]:
    """The true values of the measures of a case, from a large sample where they are not known."""
    rng, whole = np.random.default_rng(2), case.draw(np.random.default_rng(1), TRUTH_ROWS)
    for _ in range(TRUTH_PARTS - 1):
        whole = whole.merge(case.draw(rng, TRUTH_ROWS))  # type: ignore[arg-type]  # both are of one kind
    found = measures(whole, positive=case.positive)
    return {name: one.value for name, one in found.items() if one.value is not None} | dict(case.known)


class Count(NamedTuple):
    """Of how many samples that have an interval it held the truth, and of how many each one-sided bound did not."""

    shown: int = 0
    held: int = 0
    too_high: int = 0
    too_low: int = 0

    @property
    def words(self) -> str:
        """The share that hold, and the worse end's share of errors."""
        if self.shown < LEAST_SHOWN:
            return "a reason"
        worse = max(self.too_high, self.too_low)
        return f"{100 * self.held / self.shown:.0f} / {100 * worse / self.shown:.0f}"


def counts(case: Case, n: int, runs: int, truth: Mapping[str, float]) -> dict[str, Count]:
    """What samples of n rows hold, by measure."""
    rng, found = np.random.default_rng(n), dict.fromkeys(truth, Count())
    for _ in range(runs):
        sample = case.draw(rng, n)
        wide = measures(sample, confidence=TWO_SIDED, positive=case.positive)
        rule = measures(sample, confidence=ONE_SIDED, positive=case.positive)
        for name, true in truth.items():
            both, one = wide[name], rule[name]
            if both.low is None or both.high is None or one.low is None or one.high is None:
                continue
            room, so_far = ROUNDING * max(abs(true), 1.0), found[name]
            found[name] = Count(
                so_far.shown + 1,
                so_far.held + (both.low - room <= true <= both.high + room),
                so_far.too_high + (one.low - room > true),
                so_far.too_low + (one.high + room < true),
            )
    return found


def table(runs: int) -> list[str]:
    """The lines of the table, with a line for each case and measure."""
    head = " | ".join(f"{n:,} rows" for n in SIZES)
    lines = [f"| rows of | measure | {head} |", f"| --- | --- |{' --- |' * len(SIZES)}"]
    for words, case in CASES.items():
        truth = truth_of(case)
        by_size = [counts(case, n, runs, truth) for n in SIZES]
        for name in truth:
            lines.append(f"| {words} | `{name}` | {' | '.join(of[name].words for of in by_size)} |")
            sys.stderr.write(f"{lines[-1]}\n")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table or write it."""
    parser = argparse.ArgumentParser(description="Coverage of the intervals of measures.")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args(arguments)
    lines = table(asked.runs)
    if asked.write:
        PAGE.write_text(between(PAGE.read_text(), BEGIN, END, lines))
    else:
        sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
