"""The page of the rows of a model that were set aside: which, since when, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo

from fastapi import Query, Request, Response

from driftline.events import Schema
from driftline.monitoring.options import ModelConfig
from driftline.store.inbox import QuarantinedRow
from driftline.text import visible
from driftline.web.ui.first_events import set_aside
from driftline.web.ui.rendering import Render

ROWS_SHOWN = 100
"""The page shows so many at once."""

ROW_BYTES = 600
"""So much of a row is shown; the API has all of it."""

BEFORE_ROW = Query(None, ge=1, lt=2**63, description="The id of a row: those that were set aside before it.")


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def schema(self, model: str, /) -> Schema | None:
        """Return the shape of a model's events; None where that is not known yet."""

    def quarantined(
        self, model: str, /, *, most: int, before: int | None = None, row_bytes: int | None = None
    ) -> list[QuarantinedRow]:
        """Return the newest rows that were set aside, newest first."""

    def refused(self, model: str, /) -> dict[str, int]:
        """Return how many rows were refused or set aside so far, by kind of reason."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A row as the page shows it; ``cut`` says that there is more of it."""

    row: QuarantinedRow
    text: str
    cut: bool


def quarantine_page(request: Request, views: Views, render: Render, model: str, before: int | None) -> Response:
    """Show the newest rows that were set aside of a model that is known, or those before one of them."""
    found = views.quarantined(model, most=ROWS_SHOWN, before=before, row_bytes=ROW_BYTES + 1)
    rows = [_aside(one) for one in found]
    return render(
        request,
        "quarantine.html",
        model=model,
        rows=rows,
        reasons=Counter((one.field, one.reason) for one in found).most_common(),
        refused=views.refused(model),
        before=before,
        more=len(rows) == ROWS_SHOWN,
        zone=ZoneInfo("UTC"),
        lines=None if rows else set_aside(request, views.model_config(model), views.schema(model)),
    )


def _aside(row: QuarantinedRow) -> Aside:
    data = bytes(row.row)
    text = data[:ROW_BYTES].decode(errors="replace")
    return Aside(row, visible(text), len(data) > ROW_BYTES)
