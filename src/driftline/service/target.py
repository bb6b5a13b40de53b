"""The user's function that `driftline watch` calls: find it, and read what it returns."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from driftline.errors import DataError, UsageError, did_you_mean
from driftline.events import class_name, positive_class
from driftline.rules.rule import MEASURE_NAME
from driftline.statistics.measure import Measure

if TYPE_CHECKING:
    from driftline.profiles.performance import Performance


@dataclass(frozen=True, slots=True)
class Target:
    """A function of no arguments, its name as it was given, and the name of the model that it speaks of."""

    name: str
    model: str
    function: Callable[[], object]


# ---- finding it --------------------------------------------------------------------------------------------


def load_target(text: str) -> Target:
    """Import ``file.py:function`` or ``module:function``; its folder, or the present one, is importable."""
    place, module, name = _loaded(text, "model.py:evaluate")
    model = Path(place).stem if _is_file(place) else place.rpartition(".")[2]
    return Target(text, model, _function(module, place, name))


def load_predict(text: str) -> Callable[[Any], object]:
    """Import ``file.py:function`` or ``module:function``, which takes a frame of features."""
    place, module, name = _loaded(text, "model.py:predict")
    return _plain_function(module, place, name)


def _loaded(text: str, example: str) -> tuple[str, ModuleType, str]:
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise UsageError(
            f"{text!r} does not name a function; write FILE.py:FUNCTION or MODULE:FUNCTION, such as {example!r}"
        )
    return place, _load_file(Path(place)) if _is_file(place) else _load_module(place), name


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or Path(place).is_file()


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.py")])
        raise UsageError(f"there is no file {str(path)!r} in {Path.cwd()}.{near}")
    _importable(path.resolve().parent)
    name = path.stem if path.stem not in sys.modules else f"_driftline_watched_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} is not a Python file; it ends with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _execute(lambda: spec.loader.exec_module(module) if spec.loader else None, str(path))
    return module


def _load_module(name: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        found = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise UsageError(
            f"there is no module {name!r}; it is looked for in {Path.cwd()} and among what is installed. "
            f"For a file, write its name with .py, such as '{name}.py:evaluate'"
        )
    loaded: list[ModuleType] = []
    _execute(lambda: loaded.append(importlib.import_module(name)), name)
    return loaded[0]


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _execute(load: Callable[[], object], place: str) -> None:
    """Run the user's top-level code; whatever it raises, sys.exit() too, is a mistake in it and not in us."""
    try:
        load()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{place} cannot be loaded: {type(error).__name__}: {error}") from error


def _plain_function(module: ModuleType, place: str, name: str) -> Callable[..., object]:
    if not hasattr(module, name):
        known = sorted(
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
        )
        listed = ", ".join(known) or "none"
        raise UsageError(f"{place} has no function {name!r}; it has: {listed}.{did_you_mean(name, known)}")
    function = getattr(module, name)
    if not callable(function):
        kind = type(function).__name__
        raise UsageError(
            f"{name!r} in {place} is a value ({kind}), not a function; wrap it: def evaluate(): return {name}"
        )
    if inspect.iscoroutinefunction(function):
        raise UsageError(f"{name!r} in {place} is async; give a plain function that calls asyncio.run({name}())")
    checked: Callable[..., object] = function
    return checked


def _function(module: ModuleType, place: str, name: str) -> Callable[[], object]:
    function = _plain_function(module, place, name)
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
    """What one evaluation returned: numbers by name, or labelled rows counted up."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    rows: Performance | None = None
    positive: str | None = None

    def measures(self, confidence: float) -> dict[str, Measure]:
        """Return the measures by name; those of rows with an interval of that two-sided confidence, and n."""
        if self.rows is None:
            return {name: Measure(name, value, confidence=confidence) for name, value in self.numbers.items()}
        from driftline.statistics.performance import measures

        return measures(self.rows, confidence=confidence, positive=self.positive)


def read_result(result: object) -> Measured:
    """Read what the user's function returned; `DataError` says what is wrong with it.

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
    """Whether a value is one number: int, float, a NumPy scalar, an array or tensor without a dimension."""
    return hasattr(type(value), "__float__") and getattr(value, "ndim", 0) == 0 and not isinstance(value, bool)


def _number(value: Any, name: str) -> float:
    if not _is_number(value):
        raise DataError(f"{name} came as {_short(value)}; it is a finite number")
    number = float(value)
    if not math.isfinite(number):
        raise DataError(f"{name} came as {number}; it is a finite number. Was there nothing to evaluate?")
    if name == "accuracy" and not 0 <= number <= 1:
        raise DataError(
            f"accuracy came as {number:g}; it lies between 0 and 1. Give other measures a name: {{'mae': …}}"
        )
    return number


def _measure_name(name: object) -> str:
    if not isinstance(name, str) or not MEASURE_NAME.fullmatch(name):
        raise DataError(f"{_short(name)} is no name of a measure; write letters, digits, _ and ., such as 'roc_auc'")
    return name


def _values(column: Any, name: str) -> list[Any]:
    """The values of a list, NumPy array, pandas or Polars series as plain Python values; NaN becomes None."""
    if getattr(column, "ndim", 1) != 1:
        raise DataError(
            f"{name} came with {column.ndim} dimensions; give one label a row, such as y.ravel() or y.argmax(axis=1)"
        )
    if isinstance(column, (str, bytes, Mapping)) or not isinstance(column, Iterable):
        raise DataError(f"{name} came as {_short(column)}; give a list, a NumPy array, or a pandas or Polars series")
    plain: Any = column.tolist() if hasattr(column, "tolist") else list(column)
    return [_plain(value) for value in plain]


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy scalar within a list
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def _read_rows(labels: list[Any], predictions: list[Any]) -> Measured:
    import polars as pl

    from driftline.profiles.performance import Classification, Regression

    if len(labels) != len(predictions):
        raise DataError(
            f"y_true has {len(labels)} rows and y_pred has {len(predictions)}; both have one value for each row"
        )
    pairs = [(y, p) for y, p in zip(labels, predictions, strict=True) if y is not None and p is not None]
    if not pairs:
        raise DataError(f"none of {len(labels)} rows has both a label and a prediction; there is nothing to evaluate")
    if all(_names_class(value) for pair in pairs for value in pair):
        y, p = (pl.Series([class_name(pair[side]) for pair in pairs], dtype=pl.String) for side in (0, 1))
        return Measured(rows=Classification.of(y, p), positive=_positive({*y, *p}))
    if wrong := [value for pair in pairs for value in pair if not _is_number(value) or not math.isfinite(value)]:
        raise DataError(
            f"y_true and y_pred hold {_short(wrong[0])} beside numbers; "
            "give class names (text, bool, int) or finite numbers"
        )
    y, p = (pl.Series([float(pair[side]) for pair in pairs], dtype=pl.Float64) for side in (0, 1))
    return Measured(rows=Regression.of(y, p))


def _names_class(value: object) -> bool:
    return isinstance(value, (str, bool, int))


def _positive(classes: set[str]) -> str | None:
    """The class that precision and recall are of, where there are two; None for macro averages over more."""
    if classes <= {"0", "1"}:
        return "1"
    return positive_class(classes) if len(classes) == 2 else None


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    text = text if len(text) <= 60 else text[:57] + "..."
    return text if value is None else f"{text} ({type(value).__name__})"
