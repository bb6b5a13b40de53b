"""What the loop is worth on real data: against a model that is never retrained, and one that is retrained blindly.

python -m benchmarks.loop FOLDER [NAME ...]

FOLDER has the data sets as Parquet. Each is cut into 50 periods of equal numbers of rows, in the order of time. The
first model learns from the first 10. Then, period by period: *stale* stays as it is; *blind* is replaced every 5
periods by a model that has learned from the newest 10; *loop* has such a challenger trained after every period, which
learns from the 10 periods before the newest 5 and is judged against the champion on those 5 by `judge_contest` with
its defaults. What is counted is accuracy, or mean absolute error, over the periods that followed.

A promotion is a mistake where the promoted model is significantly worse than its predecessor (two-sided 95 %, blocks of
time) in the period that followed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from driftline.events import Task
from driftline.rules.contest import judge_contest
from driftline.rules.contestants import Entry, Rows, Settings
from driftline.statistics.influence import Answers
from driftline.statistics.paired import difference

PERIODS, FIRST, LEARN, JUDGE, EVERY = 50, 10, 10, 5, 5


@dataclass(frozen=True)
class Data:
    """A data set: its file, task, label, the columns that give the order, and those that would give the label away."""

    file: str
    task: Task
    label: str
    order: tuple[str, ...]
    without: tuple[str, ...] = ()


SETS = {
    "elec2": Data("elec2_1996_1998", Task.BINARY, "up", ("time",)),
    "bike sharing": Data(
        "bike_sharing_hour_2011_2012", Task.REGRESSION, "cnt", ("time",), ("casual", "registered", "instant")
    ),
    "bank": Data("bank_marketing_2008_2010", Task.BINARY, "y", ("period",), ("duration",)),
    "keystroke": Data("keystroke", Task.MULTICLASS, "user", ("row",)),
    "acs (control)": Data(
        "acs_employment_ma_2015_2018", Task.BINARY, "employed", ("year",), ("prediction", "predicted_probability")
    ),
    "weatheraus (control)": Data(
        "weatheraus_2007_2017", Task.BINARY, "RainTomorrow", ("Date", "Location"), ("RISK_MM",)
    ),
}

Model = Callable[[slice], np.ndarray]


@dataclass
class Prepared:
    """Rows in order: features as numbers, labels, and the rows of each period."""

    task: Task
    features: np.ndarray
    categorical: list[bool]
    labels: np.ndarray
    edges: np.ndarray

    def rows(self, first: int, last: int) -> slice:
        """The rows of the periods first to last, last not among them."""
        return slice(int(self.edges[first]), int(self.edges[last]))


def prepare(folder: Path, data: Data) -> Prepared:
    """Read a data set; text becomes numbers by the order of its values, which the model takes as categories."""
    frame = pl.read_parquet(folder / f"{data.file}.parquet").filter(pl.col(data.label).is_not_null())
    frame = frame.sort(data.order, maintain_order=True)
    names = [name for name in frame.columns if name not in (data.label, *data.order, *data.without)]
    columns, categorical = [], []
    for name in names:
        column = frame[name]
        text = not column.dtype.is_numeric()
        categorical.append(text and column.n_unique() <= 250)
        columns.append((column.cast(pl.String).rank("dense") - 1 if text else column).cast(pl.Float64).to_numpy())
    labels = frame[data.label].to_numpy() if data.task is Task.REGRESSION else frame[data.label].cast(pl.String)
    return Prepared(
        data.task,
        np.column_stack(columns),
        categorical,
        np.asarray(labels, np.float64 if data.task is Task.REGRESSION else np.str_),
        np.linspace(0, len(frame), PERIODS + 1).astype(int),
    )


def learn(data: Prepared, rows: slice) -> Model:
    """A gradient-boosting model of some rows."""
    kind = HistGradientBoostingRegressor if data.task is Task.REGRESSION else HistGradientBoostingClassifier
    labels = data.labels[rows]
    if data.task is not Task.REGRESSION and len(np.unique(labels)) == 1:
        return lambda asked: np.full(asked.stop - asked.start, labels[0])
    model = kind(max_iter=60, random_state=1, categorical_features=data.categorical).fit(data.features[rows], labels)
    return lambda asked: model.predict(data.features[asked])


def score(data: Prepared, said: np.ndarray, rows: slice) -> float:
    """Accuracy, or mean absolute error."""
    if data.task is Task.REGRESSION:
        return float(np.abs(said - data.labels[rows]).mean())
    return float((said == data.labels[rows]).mean())


def contest(data: Prepared, champion: Model, challenger: Model, rows: slice) -> bool:
    """Whether the challenger is promoted on these rows."""
    labels = data.labels[rows]
    there = np.ones(len(labels), np.bool_)
    entries = (Entry(name, model(rows), there) for name, model in (("champion", champion), ("challenger", challenger)))
    # The order stands for time, as if the rows were of 20 days.
    asked = Rows(data.task, labels, seconds=np.arange(len(labels)) * 20 // max(len(labels), 1) * 86_400.0)
    return judge_contest(*entries, asked, Settings(least_rows=50)).decision == "promote"


@dataclass
class Outcome:
    """Scores by strategy, and what the loop did."""

    scores: dict[str, list[float]] = field(default_factory=lambda: {"stale": [], "blind": [], "loop": []})
    promotions: int = 0
    contests: int = 0
    mistakes: int = 0


def run(data: Prepared) -> Outcome:
    """All strategies, period by period."""
    stale = learn(data, data.rows(0, FIRST))
    blind = loop = stale
    before: Model | None = None
    found = Outcome()
    for period in _shown(range(FIRST, PERIODS)):
        rows = data.rows(period, period + 1)
        for name, model in (("stale", stale), ("blind", blind), ("loop", loop)):
            found.scores[name].append(score(data, model(rows), rows))
        if before is not None:
            found.mistakes += _is_worse(data, loop, before, rows)
            before = None
        done = period + 1
        if done % EVERY == 0:
            blind = learn(data, data.rows(done - LEARN, done))
        if done - JUDGE - LEARN < 0:
            continue
        challenger = learn(data, data.rows(done - JUDGE - LEARN, done - JUDGE))
        found.contests += 1
        if contest(data, loop, challenger, data.rows(done - JUDGE, done)):
            before, loop = loop, challenger
            found.promotions += 1
    return found


def _is_worse(data: Prepared, now: Model, before: Model, rows: slice) -> bool:
    labels = data.labels[rows]
    blocks = np.arange(len(labels)) * 20 // len(labels)
    measure = "mae" if data.task is Task.REGRESSION else "accuracy"
    answers = (Answers(labels, model(rows)) for model in (now, before))
    high = difference(measure, *answers, blocks=blocks).high
    return high is not None and high < 0


def _shown(periods: range) -> Iterator[int]:
    for period in periods:
        if sys.stderr.isatty():
            sys.stderr.write(f"\rperiod {period + 1} of {PERIODS} ")
        yield period


def main() -> None:
    """Run, and print a table as in docs/retraining.md."""
    parser = argparse.ArgumentParser(description="The loop on real data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(SETS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    out = sys.stdout.write
    if not given.json:
        out("| data | measure | stale | blind | loop | promotions | mistakes |\n|---|---|---|---|---|---|---|\n")
    for name in given.names:
        found = run(prepare(given.folder, SETS[name]))
        means = {strategy: float(np.mean(scores)) for strategy, scores in found.scores.items()}
        if given.json:
            out(json.dumps({"data": name, **means, "promotions": found.promotions, "mistakes": found.mistakes}) + "\n")
            continue
        measure = "MAE" if SETS[name].task is Task.REGRESSION else "accuracy"
        shown = " | ".join(f"{value:.1f}" if measure == "MAE" else f"{value:.3f}" for value in means.values())
        out(f"| {name} | {measure} | {shown} | {found.promotions} of {found.contests} | {found.mistakes} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
