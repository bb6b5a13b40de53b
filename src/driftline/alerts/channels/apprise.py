"""Apprise: title and text to the many services that its addresses speak of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from driftline.alerts.channel import ChannelKind
from driftline.alerts.channels.wording import ENDED, NO_ALARM, cleaned, line
from driftline.alerts.message import Message
from driftline.environment import secret
from driftline.errors import UnavailableError, UsageError
from driftline.fields import Text

_TITLE_LIMIT = 250


class Apprise:
    """Sends title and text to one address of Apprise, such as ``mmost://…``; needs the extra ``driftline[apprise]``."""

    def __init__(self, url: str) -> None:
        """Raises `UsageError` where the extra is not installed, or the address is none that it knows."""
        try:
            import apprise
        except ModuleNotFoundError as error:
            raise UsageError("an apprise receiver needs Apprise; run: python -m pip install apprise") from error
        self._notifier, self._format = apprise.Apprise(), apprise.NotifyFormat.TEXT
        if not self._notifier.add(url):
            # The address is not repeated: it holds secrets.
            scheme = url.partition("://")[0] if "://" in url else ""
            raise UsageError(
                f"apprise: the address {f'of kind {scheme!r} ' if scheme.isalnum() else ''}is not understood; "
                "expected kind://… as Apprise's documentation has it"
            )

    def send(self, message: Message) -> None:
        """Send a message; `UnavailableError` where Apprise says that it did not arrive: it does not say why."""
        title = line(message.title, _TITLE_LIMIT)
        sent = self._notifier.notify(
            body=cleaned(message.text) or title, title=title, notify_type=_kind(message), body_format=self._format
        )
        if not sent:
            raise UnavailableError("apprise: the message did not arrive; its log says more")


def _kind(message: Message) -> str:
    if message.event in ENDED:
        return "success"
    if message.event in NO_ALARM or message.alert.severity == "info":
        return "info"
    return "failure" if message.alert.severity == "page" else "warning"


def _open(section: Any, now: Callable[[], datetime]) -> Apprise:
    del now
    return Apprise(secret(section.apprise))


KIND = ChannelKind(Text, _open)
