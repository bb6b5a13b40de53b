"""Find the user's function that `driftline watch` calls, and read what it returns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from driftline.errors import DataError, UsageError
from driftline.events import Schema, Task, class_name, is_missing
from driftline.rules.rule import MEASURE_NAME
from driftline.sources.functions import is_file, load_named, plain_function
from driftline.statistics.measure import Measure
from driftline.text.numbers import exact

if TYPE_CHECKING:
    import polars as pl

    from driftline.profiles.performance import Performance


@dataclass(frozen=True, slots=True)
class Target:
    """A function without arguments, its name as the user gave it, and the name of the model that it evaluates."""

    name: str
    model: str
    function: Callable[[], object]


# ---- finding it --------------------------------------------------------------------------------------------


def load_target(text: str) -> Target:
    """Import ``file.py:function`` or ``module:function``; modules in its folder, or the present one, can be imported.

    Raises `UsageError` for a function that cannot be imported, or that needs arguments.
    """
    place, module, name = load_named(text, "model.py:evaluate")
    model = Path(place).stem if is_file(place) else place.rpartition(".")[2]
    return Target(text, model, _function(module, place, name))


def _function(module: ModuleType, place: str, name: str) -> Callable[[], object]:
    function = plain_function(module, place, name)
    if needed := _needed(function):
        raise UsageError(
            f"{name!r} in {place} needs arguments ({', '.join(needed)}), but watch calls it without any; "
            "give them defaults"
        )
    return function


def _needed(function: Callable[..., object]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions do not tell
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


# ---- reading what it returns -------------------------------------------------------------------------------

ALLOWED = "return a number (accuracy), a mapping such as {'accuracy': 0.9, 'recall': 0.8}, or (y_true, y_pred)"


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of one evaluation: numbers by name, or sums over labelled rows.

    ``problem`` says why nothing can be measured yet, and ``left_out`` how many rows are not in the measures.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    rows: Performance | None = None
    positive: str | None = None
    problem: str = ""
    left_out: str = ""

    @property
    def hint(self) -> str:
        """A hint for users who miss measures of classification: their numbers were read as those of a regression."""
        from driftline.profiles.infer import CLASSES_OF_NUMBERS

        if self.rows is None or hasattr(self.rows, "confusion"):
            return ""
        return (
            f" Numbers that are not whole, or of more than {CLASSES_OF_NUMBERS} values, are no classes; "
            "for classes return texts, such as y.astype(str)"
        )

    def measures(self, confidence: float) -> dict[str, Measure]:
        """Return the measures by name; those of rows have an interval of this two-sided confidence, and n."""
        if self.rows is None:
            return {name: Measure(name, value, confidence=confidence) for name, value in self.numbers.items()}
        from driftline.statistics.performance import measures

        return measures(self.rows, confidence=confidence, positive=self.positive)


def read_result(result: object) -> Measured:
    """Read what the user's function returned; raises `DataError`, which says what is wrong with it.

    >>> read_result({"recall": 1}).numbers
    {'recall': 1.0}
    >>> read_result(None)
    Traceback (most recent call last):
    ...
    driftline.errors.DataError: the function returned None; return a number (accuracy), a mapping such as \
{'accuracy': 0.9, 'recall': 0.8}, or (y_true, y_pred)
    """
    if isinstance(result, Mapping):
        if not result:
            raise DataError(f"the function returned an empty mapping; {ALLOWED}")
        return Measured({_measure_name(name): _number(value, str(name)) for name, value in result.items()})
    if isinstance(result, (tuple, list)) and len(result) == 2 and not any(_is_number(each) for each in result):
        return _read_rows(_values(result[0], "y_true"), _values(result[1], "y_pred"))
    if not _is_number(result):
        raise DataError(f"the function returned {_short(result)}; {ALLOWED}")
    return Measured({"accuracy": _number(result, "accuracy")})


def _is_number(value: object) -> bool:
    """Return whether a value is a single number: int, float, a NumPy scalar, an array or tensor without dimensions."""
    return hasattr(type(value), "__float__") and getattr(value, "ndim", 0) == 0 and not isinstance(value, bool)


def _number(value: Any, name: str) -> float:
    if not _is_number(value):
        raise DataError(f"{name} came as {_short(value)}; it is a finite number")
    number = float(value)
    if not math.isfinite(number):
        raise DataError(f"{name} came as {number}; it is a finite number. Was there nothing to evaluate?")
    if name == "accuracy" and not 0 <= number <= 1:
        raise DataError(
            f"accuracy came as {exact(number)}; it lies between 0 and 1. Give other measures a name: {{'mae': …}}"
        )
    return number


def _measure_name(name: object) -> str:
    if not isinstance(name, str) or not MEASURE_NAME.fullmatch(name):
        raise DataError(f"{_short(name)} is no name of a measure; write letters, digits, _ and ., such as 'roc_auc'")
    return name


def _values(column: Any, name: str) -> list[Any]:
    """Return the values of a list, array or series of any library as plain Python values, None for missing ones."""
    if getattr(column, "ndim", 1) != 1:
        raise DataError(
            f"{name} came with {column.ndim} dimensions; give one label a row, such as y.ravel() or y.argmax(axis=1)"
        )
    if isinstance(column, (str, bytes, Mapping)) or not isinstance(column, Iterable):
        raise DataError(f"{name} came as {_short(column)}; give a list, a NumPy array, or a pandas or Polars series")
    methods = (getattr(column, method, None) for method in ("tolist", "to_list", "to_pylist"))
    listed = next((method for method in methods if callable(method)), lambda: list(column))
    return [_plain(value) for value in listed()]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if type(value).__name__ != "MaskedConstant":  # its item is what lies below the mask
        for method in ("item", "as_py"):  # scalars within a list
            if hasattr(value, method) and getattr(value, "ndim", 0) == 0:
                value = getattr(value, method)()
    if isinstance(value, (Decimal, Fraction)) and not is_missing(value):
        value = float(value)
    return None if is_missing(value) else value


def _read_rows(labels: list[Any], predictions: list[Any]) -> Measured:
    """Sum up the rows that have both a label and a prediction, read as `check` reads the columns of a file."""
    import polars as pl

    from driftline.profiles import Columns, infer_schema
    from driftline.profiles.frame import canonical
    from driftline.profiles.performance import Classification, Regression
    from driftline.profiles.reading import read_alone

    if len(labels) != len(predictions):
        raise DataError(
            f"y_true has {len(labels)} rows and y_pred has {len(predictions)}; both have one value for each row"
        )
    pairs = sum(y is not None and p is not None for y, p in zip(labels, predictions, strict=True))
    if not pairs:
        return _nothing(labels, predictions)
    columns = Columns(label="label", prediction="prediction", features=())
    given = pl.DataFrame({"label": _series(labels), "prediction": _series(predictions)})
    frame, _ = read_alone(given, columns)
    schema = infer_schema(frame, columns)
    if schema.task is Task.REGRESSION and set(given.dtypes) == {pl.String} and _are_whole(frame):
        frame, schema = given, infer_schema(given, columns)  # texts of many whole numbers are names, given as such
    rows = canonical(frame, columns, schema).drop_nulls(["label", "prediction"])
    if len(rows) != pairs:  # a text that is no number, in a regression
        raise _mixed(next(value for value in (*labels, *predictions) if isinstance(value, str)))
    left_out = _left_out(len(labels), pairs, predictions)
    if schema.task is Task.REGRESSION:
        return Measured(rows=Regression.of(rows["label"], rows["prediction"]), left_out=left_out)
    found = Classification.of(rows["label"], rows["prediction"])
    return Measured(rows=found, positive=_positive(schema), left_out=left_out)


def _nothing(labels: list[Any], predictions: list[Any]) -> Measured:
    """Return the result where no row has both: late labels are no fault; `DataError` without rows or predictions."""
    if any(prediction is not None for prediction in predictions):
        return Measured(problem=f"none of {len(labels)} rows has both a label and a prediction yet")
    raise DataError(f"none of {len(labels)} rows has both a label and a prediction; there is nothing to evaluate")


def _left_out(rows: int, measured: int, predictions: list[Any]) -> str:
    if measured == rows:
        return ""
    silent = any(prediction is None for prediction in predictions)
    what = "have no label, or no prediction," if silent else "have no label yet"
    return f"{rows - measured} of {rows} rows {what} and are left out"


def _are_whole(frame: pl.DataFrame) -> bool:
    return all(bool((column.drop_nulls() == column.drop_nulls().round()).all()) for column in frame)


def _mixed(value: object) -> DataError:
    return DataError(
        f"y_true and y_pred hold {_short(value)} beside numbers; "
        "give class names (text, bool, whole numbers) or finite numbers"
    )


def _series(values: list[Any]) -> pl.Series:
    """Return a column of one type: class names if any value is a text, else booleans or numbers."""
    import polars as pl

    there = [value for value in values if value is not None]
    for value in there:
        if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
            raise _mixed(value)
    if first := next((value for value in there if isinstance(value, str)), ""):
        if any(isinstance(value, float) and not value.is_integer() for value in there):
            raise _mixed(first)
        return pl.Series([None if value is None else class_name(value) for value in values], dtype=pl.String)
    if all(isinstance(value, bool) for value in there):
        return pl.Series(values, dtype=pl.Boolean)
    if all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in there):
        return pl.Series([None if value is None else int(value) for value in values], dtype=pl.Int64)
    return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)


def _positive(schema: Schema) -> str | None:
    """Return the positive class if there are two classes; None, which gives macro averages, if there are more."""
    return "1" if set(schema.classes) <= {"0", "1"} else schema.positive if len(schema.classes) == 2 else None


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    text = text if len(text) <= 60 else text[:57] + "..."
    return text if value is None else f"{text} ({type(value).__name__})"
