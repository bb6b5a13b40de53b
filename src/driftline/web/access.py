"""Ask who asks: each route needs a role, and a page is signed in to by a cookie.

Without `Gate.required` (loopback, and nothing configured) nobody is asked, and who changes something says who they are.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from driftline import clock
from driftline.access.callers import Caller, require_allowed, role_needed
from driftline.access.options import Auth
from driftline.access.rates import Accounts
from driftline.access.tokens import caller_of, csrf_of
from driftline.errors import ForbiddenError, UnauthorizedError, UnknownNameError
from driftline.logs import name_model
from driftline.net.bodies import read_body
from driftline.net.hosts import READS
from driftline.net.limits import TooLargeError
from driftline.store.retraining import Retraining
from driftline.store.state import State
from driftline.web.decode import Bodies, json_of
from driftline.web.requests import UnsupportedTypeError

COOKIE, CSRF_HEADER = "driftline", "x-csrf-token"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
OPEN = frozenset({"health", "ready", "page_static", "sign_in", "post_sign_in", "sign_out"})
"""The names of routes that everybody may ask."""

_OF_NO_MODEL = frozenset({"page_api", "openapi"})
"""Routes that show nothing of a model: who is limited to some may ask them."""

_OF_THEIR_MODELS = frozenset({"page_index"})
"""Routes that show to who is limited to some models these, and no other."""

_BELIEVED_FOR = timedelta(seconds=1)
_MOST_BELIEVED = 1000
_FORM = "application/x-www-form-urlencoded"
_FORM_BYTES = 32_768  # a reason of a thousand signs, each of twelve bytes in a form, and more
_MOST_FIELDS = 16
_NAME_LENGTH = 200

_Body = TypeVar("_Body", bound=msgspec.Struct)


class Gate:
    """Knows who asks, by a token, a cookie that holds one, or a proxy that has signed them in."""

    def __init__(self, state: State, auth: Auth, *, required: bool, secure: bool = False) -> None:
        """``secure`` says that people come by https, so that the cookie must not be sent otherwise."""
        self.required, self.secure = required, secure
        self._state, self._auth = state, auth
        self._now = clock.steady()
        self.accounts = Accounts()
        self._believed: dict[str, tuple[Caller, Any]] = {}

    async def caller(self, request: Request) -> Caller:
        """Return who asks; raise `UnauthorizedError` where nobody has signed in, or no longer may."""
        if (given := _bearer(request)) is not None:
            return await self.holder(given)
        if (proxied := self._proxied(request)) is not None:
            return proxied
        if (cookie := request.cookies.get(COOKIE)) is not None:
            caller = await self.holder(cookie)
            if request.method not in READS:
                await _require_page(request, cookie)
            return caller
        raise UnauthorizedError("no token came; send the header 'Authorization: Bearer …', or sign in at /sign-in")

    async def holder(self, token: str) -> Caller:
        """Return whose token it is. One that was good is believed for a second."""
        known, now = self._believed.get(token), self._now()
        if known is not None and now - known[1] < _BELIEVED_FOR:
            return known[0]
        caller = await run_in_threadpool(self._read, token)
        if len(self._believed) >= _MOST_BELIEVED:
            self._believed.clear()
        self._believed[token] = (caller, now)
        return caller

    def _read(self, token: str) -> Caller:
        with self._state.read() as read:
            return caller_of(read, token, clock.now())

    def model_of(self, subject: Mapping[str, Any]) -> str | None:
        """Return the model that an ``alert`` or a request of retraining (``id``) is of; None if there is none."""
        with self._state.read() as read:
            if "alert" in subject:
                alert = read.alerts.get(subject["alert"])
                return None if alert is None else alert.model
            if "id" in subject:
                with suppress(UnknownNameError):
                    return Retraining(read.connection).row(subject["id"]).model
        return None

    def _proxied(self, request: Request) -> Caller | None:
        """Return whom the proxy names, or None; the header counts from the proxy's own address only, and once."""
        proxy, client = self._auth.proxy, request.client
        if proxy is None or client is None:
            return None
        named = request.headers.getlist(proxy.header)
        try:
            ours = ipaddress.ip_address(client.host) in proxy.addresses
        except ValueError:
            return None
        if not ours or len(named) != 1 or not (name := named[0].strip()):
            return None
        if len(name) > _NAME_LENGTH or not name.isprintable():
            raise UnauthorizedError(f"the header {proxy.header} came with a name that is too long or not printable")
        return Caller(name, proxy.role)


def _bearer(request: Request) -> str | None:
    """Return the token of the header Authorization; raise `UnauthorizedError` for other credentials in it."""
    came = request.headers.getlist("authorization")
    if not came:
        return None
    scheme, _, token = came[0].partition(" ")
    if len(came) != 1 or scheme.lower() != "bearer" or not token.strip():
        raise UnauthorizedError("the header Authorization came otherwise; send 'Authorization: Bearer …' once")
    return token.strip()


async def _require_page(request: Request, token: str) -> None:
    """Require what only the page knows: a script sends it as a header, a form as its field ``csrf``."""
    came = request.headers.get(CSRF_HEADER, "")
    if not came and request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        came = (await form_of(request)).get("csrf", "")
    if not hmac.compare_digest(unmasked(came).encode(), csrf_of(token).encode()):
        raise ForbiddenError("the page that asked is not signed in; load it again, or send a token as a header")


def masked(secret: str) -> str:
    """Return a secret of hexadecimal digits so that no two answers hold the same text; an empty one as it is.

    What a compressed answer weighs then says nothing of it: the mask, which stands before it, is another each time.

    >>> len(masked("00ff")), unmasked(masked("00ff")), masked("00ff") == masked("00ff"), masked(""), unmasked("é")
    (8, '00ff', False, '', '')
    """
    data = bytes.fromhex(secret)
    mask = secrets.token_bytes(len(data))
    return mask.hex() + bytes(one ^ other for one, other in zip(data, mask, strict=True)).hex()


def unmasked(text: str) -> str:
    """Return the secret that `masked` has made a text of; empty for anything else."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return ""
    half = len(data) // 2
    return bytes(one ^ other for one, other in zip(data[:half], data[half : 2 * half], strict=True)).hex()


def asked_at(gate: Gate) -> Callable[..., Awaitable[None]]:
    """Return what every route depends on: that who asks may."""

    async def ask(request: Request, _: Annotated[object, Depends(HTTPBearer(auto_error=False))]) -> None:
        route = request.scope["route"]
        request.state.caller, request.state.csrf = None, ""
        name_model(request.path_params.get("model", ""))
        if not gate.required or route.name in OPEN:
            return
        try:
            caller = await gate.caller(request)
        except UnauthorizedError:
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                raise HTTPException(303, headers={"Location": sign_in_path(request)}) from None
            raise
        request.state.caller = caller  # the page that says what is refused tells them who they are
        needed = role_needed(request.method, events="events" in getattr(route, "tags", ()))
        asks = replace(caller, models=()) if route.name in _OF_NO_MODEL | _OF_THEIR_MODELS else caller
        model = request.path_params.get("model")
        if model is None and asks.models:
            model = await run_in_threadpool(gate.model_of, request.path_params)
        require_allowed(asks, needed, model)
        if caller.rate is not None:
            gate.accounts.enter(caller.name, caller.rate, clock.monotonic_seconds())
            request.state.accounts = gate.accounts
        if (cookie := request.cookies.get(COOKIE)) is not None:
            request.state.csrf = csrf_of(cookie)

    return ask


def charge(request: Request, events: int) -> None:
    """Charge who asks for the events of a request, where their rate is limited; one is charged for each request."""
    caller: Caller | None = request.state.caller
    if caller is not None and caller.rate is not None:
        accounts: Accounts = request.state.accounts
        accounts.charge(caller.name, max(0, events - 1))


def name_of(request: Request, otherwise: str) -> str:
    """Return the name of who asks, or ``otherwise`` where nobody had to sign in."""
    caller: Caller | None = request.state.caller
    return otherwise if caller is None else caller.name


async def said(request: Request, kind: type[_Body]) -> _Body:
    """Read what somebody says, as JSON: who has signed in says it under their own name.

    Raises `ForbiddenError` for another name, and what `json_of` and `read_body` raise.
    """
    data = await json_of(request)
    caller: Caller | None = request.state.caller
    return read_body(data if caller is None else _named(data, caller), kind)


def _named(data: bytes, caller: Caller) -> bytes:
    try:
        body = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return data  # whoever reads it says what is wrong
    if not isinstance(body, dict):
        return data
    if body.get("by", caller.name) != caller.name:
        raise ForbiddenError(f"`by` came as another name, with the token of {caller.name}; leave it out")
    return msgspec.json.encode({**body, "by": caller.name})


# ---- the page -------------------------------------------------------------------------------------------------------


def sign_in_path(request: Request) -> str:
    """Return the address of the sign-in that leads back to what was asked for."""
    base = quote(base_of(request))
    path, query = quote(request.scope["path"]), f"?{request.url.query}" if request.url.query else ""
    if path.startswith(f"{base}/"):  # a proxy may pass the prefix on, or take it away
        path = path.removeprefix(base)
    return f"{base}{SIGN_IN}?next={quote(path + query, safe='')}"


def sign_in_routes(gate: Gate, render: Callable[..., Response]) -> APIRouter:
    """Return the routes by which a browser signs in and out; ``render`` makes the page of a template."""
    router = APIRouter(include_in_schema=False)

    @router.get(SIGN_IN, name="sign_in")
    async def page(request: Request) -> Response:
        return render(request, next=_local(request.query_params.get("next", "")), problem="", status=200)

    @router.post(SIGN_IN, name="post_sign_in")
    async def sign_in(request: Request) -> Response:
        form = await form_of(request)
        next = _local(form.get("next", ""))
        try:
            token = form.get("token", "").strip()
            await gate.holder(token)
        except UnauthorizedError as error:
            return render(request, next=next, problem=str(error), status=401)
        where = quote(next, safe=string.punctuation)  # what is quoted already stays as it is
        answer = Response(status_code=303, headers={"Location": f"{quote(base_of(request))}{where}"})
        answer.set_cookie(
            COOKIE, token, path=base_of(request) or "/", httponly=True, samesite="lax", secure=gate.secure
        )
        return answer

    @router.post(SIGN_OUT, name="sign_out")
    async def sign_out(request: Request) -> Response:
        answer = Response(status_code=303, headers={"Location": f"{quote(base_of(request))}{SIGN_IN}"})
        answer.delete_cookie(COOKIE, path=base_of(request) or "/", httponly=True, samesite="lax", secure=gate.secure)
        return answer

    return router


async def form_of(request: Request) -> Mapping[str, str]:
    """Read a small form, once for all who ask for it; what is no form has no fields."""
    known: Mapping[str, str] | None = getattr(request.state, "form", None)
    if known is None:
        known = request.state.form = await _read_form(request)
    return known


async def _read_form(request: Request) -> Mapping[str, str]:
    bodies: Bodies = request.app.state.bodies
    try:
        async with bodies.hold(request, _FORM_BYTES) as body:
            return {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=_MOST_FIELDS).items()}
    except (TooLargeError, UnsupportedTypeError, ValueError):
        return {}


def _local(path: str) -> str:
    r"""Return a path of this server; the first page for anything that could lead elsewhere.

    >>> _local("/models/m?a=b"), _local("//evil.example"), _local("https://evil.example"), _local("/\\evil.example")
    ('/models/m?a=b', '/', '/', '/')
    """
    parts = urlsplit(path) if path.isprintable() else None
    if parts is None or parts.scheme or parts.netloc or not path.startswith("/") or path[1:2] in ("/", "\\"):
        return "/"
    return path


def base_of(request: Request) -> str:
    """Return the path under which a proxy serves the page."""
    return str(request.scope.get("root_path", ""))
