"""Write a guessed model as a commented ``driftline.yaml``: each guess with its reason, the rest to be filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from driftline.events import Kind, Task
from driftline.guessing.guess import Guess
from driftline.guessing.model import ModelGuess
from driftline.lookalikes import in_quotes

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(?: [A-Za-z0-9_.-]+)*|[1-9][0-9]*(?:min|h|d|w|mo)")
_NO_TEXTS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
"""What YAML, in one of its releases, takes for no text."""

_ESCAPED = {'"': '\\"', "\\": "\\\\"}
_BMP, _LATIN = 0xFFFF, 0xFF
_MOST_FEATURES = 2000
_COLUMNS = (
    "id",
    "time",
    "time_format",
    "version",
    "prediction",
    "score",
    "label",
    "segments",
    "categorical",
    "missing",
)
_BLANK = {"score": "{CLASS: COLUMN}", "segments": "[COLUMN]"}
_KINDS = {
    Kind.NUMERIC: "numbers",
    Kind.CATEGORICAL: "categories",
    Kind.DATETIME: "times",
    Kind.TEXT: "free text",
    Kind.EMBEDDING: "vectors",
    Kind.UNSUPPORTED: "of a type that is not compared",
}
_RULES = {
    Task.REGRESSION: "{name: mae-high, measure: mae, above: 10, severity: page}",
    None: "{name: accuracy-low, measure: accuracy, below: 0.75, severity: page}",
}


def scalar(text: str) -> str:
    r"""Write a text as a YAML scalar that every reader of YAML takes for this text.

    >>> print(scalar("temp_max"), scalar("no"), scalar("1e3"), scalar('a: "b"\n# c'))
    temp_max "no" "1e3" "a: \"b\"\n# c"
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXTS:
        return text
    return f'"{"".join(map(_sign, text))}"'


def _sign(sign: str) -> str:
    if sign in _ESCAPED:
        return _ESCAPED[sign]
    if sign == "\n":
        return "\\n"
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code <= _LATIN else f"\\u{code:04x}" if code <= _BMP else f"\\U{code:08x}"


def written(value: Any) -> str:
    """Write a value in YAML's flow style, on one line.

    >>> written({"rain": "p_rain", "1": "p 1"}), written(["", "NA"])
    ('{rain: p_rain, "1": p 1}', '["", NA]')
    """
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(str(key))}: {written(one)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    return scalar(str(value))


def first_file(guess: ModelGuess, reference: str, data: str) -> str:
    """Return the text of a configuration; ``reference`` is the path of the rows from its folder, ``data`` as given.

    What could not be guessed stands there as ``#key: …``, and is on once the ``#`` is taken away and it is filled in.
    """
    lines = [
        _comment(f"The configuration of {guess.name}, guessed from {in_quotes(data)} by `driftline init`."),
        "# Look at each guess. A line such as `#label: COLUMN` is off: fill it in and take its # away.",
        "# Every key stands in docs/configuration.md; `driftline backtest` says what a change would have done.",
        "models:",
        f"  {scalar(guess.name)}:",
        *_indented(4, _model(guess, reference)),
        "# Where alerts go, besides the page and /metrics:",
        '#notify: [{webhook: "http://127.0.0.1:9999/hook", severity: [page]}]',
        "# Where events and state are kept:",
        "#storage: ./driftline-data",
    ]
    return "\n".join(lines) + "\n"


def _model(guess: ModelGuess, reference: str) -> Iterator[str]:
    yield from _key(guess.guess("task"), "task", "binary")
    if (positive := guess.guess("positive")) is not None:
        yield from _key(positive, "positive", "")
    yield "# The rows that others are compared with: those for which all was well, such as held-out training data"
    yield f"reference: {{path: {scalar(reference)}}}"
    yield "columns:"
    yield from _indented(2, _columns(guess))
    yield from _key(guess.guess("window"), "window", "1d")
    yield from _key(guess.guess("timezone"), "timezone", "Europe/Berlin")
    yield "# How long a window waits for its last labels, and how late a label still counts:"
    yield "#labels: {expected_within: 7d, accepted_for: 90d}"
    yield "alerts:"
    yield "  # How many false alarms of the detector there may be, of everything together"
    yield "  budget: 1 per 90d"
    yield "  # A threshold of your own, such as:"
    rule = _RULES.get(guess.task, _RULES[None])
    yield f"  #rules: [{rule}]"


def _columns(guess: ModelGuess) -> Iterator[str]:
    for part in _COLUMNS:
        found = guess.guess(f"columns.{part}")
        if found is not None:
            yield from _key(found, part, _BLANK.get(part, "COLUMN"))
    yield from _features(guess)


def _features(guess: ModelGuess) -> Iterator[str]:
    features = guess.columns.features or ()
    for name, reason in guess.aside.items():
        yield _comment(f"No input: {in_quotes(name)} {reason}")
    if len(features) > _MOST_FEATURES:
        yield "# The inputs are all other columns. To name them: features: [a, b]"
        return
    yield "# The inputs, which are compared with the reference; take a line away, and it is not watched"
    if not features:
        yield "features: []"
        return
    yield "features:"
    for name in features:
        yield f"  - {scalar(name)}  # {_KINDS[guess.schema.features[name]]}"


def _key(found: Guess | None, key: str, blank: str) -> Iterator[str]:
    """Write a key with its reason above; one without a value is off."""
    if found is None:
        return
    yield _comment(found.reason)
    yield f"#{key}: {blank}" if found.value is None else f"{key}: {written(found.value)}"


def _comment(text: str) -> str:
    """Write a comment on one line, whatever is in it."""
    return "# " + "".join(sign if sign.isprintable() else _sign(sign) for sign in text[:1].upper() + text[1:])


def _indented(spaces: int, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    return (" " * spaces + line for line in lines)
