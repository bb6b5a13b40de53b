"""What a receiver of messages is to the rest."""

from __future__ import annotations

from typing import Protocol

from driftline.alerts.message import Message


class Channel(Protocol):
    """Somewhere that a message can be sent to; sending the same message again must do no harm."""

    def send(self, message: Message) -> None:
        """Send a message, and return only when it has arrived.

        Raises `UnreachableError` without a connection, `UnavailableError` when it may be taken later, and
        `RefusedError` when it never will be.
        """
