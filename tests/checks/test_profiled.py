"""A check of profiles says what a check of their rows says, but for what rests on single rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import driftline
from driftline.cli.main import main
from driftline.config.load import load
from driftline.engines.local import profile_sources
from driftline.engines.stored import StoredProfiles, open_profiles, stored_frame
from driftline.errors import DataError, UsageError
from driftline.monitoring.layouts import layout_of_model
from driftline.sources.profiled import TELLING
from driftline.sources.rows import FrameRows

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SAID: dict[str, Any] = {"prediction": "said", "score": "p", "label": "y", "time": "at", "positive": "1"}


def rows(days: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    drawn, size = np.random.default_rng(seed), days * 60
    score = drawn.random(size)
    return pl.DataFrame(
        {
            "at": [BEGIN + timedelta(minutes=24 * place) for place in range(size)],
            "x": drawn.normal(shift, 1, size),
            "k": drawn.choice(["a", "b", "c"], size),
            "p": score,
            "said": (score > 0.5).astype(np.int64),
            "y": (drawn.random(size) < score).astype(np.int64),
        }
    ).with_columns(x=pl.when(pl.int_range(pl.len()) % 11 > 0).then("x"), y=pl.when(pl.col("p") < 0.9).then("y"))


class Tables:
    def __init__(self, folder: Path) -> None:
        self.reference, self.current = rows(12, 1), rows(9, 2, shift=0.8)
        self.reference.write_parquet(folder / "reference.parquet")
        columns = {"time": "at", "prediction": "said", "score": "p", "label": "y", "segments": ["k"]}
        model = {"task": "binary", "columns": columns, "reference": {"path": "reference.parquet"}}
        (folder / "driftline.yaml").write_text(yaml.safe_dump({"models": {"m": model}}))
        self.config = folder / "driftline.yaml"
        self.layout = layout_of_model(load(self.config).models["m"])
        self.of_reference, self.of_current = (self.made(folder, side) for side in ("reference", "current"))

    def made(self, folder: Path, side: str) -> Path:
        table = profile_sources([FrameRows(getattr(self, side), side)], self.layout)
        path = folder / f"of-{side}.parquet"
        stored_frame(table, self.layout, "m", "1").write_parquet(path)
        return path


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return Tables(tmp_path_factory.mktemp("check"))


def facts(report: Any) -> Any:
    """What both kinds of check look at: the columns in which nothing is approximate, performance, alerts on these."""
    told = report.to_dict()
    columns = {one["column"]: (one["drift"]["value"], one["missing"], one["unseen"]) for one in told["columns"]}
    return told["verdict"], told["rows"], columns, told["performance"], told["label_coverage"], told["alerts"]


def test_each_table_is_decoded_once(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def counted(given: Any) -> StoredProfiles:
        opened.append(given)
        return open_profiles(given)

    monkeypatch.setattr("driftline.checks.profiled.open_profiles", counted)
    driftline.check(tables.of_reference, tables.of_current)
    assert opened == [tables.of_reference, tables.of_current]


def test_the_columns_that_tell_a_table_of_profiles_are_those_that_it_has(tables: Tables) -> None:
    assert set(pl.read_parquet_schema(tables.of_current)) == TELLING | {"checksum"}


def test_profiles_on_either_side_or_both_say_what_rows_say(tables: Tables) -> None:
    of_rows = driftline.check(tables.reference, tables.current, segments=["k"], multivariate="none", **SAID)
    assert of_rows.verdict == "alert"
    for pair in (
        (tables.of_reference, tables.of_current),
        (tables.reference, tables.of_current),
        (tables.of_reference, tables.current),
        (pl.read_parquet(tables.of_reference), str(tables.of_current)),
    ):
        report = driftline.check(*pair)
        assert facts(report) == facts(of_rows)
        assert "profiles have no rows: relations between columns and repeated rows are not looked at" in report.notes
        assert report.duplicates.current is None
        assert report.dependence is None
    assert driftline.check(tables.of_reference, tables.of_reference).verdict == "ok"


def test_rules_and_what_was_said_apply(tables: Tables) -> None:
    report = driftline.check(tables.reference, tables.of_current, rules=["accuracy < 0.99"], **SAID)
    assert next(one.kind for one in report.alerts) == "rule"
    report = driftline.check(tables.reference, tables.of_current, measures={"cost": lambda frame: 1.0})
    assert "measures of one's own are left out (cost): they rest on rows" in report.notes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"label": "truth"}, "label 'truth' came, and the profiles were made with 'y'; leave it out"),
        ({"cluster": "k"}, "cluster 'k' came, and the profiles were made with none"),
        ({"task": "regression"}, "task"),
        ({"positive": "0"}, "positive '0' came, and the profiles were made with '1'"),
        ({"rules": ["drift.z > 0.5"]}, "z"),
    ],
)
def test_what_was_made_otherwise_is_refused(tables: Tables, given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        driftline.check(tables.reference, tables.of_current, **given)
    assert words in str(refused.value)


def test_tables_that_were_not_made_alike_are_refused(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "driftline.yaml").write_text(tables.config.read_text().replace("task:", "window: 1w\n    task:"))
    tables.reference.write_parquet(tmp_path / "reference.parquet")
    layout = layout_of_model(load(tmp_path / "driftline.yaml").models["m"])
    weekly = stored_frame(profile_sources([FrameRows(tables.current, "rows")], layout), layout, "m", "1")
    with pytest.raises(DataError, match="the windows differ; profile both with one configuration"):
        driftline.check(tables.of_reference, weekly)
    report = driftline.check(tables.reference, weekly)  # weeks do not tell how many rows a day has
    assert not [note for note in report.notes if "gap" in note or "no time" in note]
    with pytest.raises(DataError, match="has no rows"):
        driftline.check(tables.reference.clear(), tables.of_current)


def test_the_command_holds_profiles_to_the_configuration(
    tables: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(tables.config.parent / "reference.parquet"), str(tables.of_current)]
    with pytest.raises(SystemExit) as end:
        main(["check", *sides, "--config", str(tables.config)])
    assert (end.value.code, capsys.readouterr().err) == (1, "")
    (tmp_path / "driftline.yaml").write_text(tables.config.read_text())
    tables.current.write_parquet(tmp_path / "reference.parquet")
    with pytest.raises(SystemExit) as end:
        main(["check", *sides, "--config", str(tmp_path / "driftline.yaml")])
    assert end.value.code == 2
    assert "the grids of numbers differ; profile the rows again with this configuration" in capsys.readouterr().err
