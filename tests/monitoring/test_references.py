"""A reference that cannot be used ends the start with one line and 2, and every model of which that is so is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from driftline.config.load import load
from driftline.errors import ConfigError
from driftline.service.runtime import Service


def _write(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


GOOD = pl.DataFrame({"x": [1.0, 2.0] * 50, "p": [0, 1] * 50, "l": [0, 1] * 50})

BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "not there": ("r.parquet", lambda path: None, "there is no file"),
    "a folder": ("r.parquet", lambda path: path.mkdir(), "is no file"),
    "a pipe": ("r.parquet", os.mkfifo, "is no file"),
    "a link to itself": ("r.parquet", lambda path: path.symlink_to(path), "cannot be read"),
    "nothing in it": ("r.parquet", _write(b""), "cannot be read"),
    "no text in it": ("r.csv", _write(b""), "is empty"),
    "rubbish": ("r.parquet", _write(bytes(range(256)) * 9), "cannot be read"),
    "rubbish as text": ("r.csv", _write(b"a,b\n\x00\x01"), "r.csv"),
    "half of it": ("r.parquet", lambda path: (GOOD.write_parquet(path), os.truncate(path, 500)), "cannot be read"),
    "broken JSON": ("r.ndjson", _write(b'{"a":'), "line 1"),
    "no rows": ("r.parquet", lambda path: GOOD.clear().write_parquet(path), "has no rows"),
    "of no known type": ("r.xyz", _write(b"x"), "files of type '.xyz' are not read"),
}


def config_of(folder: Path, **references: str) -> Path:
    path = folder / "driftline.yaml"
    lines = [f"  {model}: {{reference: {{path: {file}}}}}\n" for model, file in references.items()]
    path.write_text("models:\n" + "".join(lines))
    return path


@pytest.mark.parametrize("kind", BAD)
def test_a_reference_that_cannot_be_used_is_one_line_that_names_the_model(tmp_path: Path, kind: str) -> None:
    name, make, words = BAD[kind]
    make(tmp_path / name)
    with pytest.raises(ConfigError) as caught:
        Service(load(config_of(tmp_path, churn=name)))
    assert str(caught.value).startswith("models.churn.reference: ")
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_every_model_is_looked_at_before_the_start_is_refused(tmp_path: Path) -> None:
    GOOD.write_parquet(tmp_path / "good.parquet")
    (tmp_path / "bad.csv").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        Service(load(config_of(tmp_path, first="nope.parquet", second="good.parquet", third="bad.csv")))
    assert "models.first.reference" in str(caught.value)
    assert "models.third.reference" in str(caught.value)
    assert "second" not in str(caught.value)


def test_the_command_ends_with_2_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "serve", "--port", "0"]
    config_of(tmp_path, churn="nope.parquet")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("driftline: models.churn.reference: there is no file nope.parquet")
    with pytest.raises(ConfigError):
        Service(load(tmp_path / "driftline.yaml"))  # and the folder is free again


def test_a_reference_that_has_gone_since_is_said_as_well(tmp_path: Path) -> None:
    GOOD.write_parquet(tmp_path / "good.parquet")
    config = load(config_of(tmp_path, churn="good.parquet"))
    Service(config).stop()
    (tmp_path / "good.parquet").unlink()
    with pytest.raises(ConfigError, match="there is no file"):
        Service(config)
