"""Which rows of a window are meant: all of them, those of one version, or those of one segment.

A segment is one value of a column that `columns.segments` names. One key, `Slice`, stands for all three in summaries,
judgements, alerts and series.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import msgspec

from driftline.errors import UsageError

MISSING_VALUE = "(missing)"
"""The segment of the rows that have no value in the column."""

OTHER_VALUES = "(other values)"
"""The segment of the rows whose value is none of those that are told apart."""


class Segment(msgspec.Struct, frozen=True, order=True):
    """The rows whose ``column`` has ``value``, which may be `MISSING_VALUE` or `OTHER_VALUES`.

    >>> str(Segment("season", "winter")), Segment("season", "winter").words
    ('season=winter', 'season = winter')
    """

    column: str
    value: str

    def __str__(self) -> str:
        """As labels of series and alerts have it."""
        return f"{self.column}={self.value}"

    @property
    def words(self) -> str:
        """As people read it."""
        return f"{self.column} = {self.value}"


class Slice(msgspec.Struct, frozen=True):
    """All rows of a window, or those of a ``version`` (which may have no name), or those of a ``segment``.

    Slices are ordered by their text: all rows first.

    >>> Slice(version="2.0").words, Slice(segment=Segment("season", "winter")).words, Slice().words
    ('version = 2.0', 'season = winter', '')
    """

    version: str | None = None
    segment: Segment | None = None

    def __lt__(self, other: Slice) -> bool:
        """In the order of the texts."""
        return self.text < other.text

    @property
    def text(self) -> str:
        """The slice as the database keeps it; `slice_of` reads it. Different slices have different texts.

        >>> Slice().text, Slice(version="a b").text, Slice(segment=Segment("season", "winter")).text
        ('', 'version=a%20b', 'segment=season:winter')
        """
        parts = [] if self.version is None else [f"version={_quoted(self.version)}"]
        if self.segment is not None:
            parts.append(f"segment={_quoted(self.segment.column)}:{_quoted(self.segment.value)}")
        return "&".join(parts)

    @property
    def words(self) -> str:
        """The slice as people read it; empty for all rows."""
        version = [] if self.version is None else [f"version = {self.version}" if self.version else "no version"]
        return ", ".join([*version, *([] if self.segment is None else [self.segment.words])])

    @property
    def labels(self) -> dict[str, str]:
        """The slice as labels of series and alerts: only those that it has.

        >>> Slice().labels, Slice(segment=Segment("season", "winter")).labels
        ({}, {'segment': 'season=winter'})
        """
        version = {} if self.version is None else {"version": self.version}
        return version | ({} if self.segment is None else {"segment": str(self.segment)})

    def titled(self, text: str) -> str:
        """Return a title with the slice behind it; the title itself for all rows.

        >>> Slice(segment=Segment("season", "winter")).titled("Model accuracy below threshold!")
        'Model accuracy below threshold! (season = winter)'
        """
        return f"{text} ({self.words})" if self.words else text

    def covers(self, other: Slice) -> bool:
        """Return whether what is true of this one's rows can explain what is true of the other's: it has
        all of them.
        """
        return self in (WHOLE, other)


WHOLE = Slice()
"""All rows of a window."""


def slice_of(text: str) -> Slice:
    """Read the text of a slice.

    >>> slice_of("segment=season:winter") == Slice(segment=Segment("season", "winter"))
    True
    """
    version, segment = None, None
    for part in text.split("&") if text else ():
        kind, _, rest = part.partition("=")
        if kind == "version":
            version = _unquoted(rest)
        elif kind == "segment" and ":" in rest:
            column, _, value = rest.partition(":")
            segment = Segment(_unquoted(column), _unquoted(value))
        else:
            raise UsageError(f"{text!r} is no slice; one is such as 'version=2' or 'segment=season:winter'")
    return Slice(version, segment)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def _unquoted(text: str) -> str:
    return unquote(text, errors="surrogatepass")
