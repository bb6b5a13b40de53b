"""E-mail: text, and the same as a page with a picture of the measure, by SMTP."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from driftline.alerts.channel import ChannelKind
from driftline.alerts.channels.picture import HEIGHT, WIDTH, picture
from driftline.alerts.channels.wording import (
    ENDED,
    MOST_SHOWN,
    NO_ALARM,
    cleaned,
    facts,
    line,
    link,
    runbook,
    sentences,
)
from driftline.alerts.message import Message, Notice, headline
from driftline.environment import secret
from driftline.errors import RefusedError, UnavailableError, UnreachableError, UsageError
from driftline.fields import Text
from driftline.templating import environment

if TYPE_CHECKING:
    import smtplib

    import jinja2

Security = Literal["none", "starttls", "tls"]

TIMEOUT_SECONDS = 10.0
_SUBJECT_LIMIT = 200
_MOST_REFERENCES = 20
_TOO_LARGE = 552
_NO_DOMAIN = "driftline.invalid"


class EmailSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"sender": "from"}):
    """A mail server and whom it writes to."""

    host: Text
    sender: Text
    to: Annotated[list[Text], Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    username: Text | None = None
    password: Text | None = None
    security: Security = "starttls"


class Email:
    """Sends messages by a mail server to one or more addresses.

    With ``starttls`` a connection that cannot be encrypted is not used; with ``tls`` it is from its start (port 465).
    Certificates are checked. The picture needs the extra ``driftline[email]``; without it there is none.

    A mail's Message-ID is that of its message, so that mail systems can drop doubles, and all mails of an alert are one
    conversation.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        to: Sequence[str],
        username: str = "",
        password: str = "",
        security: Security = "starttls",
        now: Callable[[], datetime],
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Raises `UsageError` for what is no address, and for a name or password that SMTP cannot carry."""
        if not (username + password).isascii():
            raise UsageError("email: username and password can have ASCII letters only")
        self._host, self._port, self._security, self._timeout = host, port, security, timeout_seconds
        self._username, self._password, self._now = username, password, now
        self._sender, self._to = _address(sender), [_address(one) for one in to]
        self._arrived: tuple[str, frozenset[str]] = ("", frozenset())

    def send(self, message: Message) -> None:
        """Send a message to all addresses.

        Where only some took it, the next attempt is made for the others. Raises `UnreachableError`
        without a connection, `RefusedError` when the server refuses an address or the mail for good (5xx), and
        `UnavailableError` for all else.
        """
        mail = mail_of(message, self._sender, self._to, self._now())
        key, arrived = self._arrived if self._arrived[0] == message.key else (message.key, frozenset[str]())
        waiting = [one.addr_spec for one in self._to if one.addr_spec not in arrived]
        with _explained(), self._session() as smtp:
            refused = smtp.send_message(mail, self._sender.addr_spec, waiting)
        self._arrived = (key, arrived.union(waiting).difference(refused)) if refused else ("", frozenset())
        if refused:
            raise _refusal(refused)

    def remember(self) -> bytes:
        """Return which addresses have taken the message that not all of them took."""
        return msgspec.json.encode((self._arrived[0], sorted(self._arrived[1])))

    def recall(self, memory: bytes) -> None:
        """Know which addresses have taken it."""
        with contextlib.suppress(msgspec.MsgspecError):
            self._arrived = msgspec.json.decode(memory, type=tuple[str, frozenset[str]])

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        import smtplib

        context = ssl.create_default_context() if self._security != "none" else None
        if self._security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout, context=context)
        else:
            smtp = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        try:
            if self._security == "starttls":
                smtp.starttls(context=context)
            if self._username:
                smtp.login(self._username, self._password)
            yield smtp
            # The mail has arrived, however the server says good-bye.
            with contextlib.suppress(OSError):
                smtp.quit()
        finally:
            smtp.close()


def mail_of(message: Message, sender: Address, to: Sequence[Address], now: datetime) -> EmailMessage:
    """Return a message as a mail."""
    notices = message.notices
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = line(message.title, _SUBJECT_LIMIT)
    mail["From"], mail["To"] = sender, tuple(to)
    mail["Date"] = format_datetime(now.astimezone(UTC))
    mail["Message-ID"] = _id(f"message {message.key}", sender.domain)
    # No mail has this id: it is the beginning of the conversation that all mails of the alert answer. It is short,
    # because the standard library encodes long ones, so that nobody can read them.
    roots = list(dict.fromkeys(_id(f"alert {notice.alert.id}", _NO_DOMAIN) for notice in notices))
    mail["In-Reply-To"] = roots[0]
    mail["References"] = " ".join(roots[:_MOST_REFERENCES])
    mail["Auto-Submitted"] = "auto-generated"
    text, url = cleaned(message.text), link(message.url)
    mail.set_content(f"{text}\n\n{url}" if url else text, cte="quoted-printable")
    drawn = [picture(notice) for notice in notices[:MOST_SHOWN]]
    ids = [f"{_digest(f'picture {place} {message.key}')}@{_NO_DOMAIN}" for place in range(len(drawn))]
    page_text = _page(message, [id if png is not None else "" for id, png in zip(ids, drawn, strict=True)])
    mail.add_alternative(page_text, subtype="html", cte="quoted-printable")
    page = mail.get_body(["html"])
    assert page is not None  # it was just added
    for id, png in zip(ids, drawn, strict=True):
        if png is not None:
            page.add_related(png, "image", "png", cid=f"<{id}>", disposition="inline")
    return mail


def _page(message: Message, pictures: Sequence[str]) -> str:
    """Return the page; ``pictures`` are the ids of the pictures of the notices that it shows, empty
    where there is none.
    """
    shown = message.notices[:MOST_SHOWN]
    return _template().render(
        title=line(message.title, _SUBJECT_LIMIT),
        cards=[_card(notice, id) for notice, id in zip(shown, pictures, strict=True)],
        more=len(message.notices) - len(shown),
        width=WIDTH,
        height=HEIGHT,
    )


def _card(notice: Notice, picture_id: str) -> dict[str, Any]:
    alert = notice.alert
    return {
        "title": line(headline(notice.event, alert), 1000),
        "rule": line(alert.rule, 200),
        "severity": line(alert.severity, 50),
        "colour": "#1c7043" if notice.event in ENDED else "#1f5fae" if notice.event in NO_ALARM else "#b3201b",
        "facts": facts(notice),
        "picture": picture_id,
        "alt": f"{line(alert.measure, 200)} in the last {len(notice.recent)} windows",
        "sentences": [cleaned(one) for one in sentences(notice)],
        "url": link(notice.url),
        "runbook": runbook(notice),
    }


@functools.cache
def _template() -> jinja2.Template:
    return environment("driftline.alerts", "channels").get_template("email.html")


def _address(text: str) -> Address:
    name, plain = parseaddr(text)
    try:
        address = Address(cleaned(name).strip(), addr_spec=plain)
    except (ValueError, IndexError, MessageError) as error:
        raise UsageError(f"came {text!r}; expected an address such as 'Driftline <alerts@example.com>'") from error
    if not address.username or not address.domain or text != cleaned(text) or "\n" in text:
        raise UsageError(f"came {text!r}; expected an address such as 'Driftline <alerts@example.com>'")
    return address


def _id(text: str, domain: str) -> str:
    return f"<{_digest(text)}@{domain}>"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what `smtplib` raises into errors of ours."""
    import smtplib

    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        raise _refusal(error.recipients) from error
    except smtplib.SMTPServerDisconnected as error:
        raise UnreachableError(f"the mail server ended the connection: {error}") from error
    except smtplib.SMTPResponseException as error:
        for_good = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
        kind = RefusedError if for_good or error.smtp_code == _TOO_LARGE else UnavailableError
        raise kind(_said(error.smtp_code, error.smtp_error)) from error
    except smtplib.SMTPException as error:
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error


def _refusal(refused: Mapping[str, tuple[int, bytes | str]]) -> UnavailableError:
    """For good only where all that is left has been refused for good."""
    kind = RefusedError if all(code >= 500 for code, _ in refused.values()) else UnavailableError
    return kind("; ".join(f"{address}: {_said(*said)}" for address, said in refused.items())[:500])


def _said(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"status {code}: {' '.join(words.split())[:200]}"


def _open(section: Any, now: Callable[[], datetime]) -> Email:
    mail: EmailSection = section.email
    return Email(
        mail.host,
        mail.port,
        sender=mail.sender,
        to=mail.to,
        username=secret(mail.username or ""),
        password=secret(mail.password or ""),
        security=mail.security,
        now=now,
    )


KIND = ChannelKind(EmailSection, _open)
