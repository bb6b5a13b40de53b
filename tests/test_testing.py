"""The pytest plug-in, in runs of pytest of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import numpy as np
import polars as pl
import pytest

rng = np.random.default_rng(1)
label = rng.integers(0, 2, 800)
rows = pl.DataFrame({"wind": rng.normal(0, 1, 800) + label * 2, "label": label})


def old(rows):
    return (rows["wind"] > 2).cast(pl.Int64)


def new(rows):
    return (rows["wind"] > 1).cast(pl.Int64)


def test_same(check_data):
    assert check_data(rows.head(400), rows.tail(400), label="label").verdict == "ok"


def test_moved(check_data):
    check_data(rows.head(400), rows.tail(400).with_columns(pl.col("wind") + 5), label="label")


def test_moved_but_allowed(check_data):
    check_data(rows.head(400), rows.tail(400).with_columns(pl.col("wind") + 5), label="label", fail_on="performance")


def test_better(gate_model):
    assert gate_model(old, new, rows, label="label", least_rows=50).decision == "promote"


def test_worse(gate_model):
    gate_model(new, old, rows, label="label")


def test_frames_and_settings(gate_model):
    said = pl.DataFrame({"prediction": new(rows)})
    gate_model(pl.DataFrame({"prediction": old(rows)}), said, rows, label="label", measure="f1", floor=0.5)
"""


def test_checks_and_gates_pass_and_fail_with_words_and_pages(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("--driftline-reports=pages", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=4, failed=2)
    done.stdout.fnmatch_lines(
        [
            "*wind*",
            "Report: pages*test_moved.html",
            "old is held.",
            "✗ better: On 800 rows *",
            "driftline: 6 reports in pages",
        ]
    )
    pages = sorted(path.name for path in (Path(pytester.path) / "pages").iterdir())
    assert len(pages) == 6
    assert "not shown to be better" in next((Path(pytester.path) / "pages").glob("*worse*")).read_text()


def test_without_the_option_nothing_is_written(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("-k", "test_worse or test_same", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, failed=1)
    assert not list(Path(pytester.path).rglob("*.html"))


def test_a_suite_without_such_tests_pays_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert not {"polars", "numpy", "scipy"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:sybil").assert_outcomes(passed=1)
