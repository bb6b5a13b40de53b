"""The file of dates that are no ordinary days, such as public holidays."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

from driftline.config.strict_yaml import shown
from driftline.errors import UsageError

FILE_LIMIT_BYTES = 2**20


def read_calendar(path: Path) -> frozenset[date]:
    """Read dates from the first column of a CSV file; its first line may be a header.

    Raises `UsageError` for a file that cannot be read, has no date, or has something else in that column.
    """
    try:
        with path.open("rb") as opened:
            data = opened.read(FILE_LIMIT_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8; save it as UTF-8") from error
    if len(data) > FILE_LIMIT_BYTES:
        raise UsageError(f"{path.name} has more than {FILE_LIMIT_BYTES} bytes, the most that is allowed")
    found = set[date]()
    lines = csv.reader(text.splitlines())
    for cells in lines:
        if not any(map(str.strip, cells)):
            continue
        try:
            found.add(date.fromisoformat(cells[0].strip()))
        except ValueError:
            if lines.line_num > 1:
                reason = f"{path.name}:{lines.line_num}: came {shown(cells[0])}; allowed are dates such as 2026-12-25"
                raise UsageError(reason) from None
    if not found:
        raise UsageError(f"{path.name} has no date; write one a line, such as 2026-12-25")
    return frozenset(found)
