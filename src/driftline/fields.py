"""Types of the fields of a configuration, and amounts of memory."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from driftline.errors import UsageError

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, Meta(min_length=1)]
Short = Annotated[str, Meta(min_length=1, max_length=100)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Above0 = Annotated[float, Meta(gt=0.0)]

_SIZE = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?B)")
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text: str) -> int:
    """Parse an amount of memory such as ``512MB`` or ``1.5GB``.

    >>> parse_bytes("1.5GB")
    1500000000
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or not (count := int(float(found["count"]) * _BYTES[found["unit"]])):
        raise UsageError(f"{text!r} is not an amount of memory; write a number and one of B, KB, MB, GB, TB: '4GB'")
    return count
