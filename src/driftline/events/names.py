"""The gate for names that come with events: ids, versions, classes. What passes can be a column, a label, a line."""

from __future__ import annotations

from collections.abc import Iterable

from driftline.text import acts

NAME_LENGTH_LIMIT = 256


def text_problem(text: str, limit: int) -> str | None:
    r"""Return why a text cannot be stored, or None: too long, a NUL character, half of a surrogate pair.

    >>> text_problem("a\0b", 10), text_problem("line\nline", 10)
    ('holds a NUL character, which no database stores; remove it', None)
    """
    if len(text) > limit:
        return f"came {len(text)} characters; allowed are at most {limit}"
    if "\x00" in text:
        return "holds a NUL character, which no database stores; remove it"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is not text; send valid UTF-8"
    return None


def name_problem(text: str) -> str | None:
    r"""Return why a text cannot be a name, or None: whatever `text_problem` says, and control characters.

    >>> name_problem("rain"), name_problem("v1\n2024 all is well")
    (None, 'holds a control character, which no name has; remove it')
    """
    if text.isascii() and text.isprintable() and len(text) <= NAME_LENGTH_LIMIT:  # nearly all are, and this is quick
        return None
    if problem := text_problem(text, NAME_LENGTH_LIMIT):
        return problem
    return "holds a control character, which no name has; remove it" if acts(text) else None


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that differ by case only, which columns of tables do not tell apart; None without
    such.

    >>> alike(["Rain", "sun", "rain"]), alike(["sun", "rain"])
    (('Rain', 'rain'), None)
    """
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            return first, name
    return None
