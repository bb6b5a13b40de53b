"""The lifecycle of a request for a challenger: which stage follows which. Every step can be repeated after a crash.

::

    asked → prepared → running → ran → held
                                  │  → waiting → refused
                                  │       ↓
                                  └──→ promoting → baking → promoted
                                                        └─→ rolled back
    and failed, from every stage before the promotion: when something breaks, its time is up, or a person cancels it
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Stage(enum.StrEnum):
    """The stage of a request."""

    ASKED = "asked"
    PREPARED = "prepared"
    """Its rows are written."""
    RUNNING = "running"
    RAN = "ran"
    """The challenger and its predictions are there."""
    WAITING = "waiting"
    """The contest says promote, and a person has to approve."""
    PROMOTING = "promoting"
    BAKING = "baking"
    """The challenger is champion, on probation."""
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    HELD = "held"
    """The contest says hold."""
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether this is a final stage."""
        return not FOLLOWING[self]


FOLLOWING: Mapping[Stage, frozenset[Stage]] = {
    Stage.ASKED: frozenset({Stage.PREPARED, Stage.FAILED}),
    Stage.PREPARED: frozenset({Stage.RUNNING, Stage.FAILED}),
    Stage.RUNNING: frozenset({Stage.RAN, Stage.FAILED}),
    Stage.RAN: frozenset({Stage.HELD, Stage.WAITING, Stage.PROMOTING, Stage.FAILED}),
    Stage.WAITING: frozenset({Stage.PROMOTING, Stage.REFUSED}),
    Stage.PROMOTING: frozenset({Stage.BAKING, Stage.FAILED}),
    Stage.BAKING: frozenset({Stage.PROMOTED, Stage.ROLLED_BACK}),
    Stage.PROMOTED: frozenset(),
    Stage.ROLLED_BACK: frozenset(),
    Stage.HELD: frozenset(),
    Stage.REFUSED: frozenset(),
    Stage.FAILED: frozenset(),
}
"""The stages that may follow each stage."""

CANCELLABLE = (Stage.ASKED, Stage.PREPARED, Stage.RUNNING, Stage.RAN)
"""The stages in which a person may cancel a request."""

OPEN = tuple(stage for stage in Stage if FOLLOWING[stage])
BUSY = tuple(stage for stage in OPEN if stage is not Stage.BAKING)
"""The stages in which a request prevents others for its model; a champion on probation does not."""
