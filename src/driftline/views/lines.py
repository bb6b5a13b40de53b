"""The measures of each version of a model over time, where several versions have answered in the same span."""

from __future__ import annotations

from datetime import datetime

import msgspec

from driftline.events import Slice
from driftline.monitoring.summary import MeasureView, Stage
from driftline.store.state import Work

MOST_VERSIONS = 6
"""At most so many versions have a line of their own: those that answered last."""


class VersionWindow(msgspec.Struct, frozen=True):
    """What is known of one version in one window, as far as a line shows it."""

    start: datetime
    end: datetime
    stage: Stage
    performance: dict[str, MeasureView]


class VersionLine(msgspec.Struct, frozen=True):
    """The windows of one version, in order of time."""

    version: str
    windows: list[VersionWindow]


_window = msgspec.msgpack.Decoder(VersionWindow)


def version_lines(read: Work, model: str, start: datetime, end: datetime, *, most_windows: int) -> list[VersionLine]:
    """Return the lines of the versions that have windows in [start, end), those that answered last; none for one.

    Together they have at most ``most_windows`` windows a version, the newest.
    """
    versions = read.windows.versions_within(model, start, end, most=MOST_VERSIONS)
    if len(versions) < 2:
        return []
    found: dict[str | None, list[VersionWindow]] = {}
    slices = [Slice(version) for version in versions]
    for slice, body in read.summaries.of_slices(model, slices, start, end, most=most_windows * len(versions)):
        found.setdefault(slice.version, []).append(_window.decode(body))
    return [VersionLine(version, found[version]) for version in versions if version in found]
