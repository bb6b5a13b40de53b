"""The SDK: buffers what a model does and ships it from a thread of its own. It never blocks or breaks the model.

The hot path (`Monitor.log`, `Monitor.label`) encodes a row of plain values and takes a place in a queue; all else,
such as values of NumPy and pandas, sending and waiting, is the shipping thread's. Importing this package starts and
registers nothing, and loads nothing of Driftline but its errors.
"""

from driftline.client.monitor import Monitor
from driftline.client.records import Stats

__all__ = ["Monitor", "Stats"]
