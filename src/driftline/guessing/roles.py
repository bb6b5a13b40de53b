"""Guess which columns hold the id, the version, the prediction, the scores and the label, by names and by values."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from driftline.events import class_name
from driftline.guessing.guess import Guess
from driftline.lookalikes import in_quotes
from driftline.profiles.codes import numbers_the_rows
from driftline.profiles.infer import CLASSES_OF_NUMBERS, INFERRED_CLASSES_LIMIT
from driftline.profiles.usual_names import USUAL_NAMES
from driftline.text.numbers import fixed, percent

_MORE_NAMES = {
    "prediction": ("predictions", "predicted_class", "predicted_label", "predicted_value", "yhat", "y_hat"),
    "label": ("labels", "class", "outcome", "truth", "actuals", "response", "true_label"),
    "score": ("scores", "prob", "probabilities", "predicted_probability", "prediction_score"),
    "version": ("version", "model_version"),
    "id": ("uid", "guid", "prediction_id", "request_id", "event_id"),
}
_NAMES = {
    part: (*USUAL_NAMES.get(part, ()), *_MORE_NAMES.get(part, ())) for part in {*USUAL_NAMES, *_MORE_NAMES} - {"time"}
}
_PREDICTION_OF = re.compile(r"(?i)(?:pred|predicted|prediction)[_ .-](.+)|(.+)[_ .-](?:pred|predicted|prediction|hat)")
_SCORE_WORDS = frozenset(("score", "proba", "prob", "probability", "confidence"))
_SCORE_OF = re.compile(
    r"(?i)(?:p|pr|prob|proba|probability|score)[_ .-](.+)|(.+)[_ .-](?:p|prob|proba|probability|score)"
)
_ID_WORDS = frozenset(("id", "uuid", "guid", "uid"))
_LEAST_ROWS, _COMPARED_ROWS = 30, 20_000
_LEAST_KAPPA, _LEAST_CORRELATION, _LEAST_LEAD = 0.3, 0.5, 0.02
_MOST_CLASSES = 50
_IDENTIFIER = 0.9
_SUM_TO_ONE = 0.02
_COLUMN = "name the column"


class Roles(NamedTuple):
    """The columns with a role; ``aside`` are columns that are no inputs either, each with the reason."""

    id: str | None
    version: str | None
    prediction: str | None
    score: str | Mapping[str, str] | None
    label: str | None
    aside: Mapping[str, str]
    guesses: tuple[Guess, ...]


class Given(NamedTuple):
    """Roles that the caller stated, which are not guessed; None where nothing was said."""

    id: str | None = None
    prediction: str | None = None
    score: str | Mapping[str, str] | None = None
    label: str | None = None


def guess_roles(rows: pl.DataFrame, given: Given, taken: Collection[str]) -> Roles:
    """Guess the roles of columns, shape (n, columns), missing values as null; ``taken`` have another role already."""
    free = [name for name in rows.columns if name not in taken]
    said = {*(name for name in (given.id, given.prediction, given.label) if name), *columns_of(given.score)}
    free = [name for name in free if name not in said]
    prediction = _said("prediction", given.prediction) or _prediction(rows, free)
    free = _without(free, prediction)
    label = _said("label", given.label) or _label(rows, free, prediction.value)
    free = _without(free, label)
    targets = [name for name in (label.value, prediction.value) if name is not None]
    score = _said("score", given.score) or _score(rows, free, targets)
    free = [name for name in free if name not in columns_of(score.value)]
    identifier = _said("id", given.id) or _id(rows, free)
    free = _without(free, identifier)
    version = _version(rows, free)
    free = _without(free, version)
    guesses = (identifier, version, prediction, score, label)
    return Roles(
        identifier.value,
        version.value,
        prediction.value,
        score.value,
        label.value,
        dict(_aside(rows, free)),
        tuple(guess for guess in guesses if guess is not version or guess.value is not None),
    )


def _said(part: str, value: str | Mapping[str, str] | None) -> Guess | None:
    return None if value is None else Guess(f"columns.{part}", value, "as you said")


def columns_of(score: str | Mapping[str, str] | None) -> list[str]:
    """Return the columns of a score: one, one for each class, or none."""
    return [score] if isinstance(score, str) else list((score or {}).values())


def _without(free: list[str], guess: Guess) -> list[str]:
    return [name for name in free if name != guess.value]


def _named(free: Collection[str], part: str) -> str | None:
    """Return the first column with one of the usual names of a role; the most usual name comes first."""
    plain = {name.strip().lower(): name for name in reversed([*free])}
    return next((plain[usual] for usual in _NAMES[part] if usual in plain), None)


def _is_value(values: pl.Series) -> bool:
    """Tell whether a column can be a label or a prediction: numbers, texts or booleans, not all missing."""
    fits = values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)
    return fits and values.count() > 0


def _is_target(values: pl.Series) -> bool:
    """Tell whether a label or prediction can be learnt from: two values or more, and no more classes than are taken."""
    return _is_value(values) and 2 <= values.drop_nulls().n_unique() <= (
        math.inf if values.dtype.is_numeric() else INFERRED_CLASSES_LIMIT
    )


# ---- prediction and label ----------------------------------------------------------------------------------


def _prediction(rows: pl.DataFrame, free: Collection[str]) -> Guess:
    key = "columns.prediction"
    usable = [name for name in free if _is_value(rows[name])]
    if (found := _named(usable, "prediction")) is not None:
        return Guess(key, found, "by its name")
    for name in usable:
        of = _PREDICTION_OF.fullmatch(name.strip())
        if of is not None and not _is_score(rows[name], name):
            return Guess(key, name, f"by its name, a prediction of {in_quotes(of[1] or of[2])}")
    return Guess(key, None, f"no column is named for it; {_COLUMN} of what the model answered")


def _label(rows: pl.DataFrame, free: Collection[str], prediction: str | None) -> Guess:
    key = "columns.label"
    usable = [name for name in free if _is_target(rows[name])]
    if (found := _named(usable, "label")) is not None:
        return Guess(key, found, "by its name")
    if prediction is not None:
        of = _PREDICTION_OF.fullmatch(prediction.strip())
        predicted = (of[1] or of[2]).lower() if of is not None else ""
        for name in usable:
            if name.strip().lower() == predicted:
                return Guess(key, name, f"as {in_quotes(prediction)} is named for predicting it")
        return _like_the_prediction(rows, usable, prediction)
    more = "the answer that is known later; without it no performance is measured"
    last = f" Often it is the last column, here {in_quotes(usable[-1])}" if usable else ""
    return Guess(key, None, f"no column is named for it; {_COLUMN} of the true value, {more}.{last}")


def _like_the_prediction(rows: pl.DataFrame, usable: Collection[str], prediction: str) -> Guess:
    """Take the column that agrees with the prediction far better than by chance, and better than any other."""
    predicted = rows[prediction]
    numbers = predicted.dtype.is_numeric() and predicted.drop_nulls().n_unique() > CLASSES_OF_NUMBERS
    likeness = _correlation if numbers else _kappa
    rows = rows.gather_every(max(rows.height // _COMPARED_ROWS, 1))
    likely = [name for name in usable if not _is_score(rows[name], name)]
    found = sorted(((likeness(rows[prediction], rows[name]), name) for name in likely), reverse=True)
    found = [(value, name) for value, name in found if value >= (_LEAST_CORRELATION if numbers else _LEAST_KAPPA)]
    if not found:
        return Guess(
            "columns.label", None, f"no column agrees with {in_quotes(prediction)}; {_COLUMN} of the true value"
        )
    best, name = found[0]
    if len(found) > 1 and best - found[1][0] < _LEAST_LEAD:
        also = f"{in_quotes(name)} and {in_quotes(found[1][1])} agree with the prediction alike"
        return Guess("columns.label", None, f"{also}; {_COLUMN} of the true value")
    if numbers:
        return Guess("columns.label", name, f"correlates with {in_quotes(prediction)}, {fixed(best, 2)}")
    same = percent(_agreement(rows[prediction], rows[name]))
    return Guess("columns.label", name, f"equals {in_quotes(prediction)} in {same} of the rows")


def _pairs(one: pl.Series, other: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"one": one, "other": other}).drop_nulls()


def _correlation(one: pl.Series, other: pl.Series) -> float:
    """Return Pearson's correlation of two columns of numbers; 0 where there is none."""
    if not other.dtype.is_numeric():
        return 0.0
    pairs = _pairs(one.cast(pl.Float64), other.cast(pl.Float64)).filter(pl.all_horizontal(pl.all().is_finite()))
    value = pairs.select(pl.corr("one", "other")).item() if pairs.height >= _LEAST_ROWS else None
    return float(value) if value is not None and math.isfinite(value) else 0.0


def _classes(values: pl.Series) -> pl.Series:
    names = {value: class_name(value) for value in values.drop_nulls().unique().to_list()}
    return values.replace_strict(names, default=None, return_dtype=pl.String)


def _agreement(one: pl.Series, other: pl.Series) -> float:
    pairs = _pairs(_classes(one), _classes(other))
    return float((pairs["one"] == pairs["other"]).mean() or 0.0)  # type: ignore[arg-type]


def _kappa(one: pl.Series, other: pl.Series) -> float:
    """Return Cohen's kappa of two columns of classes (1960); 0 where they have too few rows or other classes."""
    if other.dtype.is_float() and other.drop_nulls().n_unique() > INFERRED_CLASSES_LIMIT:
        return 0.0
    if other.drop_nulls().n_unique() > 2 * one.drop_nulls().n_unique() + 2:
        return 0.0
    pairs = _pairs(_classes(one), _classes(other))
    if pairs.height < _LEAST_ROWS:
        return 0.0
    same = float((pairs["one"] == pairs["other"]).mean() or 0.0)  # type: ignore[arg-type]
    first, second = (dict(pairs[name].value_counts().iter_rows()) for name in ("one", "other"))
    chance = sum(times * second.get(name, 0) for name, times in first.items()) / pairs.height**2
    return (same - chance) / (1 - chance) if chance < 1 else 0.0


# ---- scores ------------------------------------------------------------------------------------------------


def _is_score(values: pl.Series, name: str) -> bool:
    """Tell whether a column is named for a probability and holds nothing but numbers from 0 to 1."""
    words = {word.lower() for word in re.findall(r"[A-Za-z]+", name)}
    named = bool(words & _SCORE_WORDS) or name.strip().lower() in _NAMES["score"]
    return named and _is_share(values)


def _is_share(values: pl.Series) -> bool:
    if not values.dtype.is_float() or not values.count():
        return False
    return bool(values.drop_nulls().is_between(0.0, 1.0).all())


def _score(rows: pl.DataFrame, free: Collection[str], targets: Sequence[str]) -> Guess:
    """Guess the scores; ``targets`` are the label and the prediction, those that are known."""
    key = "columns.score"
    shares = [name for name in free if _is_share(rows[name])]
    classes = {value for name in targets for value in rows[name].drop_nulls().unique().head(_MOST_CLASSES)}
    if targets and len(named := dict(_scores_of(rows[targets[0]], shares))) > 1:
        total = rows.select(pl.sum_horizontal([pl.col([*named.values()])]).median()).item()
        one = total is not None and abs(total - 1) <= _SUM_TO_ONE
        reason = f"named for classes of {in_quotes(targets[0])}{', and they add up to 1' if one else ''}"
        return Guess(key, named, reason)
    if len({class_name(value) for value in classes}) > 2:
        reason = f"no columns are named for classes of {in_quotes(targets[0])}; {_COLUMN}s: {{class: column, …}}"
        return Guess(key, None, reason)
    found = [name for name in shares if _is_score(rows[name], name)]
    best = _named(found, "score") or (found[0] if found else None)
    if best is not None:
        return Guess(key, best, "by its name, and all its numbers are from 0 to 1")
    return Guess(key, None, f"no column of numbers from 0 to 1 is named for it; {_COLUMN} of the probability")


def _scores_of(target: pl.Series, shares: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield classes with the column of their score: ``p_rain`` for rain."""
    if target.dtype.is_float() or target.drop_nulls().n_unique() > INFERRED_CLASSES_LIMIT:
        return
    classes = {class_name(value).lower(): class_name(value) for value in target.drop_nulls().unique().sort().to_list()}
    for name in shares:
        of = _SCORE_OF.fullmatch(name.strip())
        known = classes.pop((of[1] or of[2]).lower(), None) if of is not None else None
        if known is not None:
            yield known, name


# ---- id, version, and what is no input ---------------------------------------------------------------------


def _is_unique(values: pl.Series) -> bool:
    fits = values.dtype.is_integer() or values.dtype in (pl.String, pl.Binary)
    return fits and not values.null_count() and values.n_unique() == values.len() >= 2


def _id(rows: pl.DataFrame, free: Collection[str]) -> Guess:
    key = "columns.id"
    unique = [name for name in free if _is_unique(rows[name])]
    if (found := _named(unique, "id")) is not None:
        return Guess(key, found, "by its name, and no value comes twice")
    for name in unique:
        if _is_named_id(name):
            return Guess(key, name, "by its name, and no value comes twice")
    for name in unique:
        if numbers_the_rows(rows[name]):
            return Guess(key, name, "it numbers the rows")
    for name in unique:
        if rows[name].dtype == pl.String and rows.height >= _LEAST_ROWS and not _has_words(rows[name]):
            return Guess(key, name, "texts of which none comes twice")
    return Guess(key, None, f"no column tells every row apart; {_COLUMN} by which labels find their predictions")


def _is_named_id(name: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return bool(words) and words[-1].lower() in _ID_WORDS


def _has_words(values: pl.Series) -> bool:
    spaced = values.drop_nulls().str.strip_chars().str.contains(r"\s").mean()
    return isinstance(spaced, float) and spaced > 1 - _IDENTIFIER


def _version(rows: pl.DataFrame, free: Collection[str]) -> Guess:
    texts = [
        name
        for name in free
        if rows[name].dtype in (pl.String, pl.Categorical, pl.Enum) or rows[name].dtype.is_integer()
    ]
    return Guess("columns.version", _named(texts, "version"), "by its name")


def _aside(rows: pl.DataFrame, free: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield columns that say nothing as inputs: numbers of rows, identifiers, and what has no value or one only."""
    for name in free:
        values = rows[name]
        there = values.drop_nulls()
        if not len(there):
            yield name, "has no value"
        elif rows.height >= _LEAST_ROWS and numbers_the_rows(values):
            yield name, "numbers the rows"
        elif values.dtype == pl.String and len(there) >= _LEAST_ROWS and _are_identifiers(there):
            yield name, "holds texts that hardly ever come twice: names, not categories"


def _are_identifiers(texts: pl.Series) -> bool:
    return texts.n_unique() > _IDENTIFIER * len(texts) and not _has_words(texts)
