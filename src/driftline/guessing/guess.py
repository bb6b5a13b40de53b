"""One guess, with its reason."""

from __future__ import annotations

from typing import Any

import msgspec


class Guess(msgspec.Struct, frozen=True):
    """A key of a model's section and its value; None where nothing was found, and ``reason`` says what to fill in."""

    key: str
    value: Any
    reason: str
