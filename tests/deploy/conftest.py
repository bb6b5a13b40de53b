"""The wheel that the tests of what is shipped look at."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is built from what the Dockerfile copies, and from nothing that its ignored files leave out."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    folder, seen = tmp_path_factory.mktemp("wheel"), set()
    source = folder / "source"
    for words in re.findall(r"^COPY ([^-].*)$", text, re.MULTILINE):
        *files, _ = words.split()
        for name in files:
            seen.add(name)
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.library"))
            else:
                shutil.copy(ROOT / name, source / name)
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert seen == {line[1:] for line in ignored if line.startswith("!")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(folder.glob("*.whl"))
