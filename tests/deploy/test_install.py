"""`pip install driftline` from an index on this machine, and what is then there; and what `make wheels` refuses.

What Driftline asks for is taken from the environment of the tests: `make test-install` installs that as well.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from packages import wheels

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def index(folder: Path) -> Iterator[str]:
    """Serve a folder as an index of packages (PEP 503); yield its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip makes of `driftline` from the index, where nothing else is."""
    folder = tmp_path_factory.mktemp("index")
    (folder / "simple" / "driftline").mkdir(parents=True)
    shutil.copy(wheel, folder / "simple" / "driftline")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))}
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    with index(folder) as address:
        command = [*pip, "--index-url", address, "--target", str(folder / "room"), "driftline"]
        subprocess.run(command, check=True, env={**clean, "PIP_CONFIG_FILE": os.devnull}, cwd=folder)
    return folder / "room"


@pytest.fixture(scope="module")
def run(installed: Path) -> Callable[..., str]:
    """Run a program of the installed package, with nothing of this repository in reach; return what it prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(installed), "PYTHONPATH": str(installed)}

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(words, cwd=installed, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


def test_the_command_is_there_and_runs_from_the_wheel(run: Callable[..., str], installed: Path) -> None:
    assert run(str(installed / "bin" / "driftline"), "--version").startswith("driftline ")
    script = (
        "import driftline, driftline.sketches.compiled as loops; print(driftline.__file__, loops.kernel() is not None)"
    )
    file, compiled = run(sys.executable, "-c", script).split()
    assert Path(file).is_relative_to(installed)
    assert compiled == str(shutil.which("cc") is not None)


def test_a_check_and_its_page_need_nothing_of_the_repository(run: Callable[..., str], installed: Path) -> None:
    pl.DataFrame({"wind": [float(i % 7) for i in range(200)]}).write_csv(installed / "old.csv")
    pl.DataFrame({"wind": [float(i % 7 + 5) for i in range(200)]}).write_csv(installed / "new.csv")
    told = run(str(installed / "bin" / "driftline"), "check", "old.csv", "new.csv", "--html", "page.html", code=1)
    assert "wind" in told
    assert "<svg" in (installed / "page.html").read_text()


def test_the_files_that_are_no_code_are_all_in_it(installed: Path) -> None:
    def files(package: Path) -> set[str]:
        found = (path for path in package.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".library"})
        return {str(path.relative_to(package)) for path in found}

    assert files(installed / "driftline") == files(ROOT / "src" / "driftline")


@needs_compiler
def test_a_wheel_with_compiled_loops_is_one_of_this_platform(wheel: Path) -> None:
    assert wheel.name.endswith(f"-py3-none-linux_{os.uname().machine}.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert wheels.LIBRARY in archive.namelist()


def rewritten(wheel: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of a wheel, each of whose files is changed, or left out."""
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            if (content := change(name, source.read(name))) is not None:
                copy.writestr(name, content)
    return target


@needs_compiler
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="looks at a wheel for x86-64")
def test_only_a_wheel_with_the_loops_of_its_machine_is_published(wheel: Path, tmp_path: Path) -> None:
    def tagged(name: str, content: bytes) -> bytes:
        right = content.replace(b"py3-none-linux_x86_64", b"py3-none-manylinux_2_17_x86_64")
        return right if name.endswith("/WHEEL") else content

    def without(words: str) -> Callable[[str, bytes], bytes | None]:
        return lambda name, content: None if words in name else tagged(name, content)

    def other_machine(name: str, content: bytes) -> bytes:
        return content[:18] + b"\xb7\0" + content[20:] if name == wheels.LIBRARY else tagged(name, content)

    name = "driftline-1-py3-none-manylinux_2_17_x86_64.whl"
    assert wheels.problems(rewritten(wheel, tmp_path / name, tagged), "x86_64") == []
    told = wheels.problems(rewritten(wheel, tmp_path / name, without("kernel.library")), "x86_64")
    assert told == ["has no compiled loops"]
    told = wheels.problems(rewritten(wheel, tmp_path / name, without("/sboms/")), "x86_64")
    assert told == ["has no bill of materials"]
    told = wheels.problems(rewritten(wheel, tmp_path / name, other_machine), "x86_64")
    assert told == ["has loops for the machine 183 and not 62"]
    assert wheels.problems(wheel, "x86_64") == [
        "is not called py3-none-manylinux_2_17_x86_64",
        "says in WHEEL that it is for another platform",
    ]


WORKFLOW = ROOT / ".github" / "workflows" / "wheels.yml"


def findings(workflow: Path) -> set[str]:
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    command = [zizmor, "--offline", "--no-progress", "--persona=pedantic", "--format=json", "--no-exit-codes", workflow]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {one["ident"] for one in json.loads(told)}


def test_a_linter_of_security_finds_nothing_in_the_job_that_builds_wheels(tmp_path: Path) -> None:
    assert findings(WORKFLOW) == set()
    worse = re.sub(r"@[0-9a-f]{40}", "@v6", WORKFLOW.read_text()).replace(
        "permissions: {}\n\nconcurrency", "concurrency"
    )
    (tmp_path / "worse.yml").write_text(worse)
    assert {"unpinned-uses", "excessive-permissions"} <= findings(tmp_path / "worse.yml")


def test_the_job_that_builds_wheels_installs_them_on_each_platform() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    assert {"run": "make wheels"} in jobs["build"]["steps"]
    assert len(jobs["install"]["strategy"]["matrix"]["machine"]) == len(wheels.MACHINES)


def test_the_readme_says_how_it_is_installed_from_the_wheels() -> None:
    page = (ROOT / "README.md").read_text()
    assert "pip install 'driftline[demo]'" in page
    tried = re.search(r"^test-install:.*?\n\n", (ROOT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    assert tried is not None
    assert "'driftline[demo]'" in tried[0] and "driftline demo" in tried[0]
