"""Mergeable states: frozen values whose ``merge`` is associative and commutative, with an identity.

The law, checked for every state in ``tests/laws``: for any split of the same rows and any order of merging, the
encoded bytes are the same. ``State()`` is the identity.
"""

from driftline.sketches.categories import CategoryCounts
from driftline.sketches.codec import decode, encode
from driftline.sketches.exact import ExactSum
from driftline.sketches.grid import Grid, GridSketch
from driftline.sketches.moments import Moments
from driftline.sketches.sample import KeySample

__all__ = ["CategoryCounts", "ExactSum", "Grid", "GridSketch", "KeySample", "Moments", "decode", "encode"]
