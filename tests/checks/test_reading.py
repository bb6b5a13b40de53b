"""The same rows in other containers, types and spellings: the same verdict, through `check` and `gate`."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import driftline
from driftline.checks.labelled import GateColumns
from driftline.errors import DataError, UsageError
from driftline.events import MISSING_TEXTS, Task
from driftline.profiles import Columns, canonical, infer_schema
from driftline.profiles.frame import names_of
from driftline.retrain.gate import hold
from driftline.rules.contest import Contest
from driftline.rules.contestants import Settings

RNG = np.random.default_rng(2013)
N = 600


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


# ---- missing -----------------------------------------------------------------------------------------------

LABELS = RNG.integers(0, 2, N)
ANSWERS = np.where(RNG.random(N) < 0.8, LABELS, 1 - LABELS)
LATE = np.arange(N) % 10 == 0
RIGHT = float((LABELS == ANSWERS)[~LATE].mean())


def late_labels(container: str, spelling: str = "") -> Any:
    """Labels of which each tenth has not come."""
    floats = np.where(LATE, np.nan, LABELS.astype(float))
    match container:
        case "polars NaN":
            return pl.DataFrame({"y": floats, "p": ANSWERS})
        case "polars null":
            return pl.DataFrame({"y": floats, "p": ANSWERS}).with_columns(pl.col("y").fill_nan(None).cast(pl.Int64))
        case "pandas NaN":
            return pd.DataFrame({"y": floats, "p": ANSWERS})
        case "pandas NA":
            return pd.DataFrame({"y": pd.array(floats, dtype="Int64"), "p": ANSWERS})
        case "pandas object":
            values = [None if late else pd.NA if late else int(y) for y, late in zip(LABELS, LATE, strict=True)]
            return pd.DataFrame({"y": pd.Series(values, dtype=object), "p": ANSWERS})
        case "arrow":
            return pa.table(
                {"y": pa.array([None if late else int(y) for y, late in zip(LABELS, LATE, strict=True)]), "p": ANSWERS}
            )
        case "arrow NaN":
            return pa.table({"y": pa.array(floats), "p": ANSWERS})
    texts = [spelling if late else str(y) for y, late in zip(LABELS, LATE, strict=True)]
    return pl.DataFrame({"y": texts, "p": ANSWERS.astype(str)})


CONTAINERS = ["polars NaN", "polars null", "pandas NaN", "pandas NA", "pandas object", "arrow", "arrow NaN"]


def expected_accuracy(report: driftline.Report) -> None:
    assert report.performance is not None
    accuracy = report.performance["accuracy"]
    assert (accuracy.value, accuracy.n, report.verdict) == (pytest.approx(RIGHT), int((~LATE).sum()), "ok")
    assert report.columns["y"].missing.current == pytest.approx(0.1)


@pytest.mark.parametrize("container", CONTAINERS)
def test_labels_that_have_not_come_are_left_out_in_every_container(container: str) -> None:
    rows = late_labels(container)
    expected_accuracy(driftline.check(rows, rows, label="y", prediction="p"))


@pytest.mark.parametrize("spelling", [*MISSING_TEXTS, "  ", " NA "], ids=repr)
def test_labels_that_have_not_come_are_left_out_however_they_are_spelled(spelling: str, tmp_path: Path) -> None:
    rows = late_labels("texts", spelling)
    expected_accuracy(driftline.check(rows, rows, label="y", prediction="p"))
    for name in ("rows.csv", "rows.parquet"):
        path = written(rows, tmp_path / name)
        expected_accuracy(driftline.check(path, path, label="y", prediction="p"))


@pytest.mark.parametrize("values", [["a", "NA"], [1.5, None], [1.5, float("nan")], ["long words of people", ""]])
def test_inputs_that_are_missing_are_counted_so_and_are_no_category(values: list[Any]) -> None:
    before = pl.DataFrame({"x": [values[0]] * N, "i": [float(i % 7) for i in range(N)]})
    now = before.with_columns(x=pl.Series(values * (N // 2), dtype=before.schema["x"], strict=False))
    found = driftline.check(before, now).columns["x"]
    assert (found.missing.reference, found.missing.current) == (0.0, 0.5)
    assert found.drift.drifted and "missing 0 % → 50 %" in found.changes


def test_spellings_of_ones_own_and_their_numbers() -> None:
    rows = pl.DataFrame({"x": [1.0, -999.0, 3.0] * 200, "t": ["NA", "unknown", "b"] * 200})
    report = driftline.check(rows, rows, missing=["-999", "unknown"])
    assert [report.columns[name].missing.current for name in ("x", "t")] == pytest.approx([1 / 3, 1 / 3])
    usual = driftline.check(rows, rows)
    assert [usual.columns[name].missing.current for name in ("x", "t")] == pytest.approx([0, 1 / 3])


def test_scores_that_are_missing_are_no_scores_out_of_range() -> None:
    rows = pl.DataFrame({"y": LABELS, "p": ANSWERS, "s": np.where(LATE, np.nan, 0.3 + 0.4 * LABELS)})
    report = driftline.check(rows, rows, label="y", prediction="p", score="s")
    assert report.performance is not None and report.performance["roc_auc"].n == int((~LATE).sum())
    assert not [note for note in report.notes if "left out" in note]


def test_scores_that_go_missing_are_told() -> None:
    rows = pl.DataFrame({"y": LABELS, "p": ANSWERS, "s": 0.3 + 0.4 * LABELS})
    gone = rows.with_columns(s=pl.Series(np.where(LATE, np.nan, rows["s"])))
    report = driftline.check(rows, gone, label="y", prediction="p", score="s")
    assert report.columns["s"].missing.current == pytest.approx(0.1)
    assert "score s has lost values: missing 0 % → 10 %" in [alert.message for alert in report.alerts]
    assert driftline.check(gone, gone, label="y", prediction="p", score="s").verdict == "ok"


@pytest.mark.parametrize("name", ["None", "NA", "null"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_class_that_is_called_none_is_had_back_as_the_report_says(name: str, suffix: str, tmp_path: Path) -> None:
    classes = np.where(LABELS == 1, name, "Mild")
    path = written(pl.DataFrame({"y": classes, "p": np.where(ANSWERS == 1, name, "Mild")}), tmp_path / f"rows{suffix}")
    usual = driftline.check(path, path, label="y", prediction="p")
    assert any("of the predictions p have no value; a class called None" in guess for guess in usual.guesses)
    asked = driftline.check(path, path, label="y", prediction="p", missing=[""])
    assert asked.performance is not None
    assert asked.performance["accuracy"].n == N and not [one for one in asked.guesses if "no value" in one]


def test_a_column_that_begins_with_truth_values_has_one_name_for_each(tmp_path: Path) -> None:
    """Types of a large file are taken from its first rows: what comes later are texts."""
    rows = 700_000
    filler = "a text that makes the file a large one"
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("x,filler\n")
        file.writelines(f"{'true' if i % 2 else 'false'},{filler}\n" for i in range(rows))
        file.writelines(f"{('true', 'false', 'maybe')[i % 3]},{filler}\n" for i in range(rows // 10))
    before = pl.DataFrame({"x": [True, False] * 300, "filler": filler})
    found = driftline.check(before, path).columns["x"]
    assert found.unseen == pytest.approx(1 / 3 / 11, rel=0.01)


def test_a_regression_leaves_out_labels_that_are_nan() -> None:
    y = np.where(LATE, np.nan, np.linspace(0, 9, N))
    report = driftline.check(*[pl.DataFrame({"y": y, "p": np.linspace(0, 9, N) + 0.5})] * 2, label="y", prediction="p")
    assert report.performance is not None
    assert (report.performance["mae"].value, report.performance["mae"].n) == (pytest.approx(0.5), int((~LATE).sum()))


# ---- times -------------------------------------------------------------------------------------------------

DAYS = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366) if not 100 < day < 160]
GAP = "the current rows have a gap of 60 days, from 2024-04-10 to 2024-06-09"
SPELLED = {
    "seconds": lambda t: int(t.timestamp()),
    "milliseconds": lambda t: int(t.timestamp()) * 10**3,
    "microseconds": lambda t: int(t.timestamp()) * 10**6,
    "nanoseconds": lambda t: int(t.timestamp()) * 10**9,
    "date key": lambda t: int(t.strftime("%Y%m%d")),
    "digits": lambda t: t.strftime("%Y%m%d"),
    "epoch in text": lambda t: str(int(t.timestamp()) * 1000),
    "iso": lambda t: t.strftime("%Y-%m-%d"),
    "month first": lambda t: t.strftime("%m/%d/%Y"),
    "day first": lambda t: t.strftime("%d/%m/%Y %H:%M"),
    "oracle": lambda t: t.strftime("%d-%b-%y").upper(),
    "datetime": lambda t: t,
    "offset": lambda t: t.isoformat(),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("spelled", SPELLED)
def test_a_gap_is_told_however_times_are_written(spelled: str, suffix: str, tmp_path: Path) -> None:
    whole = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    before, now = (
        written(
            pl.DataFrame({"t": [SPELLED[spelled](t) for t in times], "v": [i % 7 for i in range(len(times))]}),
            tmp_path / (name + suffix),
        )
        for name, times in (("before", whole), ("now", DAYS))
    )
    report = driftline.check(before, now, time="t")
    assert GAP in report.notes
    said = [note for note in report.notes if note.startswith("t is read as")]
    assert bool(said) is (spelled not in ("iso", "datetime", "offset"))


@pytest.mark.parametrize("spelled", [*SPELLED, "month and day, short"])
@pytest.mark.parametrize("other", ["month first", "day first", "iso", "date key", "seconds", "datetime"])
def test_each_side_is_read_as_it_is_written(spelled: str, other: str) -> None:
    """The writer of the rows may have changed; what it means has not."""
    ways = SPELLED | {"month and day, short": lambda t: t.strftime("%m/%d/%y")}
    whole = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    for first, second in ((spelled, other), (other, spelled)):
        before, now = (
            pl.DataFrame({"t": [ways[way](t) for t in times], "v": [i % 7 for i in range(len(times))]})
            for way, times in ((first, whole), (second, DAYS))
        )
        assert GAP in driftline.check(before, now, time="t").notes
        asked = (
            driftline.check(before, now, time="t", time_format="%m/%d/%Y") if "month first" in (first, second) else None
        )
        assert asked is None or GAP in asked.notes


def test_a_side_whose_order_is_open_is_refused_though_the_other_is_iso() -> None:
    iso, open_ = (
        pl.DataFrame(
            {"t": [datetime(2024, 1, 1 + i % 12).strftime(way) for i in range(N)], "v": [i % 7 for i in range(N)]}
        )
        for way in ("%Y-%m-%d", "%m/%d/%Y")
    )
    for pair in ((iso, open_), (open_, iso)):
        with pytest.raises(DataError, match="'t' can be day first or month first, such as '01/01/2024'"):
            driftline.check(*pair, time="t")
        assert driftline.check(*pair, time="t", time_format="%m/%d/%Y").verdict == "ok"


def test_both_orders_in_a_column_of_times_are_refused() -> None:
    days = [datetime(2024, 1, 1) + timedelta(days=i % 366) for i in range(N)]
    rows = pl.DataFrame(
        {"t": [day.strftime("%d/%m/%Y" if i % 2 else "%m/%d/%Y") for i, day in enumerate(days)], "v": 1}
    )
    with pytest.raises(DataError, match="'t' are day first in some rows and month first in others"):
        driftline.check(rows, rows, time="t")
    assert "day first in some rows" in driftline.check(rows, rows).columns["t"].problem


def test_times_that_are_all_gone_get_a_word() -> None:
    rows = pl.DataFrame({"t": DAYS, "v": [i % 7 for i in range(len(DAYS))]})
    for now, words in ((rows.drop("t"), "no column t"), (rows.with_columns(t=None), "no time in t")):
        notes = driftline.check(rows, now, time="t").notes
        assert f"the current rows have {words}: gaps and changes of volume are not looked for" in notes
    assert not [note for note in driftline.check(rows, rows, time="t").notes if "not looked for" in note]


def test_times_of_the_day_are_the_same_as_texts() -> None:
    clock = pl.DataFrame({"t": [datetime(2024, 1, 1, i % 5 + 7, 30).time() for i in range(N)], "v": [1, 2] * (N // 2)})
    for way in ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f"):
        texts = clock.with_columns(pl.col("t").dt.strftime(way.replace("%f", "0")))
        for pair in ((clock, texts), (texts, clock)):
            assert driftline.check(*pair).verdict == "ok"
    late = clock.with_columns(pl.lit("23:30:00").alias("t"))
    assert driftline.check(clock, late).columns["t"].drift.drifted


def test_a_time_that_was_asked_for_and_cannot_be_read_is_refused_by_name() -> None:
    rows = pl.DataFrame({"t": ["soon", "later"] * 100, "v": [1.0, 2.0] * 100})
    with pytest.raises(DataError, match=r"200 of 200 values of the time column 't' .* such as 'soon'"):
        driftline.check(rows, rows, time="t")
    with pytest.raises(DataError, match=r"'t' can be day first or month first, such as '01/02/2024'"):
        driftline.check(*[rows.with_columns(t=pl.lit("01/02/2024"))] * 2, time="t")
    said = driftline.check(*[rows.with_columns(t=pl.lit("01/02/2024"))] * 2, time="t", time_format="%d/%m/%Y")
    assert said.verdict == "ok"
    with pytest.raises(UsageError, match="time format 'dd/mm'"):
        driftline.check(rows, rows, time="t", time_format="dd/mm")


def test_the_order_is_looked_for_in_all_rows(tmp_path: Path) -> None:
    """A file in order of time begins with days that could be months."""
    times = [datetime(2024, 1, 1) + timedelta(minutes=i) for i in range(30_000)]
    path = written(
        pl.DataFrame({"t": [t.strftime("%m/%d/%Y %H:%M") for t in times], "v": [i % 7 for i in range(30_000)]}),
        tmp_path / "rows.csv",
    )
    for options in ({"time": "t"}, {}):
        report = driftline.check(path, path, **options)
        assert any("month first" in note for note in report.notes), report.notes


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_sorted_file_unlike_its_first_rows_loses_nothing_in_silence(suffix: str, tmp_path: Path) -> None:
    """How columns are written is told from the first rows, and all are read by it."""
    head, rows = 17_000, 68_000
    texts = [f"{i * 7919 % 9973 / 7:.2f}" for i in range(rows)]
    late = [text if i < head else text.replace(".", ",") for i, text in enumerate(texts)]
    path = written(pl.DataFrame({"x": late, "v": [i % 7 for i in range(rows)]}), tmp_path / f"rows{suffix}")
    notes = driftline.check(path, path).notes
    assert "75 % of x are left out: they are no numbers (75 % in the reference)" in notes
    days = ["2024-01-31" if i < head else "31/01/2024" for i in range(rows)]
    path = written(pl.DataFrame({"t": days, "v": [i % 7 for i in range(rows)]}), tmp_path / f"times{suffix}")
    with pytest.raises(DataError, match="51000 of 68000 values of the time column 't' are no times as its first rows"):
        driftline.check(path, path, time="t")


def test_dates_of_which_the_order_is_open_are_not_compared_and_say_so() -> None:
    before = pl.DataFrame({"t": [datetime(2023, 1, 2 + i % 5, 9) for i in range(N)], "v": [i % 7 for i in range(N)]})
    now = before.with_columns(t=pl.col("t").dt.strftime("%m/%d/%Y %H:%M"))
    found = driftline.check(before, now)
    assert found.verdict == "ok" and "has dates that can be day first or month first" in found.columns["t"].problem
    assert driftline.check(before, now, time_format="%m/%d/%Y %H:%M").columns["t"].problem is None


# ---- sameness ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "others"),
    [
        (pl.Series([0.1, 0.2, 0.3, 0.7] * 150, dtype=pl.Float32), pl.Series([0.1, 0.2, 0.3, 0.7] * 150)),
        (pl.Series([1 / 3, 2 / 3, 4.0] * 200), pl.Series([0.333333, 0.666667, 4.0] * 200)),
        (pl.Series([1, 2, 3] * 200), pl.Series([1.0, 2.0, 3.0] * 200)),
        (pl.Series([True, False, True] * 200), pl.Series(["True", "False", "True"] * 200)),
        (pl.Series(["02139", "10001"] * 300), pl.Series(["02139", "10001"] * 300)),
        (pl.Series(["17", "5"] * 300), pl.Series(["17", "5"] * 300)),
        (
            pl.Series([datetime(2024, 1, 1 + i % 28) for i in range(N)]),
            pl.Series([f"2024-01-{1 + i % 28:02}" for i in range(N)]),
        ),
        (pl.Series([0.125, 0.5] * 300), pl.Series(["12.5 %", "50 %"] * 300)),
        (pl.Series([12.5, 50.0] * 300), pl.Series(["12.5 %", "50 %"] * 300)),
        (pl.Series([1234, 20500] * 300), pl.Series(["1,234", "20,500"] * 300)),
        (pl.Series([1234.5, -7.25] * 300), pl.Series(["$1,234.50", "($7.25)"] * 300)),
        (pl.Series([1234.5, 7.25] * 300), pl.Series(["1.234,5", "7,25"] * 300)),
        (pl.Series(["12.5", "7.25"] * 300), pl.Series(["12.5", "7.25"] * 300)),
    ],
    ids=str,
)
def test_the_same_values_are_no_drift_in_any_pair_of_containers(
    values: pl.Series, others: pl.Series, tmp_path: Path
) -> None:
    before, now = (pl.DataFrame({"x": side, "i": [float(i % 7) for i in range(N)]}) for side in (values, others))
    sides: list[list[Any]] = [
        [
            frame,
            frame.to_arrow(),
            frame.to_pandas(),
            written(frame, tmp_path / f"{name}.csv"),
            written(frame, tmp_path / f"{name}.parquet"),
        ]
        for name, frame in (("before", before), ("now", now))
    ]
    for a in sides[0]:
        for b in sides[1]:
            for pair in ((a, b), (b, a)):
                report = driftline.check(*pair)
                assert report.verdict == "ok", (type(pair[0]), type(pair[1]), report.alerts)


@pytest.mark.parametrize("scale", [0, 1, 10])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.Boolean, pl.String])
def test_classes_of_decimal_type_are_those_of_any_other(dtype: Any, scale: int, tmp_path: Path) -> None:
    """Warehouses give NUMBER(38, 10) for 0 and 1."""
    rows = pl.DataFrame({"y": LABELS, "p": ANSWERS})
    decimal = rows.cast(pl.Decimal(38, scale))
    written(decimal, tmp_path / "rows.parquet")
    assert infer_schema(decimal, Columns(label="y", prediction="p")).classes == ("0", "1")
    for other in (decimal, decimal.to_arrow(), tmp_path / "rows.parquet"):
        for pair in ((rows.cast(pl.Int8).cast(dtype), other), (other, rows.cast(pl.Int8).cast(dtype))):
            report = driftline.check(*pair, label="y", prediction="p")
            assert report.verdict == "ok" and report.performance is not None
            assert report.performance["accuracy"].value == pytest.approx(float((LABELS == ANSWERS).mean()))


def test_decimals_that_are_not_whole_have_the_names_of_floats() -> None:
    values = [0.5, 1.25, 10.0, -0.0625]
    decimals = pl.Series(values).cast(pl.Decimal(38, 10))
    assert names_of(decimals).to_list() == names_of(pl.Series(values)).to_list()


def test_decimal_commas_are_numbers_and_said() -> None:
    before, now = (
        pl.DataFrame({"x": [f"{x:.4f}".replace(".", ",") for x in RNG.normal(mean, 10, N)]}) for mean in (100, 160)
    )
    report = driftline.check(before, now)
    assert report.columns["x"].kind == "numeric" and report.verdict == "alert"
    assert "x is read as numbers, with decimal commas" in report.notes


def test_a_type_that_has_changed_gets_a_word() -> None:
    numbers = pl.DataFrame({"x": [1, 2] * 300, "i": [float(i % 7) for i in range(N)]})
    report = driftline.check(numbers, numbers.with_columns(pl.col("x").cast(pl.String)))
    assert "x has another type: whole numbers in the reference, texts now" in report.notes
    assert not [
        note
        for note in driftline.check(numbers, numbers.with_columns(pl.col("x").cast(pl.Float64))).notes
        if "type" in note
    ]
    csv = pl.read_csv(io.StringIO(numbers.write_csv()))
    assert not [note for note in driftline.check(numbers, csv).notes if "type" in note]


def test_a_reference_of_32_bits_has_events_of_64_rounded_to_it() -> None:
    reference = pl.DataFrame({"x": pl.Series([0.1, 0.2, 0.7] * 100, dtype=pl.Float32), "y": [0, 1, 1] * 100})
    columns = Columns(label="y")
    schema = infer_schema(reference, columns)
    assert schema.single == ("x",) and schema.task is Task.BINARY
    live = reference.with_columns(pl.Series("x", [0.1, 0.2, 0.7] * 100))
    assert (
        canonical(live, columns, schema)["feature.x"].to_list()
        == canonical(reference, columns, schema)["feature.x"].to_list()
    )


# ---- gate --------------------------------------------------------------------------------------------------


def contest(ids: dict[str, pl.Series], folder: Path, suffixes: dict[str, str], **options: Any) -> Contest:
    y = RNG.integers(0, 2, N)
    frames = {
        "rows": pl.DataFrame(
            {"id": ids["rows"], "y": y, "t": [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(N)]}
        ),
        **{
            name: pl.DataFrame({"id": ids[name], "prediction": np.where(RNG.random(N) < right, y, 1 - y)})
            for name, right in (("old", 0.6), ("new", 0.9))
        },
    }
    paths = {name: written(frame, folder / (name + suffixes[name])) for name, frame in frames.items()}
    return hold(paths["old"], paths["new"], paths["rows"], GateColumns("y", id="id", **options), Settings())


WHOLE = pl.Series(range(N))
PADDED = pl.Series([f"{i:06}" for i in range(N)])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "ids",
    [
        WHOLE,
        WHOLE.cast(pl.Float64),
        WHOLE.cast(pl.String),
        WHOLE.cast(pl.Float64).cast(pl.String),
        WHOLE.cast(pl.Int32),
    ],
    ids=str,
)
def test_ids_match_whatever_their_type(ids: pl.Series, suffix: str, tmp_path: Path) -> None:
    suffixes = {"rows": ".parquet", "old": ".csv", "new": suffix}
    found = contest({"rows": WHOLE, "old": WHOLE, "new": ids}, tmp_path, suffixes)
    assert found.decision == "promote", found.gates


@pytest.mark.parametrize(
    ("ids", "others"),
    [
        (WHOLE, WHOLE.cast(pl.String) + " "),
        (WHOLE.cast(pl.String), " " + WHOLE.cast(pl.String)),
        (-WHOLE - 1, (-WHOLE - 1).cast(pl.Float64)),
        (WHOLE + 2**62, (WHOLE + 2**62).cast(pl.String)),
        (pl.Series([datetime(2024, 1, 1) + timedelta(hours=i) for i in range(N)]),) * 2,
        *(
            (
                pl.Series([datetime(2024, 1, 1) + timedelta(hours=i) for i in range(N)]),
                pl.Series([f"{datetime(2024, 1, 1) + timedelta(hours=i):{way}}" for i in range(N)]),
            )
            for way in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.000000")
        ),
    ],
    ids=str,
)
def test_ids_match_in_other_spellings(ids: pl.Series, others: pl.Series, tmp_path: Path) -> None:
    suffixes = dict.fromkeys(("rows", "old", "new"), ".parquet")
    found = contest({"rows": ids, "old": ids, "new": others}, tmp_path, suffixes)
    assert found.decision == "promote", found.gates


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (WHOLE.cast(pl.Float64) + 2.0**60, "ids of the predictions of new.parquet in 'id' are floats such as 1.15"),
        (PADDED, "none of the 600 ids of new.parquet, such as '000000', is the id of a labelled row, such as '0'"),
        (pl.Series([0, 0, *range(2, N)]), "the predictions of new.parquet have the id '0' twice"),
    ],
    ids=["floats", "zeros", "twice"],
)
def test_ids_that_cannot_match_are_refused_in_a_line(ids: pl.Series, words: str, tmp_path: Path) -> None:
    suffixes = dict.fromkeys(("rows", "old", "new"), ".parquet")
    with pytest.raises(DataError, match=words):
        contest({"rows": WHOLE, "old": WHOLE, "new": ids}, tmp_path, suffixes)


def test_rows_without_an_id_and_labels_that_are_none_are_refused_and_answers_without_one_are_not() -> None:
    y = RNG.normal(size=N)
    rows = pl.DataFrame({"id": range(N), "y": y})
    old, new = (pl.DataFrame({"id": range(N), "prediction": y + RNG.normal(0, noise, N)}) for noise in (0.5, 0.1))
    tenth = pl.int_range(N) % 10 == 0
    extra = pl.concat([new, pl.DataFrame({"id": [None, None], "prediction": [1.0, 2.0]})], how="vertical_relaxed")
    assert hold(old, extra, rows, GateColumns("y", id="id"), Settings()).decision == "promote"
    with pytest.raises(DataError, match="60 of 600 labelled rows have no id in 'id'"):
        hold(old, new, rows.with_columns(id=pl.when(~tenth).then("id")), GateColumns("y", id="id"), Settings())
    broken = rows.with_columns(y=pl.when(tenth).then(pl.lit("ERR")).otherwise(pl.col("y").cast(pl.String)))
    with pytest.raises(DataError, match="60 of 600 values of the labels 'y' are no numbers, such as 'ERR'"):
        hold(old, new, broken, GateColumns("y", id="id"), Settings())
    named = GateColumns("y", id="id", missing=("", "ERR"))
    assert hold(old, new, broken, named, Settings()).rows == N - N // 10


def test_scores_that_are_no_probabilities_are_refused_and_not_passed_over() -> None:
    rows = pl.DataFrame({"id": range(N), "y": LABELS})
    old, new = (
        pl.DataFrame({"id": range(N), "prediction": ANSWERS, "s": 20.0 + 60.0 * ANSWERS}) for _ in ("old", "new")
    )
    columns = GateColumns("y", id="id", score="s")
    with pytest.raises(DataError, match=r"the scores of the champion in 's' are such as 80.0|20.0"):
        hold(old, new, rows, columns, Settings())
    shares = [one.with_columns(pl.col("s") / 100) for one in (old, new)]
    signed = [one.with_columns(pl.col("s").cast(pl.String) + " %") for one in (old, new)]
    assert hold(*shares, rows, columns, Settings()) == hold(*signed, rows, columns, Settings())


@pytest.mark.parametrize("texts", ["rows", "old", "new"])
def test_ids_with_zeros_in_front_keep_them_in_text_files(texts: str, tmp_path: Path) -> None:
    """One table has them as texts; what the others have in CSV are texts, too."""
    suffixes = {name: ".parquet" if name == texts else ".csv" for name in ("rows", "old", "new")}
    assert contest(dict.fromkeys(("rows", "old", "new"), PADDED), tmp_path, suffixes).decision == "promote"


def test_the_leakage_gate_is_never_passed_in_silence(tmp_path: Path) -> None:
    y = RNG.integers(0, 2, N)
    rows = pl.DataFrame(
        {
            "id": range(N),
            "y": y,
            "day": [(datetime(2026, 3, 1) + timedelta(hours=i)).strftime("%d-%b-%y").upper() for i in range(N)],
        }
    )
    old, new = (
        pl.DataFrame({"id": range(N), "prediction": np.where(RNG.random(N) < right, y, 1 - y)}) for right in (0.6, 0.9)
    )
    columns = GateColumns("y", id="id", time="day")
    until = datetime(2026, 4, 1, tzinfo=UTC)
    found = hold(old, new, rows, columns, Settings(), trained_until=until)
    assert found.decision == "hold" and any(gate.name == "leakage" and gate.passed is False for gate in found.gates)
    for broken, words in (
        (pl.when(pl.col("id") == 7).then(pl.lit("soon")).otherwise("day"), "1 of 600 values of the time column 'day'"),
        (pl.when(pl.col("id") == 7).then(None).otherwise("day"), "1 of 600 rows have no time in 'day'"),
        (pl.lit("01/02/2026"), "day first or month first"),
    ):
        with pytest.raises(DataError, match=words):
            hold(old, new, rows.with_columns(day=broken), columns, Settings(), trained_until=until)
    with pytest.raises(UsageError, match="--trained-until came without --time"):
        hold(old, new, rows, GateColumns("y", id="id"), Settings(), trained_until=until)


def test_labels_that_are_nan_leave_their_rows_out_of_a_contest() -> None:
    y = np.where(LATE, np.nan, LABELS.astype(float))
    rows = pl.DataFrame({"id": range(N), "y": y})
    old, new = (pl.DataFrame({"id": range(N), "prediction": LABELS if right else ANSWERS}) for right in (False, True))
    found = hold(old, new, rows, GateColumns("y", id="id"), Settings())
    assert found.decision == "promote"
    assert any(f"{int((~LATE).sum())} labelled rows" in gate.reason for gate in found.gates)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_classes_of_other_names_are_an_error_of_people_and_not_of_ours(suffix: str, tmp_path: Path) -> None:
    rows = pl.DataFrame({"y": LABELS, "p": ANSWERS})
    words = rows.select(pl.col(name).replace_strict({0: "no", 1: "yes"}) for name in rows.columns)
    for pair in ((rows, words), (words, rows)):
        before, now = (written(frame, tmp_path / f"{place}{suffix}") for place, frame in enumerate(pair))
        with pytest.raises(DataError, match=r"4 classes \(0, 1, no, yes\) in y, p"):
            driftline.check(before, now, label="y", prediction="p", task="binary")
        assert driftline.check(before, now, label="y", prediction="p").verdict == "alert"
