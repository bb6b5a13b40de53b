"""Answer with a page: rendered from a template, with the headers that keep a browser from anything else."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import secrets
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import jinja2
from fastapi import Request, Response
from markupsafe import Markup

from driftline.errors import UnknownNameError, UsageError
from driftline.templating import environment
from driftline.text import visible_lines
from driftline.web.access import base_of, masked

# A form that is sent from a page with "no-referrer" has the Origin "null", which is no page of this server.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Render(Protocol):
    """Answers with the page that a template makes of its context."""

    def __call__(
        self, request: Request, template: str, /, *, status: int = 200, tag: str = "", **context: Any
    ) -> Response:
        """Render and answer; ``tag`` is what `tag_of` has returned, else it is made of the page."""


def renderer(refresh_seconds: float) -> Render:
    """Return what renders pages that the browser fetches again after so many seconds; 0 for never."""
    made = _templates()
    place = secrets.token_hex(16)  # where what a page sends with writes comes, which is masked in each answer

    def render(request: Request, template: str, /, *, status: int = 200, tag: str = "", **context: Any) -> Response:
        caller, csrf = getattr(request.state, "caller", None), getattr(request.state, "csrf", "")
        page = made.get_template(template).render(
            base=quote(base_of(request)),
            refresh_seconds=refresh_seconds,
            caller=caller,
            limited=caller is not None and bool(caller.models),
            csrf=place if csrf else "",
            here=_here(request),
            **context,
        )
        text = visible_lines(page)  # names and values of others, in drawings too, cannot turn the text around them
        tag = tag or _tag(text.replace(place, csrf).encode() if csrf else text.encode())
        body = text.replace(place, masked(csrf)) if csrf else text
        return answer(request, body.encode(), "text/html; charset=utf-8", status=status, tag=tag)

    return render


def fragment(template: str, **context: Any) -> Markup:
    """Return the part of a page that a template makes of its context."""
    return Markup(_templates().get_template(template).render(**context))


def compile_templates() -> None:
    """Compile every template, so that nobody waits for it who asks for a page first."""
    made = _templates()
    for name in made.list_templates():
        made.get_template(name)


@functools.cache
def _templates() -> jinja2.Environment:
    return environment("driftline.web.ui")


def _here(request: Request) -> str:
    """Return which part of the navigation a page is of; empty for none."""
    first = request.url.path.removeprefix(base_of(request)).strip("/").partition("/")[0]
    return {"": "models", "models": "models", "alerts": "models", "api": "api"}.get(first, first)


def answer(request: Request, body: bytes, media_type: str, *, status: int = 200, tag: str = "") -> Response:
    """Answer with the body, or with 304 if the browser already has it; ``tag`` stands for the body if it is given."""
    tag = tag or _tag(body)
    if status == 200 and (same := unchanged(request, tag)) is not None:
        return same
    return Response(body, status, headers={**HEADERS, "ETag": tag, "Content-Type": media_type})


def tag_of(request: Request, *parts: object) -> str:
    """Return the tag of a page that is made of these parts, of who asks, and of the address, and of nothing else."""
    caller = getattr(request.state, "caller", None)
    who = (caller, getattr(request.state, "csrf", ""), base_of(request), request.url.query)
    return _tag(repr((importlib.metadata.version("driftline"), who, parts)).encode())


def unchanged(request: Request, tag: str) -> Response | None:
    """Return the answer 304 to a browser that has the page with this tag; None for others.

    A proxy may have made a tag a weak one, and they are compared as if both were (RFC 9110, 13.1.2).
    """
    if tag not in (one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")):
        return None
    return Response(status_code=304, headers={**HEADERS, "ETag": tag})


def as_marked(request: Request, mark: tuple[Any, ...], page: Callable[[], Response]) -> Response:
    """Answer with a page, or with 304 where ``mark`` is as it was when the browser was given it.

    The mark is read before the page is: what changes in between is on the page, and is fetched once more.
    """
    tag = tag_of(request, request.url.path, mark)
    if (same := unchanged(request, tag)) is not None:
        return same
    answered = page()
    if answered.status_code == 200:
        answered.headers["ETag"] = tag
    return answered


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def refused(request: Request, render: Render, model: str, error: UsageError | UnknownNameError) -> Response:
    """Answer with a page that says why a page of a model cannot be as its address asks."""
    status = 404 if isinstance(error, UnknownNameError) else 400
    return render(request, "refused.html", status=status, model=model, reason=str(error))


def redirect(request: Request, path: str) -> Response:
    """Send the browser to another page; ``path`` is quoted, below the service's own address."""
    return Response(status_code=303, headers={**HEADERS, "Location": f"{quote(base_of(request))}{path}"})
