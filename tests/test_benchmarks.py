"""The benchmarks measure what they say: the workload, the runner, the tables. No peer runs here."""

from __future__ import annotations

import doctest
import math
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from benchmarks import backfill, chart, engines, false_alarms, history, measure, report
from benchmarks import pages as pages_of_fleet
from benchmarks.bench import measure_case, skip_reason
from benchmarks.chart import draw
from benchmarks.contenders import (
    COLUMNS,
    DRIFTLINE,
    EVIDENTLY,
    HELP,
    HELPS,
    LARGE,
    MIDDLE,
    NANNYML,
    READ,
    SMALL,
    TARGETS,
    WORKS,
    Contender,
    Size,
    Work,
    foreseen_seconds,
)
from benchmarks.goals import judge
from benchmarks.jobs import driftline_sdk, profiles
from benchmarks.measure import Limits, Run, answer_in, run_once
from benchmarks.results import Case, Entry, Measured, Results, read, save
from benchmarks.workload import DAYS, Workload, batches, kind_at, write, zipf_shares
from driftline.config.load import load
from driftline.profiles.table import profile_batches
from driftline.service.runtime import Service
from driftline.web.app import create_app
from tests.views.test_fleet import require_briefs_of_summaries

ROOT = Path(__file__).parents[1]


# ---- the workload ------------------------------------------------------------------------------------------


def rows_of(workload: Workload) -> pl.DataFrame:
    return pl.concat(list(batches(workload)))


@settings(max_examples=25)
@given(st.integers(0, 300), st.integers(0, 12), st.booleans(), st.booleans(), st.integers(0, 2**32), st.booleans())
def test_the_same_workload_gives_the_same_rows_of_the_shape_it_names(
    rows: int, columns: int, current: bool, labels: bool, seed: int, skewed: bool
) -> None:
    workload = Workload(rows, columns, current, labels, seed, skewed)
    made = rows_of(workload)
    assert made.equals(rows_of(workload))
    assert made.columns == workload.names + list(TARGETS) * labels
    assert made.height == (rows if columns or labels else 0)
    if rows >= 30 and columns:
        assert not made.equals(rows_of(replace(workload, seed=seed + 1)))


def test_rows_go_on_over_the_batches() -> None:
    workload = Workload(50_000, 1000, labels=True)
    parts = [part.height for part in batches(workload)]
    assert len(parts) > 1 and sum(parts) == 50_000
    assert max(parts) * 1000 * 8 <= 128e6


def test_the_second_workload_is_skewed_lacks_something_everywhere_and_is_compressed(tmp_path: Path) -> None:
    workload = Workload(30_000, 25, skewed=True)
    rows = rows_of(workload)
    assert all(0.005 < column.null_count() / 30_000 < 0.015 for column in rows)
    for name in rows.columns:
        there = rows[name].drop_nulls()
        match name.split("_")[0]:
            case "score":
                assert there.min() >= 0 and there.max() <= 1 and there.quantile(0.9) < 0.25
            case "whole":
                assert there.dtype == pl.Float64 and (there == there.round()).all()
            case "category":
                assert there.dtype == pl.String
    assert [rows[name].n_unique() - 1 for name in rows.columns if name.startswith("category")][:3] == [10, 30, 100]
    write(workload, tmp_path / "rows.parquet")
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(rows)
    assert pq.ParquetFile(tmp_path / "rows.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("columns", [10, 25, 100, 1000])
def test_of_five_columns_four_are_numbers(columns: int) -> None:
    kinds = Counter(kind_at(place) for place in range(columns))
    assert kinds.pop("category") == columns / 5
    assert max(kinds.values()) - min(kinds.values()) <= 1 and len(kinds) == 4


def test_columns_are_what_their_names_say() -> None:
    rows = rows_of(Workload(20_000, 25))
    normal, lognormal, exponential = rows["normal_0000"], rows["lognormal_0001"], rows["exponential_0002"]
    assert rows["integer_0003"].dtype == pl.Int64
    assert 0.01 < normal.null_count() / 20_000 < 0.03
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05
    assert abs(lognormal.log().std() - 1) < 0.05
    assert exponential.min() >= 0 and abs(exponential.mean() - 1) < 0.05
    assert [rows[name].n_unique() for name in rows.columns if name.startswith("category")] == [10, 20, 30, 40, 50]


def test_shares_of_categories_fall_as_a_power_of_the_rank() -> None:
    shares = zipf_shares(50)
    assert math.isclose(shares.sum(), 1.0)
    assert math.isclose(math.log(shares[0] / shares[9]) / math.log(10), 1.1)


def test_the_current_file_differs_in_two_columns_and_no_others() -> None:
    before, now = (rows_of(Workload(20_000, 25, current)) for current in (False, True))
    assert 0.4 < now["normal_0000"].mean() - before["normal_0000"].mean() < 0.6
    most = [frame["category_0004"].mode().to_list() for frame in (before, now)]
    assert most == [["kind 00"], ["kind 09"]]
    for name in set(before.columns) - {"normal_0000", "category_0004"}:
        if name.startswith("category"):
            shares = [frame[name].value_counts(normalize=True).sort(name)["proportion"] for frame in (before, now)]
            assert (shares[0] - shares[1]).abs().max() < 0.02
        else:
            spread = before[name].std()
            assert abs(before[name].mean() - now[name].mean()) < 0.1 * spread


def test_labels_fill_thirty_days_and_follow_the_scores() -> None:
    rows = rows_of(Workload(60_000, 0, labels=True))
    per_day = rows.group_by(pl.col("time").dt.date()).len()
    assert per_day.height == DAYS and set(per_day["len"]) == {2000}
    assert rows["time"].is_sorted()
    assert (rows["prediction"] == (rows["score"] >= 0.5)).all()
    fifth = (pl.col("score") * 5).floor().alias("fifth")
    by_score = rows.group_by(fifth).agg(pl.col("score").mean(), pl.col("label").mean())
    assert (by_score["score"] - by_score["label"]).abs().max() < 0.03


def test_a_file_holds_the_rows_a_batch_a_row_group(tmp_path: Path) -> None:
    workload = Workload(17_000, 1000)
    write(workload, tmp_path / "rows.parquet")
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(rows_of(workload))
    assert [one.name for one in tmp_path.iterdir()] == ["rows.parquet"]


# ---- the runner --------------------------------------------------------------------------------------------


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


def test_a_run_has_a_time_and_a_peak_of_its_own() -> None:
    """This process holds more than the child does; the child's peak must not begin with it."""
    ballast = bytearray(200_000_000)
    run = run_once(python("pass"))
    assert not run.problem
    assert run.wall_seconds > 0 and run.cpu_seconds > 0
    assert 0 < run.peak_bytes < len(ballast) / 2


def test_what_a_command_does_shows_in_what_it_costs() -> None:
    plain = run_once(python("pass"))
    large = run_once(python("x = bytearray(100_000_000)"))
    assert 90e6 < large.peak_bytes - plain.peak_bytes < 120e6
    idle = run_once(python("import time; time.sleep(0.5)"))
    assert idle.wall_seconds > 0.5 > idle.cpu_seconds
    busy = run_once(python("import time\nwhile time.process_time() < 0.5: pass"))
    assert busy.cpu_seconds > 0.5


def test_the_memory_of_a_grandchild_counts() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-I', '-c', 'x = bytearray(100_000_000)'])"
    assert run_once(python(code)).peak_bytes > 100e6


def test_a_run_keeps_the_answer_of_its_last_line() -> None:
    run = run_once(python("print('hello'); print('{\"inside_seconds\": 0.25, \"drifted\": 2}')"))
    assert run.inside_seconds == 0.25 and run.answer == {"drifted": 2}


def test_a_command_that_fails_is_a_run_with_a_problem() -> None:
    assert run_once(python("raise SystemExit('no such column')")).problem == "failed with 1: no such column"
    assert not run_once(python("raise SystemExit(1)"), exit_codes=(0, 1)).problem
    assert run_once([Path("/nowhere/python")]).problem.startswith("could not be started: FileNotFoundError")


def test_a_run_beyond_its_limits_is_ended_with_its_children() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    late = run_once(python(code), limits=Limits(seconds=0.5))
    assert late.problem == "ended after 0.5 s" and late.wall_seconds < 30
    code = "import time; x = bytearray(300_000_000); time.sleep(60)"
    large = run_once(python(code), limits=Limits(memory_bytes=150_000_000))
    assert large.problem == "ended at 0.15 GB" and large.wall_seconds < 30


@given(st.text())
def test_any_output_has_an_answer(output: str) -> None:
    assert isinstance(answer_in(output), dict)


def work_of(*names: str) -> Work:
    return Work("Work", tuple(Contender(name, "driftline", lambda _: ["-c", "pass"]) for name in names))


def test_contenders_take_turns_and_each_has_all_its_rounds(tmp_path: Path) -> None:
    said: list[str] = []
    work = work_of("a", "b", "c")
    case = measure_case(work, Size(0, 0, 0), [], limits=Limits(), rounds=3, tell=said.append, folder=tmp_path)
    assert [line[-1] for line in said] == list("abcbcacab")
    assert [(entry.contender, len(entry.good)) for entry in case.entries] == [("a", 3), ("b", 3), ("c", 3)]


def test_who_is_not_installed_or_has_failed_is_left_out_and_says_so(tmp_path: Path) -> None:
    absent = Contender("x", "nowhere", lambda _: [])
    failing = Contender("y", "driftline", lambda _: ["-c", "raise SystemExit(3)"])
    work = Work("Work", (absent, failing))
    case = measure_case(work, Size(0, 0, 0), [], limits=Limits(), rounds=3, tell=lambda _: None, folder=tmp_path)
    assert [entry.reason for entry in case.entries] == ["not installed", "failed with 3: no message"]
    assert [len(entry.runs) for entry in case.entries] == [0, 1]


def run_of(seconds: float, megabytes: float = 100.0, **more: float) -> Run:
    return Run(seconds, seconds, int(megabytes * 1e6), more.get("inside"), {})


def entry_of(name: str, *seconds: float, **more: float) -> Entry:
    return Entry(name, [run_of(one, **more) for one in seconds])


@given(st.floats(0, 50), st.floats(1e-9, 1e-3), st.lists(st.integers(1, 10**9), min_size=3, max_size=3, unique=True))
def test_the_time_foreseen_is_right_for_who_needs_a_start_and_so_much_a_cell(
    start: float, cell: float, sizes: list[int]
) -> None:
    small, middle, large = sorted(sizes)
    done = [(size, entry_of("x", start + cell * size)) for size in (small, middle)]
    foreseen = foreseen_seconds(done, large)
    assert foreseen is not None
    # what the difference of the two times loses to rounding grows with the distance that it is carried over
    carried = (large - middle) / (middle - small) * (start + cell * middle)
    assert math.isclose(foreseen, start + cell * large, rel_tol=1e-9, abs_tol=1e-12 * carried + 1e-9)


def test_after_one_case_the_imports_do_not_grow() -> None:
    assert foreseen_seconds([], 100) is None
    assert foreseen_seconds([(10, entry_of("x", 8.0, inside=2.0))], 100) == 8.0 + 2.0 * 9
    assert foreseen_seconds([(10, entry_of("x", 8.0))], 100) == 80.0


def test_who_would_take_too_long_or_ran_out_of_memory_does_not_run(tmp_path: Path) -> None:
    one, floor = work_of("x").contenders[0], work_of(READ).contenders[0]
    limits, size = Limits(seconds=600), Size(LARGE, COLUMNS)
    before = [Case(SMALL, COLUMNS, [entry_of("x", 20.0), entry_of(READ, 20.0)])]
    assert skip_reason(one, size, before, limits, tmp_path) == "not run: about 33 min foreseen"
    assert not skip_reason(one, Size(MIDDLE, COLUMNS), before, limits, tmp_path)
    assert not skip_reason(floor, size, before, limits, tmp_path)
    ended = [Case(SMALL, COLUMNS, [Entry("x", [replace(run_of(1.0), problem="ended at 12 GB")])])]
    assert skip_reason(one, size, ended, limits, tmp_path) == "not run: a smaller file was ended at 12 GB"
    assert not skip_reason(one, size, [], limits, tmp_path)


def test_the_sdk_is_measured_with_the_command_of_its_page() -> None:
    shown = driftline_sdk.command((ROOT / "docs" / "sdk.md").read_text(encoding="utf-8"))
    assert "monitor.log(" in shown and re.search(r"-n \d+", shown)


# ---- results, goals, tables --------------------------------------------------------------------------------


@pytest.fixture
def results() -> Results:
    """Driftline twice as slow as a read, 200 times as fast as Evidently, which has not run on the largest files."""
    cases = [
        Case(
            rows,
            columns,
            [
                entry_of(READ, seconds, 2 * seconds, 3 * seconds),
                entry_of(DRIFTLINE, 4 * seconds, 4 * seconds, megabytes=400.0),
                entry_of(EVIDENTLY, 800 * seconds) if rows < LARGE else Entry(EVIDENTLY, [], "not run | why"),
            ],
        )
        for rows, columns, seconds in [
            (SMALL, 10, 0.1),
            (SMALL, COLUMNS, 0.2),
            (MIDDLE, COLUMNS, 1.0),
            (LARGE, COLUMNS, 10.0),
        ]
    ]
    daily = [Case(MIDDLE, 0, [entry_of(DRIFTLINE, 1.0, inside=0.5), entry_of(NANNYML, 18.0, inside=15.0)])]
    works = {
        key: Measured("2024-01-01 00:00 UTC", "abc", one) for key, one in (("check", cases), ("performance", daily))
    }
    return Results({"processor": "a | b, 2 cores"}, works)


def test_results_are_kept(results: Results, tmp_path: Path) -> None:
    assert read(tmp_path / "results.json") == Results()
    save(results, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == results
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


def test_a_run_with_a_problem_does_not_count() -> None:
    entry = Entry("x", [run_of(1.0), replace(run_of(99.0), problem="failed with 1: no")])
    assert entry.wall_seconds == 1.0 and not entry.reason
    assert Entry("x").wall_seconds is None and Entry("x").reason == "not run"


def test_goals_are_judged_on_ratios_of_one_run(results: Results) -> None:
    judged = {one.work: one for one in judge(results)}
    assert len(judged) == 10
    read_goal, evidently = judged["check, 1 M × 25 × 2 files, whole process"], judged["check, 1 M × 25 × 2 files"]
    assert (read_goal.measured, read_goal.met) == ("2.00 ×", False)
    assert (evidently.measured, evidently.met) == ("200 ×", True)
    daily = judged["daily performance, 1 M labelled rows, 30 windows"]
    assert (daily.measured, daily.met) == ("30 × without imports, 18 × as whole processes", True)
    memory = judged["memory of a check, 25 columns"]
    assert memory.measured == "400 MB at 0.1 M, 400 MB at 1 M, 400 MB at 10 M" and memory.met is False
    profile = judged["profile of 1 M × 25"]
    assert profile.met is None and not profile.measured
    assert {one.met for one in judge(Results())} == {None}


def test_each_workload_of_a_check_has_goals_of_its_own(results: Results) -> None:
    cases = [
        Case(rows, COLUMNS, [entry_of(READ, 1.0), entry_of(DRIFTLINE, 1.4, megabytes=240.0)])
        for rows in (MIDDLE, LARGE)
    ]
    works = results.works | {"skewed": Measured("2024-01-01 00:00 UTC", "abc", cases)}
    ratio, memory = (one for one in judge(replace(results, works=works)) if "skewed" in one.work)
    assert (ratio.measured, ratio.met) == ("1.40 ×", True)
    assert (memory.measured, memory.met) == ("240 MB at 1 M, 240 MB at 10 M", True)


def test_the_start_is_that_of_the_slowest_of_all_commands(results: Results) -> None:
    def told(**seconds: float) -> tuple[str, bool | None]:
        took = dict.fromkeys((HELP, *HELPS.values()), 0.05) | {HELPS[short]: one for short, one in seconds.items()}
        case = Case(0, 0, [entry_of(name, one) for name, one in took.items()])
        start = {"start": Measured("2024-01-01 00:00 UTC", "abc", [case])}
        (found,) = (one for one in judge(replace(results, works=start)) if one.work.startswith("--help"))
        return found.measured, found.met

    assert told(check=0.04, serve=0.1) == ("0.040 s (check) to 0.100 s (serve)", True)
    assert told(serve=0.3, demo=0.2) == ("0.050 s (accept) to 0.300 s (serve); over it: demo, serve", False)


def test_what_was_measured_on_a_busy_machine_says_so(results: Results) -> None:
    def at(*load: float) -> Results:
        works = {
            key: replace(work, cases=[replace(case, load=list(load)) for case in work.cases])
            for key, work in results.works.items()
        }
        return replace(results, works=works, cores=2)

    for one, unsure in ((at(0.5, 2.9), False), (at(0.5, 3.1), True), (at(), True)):
        assert ("Provisional" in report.section("check", one)) is unsure
        assert ("Provisional" in report.section("goals", one)) is unsure


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


def is_well_formed(table: str) -> bool:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return len({len(cells(line)) for line in lines}) == 1 and set(lines[1]) == set("| -")


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_whatever_the_cells_hold_the_table_keeps_its_shape(rows: list[tuple[str, str]]) -> None:
    made = report.table(("a", "b"), rows)
    assert is_well_formed(made) and len(made.split("\n")) == 2 + len(rows)


@pytest.mark.parametrize("name", report.SECTIONS)
def test_every_section_is_a_table_or_says_that_nothing_was_measured(name: str, results: Results) -> None:
    for one in (results, Results()):
        made = report.section(name, one)
        assert made == "Not measured." or is_well_formed(made)


def test_a_table_has_the_median_the_range_and_the_ratios(results: Results) -> None:
    lines = [cells(line) for line in report.section("check", results).splitlines() if line.startswith("|")]
    heads = [cell.strip() for cell in lines[0]]
    found = {
        (row[0], row[2]): dict(zip(heads, row, strict=True))
        for row in ([cell.strip() for cell in line] for line in lines[2:])
    }
    read_line, evidently = found["1,000,000", READ], found["1,000,000", EVIDENTLY]
    assert read_line["seconds"] == "2.00 (1.00 to 3.00)"
    assert found["1,000,000", f"**{DRIFTLINE}**"]["× the read"] == "2.00"
    assert (evidently["seconds"], evidently["× Driftline"]) == ("800", "200")
    assert found["10,000,000", EVIDENTLY]["seconds"] == "not run \\| why"


def test_writing_the_page_again_changes_nothing(results: Results, tmp_path: Path) -> None:
    page, image = tmp_path / "performance.md", tmp_path / "performance.svg"
    page.write_text(report.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    report.write_page(results, page, image)
    once = page.read_text(encoding="utf-8")
    report.write_page(results, page, image)
    assert page.read_text(encoding="utf-8") == once
    assert "a \\| b, 2 cores" in once and "2.00 (1.00 to 3.00)" in once


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(SystemExit, match="0 places for the table check"):
        report.with_tables("no markers", {"check": "x"})


def test_the_page_has_its_tables_and_they_are_well_formed() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    tables = dict(re.findall(r"<!-- bench: (\w+) -->\n(.*?)<!-- end -->", page, flags=re.DOTALL))
    assert tuple(sorted(tables)) == tuple(sorted(report.SECTIONS))
    for name, text in tables.items():
        assert is_well_formed(text), name


@pytest.mark.parametrize("empty", [True, False])
def test_the_chart_is_svg_with_a_point_for_each_number(results: Results, empty: bool) -> None:
    root = ElementTree.fromstring(draw(Results() if empty else results))
    points = root.findall(".//{*}g/{*}circle")
    by_rows, by_columns = 3 + 3 + 2, 2 * 3
    assert len(points) == (0 if empty else 2 * (by_rows + by_columns))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for point in points:
        assert 0 < float(point.attrib["cx"]) < width and 0 < float(point.attrib["cy"]) < height


@pytest.mark.parametrize(
    "module", [chart, false_alarms, measure, report, driftline_sdk], ids=lambda module: module.__name__
)
def test_examples_in_docstrings_run(module: ModuleType) -> None:
    failed, attempted = doctest.testmod(module)
    assert attempted and not failed


def test_a_run_of_each_kind_is_pinned() -> None:
    """No address, no path, nothing that floats."""
    for room in {one.room for work in WORKS.values() for one in work.contenders} - {"driftline"}:
        lines = (ROOT / "benchmarks" / f"requirements-{room}.txt").read_text(encoding="utf-8").splitlines()
        assert all(re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
        assert any(line.startswith(f"{room}==") for line in lines)


# ---- false alarms ------------------------------------------------------------------------------------------


def test_rows_that_are_alike_have_columns_of_all_kinds_and_a_model_that_is_mostly_right() -> None:
    rows = false_alarms.alike(np.random.default_rng(1), 20_000, columns=11, first=3)
    assert [name.rsplit("_", 1)[0] for name in rows.columns[:8]] == list(false_alarms.KINDS)[3:]
    assert 0.83 < (rows["y"] == rows["said"]).mean() < 0.87
    gaps = next(name for name in rows.columns if name.startswith("gaps"))
    assert 0.09 < rows[gaps].null_count() / rows.height < 0.11
    number, whole = (next(name for name in rows.columns if name.startswith(kind)) for kind in ("normal", "whole"))
    assert 0.4 < rows.select(pl.corr(number, whole)).item() < 0.6


def test_only_what_is_said_to_change_does() -> None:
    was, became = (
        false_alarms.changed(np.random.default_rng(1), 20_000, **how)
        for how in ({}, {"shift": 0.3, "missing": 0.2, "new": 0.03, "flip": 0.1, "right": 0.8})
    )
    assert abs((became["number"] - was["number"]).mean() - 0.3) < 1e-9
    shares = [
        (
            rows["gaps"].null_count() / rows.height,
            (rows["names"] == "name 3").mean(),
            (rows["category"] == "kind 0").mean(),
            (rows["y"] == rows["said"]).mean(),
        )
        for rows in (was, became)
    ]
    assert shares[0] == pytest.approx((0.05, 0.0, 0.4, 0.85), abs=0.01)
    assert shares[1] == pytest.approx((0.20, 0.03, 0.3, 0.80), abs=0.01)
    assert became["tails"].equals(was["tails"])


def test_a_tiny_run_prints_tables_and_a_large_change_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(false_alarms, "SIZES", ((30, 30), (100, 60)))
    monkeypatch.setattr(false_alarms, "COLUMNS", {5: 1.0, 12: 0.5})
    monkeypatch.setattr(false_alarms, "SIDES", (2_000,))
    monkeypatch.setattr(false_alarms, "TRIFLE_ROWS", 5_000)
    few = {what: hard._replace(sizes=((60, 60),)) for what, hard in false_alarms.HARD.items()}
    monkeypatch.setattr(false_alarms, "HARD", few)
    false_alarms.main(["--runs", "4"])
    chance, hard, power, trifles = capsys.readouterr().out.strip().split("\n\n")
    assert is_well_formed(chance) and len(chance.split("\n")) == 2 + 4 + 1
    assert is_well_formed(hard) and len(hard.split("\n")) == 2 + len(few)
    assert is_well_formed(power) and "| a number shifts by 0.3 sd | 100 % |" in power
    assert is_well_formed(trifles) and trifles.count("| 0 of 1 |") == 3


def test_a_small_load_of_history_is_told_once_and_pages_for_what_goes_on_only() -> None:
    counted, alerts, firing = backfill.run(models=2, days=19, rows=40, silenced=1)
    assert (alerts, firing) == (15, 3)  # two bad days of each model by three rules, and the last of one
    assert {key: counted.said[key] for key in counted.said} == {
        ("webhook", "over"): 4,  # of the model that is not silenced: what the others explain is left out
        ("webhook", "fired"): 2,
        ("slack", "over"): 4,
        ("slack", "fired"): 2,
        ("pagerduty", "fired"): 1,
    }
    assert counted.models <= {"model-01", ""}
    assert backfill.table(counted)[2:] == [
        f"| webhook | {counted.messages['webhook']} | 2 | 0 | 4 |",
        f"| slack | {counted.messages['slack']} | 2 | 0 | 4 |",
        "| pagerduty | 1 | 1 | 0 | 0 |",
    ]
    assert backfill.PAGE.read_text().count(backfill.BEGIN) == backfill.PAGE.read_text().count(backfill.END) == 1


def test_the_fleet_that_pages_are_measured_with_is_one_that_a_worker_could_have_left(tmp_path: Path) -> None:
    pages_of_fleet.make(tmp_path, history.History(21, 4, 2))
    service = Service(load(tmp_path / "driftline.yaml"))
    try:
        rows = service.views.fleet()
        assert len(rows) == 21 and len({one.course.values for one in rows}) == 21
        assert all(len(one.course.values) == 4 and one.course.value and one.course.verdicts for one in rows)
        assert [one.name for one in rows if one.alerts] == ["m000", "m020"]
        assert require_briefs_of_summaries(service) == 84
        http = TestClient(create_app(service))
        assert all(http.get(path).status_code == 200 for path in pages_of_fleet.PAGES.values())
    finally:
        service.stop()
    cost = pages_of_fleet.Cost(1.0, 1.0, 1.0, 10, 20)
    costs, times = {"a file": cost, "the fleet": cost}, {"a file": 1.0, "the fleet": 2.0}
    assert is_well_formed("\n".join(pages_of_fleet.said(pages_of_fleet.QUICK_FLEET, costs, times, [10**6])))
    page = pages_of_fleet.PAGE.read_text()
    assert page.count(pages_of_fleet.BEGIN) == page.count(pages_of_fleet.END) == 1


def test_answers_with_two_histories_stand_beside_each_other() -> None:
    short, long = history.History(1, 30, 2), history.History(1, 60, 2)
    lines = history.compared(short, long)
    assert is_well_formed("\n".join(history.said(short, long, lines)))
    assert [one.what for one in lines] == list(history.ASKED) and all(one.short > 0 for one in lines)
    assert lines[0].ratio == lines[0].long / lines[0].short
    passes = history.passes(short)
    assert 0 < passes[0] < passes[1]  # a late label is work, nothing is none
    assert is_well_formed("\n".join(history.said_of_passes(short, long, passes, passes)))
    page = history.PAGE.read_text()
    assert page.count(history.BEGIN) == page.count(history.END) == 1


# ---- profiles on several engines -------------------------------------------------------------------------------------


def test_rows_of_the_engines_are_those_asked_for_in_order_of_time_over_all_windows() -> None:
    block = profiles.block_of(5, 300)
    made = pl.concat(list(profiles.blocks(block, 0, 1_000, 1_000, 4)))
    assert made.height == 1_000 and made["at"].is_sorted() and made["at"].dt.date().n_unique() == 4
    parts = [pl.concat(list(profiles.blocks(block, *ends, 1_000, 4))) for ends in ((0, 600), (600, 1_000))]
    assert pl.concat(parts).equals(made)
    layout = profiles.layout_of_block(block)
    assert set(layout.reads) == set(made.columns)
    assert profile_batches([made], layout).labelled == 1_000


def measured_engines() -> dict[str, dict[str, Any]]:
    """As if everything had been measured: a second of the processor a million rows and ten columns."""
    found: dict[str, dict[str, Any]] = {}
    for job in engines.asked(quick=False):
        numbers = [int(one) for one in job.arguments[1:]]
        cost = 0.0 if job.arguments[0] == "made" else numbers[0] / 1e6 * numbers[1] / 10
        said = {"processor": cost, "wall": 2 * cost, "windows": 30, "bytes": 3_000, "peak": 3e8}
        found[job.name] = said | {"when": "Measured 2026-12-01 12:00 UTC; load average 1.0."}
    return found


def test_tables_of_the_engines_have_what_was_measured_and_nothing_else() -> None:
    found = engines.tables(measured_engines())
    assert found["extrapolated"][2:] == [
        "| 5 | 0.139 | 0.00579 | 0.139 |",
        "| 25 | 0.694 | 0.0289 | 0.694 |",
        "| 100 | 2.78 | 0.116 | 2.78 |",
    ]
    assert found["columns"][3].startswith("| 25 | 2.5 | 100 |")
    assert "| 100,000,000 | one process | 50 | 0.5 | 100 | 300 MB | 2026-12-01 12:00" in found["rows"][4]
    assert all(is_well_formed("\n".join(lines)) for lines in found.values())
    assert all(len(lines) == 2 for lines in engines.tables({}).values())
    page = engines.PAGE.read_text()
    assert [page.count(f"<!-- engines: {name} -->") for name in found] == [1] * len(found)


def test_the_drawing_of_the_engines_has_a_point_for_each_measurement() -> None:
    for found, points in ((measured_engines(), 2 * (3 + 2 + 2)), ({}, 0)):
        root = ElementTree.fromstring(engines.draw(found))
        assert len(root.findall(".//{*}g/{*}circle")) == points
        assert "one process" in "".join(root.itertext())
