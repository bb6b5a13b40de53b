"""What a model's events look like: its task, its features, its classes."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from driftline.errors import UsageError
from driftline.events.missing import MISSING_TEXTS
from driftline.lookalikes import shown, shown_all


class Task(enum.StrEnum):
    """What a model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Kind(enum.StrEnum):
    """How the values of a column are profiled."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    DATETIME = "datetime"
    TEXT = "text"
    EMBEDDING = "embedding"
    UNSUPPORTED = "unsupported"


class Schema(msgspec.Struct, frozen=True):
    """The shape of one model's events: inferred from its reference, or given, and then held to.

    ``features`` maps each feature to its kind, in order. ``classes`` are the known class names of a classifier (empty:
    not known yet). ``positive`` is the class that *binary* measures speak of; None for other tasks. ``missing`` are the
    texts that stand for a missing value, and ``single`` the features whose reference has 32-bit floats: others are
    rounded to these, so that 0.1 is 0.1. Rows with one value of the feature ``cluster`` are not independent. ``codes``
    are features whose numbers were inferred to be names of categories.

    ``segments`` are the columns by whose values windows are told apart, each with the values that the reference shows;
    all of them are among ``features``. Those ``aside`` come with events as features do, and are no inputs of the model.
    """

    task: Task
    features: Mapping[str, Kind] = {}
    classes: tuple[str, ...] = ()
    positive: str | None = None
    missing: tuple[str, ...] = MISSING_TEXTS
    single: tuple[str, ...] = ()
    cluster: str | None = None
    codes: tuple[str, ...] = ()
    segments: Mapping[str, tuple[str, ...]] = {}
    aside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.missing == MISSING_TEXTS:  # the usual ones are known by being the same object, which is quick
            msgspec.structs.force_setattr(self, "missing", MISSING_TEXTS)
        if self.positive is not None and self.task is not Task.BINARY:
            raise UsageError(f"a positive class ({self.positive!r}) came for a {self.task} model; only binary has one")

    @property
    def inputs(self) -> dict[str, Kind]:
        """The features that the model takes: all but those aside."""
        return {name: kind for name, kind in self.features.items() if name not in self.aside}


_POSITIVE_NAMES = ("1", "true", "yes", "y", "positive", "pos", "t")
_DENIALS = ("no", "non", "not")
_OF = ("p", "pr", "prob", "proba", "probability", "class", "is")
_OPPOSITES = {
    "0": "1",
    "-1": "1",
    "false": "true",
    "no": "yes",
    "n": "y",
    "negative": "positive",
    "neg": "pos",
    "f": "t",
}


def class_name(value: object) -> str:
    """Return the one spelling of a class: ``True``, ``1``, ``1.0``, ``Decimal("1.00")`` and ``"1"`` are the same class.

    >>> class_name(True), class_name(1.0), class_name("rain"), class_name(2), class_name(Decimal("0.50"))
    ('1', '1', 'rain', '2', '0.5')
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite():
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


class PositiveGuess(NamedTuple):
    """The class that a binary model most plausibly calls positive, and by what it was guessed, in words."""

    name: str
    by: str


def positive_class(classes: Iterable[str], *, scores: Iterable[str] = (), label: str = "") -> str | None:
    """Return the class of `guess_positive`.

    >>> positive_class(["0", "1"]), positive_class(["no", "yes"]), positive_class(["churn", "stay"]), positive_class([])
    ('1', 'yes', 'stay', None)
    >>> positive_class(["0"]), positive_class(["No"])
    ('1', 'Yes')
    """
    guess = guess_positive(classes, scores=scores, label=label)
    return guess.name if guess is not None else None


def guess_positive(
    classes: Iterable[str], *, scores: Iterable[str] = (), label: str = "", scored: str = ""
) -> PositiveGuess | None:
    """Guess which class a binary model calls positive; None of none.

    It is the class that a lone score is said to be ``scored`` for, the one that the columns of ``scores`` are named
    for, one with a yes-like name, the one that the column of the ``label`` is named for, the one that the other
    denies, else the last by name. A no-like name alone has not shown the other class yet: that one is positive.

    >>> guess_positive(["fraud", "ok"], scores=["p_fraud"])
    PositiveGuess(name='fraud', by='by the name of the score p_fraud')
    >>> guess_positive(["churn", "stay"], label="churn"), guess_positive(["fraud", "not fraud"])
    (PositiveGuess(name='churn', by='by the name of the label churn'),
     PositiveGuess(name='fraud', by='as not fraud denies it'))
    >>> guess_positive(["fraud", "ok"], scores=["s"])
    PositiveGuess(name='ok', by='the last by name of fraud and ok')
    """
    names = sorted(set(classes))
    if scored in names:
        return PositiveGuess(scored, "as the score is said to be of it")
    return next(_guesses(names, scores, label), None)


def _guesses(names: Sequence[str], scores: Iterable[str], label: str) -> Iterator[PositiveGuess]:
    """Guesses by the names of columns and classes, the best first."""
    told = shown_all(names)
    for column in scores:
        if (found := _named_for(column, names)) is not None:
            yield PositiveGuess(found, f"by the name of the score {shown(column)}")
    for candidate in _POSITIVE_NAMES:
        yield from (PositiveGuess(name, "as a name that says yes") for name in names if name.lower() == candidate)
    if len(names) > 1 and (found := _named_for(label, names)) is not None:
        yield PositiveGuess(found, f"by the name of the label {shown(label)}")
    if len(names) == 1 and (opposite := _OPPOSITES.get(names[0].lower())) is not None:
        other = opposite.upper() if names[0].isupper() else opposite.title() if names[0].istitle() else opposite
        yield PositiveGuess(other, f"as the opposite of {told[names[0]]}")
    for name in names:
        if (denied := _denied(name, names)) is not None:
            yield PositiveGuess(denied, f"as {told[name]} denies it")
    if names:
        yield PositiveGuess(names[-1], f"the last by name of {' and '.join(told.values())}")


def _words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case: split at signs, before capitals, and between letters and digits.

    >>> _words("pNotFraud"), _words("prob_1"), _words("p_non-payer")
    (('p', 'not', 'fraud'), ('prob', '1'), ('p', 'non', 'payer'))
    """
    return tuple(word.lower() for word in re.findall(r"\d+|[^\W\d_]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|[A-Z]", name))


def _named_for(column: str, classes: Sequence[str]) -> str | None:
    """The one class whose words are among a column's, the longest such; one of a single sign only behind p, or prob."""
    words, found = _words(column), {}
    for name in classes:
        own = _words(name)
        places = [at for at in range(len(words)) if own and words[at : at + len(own)] == own]
        if any(len("".join(own)) > 1 or (at and words[at - 1] in _OF) for at in places):
            found[name] = own
    longest = [name for name, own in found.items() if not any(len(own) < len(other) for other in found.values())]
    return longest[0] if len(longest) == 1 else None


def _denied(name: str, classes: Sequence[str]) -> str | None:
    """The class that a name denies: fraud, of not fraud, non-fraud or no_fraud."""
    first, *rest = _words(name) or ("",)
    return next((one for one in classes if one != name and rest and first in _DENIALS and [*_words(one)] == rest), None)
