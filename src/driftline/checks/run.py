"""Run a check, from opened sides to the report.

The first rows decide on columns and types (`driftline.checks.schema`), then each side is read once
(`driftline.checks.scan`), and the profiles are compared (`driftline.checks.compare`). The code that compares them is
imported while the sides are read.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from threading import Thread
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from driftline.checks.opening import Batches, Opened
from driftline.checks.reading import Input, read_sides_alike
from driftline.checks.scan import SideProfile, read_sides
from driftline.checks.schema import require_columns, schema_of, set_aside
from driftline.checks.sides import Comparison, Said, classes_of
from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import Kind, Schema, Task, guess_positive
from driftline.profiles import CategoricalColumn, Columns, NumericColumn, canonical, layout_of
from driftline.profiles.frame import FEATURE, other_class, score_columns
from driftline.profiles.infer import CLASSES_OF_NUMBERS, INFERRED_CLASSES_LIMIT, named_in, too_many_classes
from driftline.profiles.layout import Layout
from driftline.sources.rows import StreamedRows

if TYPE_CHECKING:
    from driftline.checks.own import Own
    from driftline.checks.report import Report
    from driftline.rules import Rule
    from driftline.statistics import EffectThresholds

_COMPARING = "driftline.checks.compare"
_CELLS_A_SD = 8


class Request(msgspec.Struct, frozen=True):
    """The arguments of a check; see `driftline.checks.api.check`. ``floors`` None are the default ones."""

    reference: Any
    current: Any
    columns: Columns
    floors: EffectThresholds | None
    multivariate: str
    rules: tuple[Rule, ...]
    own: Own
    progress: Callable[[float], None] | None


def run(opened: Opened, request: Request, task: Task | None, positive: str | None) -> Report:
    """Check the opened sides; ``task`` and ``positive`` are the caller's, None to infer them."""
    said = Said(task=task is not None, positive=positive is not None)
    return _run(opened, request, said, task, positive)


def _run(opened: Opened, request: Request, said: Said, task: Task | None, positive: str | None) -> Report:
    """Check with this task and positive class; ``said`` is which of them the caller gave. May call itself once, with
    what all rows show.
    """
    columns, progress = request.columns, request.progress or _silent
    before, now = (Input(rows, opened.sample(rows), columns.missing) for rows in opened.rows)
    require_columns(before.sample, now.sample, columns)
    before, now, alike = read_sides_alike(before, now, columns)
    sides = before, now
    schema = schema_of(before.sample, now.sample, columns, task, positive)
    if positive is not None and schema.task is not Task.BINARY:
        raise UsageError(f"positive {positive!r} came, and the task is {schema.task.value}; only a binary model has it")
    if request.rules:
        from driftline.checks.ruled import require_features

        require_features(request.rules, schema.features)
    aside = set_aside(before.sample, now.sample, schema, alike.doubts)
    compared = replace(schema, features={name: kind for name, kind in schema.features.items() if name not in aside})
    layout = Layout(columns, compared, *layout_of(canonical(before.sample, columns, compared), compared))
    batches = opened.batches([side.rows for side in sides])
    with _imported_meanwhile(_COMPARING):
        seen_before, seen_now = read_sides(sides, batches, layout, progress)
    again = not any(isinstance(side.rows, StreamedRows) for side in sides)
    finer = _with_other_class(_finer(layout, seen_before), seen_before, seen_now)
    if again and finer != layout:  # the first rows did not show what all are like
        layout = finer
        seen_before, seen_now = read_sides(sides, Batches([side.rows for side in sides], columns), layout, _silent)
    from driftline.checks.compare import report_of
    from driftline.checks.notes import require_times_read
    from driftline.checks.own import own_measures
    from driftline.statistics import EffectThresholds

    comparison = Comparison(
        layout,
        seen_before,
        seen_now,
        before.types,
        now.types,
        request.floors or EffectThresholds(),
        tuple(dict.fromkeys((*before.rows.notes, *now.rows.notes, *alike.words))),
        dict(before.rows.schema),
    )
    require_times_read(comparison)
    seen_task, seen_positive = _by_all_rows(comparison, schema, task, positive)
    if (seen_task, seen_positive) != (schema.task, schema.positive):
        if not again:
            raise DataError(_unlike_the_first_rows(comparison, seen_task))
        opened = Opened(request.reference, request.current, columns)
        return _run(opened, request, said, seen_task, seen_positive)
    own = own_measures(request.own, now, layout)
    return report_of(comparison, schema, aside, request.multivariate, said, request.rules, own)


@contextlib.contextmanager
def _imported_meanwhile(name: str) -> Iterator[None]:
    """Import a module in another thread, while this one mostly waits for rows."""
    if name in sys.modules:
        yield
        return
    importing = Thread(target=importlib.import_module, args=(name,), name="driftline-import", daemon=True)
    importing.start()
    try:
        yield
    finally:
        importing.join()


def _silent(share: float) -> None:
    """Show no progress."""


# ---- what all rows show ------------------------------------------------------------------------------------


def _finer(layout: Layout, reference: SideProfile) -> Layout:
    """Return the layout with finer grids for numbers that nearly all fall into one cell, and anchors for vectors that
    had none.

    Both happen where the first rows have no values, or other values than the rest.
    """
    schema, profiled = layout.schema, reference.profile.features.columns
    coarse = {
        name: kind
        for name, kind in schema.features.items()
        if (kind is Kind.EMBEDDING and FEATURE + name not in layout.anchors)
        or (isinstance(column := profiled.get(name), NumericColumn) and _is_coarse(column))
    }
    targets = (reference.profile.outputs.columns.get("prediction"), reference.profile.labels.columns.get("label"))
    moved = any(isinstance(column, NumericColumn) and _is_coarse(column) for column in targets)
    if not coarse and not moved:
        return layout
    grids, anchors = layout_of(reference.sample, Schema(Task.REGRESSION if moved else Task.MULTICLASS, coarse))
    return replace(layout, grids={**layout.grids, **grids}, anchors={**layout.anchors, **anchors})


def _is_coarse(column: NumericColumn) -> bool:
    """Tell whether the cell of the median is too wide to separate its values."""
    bounds = column.sketch.quantile_bounds(0.5)
    return bounds is not None and bool(column.sd) and bounds[1] - bounds[0] > (column.sd or 0.0) / _CELLS_A_SD


def _with_other_class(layout: Layout, *sides: SideProfile) -> Layout:
    """Return the layout with the negative class of a single score column, where only later rows have it."""
    columns, schema = layout.columns, layout.schema
    scored = [*score_columns(columns, schema)]
    if columns.prediction is not None or len(scored) != 1 or other_class(scored[0], schema) is not None:
        return layout
    seen = replace(schema, classes=tuple(sorted({*schema.classes, *classes_of(columns, *sides)})))
    return replace(layout, schema=seen) if other_class(scored[0], seen) is not None else layout


def _by_all_rows(sides: Comparison, schema: Schema, task: Task | None, positive: str | None) -> tuple[Task, str | None]:
    """Infer the task and the positive class from all rows; the first rows may have suggested others."""
    if schema.task is Task.REGRESSION:
        return schema.task, None
    classes = classes_of(sides.columns, sides.before, sides.now) | set(schema.classes)
    if task is None and not isinstance(sides.columns.score, str) and _are_numbers(sides):
        return Task.REGRESSION, None
    if len(classes) > INFERRED_CLASSES_LIMIT:
        raise too_many_classes(classes, sides.columns)
    if schema.task is Task.MULTICLASS:
        return schema.task, None
    if len(classes) > 2:
        if task is not None or positive is not None:
            raise too_many_classes(classes, sides.columns)
        return Task.MULTICLASS, None
    if positive is None:
        guess = guess_positive(classes, **named_in(sides.columns))
        return schema.task, guess.name if guess is not None else schema.positive
    if schema.positive not in classes and len(classes) == 2:
        raise UnknownNameError("class", positive, sorted(classes))
    return schema.task, schema.positive


def _are_numbers(sides: Comparison) -> bool:
    """Tell whether all labels or predictions are numbers of a regression, by the criteria of `infer_schema`."""
    for seen, types in ((sides.before, sides.types_before), (sides.now, sides.types_now)):
        for profile, name, column in (
            (seen.profile.labels, "label", sides.columns.label),
            (seen.profile.outputs, "prediction", sides.columns.prediction),
        ):
            found = profile.columns.get(name)
            if column is None or not isinstance(found, CategoricalColumn) or not types[column].is_numeric():
                continue
            numbers = [float(name) for name in found.categories.counts]
            if len(numbers) > CLASSES_OF_NUMBERS or any(x != round(x) for x in numbers if math.isfinite(x)):
                return True
    return False


def _unlike_the_first_rows(sides: Comparison, task: Task) -> str:
    targets = [column for column in (sides.columns.label, sides.columns.prediction) if column is not None]
    say = "the positive class" if task is Task.BINARY else f"task: {task.value}"
    return (
        f"{', '.join(targets)} has values that its first rows do not show, and a stream cannot be read again; "
        f"say {say}, or name a file"
    )
