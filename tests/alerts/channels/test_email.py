"""E-mail: to a real SMTP server, with and without encryption, and back through a parser."""

from __future__ import annotations

import asyncio
import email
import email.policy
import functools
import smtplib
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from hypothesis import given, settings

from driftline.alerts.channels.email import Email, mail_of
from driftline.alerts.message import Event, Message
from driftline.errors import RefusedError, UnavailableError, UnreachableError, UsageError
from tests.alerts.channels.conftest import HOSTILE, NOW, message, messages, notice

SENDER = "Driftline <alerts@example.com>"
ANN, BOB = "ann@example.com", "bob@example.com"


class Mailbox:
    """What a mail server took, and what it says to each command (its own answer where nothing is said)."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []
        self.says: dict[str, list[str]] = {}

    def _next(self, command: str) -> str | None:
        return self.says[command].pop(0) if self.says.get(command) else None

    async def handle_MAIL(self, _: Any, __: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802 - aiosmtpd's name
        envelope.mail_from = address
        return self._next("MAIL") or "250 OK"

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802 - aiosmtpd's name
        if (said := self._next(address)) is not None:
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        said = self._next("DATA")
        if said is None:
            self.mails.append((envelope.rcpt_tos, envelope.content))
        return said or "250 OK"

    async def handle_QUIT(self, *_: Any) -> str:  # noqa: N802 - aiosmtpd's name
        return self._next("QUIT") or "221 Bye"

    def last(self) -> EmailMessage:
        return parsed(self.mails[-1][1])


def parsed(content: bytes) -> EmailMessage:
    found = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def authenticate(_: Any, __: Any, ___: Any, mechanism: str, login: object) -> AuthResult:
    right = isinstance(login, LoginPassword) and (login.login, login.password) == (b"ann", b"hush")
    return AuthResult(success=right, handled=False)


class SmtpServer:
    """A real SMTP server on a free port of loopback, in a thread of its own."""

    def __init__(self, *, tls_from_start: ssl.SSLContext | None, **options: Any) -> None:
        self.mailbox = Mailbox()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        async def start() -> asyncio.Server:
            make = functools.partial(SMTP, self.mailbox, hostname="mail.example.com", loop=self._loop, **options)
            return await self._loop.create_server(make, "127.0.0.1", 0, ssl=tls_from_start)

        self._server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        async def stop() -> None:
            self._server.close()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


Serve = Callable[..., tuple[Mailbox, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[SmtpServer] = []

    def start(*, tls_from_start: ssl.SSLContext | None = None, **options: Any) -> tuple[Mailbox, int]:
        servers.append(SmtpServer(tls_from_start=tls_from_start, **options))
        return servers[-1].mailbox, servers[-1].port

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate, from an authority that this test trusts."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def channel(port: int, **changes: Any) -> Email:
    options: dict[str, Any] = {"sender": SENDER, "to": [ANN], "security": "none", "now": lambda: NOW}
    return Email("127.0.0.1", port, **(options | changes))


# ---- What arrives


def test_a_mail_has_the_text_the_page_and_the_picture(serve: Serve) -> None:
    mailbox, port = serve()
    what = message(notice(url="https://driftline.example/alerts/1"))
    channel(port, to=[ANN, f"Bob <{BOB}>"]).send(what)
    [(to, _)] = mailbox.mails
    assert to == [ANN, BOB]
    mail = mailbox.last()
    assert mail["Subject"] == "churn: ⚠️ Alert: Model accuracy below threshold!"
    assert (mail["From"], mail["To"]) == (SENDER, f"{ANN}, Bob <{BOB}>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(mail["Date"]) == NOW.replace(microsecond=0)
    text, page = mail.get_body(["plain"]), mail.get_body(["html"])
    assert text is not None and page is not None
    assert text.get_content().splitlines() == [*what.text.splitlines(), "", "https://driftline.example/alerts/1"]
    html = page.get_content()
    for shown in ("accuracy 0.512 [0.45, 0.57]", "2024-03-01 to 2024-03-02", "Other inputs stable: wind."):
        assert shown in html
    [image] = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert f'src="cid:{image["Content-ID"].strip("<>")}"' in html
    assert image.get_content().startswith(b"\x89PNG")
    assert image.get_content_disposition() == "inline"


def test_without_a_value_or_without_pillow_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    mail = mail_of(message(), Address(addr_spec=ANN), [Address(addr_spec=BOB)], NOW)
    assert not [part for part in mail.walk() if part.get_content_maintype() == "image"]
    page = mail.get_body(["html"])
    assert page is not None and "<img" not in page.get_content()


def test_all_mails_of_an_alert_are_one_conversation_and_doubles_have_one_id(serve: Serve) -> None:
    mailbox, port = serve()
    for what in (message(notice()), message(notice()), message(notice(Event.RESOLVED)), message(notice(id="other"))):
        channel(port).send(what)
    fired, again, resolved, other = [parsed(content) for _, content in mailbox.mails]
    assert fired["Message-ID"] == again["Message-ID"] != resolved["Message-ID"]
    assert fired["Message-ID"].endswith("@example.com>")
    assert fired["References"] == resolved["References"] == resolved["In-Reply-To"] != other["References"]


def test_a_mail_of_several_alerts_belongs_to_the_conversations_of_all(serve: Serve) -> None:
    mailbox, port = serve()
    alone = [message(notice(id=str(at))) for at in range(12)]
    for what in [*alone, message(*(notice(id=str(at)) for at in range(12)))]:
        channel(port).send(what)
    *single, all_of_them = [parsed(content) for _, content in mailbox.mails]
    assert all_of_them["References"].split() == [mail["References"] for mail in single]
    page = all_of_them.get_body(["html"])
    assert page is not None
    assert "and 2 more" in page.get_content()
    assert sum(part.get_content_type() == "image/png" for part in all_of_them.walk()) == 10


# ---- Hostile content

HEADERS = {
    "subject",
    "from",
    "to",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "auto-submitted",
    "mime-version",
    "content-type",
}


class Tags(HTMLParser):
    """The tags of a page, and its addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert {name for name, _ in attributes} <= {
            *("style", "lang", "charset", "name", "content", "role", "cellpadding", "cellspacing"),
            *("src", "width", "height", "alt", "href"),
        }
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]


def check_hostile(what: Message) -> None:
    mail = mail_of(what, Address("Driftline", addr_spec="alerts@example.com"), [Address(addr_spec=ANN)], NOW)
    content = mail.as_bytes()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\n" not in content.replace(b"\r\n", b"") and b"\r" not in content.replace(b"\r\n", b"")
    back = parsed(content)
    assert {name.lower() for name in back} == HEADERS == {name.lower() for name in mail}
    assert (back["To"], back["From"]) == (ANN, "Driftline <alerts@example.com>")
    assert back["References"].startswith("<") and not back.defects
    page = back.get_body(["html"])
    assert page is not None
    found = Tags(page.get_content())
    assert found.tags <= {
        *("html", "head", "meta", "title", "body", "div", "h1", "p", "table", "tr", "td", "img", "a"),
    }
    assert all(address.startswith(("cid:", "https://", "http://")) for address in found.addresses)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_adds_a_header_or_a_tag(serve: Serve, text: str) -> None:
    mailbox, port = serve()
    what = message(notice(model=text, rule=text, measure=text, title=text, severity=text, url=text, id=text))
    check_hostile(what)
    channel(port).send(what)
    assert {name.lower() for name in mailbox.last()} - {"x-peer", "x-mailfrom", "x-rcptto"} == HEADERS


@settings(max_examples=20)
@given(messages)
def test_whatever_the_message_the_mail_is_whole(what: Message) -> None:
    check_hostile(what)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example.com\nBcc: eve@example.com",
        "a b@example.com",
        "ann@exa\rmple.com",
    ],
)
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(UsageError, match="expected an address such as"):
        channel(25, sender=address)
    with pytest.raises(UsageError, match="expected an address such as"):
        channel(25, to=[ANN, address])


# ---- Encryption and names


def test_starttls_with_a_name_and_password(serve: Serve, tls: ssl.SSLContext) -> None:
    mailbox, port = serve(tls_context=tls, require_starttls=True, authenticator=authenticate, auth_required=True)
    channel(port, security="starttls", username="ann", password="hush").send(message())
    assert len(mailbox.mails) == 1


def test_tls_from_the_start(serve: Serve, tls: ssl.SSLContext) -> None:
    mailbox, port = serve(tls_from_start=tls)
    channel(port, security="tls").send(message())
    assert len(mailbox.mails) == 1


def test_a_server_without_starttls_gets_nothing(serve: Serve) -> None:
    mailbox, port = serve()
    with pytest.raises(UnavailableError, match="STARTTLS"):
        channel(port, security="starttls").send(message())
    assert mailbox.mails == []


def test_a_certificate_of_a_stranger_is_not_trusted(serve: Serve) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    mailbox, port = serve(tls_context=context, require_starttls=True)
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        channel(port, security="starttls").send(message())
    assert mailbox.mails == []


def test_a_wrong_password_is_for_now_and_not_told(serve: Serve, tls: ssl.SSLContext) -> None:
    mailbox, port = serve(tls_context=tls, require_starttls=True, authenticator=authenticate, auth_required=True)
    with pytest.raises(UnavailableError, match="status 535") as caught:
        channel(port, security="starttls", username="ann", password="wr0ng").send(message())
    assert not isinstance(caught.value, RefusedError)
    assert "wr0ng" not in str(caught.value)
    assert mailbox.mails == []


def test_a_password_that_smtp_cannot_carry_is_said_at_once() -> None:
    with pytest.raises(UsageError, match="ASCII"):
        channel(25, username="ann", password="müde")


# ---- What servers say

FOR_NOW, FOR_GOOD = "451 later", "550 never"


@pytest.mark.parametrize(
    ("command", "said", "kind"),
    [
        ("DATA", FOR_NOW, UnavailableError),
        ("DATA", FOR_GOOD, RefusedError),
        ("MAIL", FOR_NOW, UnavailableError),
        ("MAIL", "530 log in first", UnavailableError),
        ("MAIL", "552 too large", RefusedError),
        (ANN, FOR_NOW, UnavailableError),
        (ANN, FOR_GOOD, RefusedError),
    ],
)
def test_a_refusal_is_for_now_or_for_good(serve: Serve, command: str, said: str, kind: type[Exception]) -> None:
    mailbox, port = serve()
    mailbox.says[command] = [said]
    with pytest.raises(UnavailableError, match=f"status {said[:3]}") as caught:
        channel(port).send(message())
    assert type(caught.value) is kind
    assert mailbox.mails == []


def test_who_has_it_does_not_get_it_again(serve: Serve) -> None:
    mailbox, port = serve()
    mailbox.says[BOB] = [FOR_NOW]
    one, what = channel(port, to=[ANN, BOB]), message()
    with pytest.raises(UnavailableError, match=r"bob@example\.com: status 451: later") as caught:
        one.send(what)
    assert not isinstance(caught.value, RefusedError)
    one.send(what)
    assert [to for to, _ in mailbox.mails] == [[ANN], [BOB]]
    for again in (what, message(notice(id="another"))):
        one.send(again)
        assert mailbox.mails[-1][0] == [ANN, BOB]


def test_who_has_it_does_not_get_it_again_from_another_process(serve: Serve) -> None:
    mailbox, port = serve()
    mailbox.says[BOB] = [FOR_NOW]
    one, other, what = channel(port, to=[ANN, BOB]), channel(port, to=[ANN, BOB]), message()
    with pytest.raises(UnavailableError):
        one.send(what)
    other.recall(one.remember())
    other.recall(b"what an earlier release wrote")
    other.send(what)
    assert [to for to, _ in mailbox.mails] == [[ANN], [BOB]]


def test_an_address_that_is_refused_for_good_is_said_though_others_have_it(serve: Serve) -> None:
    mailbox, port = serve()
    mailbox.says[BOB] = [FOR_GOOD, FOR_GOOD]
    one = channel(port, to=[ANN, BOB])
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"bob@example\.com: status 550"):
            one.send(message())
    assert [to for to, _ in mailbox.mails] == [[ANN]]


def test_a_bad_good_bye_does_not_matter(serve: Serve) -> None:
    mailbox, port = serve()
    mailbox.says["QUIT"] = ["500 what?"]
    channel(port).send(message())
    assert len(mailbox.mails) == 1


def said_once(first: bytes) -> int:
    """The port of a server that says one thing and ends the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def say() -> None:
        with listener, listener.accept()[0] as connection:
            connection.sendall(first)

    threading.Thread(target=say, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"", UnreachableError),
        (b"220 hello\r\n", UnreachableError),
        (b"421 too busy\r\n", UnavailableError),
        (b"554 go away\r\n", UnavailableError),
        (b"HTTP/1.1 400 Bad\r\n\r\n", UnavailableError),
    ],
)
def test_a_server_that_does_not_talk_is_tried_again(greeting: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        channel(said_once(greeting), timeout_seconds=5).send(message())
    assert not isinstance(caught.value, RefusedError)


def test_nobody_there_or_no_answer_in_time() -> None:
    with pytest.raises(UnreachableError):
        channel(9).send(message())
    with pytest.raises(UnreachableError):
        Email("not..a.host", 25, sender=SENDER, to=[ANN], now=lambda: NOW).send(message())
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachableError, match="timed out"):
        channel(silent.getsockname()[1], timeout_seconds=0.1).send(message())


def test_other_failures_of_smtplib_are_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise smtplib.SMTPException("no suitable method")

    monkeypatch.setattr(smtplib, "SMTP", fail)
    with pytest.raises(UnavailableError, match="no suitable method"):
        channel(25).send(message())


def test_the_date_is_that_of_the_sending() -> None:
    late = NOW + timedelta(hours=3)
    mail = mail_of(message(), Address(addr_spec=ANN), [Address(addr_spec=BOB)], late)
    assert parsedate_to_datetime(mail["Date"]) == late.replace(microsecond=0)
