"""The story: a history by month, profiled where it lies, back-tested from its profiles: the same as from its rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from driftline.cli.main import main
from driftline.engines.stored import open_profiles, stored_frame
from driftline.errors import DataError, UsageError
from driftline.monitoring.profiling import require_free
from driftline.sources.profiled import is_profiles

BEGIN, DAYS, A_DAY, REFERENCE_DAYS = datetime(2025, 1, 1, tzinfo=UTC), 75, 40, 21


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history by month: a column appears with the second, its types differ, and a drift begins with the third."""
    folder = tmp_path_factory.mktemp("history")
    drawn = np.random.default_rng(7)
    size = DAYS * A_DAY
    day = np.arange(size) // A_DAY
    delay = drawn.gamma(2.0, 8.0, size) + np.where(day >= 60, 25.0, 0.0)
    score = 1 / (1 + np.exp((18 - delay) / 6))
    rows = pl.DataFrame(
        {
            "time": [BEGIN + timedelta(minutes=36 * place) for place in range(size)],
            "delay": np.round(delay, 1),
            "stops": drawn.integers(0, 4, size),
            "carrier": drawn.choice(["AA", "DL", "UA"], size),
            "score": score,
            "said": (score > 0.5).astype(np.int64),
            "late": (drawn.random(size) < score).astype(np.int64),
        }
    )
    rows = rows.with_columns(
        late=pl.when(pl.Series(drawn.random(size) > 0.03)).then("late"),
        wind=pl.when(pl.Series(day >= 31)).then(pl.Series(drawn.normal(9, 2, size))),
        release=pl.when(pl.Series(day >= 50)).then(pl.lit("v2")).otherwise(pl.lit("v1")),
    )
    known = rows[: REFERENCE_DAYS * A_DAY].with_columns(wind=pl.Series(drawn.normal(9, 2, REFERENCE_DAYS * A_DAY)))
    known.write_parquet(folder / "reference.parquet")
    (folder / "rows").mkdir()
    for month in (1, 2, 3):
        part = rows.filter(pl.col("time").dt.month() == month)
        if month == 1:
            part = part.drop("wind")
        if month == 2:
            part = part.with_columns(pl.col("stops").cast(pl.Int32), pl.col("carrier").cast(pl.Categorical))
        part.write_parquet(folder / "rows" / f"2025-{month:02}.parquet")
    rows.write_parquet(folder / "whole.parquet")
    rows.with_columns(pl.col("time").dt.strftime("%d.%m.%Y %H:%M")).write_csv(folder / "rows.csv")
    write_config(folder / "driftline.yaml")
    return folder


def write_config(path: Path, **others: Any) -> Path:
    rules = [
        {"name": "late", "measure": "accuracy", "below": 0.97},
        {"name": "wind-gone", "measure": "missing.wind", "above": 0.5},
    ]
    model: dict[str, Any] = {
        "task": "binary",
        "window": "1d",
        "timezone": "America/New_York",
        "columns": {"time": "time", "prediction": "said", "score": "score", "label": "late", "version": "release"}
        | {"features": ["delay", "stops", "carrier", "wind"], "segments": ["carrier"]},
        "reference": {"path": "reference.parquet"},
        "alerts": {"budget": "1 per 30d", "rules": rules},
    }
    path.write_text(yaml.safe_dump({"models": {"flights": model | others}}))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


@pytest.fixture
def inside(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(here)
    return here


def test_the_alerts_are_those_of_the_rows(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "profile", "rows", "--output", "year.parquet", "--json")
    told = json.loads(out)
    assert (code, told["model"], told["rows"], told["versions"]) == (0, "flights", DAYS * A_DAY, 2)
    assert told["bytes"] == Path("year.parquet").stat().st_size
    for month in ("2025-01", "2025-02", "2025-03"):
        assert said(capsys, "profile", f"rows/{month}.parquet", "--output", f"of-{month}.parquet")[0] == 0
    of_rows = said(capsys, "backtest", "whole.parquet", "--json")
    assert {"budget", "late", "wind-gone"} <= {alert["rule"] for alert in json.loads(of_rows[1])["alerts"]}
    assert said(capsys, "backtest", "of-*.parquet", "--json") == of_rows  # a window that two months share is merged


def test_every_way_to_write_the_rows_and_the_table_gives_the_same_bytes(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = {"whole.parquet": "a.parquet", "rows/*.parquet": "b.pq", "rows.csv": "table/"}
    for source, output in ways.items():
        code, _, err = said(capsys, "profile", source, "--output", output)
        assert (code, err) == (0, "")
    first, *others = (open_profiles(output) for output in ways.values())
    assert all(stored.table == first.table and stored.model == "flights" for stored in others)
    said(capsys, "profile", "rows/2025-01.parquet", "--output", "table/")  # its next version, and nothing of the last
    assert open_profiles("table").table.predictions == 31 * A_DAY
    said(capsys, "profile", "whole.parquet", "--output", "b.pq")
    assert Path("b.pq").read_bytes() == Path("a.parquet").read_bytes()


def test_what_was_profiled_is_said(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pl.read_parquet("whole.parquet").with_columns(
        time=pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise(pl.col("time"))
    )
    rows.write_parquet("odd.parquet")
    _, out, _ = said(capsys, "profile", "odd.parquet", "--output", "odd-profiles.parquet")
    first, second, third, _ = out.splitlines()
    assert first.startswith("3,000 rows, 2,")
    assert second == "7 rows have no time that can be read: they are in no window"
    assert third.startswith("76 windows of 2 versions written to odd-profiles.parquet, ")
    assert open_profiles("odd-profiles.parquet").table.predictions == 3_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.parquet", "--output", "p.parquet"], "there is no such file"),
        (["whole.parquet", "--output", "p.csv"], "allowed is a file that ends in .parquet, or a folder that ends in /"),
        (["whole.parquet", "--output", "whole.parquet"], "is there, and is no table of profiles; name another place"),
        (["whole.parquet", "--output", "rows/"], "is there, and is no table of profiles; name another place"),
        (
            ["whole.parquet", "--output", "{address}/whole.parquet"],
            "is there, and is no table of profiles; name another",
        ),
        (["whole.parquet", "--output", "no/p.parquet"], "make it first"),
        (["own.parquet", "--output", "p.parquet"], "is a table of profiles, which are made already"),
        (["other.parquet", "--output", "p.parquet"], "has none of the columns that the reference has: delay, stops"),
        (
            ["timeless.parquet", "--output", "p.parquet"],
            "none of its 3,000 rows has a time; profiles are",
        ),
        (["none.parquet", "--output", "p.parquet"], "it has no rows; profiles are made by window of time"),
        (["whole.parquet", "--output", "p.parquet", "--model", "x"], "unknown model 'x'"),
        (["whole.parquet", "--output", "p.parquet", "--engine", "abacus"], "'abacus' is not one of 'local', 'spark'"),
        (["whole.parquet", "--output", "p.parquet", "--config", "timeless.yaml"], "columns.time is not set"),
    ],
)
def test_what_cannot_be_profiled_is_refused_in_one_line(
    inside: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], words: str
) -> None:
    whole = pl.read_parquet("whole.parquet")
    if not Path("own.parquet").exists():
        said(capsys, "profile", "whole.parquet", "--output", "own.parquet")
    whole.select(z="delay").write_parquet("other.parquet")
    whole.drop("time").write_parquet("timeless.parquet")
    whole.clear().write_parquet("none.parquet")
    write_config(Path("timeless.yaml"), columns={"prediction": "said", "label": "late"}, alerts={})
    code, out, err = said(capsys, "profile", *(one.replace("{address}", inside.as_uri()) for one in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not Path("p.parquet").exists()
    assert whole.equals(pl.read_parquet("whole.parquet"))


def test_without_spark_its_engine_is_one_line(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("driftline.spark")
    code, _, err = said(capsys, "profile", "whole.parquet", "--output", "p.parquet", "--engine", "spark")
    assert code == 2
    assert "pip install" in err


def test_profiles_of_another_configuration_are_refused(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "profile", "whole.parquet", "--output", "year.parquet")
    for name, others, differ in (
        ("weekly", {"window": "1w"}, "windows"),
        ("other", {"reference": {"path": "rows/2025-03.parquet"}}, "grids of numbers"),
    ):
        config = write_config(Path(f"{name}.yaml"), **others)
        code, _, err = said(capsys, "backtest", "year.parquet", "--config", str(config))
        assert code == 2
        assert "another configuration or reference than that of flights" in err
        assert differ in err
        assert "profile the rows again with this configuration" in err


def test_a_stand_in_for_an_unknown_day_is_no_time(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pl.read_parquet("rows/2025-03.parquet")
    stand_ins = [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
    odd = rows.with_columns(time=pl.concat([pl.Series(stand_ins, dtype=rows["time"].dtype), rows["time"][2:]]))
    odd.write_parquet("stand-ins.parquet")
    config = str(write_config(Path("plain.yaml"), alerts={"budget": "none"}))
    _, out, _ = said(capsys, "profile", "stand-ins.parquet", "--output", "stood-in.parquet", "--json")
    assert json.loads(out)["without_time"] == 2
    of_rows = said(capsys, "backtest", "stand-ins.parquet", "--config", config, "--json")
    assert of_rows[0] == 0
    assert said(capsys, "backtest", "stood-in.parquet", "--config", config, "--json") == of_rows
    odd.write_parquet("reference-with-them.parquet")
    config = str(write_config(Path("plain.yaml"), reference={"path": "reference-with-them.parquet"}))
    assert said(capsys, "backtest", "stand-ins.parquet", "--config", config)[0] in (0, 1)


def test_a_table_of_profiles_is_no_reference(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "profile", "rows/2025-03.parquet", "--output", "march.parquet")
    config = str(write_config(Path("plain.yaml"), reference={"path": "march.parquet"}))
    code, _, err = said(capsys, "backtest", "whole.parquet", "--config", config)
    assert code == 2
    assert "march.parquet is a table of profiles; a reference is a file of the rows themselves" in err


def test_own_measures_are_left_out_with_a_note(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "profile", "rows/2025-03.parquet", "--output", "march.parquet")
    Path("costs.py").write_text("def cost(rows):\n    return 1.0\n")
    config = write_config(Path("own.yaml"), measures={"cost": "costs.py:cost"}, alerts={"budget": "none"})
    _, out, _ = said(capsys, "backtest", "march.parquet", "--config", str(config), "--json")
    notes = json.loads(out)["notes"]
    pl.read_parquet("march.parquet").with_columns(model=pl.lit("trains")).write_parquet("renamed.parquet")
    _, out, _ = said(capsys, "backtest", "renamed.parquet", "--config", str(config), "--json")
    assert "renamed.parquet has profiles of the model trains, not of flights." in json.loads(out)["notes"]
    assert "Measures of one's own are left out (cost): they rest on rows, which profiles do not have." in notes


def test_profiles_that_are_there_twice_are_said(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(write_config(Path("plain.yaml"), alerts={"budget": "none"}))
    said(capsys, "profile", "rows/2025-03.parquet", "--output", "once-1.parquet", "--config", config)
    shutil.copy("once-1.parquet", "once-2.parquet")
    words = f"once-*.parquet has {len(pl.read_parquet('once-1.parquet'))} profiles twice, of the same window"
    for history, expected in (("once-1.parquet", False), ("once-*.parquet", True)):
        for command in (["backtest", history, "--config", config], ["check", "reference.parquet", history]):
            _, out, _ = said(capsys, *command, "--json")
            assert (words in " ".join(json.loads(out)["notes"])) == expected


@pytest.mark.parametrize("first", ["rows", "profiles"])
def test_rows_and_profiles_together_are_refused(first: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(f"{first}-first")
    folder.mkdir()
    rows, made = ("1", "2") if first == "rows" else ("2", "1")
    shutil.copy("rows/2025-03.parquet", f"{folder}/mixed-{rows}.parquet")
    said(capsys, "profile", "rows/2025-03.parquet", "--output", f"{folder}/mixed-{made}.parquet")
    for command in (["check", "reference.parquet"], ["backtest"]):
        code, out, err = said(capsys, *command, f"{folder}/mixed-*.parquet")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"has files of rows ({folder}/mixed-{rows}.parquet) and tables of profiles" in err


def test_a_full_disk_is_one_line(inside: Path) -> None:
    output = "full/"  # Delta Lake raises errors of its own
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
    run = f"{limited}from driftline.cli.main import main; main(['profile', 'whole.parquet', '--output', {output!r}])"
    done = subprocess.run([sys.executable, "-c", run], check=False, capture_output=True, text=True, cwd=inside)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"driftline: {output} cannot be written: files may not grow any larger here"
    )


# ---- tables from anywhere --------------------------------------------------------------------------------------------


def test_tables_that_were_changed_are_refused(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "profile", "whole.parquet", "--output", "year.parquet")
    frame = pl.read_parquet("year.parquet")
    assert is_profiles("year.parquet")
    assert is_profiles(frame)
    assert not is_profiles("whole.parquet")
    assert not is_profiles(frame.drop("layout_bytes"))
    assert not is_profiles(7)
    for other, words in (
        (frame.clear(), "is a table of profiles without any"),
        (frame.with_columns(model=pl.Series(["a", "b"] * 76)[: len(frame)]), "has profiles of 2 models (a, b)"),
        (
            frame.with_columns(layout_bytes=pl.lit(b"no"), release=pl.lit("9.9")),
            "made by driftline 9.9: upgrade",
        ),
        (frame.with_columns(layout_bytes=pl.lit(None, pl.Binary)), "layout_bytes has no bytes"),
        (frame.with_columns(model=pl.lit(None, pl.String)), "is damaged: model is not the name of a model"),
        (
            frame.with_columns(pl.lit(datetime(9999, 12, 31, tzinfo=UTC)).alias(end) for end in ("start", "end")),
            "is damaged: 9999-12-31",
        ),
        (frame.with_columns(predictions=pl.lit(1)), "says that it has 1 predictions"),
    ):
        with pytest.raises(DataError) as refused:
            open_profiles(other)
        assert words in str(refused.value)
    with pytest.raises(DataError, match="is no table of profiles"):
        open_profiles("whole.parquet")
    with pytest.raises(UsageError, match="there is no such file"):
        open_profiles("gone.parquet")


def test_tables_of_an_older_release_are_read_and_written_over(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have no checksum."""
    for month in ("2025-01", "2025-02"):
        said(capsys, "profile", f"rows/{month}.parquet", "--output", f"older-{month}.parquet")
    both = open_profiles("older-*.parquet").table
    older = pl.read_parquet("older-2025-01.parquet").drop("checksum")
    older.write_parquet("older-2025-01.parquet")
    assert open_profiles("older-*.parquet").table == both
    older.write_delta("older")
    assert said(capsys, "profile", "rows/2025-01.parquet", "--output", "older/")[0] == 0
    assert "checksum" in pl.read_delta("older").columns


def test_a_link_to_a_device_or_pipe_does_not_replace_it(tmp_path: Path) -> None:
    """A file that is written whole takes the place of what was there: for root also that of /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    link = tmp_path / "link.parquet"
    link.symlink_to(tmp_path / "pipe")
    with pytest.raises(UsageError, match=r"pipe is neither a file nor a folder; name another place"):
        require_free(str(link))


def test_a_link_is_written_through_and_stays_one(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("elsewhere").mkdir()
    Path("link.parquet").symlink_to("elsewhere/made.parquet")  # nothing is there yet
    for _ in range(2):
        assert said(capsys, "profile", "rows/2025-01.parquet", "--output", "link.parquet")[0] == 0
        assert Path("link.parquet").is_symlink()
        assert [file.name for file in Path("elsewhere").iterdir()] == ["made.parquet"]
    for target, words in (
        ("circle.parquet", "is a link that leads to itself; name another place"),
        ("gone/made.parquet", "make it first"),
        ("whole.parquet", "is there, and is no table of profiles"),
    ):
        Path("circle.parquet").unlink(missing_ok=True)
        Path("circle.parquet").symlink_to(target)
        code, out, err = said(capsys, "profile", "rows/2025-01.parquet", "--output", "circle.parquet")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert words in err


def test_a_frame_of_profiles_is_read_like_its_file(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "profile", "whole.parquet", "--output", "year.parquet")
    stored = open_profiles("year.parquet")
    assert open_profiles(stored_frame(stored.table, stored.layout, stored.model, "1.2.3")).table == stored.table
