"""Read CSV and TSV as people write them: with comments above the header, other separators, lines with too few fields.

Polars reads correct files. Others are read by Python's csv module and written anew; what cannot be mended is an error
that names the line.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from driftline.errors import DataError
from driftline.sources.texts import HEAD_BYTES, Spool, as_utf8, blocks, plain

_SIGNS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_QUOTED, _QUOTED_BYTES = re.compile(r'"[^"]*"'), re.compile(rb'"[^"]*"')
_LINE_END = re.compile(r"\r\n|\n|\r")
_SAID = re.compile(r'"?sep=([\t -~])"?', re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?\s*", re.IGNORECASE)
_LOOKED_AT = 20
_MOST_QUOTED = 64 << 20  # bytes between two quotes


class Layout(NamedTuple):
    """The layout of a file: the number of lines above its header, and the separator of its fields."""

    skipped: int
    separator: str


class Part(NamedTuple):
    """A file that Polars can read, and notes on how it was mended."""

    path: Path
    name: str
    layout: Layout
    header: tuple[str, ...]
    notes: tuple[str, ...] = ()
    mended: bool = False


def part_of(path: Path, name: str, separator: str, spool: Spool) -> Part:
    """Check a whole file, and mend it if Polars would fail or read something other than what is written.

    ``separator`` is the usual one for the suffix; another one is taken if every line shows it.
    """
    text = as_utf8(plain(path, name, spool, keep_mark=True), name, spool)
    with text.path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise DataError(f"{name} is empty")
    lines = _LINE_END.split(head)
    layout = layout_of(lines[:-1] if len(lines) > 1 and len(head) == HEAD_BYTES else lines, separator, name)
    header = tuple(_unquoted(lines[layout.skipped :], layout.separator))
    notes = text.notes
    if layout.separator != separator:
        notes = (*notes, f"{name} is separated by {_SIGNS.get(layout.separator, repr(layout.separator))}")
    part = Part(text.path, name, layout, _named(header, name), notes)
    bare = _QUOTED.sub("", head)
    old_ends = "\r" in bare and "\n" not in bare  # line ends of old Macintosh computers
    return mended(part, spool) if old_ends or not _in_order(part) else part


def scan_parts(parts: Sequence[Part], missing: Sequence[str], rows: int | None, texts: Collection[str]) -> pl.LazyFrame:
    """Scan files as one table; columns in ``texts`` stay as they are written.

    The types are taken from the first ``rows`` (None: from all). Dates are not guessed: Polars would silently swap day
    and month. Columns that a file lacks are missing there.
    """
    if len({(part.header, part.layout) for part in parts}) > 1:
        return pl.concat([scan_parts([part], missing, rows, texts) for part in parts], how="diagonal_relaxed")
    read = partial(
        pl.scan_csv,
        [part.path for part in parts],
        separator=parts[0].layout.separator,
        skip_lines=parts[0].layout.skipped,
        null_values=list(missing),
        infer_schema_length=rows,
        glob=False,
    )
    wanted = set(texts).intersection(parts[0].header)
    if not wanted and set(parts[0].header).isdisjoint(_unnamed(parts[0].header)):
        return read()
    written = read(infer_schema_length=0).collect_schema().names()
    names = dict(zip(written, parts[0].header, strict=True))
    scan = read(schema_overrides={old: pl.String() for old, new in names.items() if new in wanted})
    return scan.rename({old: new for old, new in names.items() if old != new})


def _named(header: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the names in the header; a column without one is named after its place. Raises for repeated names."""
    names = tuple(column or unnamed for column, unnamed in zip(header, _unnamed(header), strict=True))
    if again := [column for column, times in Counter(names).items() if times > 1]:
        raise DataError(f"{name}: the column {again[0]!r} comes more than once; give each a name of its own")
    return names


def _unnamed(header: Sequence[str]) -> list[str]:
    return [f"column {place}" for place in range(1, len(header) + 1)]


# ---- how it is written -------------------------------------------------------------------------------------


def layout_of(lines: Sequence[str], separator: str, name: str = "the file") -> Layout:
    """Return where the header of a file is and which separator its columns have, from its first lines.

    >>> layout_of(["# made by x, v2", "", "a;b", "1,5;2", "2,5;3"], ",")
    Layout(skipped=2, separator=';')
    >>> layout_of(["sep=|", "a|b", "1|2"], ","), layout_of(["#id,name", "1,x"], ",")
    (Layout(skipped=1, separator='|'), Layout(skipped=0, separator=','))
    """
    at = _after_blank(lines, 0)
    said = _SAID.fullmatch(lines[at].strip(" "))
    if said is not None and at + 1 < len(lines):
        return Layout(_after_blank(lines, at + 1), said[1])
    first = at
    while at < len(lines) and (lines[at].startswith("#") or not lines[at].strip()):
        at += 1
    if at == len(lines):  # only such lines
        at = first
    separator = _separator_of(lines[at:], separator, name)
    if at > first and _is_header(lines, at - 1, separator):
        at -= 1
    return Layout(at, separator)


def _after_blank(lines: Sequence[str], at: int) -> int:
    return next((place for place in range(at, len(lines)) if lines[place].strip()), at)


def _is_header(lines: Sequence[str], at: int, separator: str) -> bool:
    """Return whether a line that begins with # is the header with data below it, not a comment above the header."""
    above, below, data = (_fields(line, separator) for line in (*lines[at : at + 3], "", "")[:3])
    if not lines[at].startswith("#") or len(above) != len(below) or len(above) == 1:
        return False
    return _has_number(below) or (not lines[at][1:2].isspace() and not _has_number(data))


def _has_number(fields: Iterable[str]) -> bool:
    return any(_NUMBER.fullmatch(field) for field in fields)


def _fields(line: str, separator: str) -> list[str]:
    return _QUOTED.sub("x", line).split(separator)


def _separator_of(lines: Sequence[str], usual: str, name: str) -> str:
    """Return the usual separator, or another that each of the first lines has as often as the header.

    With the wrong separator, one column of whole lines would be free text, and no drift would be found in it.
    """
    widths = {sign: _widths(lines, sign) for sign in _SIGNS}
    header, *rows = widths[usual]
    if header > 1 and (not rows or header in rows):
        return usual
    others = [sign for sign, (first, *_) in widths.items() if sign != usual and first > 1]
    fitting = [sign for sign in others if len(widths[sign]) > 1 and len(set(widths[sign])) == 1]
    if len(fitting) == 1:
        return fitting[0]
    if others and header == 1:
        raise DataError(
            f"{name}: its one column {lines[0]!r} looks like several, separated by {others[0]!r}; "
            "separate them by commas (.csv) or tabs (.tsv)"
        )
    return usual


def _widths(lines: Iterable[str], sign: str) -> list[int]:
    """Return how many fields each of the first rows would have with a separator."""
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=sign)
    return [len(row) for row in islice((row for row in rows if any(field.strip() for field in row)), _LOOKED_AT)]


def _unquoted(lines: Iterable[str], separator: str) -> list[str]:
    return next(csv.reader((f"{line}\n" for line in lines), delimiter=separator), [])


def _in_order(part: Part) -> bool:
    """Return whether every line has as many fields as the header and every quote is closed, by counts of characters."""
    separator, skip = part.layout.separator.encode(), part.layout.skipped
    others = bytes(byte for byte in range(256) if byte not in separator + b"\n")
    row = separator * (len(part.header) - 1) + b"\n"
    pending = b""
    for block in blocks(part.path):
        start = 0
        while skip and (cut := block.find(b"\n", start) + 1):
            start, skip = cut, skip - 1
        pending += block[start:]
        quoted = b'"' in pending
        if quoted and pending.count(b'"') % 2:
            if len(pending) > _MOST_QUOTED:
                return False
            continue
        bare = _QUOTED_BYTES.sub(b"", pending) if quoted else pending
        signs = bare.translate(None, others)
        if bare and not bare.endswith(b"\n"):
            signs += b"\n"
        if signs != row * (len(signs) // len(row)):
            return False
        pending = b""
    return not pending


# ---- mending -----------------------------------------------------------------------------------------------


class _Lines:
    """The lines of a file; ``record`` holds those read since it was last emptied."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.record: list[str] = []
        self._lines = lines

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.record.append(line)
            yield line


def mended(part: Part, spool: Spool) -> Part:
    """Write a file anew as Polars reads it: with equal line ends, correct quotes and no blank lines.

    Lines with too few fields get missing values at the end, and a note says so. Raises `DataError` for lines with too
    many fields and for a quote that is not closed, and names the first such line.
    """
    target = spool.new(".csv")
    short: list[int] = []
    width = len(part.header)
    with (
        part.path.open(encoding="utf-8-sig", newline="") as source,
        target.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\r\n")  # so that fields with either character are quoted
        for line, row in _records(part, source):
            if width > 1 and len(row) < 2 and not any(field.strip() for field in row):
                continue
            if len(row) < width:
                short.append(line)
            writer.writerow([*row[:width], *[""] * (width - len(row))])
    notes = part.notes
    if short:
        lines = "1 line has" if len(short) == 1 else f"{len(short):,} lines have"
        which = f"line {short[0]:,}" if len(short) == 1 else f"the first is line {short[0]:,}"
        notes = (*notes, f"{part.name}: {lines} fewer fields than the header, {which}; what is not there is missing")
    return part._replace(path=target, layout=Layout(0, ","), notes=notes, mended=True)


def _records(part: Part, source: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows, each with the number of its first line."""
    skipped, separator = part.layout
    lines = _Lines(islice(source, skipped, None))
    reader = csv.reader(lines, delimiter=separator)
    width, begin, long = len(part.header), skipped + 1, 0
    first: tuple[int, int, int] | None = None
    try:
        for row in reader:
            if len(row) > width and any(row[width:]):
                first, long = first or (begin, skipped + reader.line_num, len(row)), long + 1
            yield begin, row
            begin, last, lines.record = skipped + reader.line_num + 1, lines.record, []
    except csv.Error as error:
        raise DataError(f"{part.name}: line {begin:,}: {error}; is a quote not closed?") from None
    if begin > skipped + 1 and not _is_closed(last, separator):
        begin = skipped + reader.line_num + 1 - len(last)
        raise DataError(f"{part.name}: the row that begins in line {begin:,} has a quote that is not closed; close it")
    if first is not None:
        raise DataError(_too_many(part, first, long))


def _is_closed(record: Sequence[str], separator: str) -> bool:
    try:
        list(csv.reader(record, delimiter=separator, strict=True))
    except csv.Error as error:
        return "unexpected end" not in str(error)
    return True


def _too_many(part: Part, first: tuple[int, int, int], times: int) -> str:
    begin, end, fields = first
    where = f"line {begin:,} has" if begin == end else f"lines {begin:,} to {end:,} are one row with"
    more = f" (so have {times - 1:,} more)" if times > 1 else ""
    ask = "" if begin == end else ", or close the quote"
    return (
        f"{part.name}: {where} {fields} fields, the header has {len(part.header)}{more}; "
        f"put fields that hold a {part.layout.separator!r} in quotes{ask}"
    )
