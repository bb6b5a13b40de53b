"""`driftline demo --files`: the weather of the demo as files that anybody can read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from driftline.cli import demo
from driftline.demo.weather import FEATURES, days_after_training, read_weather, weather_files
from driftline.errors import UsageError


def write(folder: Path) -> Result:
    return CliRunner().invoke(demo.command, ["--files", str(folder)], standalone_mode=False)


def test_the_files_have_every_day_once_with_what_the_demo_knows_of_it(tmp_path: Path) -> None:
    done = write(tmp_path / "new" / "folder")
    assert done.exception is None and done.return_value == 0
    weather, corrected = (tmp_path / "new" / "folder" / name for name in ("weather.csv", "corrected.csv"))
    assert done.output.split() == ["wrote", str(weather), "wrote", str(corrected)]
    published, right = (pl.read_csv(path, try_parse_dates=True) for path in (weather, corrected))
    assert published.columns == ["date", *FEATURES, "weather"] and right.columns == ["date", "weather"]
    assert published["date"].is_unique().all() and published["date"].is_sorted()
    assert len(published) == len(right) == len(read_weather()) == 1461
    days = {day.date: day for day in days_after_training()}
    for row, label in zip(published.iter_rows(named=True), right["weather"], strict=True):
        if (day := days.get(row["date"])) is not None:
            assert (day.weather, day.corrected) == (row["weather"], label)
            assert day.features == {name: row[name] for name in FEATURES}


def test_the_labels_differ_from_april_2013_on_and_not_before() -> None:
    published, right = (pl.read_csv(file.text.encode()) for file in weather_files())
    wrong = published.filter(published["weather"] != right["weather"])
    assert wrong["date"].min() == "2013-04-04" and len(wrong) > 300


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    assert write(tmp_path).exception is None
    assert write(tmp_path).output.split()[::2] == ["unchanged", "unchanged"]
    (tmp_path / "weather.csv").write_text("mine")
    (tmp_path / "corrected.csv").unlink()
    done = write(tmp_path)
    assert isinstance(done.exception, UsageError) and "move it away" in str(done.exception)
    assert (tmp_path / "weather.csv").read_text() == "mine" and not (tmp_path / "corrected.csv").exists()


@pytest.mark.parametrize("options", [["--exit"], ["--json"], ["--webhook", "http://127.0.0.1:9"]])
def test_with_other_options_nothing_is_served_either(tmp_path: Path, options: list[str]) -> None:
    done = CliRunner().invoke(demo.command, [*options, "--files", str(tmp_path)], standalone_mode=False)
    assert done.return_value == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corrected.csv", "weather.csv"]
