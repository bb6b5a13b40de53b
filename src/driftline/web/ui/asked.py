"""Read from the address of a model's page which windows of which rows it is to show, and write addresses of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from driftline.errors import UsageError
from driftline.events import Segment
from driftline.monitoring.options import ModelConfig
from driftline.text.moments import read_moment

WINDOWS_SHOWN = 120
"""The number of newest windows on the page, unless it is asked for others."""

MOST_WINDOWS = 400
"""At most so many windows of a span are shown, the newest."""

LAST = 30
"""What the page offers as the last few windows."""

_KEPT = ("start", "end", "windows", "version", "segment", "known")
_NAMES = ("version", "segment")  # names of others, which may begin or end with a space


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page is asked for: the windows that start in [``start``, ``end``), or the ``newest`` ones, None for all.

    ``then`` says that values are to be shown as they were known at first. ``query`` is what the address had of it.
    """

    query: Mapping[str, str]
    start: datetime | None
    end: datetime | None
    newest: int | None
    version: str | None
    segment: str | None
    then: bool

    @property
    def span(self) -> bool:
        """Whether a span of time was asked for."""
        return self.start is not None or self.end is not None

    def address(self, **changes: str | None) -> str:
        """Return the query of the same page but for some changes; None takes a parameter away."""
        query = {name: value for name, value in {**self.query, **changes}.items() if value}
        return f"?{urlencode(query)}"  # never empty: an empty address keeps the old query


def asked_of(params: Mapping[str, str], zone: ZoneInfo) -> Asked:
    """Read the parameters of an address; days and times without a zone are in the model's.

    Raises `UsageError` for what is no moment, number or known word, and for a span that ends before it begins.
    """
    query = {name: params[name] for name in _KEPT if params.get(name, "").strip()}
    query = {name: value if name in _NAMES else value.strip() for name, value in query.items()}
    start, end = span_of(query, zone)
    if query.get("known", "then") not in ("then", "now"):
        raise UsageError(f"known={query['known']} came; allowed are then and now")
    newest: int | None = MOST_WINDOWS
    if start is None and end is None:
        said = query.get("windows")
        newest = (
            None if said == "all" else number_of_windows(said, usual=WINDOWS_SHOWN, most=MOST_WINDOWS, more=", and all")
        )
    return Asked(query, start, end, newest, query.get("version"), query.get("segment"), query.get("known") == "then")


def span_of(query: Mapping[str, str], zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """Read ``start`` and ``end``, None for what is not said; raises `UsageError` for a span that ends too early."""
    start, end = (read_moment(name, query[name], zone) if name in query else None for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise UsageError(f"start={query['start']} and end={query['end']} came; a span ends after it begins")
    return start, end


def number_of_windows(text: str | None, *, usual: int, most: int, more: str = "") -> int:
    """Read how many windows, 1 to ``most``; ``usual`` where nothing is said. ``more`` is what else is allowed."""
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
        raise UsageError(f"windows={text} came; allowed are 1 to {most}{more}")
    return int(text)


def segment_key(segment: Segment | None) -> str:
    """Return a segment as addresses have it; empty for all rows."""
    return "" if segment is None else f"{segment.column}:{segment.value}"


def moment_key(moment: datetime | None) -> str:
    """Return a moment as addresses have it; empty for None. A colon needs no quoting in a query."""
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def feature_query(start: datetime | None = None, segment: Segment | None = None) -> str:
    """Return the query of a feature's page that shows one window, or the newest one, of a segment, or of all rows.

    >>> feature_query(datetime(2024, 3, 5, tzinfo=UTC), Segment("season", "winter"))
    '?window=2024-03-05T00:00:00Z&segment=season%3Awinter'
    """
    parts = [f"window={moment_key(start)}"] if start is not None else []
    parts += [urlencode({"segment": segment_key(segment)})] if segment is not None else []
    return f"?{'&'.join(parts)}" if parts else ""


def field_of(moment: datetime | None, zone: ZoneInfo) -> str:
    """Write a moment as a field for dates and times has it: in the zone of the model, which it does not name."""
    return "" if moment is None else moment.astimezone(zone).replace(tzinfo=None).isoformat(timespec="minutes")


def below_a_day(config: ModelConfig) -> bool:
    """Return whether a model's windows are shorter than a day, so that days do not tell them apart."""
    return config.window.length.endswith(("min", "h"))
