"""The report of a check: in a terminal of any width and encoding, as one page, as JSON, and as an exit code."""

from __future__ import annotations

import html.parser
import io
import json
import os
import re
import types
import typing
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

import driftline
from driftline.checks.report import Report
from driftline.cli import check as check_command
from driftline.errors import AlertsFound, DataError, UnknownNameError
from driftline.profiles import CategoricalColumn, Column, CompositeColumn, NumericColumn
from driftline.reports.bars import Bars
from driftline.reports.drawn import bars_for
from driftline.reports.report_html import QUIET_CHARTS
from driftline.reports.report_json import document, to_json
from driftline.reports.report_text import ROWS_SHOWN, Characters, renderables
from driftline.reports.words import cleaned, fallen
from driftline.results.check import (
    FAIL_ON,
    Alert,
    BothSides,
    CalibrationPoint,
    CheckReport,
    ColumnReport,
    ComparedMeasure,
    ConfusionCount,
    DependenceReport,
    Drift,
    MeasureReport,
    Positive,
    RelationChange,
    RuleAlert,
    RuleReport,
    SegmentReport,
)
from driftline.rules import Severity, State
from driftline.statistics import CATALOGUE

ROWS = 300


NO_SCORES = ComparedMeasure(problem="no scores")


def numbers(seed: int, middle: float) -> NumericColumn:
    return NumericColumn.of(pl.Series(np.random.default_rng(seed).normal(middle, 1.0, ROWS)))


def categories(names: str, seed: int = 0) -> CategoricalColumn:
    return CategoricalColumn.of(pl.Series(np.random.default_rng(seed).choice(names.split(), ROWS)))


CURVES: dict[str, Any] = {
    "confusion": (
        ConfusionCount("rain", "rain", 90, 50),
        ConfusionCount("rain", "sun", 10, 50),
        ConfusionCount("sun", "sun", 200, 200),
    ),
    "calibration": BothSides(
        (CalibrationPoint(0.25, 0.2, 0.15, 0.25, 300),), (CalibrationPoint(0.25, 0.5, 0.4, 0.6, 300),)
    ),
    "gains": BothSides(tuple(min(at / 5, 1.0) for at in range(1, 11)), tuple(at / 10 for at in range(1, 11))),
    "errors": (numbers(1, 0.0), numbers(2, 1.0)),
}


def measure(value: float, before: float | None = None, *, n: int = ROWS, rows_before: int = ROWS) -> ComparedMeasure:
    reference = None if before is None else MeasureReport(before, before - 0.02, before + 0.02, rows_before)
    worse = before is not None and value < before - 0.04
    return ComparedMeasure(value, value - 0.02, value + 0.02, n, reference=reference, worse=worse)


def column(
    name: str, *, drifted: bool = True, measure: str = "wasserstein", value: float = 0.8, **more: Any
) -> ColumnReport:
    drift = Drift(
        measure=measure,
        value=value,
        threshold=0.1,
        drifted=drifted,
        p_value=0.0001 if drifted else 0.7,
        reason=f"{value} was measured",
        distances={"js": 0.3, "wasserstein": value},
    )
    changes = ("median 4 → 5",) if drifted else ()
    return plain_column(name, drift, BothSides(0.0, 0.1), changes=changes, **more)


def plain_column(name: str, drift: Drift, missing: BothSides[float | None], **more: Any) -> ColumnReport:
    return ColumnReport(column=name, role="feature", kind="numeric", drift=drift, missing=missing, **more)


def report_of(
    columns: Sequence[ColumnReport], profiles: Mapping[str, tuple[Column | None, Column | None]], **more: Any
) -> Report:
    alerts = tuple(
        Alert("drift", found.column, "wasserstein", 0.8, 0.1, f"feature {found.column} has drifted")
        for found in columns
        if found.drift.drifted
    )
    plain: dict[str, Any] = {
        "rows": BothSides(ROWS, ROWS),
        "columns": {found.column: found for found in columns},
        "profiles": profiles,
    }
    alerts = (*more.pop("alerts", ()), *alerts)
    return Report(verdict="alert" if alerts else "ok", alerts=alerts, **(plain | more))


@pytest.fixture(scope="module")
def whole() -> Report:
    """Something of everything."""
    names = ["wind", "sky", "a_rather_long_name_of_a_column_that_goes_on_and_on", "日本語の列"]
    columns = [
        *(column(name) for name in names),
        plain_column("gone", Drift(drifted=True, reason="is gone"), BothSides(0.0, None)),
        plain_column("new", Drift(), BothSides(None, 0.0), problem="is not in the reference"),
        column("quiet", drifted=False, value=0.01),
    ]
    profiles: dict[str, tuple[Column | None, Column | None]] = {
        name: (numbers(1, 4.0), numbers(2, 5.0)) for name in (*names, "quiet")
    }
    profiles["sky"] = (categories("rain sun fog"), categories("rain sun " + " ".join(f"new{i}" for i in range(40))))
    profiles |= {"gone": (numbers(1, 0.0), None), "new": (None, numbers(1, 0.0))}
    return report_of(
        columns,
        profiles,
        alerts=(
            Alert("performance", None, "accuracy", 0.7, 0.88, "accuracy fell from 0.9 on the reference to 0.7"),
            Alert("quality", "id", "duplicates", 0.2, 0.01, "id id repeats: 20 % of the rows"),
        ),
        performance={"accuracy": measure(0.7, 0.9), "log_loss": NO_SCORES},
        label_coverage=MeasureReport(0.5, 0.48, 0.52, ROWS),
        duplicates=BothSides(0.0, 0.2),
        classes={"rain": {"recall": measure(0.5, 0.9)}, "sun": {"recall": measure(0.9, 0.9)}},
        segments=(
            SegmentReport("side", "east", {"accuracy": measure(0.5, 0.9)}),
            SegmentReport("side", "west", {"accuracy": measure(0.9, 0.9)}),
            SegmentReport("side", "north", {"accuracy": NO_SCORES}),
        ),
        dependence=DependenceReport(
            "correlation",
            0.9,
            0.1,
            drifted=True,
            p_value=0.0,
            problem=None,
            reason="the correlation of wind and sky went from 0.9 to 0.0",
            pairs=(
                RelationChange(("wind", "sky"), ("gaps in wind", "sky = rain"), 0.9, 0.0, 0.0),
                RelationChange(("wind", "quiet"), ("wind", "quiet"), 0.5, 0.2, 0.001),
            ),
        ),
        notes=("new is new",),
        **CURVES,
    )


def printed(report: Report, *, width: int = 80, encoding: str = "utf-8") -> str:
    target = io.StringIO()
    console = Console(file=target, width=width, highlight=False, markup=False, emoji=False, color_system=None)
    for part in renderables(report, report.profiles, encoding=encoding):
        console.print(part)
    return target.getvalue()


# ---- in a terminal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp437", "no such encoding"])
def test_it_fits_the_terminal_and_its_signs(whole: Report, width: int, encoding: str) -> None:
    said = printed(whole, width=width, encoding=encoding)
    assert max(map(cell_len, said.splitlines())) <= width
    said.encode(encoding if encoding.islower() and " " not in encoding else "ascii")
    assert said.startswith("ALERT: 7 alerts found")


@pytest.mark.parametrize("width", [80, 120])
def test_words_stay_whole_and_the_worst_comes_first(whole: Report, width: int) -> None:
    lines = [line.strip() for line in printed(whole, width=width).splitlines()]
    starts = [next(at for at, line in enumerate(lines) if line.startswith(word)) for word in _ORDER]
    assert starts == sorted(starts)
    wind = lines[starts[_ORDER.index("wind")]]
    assert re.search(r"wind +[ ▁▂▃▄▅▆▇█]{10} +[▁▂▃▄▅▆▇█][ ▁▂▃▄▅▆▇█]* +shift 0.80 +median 4 → 5$", wind)
    assert any(line.startswith("accuracy") and line.endswith("0.900  worse") for line in lines)
    assert "log_loss: no scores" in lines
    assert any(line.startswith("side = east  accuracy") for line in lines)
    assert not any(line.startswith("side = west") for line in lines)
    assert "1 of 3 segments: no worse than on the reference" in lines
    assert "1 of 3 segments: nothing to compare on both sides" in lines
    assert any(line.startswith("rain   recall") for line in lines)


_ORDER = [
    "ALERT",
    "accuracy fell",
    "wind",
    "minimum effect sizes (--floor): shift 0.10 SD",
    "The other column: no drift",
    "accuracy  ",
    "50 % of the current rows have a label",
    "side = east",
    "rain ",
    "gaps in wind and sky = rain",
    "note: new is new",
]


def test_at_most_so_many_columns_are_shown_and_it_says_where_the_others_are() -> None:
    names = [f"column{i}" for i in range(100)]
    same = numbers(1, 0.0), numbers(2, 1.0)
    said = printed(report_of([column(name) for name in names], dict.fromkeys(names, same)))
    shown = [line for line in said.splitlines() if line.startswith("column") and "shift" in line]
    assert len(shown) == ROWS_SHOWN <= 25
    assert f"and {100 - ROWS_SHOWN} more; --json and --html have them all" in said


def test_many_alerts_on_performance_are_counted() -> None:
    many = tuple(Alert("performance", "s", "accuracy", 0.1, 0.5, f"accuracy of {i} fell") for i in range(100))
    said = printed(report_of([], {}, alerts=many))
    assert 0 < said.count(" fell") <= 15
    assert f"and {100 - said.count(' fell')} more such alerts" in said


def test_repeated_rows_are_told_once() -> None:
    quiet = report_of([], {}, duplicates=BothSides(0.0, 0.2))
    assert printed(quiet).count("repeat") == 1
    assert printed(replace(quiet, notes=("20 % of the current rows repeat another one",))).count("repeat") == 1
    assert "repeat" not in printed(replace(quiet, duplicates=BothSides(0.0, 0.0)))


def test_a_report_prints_as_the_command_does_and_is_one_line_in_a_list(whole: Report) -> None:
    assert str(whole) == "\n".join(line.rstrip() for line in printed(whole).splitlines())
    assert repr(whole) == "<Report: 7 alerts, 5 of 7 columns drifted, 300 current rows against 300>"


def test_an_empty_report_is_a_verdict() -> None:
    assert printed(report_of([], {})).splitlines()[0] == "OK: no alert"


def test_the_part_that_speaks_is_named() -> None:
    found = column("order")
    part = replace(found, drift=replace(found.drift, part="hour of day"))
    assert "hour of day:" in printed(report_of([part], {}), width=120)
    named = replace(part, changes=("hour of day: 03 1 % → 9 %",))
    assert printed(report_of([named], {}), width=120).count("hour of day") == 1


@given(text=st.text(), encoding=st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252", "shift_jis"]))
def test_any_name_can_be_written_and_moves_nothing(text: str, encoding: str) -> None:
    written = Characters(encoding).text(text, longest=40).plain
    written.encode(encoding)
    assert not any(unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp") for sign in written)
    assert len(cleaned(text)) == len(text) and cleaned(cleaned(text)) == cleaned(text)


@given(
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    encoding=st.sampled_from(["utf-8", "ascii"]),
)
def test_a_higher_share_never_has_a_lower_block(shares: list[float], encoding: str) -> None:
    characters = Characters(encoding)
    heights = [characters.blocks.index(block) for block in characters.spark(shares, max(*shares, 1e-9))]
    assert [height > 0 for height in heights] == [share > 0 for share in shares]
    ordered = [height for _, height in sorted(zip(shares, heights, strict=True))]
    assert ordered == sorted(ordered)


# ---- what is worse -----------------------------------------------------------------------------------------


def test_the_parts_that_fell_farthest_come_first_and_others_not_at_all() -> None:
    parts = [
        ("north", {"accuracy": measure(0.80, 0.90), "recall": measure(0.1, 0.9)}),
        ("south", {"accuracy": measure(0.90, 0.90)}),
        ("east", {"accuracy": measure(0.89, 0.90), "recall": measure(0.4, 0.9)}),
        ("west", {"accuracy": NO_SCORES}),
    ]
    assert [(part.where, part.name) for part in fallen(parts)] == [("east", "recall"), ("north", "accuracy")]


# ---- exit codes --------------------------------------------------------------------------------------------

KINDS = ("drift", "performance", "quality")


@given(there=st.sets(st.sampled_from(KINDS)), asked=st.lists(st.sampled_from(FAIL_ON)))
def test_only_alerts_of_the_asked_kinds_fail(there: set[Any], asked: list[str]) -> None:
    report = report_of([], {}, alerts=tuple(Alert(kind, None, "m", 1.0, 0.5, f"{kind} is bad") for kind in there))
    fails = bool(there) if "any" in asked else bool(there & set(asked))
    assert bool(report.alerts_of(asked)) == fails
    assert report.verdict == ("alert" if there else "ok")
    if fails:
        with pytest.raises(AlertsFound, match="is bad"):
            report.raise_for_alerts(asked)
    else:
        report.raise_for_alerts(asked)


def test_one_kind_may_be_a_word_and_an_unknown_one_names_the_known() -> None:
    report = report_of([column("wind")], {})
    report.raise_for_alerts("performance")
    with pytest.raises(AlertsFound):
        report.raise_for_alerts()
    with pytest.raises(UnknownNameError, match=r"'drifts'; known: any, drift, .*Did you mean 'drift'"):
        report.raise_for_alerts("drifts")


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The command's check() replaced by one drifted column; holds what it was called with."""
    came: dict[str, Any] = {}

    def check(reference: str, current: str, **options: Any) -> Report:
        came.update(options, files=(reference, current))
        return report_of([column("wind")], {})

    monkeypatch.setattr("driftline.checks.api.check", check)
    return came


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--fail-on", "any"], 1),
        (["--fail-on", "never"], 0),
        (["--fail-on", "performance"], 0),
        (["--fail-on", "performance, drift"], 1),
        (["--fail-on", "performance", "--fail-on", "drift"], 1),
        (["--fail-on", "performance", "--fail-on", "quality,never"], 0),
    ],
)
def test_fail_on_chooses_the_exit_code_and_nothing_else(checked: dict[str, Any], options: list[str], code: int) -> None:
    done = CliRunner().invoke(check_command.command, ["a", "b", "--json", *options], standalone_mode=False)
    assert done.return_value == code
    assert json.loads(done.stdout)["verdict"] == "alert"
    assert "fail_on" not in checked


@pytest.mark.parametrize("wrong", ["drifts", "", "drift,", "ANY"])
def test_an_unknown_kind_is_a_mistake(checked: dict[str, Any], wrong: str) -> None:
    done = CliRunner().invoke(check_command.command, ["a", "b", "--fail-on", wrong], standalone_mode=False)
    assert isinstance(done.exception, UnknownNameError)
    assert "known: any, drift, never, performance, quality" in str(done.exception)
    assert not checked


def test_options_reach_the_check_and_files_are_not_looked_for(checked: dict[str, Any]) -> None:
    given = ["s3://bucket/*.parquet", "no such file", "--segment", "a", "--segment", "b", "--multivariate", "none"]
    given += ["--floor", "js=0.2", "--floor", "rows=50"]
    done = CliRunner().invoke(check_command.command, given, standalone_mode=False)
    assert done.return_value == 1, done.output
    assert checked["files"] == ("s3://bucket/*.parquet", "no such file")
    assert checked["segments"] == ("a", "b")
    assert checked["multivariate"] == "none"
    assert (checked["floors"].js, checked["floors"].rows) == (0.2, 50)
    assert checked["progress"] is None
    assert not {"time", "label", "task"} & checked.keys()


def test_warnings_of_libraries_are_not_on_stderr(checked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def check(reference: str, current: str, **options: Any) -> Report:
        warnings.warn("'(default_)region' not set; polars will try to get it from bucket", UserWarning, stacklevel=2)
        raise DataError("the bucket is not there")

    monkeypatch.setattr("driftline.checks.api.check", check)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        done = CliRunner().invoke(check_command.command, ["a", "b"], standalone_mode=False)
    assert isinstance(done.exception, DataError)
    assert not seen


# ---- as JSON -----------------------------------------------------------------------------------------------


def test_json_has_every_room(whole: Report) -> None:
    document = json.loads(whole.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["duplicates"] == {"reference": 0.0, "current": 0.2}
    assert document["performance"]["accuracy"]["reference"]["value"] == 0.9
    assert document["performance"]["log_loss"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "confidence": 0.95,
        "problem": "no scores",
        "reference": None,
        "worse": False,
    }
    assert document["classes"]["rain"]["recall"]["reference"]["value"] == 0.9
    assert document["segments"][0]["column"] == "side" and document["segments"][0]["value"] == "east"
    assert document["segments"][0]["performance"]["accuracy"]["value"] == 0.5
    assert document["dependence"]["pairs"][0] == {
        "columns": ["wind", "sky"],
        "labels": ["gaps in wind", "sky = rain"],
        "reference": 0.9,
        "current": 0.0,
        "p_value": 0.0,
    }
    assert document["confusion"][1] == {"label": "rain", "prediction": "sun", "reference": 10, "current": 50}
    assert document["calibration"]["current"] == [{"score": 0.25, "share": 0.5, "low": 0.4, "high": 0.6, "rows": 300}]
    assert document["gains"]["reference"][:2] == [0.2, 0.4]
    assert document["notes"] == ["new is new"]
    assert document["columns"][0]["out_of_range"] is None


def decoded(text: str) -> CheckReport:
    """The report that a JSON document was written from, without what only its pictures need."""
    plain = json.loads(text)
    plain["columns"] = {column["column"]: column for column in plain["columns"]}
    kinds = {one.name: one.type for one in msgspec.structs.fields(CheckReport) if one.name != "alerts"}
    alerts = (msgspec.convert(one, RuleAlert if one["kind"] == "rule" else Alert) for one in plain["alerts"])
    return CheckReport(alerts=tuple(alerts), **{name: msgspec.convert(plain[name], kinds[name]) for name in kinds})


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that a report has; numbers are finite."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(any_of, args))
    if origin is tuple:
        return st.lists(any_of(args[0]), max_size=2).map(tuple) if ... in args else st.tuples(*map(any_of, args))
    if origin is Mapping:
        return st.dictionaries(any_of(args[0]), any_of(args[1]), max_size=2)
    if isinstance(origin or kind, type) and issubclass(origin or kind, msgspec.Struct):
        return st.builds(origin or kind, **{one.name: any_of(one.type) for one in msgspec.structs.fields(kind)})
    return st.floats(allow_nan=False, allow_infinity=False) if kind is float else st.from_type(kind)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(any_of(CheckReport))
def test_the_document_says_all_that_the_report_does(report: CheckReport) -> None:
    columns = {column.column: column for column in report.columns.values()}
    named = replace(report, columns=columns)
    assert decoded(to_json(named)) == named


def test_the_keys_of_the_document_are_as_documented(whole: Report) -> None:
    found = document(whole)
    assert " ".join(found) == (
        "verdict rows duplicates columns performance label_coverage classes segments segment_changes confusion "
        "calibration gains dependence alerts rules notes positive guesses"
    )
    assert " ".join(found["columns"][0]) == "column role kind drift missing out_of_range unseen changes problem"
    drift = "measure value threshold drifted p_value part reason distances p_values"
    assert " ".join(found["columns"][0]["drift"]) == drift
    assert " ".join(found["alerts"][0]) == "kind column measure value threshold message"
    assert " ".join(found["dependence"]) == "measure value threshold drifted p_value problem reason pairs"
    rule = RuleReport(
        "low", Severity.PAGE, "accuracy", None, "accuracy < 1", State.OK, *[None] * 3, 0, 1.0, None, None, ""
    )
    ruled = document(replace(whole, rules=(rule,), positive=Positive("rain", True)))
    keys = "rule severity measure column condition state value low high n threshold bound confidence reason"
    assert " ".join(ruled["rules"][0]) == keys
    assert ruled["positive"] == {"class": "rain", "guessed": True, "by": None, "doubt": None}


# ---- as a page ---------------------------------------------------------------------------------------------

VOID = {"meta"}


class Page(html.parser.HTMLParser):
    """The words, tags and attributes of a page; every tag must be closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def test_the_page_says_everything(whole: Report, tmp_path: Path) -> None:
    text = whole.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    page = Page(text)
    for alert in whole.alerts:
        assert alert.message in page.text
    for words in ("new is new", "Repeated rows: 0 % → 20 %", "log_loss: no scores", "50 % of the current rows have"):
        assert words in page.text
    assert "gaps in wind and sky = rain" in page.text
    for words in ("side = east", "side = north", "is not in the reference", "0.8 was measured"):
        assert words in page.text
    assert page.text.count("worse") == 3  # accuracy as a whole, in the east, and the recall of rain
    assert page.count("article") == 5
    assert page.count("h1") == 1


def test_the_page_shows_who_is_taken_for_whom_and_what_scores_are_worth(whole: Report) -> None:
    page = Page(whole.to_html())
    for words in ("50 %50was 10 %", "Where the score is 0.250, 50 % of the rows are positive (interval 40 % to 60 %)"):
        assert words in page.text
    assert '<polyline class="was" points="50,160 50,160"/>' in whole.to_html()  # one point would not be drawn
    assert "The tenth of rows with the highest scores has 10 % of the positive ones, 20 % on the reference" in page.text
    assert "Errors: prediction less label" in page.text
    assert "0.800" in page.text and "p of chi_squared" in page.text  # every distance and test


def test_of_many_classes_the_most_common_mix_ups_are_told() -> None:
    names = [f"class {at}" for at in range(30)]
    right = [ConfusionCount(name, name, 100, 100) for name in names]
    wrong = [ConfusionCount(names[at], names[0], 3, 10 * at) for at in range(1, 30)]
    report = report_of(
        [],
        {},
        performance={"accuracy": measure(0.7, 0.9, n=6000, rows_before=3000)},
        confusion=(*right, *wrong),
    )
    page = Page(report.to_html())
    assert page.text.index("class 29") < page.text.index("class 20") and "class 19" not in page.text
    assert "4.8 %" in page.text and "0.1 %" in page.text  # 290 of 6,000 rows, 3 of 3,000


def test_every_drawing_has_words_and_every_id_is_one(whole: Report) -> None:
    text = whole.to_html()
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert drawings and all(re.match(r'<svg[^>]* role="img">\s*<title>[^<]+</title>', one) for one in drawings)
    identifiers = re.findall(r'\bid="([^"]*)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'aria-labelledby="([^"]*)"', text)) <= set(identifiers)


def test_a_thousand_columns_make_a_page_that_opens() -> None:
    names = [f"feature_{i:04}_of_many" for i in range(1000)]
    same = numbers(1, 0.0), numbers(2, 1.0)
    for drifted, charts in ((False, QUIET_CHARTS), (True, len(names))):
        report = report_of([column(name, drifted=drifted) for name in names], dict.fromkeys(names, same))
        text = report.to_html()
        assert len(text.encode()) < 5_000_000
        assert text.count("<svg") == charts
        assert all(f"<bdi>{name}</bdi>" in text for name in names)


def test_a_name_turns_nothing_around(whole: Report) -> None:
    name = "<b>\u202eevil\x00\n&"
    text = report_of(
        [column(name)], {name: (categories("\u202ea b"), categories("\u202ea c"))}, notes=(name,)
    ).to_html()
    assert not {"\u202e", "\x00"} & set(text)
    assert "&lt;b&gt;\N{REPLACEMENT CHARACTER}evil" in text
    assert Page(text).count("b") == 0


odd = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1e308, -1e308, 5e-324])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    name=st.text(max_size=20),
    before=st.lists(odd | st.sampled_from([float("inf"), float("nan")]), max_size=20),
    now=st.lists(odd, max_size=20),
    bounds=st.lists(odd, min_size=3, max_size=3).map(sorted),
    lost=st.sets(st.sampled_from(["value", "low", "high", "reference"])),
)
def test_whatever_was_measured_there_is_a_page_and_a_text(
    name: str, before: list[float], now: list[float], bounds: list[float], lost: set[str]
) -> None:
    profiles = {
        name: (
            NumericColumn.of(pl.Series(before, dtype=pl.Float64)),
            NumericColumn.of(pl.Series(now, dtype=pl.Float64)),
        )
    }
    ends = dict(zip(("low", "value", "high"), bounds, strict=True))
    then = None if "reference" in lost else MeasureReport(**ends, n=3)
    known = ComparedMeasure(**{key: None if key in lost else value for key, value in ends.items()}, n=3, reference=then)
    report = report_of(
        [column(name)],
        profiles,
        performance={"mae": known},
        segments=(SegmentReport(name, name, {"mae": known}), SegmentReport(name, "", {})),
    )
    text = report.to_html()
    Page(text)
    assert not re.search(r"\bnan\b|\binf\b", "".join(re.findall(r"<(?:path|rect|circle|line|svg)[^>]*>", text)))
    printed(report)


# ---- what is drawn -----------------------------------------------------------------------------------------


@given(
    before=st.lists(st.integers(0, 23), min_size=1),
    now=st.lists(st.integers(0, 23), min_size=1),
    most=st.none() | st.integers(1, 40),
)
def test_hours_are_drawn_in_their_order_and_none_is_lost(before: list[int], now: list[int], most: int | None) -> None:
    sides = [CategoricalColumn.of(pl.Series([f"{hour:02}" for hour in side])) for side in (before, now)]
    composite = tuple(CompositeColumn("datetime", side.rows, 0, {"hour of day": side}) for side in sides)
    order = plain_column("order", Drift(part="hour of day"), BothSides(0.0, 0.0))
    bars = bars_for(order, {"order": (composite[0], composite[1])}, most)
    assert bars is not None
    assert list(bars.names) == sorted(bars.names)
    assert len(bars.names) <= (most or 24)
    assert sum(bars.reference) == pytest.approx(1) and sum(bars.current) == pytest.approx(1)
    whole_day = bars_for(order, {"order": (composite[0], composite[1])})
    assert whole_day is not None
    assert whole_day.reference == pytest.approx([before.count(hour) / len(before) for hour in range(24)])


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1), st.integers(2, 30))
def test_categories_are_as_many_bars_as_there_is_room_for(values: list[str], most: int) -> None:
    side = CategoricalColumn.of(pl.Series(values))
    bars = bars_for(plain_column("letter", Drift(), BothSides(0.0, 0.0)), {"letter": (side, side)}, most)
    assert bars is not None
    assert len(bars.names) <= most
    assert sum(bars.reference) == pytest.approx(1)


def drawn(before: list[float], now: list[float]) -> Bars:
    sides = [NumericColumn.of(pl.Series(values)) for values in (before, now)]
    bars = bars_for(plain_column("p", Drift(), BothSides(0.0, 0.0)), {"p": (sides[0], sides[1])})
    assert bars is not None
    return bars


def test_an_axis_of_numbers_ends_at_a_value() -> None:
    assert drawn([0.0, 0.2, 1.0] * 20, [0.0, 1.0] * 30).ends == ("0", "1")  # and not at the edge of a cell, 1.01


def test_bars_at_the_ends_say_that_they_hold_all_that_is_further_out() -> None:
    values = [float(at) for at in range(200)]
    bars = drawn(values, [-1e6, *values, 1e9])
    assert bars.ends is not None
    assert bars.ends[0].endswith(" or less") and bars.ends[1].endswith(" or more")
    assert bars.names[0].endswith(" or less") and bars.names[-1].endswith(" or more")
    assert not any("or" in name for name in bars.names[1:-1])
    assert sum(bars.current) == pytest.approx(1)


# ---- in a browser ------------------------------------------------------------------------------------------

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not os.environ.get("CI"):
        pytest.importorskip("playwright", reason="needs playwright")
        if not CHROMIUM.exists():
            pytest.skip(f"needs {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=options)
        yield found
        found.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_in_a_browser_it_fits_and_is_read(browser: Any, whole: Report, tmp_path: Path, scheme: Any, width: int) -> None:
    whole.to_html(tmp_path / "report.html")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    try:
        page, wrong = context.new_page(), list[str]()
        page.on("console", lambda said: wrong.append(said.text))
        page.on("request", lambda one: None if one.url.startswith("file:") else wrong.append(one.url))
        page.goto((tmp_path / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        faint = page.evaluate(_FAINT)
        assert faint == []
        quiet = page.locator("details summary", has_text="without drift")
        assert not page.get_by_text("0.01 was measured").is_visible()
        quiet.focus()
        page.keyboard.press("Enter")
        assert page.get_by_text("0.01 was measured").is_visible()
        page.keyboard.press("Enter")
        page.emulate_media(media="print")
        assert page.get_by_text("0.01 was measured").is_visible()  # folded on screen, and still on paper
        assert wrong == []
    finally:
        context.close()


# Texts whose contrast is below WCAG's 4.5 (3 for drawings), each with the ground that it stands on.
_FAINT = r"""() => {
  const channels = colour => colour.match(/[\d.]+/g).map(Number)
    .map((c, at) => colour.startsWith("color(srgb") && at < 3 ? 255 * c : c);
  const light = colour => channels(colour).slice(0, 3).map(c => c / 255)
    .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  const look = (node, colour, least) => {
    const [a, b] = [light(colour), light(ground(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < least) faint.push([node.tagName, node.textContent.trim().slice(0, 30), colour]);
  };
  for (const node of document.querySelectorAll("main *")) {
    const style = getComputedStyle(node), own = [...node.childNodes].some(one => one.nodeType === 3 && one.data.trim());
    const drawn = node.tagName === "text";
    if (own && !["title", "desc"].includes(node.tagName)) look(node, drawn ? style.fill : style.color, 4.5);
    if (node.matches(".b")) look(node, style.fill, 3);
    if (node.matches(".n")) look(node, style.stroke, 3);
  }
  return faint;
}"""


# ---- the change by segment -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_segment() -> Report:
    """Rows of a hostile name grow more and fall; others stay."""
    name = "<b>{{ 1 }}\x1b[2J"
    before = pl.DataFrame({"side": [name, "west"] * 300, "y": [0, 1, 1, 0] * 150, "p": [0, 1, 1, 0] * 150})
    now = pl.DataFrame(
        {"side": [name, name, "west"] * 200, "y": [0, 1, 1, 0, 0, 1] * 100, "p": [0, 0, 1, 1, 0, 1] * 100}
    )
    return driftline.check(before, now, label="y", prediction="p", segments=["side"], task="binary")


def test_a_change_is_split_by_its_segments(by_segment: Report) -> None:
    [split] = by_segment.segment_changes
    assert split.change == pytest.approx(-1 / 3) and split.mix is not None and split.within is not None
    assert split.mix + split.within == pytest.approx(split.change)
    assert [one.state for one in split.segments] == ["worse", "no worse"]
    said = " ".join(printed(by_segment, width=120).split())
    assert re.search(r"accuracy 1\.000 → 0\.667 \(-0\.3333\) by side: mix -0\.\d{4}, within segments -0\.\d{4}", said)
    assert "\x1b" not in said
    shown = by_segment.to_html()
    assert "What each segment adds to it" in shown and "<b>{{" not in shown and "\x1b" not in shown
    assert document(by_segment)["segment_changes"][0]["segments"][0]["state"] == "worse"


def test_the_tables_call_worse_what_alerts(by_segment: Report) -> None:
    alerts = {one.measure for one in by_segment.alerts if one.column == "side" and one.kind == "performance"}
    assert (
        alerts
        and {name for part in by_segment.segments for name, measure in part.performance.items() if measure.worse}
        == alerts
    )
    assert by_segment.performance is not None
    judged = {name for name, one in by_segment.performance.items() if one.worse and CATALOGUE[name].judged}
    assert judged == {one.measure for one in by_segment.alerts if isinstance(one, Alert) and one.column is None}
    told = document(by_segment)["segments"][0]["performance"]["accuracy"]
    assert told["worse"] in (True, False)


def test_without_a_change_that_counts_the_terminal_says_nothing(by_segment: Report) -> None:
    [split] = by_segment.segment_changes
    calm = replace(by_segment, segment_changes=(replace(split, segments=split.segments[1:], change=-0.001),))
    assert "within segments" not in printed(calm)
    assert "within segments" in printed(replace(by_segment, segment_changes=(split,)))
