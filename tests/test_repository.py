"""What must hold of the repository as a whole."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
import trove_classifiers

import driftline
from driftline.statistics import DISTANCES, TESTS
from driftline.statistics.catalogue import performance_measures, rule_measures

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "driftline"
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^ ;]+)( ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def pins(lock: Path) -> set[tuple[str, str]]:
    found = (PIN.match(line) for line in lock.read_text().splitlines())
    return {(one["name"], one["version"]) for one in found if one}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_pins_and_hashes_and_nothing_else(lock: Path) -> None:
    """So neither a registry's address nor a path of somebody's machine is in it."""
    lines = lock.read_text().splitlines()
    assert pins(lock)
    for line, following in pairwise([*lines, ""]):
        assert PIN.match(line) or HASH.match(line), line
        if PIN.match(line):
            assert HASH.match(following), f"{line} has no hash"


def test_the_tests_run_with_the_versions_that_the_demo_runs_with() -> None:
    assert pins(ROOT / "requirements" / "demo.lock") <= pins(ROOT / "requirements" / "dev.lock")


def test_what_the_site_reads_has_the_versions_that_are_tested() -> None:
    names = {name for name, _ in pins(ROOT / "requirements" / "service.lock")}
    site = {(name, version) for name, version in pins(ROOT / "requirements" / "docs.lock") if name in names}
    assert site <= pins(ROOT / "requirements" / "dev.lock")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[<>=!~\[; ]", one)[0].lower() for one in wanted} <= {name for name, _ in site}


def test_locks_are_whole_for_they_are_installed_without_resolving() -> None:
    run = subprocess.run([sys.executable, "-m", "pip", "check"], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_the_base_install_stays_light() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=!~\[; ]", one)[0].lower() for one in wanted}
    assert not names & {"pandas", "pyarrow", "scikit-learn"}


def test_the_classifiers_are_known_ones_and_the_licence_is_said_once() -> None:
    """An index refuses a classifier that it does not know, and one of the licence beside `license` (PEP 639)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["classifiers"]) <= set(trove_classifiers.classifiers)
    assert project["license"] == "Apache-2.0"
    assert not any(one.startswith("License ::") for one in project["classifiers"])


def test_a_source_distribution_is_the_repository_and_nothing_made(tmp_path: Path) -> None:
    """Its tests run from it: `make test-sdist`."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {one.name.partition("/")[2] for one in archive if one.isfile()}
    parts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"][
        "only-include"
    ]
    there = {ROOT / part for part in parts} | {path for part in parts for path in (ROOT / part).rglob("*")}
    made = re.compile(r"__pycache__|\.py[co]$|/kernel\.library$|\.egg-info")
    expected = {str(path.relative_to(ROOT)) for path in there if path.is_file()}
    assert names - {"PKG-INFO"} == {name for name in expected if not made.search(name)}
    outside = {path.name for path in ROOT.iterdir()} - {*parts, "PKG-INFO"}
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert not {name for name in outside if name not in ignored and not name.startswith((".git", ".coverage"))}


def test_no_lock_of_uv_is_committed() -> None:
    """It holds the address of the registry that it was made with."""
    assert not (ROOT / "uv.lock").exists()


def test_every_package_stands_in_the_layer_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [one["layers"] for one in contracts if one["type"] == "layers"]
    contracted = {name.strip(" ()") for line in layers for name in line.split("|")}
    there = {one.stem for one in PACKAGE.glob("*.py")} | {one.parent.name for one in PACKAGE.glob("*/__init__.py")}
    assert there - {"__init__", "__main__"} <= contracted
    assert not any("ignore_imports" in one for one in contracts)
    [asking] = [one["source_modules"] for one in contracts if one["id"] == "outgoing"]
    assert {f"driftline.{name}" for name in contracted} - {*asking} == {"driftline.net", "driftline.demo"}


ANY_FIGURE = re.compile(r"[<>^+,]*\d*(\.\d*)?[gfe%]?|.*%[YmdHMS].*")
COUNTS = re.compile(r"[<>^]?\d*,?")
ELSEWHERE = {
    "alerts/receivers.py: %Y%m%dT%H%M%S",  # keys, which nobody reads
    "alerts/planner.py: %Y%m%dT%H%M%S%f",
    "events/schema.py: f",  # classes are written as they were given
}
OTHERWISE = ("text", "charts", "client", "exporters/ci", "retrain/runners/supervisor.py")
"""The room that formats; the drawings, in units of their own; and three that may know nothing of Driftline."""


def formats(path: Path) -> Iterator[str]:
    """The format specifications of a module; strftime, which depends on the locale, is one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
            yield "".join(one.value if isinstance(one, ast.Constant) else "9" for one in node.format_spec.values)
        if isinstance(node, ast.Attribute) and node.attr == "strftime":
            yield "%Y"


def test_only_the_text_room_gives_figures_and_moments_a_shape() -> None:
    """One number has one shape, whoever shows it. A count may be grouped, and a name may be put into a column."""
    found = {
        f"{path.relative_to(PACKAGE)}: {one}"
        for path in PACKAGE.rglob("*.py")
        if not str(path.relative_to(PACKAGE)).startswith(OTHERWISE)
        for one in formats(path)
        if ANY_FIGURE.fullmatch(one) and not COUNTS.fullmatch(one)
    }
    assert found - ELSEWHERE == set()


IMPORT_ALL = """
import importlib, json, pkgutil, socket, sys, threading

def refuse(*_, **__):
    raise AssertionError("a module opens a socket when it is imported")

socket.socket.connect = socket.socket.bind = socket.create_connection = socket.getaddrinfo = refuse
import driftline

there = [one.name for one in pkgutil.walk_packages(driftline.__path__, "driftline.")]
names = [name for name in there if name not in ("driftline.__main__", "driftline.store.migrations.env")]
for name in names:
    importlib.import_module(name)
print(json.dumps({"names": names, "threads": [one.name for one in threading.enumerate()]}))
"""


def python(script: str) -> str:
    """Run a script with an empty environment; return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", script], env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout


def test_importing_opens_no_socket_needs_no_environment_and_starts_no_thread() -> None:
    told = json.loads(python(IMPORT_ALL))
    assert {"driftline.client", "driftline.cli.main", "driftline.service.runtime"} <= set(told["names"])
    assert told["threads"] == ["MainThread"]


def test_importing_driftline_imports_nothing_heavy() -> None:
    loaded = python("import sys, driftline; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert "driftline" in loaded
    assert not {"polars", "numpy", "fastapi", "scipy", "sqlalchemy", "httpx", "deltalake"} & set(loaded)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        assert leads_to.exists(), f"{page.name} links to {target}"
        if anchor and leads_to.suffix == ".md":
            assert anchor in anchors(leads_to), f"{page.name} links to {target}"


PRIVATE_WORDS = {
    "trifle": "below the minimum effect size",
    "graver|gravest": "more severe, most severe",
    "work(s|ed)? in": "process, processed",
    "taken? on": "acknowledged",
    "(is|are|was|were|be) told": "is notified, is reported",
    "spreads": "standard deviations of the reference",
    "luck": "rows that are not independent",
}


@pytest.mark.parametrize("page", [one for one in PAGES if one.parent.name != "decisions"], ids=lambda page: page.name)
def test_pages_say_it_in_the_words_of_the_field(page: Path) -> None:
    """A newcomer knows them; blocks show what programs print, and names in them stay."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\s+", " ", re.sub(r"`[^`]*`", "", text))
    for word, instead in PRIVATE_WORDS.items():
        found = re.search(rf"\b({word})\b", text, flags=re.IGNORECASE)
        assert found is None, f"{page.name}: {text[max(found.start() - 40, 0) : found.end() + 20]!r}; say: {instead}"


def test_every_measure_is_on_its_page() -> None:
    page = (ROOT / "docs" / "measures.md").read_text()
    missing = [name for name in (*DISTANCES, *TESTS, *performance_measures()) if f"`{name}`" not in page]
    rules = (ROOT / "docs" / "configuration.md").read_text()
    missing += [name for name in rule_measures() if f"`{name}`" not in rules]
    assert not missing


def test_every_page_can_be_reached_from_the_front() -> None:
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        ahead += [(page.parent / one).resolve() for one in re.findall(r"\]\(([^)\s#:]+)", page.read_text())]
    assert set(PAGES) <= seen


PAGE = """\
```python
from pathlib import Path

Path("here.txt").touch()
```

```console
$ driftline --version
driftline ...
$ driftline {command}
{shown}$ make demo
```
"""


@pytest.mark.parametrize(
    ("command", "shown", "passes"),
    [
        ("--version", "", True),
        ("--version", "dri...\n", True),
        ("--version; ls", "...\nhere.txt\n", True),
        ("--version", "driftline 9\n", False),
        ("nothing", "", False),
        ("nothing", "...\n", False),
        ("nothing; echo $?", "driftline: ...\n2\n", True),
    ],
)
def test_pages_are_held_to_what_they_show(tmp_path: Path, command: str, shown: str, passes: bool) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "README.md").write_text(PAGE.format(command=command, shown=shown))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload", "-p", "no:cacheprovider", "README.md"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("2 passed" in done.stdout) if passes else ("1 failed, 1 passed" in done.stdout), done.stdout


@pytest.mark.parametrize(
    ("installed", "told"), [("", "1 passed, 1 skipped"), ("no_such_library", "1 failed, 1 passed")]
)
def test_a_page_is_not_run_without_its_library_unless_that_was_installed(
    tmp_path: Path, installed: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    block = "```python\nimport no_such_library\n```\n"
    (tmp_path / "README.md").write_text(f'<!--- skip: start if(missing("no_such_library")) --->\n\n{block}')
    monkeypatch.setenv("DRIFTLINE_INTEGRATION", installed)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload", "-p", "no:cacheprovider", "README.md"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told in done.stdout, done.stdout


def test_long_files_come_first_then_pages_then_all_others() -> None:
    asked = ["docs/demo.md", "tests/access", "tests/exporters/test_same_verdicts.py", "tests/demo/test_demo.py"]
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = list(dict.fromkeys(line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line))
    assert files[:3] == ["tests/demo/test_demo.py", "tests/exporters/test_same_verdicts.py", "docs/demo.md"]
    assert len(files) > 3 and all(one.startswith("tests/access/") for one in files[3:])
    named = re.findall(r'"(tests/[^"]+)"', (ROOT / "conftest.py").read_text())
    assert len(named) > 3 and all((ROOT / one).exists() for one in named)


def test_every_public_name_is_there_under_one_home() -> None:
    """What users have to name; what a page shows of it is run with the page."""
    for name in driftline.__all__:
        assert getattr(driftline, name).__module__.startswith(driftline._HOMES[name]), name
    assert set(driftline._HOMES) == set(driftline.__all__) <= set(dir(driftline))
