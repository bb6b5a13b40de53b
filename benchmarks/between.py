"""Put a table between its two marks in a page of the documentation."""

from __future__ import annotations

import os
from collections.abc import Sequence

from driftline import clock


def between(page: str, begin: str, end: str, lines: Sequence[str]) -> str:
    """The page with the lines between its two marks, each of which must stand there once.

    >>> between("a\\n<b>\\nold\\n<e>\\n", "<b>", "<e>", ["new"])
    'a\\n<b>\\n\\nnew\\n\\n<e>\\n'
    """
    before, *rest = page.split(begin)
    if len(rest) != 1 or rest[0].count(end) != 1:
        raise SystemExit(f"a page has {begin} and {end} not once each, in this order")
    return f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{rest[0].split(end)[1]}"


def measured_now() -> str:
    """When something was measured, and how busy the machine was."""
    return f"Measured {clock.now():%Y-%m-%d %H:%M} UTC; load average {os.getloadavg()[0]:.1f}."
