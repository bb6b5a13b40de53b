"""The report that `driftline.check` returns: what was found, with the ways to show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from driftline.profiles import Column, NumericColumn
from driftline.results.check import CheckReport


class Report(CheckReport, frozen=True, kw_only=True):
    """The result of a check, and what its pictures are drawn from.

    ``profiles`` hold each column's profile of the reference and of the current rows; None for a side that lacks the
    column. ``errors`` are those of a regression on both sides, prediction - label; None for other tasks.
    """

    profiles: Mapping[str, tuple[Column | None, Column | None]] = {}
    errors: tuple[NumericColumn, NumericColumn] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON: numbers are finite or None."""
        from driftline.reports.report_json import document

        return document(self)

    def to_json(self) -> str:
        """Return the report as one JSON document."""
        from driftline.reports.report_json import to_json

        return to_json(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the report as one self-contained HTML page; also write it to ``path``, if one is given."""
        from driftline.reports.report_html import render

        page = render(self, self.profiles, self.errors)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def __repr__(self) -> str:
        drifted = sum(1 for column in self.columns.values() if column.drift.drifted)
        alerts = f"{len(self.alerts) or 'no'} alert{'' if len(self.alerts) == 1 else 's'}"
        rows = f"{self.rows.current:,} current rows against {self.rows.reference:,}"
        return f"<Report: {alerts}, {drifted} of {len(self.columns)} columns drifted, {rows}>"

    def __str__(self) -> str:
        """Return what the command prints, 80 columns wide."""
        import io

        from rich.console import Console

        from driftline.reports.report_text import renderables

        page = io.StringIO()
        console = Console(
            file=page, width=80, color_system=None, force_jupyter=False, highlight=False, markup=False, emoji=False
        )
        for part in renderables(self, self.profiles):
            console.print(part)
        return "\n".join(line.rstrip() for line in page.getvalue().splitlines())

    def _repr_html_(self) -> str:
        import html

        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:0"></iframe>'
