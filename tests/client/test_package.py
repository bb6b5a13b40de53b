"""The package `driftline-sdk`: built from this tree, installed where nothing else is, used against a service."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.churn import MODEL, write_config
from tests.support.served import serving, wait_until_idle

ROOT = Path(__file__).parents[2]
SDK = ROOT / "packages" / "sdk"
MOST_BYTES = 10 * 10**6


def build(root: Path, target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    [made] = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SDK, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def room(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it asks for, with nothing downloaded; return its Python."""
    folder = tmp_path_factory.mktemp("room")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    [packages] = folder.glob("lib/python*/site-packages")
    for name in ("msgspec",):
        for file in distribution(name).files or ():
            if file.suffix != ".pyc" and ".." not in file.parts:
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-index", str(wheel)], check=True)
    return python


def run(python: Path, script: str, *words: str) -> Any:
    done = subprocess.run([python, "-I", "-c", script, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


def test_it_says_of_itself_what_driftline_says() -> None:
    ours, whole = (tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in (SDK, ROOT))
    assert all(ours[key] == whole[key] for key in ("version", "requires-python", "license"))
    assert (SDK / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert set(ours["dependencies"]) <= set(whole["dependencies"])


def test_a_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    unpack = ["tar", "-xzf", build(SDK, "sdist", tmp_path / "sdist"), "-C", tmp_path / "unpacked"]
    subprocess.run(unpack, check=True)  # Python's own is safe from 3.11.4 on
    [root] = (tmp_path / "unpacked").iterdir()
    assert build(root, "wheel", tmp_path / "again").read_bytes() == wheel.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert tops == {"driftline_sdk", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}


def test_it_is_small_and_needs_nothing_of_what_driftline_needs(room: Path) -> None:
    [packages] = room.parents[1].glob("lib/python*/site-packages")
    assert sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) <= MOST_BYTES
    script = """
import importlib, json, pathlib, sys
import driftline_sdk
before = set(sys.modules)
for file in pathlib.Path(driftline_sdk.__file__).parent.glob("*.py"):
    importlib.import_module("driftline_sdk." + file.stem)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    imported = set(run(room, script))
    assert "msgspec" in imported
    assert not imported & {"driftline", "polars", "numpy", "pandas", "pyarrow", "httpx"}


def test_what_it_logs_arrives_at_a_service(room: Path, tmp_path: Path) -> None:
    script = """
import json, sys
from driftline_sdk import Monitor, UsageError
with Monitor(sys.argv[1], sys.argv[2]) as monitor:
    for number in range(20):
        monitor.label(monitor.log({"age": 20.0 + number, "plan": "pro"}, prediction=1, score=0.9), number % 2)
stats = monitor.stats
try:
    Monitor("", sys.argv[2])
except UsageError as error:
    refused = str(error)
class Frame:
    def __arrow_c_stream__(self, requested_schema=None):
        raise AssertionError("nobody can read it")
try:
    monitor.log_frame(Frame(), prediction="p")
except UsageError as error:
    refused += "; " + str(error)
print(json.dumps([stats.logged, stats.sent, dict(stats.dropped), refused]))
"""
    with serving(write_config(tmp_path)) as (_, address):
        logged, sent, dropped, refused = run(room, script, MODEL, address)
        wait_until_idle(address)
        model = httpx.get(f"{address}/api/v1/models/{MODEL}", trust_env=False, verify=False).json()
    assert (logged, sent, dropped) == (40, 40, {}) and refused.startswith("model '' came")
    assert "needs pyarrow to be sent; pip install pyarrow" in refused
    assert (model["predictions"], model["labels"]) == (20, 20)
