"""Digits of other scripts are digits, in numbers and in times, through every door, and it is said."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import driftline
from driftline.config.load import load
from driftline.profiles.numbers import number_style, read_numbers
from driftline.profiles.times import TimeStyle, read_times, time_style
from driftline.service.runtime import Service
from driftline.sources import files
from driftline.sources.files import open_rows, read_rows
from driftline.text.digits import has_other_digits, with_plain_digits

ZEROS = [code for code in range(0x80, sys.maxunicode) if unicodedata.decimal(chr(code), None) == 0]
FULL, ARABIC = 0xFF10, 0x0660
N = 200
VALUES = [f"{value:.2f}" for value in np.random.default_rng(3).normal(4, 1, N)]
NOTE = "x is read as numbers, with digits of another script"
scripts = st.sampled_from(ZEROS)


def in_script(text: str, zero: int) -> str:
    return "".join(chr(zero + int(sign)) if sign in "0123456789" else sign for sign in text)


def written(column: list[str], path: Path) -> Path:
    frame = pl.DataFrame({"x": column, "y": [f"{index % 5}" for index in range(len(column))]})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".ndjson":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path


@given(st.lists(st.decimals(-9999, 9999, places=2).map(str), min_size=1, max_size=20), scripts)
def test_a_number_is_the_same_in_any_script(values: list[str], zero: int) -> None:
    plain, other = pl.Series(values), pl.Series([in_script(value, zero) for value in values])
    style = number_style([other])
    assert style is not None and style.script and "digits of another script" in style.words
    assert read_numbers(other, style).to_list() == plain.cast(pl.Float64).to_list()


@given(st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1)).map(lambda time: time.replace(microsecond=0)), scripts)
def test_a_time_is_the_same_in_any_script(moment: datetime, zero: int) -> None:
    texts = pl.Series([in_script(moment.isoformat(), zero)])
    style = time_style([texts])
    assert isinstance(style, TimeStyle)
    assert read_times(texts, style).to_list() == [moment.replace(tzinfo=UTC)]


@given(st.lists(st.none() | st.text(max_size=6), max_size=6))
def test_texts_keep_what_is_no_digit_of_another_script(texts: list[str | None]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    assert not has_other_digits(with_plain_digits(series))
    if not any(sign.isdecimal() and not sign.isascii() for text in texts if text is not None for sign in text):
        assert with_plain_digits(series) is series or with_plain_digits(series).to_list() == texts


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".ndjson"])
@pytest.mark.parametrize("zero", [FULL, ARABIC])
def test_check_reads_them_on_either_side(suffix: str, zero: int, tmp_path: Path) -> None:
    plain = written(VALUES, tmp_path / f"plain{suffix}")
    other = written([in_script(value, zero) for value in VALUES], tmp_path / f"other{suffix}")
    for before, now in ((plain, other), (other, plain), (other, other)):
        report = driftline.check(before, now)
        assert NOTE in [note.removesuffix(", though its type is text") for note in report.notes], report.notes
        column = report.columns["x"]
        assert column.missing.current == column.missing.reference == 0.0
        assert not column.drift.drifted


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_they_may_begin_far_down_in_a_large_file(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SMALL_BYTES", 0)  # a file is large from the first byte on
    monkeypatch.setattr(files, "_FIRST_ROWS", 10)
    late = written([*VALUES, *(in_script(value, FULL) for value in VALUES)], tmp_path / f"late{suffix}")
    assert driftline.check(written(VALUES, tmp_path / f"plain{suffix}"), late).columns["x"].missing.current == 0.0
    rows = open_rows(late)
    assert sum(batch.height for batch in rows.batches(["x", "y"])) == 2 * N


def test_the_other_columns_of_the_file_keep_their_types(tmp_path: Path) -> None:
    path = written([in_script(value, FULL) for value in VALUES], tmp_path / "other.csv")
    assert read_rows(path).schema == {"x": pl.String, "y": pl.Int64}


def test_times_in_a_file_are_read_and_a_gap_is_told(tmp_path: Path) -> None:
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    texts = [in_script(f"{day:%Y-%m-%d}", FULL) for day in days]
    before, now = written(texts, tmp_path / "before.csv"), written(texts[:100] + texts[160:], tmp_path / "now.csv")
    notes = driftline.check(before, now, time="x").notes
    assert "the current rows have a gap of 61 days, from 2024-04-09 to 2024-06-09" in notes


def test_a_served_reference_is_read_alike(tmp_path: Path) -> None:
    written([in_script(value, ARABIC) for value in VALUES], tmp_path / "reference.csv")
    config = tmp_path / "driftline.yaml"
    config.write_text(
        "models:\n  m:\n    task: regression\n    columns: {prediction: y, features: [x]}\n"
        "    reference: {path: reference.csv}\nstorage: ./data\n"
    )
    service = Service(load(config))
    try:
        assert dict(service.models["m"].schema.features) == {"x": "numeric"}
    finally:
        service.stop()
