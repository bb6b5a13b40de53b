"""The page of changes: who changed what, when and why."""

from __future__ import annotations

from typing import Protocol
from zoneinfo import ZoneInfo

from fastapi import Query, Request, Response

from driftline.store.audit import AuditRow
from driftline.web.ui.rendering import Render

CHANGES_SHOWN = 100
"""The page shows so many at once."""

BEFORE_CHANGE = Query(None, ge=1, lt=2**63, description="The number of a change: those before it.")


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def changes(self, *, limit: int, before: int | None = None, model: str | None = None) -> list[AuditRow]:
        """Return what people and programs have changed, the newest first."""


def audit_page(request: Request, views: Views, render: Render, before: int | None) -> Response:
    """Show the newest changes, or those before one of them."""
    changes = views.changes(limit=CHANGES_SHOWN, before=before)
    more = len(changes) == CHANGES_SHOWN
    return render(request, "audit.html", changes=changes, more=more, zone=ZoneInfo("UTC"))
