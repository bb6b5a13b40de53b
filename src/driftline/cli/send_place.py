"""How far `driftline send` has come, kept in a file until it is done."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from driftline.client.frames import Cut, Sent
from driftline.client.transport import Answer

_NOTHING = Sent()


@dataclass(frozen=True, slots=True)
class Progress:
    """How many rows were sent, what the service said of them, which batches were too large, and the last row's key."""

    rows: int = 0
    sent: Sent = _NOTHING
    cuts: frozenset[Cut] = frozenset()
    key: Any = None

    def plus(self, height: int, answer: Answer, key: Any = None) -> Progress:
        """Return the same with those of another batch; ``key`` is that of its last row."""
        return replace(self, rows=self.rows + height, sent=self.sent.plus(answer), key=key)

    def with_cut(self, cut: Cut) -> Progress:
        """Return the same with another batch that is sent in halves."""
        return replace(self, cuts=self.cuts | {cut})


class Place:
    """A file that remembers a `Progress`. ``told`` is all that tells what is sent from what else might be.

    Where it cannot be told whether the rows are those of the last time (``known`` is false), it begins anew, and only
    the cuts are remembered: what was stored is not stored twice. So it is where there is no ``home``.
    """

    def __init__(self, home: Path | None, told: list[str], *, known: bool) -> None:
        name = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        self._path, self._known = None if home is None else home / "driftline" / f"{name}.json", known

    def load(self) -> Progress:
        """Return how far it was; nothing where nobody knows."""
        try:
            told = json.loads(b"" if self._path is None else self._path.read_bytes())
            cuts = frozenset((int(start), int(rows)) for start, rows in told["cuts"])
            if not self._known:
                return Progress(cuts=cuts)
            sent = Sent(int(told["accepted"]), int(told["quarantined"]))
            return Progress(int(told["rows"]), sent, cuts, told["key"])
        except (OSError, ValueError, KeyError, TypeError):
            return Progress()

    def save(self, progress: Progress) -> None:
        """Write down how far it is. Where that cannot be, it begins anew."""
        if self._path is None:
            return
        told = {
            "rows": progress.rows,
            "accepted": progress.sent.accepted,
            "quarantined": progress.sent.quarantined,
            "cuts": sorted(progress.cuts),
            "key": progress.key,
        }
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps(told))
            beside.replace(self._path)

    def forget(self) -> None:
        """Remove the file: it is done."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
