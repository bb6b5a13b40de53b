"""What a receiver of messages is to the rest, and what a kind of receivers says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from driftline.alerts.message import Message, Notice


class Channel(Protocol):
    """Somewhere that a message can be sent to; sending the same message again must do no harm."""

    def send(self, message: Message) -> None:
        """Send a message, and return only when it has arrived.

        Raises `UnreachableError` without a connection, `UnavailableError` when it may be taken later, and
        `RefusedError` when it never will be.
        """


@runtime_checkable
class Forgetful(Protocol):
    """A channel whose receiver forgets alerts that it does not hear of: it is reminded of those that go on."""

    def keep(self, notices: Sequence[Notice]) -> None:
        """Say again what is firing; raises as `Channel.send` does."""


@runtime_checkable
class Remembering(Protocol):
    """A channel that must know later, maybe in another process, what became of what it sent."""

    def remember(self) -> bytes:
        """Return what it has to know."""

    def recall(self, memory: bytes) -> None:
        """Know what `remember` has once returned; what cannot be read is passed over."""


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """A kind of receivers.

    ``option`` is the type of the value of its key, and ``more`` are the types of keys that only it has; ``addresses``
    are those of them that are http(s) addresses. ``open`` makes a channel of an entry of ``notify`` and the clock;
    a secret that the environment lacks is an error, and nothing is sent yet. A kind that ``holds`` alerts which go on
    calls people for them: it hears of nothing that is over. ``no_repeat`` says why it takes no ``repeat``.
    """

    option: Any
    open: Callable[[Any, Callable[[], datetime]], Channel]
    more: Mapping[str, Any] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    holds: bool = False
    no_repeat: str = ""
