"""Numbers that are codes: said by people, or guessed from their shape and told; through every door."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import driftline
from driftline.config.load import load
from driftline.errors import ConfigError, UnknownNameError, UsageError
from driftline.profiles.codes import are_codes
from driftline.service.runtime import Service
from tests.alerts.test_told import right_in, send

TRADES = [531110, 532230, 722110, 812990]


def trades(shares: list[float], seed: int = 1) -> pl.DataFrame:
    return pl.DataFrame({"code": np.random.default_rng(seed).choice(TRADES, 3000, p=shares)})


EVEN, SHIFTED = trades([0.25] * 4), trades([0.1, 0.4, 0.4, 0.1], 2)


# ---- what looks like a code ------------------------------------------------------------------------------------


@given(st.lists(st.integers(10**5, 10**6 - 1), min_size=3, max_size=50, unique=True))
def test_few_large_numbers_of_one_length_are_codes_unless_near_or_round(codes: list[int]) -> None:
    near = max(codes) - min(codes) < 10 * len(codes)
    round_ones = np.gcd.reduce(codes) % 50 == 0
    assert are_codes(pl.Series(codes * 10)) == (not near and not round_ones)
    assert not are_codes(pl.Series(codes * 9))  # too few rows for so many
    assert not are_codes(pl.Series([*codes * 10, 999]))  # of another length
    assert not are_codes(pl.Series(codes * 10).cast(pl.Float64) + 0.5)


RNG = np.random.default_rng(5)
QUANTITIES: dict[str, Any] = {
    "years": RNG.integers(1990, 2025, 3000),
    "days": RNG.choice([20240101, 20240229, 20241231], 3000),
    "pressure": RNG.integers(100_900, 101_400, 3000),
    "amounts": RNG.choice([10_000, 25_000, 70_000], 3000),
    "prices": RNG.integers(100_000, 999_999, 3000),
    "counts": RNG.integers(0, 10, 3000),
    "seconds": RNG.choice([1_700_000_000, 1_700_003_601, 1_710_000_007], 3000),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_quantities_are_compared_as_numbers(name: str) -> None:
    frame = pl.DataFrame({"x": QUANTITIES[name]})
    report = driftline.check(frame, frame)
    assert report.columns["x"].kind == "numeric"
    assert report.guesses == ()


# ---- check -----------------------------------------------------------------------------------------------------


def test_codes_are_told_as_categories_and_the_guess_is_said() -> None:
    report = driftline.check(EVEN, SHIFTED)
    column = report.columns["code"]
    assert column.kind == "categorical" and column.drift.drifted
    assert len(column.changes) == 4 and all("→" in words and "median" not in words for words in column.changes)
    assert [guess for guess in report.guesses if guess.startswith("code read as codes")]


def test_what_is_said_is_no_guess() -> None:
    said = driftline.check(EVEN, SHIFTED, categorical=["code"])
    assert (said.columns["code"].kind, said.guesses) == ("categorical", ())
    other = driftline.check(EVEN, SHIFTED, categorical=[])
    assert (other.columns["code"].kind, other.guesses) == ("numeric", ())
    grades = pl.DataFrame({"grade": [1, 2, 3] * 200})
    moved = pl.DataFrame({"grade": [1, 3, 3] * 200})
    assert driftline.check(grades, moved).columns["grade"].kind == "numeric"
    assert driftline.check(grades, moved, categorical=["grade"]).columns["grade"].changes == (
        "'2' 33 % → 0 % (gone)",
        "'3' 33 % → 67 %",
    )


@pytest.mark.parametrize("kind", [pl.Int32, pl.Float64, pl.String])
def test_a_code_is_the_same_whatever_its_type_on_the_other_side(kind: type[pl.DataType]) -> None:
    report = driftline.check(EVEN, EVEN.cast(kind), categorical=["code"])
    assert report.columns["code"].unseen == 0
    assert report.alerts == ()


def test_a_name_that_is_none_of_an_input_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="code"):
        driftline.check(EVEN, SHIFTED, categorical=["coed"])
    both = right_in(0.9, 100)
    with pytest.raises(UsageError, match="'label' came, which is the column of the label"):
        driftline.check(both, both, label="label", prediction="prediction", categorical=["label"])


def test_the_command_and_its_configuration_say_codes(tmp_path: Path) -> None:
    rows = right_in(0.9, 300).with_columns(grade=pl.Series([1, 2, 3] * 100))
    rows.write_csv(tmp_path / "reference.csv")
    (tmp_path / "driftline.yaml").write_text(
        "models: {m: {reference: {path: reference.csv}, columns: {label: label, prediction: prediction, "
        "categorical: [grade]}}}"
    )
    files = [str(tmp_path / "reference.csv")] * 2
    for options in (["--categorical", "grade"], ["--config", str(tmp_path / "driftline.yaml")]):
        command = [sys.executable, "-m", "driftline", "check", *files, *options, "--json"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        kinds = {one["column"]: one["kind"] for one in json.loads(done.stdout)["columns"]}
        assert kinds["grade"] == "categorical"


# ---- serve -----------------------------------------------------------------------------------------------------


def test_a_served_model_counts_codes_that_come_as_numbers(tmp_path: Path) -> None:
    reference = right_in(0.95, 400).with_columns(code=pl.Series(TRADES * 100))
    reference.write_parquet(tmp_path / "reference.parquet")
    (tmp_path / "driftline.yaml").write_text(
        """
models:
  m:
    task: binary
    columns: {prediction: prediction, label: label, features: [code], categorical: [code]}
    reference: {path: reference.parquet}
storage: ./data
"""
    )
    service = Service(load(tmp_path / "driftline.yaml"))
    send(service, right_in(0.95, 200), lambda index: {"code": TRADES[index % 2]}, 0, labelled=200)
    view = service.views.windows("m")[0].summary.drift["code"]
    assert view.drifted and view.measure == "js"
    assert {words.split()[0] for words in view.changes} == {f"'{code}'" for code in TRADES}
    service.stop()


def test_a_code_that_is_no_input_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "driftline.yaml"
    path.write_text(
        "models: {m: {reference: {path: r.csv}, columns: {label: y, features: [code], categorical: [coed]}}}"
    )
    with pytest.raises(ConfigError, match=r"categorical\.0: 'coed' is not one of `features`.* Did you mean 'code'"):
        load(path)
