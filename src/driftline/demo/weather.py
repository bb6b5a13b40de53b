"""The weather of Seattle, and a model of it: trained on 2012, so that it knows nothing of what comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from driftline.errors import UsageError
from driftline.exporters.files import File

FEATURES = ("precipitation", "temp_max", "temp_min", "wind")
TRAINED_ON = 2012
_FOLDS = 5
_SEED = 0


@dataclass(frozen=True, slots=True)
class Day:
    """One day: what is measured, the label that was published, and the label as it was corrected later."""

    date: date
    features: Mapping[str, float]
    weather: str
    corrected: str


def read_weather() -> pl.DataFrame:
    """Return the four years, one row a day. Where they come from: ``PROVENANCE.md`` beside the file."""
    return pl.read_parquet(Path(__file__).parent / "seattle_weather.parquet")


def weather_files() -> list[File]:
    """Return the four years as two CSV files: as they were published, and the labels as they were corrected later."""
    rows = read_weather().sort("date").with_columns(pl.col("date").dt.date())
    corrected = rows.select("date", weather="weather_corrected")
    return [
        File("weather.csv", rows.select("date", *FEATURES, "weather").write_csv()),
        File("corrected.csv", corrected.write_csv()),
    ]


def days_after_training() -> list[Day]:
    """Return the days of 2013 to 2015, in order."""
    rows = read_weather().filter(pl.col("date").dt.year() > TRAINED_ON).sort("date")
    return [
        Day(
            date=row["date"].date(),
            features={name: row[name] for name in FEATURES},
            weather=row["weather"],
            corrected=row["weather_corrected"],
        )
        for row in rows.iter_rows(named=True)
    ]


class WeatherModel:
    """A random forest on the four measurements of a day."""

    def __init__(self) -> None:
        try:
            from sklearn.ensemble import RandomForestClassifier
        except ImportError as error:
            raise UsageError(
                "the demo trains a scikit-learn model, which is not installed; run: python -m pip install scikit-learn"
            ) from error
        self._rows = read_weather().filter(pl.col("date").dt.year() == TRAINED_ON)
        self._forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=_SEED)
        self._inputs = self._rows.select(FEATURES).to_numpy()
        self._targets = self._rows["weather"].to_list()
        self._forest.fit(self._inputs, self._targets)
        self.classes: tuple[str, ...] = tuple(str(name) for name in self._forest.classes_)

    def predict(self, days: Sequence[Day]) -> list[tuple[str, dict[str, float]]]:
        """Return the most likely weather of each day, and the probability of each weather."""
        inputs = np.array([[day.features[name] for name in FEATURES] for day in days])
        shares = self._forest.predict_proba(inputs)
        return [
            (self.classes[int(np.argmax(row))], dict(zip(self.classes, map(float, row), strict=True))) for row in shares
        ]

    def reference(self) -> pl.DataFrame:
        """Return the year of training with out-of-fold predictions:
        what the model does on days that it was not fitted to.
        """
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=_SEED)
        shares: Any = cross_val_predict(self._forest, self._inputs, self._targets, cv=folds, method="predict_proba")
        predicted = [self.classes[index] for index in np.argmax(shares, axis=1)]
        return self._rows.select("date", *FEATURES, "weather").with_columns(
            pl.Series("prediction", predicted),
            *(pl.Series(f"p_{name}", shares[:, index]) for index, name in enumerate(self.classes)),
        )


def train(run: Path) -> dict[str, Any]:
    """Train a challenger in a run's folder: on the reference and on the labelled rows since."""
    from sklearn.ensemble import RandomForestClassifier

    known = [
        pl.read_parquet(run / name).select(*FEATURES, "weather") for name in ("reference.parquet", "train.parquet")
    ]
    rows, judged = pl.concat(known), pl.read_parquet(run / "evaluation.parquet")
    forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=_SEED)
    forest.fit(rows.select(FEATURES).to_numpy(), rows["weather"].to_list())
    shares = forest.predict_proba(judged.select(FEATURES).to_numpy())
    classes = [str(name) for name in forest.classes_]
    judged.select("id").with_columns(
        pl.Series("prediction", [classes[index] for index in np.argmax(shares, axis=1)]),
        *(pl.Series(f"p_{name}", shares[:, index]) for index, name in enumerate(classes)),
    ).write_parquet(run / "challenger.parquet")
    return {"version": "2012-2014", "predictions": {"challenger": "challenger.parquet"}}
