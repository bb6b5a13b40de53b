"""The compiled loops: the same bytes as NumPy's and Polars', whatever comes; and how they get compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import timeit
import zipfile
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline.profiles import CategoricalColumn, NumericColumn, column
from driftline.profiles.column import CategoricalTally, NumericTally
from driftline.sketches import ExactSum, Grid, GridSketch, Moments, compiled
from driftline.sketches.codec import encode
from driftline.sketches.compiled import kernel

ROOT = Path(__file__).parents[2]
BLOCK = 256  # of kernel.c
built = pytest.mark.skipif(kernel() is None, reason="kernel.c was not compiled here: no C compiler")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_where_there_is_a_compiler_the_kernel_is_used() -> None:
    assert kernel() is not None, "install again: make .venv/dev.stamp"


# ---- numbers -----------------------------------------------------------------------------------------------

ANY = st.floats(width=64)
KINDS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "far out": lambda rng, n: rng.standard_cauchy(n),
    "whole": lambda rng, n: rng.integers(-3000, 3000, n).astype(float),
    "halves": lambda rng, n: rng.integers(-100, 100, n) / 2,
    "small": lambda rng, n: rng.normal(size=n) * 1e-310,
    "of all sizes": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-300, 300, n),
    "constant": lambda rng, n: np.full(n, 1.6474366049996831),
    "ends of the range": lambda rng, n: rng.choice([1.7e308, -1.7e308, 3.4e38, 3.5e38, -3.5e38, 0.0, -0.0], n),
    "zeros": lambda rng, n: rng.choice([0.0, -0.0], n),
    "not finite": lambda rng, n: rng.choice([np.nan, np.inf, -np.inf], n),
    "some not finite": lambda rng, n: np.where(
        rng.random(n) < 0.05, rng.choice([np.nan, np.inf, -np.inf], n), rng.normal(size=n)
    ),
}


def in_numpy(values: pl.Series, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> NumericColumn:
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "kernel", lambda: None)
        return NumericColumn.of(values, grid)


def in_c(values: pl.Series, grid: Grid) -> NumericColumn:
    """With the kernel from the first value on, however few there are."""
    tally = NumericTally(grid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column, "_WORTH_COMPILED", 0)
        tally.add(values)
    return tally.column()


@built
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "grid",
    [Grid(), Grid(0.3, 0.25), Grid(-1e300, 1.0), Grid(5.0, 2.0**-90), Grid(1.7e308, 4.0), Grid(1.0, 3.0)],
    ids=str,
)
def test_numbers_of_every_kind_have_the_same_bytes(kind: str, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    values = pl.Series(KINDS[kind](np.random.default_rng(7), 20_011))
    assert encode(in_c(values, grid)) == encode(in_numpy(values, grid, monkeypatch))


@built
@given(
    st.lists(ANY, max_size=2 * BLOCK + 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-98, 98),
    st.integers(0, 3 * BLOCK),
)
@example([16.0, -16.0, 15.999999999999998, 2048.0, 2047.9999], 0.0, 0, 0)
@example([2.0**-15, 3 * 2.0**-16, -(2.0**-15)], 0.0, 0, BLOCK)
def test_any_numbers_have_the_same_bytes(values: list[float], centre: float, power: int, repeated: int) -> None:
    series = pl.Series(values + [centre] * repeated, dtype=pl.Float64)
    grid = Grid(centre, 2.0**power)
    with pytest.MonkeyPatch.context() as patch:
        assert encode(in_c(series, grid)) == encode(in_numpy(series, grid, patch))


@built
@pytest.mark.parametrize(("value", "rows"), [(2000.0, 300_000), (-1800.0, 20_000), (15.99997, 2_500_000)])
def test_sums_of_squares_do_not_run_over(value: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of whole numbers may have moved by thousands of scales: its squares need more than 64 bits."""
    values = pl.Series(np.full(rows, value))
    assert encode(in_c(values, Grid())) == encode(in_numpy(values, Grid(), monkeypatch))


@built
def test_nulls_slices_and_other_types_are_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pl.Series([1, None, 3, 250, -7] * 2000)
    for values in (whole, whole.slice(3, 5001), whole.cast(pl.Float32), whole.cast(pl.Float64).slice(1), whole.head(0)):
        assert encode(in_c(values, Grid())) == encode(in_numpy(values, Grid(), monkeypatch))


@built
@given(st.lists(st.none() | ANY, max_size=300), st.integers(0, 70), st.integers(1, 9), st.integers(0, 3))
def test_missing_values_anywhere_have_the_same_bytes(
    values: list[float | None], offset: int, repeated: int, more: int
) -> None:
    """Of arrays that begin at any bit, are shorter or longer than a block, or are one of several."""
    series = pl.Series(values * repeated, dtype=pl.Float64).slice(offset)
    series = pl.concat([series, *[pl.Series([None, 2.5], dtype=pl.Float64)] * more], rechunk=False)
    assert series.n_chunks() >= more
    with pytest.MonkeyPatch.context() as patch:
        assert encode(in_c(series, Grid())) == encode(in_numpy(series, Grid(), patch))


@built
@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["normal", "whole", "some not finite"])
def test_few_and_many_missing_values_have_the_same_bytes(
    kind: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    values = pl.Series(KINDS[kind](rng, 20_011)).set(pl.Series(rng.random(20_011) < share), None).slice(13)
    assert encode(in_c(values, Grid())) == encode(in_numpy(values, Grid(), monkeypatch))


@built
def test_missing_values_are_passed_over_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column without its nulls is a copy of it: as much work as counting it."""
    values = pl.Series([1.5, None, -2.0] * 1_000)
    for copying in ("drop_nulls", "to_numpy", "fill_null", "cast", "is_null", "rechunk"):
        monkeypatch.delattr(pl.Series, copying)
    profiled = in_c(values, Grid())
    assert (profiled.rows, profiled.missing, profiled.sketch.count) == (3_000, 1_000, 2_000)


@built
def test_the_kernel_takes_no_other_numbers() -> None:
    loops = kernel()
    assert loops is not None
    with pytest.raises(TypeError, match="Float64"):
        loops.tally_series(pl.Series([1, 2]), 0.0, 1.0, np.zeros(65_536, np.int64))


# ---- sums, and grids by flag -------------------------------------------------------------------------------

FINITE = [kind for kind in KINDS if "finite" not in kind]


@built
@pytest.mark.parametrize("kind", FINITE)
def test_moments_of_every_kind_have_the_same_bytes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = KINDS[kind](np.random.default_rng(11), 70_001)
    in_loops = Moments.of(values)
    monkeypatch.setattr(compiled, "kernel", lambda: None)
    assert encode(in_loops) == encode(Moments.of(values))


@built
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=BLOCK + 3), st.integers(0, 2 * BLOCK))
@example([1.7e308, 5e-324, -1.7e308], 0)
@example([2.0**899, -(2.0**-899), 1.0], 0)
@example([1.0, 2.0**-52, 2.0**-100, 2.0**-119, 2.0**-120, 2.0**-121, -(2.0**-900)], BLOCK)
@example([-0.0], 3)
def test_any_exact_sum_is_the_sum_of_the_fractions(values: list[float], repeated: int) -> None:
    values = values + values[:1] * repeated
    assert ExactSum.of(np.array(values)).fraction == sum(map(Fraction, values))


@built
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 70_001])
@pytest.mark.parametrize("kind", FINITE)
def test_grids_by_flag_are_the_grids_of_both_parts(kind: str, size: int) -> None:
    rng = np.random.default_rng(13)
    values, flags = KINDS[kind](rng, size), rng.random(size) < 0.3
    assert GridSketch.by_flag(values, flags) == (GridSketch.of(values[flags]), GridSketch.of(values[~flags]))
    everyone = np.ones(size, np.bool_)
    assert GridSketch.by_flag(values, everyone) == (GridSketch.of(values), GridSketch())
    assert GridSketch.by_flag(values, ~everyone) == (GridSketch(), GridSketch.of(values))


@built
def test_flags_that_lie_apart_in_memory_belong_to_their_values() -> None:
    values, flags = np.arange(20_000.0)[::2], (np.arange(20_000) % 3 == 0)[::2]
    assert GridSketch.by_flag(values, flags) == GridSketch.by_flag(values.copy(), flags.copy())


# ---- texts -------------------------------------------------------------------------------------------------


def counted(values: pl.Series) -> dict[str, int] | None:
    loops = kernel()
    assert loops is not None
    return loops.count_texts(values)


def expected(values: pl.Series) -> dict[str, int]:
    there = values.drop_nulls().value_counts(name="count")
    return dict(zip(there[:, 0].to_list(), there["count"].to_list(), strict=True))


@built
@pytest.mark.parametrize("name", ["customer_", "a kind numbered ", "one of a great many names, "])
def test_names_that_differ_in_their_last_signs_cost_what_others_cost(name: str) -> None:
    """A hash tells them apart worst: all of them were once looked for in one place."""
    places = np.random.default_rng(1).integers(0, 500, 20_000)
    seconds = []
    for texts in ([f"{name}{one:03}" for one in range(500)], [f"{one:03}{name}" for one in range(500)]):
        values = pl.Series(texts).gather(places)
        seconds.append(min(timeit.repeat(partial(counted, values), number=1, repeat=9)))
    assert seconds[0] < 5 * seconds[1]  # it was 12 times as much


@built
@given(st.lists(st.none() | st.text() | st.sampled_from(["a", "a" * 12, "a" * 13, "a" * 12 + "b", "", "\0"])))
@example(["twelve bytes", "thirteen byte", "thirteen bytf", "thirteen byte", None, ""])
def test_texts_are_counted_as_polars_counts_them(texts: list[str | None]) -> None:
    values = pl.Series("name", texts, dtype=pl.String)
    assert counted(values) == expected(values)
    assert counted(values.slice(len(texts) // 3)) == expected(values.slice(len(texts) // 3))
    assert counted(pl.concat([values, values[:2], values], rechunk=False)) == expected(values) | {
        name: 2 * count + (values[:2] == name).sum() for name, count in expected(values).items()
    }


@built
def test_long_texts_with_the_same_beginning_and_end_are_told_apart() -> None:
    texts = [f"{'begin' * 10}{middle:04}{'end' * 10}" for middle in range(1000)] * 3
    values = pl.Series(texts)
    assert counted(values) == expected(values) and set(expected(values).values()) == {3}


@built
def test_more_texts_than_are_worth_it_and_other_types_are_left_to_polars() -> None:
    assert counted(pl.Series([str(i) for i in range(1024)])) is not None
    assert counted(pl.Series([str(i) for i in range(1025)])) is None
    assert counted(pl.Series([1, 2, 3])) is None
    assert counted(pl.Series(["a", "b"], dtype=pl.Categorical)) is None
    assert counted(pl.Series([], dtype=pl.String)) == {}


@built
@pytest.mark.parametrize("sizes", [(3, 50), (900, 900), (2000, 3), (3, 2000, 12_000), (20_000, 20_000)])
def test_categories_that_become_many_have_the_same_bytes(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    batches = [pl.Series([f"kind {i}" for i in rng.integers(0, size, 30_000)]) for size in sizes]

    def column_of() -> CategoricalColumn:
        tally = CategoricalTally()
        for batch in batches:
            tally.add(batch)
        return tally.column()

    compiled_column = column_of()
    monkeypatch.setattr(compiled, "kernel", lambda: None)
    assert encode(compiled_column) == encode(column_of())


# ---- building ----------------------------------------------------------------------------------------------


def wheel(folder: Path, **environment: str) -> tuple[str, list[str], str]:
    """Build a wheel of a copy of the project: its name, its files, and what the build said."""
    source = folder / "project"
    source.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "service.lock", source / "requirements")
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("kernel.library", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"],
        cwd=source,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "dist").iterdir()
    return made.name, zipfile.ZipFile(made).namelist(), done.stdout + done.stderr


@built
def test_a_wheel_has_the_library_and_is_for_its_platform_and_every_python(tmp_path: Path) -> None:
    name, files, _ = wheel(tmp_path)
    assert "-py3-none-" in name and not name.endswith("-any.whl")
    assert "driftline/sketches/kernel.library" in files


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_working_compiler_the_wheel_is_pure(tmp_path: Path, compiler: str) -> None:
    name, files, said = wheel(tmp_path, CC=compiler)
    assert name.endswith("-py3-none-any.whl") and "driftline/sketches/kernel.library" not in files
    assert "slower" in said


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF" + bytes(100)])
def test_a_broken_library_is_none(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "kernel.library"
    broken.write_bytes(content)
    assert loaded(broken, monkeypatch) is None
    assert loaded(tmp_path / "missing.so", monkeypatch) is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_library_of_another_release_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "other.c"
    source.write_text("long long driftline_kernel_version(void) { return 999; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "other.so", source], check=True)
    assert loaded(tmp_path / "other.so", monkeypatch) is None


def loaded(file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(compiled, "FILE", file)
    return kernel.__wrapped__()
