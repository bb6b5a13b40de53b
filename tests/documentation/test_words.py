"""The glossary has the words of the design, and the page of questions quotes what the program really says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = Path(__file__).parents[2] / "src" / "driftline"

WORDS = {
    "model",
    "version",
    "prediction",
    "score",
    "label",
    "feature",
    "segment",
    "reference",
    "window",
    "profile",
    "measure",
    "distance",
    "drift",
    "performance",
    "estimate",
    "rule",
    "threshold",
    "verdict",
    "alert",
    "notification",
    "challenger",
    "champion",
}

GAP = "…"


def sections(page: Path, level: int) -> dict[str, str]:
    """The text below each heading of a level."""
    parts = re.split(rf"^{'#' * level} (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


GLOSSARY = sections(DOCS / "glossary.md", 2)
MESSAGES = [
    heading.strip("`")
    for heading in sections(DOCS / "questions.md", 3)
    if heading.startswith("`") and heading.endswith("`")
]


def test_the_glossary_has_each_word_once_in_order() -> None:
    words = list(GLOSSARY)
    assert words == sorted(words, key=str.lower)
    assert {word.lower() for word in words} >= WORDS


@pytest.mark.parametrize("word", GLOSSARY)
def test_a_word_is_defined_in_one_sentence(word: str) -> None:
    said = " ".join(GLOSSARY[word].split())
    assert said.endswith(".") and ". " not in said, said
    assert 20 < len(re.sub(r"\]\([^)]*\)", "]", said)) < 260
    assert not said.lower().startswith(word.lower()), "a word is not explained by itself"


def pieces(node: ast.AST) -> str | None:
    """A text in the source, with a gap for each expression in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(GAP if isinstance(one, ast.FormattedValue) else pieces(one) or "" for one in node.values)
    return None


def texts(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        text = pieces(node)
        if text and " " in text:
            yield text


@cache
def said() -> tuple[str, ...]:
    return tuple(text for path in sorted(PACKAGE.rglob("*.py")) for text in texts(path.read_text()))


def quoted(message: str, known: tuple[str, ...]) -> bool:
    """Whether a message is one of the texts; where it ends in a gap, only its beginning has to be."""
    whole = message.removesuffix(GAP).rstrip()
    return any(text.startswith(whole) if message.endswith(GAP) else text == message for text in known)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_one_of_the_program(message: str) -> None:
    assert quoted(message, said()), message


def test_messages_are_quoted_and_made_up_ones_are_found() -> None:
    known = tuple(texts('f"the port {port} is in use"\n"a plain message"'))
    assert {"the port … is in use", "a plain message"} <= {*known}
    assert quoted("the port … is in use", known) and quoted("the port …", known)
    assert not quoted("the port is in use", known) and not quoted("the door …", known)
    assert len(MESSAGES) > 10
