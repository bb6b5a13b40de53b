"""Write the notes of a check: what is worth knowing but no reason for an alert."""

from __future__ import annotations

from collections.abc import Mapping

from driftline.checks.days import told_of_days, told_of_season
from driftline.checks.guesses import parts_unplayed
from driftline.checks.scan import REPEATED_LEAST
from driftline.checks.sides import Comparison
from driftline.errors import DataError
from driftline.events import Kind, Task
from driftline.lookalikes import differs_by, in_quotes, shown, shown_all, some_of, twins
from driftline.profiles import CategoricalColumn, Classification, NumericColumn
from driftline.profiles.build import MOST_SEGMENTS
from driftline.profiles.frame import other_class, score_columns
from driftline.profiles.reading_times import LEAST_READ
from driftline.statistics import ColumnDrift, EffectThresholds
from driftline.statistics.between import few_blocks
from driftline.statistics.changes import FAR_WORDS
from driftline.statistics.drift import more_missing
from driftline.statistics.scores import unscored
from driftline.text.numbers import numbers, percent, percents

_WANTED = {"score": "probabilities from 0 to 1", "time": "times", "label": "numbers", "prediction": "numbers"}
_READ = {Kind.NUMERIC: "numbers", Kind.DATETIME: "dates"}
_MANY, _UNREAD_TOLD = 0.05, 5
_FEW = 0.01
_OF_VALUES = ("wasserstein", "js")
_TWINS_TOLD = 3


def notes_on(sides: Comparison, new: list[str], drifts: Mapping[str, ColumnDrift]) -> tuple[str, ...]:
    """Return notes on new columns, repeated rows, volume, gaps, unreadable values, and outliers."""
    notes = [f"{some_of(new)} {'is' if len(new) == 1 else 'are'} new"] if new else []
    was, became = sides.before.repeated, sides.now.repeated
    if sides.columns.id is None and was is not None and became is not None and became >= max(REPEATED_LEAST, 2 * was):
        told = percents(became, was)
        notes.append(f"{told[0]} of the current rows repeat another one ({told[1]} in the reference)")
    many = [name for name in sides.columns.segments if len(sides.now.segments.get(name, {})) >= MOST_SEGMENTS]
    notes += [f"{name} has {MOST_SEGMENTS} values or more; only the first are shown as segments" for name in many]
    if sides.columns.prediction is None and sides.columns.score is not None:
        if sides.now.profile.performance is not None:
            notes.append(f"predictions are taken from the scores: {_guessed(sides)}")
        elif _lacks_other_class(sides):
            notes.append(
                "no predictions are taken from the scores: the first labels do not show what a score below 0.5 means"
            )
    return (
        *sides.said,
        *notes,
        *_alike_classes(sides),
        *_odd_scores(sides),
        *parts_unplayed(sides),
        *_unreadable(sides),
        *_unread(sides, drifts),
        *_without_times(sides),
        *told_of_days(sides.before.days, sides.now.days),
        *_few_blocks(sides),
        *_fewer_missing(drifts, sides.floors),
        *_outliers(sides, {name: drift.drifted for name, drift in drifts.items() if not _tells_ends(drift)}),
        *(told_of_season(sides.before.days, sides.now.days) if _has_moved(sides, drifts) else ()),
    )


def _has_moved(sides: Comparison, drifts: Mapping[str, ColumnDrift]) -> bool:
    """Whether values of an input have drifted, which a season does; it takes none away."""
    features = sides.layout.schema.features
    return any(one.drifted and one.measure in _OF_VALUES for name, one in drifts.items() if name in features)


def _tells_ends(drift: ColumnDrift) -> bool:
    return drift.drifted and any(words.startswith(FAR_WORDS) for words in drift.changes)


def _fewer_missing(drifts: Mapping[str, ColumnDrift], floors: EffectThresholds) -> list[str]:
    """Name columns with significantly fewer missing values: worth knowing, and no fault."""
    told = shown_all(drifts)
    found = []
    for name, drift in drifts.items():
        was, became, chance = drift.missing_reference, drift.missing_current, drift.p_values.get("missing")
        if drift.drifted or was is None or became is None or chance is None or chance >= floors.chance:
            continue
        if more_missing(became, was, floors) is not None:
            found.append(f"{told[name]} has fewer missing values: {' → '.join(percents(was, became))}")
    return found


def _guessed(sides: Comparison) -> str:
    scored = [*score_columns(sides.columns, sides.layout.schema)]
    return f"{scored[0]} from 0.5 on" if len(scored) == 1 else "the class with the highest one"


def _lacks_other_class(sides: Comparison) -> bool:
    """Tell whether labelled rows have a single score column, from which no prediction could be derived."""
    label = sides.now.profile.labels.columns.get("label")
    scored = score_columns(sides.columns, sides.layout.schema)
    if not isinstance(label, CategoricalColumn) or label.absent == label.rows or len(scored) != 1:
        return False
    ((name, column),) = scored.items()
    return column in sides.types_now and other_class(name, sides.layout.schema) is None


def _alike_classes(sides: Comparison) -> list[str]:
    """Name predicted classes that look like a label and are never equal to one."""
    performance = sides.now.profile.performance
    if not isinstance(performance, Classification):
        return []
    labels, predicted = ({pair[place] for pair in performance.confusion} for place in (0, 1))
    return [
        f"the prediction {in_quotes(one, [other])} differs from the label {in_quotes(other, [one])} by "
        f"{differs_by(one, other)} only: they are two classes, and count as wrong"
        for one, other in twins(predicted - labels, labels).items()
    ][:_TWINS_TOLD]


def _odd_scores(sides: Comparison) -> list[str]:
    """Say how scores are used that are no probability distribution over the classes."""
    both = [
        side.profile.performance if isinstance(side.profile.performance, Classification) else Classification()
        for side in (sides.before, sides.now)
    ]
    shares = [side.rescaled / max(side.count, 1) for side in both]
    notes = []
    if any(shares):
        was, became = percents(*shares)
        notes.append(
            f"scores add up to more than 1 in {became} of the labelled rows ({was} in the reference): "
            "log loss and Brier score are of their shares of that sum"
        )
    if sides.layout.schema.task is Task.MULTICLASS and (names := unscored(both[1])):
        share = percent(sum(names.values()) / max(both[1].count, 1))
        verb = "has no score" if len(names) == 1 else "have no scores"
        notes.append(
            f"{some_of(list(names))} {verb}: log loss and Brier score take what the scores leave for the probability "
            f"of the label in {share} of the labelled rows"
        )
    return notes


def _unreadable(sides: Comparison) -> list[str]:
    """Say how many values were left out because they do not fit the role of their column."""
    notes = []
    for column, part in sides.columns.roles.items():
        shares = [seen.mistyped[column] / max(seen.rows, 1) for seen in (sides.before, sides.now)]
        if part in _WANTED and any(shares):
            was, became = percents(*shares)
            notes.append(f"{became} of {column} are left out: they are no {_WANTED[part]} ({was} in the reference)")
    return notes


def require_times_read(sides: Comparison) -> None:
    """Refuse a time column most of whose values cannot be read, although the first rows could."""
    name = sides.columns.time
    for seen in (sides.before, sides.now):
        if name is None or not (lost := seen.mistyped[name]):
            continue
        there = seen.rows - seen.nulls[name]
        if lost > (1 - LEAST_READ) * there:
            raise DataError(
                f"{lost} of {there} values of the time column {name!r} are no times as its first rows are; write them "
                "alike, or say how they are written: --time-format '%d.%m.%Y %H:%M'"
            )


def _unread(sides: Comparison, drifts: Mapping[str, ColumnDrift]) -> list[str]:
    """Name inputs many of whose values could not be read like the first rows, unless they are reported as drifted."""
    notes = []
    for name, kind in sides.layout.schema.features.items():
        shares = [seen.mistyped[name] / max(seen.rows, 1) for seen in (sides.before, sides.now)]
        if kind in _READ and max(shares) >= _MANY and not (name in drifts and drifts[name].drifted):
            was, became = percents(*shares)
            notes.append(f"{became} of {name} are left out: they are no {_READ[kind]} ({was} in the reference)")
    return notes[:_UNREAD_TOLD]


def _without_times(sides: Comparison) -> list[str]:
    """Name the sides without any time, although a time column was given."""
    name = sides.columns.time
    if name is None:
        return []
    gone = [
        (words, "no column" if name not in types else "no time in")
        for words, seen, types in (
            ("the reference has", sides.before, sides.types_before),
            ("the current rows have", sides.now, sides.types_now),
        )
        if not seen.days
    ]
    return [f"{words} {what} {name}: gaps and changes of volume are not looked for" for words, what in gone]


def _few_blocks(sides: Comparison) -> list[str]:
    """Name the sides with too few days or clusters for narrow intervals of performance."""
    found = []
    for words, seen in (("in the reference", sides.before), ("now", sides.now)):
        performance = seen.profile.performance
        if performance is not None and (few := few_blocks(performance)) is not None:
            found.append(f"{few} {words}")
    if not found:
        return []
    cluster = sides.columns.cluster
    what = "days" if cluster is None else f"values of {shown(cluster)}"
    told = f"there are few {what} to tell how far they differ, as good as {' and '.join(found)}"
    return [f"{told}: intervals of performance are wide, and only large changes of it alert"]


def _outliers(sides: Comparison, drifted: Mapping[str, bool]) -> list[str]:
    """Name columns with outliers: values further outside the reference's range than that range is wide."""
    notes = []
    before, now = sides.before.profile.features.columns, sides.now.profile.features.columns
    for name, moved in drifted.items():
        was, became = before.get(name), now.get(name)
        if not (isinstance(was, NumericColumn) and isinstance(became, NumericColumn)):
            continue
        if was.smallest is None or was.largest is None or became.smallest is None or became.largest is None:
            continue
        extent = was.largest / 2 - was.smallest / 2  # halves do not overflow
        below, above = was.smallest / 2 - became.smallest / 2, became.largest / 2 - was.largest / 2
        far = [end for end, by in ((became.smallest, below), (became.largest, above)) if 0 < extent < by]
        if moved and _share_further(became, was.smallest, was.largest, extent) >= _FEW:
            continue  # so many that they are the drift
        if far and sides.before.rows >= sides.floors.rows:
            *told, low, high = numbers(*far, was.smallest, was.largest)
            notes.append(
                f"{shown(name)} has values as far out as {' and '.join(told)}; the reference goes from {low} to {high}"
            )
    return notes


def _share_further(column: NumericColumn, smallest: float, largest: float, extent: float) -> float:
    """Return the share of a column's numbers more than two ``extent`` below ``smallest`` or above ``largest``."""
    halves = column.sketch.grid.centres(column.sketch.cells) / 2
    further = (smallest / 2 - halves > extent) | (halves - largest / 2 > extent)
    return float(column.sketch.counts[further].sum()) / max(column.sketch.count, 1)
