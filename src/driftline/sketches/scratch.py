"""Buffers that a thread reuses: fresh memory would cost more than the arithmetic done in it."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

CHUNK = 1 << 16
"""The number of values that are processed together, so that they stay in the processor's cache."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[str, npt.NDArray[Any]] = {}


_BUFFERS = _Buffers()


def scratch(name: str, size: int, dtype: type[_Scalar]) -> npt.NDArray[_Scalar]:
    """Return this thread's buffer of that name, shape (size,), with old content; ``size`` is at most `CHUNK`."""
    buffer = _BUFFERS.by_name.get(name)
    if buffer is None:
        buffer = _BUFFERS.by_name[name] = np.empty(CHUNK, dtype)
    return buffer[:size]
