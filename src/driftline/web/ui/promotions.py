"""Tell from the requests for challengers which version is champion, and when one was promoted or rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from driftline.charts.lines import Mark
from driftline.retrain.request import Stage
from driftline.retrain.views import RequestView
from driftline.text.moments import page_moment
from driftline.views.lines import VersionLine


def champion_of(requests: Sequence[RequestView]) -> str:
    """Return the version that the newest promotion or roll-back made champion; empty where there was none."""
    moved = [one for one in requests if one.stage in (Stage.BAKING, Stage.PROMOTED, Stage.ROLLED_BACK)]
    if not moved:
        return ""
    newest = max(moved, key=lambda one: one.changed_at)
    return newest.champion if newest.stage == Stage.ROLLED_BACK else newest.version


def promotions(requests: Sequence[RequestView], lines: Sequence[VersionLine], zone: ZoneInfo) -> tuple[Mark, ...]:
    """Return the marks of promotions and roll-backs, in order of time.

    A promotion has its event time. Of a roll-back only the clock's time is known: where events are replayed, and that
    lies after all of them, it stands where the version's last window on the chart ends.
    """
    return tuple(sorted(_marks(requests, lines, zone), key=lambda mark: mark.at))


def _marks(requests: Sequence[RequestView], lines: Sequence[VersionLine], zone: ZoneInfo) -> Iterator[Mark]:
    for one in requests:
        if one.live_from is None:
            continue
        instead = f" in place of {one.champion}" if one.champion else ""
        promoted = f"{one.version} was promoted{instead}, {page_moment(one.live_from, zone)}"
        yield Mark(one.live_from, f"{one.version} promoted", promoted)
        for step in one.steps:
            if step.stage == Stage.ROLLED_BACK:
                at = _within(step.at, one.version, lines)
                told = f"{one.version} was rolled back, {page_moment(at, zone)}: {step.note}"
                yield Mark(at, f"{one.version} rolled back", told)


def _within(at: datetime, version: str, lines: Sequence[VersionLine]) -> datetime:
    ends = [window.end for line in lines for window in line.windows]
    own = [window.end for line in lines if line.version == version for window in line.windows]
    return max(own) if own and at > max(ends) else at
