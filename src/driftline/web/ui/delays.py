"""Prepare for the page of a model how late its labels come: in words, as a small picture and as a table."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from driftline.charts.sparks import sparkline
from driftline.text.durations import length
from driftline.text.numbers import count, percent
from driftline.views.delays import LabelDelayView, Unlabelled


@dataclass(frozen=True, slots=True)
class Delay:
    """How late labels come: a sentence or two, the share without a label over age, and the same by ``ages``."""

    words: str
    drawing: Markup
    first: str
    last: str
    ages: tuple[tuple[str, str, Unlabelled], ...]


def delay_shown(view: LabelDelayView) -> Delay:
    """Return what is shown of it; the picture begins where the first label comes and ends where the last has come."""
    told = _told(view.unlabelled)
    ages = tuple((length(one.age_seconds), percent(one.share), one) for one in told)
    label = "; ".join(f"{share} after {age}" for age, share, _ in ages[:: max(len(ages) // 6, 1)])
    return Delay(
        _words(view),
        sparkline(
            [one.share for one in told], marked=[False] * len(told), level=None, label=f"Without a label: {label}"
        ),
        ages[0][0] if ages else "",
        ages[-1][0] if ages else "",
        ages,
    )


def _told(every: list[Unlabelled]) -> list[Unlabelled]:
    """Leave out the ages before the first label and after the last."""
    lowest = min((one.share for one in every), default=0.0)
    last = next((place for place, one in enumerate(every) if one.share <= lowest), 0)
    first = next((place for place, one in enumerate(every) if one.share < 1), 0)
    return every[max(first - 1, 0) : last + 1]


def _words(view: LabelDelayView) -> str:
    if view.median_seconds is None or view.p90_seconds is None:
        young = f"{count(view.labels)} labels have come"
        return f"{young}, all of predictions too young to tell how late labels usually come."
    ends = dict.fromkeys((view.median_seconds, view.p90_seconds))
    within = [f"within {length(seconds)}" if seconds else "at once" for seconds in ends]
    come = f"Half of the labels come {within[0]}, nine of ten {within[-1]}."
    if len(within) == 1:
        come = f"Nine of ten labels come {within[0]}."
    last = _told(view.unlabelled)[-1]
    rest = f"Of {count(last.predictions)} predictions that are at least {length(last.age_seconds)} old"
    return f"{come} {rest}, {percent(last.share)} had no label by then."
