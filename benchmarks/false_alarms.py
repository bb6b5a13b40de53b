"""How often does a check speak of what is not there, and how often of what is? Simulated, so that the truth is known.

python -m benchmarks.false_alarms [--runs N]

*By chance*: both sides are samples of one distribution, whose columns of eleven kinds share a common factor, with
labels, predictions and scores. Every run draws its own rows, and begins with another kind, so that a few columns are of
all kinds in turn. *Hard*: rows that are no such sample, such as errors with a heavy tail, texts from templates and rows
of days with luck of their own; nothing has changed there either. *Found*: one of five columns, or the accuracy, has
changed, and an alert names it. *Trifles*: changes so small that no number of rows may make an alert of them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from driftline import check
from driftline.results.check import Alert
from driftline.statistics import wilson

Numbers = npt.NDArray[np.float64]

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 90
WORDS = pl.Series([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "ei", "o", "u") for c in ("n", "r", "st", "l")])
SIZES = ((30, 30), (100, 100), (1_000, 100), (100, 1_000), (1_000, 1_000), (100_000, 1_000))
COLUMNS = {5: 1.0, 25: 0.5, 100: 0.1}
"""Numbers of columns, and for each the share of the runs asked for: a run with many columns takes long."""
LARGE, LARGE_RUNS, HARD_LARGE_RUNS = 100_000, 0.25, 0.1
SIDES = (100, 300, 1_000, 10_000)
TRIFLE_ROWS, TRIFLE_RUNS = 1_000_000, 0.05
PARTS = ("drift", "relations", "performance", "quality")


# ---- rows --------------------------------------------------------------------------------------------------


def expit(x: Numbers) -> Numbers:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-x)))


def with_gaps(rng: np.random.Generator, values: Numbers, share: float) -> pl.Series:
    """The values, of which this share is missing."""
    return pl.select(pl.when(pl.Series(rng.random(len(values)) >= share)).then(pl.Series(values))).to_series()


def names_of(places: Numbers, word: str) -> pl.Series:
    """A category for each place, from 0."""
    names = pl.Series([f"{word} {place}" for place in range(int(places.max(initial=0)) + 1)])
    return names.gather(pl.Series(places.astype(np.int64)))


def texts(rng: np.random.Generator, z: Numbers) -> pl.Series:
    """Two to six words, frequent and rare ones."""
    words = [WORDS.gather(pl.Series((rng.random(len(z)) ** 2 * len(WORDS)).astype(np.int64))) for _ in range(6)]
    long = np.clip(np.floor(4 + z), 2, 6)
    return pl.select(
        pl.concat_str(
            [pl.when(pl.Series(long > place)).then(word) for place, word in enumerate(words)],
            separator=" ",
            ignore_nulls=True,
        )
    ).to_series()


def dates(rng: np.random.Generator, z: Numbers) -> pl.Series:
    """Times in three months."""
    seconds = pl.Series((rng.random(len(z)) * DAYS * 86_400).astype(np.int64))
    return pl.select(pl.lit(START) + pl.duration(seconds=pl.lit(seconds))).to_series()


KINDS: dict[str, Callable[[np.random.Generator, Numbers], pl.Series]] = {
    "normal": lambda rng, z: pl.Series(z),
    "category": lambda rng, z: names_of(np.searchsorted([-1.0, 0.0, 0.5, 1.5], z).astype(float), "kind"),
    "heavy_tails": lambda rng, z: pl.Series(z / np.sqrt(rng.exponential(size=len(z)))),  # Student's t, 2 degrees
    "text": texts,
    "gaps": lambda rng, z: with_gaps(rng, z, 0.1),
    "whole": lambda rng, z: pl.Series(np.clip(np.round(2 + 1.5 * z), 0, 9).astype(np.int64)),
    "lognormal": lambda rng, z: pl.Series(np.exp(z)),
    "rare": lambda rng, z: names_of(np.floor(200 * expit(1.7 * z) ** 2), "place"),
    "flag": lambda rng, z: pl.Series(z > 0.7),
    "date": dates,
    "zeros": lambda rng, z: pl.Series(np.where(z > 0.3, np.exp(z), 0.0)),
}


def alike(rng: np.random.Generator, n: int, *, columns: int, first: int = 0) -> pl.DataFrame:
    """Rows of a model that is right in about 85 % of them, with so many columns of all kinds in turn."""
    factor = rng.normal(size=n)
    made = {}
    for place, kind in enumerate(islice(cycle(KINDS), first % len(KINDS), first % len(KINDS) + columns)):
        made[f"{kind}_{place}"] = KINDS[kind](rng, 0.7 * factor + np.sqrt(0.51) * rng.normal(size=n))
    score = expit(3 * factor)
    return pl.DataFrame(made | {"y": rng.random(n) < score, "said": score > 0.5, "score": score})


def changed(
    rng: np.random.Generator,
    n: int,
    *,
    shift: float = 0.0,
    missing: float = 0.05,
    new: float = 0.0,
    flip: float = 0.0,
    right: float = 0.85,
) -> pl.DataFrame:
    """Rows with five columns, and what may have changed in them; ``flip`` of a category's share goes to another."""
    z = rng.normal(size=n)
    truth = rng.random(n) < 0.4
    kinds = np.searchsorted(np.cumsum([0.4 - flip, 0.3 + flip, 0.2]), rng.random(n))
    news = np.where(rng.random(n) < new, 3, rng.integers(0, 3, n))
    return pl.DataFrame(
        {
            "number": z + shift,
            "gaps": with_gaps(rng, rng.normal(size=n), missing),
            "category": names_of(kinds.astype(float), "kind"),
            "names": names_of(news.astype(float), "name"),
            "tails": np.exp(rng.normal(size=n)),
            "y": truth,
            "said": truth == (rng.random(n) < right),
        }
    )


def with_errors(rng: np.random.Generator, n: int, errors: Numbers) -> pl.DataFrame:
    """Rows of a regression with these errors."""
    y = rng.normal(100, 20, n)
    return pl.DataFrame({"y": y, "said": y + errors})


def templates(rng: np.random.Generator, n: int) -> pl.DataFrame:
    """Messages from 40 templates of twelve words, each with a number that counts up."""
    made = np.random.default_rng(3)
    texts = [" ".join(WORDS.gather(made.choice(len(WORDS), 12, replace=False).tolist()).to_list()) for _ in range(40)]
    start = int(rng.integers(10**6))
    said = rng.choice(40, n).tolist()
    return pl.DataFrame({"message": [f"{texts[at]} order {start + row:07}" for row, at in enumerate(said)]})


def in_turn(rng: np.random.Generator, n: int) -> pl.DataFrame:
    """Two columns of twenty devices in turn, which hang together in another way in each."""
    device, noise = np.arange(n) % 20, rng.normal(size=n)
    at = np.random.default_rng(3).normal(size=(3, 20))
    b = 3 * at[1, device] + np.sign(at[2, device]) * noise + 0.3 * rng.normal(size=n)
    return pl.DataFrame({"a": 3 * at[0, device] + noise, "b": b})


def by_day(rng: np.random.Generator, n: int, *, regression: bool = False) -> pl.DataFrame:
    """Rows of days, fifty of each, or of as many customers, that have luck of their own."""
    days = -(-n // 50)
    day = np.arange(n) // 50
    own = rng.normal(0, 0.5, days)[day]
    times = pl.Series([START]).dt.epoch("us").item() + day * 86_400_000_000
    made = {
        "time": pl.Series(times).cast(pl.Datetime("us", "UTC")),
        "customer": names_of(day.astype(float), "customer"),
    }
    if regression:
        return pl.DataFrame(made).hstack(with_errors(rng, n, rng.normal(size=n) * np.exp(own)))
    y = rng.random(n) < 0.5
    return pl.DataFrame(made | {"y": y, "said": y == (rng.random(n) < expit(1.35 + own))})


# ---- runs --------------------------------------------------------------------------------------------------


def part_of(alert: Alert) -> str:
    """Which part of the report the alert comes from: a drift of no one column is one of the relations."""
    return "relations" if alert.kind == "drift" and alert.column is None else alert.kind


def false_alarms(rows: tuple[int, int], columns: int, runs: int) -> Counter[str]:
    """In how many runs there was any alert although nothing had changed, and in how many one of each part."""
    rng, found = np.random.default_rng(1), Counter[str]()
    for run in range(runs):
        before, now = (alike(rng, n, columns=columns, first=run) for n in rows)
        parts = {part_of(alert) for alert in check(before, now, label="y", prediction="said", score="score").alerts}
        found.update(parts | ({"any"} if parts else set()))
    return found


ERRORS: dict[str, Callable[[np.random.Generator, int], Numbers]] = {
    "lognormal errors": lambda rng, n: rng.lognormal(0, 1.5, n),
    "1 % of errors 50 times as large": lambda rng, n: np.where(rng.random(n) < 0.01, 50.0, 1.0) * rng.normal(size=n),
    "errors of Student's t, 2 degrees": lambda rng, n: rng.standard_t(2, n),
}
REGRESSION = {"label": "y", "prediction": "said", "task": "regression"}
BINARY = {"label": "y", "prediction": "said", "task": "binary"}
SMALL_SIZES, TEXT_SIZES = ((30, 1_000), (300, 3_000), (1_000, 30), (100, 100)), ((50, 50), (100, 100), (1_000, 50))
PANEL_SIZES, DAY_SIZES = ((120_000, 60_000), (10_000, 5_000)), ((500, 500), (4_500, 4_500), (4_500, 500))
BY_TIME, BY_CUSTOMER = {"time": "time", "ignore": ["customer"]}, {"cluster": "customer", "ignore": ["time", "customer"]}


class Hard(NamedTuple):
    """Rows of which nothing has changed, in what numbers a side, and how a check is asked."""

    draw: Callable[[np.random.Generator, int], pl.DataFrame]
    sizes: tuple[tuple[int, int], ...]
    options: dict[str, Any]


HARD: dict[str, Hard] = {
    **{
        words: Hard(lambda rng, n, errors=errors: with_errors(rng, n, errors(rng, n)), SMALL_SIZES, REGRESSION)
        for words, errors in ERRORS.items()
    },
    "texts from 40 templates": Hard(templates, TEXT_SIZES, {}),
    "devices in turn": Hard(in_turn, PANEL_SIZES, {}),
    "right by day": Hard(by_day, DAY_SIZES, BINARY | BY_TIME),
    "right by customer": Hard(by_day, DAY_SIZES, BINARY | BY_CUSTOMER),
    "errors by day": Hard(partial(by_day, regression=True), DAY_SIZES, REGRESSION | BY_TIME),
    "errors by customer": Hard(partial(by_day, regression=True), DAY_SIZES, REGRESSION | BY_CUSTOMER),
}


def hard_alarms(hard: Hard, rows: tuple[int, int], runs: int) -> int:
    """In how many runs there was an alert on performance, on relations or on texts, although nothing had changed."""
    rng, found = np.random.default_rng(2), 0
    for _ in range(runs):
        before, now = (hard.draw(rng, n) for n in rows)
        told = check(before, now, **hard.options).alerts
        found += any(part_of(one) in ("performance", "relations") or one.column == "message" for one in told)
    return found


CHANGES: dict[str, tuple[str, dict[str, float]]] = {
    "a number shifts by 0.3 sd": ("number", {"shift": 0.3}),
    "a number shifts by 0.1 sd": ("number", {"shift": 0.1}),
    "missing 5 → 20 %": ("gaps", {"missing": 0.20}),
    "a new category has 3 %": ("names", {"new": 0.03}),
    "10 points go from one category to another": ("category", {"flip": 0.10}),
    "accuracy 0.85 → 0.80": ("accuracy", {"right": 0.80}),
}
"""What changes, and the column or measure that an alert has to name."""

TRIFLES: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "a number shifts by 0.02 sd": ({}, {"shift": 0.02}),
    "0.5 points go from one category to another": ({}, {"flip": 0.005}),
    "missing 1.0 → 1.2 %": ({"missing": 0.010}, {"missing": 0.012}),
}


def alerts(rng: np.random.Generator, n: int, was: dict[str, float], became: dict[str, float]) -> tuple[Alert, ...]:
    """The alerts of a check of n rows a side."""
    return check(changed(rng, n, **was), changed(rng, n, **became), label="y", prediction="said").alerts


def times_found(n: int, name: str, became: dict[str, float], runs: int) -> int:
    """In how many runs an alert named the changed column, or measure."""
    rng = np.random.default_rng(1)
    return sum(any(name in (one.column, one.measure) for one in alerts(rng, n, {}, became)) for _ in range(runs))


# ---- tables ------------------------------------------------------------------------------------------------


def share(found: int, runs: int) -> str:
    """A share of the runs with its 95 % interval.

    >>> share(2, 200)
    '1.0 % (0.3 to 3.6)'
    """
    low, high = wilson(found, runs)
    return f"{100 * found / runs:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def line(rows: str, columns: str, found: Counter[str], runs: int) -> str:
    """A line of the table of false alarms."""
    cells = (share(found["any"], runs), *(f"{100 * found[one] / runs:.1f} %" for one in PARTS))
    return f"| {rows} | {columns} | {runs:,} | {' | '.join(cells)} |"


def head(*names: str) -> str:
    """The first two lines of a table."""
    return f"| {' | '.join(names)} |\n{'| --- ' * len(names)}|"


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the tables of docs/check.md."""
    parser = argparse.ArgumentParser(description="False alarms and power of a check.")
    parser.add_argument("--runs", type=int, default=200)
    asked = parser.parse_args(arguments).runs
    out = partial(print, file=sys.stdout, flush=True)
    out(head("nothing changed: rows", "columns", "runs", "any alert", *PARTS))
    together, all_runs = Counter[str](), 0
    for columns, part in COLUMNS.items():
        for rows in SIZES:
            runs = max(round(asked * part * (LARGE_RUNS if max(rows) >= LARGE else 1)), 1)
            found = false_alarms(rows, columns, runs)
            out(line(f"{rows[0]:,} : {rows[1]:,}", f"{columns}", found, runs))
            together, all_runs = together + found, all_runs + runs
    out(line("together", "–", together, all_runs))
    out("\n" + head("hard cases, nothing changed", "rows", "runs", "alerts"))
    for what, hard in HARD.items():
        for rows in hard.sizes:
            runs = max(round(asked * (HARD_LARGE_RUNS if max(rows) >= LARGE else 1)), 1)
            told = share(hard_alarms(hard, rows, runs), runs)
            out(f"| {what} | {rows[0]:,} : {rows[1]:,} | {runs:,} | {told} |")
    runs = max(asked // 2, 1)
    out("\n" + head(f"found, of {runs} runs", *(f"{n:,} a side" for n in SIDES)))
    for what, (name, became) in CHANGES.items():
        power = [f"{100 * times_found(n, name, became, runs) / runs:.0f} %" for n in SIDES]
        out(f"| {what} | {' | '.join(power)} |")
    runs = max(round(asked * TRIFLE_RUNS), 1)
    out("\n" + head(f"small effects, {TRIFLE_ROWS:,} rows a side", "runs with an alert"))
    for what, (was, became) in TRIFLES.items():
        rng = np.random.default_rng(1)
        out(f"| {what} | {sum(bool(alerts(rng, TRIFLE_ROWS, was, became)) for _ in range(runs))} of {runs} |")


if __name__ == "__main__":
    main()
