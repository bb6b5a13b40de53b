"""The pages of docs/integrations say which versions they were run with; `make test-integrations` installs those."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "integrations").glob("*.md"))
PINS = sorted((ROOT / "tests" / "integrations").glob("*.txt"))
MOST_LINES = 40


def skipped_without() -> dict[str, Path]:
    """The pages whose examples are not run where a library is missing, by the library."""
    found = {page: re.findall(r'skip: start if\(missing\("(\w+)"\)', page.read_text()) for page in PAGES}
    return {name: page for page, names in found.items() for name in names}


def test_each_library_that_a_page_is_skipped_without_has_an_environment_of_its_own() -> None:
    assert set(skipped_without()) == {pin.stem for pin in PINS}
    [listed] = re.findall(r"^INTEGRATIONS := \$\(or \$\(WITH\),(.*)\)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed.split() == [pin.stem for pin in PINS]


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.stem)
def test_a_page_names_the_version_that_is_installed(pin: Path) -> None:
    versions = re.findall(r"==([\d.]+)$", pin.read_text(), re.MULTILINE)
    said = re.findall(r"^Run with (.*)$", skipped_without()[pin.stem].read_text(), re.MULTILINE)
    assert versions
    assert [one for one in versions if one not in said[0]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_example_is_short_and_says_whether_it_was_run(page: Path) -> None:
    text = re.sub(r"<!---.*?--->", "", page.read_text(), flags=re.DOTALL)
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        assert block.count("\n") <= MOST_LINES
    assert page.name == "README.md" or re.search(r"^Run with |\bin the tests\b", text, re.MULTILINE)


def test_the_gallery_lists_every_page() -> None:
    links = re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs" / "integrations" / "README.md").read_text())
    assert sorted(links) == sorted(page.name for page in PAGES if page.name != "README.md")
