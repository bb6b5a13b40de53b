"""Judgements: what rules said of windows, now and before. Every statement on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftline.events import WHOLE, Slice
from driftline.store.alerts import AlertRow
from driftline.store.statements import as_row, batches, values_of
from driftline.store.tables import ALERTS, JUDGEMENTS

JUDGED_LATELY = 60
"""Windows among which the newest that a rule could judge is looked for."""

KNOWN_WINDOWS = "windows"
"""The counter of a model's windows: its one number that can become smaller, when they are built anew."""

JUDGED_AT = "judged_at"
"""What stands among the counters for the moment at which a window was judged last."""

VERDICTS = "verdicts"
"""The counter of verdicts that were stored, new or other than before: while it stands, all of them stand."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule said of a window at a moment. ``current`` is what is known now; the others, what was known then.

    ``low`` and ``high`` are the 95 % interval, ``bound`` what was compared, at the rule's one-sided ``confidence``.
    """

    model: str
    rule: str
    window_start: datetime
    window_end: datetime
    judged_at: datetime
    state: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    reason: str
    current: bool
    bound: float | None = None
    confidence: float | None = None
    slice: Slice = WHOLE


class Judgements:
    """The statements on judgements, within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(
        self,
        model: str,
        *,
        rule: str | None = None,
        rules: Iterable[str] | None = None,
        slice: Slice | None = None,
        window_start: datetime | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        current: bool = True,
    ) -> list[Judgement]:
        """Return judgements in order of window and of moment: what is known now, or with ``current=False`` all of them.

        Those of one window, or of the windows that start in [start, end). By the names of ``rules`` only those windows
        are read; without them the whole history is passed by. They are of one ``slice`` of the windows' rows, or
        without it of all that there are.
        """
        statement = sa.select(JUDGEMENTS).where(JUDGEMENTS.c.model == model)
        if rule is not None:
            statement = statement.where(JUDGEMENTS.c.rule == rule)
        if rules is not None:
            statement = statement.where(JUDGEMENTS.c.rule.in_(list(rules)))
        if slice is not None:
            statement = statement.where(JUDGEMENTS.c.slice == slice)
        if window_start is not None:
            statement = statement.where(JUDGEMENTS.c.window_start == window_start)
        if start is not None:
            statement = statement.where(JUDGEMENTS.c.window_start >= start)
        if end is not None:
            statement = statement.where(JUDGEMENTS.c.window_start < end)
        if current:
            statement = statement.where(JUDGEMENTS.c.current)
        statement = statement.order_by(JUDGEMENTS.c.window_start, JUDGEMENTS.c.id)
        return [as_row(Judgement, row) for row in self._connection.execute(statement)]

    def first(
        self,
        model: str,
        rules: Iterable[str],
        *,
        slice: Slice = WHOLE,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Judgement]:
        """Return what each rule said of each window in [start, end) when it could judge it for the first time."""
        of_slice = [
            JUDGEMENTS.c.model == model,
            JUDGEMENTS.c.rule.in_(list(rules)),
            JUDGEMENTS.c.slice == slice,
            JUDGEMENTS.c.state != "nodata",
        ]
        if start is not None:
            of_slice.append(JUDGEMENTS.c.window_start >= start)
        if end is not None:
            of_slice.append(JUDGEMENTS.c.window_start < end)
        grouped = sa.select(sa.func.min(JUDGEMENTS.c.id)).where(*of_slice)
        oldest = grouped.group_by(JUDGEMENTS.c.rule, JUDGEMENTS.c.window_start)
        statement = sa.select(JUDGEMENTS).where(JUDGEMENTS.c.id.in_(oldest)).order_by(JUDGEMENTS.c.window_start)
        return [as_row(Judgement, row) for row in self._connection.execute(statement)]

    def newest(self, model: str, rule: str, most: int, *, slice: Slice = WHOLE) -> list[Judgement]:
        """Return what is known now of the newest windows that a rule has judged, in order of window."""
        statement = sa.select(JUDGEMENTS).where(
            JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule == rule, JUDGEMENTS.c.slice == slice, JUDGEMENTS.c.current
        )
        newest = statement.order_by(JUDGEMENTS.c.window_start.desc(), JUDGEMENTS.c.id.desc()).limit(most)
        return [as_row(Judgement, row) for row in self._connection.execute(newest)][::-1]

    def newest_of_all(self, model: str, rule: str, most: int) -> list[Judgement]:
        """Return what is known now of the newest windows by a rule, of all slices, in order of window.

        They are at most so many rows; of the oldest window some slices may be missing then.
        """
        statement = sa.select(JUDGEMENTS).where(
            JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule == rule, JUDGEMENTS.c.current
        )
        newest = statement.order_by(JUDGEMENTS.c.window_start.desc(), JUDGEMENTS.c.id.desc()).limit(most)
        return [as_row(Judgement, row) for row in self._connection.execute(newest)][::-1]

    def of_alerts(self, alerts: Sequence[AlertRow]) -> dict[str, list[Judgement]]:
        """Return the current judgements by alert: of the window it fired on, then the newest that its rule could judge.

        The newest is looked for among the last `JUDGED_LATELY` windows. Two statements, however many alerts.
        """
        found: dict[str, list[Judgement]] = {}
        newest: dict[tuple[str, str, Slice], Judgement] = {}
        for ids in batches(row.id for row in alerts):
            for row in self._connection.execute(_of_its_window(ids)):
                found.setdefault(row.alert, []).append(as_row(Judgement, row))
            for row in self._connection.execute(_newest_of_its_rule(ids)):
                newest[row.model, row.rule, row.slice] = as_row(Judgement, row)
        for alert in alerts:
            if (one := newest.get((alert.model, alert.rule, alert.slice))) is not None:
                found.setdefault(alert.id, []).append(one)
        return found

    def of_rule(
        self,
        model: str,
        rule: str,
        *,
        slice: Slice = WHOLE,
        start: datetime | None = None,
        end: datetime | None = None,
        state: str | None = None,
        newest_first: bool = False,
        most: int,
    ) -> list[Judgement]:
        """Return what is known now of the windows in [start, end) that a rule could judge, or that are in one state."""
        statement = sa.select(JUDGEMENTS).where(
            JUDGEMENTS.c.model == model,
            JUDGEMENTS.c.rule == rule,
            JUDGEMENTS.c.slice == slice,
            JUDGEMENTS.c.current,
            JUDGEMENTS.c.state != "nodata" if state is None else JUDGEMENTS.c.state == state,
        )
        if start is not None:
            statement = statement.where(JUDGEMENTS.c.window_start >= start)
        if end is not None:
            statement = statement.where(JUDGEMENTS.c.window_start < end)
        order = JUDGEMENTS.c.window_start
        statement = statement.order_by(order.desc() if newest_first else order).limit(most)
        return [as_row(Judgement, row) for row in self._connection.execute(statement)]

    def worst_breach(
        self, model: str, rule: str, start: datetime, end: datetime, *, slice: Slice = WHOLE, lowest: bool
    ) -> Judgement | None:
        """Return the breach of the lowest or highest value among the windows in [start, end), the oldest of equals."""
        order = (JUDGEMENTS.c.value.asc() if lowest else JUDGEMENTS.c.value.desc()).nulls_last()
        statement = sa.select(JUDGEMENTS).where(
            JUDGEMENTS.c.model == model,
            JUDGEMENTS.c.rule == rule,
            JUDGEMENTS.c.slice == slice,
            JUDGEMENTS.c.window_start >= start,
            JUDGEMENTS.c.window_start < end,
            JUDGEMENTS.c.current,
            JUDGEMENTS.c.state == "breach",
        )
        row = self._connection.execute(statement.order_by(order, JUDGEMENTS.c.window_start).limit(1)).one_or_none()
        return None if row is None else as_row(Judgement, row)

    def breaches_in_a_row(self, model: str, rule: str, *, slice: Slice = WHOLE, since: datetime | None = None) -> int:
        """Return how many breaches of a rule there are since a window, or without one after the last window
        that was ok.
        """
        of_rule = (
            JUDGEMENTS.c.model == model,
            JUDGEMENTS.c.rule == rule,
            JUDGEMENTS.c.slice == slice,
            JUDGEMENTS.c.current,
        )
        if since is None:
            last_ok = (
                sa.select(JUDGEMENTS.c.window_start)
                .where(*of_rule, JUDGEMENTS.c.state == "ok")
                .order_by(JUDGEMENTS.c.window_start.desc())
                .limit(1)
            )
            ok_at = self._connection.execute(last_ok).scalar_one_or_none()
            after = [JUDGEMENTS.c.window_start > ok_at] if ok_at is not None else []
        else:
            after = [JUDGEMENTS.c.window_start >= since]
        statement = sa.select(sa.func.count()).where(*of_rule, JUDGEMENTS.c.state == "breach", *after)
        return int(self._connection.execute(statement).scalar_one())

    def put(self, row: Judgement) -> None:
        """Store what is known now; what was known before stays, no longer current."""
        self.put_all([row])

    def put_all(self, rows: Sequence[Judgement]) -> None:
        """Store what is known now of some windows: two statements, however many rows."""
        self.retire_all(rows)
        if rows:
            self._connection.execute(JUDGEMENTS.insert(), [values_of(row) for row in rows])

    def retire(self, row: Judgement) -> None:
        """Make what a rule said of a slice of a window a thing of the past."""
        self.retire_all([row])

    def retire_all(self, rows: Sequence[Judgement]) -> None:
        """Make what rules said of slices of windows a thing of the past: one statement, however many rows."""
        if not rows:
            return
        statement = JUDGEMENTS.update().where(
            JUDGEMENTS.c.model == sa.bindparam("of_model"),
            JUDGEMENTS.c.rule == sa.bindparam("of_rule"),
            JUDGEMENTS.c.slice == sa.bindparam("of_slice"),
            JUDGEMENTS.c.window_start == sa.bindparam("of_window"),
            JUDGEMENTS.c.current,
        )
        keys = [
            {"of_model": row.model, "of_rule": row.rule, "of_slice": row.slice, "of_window": row.window_start}
            for row in rows
        ]
        self._connection.execute(statement.values(current=False), keys)

    def retire_others(self, model: str, rules: Iterable[str]) -> None:
        """Make the judgements of rules that are no longer configured a thing of the past."""
        self._connection.execute(
            JUDGEMENTS.update()
            .where(JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule.not_in(list(rules)), JUDGEMENTS.c.current)
            .values(current=False)
        )

    def slices(self, model: str, rule: str) -> set[Slice]:
        """Return the slices that a rule has judged, as far as that is known now, or has had an alert of."""
        statements = (
            sa.select(JUDGEMENTS.c.slice).where(
                JUDGEMENTS.c.model == model, JUDGEMENTS.c.rule == rule, JUDGEMENTS.c.current
            ),
            sa.select(ALERTS.c.slice).where(ALERTS.c.model == model, ALERTS.c.rule == rule),
        )
        return {found for one in statements for found in self._connection.execute(one.distinct()).scalars()}


def _of_its_window(alerts: Sequence[str]) -> sa.Select[Any]:
    """Return the current judgements of the windows that alerts fired on, each with its alert."""
    its_window = sa.and_(
        JUDGEMENTS.c.model == ALERTS.c.model,
        JUDGEMENTS.c.rule == ALERTS.c.rule,
        JUDGEMENTS.c.slice == ALERTS.c.slice,
        JUDGEMENTS.c.window_start == ALERTS.c.window_start,
        JUDGEMENTS.c.current,
    )
    statement = sa.select(ALERTS.c.id.label("alert"), *(one for one in JUDGEMENTS.c if one.name != "id"))
    return statement.join_from(ALERTS, JUDGEMENTS, its_window).where(ALERTS.c.id.in_(alerts)).order_by(JUDGEMENTS.c.id)


def _newest_of_its_rule(alerts: Sequence[str]) -> sa.Select[Any]:
    """Return the newest current judgement with a value of each rule that has such alerts."""
    rules = (
        sa.select(ALERTS.c.model, ALERTS.c.rule, ALERTS.c.slice).where(ALERTS.c.id.in_(alerts)).distinct().subquery()
    )
    one = JUDGEMENTS.alias()
    lately = (
        sa.select(one.c.id, one.c.window_start, one.c.value, one.c.state)
        .where(
            one.c.model == rules.c.model,
            one.c.rule == rules.c.rule,
            one.c.slice == rules.c.slice,
            one.c.current,
        )
        .order_by(one.c.window_start.desc(), one.c.id.desc())
        .limit(JUDGED_LATELY)
        .correlate(rules)
        .subquery()
    )
    newest = (
        sa.select(lately.c.id)
        .where(lately.c.value.is_not(None), lately.c.state != "nodata")
        .order_by(lately.c.window_start.desc(), lately.c.id.desc())
        .limit(1)
        .correlate(rules)
        .scalar_subquery()
    )
    return sa.select(JUDGEMENTS).join_from(rules, JUDGEMENTS, JUDGEMENTS.c.id == newest)
