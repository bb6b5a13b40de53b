"""What each tutorial has: an aim, exercises with answers, and what comes next; and that none needs the repository."""

from __future__ import annotations

import code
import re
import sys
from pathlib import Path
from types import CodeType

import pytest

import conftest

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorial").glob("*.md"))
COMING_FROM = {"evidently": "Evidently 0.7.23", "nannyml": "NannyML 0.13.1", "whylogs": "whylogs 1.6.4"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_a_tutorial_says_what_there_is_at_the_end_and_has_exercises_with_answers(page: Path) -> None:
    text = page.read_text()
    title, aim, *_ = text.split("\n\n")
    assert title == f"# Tutorial {int(page.name[:2])}: {title.partition(': ')[2]}" and "the end" in aim
    exercises = text[text.index("## Exercises") : text.index("## What next")]
    questions = re.findall(r"^\*\*(\d)\.\*\* .+?(?=^<details)", exercises, flags=re.MULTILINE | re.DOTALL)
    assert questions == ["1", "2", "3"]
    answers = re.findall(
        r'^<details markdown="1"><summary>Answer</summary>\n\n(.*?)^</details>$', exercises, re.MULTILINE | re.DOTALL
    )
    assert len(answers) == 3 and all("```" in answer for answer in answers)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_a_tutorial_begins_in_an_empty_folder_and_every_command_in_it_runs(page: Path) -> None:
    shown = blocks(page.read_text(), "console")
    commands = [command for block in shown for command, _ in conftest.commands(block)]
    assert commands[0] == "driftline demo --files ."
    assert {command.split()[0] for command in commands if command != conftest.END_JOBS} <= {*conftest.PROGRAMS}


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_a_tutorial_ends_what_it_has_started_and_sends_who_has_not_to_where_that_is(page: Path) -> None:
    """What the page before has left on a port answers in place of what this one starts."""
    commands = [command for block in blocks(page.read_text(), "console") for command, _ in conftest.commands(block)]
    assert any(command.endswith("&") for command in commands) and commands[-1] == conftest.END_JOBS
    assert page is TUTORIALS[0] or "(01-watch.md#end-what-runs)" in page.read_text()


class Prompt(code.InteractiveConsole):
    """Python's own prompt, which takes line after line: it only says what it could not read, and runs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []

    def runcode(self, code: CodeType) -> None:
        pass

    def showsyntaxerror(self, *_: object, **__: object) -> None:
        self.refused.append(str(sys.exception()))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_the_python_of_a_tutorial_can_be_pasted_into_pythons_own_prompt(page: Path) -> None:
    """That of 3.11 and 3.12 ends a loop at an empty line only, and refuses what follows without one."""
    for block in blocks(page.read_text(), "python"):
        prompt = Prompt()
        waits = [prompt.push(line) for line in [*block.splitlines(), ""]]
        assert not prompt.refused, (block, prompt.refused)
        assert not waits[-1]


def test_the_prompt_refuses_what_follows_a_loop_at_once() -> None:
    prompt = Prompt()
    for line in ("for one in []:", "    one", "assert 1"):
        prompt.push(line)
    assert prompt.refused


@pytest.mark.parametrize("page", TUTORIALS[:-1], ids=lambda page: page.name)
def test_a_tutorial_leads_to_the_next(page: Path) -> None:
    following = TUTORIALS[TUTORIALS.index(page) + 1].name
    assert f"]({following})" in page.read_text().partition("## What next")[2]


@pytest.mark.parametrize(("name", "version"), COMING_FROM.items())
def test_a_page_for_who_comes_from_another_library_names_the_version_that_was_tried(name: str, version: str) -> None:
    """It is the one that the benchmarks are pinned to; code of theirs is marked as not run."""
    text = (DOCS / "coming-from" / f"{name}.md").read_text()
    assert version in text and "is not run by our tests" in " ".join(text.split())
    pinned = (DOCS.parent / "benchmarks" / f"requirements-{name}.txt").read_text()
    assert f"{name}=={version.split()[1]}" in pinned
    assert blocks(text, "py") and not [one for one in blocks(text, "python") if f"import {name}" in one]
    assert "## Words" in text and f"## What {version.partition(' ')[0]} has that Driftline has not" in text


def test_ports_of_pages_are_replaced_wherever_they_are_written() -> None:
    namespace = {"_ports": {"8000": "1", "8080": "2", "9090": "3", "9093": "4"}}
    said = 'http://127.0.0.1:8000/ --port 8080 ("127.0.0.1", 8080) 127.0.0.1:9093 8080 --port 80'
    found = conftest.with_ports(said, namespace)
    assert found == 'http://127.0.0.1:1/ --port 2 ("127.0.0.1", 2) 127.0.0.1:4 8080 --port 80'
