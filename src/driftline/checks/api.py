"""``driftline.check``: compare two sets of rows and give one verdict, with the schema, profiles and statistics of the
service.

The rows are opened first (`driftline.checks.opening`); the rest of the work (`driftline.checks.run`) is imported while
the first of them are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from driftline.checks.opening import Opened
from driftline.errors import UnknownNameError
from driftline.events import MISSING_TEXTS, Task, class_name
from driftline.profiles import Columns
from driftline.sources.profiled import is_profiles

if TYPE_CHECKING:
    from driftline.checks.own import Own
    from driftline.checks.report import Report
    from driftline.rules import Rule
    from driftline.statistics import EffectThresholds

MULTIVARIATE = ("none", "correlation", "classifier")


def check(
    reference: Any,
    current: Any,
    *,
    task: Task | str | None = None,
    prediction: str | None = None,
    score: str | Mapping[str, str] | None = None,
    label: str | None = None,
    time: str | None = None,
    id: str | None = None,
    features: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    segments: Iterable[str] = (),
    missing: Iterable[str] = MISSING_TEXTS,
    time_format: str | None = None,
    categorical: Iterable[str] | None = None,
    cluster: str | None = None,
    positive: object = None,
    floors: EffectThresholds | None = None,
    multivariate: str = "correlation",
    rules: Iterable[Rule | str] = (),
    measures: Own | None = None,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Compare current rows with reference rows: a Polars or pandas frame, anything with
    ``__arrow_c_stream__``, a path, a glob, or an address such as ``s3://bucket/rows.parquet``.

    ``features`` are the columns to compare; without it, all that have no other role. ``score`` is the column of the
    positive class's probability, or a mapping of class to column. ``segments`` are columns: performance is measured for
    each of their values. ``missing`` are the texts that stand for a missing value. ``time_format`` is how times are
    written, in the directives of strptime, or the unit of numbers (s, ms, us, ns); without it the format is inferred.
    ``categorical`` are columns of numbers that are codes; without it, few large whole numbers count as codes, and the
    report says so. Rows with the same value of ``cluster``, such as a customer, are not independent: the intervals of
    performance allow for that. Without it they allow for dependence between rows of one day, where there are times.
    ``multivariate`` is how changed relations between columns are detected: by rank "correlation", by a "classifier"
    that separates the two sides, or "none". ``rules`` may be expressions such as "accuracy < 0.75"; they are evaluated
    on the current rows as on one window. ``measures`` are functions of the labelled current rows, by name, or addresses
    such as "costs.py:cost"; rules may use them. ``progress`` is called with the share of the work that is done, 0 to 1.

    Either side, or both, may also be a table of profiles, as `driftline profile` writes it: then how rows are read is
    known, and not to be said. What rests on single rows, such as relations between columns, is left out.

    An alert is a column that has drifted, significantly and by the minimum effect size (``floors``); a measure of
    performance that is significantly worse than on the reference; a problem of the data; or a rule in breach. Files are
    streamed: memory does not grow with their rows. Raises `UsageError` for options that do not fit together or the
    columns, `DataError` for rows that cannot be read or compared.

    >>> import polars as pl
    >>> rows = pl.DataFrame({"wind": [float(i % 7) for i in range(100)]})
    >>> check(rows, rows).verdict
    'ok'
    """
    if multivariate not in MULTIVARIATE:
        raise UnknownNameError("way to look at columns together", multivariate, MULTIVARIATE)
    columns = Columns(
        id=id,
        time=time,
        prediction=prediction,
        score=dict(score) if isinstance(score, Mapping) else score,
        label=label,
        features=tuple(dict.fromkeys(features)) if features is not None else None,
        ignore=tuple(ignore),
        segments=tuple(dict.fromkeys(segments)),
        missing=tuple(missing),
        time_format=_time_format(time_format),
        categorical=None if categorical is None else tuple(dict.fromkeys(filter(None, categorical))),
        cluster=cluster,
    )
    known_task = _task(task)
    known_positive = None if positive is None else class_name(positive)
    own = dict(measures or {})
    known_rules = _rules(rules, own)
    if is_profiles(reference) or is_profiles(current):
        from driftline.checks.profiled import check_profiles
        from driftline.checks.run import Request

        given = Request(reference, current, columns, floors, multivariate, known_rules, own, progress)
        return check_profiles(given, known_task, known_positive)
    opened = Opened(reference, current, columns)
    from driftline.checks.run import Request, run

    request = Request(reference, current, columns, floors, multivariate, known_rules, own, progress)
    return run(opened, request, known_task, known_positive)


def _task(task: Task | str | None) -> Task | None:
    if task is None or isinstance(task, Task):
        return task
    if task not in list(Task):
        raise UnknownNameError("task", str(task), [kind.value for kind in Task])
    return Task(task)


def _time_format(time_format: str | None) -> str | None:
    if time_format is None:
        return None
    from driftline.profiles.times import checked_time_format

    return checked_time_format(time_format)


def _rules(rules: Iterable[Rule | str], own: Own) -> tuple[Rule, ...]:
    """The rules as such; raise for unknown names among them and among the measures."""
    given = tuple(rules)
    if own:
        from driftline.checks.own import require_names

        require_names(own)
    if not given:
        return ()
    from driftline.checks.ruled import rules_of

    return rules_of(given, own)
