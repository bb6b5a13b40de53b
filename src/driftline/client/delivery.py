"""Bring encoded rows to the server in order: retries, refusals, halves, and the folder for what cannot be sent."""

from __future__ import annotations

import http
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import msgspec

from driftline.client.accounts import Accounts
from driftline.client.ids import new_id, now_ns
from driftline.client.pace import GivenUp, Pace
from driftline.client.records import Part
from driftline.client.speaking import Voice
from driftline.client.spill import Kept, Spill, SpillFullError
from driftline.client.transport import Answer, Kind, Refused, Transport
from driftline.errors import DamagedError

BODY_BYTES = 8 * 2**20  # a quarter of the server's limit: a refusal in the middle of a long body can get lost
SPLITS = 64
"""If a refusal names no row, the batch is halved to find it, at most so many times."""

_DAMAGED = "spill file damaged"
Settle = Callable[..., None]


class Delivery:
    """Sends parts, from the shipping thread; what is under way can be kept by another thread at the end."""

    def __init__(
        self, transport: Transport, accounts: Accounts, voice: Voice, pace: Pace, spill: Spill | None = None
    ) -> None:
        self._transport, self._accounts, self._voice, self._pace = transport, accounts, voice, pace
        self._spill = spill
        self._turn = threading.RLock()  # guards what is under way, at the end
        self._parts: list[Part] = []  # what is under way, the next one last
        self._splits = 0

    # ---- from the queue ---------------------------------------------------------------------------------------------

    def send(self, batches: Iterable[tuple[Kind, list[bytes]]]) -> None:
        """Send lines in order until each is sent, dropped or in the spill folder.

        Raises `GivenUp` if the server cannot be reached while the monitor is closing.
        """
        self._parts = [Part(kind, new_id(now_ns()), lines) for kind, lines in batches if lines][::-1]
        self._splits = 0
        try:
            self._send_parts()
        except GivenUp:
            raise
        except Exception:
            self._parts = []
            raise

    def _send_parts(self) -> None:
        while self._parts:
            part = self._parts[-1]
            if len(part.lines) > 1 and part.size > BODY_BYTES:
                self._parts[-1:] = part.halves()[::-1]
            elif (answer := self._deliver(part)) is not None:
                with self._turn:
                    self._require_turn()
                    self._parts.pop()
                    self._parts += self._settle(part, answer, self._accounts.settle)

    def _require_turn(self) -> None:
        """Raise `GivenUp` where what is under way was kept by another thread, at the end."""
        if self._spill is not None and self._pace.dead.is_set():
            raise GivenUp

    def _deliver(self, part: Part) -> Answer | None:
        """Send a part until the server accepts or refuses it; None where it is in the spill folder instead."""
        while not self._pace.dead.is_set():
            closing = self._pace.closing.is_set()
            if self._spill is not None and self._spill.waiting:
                if self._keep(part):  # behind those that wait there
                    return None
                answer = self._send_first(self._spill)  # which makes room
            else:
                answer = self._post(part)
                if answer.fate != "away":
                    return answer
                if self._keep(part):
                    self._pace.put_off(answer.after_seconds)
                    return None
            if answer is not None:
                self._pace.pause(answer.after_seconds, last=closing)
        raise GivenUp

    def _post(self, part: Part) -> Answer:
        answer = self._transport.post(part.kind, b"\n".join(part.lines), part.key)
        if answer.fate != "taken":
            self._accounts.fail(answer.message)
        if answer.fate != "away":
            self._pace.relieve()
            self._voice.relieve("away", f"{self._transport.url} answers again")
            return answer
        where = "wait" if self._spill is None else f"are kept in {self._spill.folder}"
        text = f"{self._transport.url} does not take events: {answer.message}. They {where}, and are sent again"
        self._voice.say("away", text)
        return answer

    # ---- refusals ---------------------------------------------------------------------------------------------------

    def _settle(self, part: Part, answer: Answer, settle: Settle) -> list[Part]:
        """Count what an answer ends; return what is to be sent instead of the part, the next one last."""
        number = len(part.lines)
        bad = {index: why for index, why in answer.bad.items() if 0 <= index < number}
        if answer.fate == "taken":
            settle(number)
        elif bad:
            self._refuse_rows(part, bad, settle)
            good = [line for index, line in enumerate(part.lines) if index not in bad]
            return [part.of(good)] if good else []
        elif number > 1 and answer.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return [*part.halves()][::-1]
        elif number > 1 and answer.may_be_of_one_row and self._splits < SPLITS:
            self._splits += 1
            return [*part.halves()][::-1]
        else:
            reason = f"refused: status {answer.status}"
            settle(number, reason)
            text = f"{number} {part.kind} were refused by {self._transport.url} and are lost: {answer.message}"
            self._voice.say(reason, text, number)
        return []

    def _refuse_rows(self, part: Part, bad: Mapping[int, Refused], settle: Settle) -> None:
        for index, (name, why) in bad.items():
            reason = f"refused: {name}" if name else "refused"
            settle(1, reason)
            one = f"one of the {part.kind} ({_id_of(part.lines[index])})"
            self._voice.say(
                reason, f"{one} was refused by the server and is lost: {f'{name}: ' if name else ''}{why}", 1
            )

    # ---- the spill folder -------------------------------------------------------------------------------------------

    def _keep(self, part: Part) -> bool:
        """Write the part that is sent next into the spill folder; return whether it is there."""
        if self._spill is None:
            return False
        with self._turn:
            self._require_turn()
            if kept := self._written(part, self._spill):
                self._parts.pop()
                self._accounts.spill(len(part.lines))
        return kept

    def _written(self, part: Part, spill: Spill) -> bool:
        try:
            spill.keep(part)
        except SpillFullError:
            self._voice.say("spill full", f"{spill.folder} is full: its limit is reached; more events wait in memory")
        except OSError as error:
            text = f"{spill.folder} cannot be written: {error}; more events wait in memory"
            self._voice.say("spill away", text)
        else:
            return True
        return False

    def keep_rest(self, batches: Iterable[tuple[Kind, list[bytes]]]) -> None:
        """At the end: write what is under way, and what is left of the queue, into the spill folder, in order.

        Call it after the pace is ``dead``. A part whose answer is still to come will be known by its key.
        """
        if self._spill is None:
            return
        with self._turn:
            under_way, self._parts = self._parts[::-1], []
            rest = (Part(kind, new_id(now_ns()), lines) for kind, lines in batches if lines)
            for part in (*under_way, *rest):
                if not self._written(part, self._spill):
                    break
                self._accounts.spill(len(part.lines))

    def find(self) -> int:
        """Take over the files of processes that have ended; return how many events they have."""
        found = 0 if self._spill is None else self._spill.find()
        self._accounts.find(found)
        return found

    @property
    def due_in(self) -> float:
        """In how many seconds files are to be sent; infinity if none wait."""
        return self._pace.due_in if self._spill is not None and self._spill.waiting else math.inf

    def send_files(self, seconds: float) -> None:
        """Send files in their order for about so long, until the server is away or none is left."""
        until = time.perf_counter() + seconds
        while not self.due_in and not self._pace.dead.is_set() and time.perf_counter() < until:
            assert self._spill is not None
            if (answer := self._send_first(self._spill)) is not None:
                self._pace.put_off(answer.after_seconds)

    def send_last_files(self) -> None:
        """While closing, send all files; raises `GivenUp` if the server cannot be reached."""
        while self._spill is not None and self._spill.waiting and not self._pace.dead.is_set():
            self._pace.wait_to_end()
            if (answer := self._send_first(self._spill)) is not None:
                self._pace.pause(answer.after_seconds, last=True)

    def _send_first(self, spill: Spill) -> Answer | None:
        """Send the first file; return the answer of a server that is away, else None."""
        try:
            found = spill.first()
        except DamagedError as error:
            self._set_aside(spill, error)
            return None
        if found is None:
            return None
        kept, part = found
        self._splits = 0
        settled: list[tuple[int, str | None]] = []
        parts = [part]
        while parts:
            part = parts[-1]
            answer = self._post(part)
            if self._pace.dead.is_set():  # the file is left to the next process
                raise GivenUp
            if answer.fate == "away":
                if self._put_back(spill, kept, parts):
                    self._count(settled)
                return answer
            parts.pop()
            parts += self._settle(part, answer, lambda number, reason=None: settled.append((number, reason)))
        spill.remove(kept)
        self._count(settled)
        return None

    def _count(self, settled: list[tuple[int, str | None]]) -> None:
        for number, reason in settled:
            self._accounts.unspill(number, reason)

    @staticmethod
    def _put_back(spill: Spill, kept: Kept, parts: list[Part]) -> bool:
        """Leave in the first file what is left of it; if that fails, the server will know the ids of what it took."""
        lines = [line for part in reversed(parts) for line in part.lines]
        if len(lines) == kept.events:
            return True
        try:
            spill.replace(kept, parts[0] if len(parts) == 1 else parts[0].of(lines))
        except OSError:
            return False
        return True

    def _set_aside(self, spill: Spill, error: DamagedError) -> None:
        kept = spill.set_aside()
        if kept is not None:
            self._accounts.unspill(kept.events, _DAMAGED)
            self._voice.say(_DAMAGED, f"{error}; it is set aside, its {kept.events} events are not sent", kept.events)

    def release(self) -> int:
        """Leave the files to the next process; return how many events they have."""
        if self._spill is None:
            return 0
        self._spill.release()
        return self._accounts.spilled


class _Row(msgspec.Struct):
    id: str | int | float | None = None


def _id_of(line: bytes) -> str:
    """Return the id of a row for the log; the rest of the row may be confidential."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        return f"id {msgspec.json.decode(line, type=_Row).id!r}"
    return "no id"
