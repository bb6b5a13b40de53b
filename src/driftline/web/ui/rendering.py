"""Answer with a page: rendered from a template, with the headers that keep a browser from anything else."""

from __future__ import annotations

import functools
import hashlib
from typing import Any, Protocol
from urllib.parse import quote

import jinja2
from fastapi import Request, Response

from driftline.errors import UnknownNameError, UsageError
from driftline.templating import environment
from driftline.web.access import base_of

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

    def __call__(self, request: Request, template: str, /, *, status: int = 200, **context: Any) -> Response:
        """Render and answer."""


def renderer(refresh_seconds: float) -> Render:
    """Return what renders pages that the browser fetches again after so many seconds; 0 for never."""
    made = _templates()

    def render(request: Request, template: str, /, *, status: int = 200, **context: Any) -> Response:
        caller, csrf = getattr(request.state, "caller", None), getattr(request.state, "csrf", "")
        text = made.get_template(template).render(
            base=quote(base_of(request)), refresh_seconds=refresh_seconds, caller=caller, csrf=csrf, **context
        )
        return answer(request, text.encode(), "text/html; charset=utf-8", status=status)

    return render


@functools.cache
def _templates() -> jinja2.Environment:
    return environment("driftline.web.ui")


def answer(request: Request, body: bytes, media_type: str, *, status: int = 200) -> Response:
    """Answer with the body, or with 304 if the browser already has it."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": tag}
    if status == 200 and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers={**headers, "Content-Type": media_type})


def refused(request: Request, render: Render, model: str, error: UsageError | UnknownNameError) -> Response:
    """Answer with a page that says why a page of a model cannot be as its address asks."""
    status = 404 if isinstance(error, UnknownNameError) else 400
    return render(request, "refused.html", status=status, model=model, reason=str(error))


def redirect(request: Request, path: str) -> Response:
    """Send the browser to another page; ``path`` is quoted, below the service's own address."""
    return Response(status_code=303, headers={**HEADERS, "Location": f"{quote(base_of(request))}{path}"})
