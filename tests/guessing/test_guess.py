"""What is guessed from rows: each role by name and by value, times, zones, windows, and that it can be written."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.config.first_file import first_file, scalar
from driftline.config.load import parse
from driftline.config.strict_yaml import Reader, SourceFile
from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import MISSING_TEXTS, Task
from driftline.guessing.model import ModelGuess, Said, guess_model
from driftline.guessing.roles import Given
from driftline.monitoring.model import read_reference

ROWS, FEW = 400, 60
RNG = np.random.default_rng(17)
LABEL = RNG.choice(["rain", "sun"], ROWS)
WRONG = RNG.random(ROWS) < 0.2
PREDICTED = np.where(WRONG, np.where(LABEL == "rain", "sun", "rain"), LABEL)
AMOUNT = RNG.lognormal(3.0, 1.0, ROWS)
SHARE = RNG.random(ROWS)
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [START + timedelta(hours=6 * row) for row in range(ROWS)]


def guessed(folder: Path, columns: dict[str, Any], suffix: str = ".parquet", said: Said | None = None) -> ModelGuess:
    frame, path = pl.DataFrame(columns), folder / f"rows{suffix}"
    writers: dict[str, Callable[[Path], object]] = {
        ".parquet": frame.write_parquet,
        ".csv": frame.write_csv,
        ".ndjson": frame.write_ndjson,
        ".arrow": frame.write_ipc,
    }
    writers[suffix](path)
    return guess_model(str(path), said=said)


def loaded(guess: ModelGuess, folder: Path, reference: str = "rows.parquet") -> Any:
    [model] = parse(first_file(guess, reference, reference), folder / "driftline.yaml").models.values()
    return model


# ---- roles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson", ".arrow"])
def test_every_kind_of_file_gives_the_same_model(tmp_path: Path, suffix: str) -> None:
    times = [time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in DAYS]
    columns = {"id": range(1000, 1000 + ROWS), "time": times, "wind": AMOUNT, "prediction": PREDICTED, "label": LABEL}
    guess = guessed(tmp_path, {**columns, "score": SHARE}, suffix)
    found = guess.columns
    assert (found.id, found.time, found.prediction, found.label) == ("id", "time", "prediction", "label")
    assert (found.score, found.features, guess.task, guess.timezone) == ("score", ("wind",), Task.BINARY, "UTC")


@pytest.mark.parametrize(
    ("columns", "prediction", "label"),
    [
        ({"yhat": PREDICTED, "target": LABEL}, "yhat", "target"),
        ({"weather": LABEL, "predicted_weather": PREDICTED}, "predicted_weather", "weather"),
        ({"weather_pred": PREDICTED, "Weather": LABEL}, "weather_pred", "Weather"),
        ({"prediction": PREDICTED, "other": RNG.permutation(LABEL), "sky": LABEL}, "prediction", "sky"),
        ({"prediction": AMOUNT, "noise": SHARE, "paid": AMOUNT + SHARE}, "prediction", "paid"),
        ({"prediction": PREDICTED, "noise": RNG.permutation(LABEL)}, "prediction", None),
        ({"prediction": PREDICTED, "one": LABEL, "two": LABEL}, "prediction", None),
        ({"wind": AMOUNT, "sky": LABEL}, None, None),
        ({"label": ["rain"] * ROWS, "wind": AMOUNT}, None, None),  # one class shows nothing
    ],
)
def test_label_and_prediction_are_known_by_name_or_by_agreement(
    tmp_path: Path, columns: dict[str, Any], prediction: str | None, label: str | None
) -> None:
    guess = guessed(tmp_path, columns)
    assert (guess.columns.prediction, guess.columns.label) == (prediction, label)
    assert (guess.task is None) == (label is None and prediction is None)


def test_scores_of_classes_are_a_mapping_and_a_credit_score_is_an_input(tmp_path: Path) -> None:
    three = RNG.choice(["rain", "sun", "1"], ROWS)
    scores = RNG.dirichlet([1, 1, 1], ROWS)
    columns = {"label": three, "p_rain": scores[:, 0], "p_sun": scores[:, 1], "prob_1": scores[:, 2]}
    guess = guessed(tmp_path, columns)
    assert guess.columns.score == {"rain": "p_rain", "sun": "p_sun", "1": "prob_1"}
    assert guess.task is Task.MULTICLASS
    answers = RNG.choice(["rain", "sun", "snow"], ROWS)
    more = guessed(tmp_path, {"label": LABEL, "prediction": answers, "score": SHARE})
    assert (more.task, more.columns.score) == (Task.MULTICLASS, None)
    credit = guessed(tmp_path, {"label": LABEL, "score": RNG.integers(300, 850, ROWS).astype(float)})
    assert credit.columns.score is None
    assert credit.columns.features == ("score",)


def test_what_tells_rows_apart_is_an_id_and_names_are_no_inputs(tmp_path: Path) -> None:
    texts = [f"c{row * 7919 % 10007:05}" for row in range(ROWS)]
    numbered = guessed(tmp_path, {"row": range(ROWS), "wind": AMOUNT, "label": LABEL})
    assert numbered.columns.id == "row"
    keyed = guessed(tmp_path, {"wind": AMOUNT, "key": texts, "label": LABEL, "hash": texts})
    assert keyed.columns.id == "key"
    assert "hash" in keyed.aside
    twice = guessed(tmp_path, {"id": [row // 2 for row in range(ROWS)], "label": LABEL})
    assert twice.columns.id is None
    comments = [f"the {row} quick brown foxes" for row in range(ROWS)]
    assert guessed(tmp_path, {"comment": comments, "label": LABEL}).columns.features == ("comment",)


def test_what_is_said_is_not_guessed(tmp_path: Path) -> None:
    columns = {"label": LABEL, "sky": LABEL, "a": PREDICTED, "p": SHARE, "label2": LABEL}
    said = Said(Given(prediction="a", score={"sun": "p"}, label="sky"), task=Task.MULTICLASS)
    guess = guessed(tmp_path, columns, said=said)
    assert (guess.columns.prediction, guess.columns.label, guess.columns.score) == ("a", "sky", {"sun": "p"})
    assert guess.task is Task.MULTICLASS
    with pytest.raises(UnknownNameError, match="unknown column 'skies'"):
        guessed(tmp_path, columns, said=Said(Given(label="skies")))
    with pytest.raises(UsageError, match="--time 'sky' holds no times"):
        guessed(tmp_path, columns, said=Said(time="sky"))


def test_codes_markers_and_segments(tmp_path: Path) -> None:
    gone = RNG.random(ROWS) < 0.1
    columns = {
        "naics": RNG.choice([531110, 532230, 722110, 812990], ROWS),
        "wind": np.where(gone, -999.0, AMOUNT),
        "kind": np.where(gone, "?", RNG.choice(["a", "b"], ROWS)),
        "region": RNG.choice(["north", "south"], ROWS),
        "label": LABEL,
    }
    guess = guessed(tmp_path, columns)
    assert guess.schema.codes == ("naics",)
    assert {*guess.columns.missing} == {*MISSING_TEXTS, "-999", "?"}
    assert guess.columns.segments == ("region",)
    assert "'kind'" not in guess.guess("columns.segments").reason  # type: ignore[union-attr]
    model = loaded(guess, tmp_path)
    assert (model.columns.categorical, {*model.columns.missing}) == (("naics",), {*guess.columns.missing})
    usual = guessed(tmp_path, {"wind": AMOUNT - 999, "kind": RNG.choice(["a", "b"], ROWS), "label": LABEL})
    assert usual.guess("columns.missing") is None
    assert "'kind'" in usual.guess("columns.segments").reason  # type: ignore[union-attr]


# ---- time --------------------------------------------------------------------------------------------------


def every(step: timedelta, rows: int = ROWS, a: int = 1) -> list[datetime]:
    return [START + step * (row // a) for row in range(rows)]


@pytest.mark.parametrize(
    ("times", "window"),
    [
        (every(timedelta(days=1)), "1mo"),
        (every(timedelta(hours=1), 24 * 60), "1d"),
        (every(timedelta(minutes=1), 3 * 1440), "1h"),
        (every(timedelta(days=7), a=30), "1w"),
        (every(timedelta(days=31), a=20), "1mo"),
        (every(timedelta(0)), "15min"),
    ],
)
def test_a_window_holds_enough_rows_and_is_no_shorter_than_their_spacing(
    tmp_path: Path, times: list[datetime], window: str
) -> None:
    guess = guessed(tmp_path, {"time": times, "wind": np.arange(len(times)) % 7.0, "seen_at": times})
    assert guess.window == window if len({*times}) > 1 else guess.columns.time is None


@pytest.mark.parametrize(
    ("pattern", "style"),
    [
        ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d.%m.%y", "%d.%m.%y"),
        ("%Y-%m-%d", None),
        ("%d %b %Y", None),
    ],
)
def test_times_that_could_be_read_in_two_ways_have_their_format_stated(
    tmp_path: Path, pattern: str, style: str | None
) -> None:
    guess = guessed(tmp_path, {"when": [time.strftime(pattern) for time in DAYS], "wind": AMOUNT}, ".csv")
    assert (guess.columns.time, guess.columns.time_format) == ("when", style)
    _, _, rows = read_reference(loaded(guess, tmp_path, "rows.csv"))
    asked = [time.replace(tzinfo=None) for time in DAYS]
    whole = [datetime.strptime(time.strftime(pattern), pattern) for time in asked]
    assert rows["time"].dt.replace_time_zone(None).to_list() == whole


def test_an_open_order_of_day_and_month_is_left_to_the_user(tmp_path: Path) -> None:
    texts = [f"{1 + row % 12:02}/{1 + row // 12 % 12:02}/2026" for row in range(ROWS)]
    guess = guessed(tmp_path, {"date": texts, "wind": AMOUNT}, ".csv")
    assert guess.columns.time is None
    assert "day first or month first" in guess.guess("columns.time").reason  # type: ignore[union-attr]
    assert guess.columns.features == ("wind",)
    read_reference(loaded(guess, tmp_path, "rows.csv"))
    told = guessed(tmp_path, {"date": texts, "wind": AMOUNT}, ".csv", Said(time="date", time_format="%d/%m/%Y"))
    assert told.columns.time_format == "%d/%m/%Y"


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/Berlin", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("typed", [True, False])
def test_a_zone_is_guessed_from_offsets_or_the_type(tmp_path: Path, zone: str, *, typed: bool) -> None:
    times = pl.Series([START + timedelta(hours=22 * row) for row in range(ROWS)]).dt.convert_time_zone(zone)
    written = times if typed else pl.Series([one.isoformat() for one in times.to_list()])
    guess = guessed(tmp_path, {"time": written, "wind": AMOUNT}, ".parquet" if typed else ".csv")
    assert guess.timezone == zone
    assert loaded(guess, tmp_path).window.timezone == zone


def test_epochs_and_date_keys_are_times_only_by_their_name(tmp_path: Path) -> None:
    keys = [int(time.strftime("%Y%m%d")) for time in DAYS]
    seconds = [int(time.timestamp()) for time in DAYS]
    assert guessed(tmp_path, {"date": keys, "wind": AMOUNT}).columns.time_format == "%Y%m%d"
    assert guessed(tmp_path, {"ts": seconds, "wind": AMOUNT}).columns.time == "ts"
    assert guessed(tmp_path, {"amount": seconds, "wind": AMOUNT}).columns.time is None


def test_the_time_of_the_event_is_preferred_and_what_restates_it_is_no_input(tmp_path: Path) -> None:
    columns = {
        "birth_date": [START - timedelta(days=9000 + row) for row in range(ROWS)],
        "hour": [time.hour for time in DAYS],
        "yr": [time.year - 2000 for time in DAYS],
        "mnth": [time.month for time in DAYS],
        "event_time": DAYS,
        "wind": AMOUNT,
    }
    guess = guessed(tmp_path, columns)
    assert guess.columns.time == "event_time"
    assert {*guess.aside} == {"hour", "mnth"}  # of yr there is one value, which does not drift
    assert "birth_date" in (guess.columns.features or ())


# ---- the file that is written ------------------------------------------------------------------------------

HOSTILE = st.text(min_size=0, max_size=12).filter(
    lambda name: name != "*" and not (name.startswith("^") and name.endswith("$"))
)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_scalar_reads_back_as_the_same_text(text: str) -> None:
    assert Reader(SourceFile(Path("x.yaml"))).read(f"key: {scalar(text)}\n") == {"key": text}


@settings(max_examples=12, deadline=None)
@given(
    st.lists(HOSTILE, min_size=4, max_size=9, unique_by=str.casefold),
    st.lists(st.sampled_from(["date", "label", "p_no", "y: {#", '"', "- a", "\u2028", "&x", "NULL", "\n#", "'"])),
)
def test_hostile_names_of_columns_survive(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], more: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    values: list[Any] = [LABEL, PREDICTED, AMOUNT, SHARE, [f"{row}" for row in range(ROWS)], DAYS, range(ROWS)]
    there = {name: values[place % len(values)] for place, name in enumerate(dict.fromkeys([*names, *more]))}
    guess = guessed(folder, {name: column[:FEW] for name, column in there.items()})
    model = loaded(guess, folder)
    for part in ("id", "time", "prediction", "score", "label", "features", "segments", "time_format"):
        assert getattr(model.columns, part) == getattr(guess.columns, part), part
    assert {*there} == {*guess.aside, *(guess.columns.features or ()), *guess.columns.roles}
    schema, _, rows = read_reference(model)
    assert {*schema.features} == {*(guess.columns.features or ())}
    assert rows.height == FEW


def test_every_line_that_is_off_can_be_switched_on(tmp_path: Path) -> None:
    """The lines are `#key: …`; with names of columns for the blanks the file is as good as before."""
    texts = {"yes": RNG.choice(["a", "b"], ROWS), "x": AMOUNT, "sky": LABEL, "p": SHARE, "n": AMOUNT, "k": AMOUNT}
    text = first_file(guessed(tmp_path, texts), "rows.parquet", "rows.parquet")
    off = re.findall(r"(?m)^ *#(\w+): ", text)
    assert {*off} >= {"task", "id", "time", "prediction", "score", "label", "segments", "timezone", "rules", "notify"}
    names = iter(['"yes"', "x", "sky", "n", "k"])
    on = re.sub(r"(?m)^( *)#(?=\w+: )", r"\1", text).replace("CLASS: COLUMN", "sun: p")
    on = on.partition("\nmodels:\n")[2]
    on = "models:\n" + re.sub("COLUMN", lambda _: next(names), on)
    on = re.sub(r"(?m)^ *features:\n( *- .*\n)+", "", on)  # a column plays one part
    [model] = parse(on, tmp_path / "driftline.yaml").models.values()
    assert model.columns.score == {"sun": "p"}
    assert model.rules[0].name == "accuracy-low"


def test_a_large_file_is_guessed_from_its_first_rows_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftline.guessing.model.MOST_CELLS", 10)
    frame = pl.DataFrame({"label": LABEL, "wind": AMOUNT})
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=100)
    guess = guess_model(str(tmp_path / "rows.parquet"))
    assert guess.columns.label == "label"
    assert any("were looked at" in note for note in guess.notes)


def test_rows_that_show_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows"):
        guessed(tmp_path, {"a": pl.Series([], dtype=pl.Float64)})
    with pytest.raises(DataError, match="pattern for a name"):
        guessed(tmp_path, {"^a$": AMOUNT})
    assert guessed(tmp_path, {"a": [None, None], "b": [1.0, None]}).columns.features == ("b",)


def test_columns_of_every_type_come_to_a_configuration_that_loads(tmp_path: Path) -> None:
    rows = range(ROWS)
    odd: dict[str, Any] = {
        "nothing": [None] * ROWS,
        "NaN": [float("nan")] * ROWS,
        "infinite": [float("inf"), -1.0] * (ROWS // 2),
        "list": [[0.5, float(row % 3)] for row in rows],
        "struct": [{"a": row % 3} for row in rows],
        "bytes": [b"%d" % row for row in rows],
        "clock": [(START + timedelta(minutes=row)).time() for row in rows],
        "span": [timedelta(seconds=row % 7) for row in rows],
        "decimal": pl.Series([row / 4 for row in rows]).cast(pl.Decimal(10, 2)),
        "enum": pl.Series(["x", "y"] * (ROWS // 2), dtype=pl.Enum(["x", "y"])),
        "huge": pl.Series([2**63 + row for row in rows], dtype=pl.UInt64),
        "truth": [True, None] * (ROWS // 2),
        "score": SHARE,
        "prediction": AMOUNT,
        "target": AMOUNT + SHARE,
    }
    guess = guessed(tmp_path, odd)
    schema, _, _ = read_reference(loaded(guess, tmp_path))
    assert (schema.task, guess.columns.score, guess.guess("columns.score")) == (Task.REGRESSION, None, None)
    assert {*odd} == {*guess.aside, *schema.features, "prediction", "target", guess.columns.id}
    assert "score" in schema.features  # of many numbers there are no probabilities


def test_a_regression_has_no_scores(tmp_path: Path) -> None:
    said = Said(task=Task.REGRESSION)
    guess = guessed(tmp_path, {"label": RNG.choice([0.0, 1.0], ROWS), "score": SHARE}, said=said)
    assert (guess.task, guess.columns.score) == (Task.REGRESSION, None)
    assert "which a regression has not" in guess.aside["score"]
    assert loaded(guess, tmp_path).columns.score is None
