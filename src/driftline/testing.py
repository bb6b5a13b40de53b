"""A pytest plug-in: tests of data, of models, and of configurations (`RULE_TESTS`). pytest finds it by itself.

Heavy parts are imported when a test asks for them: a suite that has no such test pays nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from driftline.checks.report import Report
    from driftline.config.rule_tests import RuleTests
    from driftline.rules.contest import Contest

RULE_TESTS = ".driftline-test.yaml"
"""Files whose names end so hold tests of a configuration; see `driftline test`."""

_PAGES = pytest.StashKey[list[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--driftline-reports``."""
    parser.getgroup("driftline").addoption(
        "--driftline-reports", metavar="DIR", type=Path, help="Write a page for each check of data and of models here."
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect files of tests of a configuration."""
    if not file_path.name.endswith(RULE_TESTS):
        return None
    return _RuleTestsFile.from_parent(parent, path=file_path)


class _RuleTestsFile(pytest.File):
    def collect(self) -> Iterable[pytest.Item]:
        from driftline.config.rule_tests import RuleTests
        from driftline.errors import DriftlineError

        try:
            tests = RuleTests(self.path)
        except DriftlineError as error:
            raise self.CollectError(str(error)) from error
        for place, test in enumerate(tests.tests):
            yield _RuleTestItem.from_parent(self, name=test.name, tests=tests, place=place)


class _RuleTestItem(pytest.Item):
    def __init__(self, *, tests: RuleTests, place: int, **options: Any) -> None:
        super().__init__(**options)
        self._tests, self._place = tests, place

    def runtest(self) -> None:
        from driftline.errors import DriftlineError

        try:
            result = self._tests.run(self._place)
        except DriftlineError as error:
            pytest.fail(str(error), pytrace=False)
        if not result.passed:
            pytest.fail("\n".join(result.failures), pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


@pytest.fixture
def check_data(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """``check_data(reference, current, fail_on="any", **options)`` fails the test where there are alerts.

    The options are those of `driftline.check`; ``fail_on`` is one or more of any, drift, performance, quality,
    rule and never. Returns the report.
    """

    def check_data(reference: Any, current: Any, *, fail_on: str | Iterable[str] = "any", **options: Any) -> Report:
        from driftline.checks.api import check

        report = check(reference, current, **options)
        page = _write(request, report.to_html())
        if found := report.alerts_of(fail_on):
            pytest.fail("\n".join([*(alert.message for alert in found), *page]), pytrace=False)
        return report

    return check_data


@pytest.fixture
def gate_model(request: pytest.FixtureRequest) -> Callable[..., Contest]:
    """``gate_model(champion, challenger, data, label="y", **options)`` fails the test where the challenger is held.

    Models are files or frames of predictions, or functions of a Polars frame of features. The options are ``id``,
    ``time``, ``time_format``, ``missing``, ``prediction``, ``score``, ``segments``, ``task``, ``positive``,
    ``trained_until``, and the settings of a contest, such as ``measure``, ``margin`` and ``floor``. Returns
    the contest.
    """

    def gate_model(champion: Any, challenger: Any, data: Any, *, label: str, **options: Any) -> Contest:
        from driftline.checks.labelled import GateColumns
        from driftline.reports.contest_html import contest_html
        from driftline.retrain.gate import hold
        from driftline.rules.contestants import Settings

        names = {"id", "time", "prediction", "score", "segments", "missing", "time_format"}
        columns = GateColumns(label=label, **{name: options.pop(name) for name in names & options.keys()})
        known = {name: options.pop(name) for name in Settings.__struct_fields__ if name in options}
        contest = hold(champion, challenger, data, columns, Settings(**known), **options)
        page = _write(request, contest_html(contest))
        if contest.decision != "promote":
            closed = [f"✗ {gate.name}: {gate.reason}" for gate in contest.gates if gate.passed is False]
            pytest.fail("\n".join([f"{contest.challenger} is held.", *closed, *page]), pytrace=False)
        return contest

    return gate_model


def _write(request: pytest.FixtureRequest, text: str) -> list[str]:
    folder: Path | None = request.config.getoption("--driftline-reports")
    if folder is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-")[-150:]
    taken = request.config.stash.setdefault(_PAGES, [])
    names = (f"{stem}.html", *(f"{stem}-{number}.html" for number in range(2, 10_000)))
    path = next(folder / name for name in names if folder / name not in taken)
    path.write_text(text, encoding="utf-8")
    taken.append(path)
    return [f"Report: {path}"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where the pages are."""
    if pages := config.stash.get(_PAGES, []):
        terminalreporter.write_line(f"driftline: {len(pages)} reports in {pages[0].parent}")
