"""Say what a check inferred because the caller did not say it: the task, the positive class, kinds of columns."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from msgspec.structs import replace

from driftline.checks.labelled import MISSING_TOLD
from driftline.checks.scan import SPACED_ROWS
from driftline.checks.sides import Comparison, Said
from driftline.events import MISSING_TEXTS, Kind, Schema, Task, guess_positive
from driftline.lookalikes import shown, shown_all
from driftline.profiles import Classification, kind_of
from driftline.profiles.frame import other_class
from driftline.profiles.infer import named_in
from driftline.profiles.usual_names import listed, unplayed, unplayed_words
from driftline.results.check import Positive
from driftline.statistics import Measure
from driftline.statistics.doubt import doubt_of, doubtful
from driftline.text.numbers import percent

_CLASSES_TOLD, _COLUMNS_TOLD = 3, 5
_READ_AS = {Kind.DATETIME: "dates", Kind.TEXT: "free text", Kind.EMBEDDING: "embeddings"}


def guesses_on(sides: Comparison, schema: Schema, said: Said, *, relations: bool) -> tuple[str, ...]:
    """Return each guess in a few words; ``relations`` is whether the relations between columns were compared."""
    return (
        *([] if said.task else _task(sides)),
        *_positive_words(sides, said),
        *_taken_as_missing(sides),
        *_kinds(sides, schema),
        *_codes(sides, schema),
        *(["relations between columns are compared on a sample of the rows"] if relations and _is_large(sides) else []),
    )


def _task(sides: Comparison) -> list[str]:
    columns, schema = sides.columns, sides.layout.schema
    targets = [column for column in (columns.label, columns.prediction) if column is not None]
    if not targets:
        return []
    told = listed(shown_all(targets).values())
    if schema.task is Task.REGRESSION:
        return [f"a regression, by the numbers of {told}"]
    if isinstance(columns.score, str):
        return ["binary, as one column of scores came"]
    classes = shown_all(sides.classes)
    if not 0 < len(classes) <= _CLASSES_TOLD:
        return [f"{schema.task.value}, by the {len(classes) or 'missing'} classes of {told}"]
    word = "class" if len(classes) == 1 else "classes"
    return [f"{schema.task.value}, by the {word} {listed(classes.values())} of {told}"]


def _taken_as_missing(sides: Comparison) -> list[str]:
    """Warn of predictions without a value, which may be a class called None or NA."""
    name, schema = sides.columns.prediction, sides.layout.schema
    if name is None or schema.task is Task.REGRESSION or schema.missing != MISSING_TEXTS:
        return []
    if sides.written.get(name) not in (pl.String, pl.Categorical, pl.Enum):
        return []
    gone = max(side.missing(name) for side in (sides.before, sides.now) if side.rows)
    if gone < MISSING_TOLD:
        return []
    told = f"{percent(gone)} of the predictions {shown(name, [name])} have no value"
    return [f"{told}; a class called None, NA or null is one with --missing ''"]


def _kinds(sides: Comparison, schema: Schema) -> list[str]:
    """Name text columns that are not compared as categories."""
    found = []
    for kind, words in _READ_AS.items():
        names = [
            name
            for name, own in schema.features.items()
            if own is kind and name in sides.written and kind_of(sides.written[name]) is not kind
            if not any(words.startswith(f"{name} is read as ") for words in sides.said)
        ]
        if names:
            more = f" and {len(names) - _COLUMNS_TOLD} more" if len(names) > _COLUMNS_TOLD else ""
            some = ", ".join(shown(name, names) for name in names[:_COLUMNS_TOLD])
            found.append(f"{some}{more} read as {words}")
    return found


def _codes(sides: Comparison, schema: Schema) -> list[str]:
    """Name columns of numbers that are compared as categories."""
    names = [
        name
        for name, kind in schema.features.items()
        if kind is Kind.CATEGORICAL and name in sides.written and sides.written[name].is_integer()
    ]
    if sides.columns.categorical is not None or not names:
        return []
    more = f" and {len(names) - _COLUMNS_TOLD} more" if len(names) > _COLUMNS_TOLD else ""
    some = ", ".join(shown(name, names) for name in names[:_COLUMNS_TOLD])
    return [f"{some}{more} read as codes, not quantities: few large whole numbers (categorical says which are)"]


def _is_large(sides: Comparison) -> bool:
    return max(sides.before.rows, sides.now.rows) > SPACED_ROWS


def _positive_words(sides: Comparison, said: Said) -> list[str]:
    name = sides.layout.schema.positive
    if said.positive or name is None or not _is_measured(sides):
        return []
    return [f"positive class {shown(name, sides.classes)}, {_guessed_by(sides)}"]


def _is_measured(sides: Comparison) -> bool:
    return any(isinstance(side.profile.performance, Classification) for side in (sides.before, sides.now))


def _guessed_by(sides: Comparison) -> str:
    guess = guess_positive(sides.classes, **named_in(sides.columns))
    return guess.by if guess is not None else "as no class has come yet"


def positive_of(
    sides: Comparison, said: Said, reference: Mapping[str, Measure], current: Mapping[str, Measure]
) -> Positive | None:
    """Return the positive class of a binary model; None for other models, and where nothing was measured."""
    schema = sides.layout.schema
    if schema.positive is None or not _is_measured(sides):
        return None
    by = "" if said.positive else _guessed_by(sides)
    doubt, other = "", other_class(schema.positive, replace(schema, classes=sides.classes))
    if doubtful(reference.get("roc_auc"), current.get("roc_auc")):
        found = doubt_of(current["roc_auc"], schema.positive, other, sides.columns.score, said=said.positive)
        doubt = found.for_command
    return Positive(schema.positive, not said.positive, by or None, doubt or None)


def parts_unplayed(sides: Comparison) -> list[str]:
    """Return a note on columns that are compared as inputs although their names suggest another role."""
    names = dict.fromkeys([*sides.types_before, *sides.types_now])
    found = unplayed(sides.columns, names)
    return [unplayed_words(found, "--{part} {column}")] if found else []
