"""The bench of the detector: other tools' rules against reference implementations, thresholds of equal budget, dummies,
the page. No other tool runs here.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from benchmarks.detection import bench
from benchmarks.detection.bench import PAGE, PARTS, _Tee
from benchmarks.detection.chart import Spent, draw
from benchmarks.detection.evaluate import A_YEAR, always, delays, episodes, false_alarms, never
from benchmarks.detection.packages import GLIDE, PACKAGES, agreement, rows_of
from benchmarks.detection.peers import Peer, Scored, equal_threshold, peers, scored
from benchmarks.detection.real import Found, Told
from benchmarks.detection.streams import REALISTIC, Cells, Change, Stream, accuracies, make_stream, model_windows

TINY = replace(REALISTIC, columns=3, rows=300)
BEFORE, AFTER = 28, 12


@pytest.fixture(scope="module")
def stream() -> Stream:
    return make_stream(TINY, 5, Change("mean", 1.0), after=6, windows=AFTER)


def of(name: str) -> Peer:
    return next(one for one in peers(TINY.columns) if one.name == name)


def drawn(cells: Cells, window: int | slice) -> np.ndarray:
    """The values of a window, or of several together, one by one."""
    counts = cells.counts[window, :-1]
    known = np.arange(counts.shape[-1]) if cells.values is None else cells.values
    return np.repeat(known, counts.sum(axis=0) if counts.ndim > 1 else counts)


@pytest.mark.parametrize("name", ["x00", "x01", "k00"])
def test_rules_stated_over_counts_are_those_of_reference_implementations(stream: Stream, name: str) -> None:
    cells, window = stream.columns[name], BEFORE + 7
    usual, now = drawn(cells, slice(BEFORE)), drawn(cells, window)
    evidently, alibi = (
        scored(of(rule), stream).scores[window - BEFORE, sorted(stream.columns).index(name)]
        for rule in ("Evidently, any column", "Alibi Detect")
    )
    if cells.values is None:
        counts = np.stack([np.bincount(one, minlength=cells.counts.shape[1] - 1) for one in (usual, now)])
        assert evidently == pytest.approx(jensenshannon(counts[0], counts[1]))
        assert math.exp(-alibi) == pytest.approx(chi2_contingency(counts[:, counts.any(axis=0)]).pvalue)
    else:
        assert evidently == pytest.approx(wasserstein_distance(usual, now) / usual.std())
        assert math.exp(-alibi) == pytest.approx(ks_2samp(usual, now, method="asymp").pvalue)


def test_nannyml_holds_a_distance_against_those_of_the_reference_windows(stream: Stream) -> None:
    cells = stream.columns["x00"]
    edges = np.histogram_bin_edges(drawn(cells, slice(BEFORE)), "doane")
    usual = np.histogram(drawn(cells, slice(BEFORE)), edges)[0]

    def distance(window: int) -> float:
        inside = np.histogram(values := drawn(cells, window), edges)[0]
        return float(jensenshannon([*usual, 0], [*inside, len(values) - inside.sum()], base=2))

    known = [distance(window) for window in range(BEFORE)]
    expected = abs(distance(BEFORE + 3) - np.mean(known)) / np.std(known)
    assert scored(of("NannyML"), stream).scores[3, sorted(stream.columns).index("x00")] == pytest.approx(expected)


def test_a_threshold_of_equal_budget_is_the_lowest_that_keeps_it() -> None:
    rng = np.random.default_rng(1)
    calm = [Scored(one[:, None], ("x",), one) for one in rng.standard_normal((4, A_YEAR))]
    threshold = equal_threshold(calm, 4.0)

    def rate(at: float) -> float:
        return float(np.mean([episodes(one.said(at).alarm) for one in calm]))

    assert 0 < rate(threshold) <= 4 < rate(threshold - 0.1)
    # One that is always in alarm has one alarm a year: that is no way to keep to a budget.
    steady = [Scored(np.ones((A_YEAR, 1)), ("x",), np.ones(A_YEAR))]
    assert not steady[0].said(equal_threshold(steady, 4.0)).alarm.any()


def test_a_rule_names_the_columns_that_reach_its_threshold_the_furthest_first() -> None:
    told = Scored(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 5.0]]), ("a", "b", "c"), np.array([2.0, 0.0]))
    assert [told.said(2.0).alarm.tolist(), told.said(2.0).named] == [[True, False], [["b", "c"], ["c"]]]


def test_the_dummies_show_what_each_number_hides(stream: Stream) -> None:
    calm = make_stream(replace(TINY, windows=AFTER), 6)
    fires, never_fires = false_alarms(always, [calm]), false_alarms(never, [calm])
    assert fires.windows[0] == pytest.approx(A_YEAR) and fires.alarms[0] == pytest.approx(A_YEAR / AFTER)
    assert never_fires.alarms[0] == never_fires.windows[0] == 0
    assert delays(always, [stream]).skipped == 1 and delays(never, [stream]).windows.tolist() == [math.inf]


def test_scores_of_a_package_are_compared_as_far_as_it_can_tell() -> None:
    rule = replace(of("Alibi Detect"), threshold=5.0)
    ours, theirs = np.array([[600.0, 1.0], [4.0, 4.0]]), np.array([[87.3, 1.0], [4.0, 5.0]])
    told = agreement(rule, ours, theirs)
    assert (told.windows, told.alike) == (2, 1) and told.difference == pytest.approx(0.2)


def test_rows_for_a_package_are_those_that_were_counted(stream: Stream) -> None:
    rows = rows_of(stream, 2)
    for name, cells in stream.columns.items():
        own = rows.filter(rows["window"] == BEFORE + 1)[name]
        assert own.null_count() == cells.counts[BEFORE + 1, -1]
        assert own.drop_nulls().n_unique() == (cells.counts[BEFORE + 1, :-1] > 0).sum()
    assert rows["window"].max() == BEFORE + 1


def test_accuracy_is_known_where_labels_are_in() -> None:
    history = model_windows(make_stream(TINY, 7, windows=20), TINY, 7, late=0.5)
    known = accuracies(history)
    assert [one is None for one in known] == [not one.labelled for one in history]
    right, rows = np.array([one for one in known if one]).sum(axis=0)
    assert 0.75 < right / rows < 0.95


def test_other_tools_are_installed_as_they_were_measured() -> None:
    folder = PAGE.parents[1] / "benchmarks"
    for package in (*PACKAGES, GLIDE):
        lines = (folder / f"requirements-{package}.txt").read_text("utf-8").splitlines()
        assert all(re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
        assert any(line.startswith(f"{package}==") for line in lines)


def test_what_is_said_of_an_incident_is_told_by_its_changes() -> None:
    found = [(-1, "input drift", True), (2, "label fault", False), (3, "label fault", False), (4, "input drift", True)]
    told = Told(3, tuple(Found(delay, kind, (), performance) for delay, kind, performance in found))
    assert told.kinds == [(2, "label fault"), (4, "input drift")] and told.performance == 4


def test_each_part_has_its_place_in_the_page_with_the_command_that_made_it() -> None:
    page = PAGE.read_text("utf-8")
    for part in PARTS:
        _, mark, rest = page.partition(f"<!-- bench: detection {part} -->")
        table, end, _ = rest.partition("<!-- end -->")
        assert mark and end and f"--part {part}" in table, part


def test_the_chart_has_a_point_for_each_budget_that_says_which() -> None:
    drawn = ElementTree.fromstring(draw([Spent(A_YEAR / 90, 2.3, 0.4), Spent(A_YEAR / 365, 1.0, math.nan)]))
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-2:] == ["1 per 90d", "1 per 365d"]
    points = [
        (float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawn.iter("{http://www.w3.org/2000/svg}circle")
    ]
    assert points[0][0] > points[1][0] and points[0][1] < points[1][1]


def test_what_is_said_is_kept_for_the_page_and_said() -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(_Tee(out)) as said:
        bench._say("| a |")
    assert said.recorded == out.getvalue() == "| a |\n"
