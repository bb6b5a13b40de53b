"""`check` of more rows than it looks at or holds at a time: the same report however they come, in constant memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import driftline
from driftline.checks import opening, scan
from driftline.checks.report import Report
from driftline.errors import DataError
from driftline.sources.rows import ScannedRows, batch_rows

ROWS = 250_000


def rows(seed: int, count: int = ROWS, *, shift: float = 0.0) -> pl.DataFrame:
    """Rows of many kinds, with a prediction that is wrong more often in the east when there is a shift."""
    rng = np.random.default_rng(seed)
    label = rng.random(count) < 0.4
    east = rng.random(count) < 0.3
    wrong = rng.random(count) < np.where(east, 0.1 + shift / 5, 0.1)
    return pl.DataFrame(
        {
            "normal": rng.normal(shift, 1, count),
            "skewed": rng.lognormal(0, 1, count),
            "whole": rng.integers(0, 50, count),
            "sky": rng.choice(["rain", "sun", "fog"], count),
            "side": np.where(east, "east", "west"),
            "some": [None if gone else value for gone, value in zip(rng.random(count) < 0.05, label, strict=True)],
            "y": label.astype(int),
            "p": (label ^ wrong).astype(int),
            "s": np.clip(np.where(label ^ wrong, 0.7, 0.3) + rng.normal(0, 0.1, count), 0, 1),
        }
    )


MODEL: dict[str, Any] = {"prediction": "p", "label": "y", "score": "s", "segments": ["side"]}


@pytest.fixture(scope="module")
def sides() -> tuple[pl.DataFrame, pl.DataFrame]:
    return rows(1), rows(2, shift=0.5)


@pytest.fixture(scope="module")
def expected(sides: tuple[pl.DataFrame, pl.DataFrame]) -> Report:
    return driftline.check(*sides, **MODEL)


@pytest.mark.parametrize("rows_a_group", [10_000, 77_777, ROWS])
def test_a_file_has_the_report_of_its_rows(
    sides: tuple[pl.DataFrame, pl.DataFrame], expected: Report, tmp_path: Path, rows_a_group: int
) -> None:
    for name, frame in zip(("before", "now"), sides, strict=True):
        frame.write_parquet(tmp_path / f"{name}.parquet", row_group_size=rows_a_group)
    found = driftline.check(tmp_path / "before.parquet", tmp_path / "now.parquet", **MODEL)
    assert found.to_dict() == expected.to_dict()


def test_a_stream_that_is_read_once_has_the_same_report(
    sides: tuple[pl.DataFrame, pl.DataFrame], expected: Report
) -> None:
    readers = [frame.to_arrow().to_reader(max_chunksize=9_999) for frame in sides]
    found = driftline.check(*readers, multivariate="none", **MODEL)
    for part in ("rows", "columns", "performance"):
        assert found.to_dict()[part] == expected.to_dict()[part], part
    assert found.segments == expected.segments


def test_what_is_found(expected: Report) -> None:
    assert expected.columns["normal"].drift.drifted
    assert {name for name, column in expected.columns.items() if column.drift and column.drift.drifted} == {"normal"}
    assert any("where side is east" in alert.message for alert in expected.alerts)
    assert not any("where side is west" in alert.message for alert in expected.alerts)
    assert {(segment.column, segment.value) for segment in expected.segments} == {("side", "east"), ("side", "west")}
    east, west = (segment.performance["accuracy"] for segment in expected.segments)
    assert east.value == pytest.approx(0.8, abs=0.01) and west.value == pytest.approx(0.9, abs=0.01)
    assert expected.performance is not None
    assert east.n + west.n == expected.performance["accuracy"].n == ROWS


def test_many_columns_are_read_in_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before, now = (
        pl.DataFrame({f"c{at:03}": np.random.default_rng(seed + at).normal(at // 299, 1, 2_000) for at in range(300)})
        for seed in (0, 1000)
    )
    now = now.with_columns(pl.col("c250") + 1, pl.col("c003").cast(pl.String))
    before.write_parquet(tmp_path / "before.parquet")
    now.write_parquet(tmp_path / "now.parquet")
    whole = driftline.check(before, now).to_dict()
    assert [c["column"] for c in whole["columns"] if c["drift"]["drifted"]] == ["c250"]
    monkeypatch.setattr(opening, "_LARGEST_GROUP", 7)
    found = driftline.check(tmp_path / "before.parquet", tmp_path / "now.parquet").to_dict()
    assert found["columns"] == whole["columns"] and found["rows"] == whole["rows"]


@pytest.mark.parametrize(
    ("columns", "model"),
    [
        (["normal", "skewed", "whole", "sky", "side", "some", "y", "p", "s"], MODEL),
        (["sky", "side", "some", "normal", "skewed"], {}),  # the first ones repeat in every row, and tell none apart
    ],
)
def test_each_column_of_a_file_is_read_once_after_the_first_rows(
    columns: list[str], model: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Decoding is most of the work of a check of large files."""
    read: list[tuple[str, str]] = []
    heads: list[list[str]] = []
    stream, collect = ScannedRows._stream, pl.LazyFrame.collect

    def reads(self: ScannedRows, scan: pl.LazyFrame, columns: list[str]) -> Any:
        read.extend((self.name, name) for name in columns)
        return stream(self, scan, columns)

    def looks(self: pl.LazyFrame, **how: Any) -> Any:
        if how.get("engine") == "streaming":
            heads.append(self.collect_schema().names())
        return collect(self, **how)

    files = [str(tmp_path / f"{side}.parquet") for side in ("before", "now")]
    for file in files:
        rows(2, 3_000).select(columns).write_parquet(file)
    monkeypatch.setattr(ScannedRows, "_stream", reads)
    monkeypatch.setattr(pl.LazyFrame, "collect", looks)
    monkeypatch.setattr(opening, "_LARGEST_GROUP", 2)
    driftline.check(*files, **model)
    assert sorted(read) == sorted((file, name) for file in files for name in columns)
    assert sorted(name for head in heads for name in head) == sorted(columns * 2)
    assert max(map(len, heads)) <= 8  # or the first rows would take the memory of a row group of all columns


def test_rows_that_come_twice_are_seen_in_large_files(tmp_path: Path) -> None:
    before = rows(3)
    alike = before.with_columns(pl.lit(1.5).alias("normal"), pl.lit(1).alias("whole"), pl.int_range(ROWS).alias("z"))
    alike = alike.with_columns(pl.lit(0.5).alias("s"), pl.lit("a").alias("sky"), pl.lit(2.0).alias("skewed"))
    twice = pl.concat([before.head(ROWS // 2), before.head(ROWS // 2)])
    for name, frame in {"before": before, "alike": alike, "twice": twice}.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    same = driftline.check(tmp_path / "before.parquet", tmp_path / "twice.parquet")
    assert same.duplicates.reference == pytest.approx(0, abs=0.001)
    assert same.duplicates.current == pytest.approx(0.5, abs=0.01)
    assert any("repeat another one" in note for note in same.notes)
    differs = driftline.check(tmp_path / "before.parquet", tmp_path / "alike.parquet")
    assert differs.duplicates.current == 0


def test_ids_that_come_twice_are_an_alert() -> None:
    before = pl.DataFrame({"id": [f"u{i}" for i in range(1000)], "x": [i % 7 for i in range(1000)]})
    now = before.with_columns(pl.Series("id", [f"u{i % 900}" for i in range(1000)]))
    assert driftline.check(before, before, id="id").verdict == "ok"
    (alert,) = driftline.check(before, now, id="id").alerts
    assert (alert.kind, alert.column, alert.measure) == ("quality", "id", "duplicates")
    assert alert.value == pytest.approx(0.1) and "10 %" in alert.message


def test_a_class_that_shows_late() -> None:
    """The first rows look binary; a third class comes after them."""
    count = 40_000
    label = ["a" if i % 2 else "b" for i in range(count - 500)] + ["c"] * 500
    frame = pl.DataFrame({"x": range(count), "label": label, "guess": label})
    report = driftline.check(frame, frame, label="label", prediction="guess")
    assert report.performance is not None and report.performance["accuracy"].value == 1
    with pytest.raises(DataError, match=r"3 classes .* a binary model has two"):
        driftline.check(frame, frame, label="label", prediction="guess", task="binary")


def test_the_positive_class_shows_late() -> None:
    """The first rows are of one class alone: the score is the probability of the other one all the same."""
    count = 40_000
    rng = np.random.default_rng(0)
    for names in (["0", "1"], ["bad", "good"]):
        label = np.repeat(names, count // 2)
        score = np.where(label == names[1], rng.beta(3, 2, count), rng.beta(2, 3, count))
        frame = pl.DataFrame({"label": label, "guess": label, "score": score})
        model = {"label": "label", "prediction": "guess", "score": "score"}
        performance = driftline.check(frame, frame.reverse(), **model).performance
        assert performance is not None
        again = driftline.check(frame.reverse(), frame.sample(fraction=1, shuffle=True, seed=1), **model).performance
        assert again == performance
        assert performance["roc_auc"].value == pytest.approx(0.757, abs=0.01)
    with pytest.raises(DataError, match="a stream cannot be read again; say the positive class"):
        driftline.check(frame.to_arrow().to_reader(), frame.head(20_000), **model)
    assert driftline.check(frame.to_arrow().to_reader(), frame, **model, positive="good").performance == again


@pytest.mark.parametrize("positive", [None, 1])
def test_a_class_that_never_shows_may_be_the_positive_one(positive: int | None) -> None:
    frame = pl.DataFrame({"label": [0] * 50, "guess": [0] * 50, "score": [0.1] * 50})
    report = driftline.check(frame, frame, label="label", prediction="guess", score="score", positive=positive)
    assert report.performance is not None
    assert report.performance["log_loss"].value == pytest.approx(-np.log(0.9))
    assert report.performance["specificity"].value == 1


def test_a_regression_whose_first_labels_are_all_0() -> None:
    rng = np.random.default_rng(0)
    label = np.sort(np.where(np.arange(40_000) < 20_000, 0.0, rng.exponential(3, 40_000)))
    frame = pl.DataFrame({"label": label, "guess": np.where(label > 0, label + rng.normal(size=40_000), 0.0)})
    report = driftline.check(frame, frame, label="label", prediction="guess")
    assert report.performance is not None and report.performance["r2"].value is not None
    with pytest.raises(DataError, match="at most 1000 are taken"):
        driftline.check(frame, frame, label="label", prediction="guess", task="multiclass")
    with pytest.raises(DataError, match="say task: regression"):
        driftline.check(frame.to_arrow().to_reader(), frame, label="label", prediction="guess")


@pytest.mark.parametrize("head", [None, float("nan"), 1e9])
def test_first_rows_that_do_not_show_what_numbers_are_like(head: float | None) -> None:
    """The grid is chosen on the first rows; where these have no value, or one alone, on the others."""
    rng = np.random.default_rng(0)
    far = pl.Series([head] * 20_000, dtype=pl.Float64)
    before, same, moved = (pl.concat([far, pl.Series(rng.normal(1e9 + by, 1, 60_000))]) for by in (0, 0, 0.5))
    others = pl.Series("z", rng.normal(size=80_000))
    frames = [pl.DataFrame({"x": x, "z": others}) for x in (before, same, moved)]
    assert driftline.check(frames[0], frames[1]).verdict == "ok"
    report = driftline.check(frames[0], frames[2])
    assert [alert.column for alert in report.alerts] == ["x"]
    assert report.columns["x"].drift is not None and report.columns["x"].drift.distances["ks"] is not None
    assert report.columns["x"].drift.distances["ks"] == pytest.approx(0.2 if head is None else 0.15, abs=0.06)


def test_first_rows_without_the_label_of_a_regression() -> None:
    """Newest rows first, and their labels still to come."""
    rng = np.random.default_rng(0)
    truth = rng.normal(1e6, 1, 40_000)
    label = pl.Series(np.where(np.arange(40_000) < 20_000, np.nan, truth))
    before = pl.DataFrame({"label": label, "guess": truth, "z": rng.normal(size=40_000)})
    now = before.with_columns(pl.col("label") + 0.5)
    model = {"label": "label", "prediction": "guess", "task": "regression"}
    assert driftline.check(before, before, **model).verdict == "ok"
    report = driftline.check(before, now, **model)
    assert report.columns["label"].drift.drifted
    assert report.columns["label"].drift.distances["ks"] == pytest.approx(0.2, abs=0.02)


def test_first_rows_without_vectors() -> None:
    rng = np.random.default_rng(0)
    vectors = [None] * 17_000 + rng.normal(size=(3_000, 4)).tolist()
    before = pl.DataFrame({"v": pl.Series(vectors, dtype=pl.List(pl.Float64)), "z": range(20_000)})
    now = before.with_columns(pl.col("v").list.eval(pl.element() + 2))
    assert driftline.check(before, before).columns["v"].problem is None
    assert [alert.column for alert in driftline.check(before, now).alerts] == ["v"]


def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    count = 2 * batch_rows(9)
    rows(4, count).write_parquet(tmp_path / "rows.parquet", row_group_size=20_000)
    told: list[float] = []
    driftline.check(tmp_path / "rows.parquet", tmp_path / "rows.parquet", progress=told.append)
    assert told == sorted(told) and len(told) >= 4
    assert 0 < told[0] < 0.5 and told[-1] == 1


HEAVY = """
import json, sys, driftline
driftline.check(sys.argv[1], sys.argv[1], **json.loads(sys.argv[2]))
print(*{"scipy", "pandas", "pyarrow", "sqlalchemy", "deltalake", "numpy.ma"} & set(sys.modules))
"""


def test_a_check_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """Each of these takes longer to import than a million values to profile; NumPy imports masked arrays unasked."""
    rows(6, 100_000).write_parquet(tmp_path / "rows.parquet")
    command = [sys.executable, "-c", HEAVY, str(tmp_path / "rows.parquet"), json.dumps(MODEL)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=os.environ)
    assert done.stdout == "\n"


PEAK = """
import resource, sys, driftline
driftline.check(sys.argv[1], sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(path: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path), str(path)], capture_output=True, check=True, text=True, env=os.environ
    )
    return int(done.stdout)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    some = rows(5, 400_000).select("normal", "skewed", "whole", "sky", "side")
    some.write_parquet(tmp_path / "some.parquet", row_group_size=50_000)
    pl.concat([some] * 6).write_parquet(tmp_path / "many.parquet", row_group_size=50_000)
    assert peak(tmp_path / "many.parquet") < 1.3 * peak(tmp_path / "some.parquet")


def test_memory_does_not_grow_with_the_rows_of_long_texts(tmp_path: Path) -> None:
    """A batch is as many rows as of numbers, and the words of a text need ten times its memory."""
    names = np.array([f"w{number}" for number in range(2_000)])
    words = names[np.random.default_rng(5).integers(0, 2_000, (16_000, 150))]
    some = pl.DataFrame({"said": [" ".join(row) for row in words]})
    some.write_parquet(tmp_path / "some.parquet", row_group_size=2_000)
    pl.concat([some] * 3).write_parquet(tmp_path / "many.parquet", row_group_size=2_000)
    assert peak(tmp_path / "many.parquet") < 1.3 * peak(tmp_path / "some.parquet")


def test_json_is_whole(expected: Report) -> None:
    assert json.loads(expected.to_json())["rows"] == {"reference": ROWS, "current": ROWS}


def test_single_far_out_values_are_told_though_the_column_drifted() -> None:
    rng = np.random.default_rng(5)
    warm = pl.DataFrame({"kelvin": rng.normal(280, 10, 2000)})
    warmer = pl.DataFrame({"kelvin": np.append(rng.normal(288, 10, 1990), np.zeros(10))})  # a sensor that failed
    moved = pl.DataFrame({"kelvin": rng.normal(480, 10, 2000)})
    found = driftline.check(warm, warmer)
    assert found.columns["kelvin"].drift is not None and found.columns["kelvin"].drift.drifted
    assert any(note.startswith("kelvin has values as far out as 0; ") for note in found.notes)
    assert "far out" not in " ".join(driftline.check(warm, moved).notes)  # all are far out: that is the drift
    told = driftline.check(warm, warmer.with_columns(pl.col("kelvin").replace(0.0, 1e6)))
    assert any("values from" in change for change in told.columns["kelvin"].changes)
    assert "far out" not in " ".join(told.notes)  # once


def panel(seed: int, rows: int, devices: int = 20, *, apart: int | None = None) -> pl.DataFrame:
    """Rows of devices in turn, in each of which b follows a; but for the one ``apart`` where that is said."""
    rng = np.random.default_rng(seed)
    device, a = np.arange(rows) % devices, rng.normal(size=rows)
    alone = np.zeros(rows, bool) if apart is None else device != apart
    return pl.DataFrame({"a": a, "b": np.where(alone, rng.normal(size=rows), a) + 0.3 * rng.normal(size=rows)})


@pytest.mark.parametrize("rows", [20 * scan.SPACED_ROWS, 2 * scan.SPACED_ROWS - 10])
def test_relations_are_those_of_all_devices_that_come_in_turn(rows: int) -> None:
    """Every twentieth, or second, row was of the same devices: what the others did was unseen."""
    found = driftline.check(panel(1, rows), panel(2, rows, apart=0)).dependence
    assert found is not None
    assert found.drifted
    assert found.pairs[0].current < 0.2
    unchanged = driftline.check(panel(1, rows, apart=0), panel(2, rows // 2, apart=0)).dependence
    assert unchanged is not None
    assert not unchanged.drifted
