"""The SDK: buffers a model's predictions and labels, and sends them from its own thread. It never breaks the model.

The hot path (`Monitor.log`, `Monitor.label`) encodes a row of plain values and puts it into a queue; everything else,
such as values of NumPy and pandas, sending and waiting, is done by the shipping thread. Importing this package starts
and registers nothing, and imports nothing of Driftline but its errors.
"""

from driftline.client.frames import Sent
from driftline.client.monitor import Monitor
from driftline.client.records import Stats
from driftline.errors import DataError, DriftlineError, RefusedError, UnreachableError, UsageError

__all__ = [
    "DataError",
    "DriftlineError",
    "Monitor",
    "RefusedError",
    "Sent",
    "Stats",
    "UnreachableError",
    "UsageError",
]
