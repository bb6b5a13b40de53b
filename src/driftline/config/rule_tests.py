"""Files of tests of a configuration: read as strictly as the configuration itself, and run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from driftline.config.load import Config, load, read_text
from driftline.config.strict_yaml import Reader, SourceFile, section_of
from driftline.errors import DriftlineError
from driftline.fields import Text
from driftline.monitoring.rule_tests import RuleTestResult, RuleTestResults, RuleTestSection, run_rule_test

DEFAULT_CONFIG = "driftline.yaml"


class RuleTestsSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A file of tests; ``config`` is the configuration that they are of, its path beginning at the file's folder."""

    tests: Annotated[list[RuleTestSection], Meta(min_length=1)]
    config: Text = DEFAULT_CONFIG


class RuleTests:
    """The tests of a file and the configuration that they are of. Raises `ConfigError` for what is wrong with either.

    ``config`` is another configuration than the one that the file names.
    """

    def __init__(self, path: Path, config: Path | None = None) -> None:
        self._file = SourceFile(path)
        plain = Reader(self._file).read(read_text(path, "write one; `driftline test` runs it"))
        section = section_of(self._file, plain, RuleTestsSection)
        self.tests = tuple(section.tests)
        self._config: Config = load(config if config is not None else path.parent / section.config)

    def run(self, place: int) -> RuleTestResult:
        """Run one of the tests. A mistake in it is a `ConfigError` at its line."""
        test, models = self.tests[place], self._config.models
        key = ("tests", str(place))
        if test.model is None and len(models) != 1:
            raise self._file.error(key, f"the configuration has {len(models)} models; name one of them with `model`")
        name = test.model if test.model is not None else next(iter(models))
        if name not in models:
            raise self._file.error((*key, "model"), f"unknown model {name!r}; known: {', '.join(models)}")
        try:
            return run_rule_test(models[name], test)
        except DriftlineError as error:
            raise self._file.error(key, str(error)) from error

    def run_all(self) -> RuleTestResults:
        """Run all tests, in order."""
        return RuleTestResults.of([self.run(place) for place in range(len(self.tests))])
