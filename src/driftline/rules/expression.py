"""Parse rules as people type them: ``accuracy < 0.75``, ``recall < 60% for 3``."""

from __future__ import annotations

import re
from decimal import Decimal

from msgspec.structs import replace

from driftline.errors import UsageError
from driftline.rules.rule import Rule, Severity

_EXPRESSION = re.compile(
    r"\s*(?P<measure>[A-Za-z_][\w.]*)"
    r"\s*(?P<operator><=|>=|<|>)"
    r"\s*(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*(?P<percent>%?)"
    r"(?:\s+for\s+(?P<windows>[0-9]{1,6}))?\s*"
)
_PLAIN = str.maketrans(
    {"≤": "<=", "≦": "<=", "⩽": "<=", "≥": ">=", "≧": ">=", "⩾": ">=", "＜": "<", "＞": ">", "−": "-"}
)


def parse_expression(
    text: str,
    *,
    name: str | None = None,
    severity: Severity = Severity.WARNING,
    confidence: float = 0.95,
    min_samples: int = 1,
) -> Rule:
    """Parse ``MEASURE OPERATOR NUMBER [for N]``; the rule is named by its own expression unless ``name`` is given.

    With ``<`` and ``>`` a value at the threshold is fine; with ``<=`` and ``>=`` it is a breach. ``75%`` is 0.75.
    ``for N`` waits for N judged windows in a row. Raises `UsageError` for any other text.

    >>> parse_expression("recall<60% for 3").name
    'recall < 0.6 for 3'
    >>> parse_expression("accuracy is low")
    Traceback (most recent call last):
    ...
    driftline.errors.UsageError: 'accuracy is low' is not an alert expression; write MEASURE < NUMBER or \
MEASURE > NUMBER (also <=, >=), and `for N` to wait for N windows in a row, such as 'accuracy < 0.75' or \
'recall < 60% for 3'
    """
    found = _EXPRESSION.fullmatch(text.translate(_PLAIN))
    if not found:
        raise UsageError(
            f"{text!r} is not an alert expression; write MEASURE < NUMBER or MEASURE > NUMBER (also <=, >=), "
            "and `for N` to wait for N windows in a row, such as 'accuracy < 0.75' or 'recall < 60% for 3'"
        )
    threshold = float(Decimal(found["number"]).scaleb(-2 if found["percent"] else 0))
    below = found["operator"].startswith("<")
    rule = Rule(
        name=name if name is not None else text,
        measure=found["measure"],
        below=threshold if below else None,
        above=None if below else threshold,
        for_windows=int(found["windows"] or 1),
        severity=severity,
        confidence=confidence,
        min_samples=min_samples,
        inclusive=found["operator"].endswith("="),
    )
    return rule if name is not None else replace(rule, name=rule.expression)
