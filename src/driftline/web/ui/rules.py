"""The page of a model's rules: what each says now, how often it fired, and what it would by another threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from markupsafe import Markup
from msgspec.structs import replace

from driftline.charts import lines
from driftline.config.rule_text import rule_text
from driftline.errors import DriftlineError
from driftline.events import Schema
from driftline.monitoring.options import ModelConfig
from driftline.rules import JudgedWindow, Rule, State
from driftline.rules.backtest import Backtest
from driftline.text.moments import page_span
from driftline.text.numbers import beside, exact, from_to, level, number, percent
from driftline.views.rules import RulesView, RuleView, TriedView
from driftline.views.values import ModelView
from driftline.web.ui.first_events import first_rule
from driftline.web.ui.rendering import Render
from driftline.web.ui.series import HEIGHT, bounds_of

SLICES_SHOWN = 8
"""Of a rule on many segments or versions so many verdicts are shown, breaches first."""

ALERTS_SHOWN = 50
"""Of the alerts that would have fired the newest ones are listed."""

_LONG_ENOUGH = timedelta(days=90)
_STEPS = 200
_MOST_WINDOWS = 1000


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def schema(self, model: str, /) -> Schema | None:
        """Return the shape of a model's events; None where that is not known yet."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def model(self, model: str, /) -> ModelView:
        """Return one model."""

    def rules(self, model: str, /) -> RulesView:
        """Return what the rules of a model say of its newest judged window, and how often they have fired."""

    def try_rule(self, model: str, rule: Rule, /) -> TriedView:
        """Return what a configured rule has fired, and what it would have as it is given."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule as the page shows it; ``states`` are its verdicts now: state, slice, reason."""

    view: RuleView
    words: str
    states: tuple[tuple[str, str, str], ...]
    more: int


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that fires by the rule as it is, as it was tried, or by both."""

    window: str
    start: str
    until: str
    slice: str
    value: str
    now: bool
    tried: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """A rule that is tried on the history, and what comes of it.

    ``low``, ``high`` and ``step`` are those of the slider; ``problem`` says why what came cannot be tried, and then
    the rule is as it is configured.
    """

    view: TriedView
    threshold: str
    low: str
    high: str
    step: str
    drawing: Markup
    of: str
    fired: tuple[Fired, ...]
    left_out: int
    verdict: str
    text: str
    problem: str

    @property
    def is_changed(self) -> bool:
        """Whether what is tried is another rule than the configured one."""
        return self.view.rule != self.view.configured


def rules_page(request: Request, views: Views, render: Render, model: str) -> Response:
    """Show the rules of one model that is known."""
    config, seen = views.model_config(model), views.rules(model)
    zone = ZoneInfo(config.window.timezone)
    asked = {name: request.query_params.get(name, "")[:100] for name in ("rule", "threshold", "for")}
    return render(
        request,
        "rules.html",
        model=views.model(model),
        config=config,
        zone=zone,
        window="" if seen.window is None else page_span(seen.window.start, seen.window.end, zone),
        rows=[_row(one) for one in seen.rules],
        lines=None if seen.rules else first_rule(config, views.schema(model)),
        trial=_trial(views, config, request.query_params.get("rule", ""), asked["threshold"], asked["for"], zone),
    )


# ---- each rule ------------------------------------------------------------------------------------------------------


def _row(view: RuleView) -> RuleRow:
    order = {State.BREACH: 0, State.NODATA: 2}
    verdicts = sorted(view.verdicts, key=lambda one: order.get(one[1].state, 1))
    shown = tuple((said.state.value, str(slice.words), said.reason) for slice, said in verdicts[:SLICES_SHOWN])
    return RuleRow(view, _sentence("; ".join(in_words(view.rule))), shown, len(verdicts) - len(shown))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_words(rule: Rule) -> Iterator[str]:
    """Say a rule in words.

    >>> list(in_words(Rule("low", "accuracy", below=0.75, for_windows=2)))[:1]
    ['fires when accuracy is below 0.75 with 95 % confidence in 2 windows in a row']
    """
    row = "" if rule.for_windows == 1 else f" in {rule.for_windows} windows in a row"
    at = "at or " if rule.inclusive else ""
    sure = f" with {level(rule.confidence)} confidence"
    yield f"fires when {rule.measure} is {at}{rule.comparison} {exact(rule.threshold)}{sure}{row}"
    if rule.segment == "all":
        yield "each segment by itself"
    elif not isinstance(rule.segment, str):
        yield f"of the rows with {rule.segment.words}"
    if rule.version != "all":
        yield "each version by itself" if rule.version == "each" else f"of version {rule.version}"
    if rule.min_samples > 1:
        yield f"not judged with fewer than {rule.min_samples} rows"
    if rule.least_coverage:
        yield f"not judged with fewer than {percent(rule.least_coverage)} of the labels"
    if rule.clear is not None:
        yield f"ends when it is back at {exact(rule.clear)}"
    if rule.keep_firing_for:
        yield f"ends after {rule.keep_firing_for + 1} good windows in a row"


# ---- the trial ------------------------------------------------------------------------------------------------------


def _trial(views: Views, config: ModelConfig, name: str, threshold: str, windows: str, zone: ZoneInfo) -> Trial | None:
    """Try what was asked for; None where the model has no rule. What makes no sense is said, and not tried."""
    if not config.rules:
        return None
    configured = next((one for one in config.rules if one.name == name), None)
    problem = "" if configured is not None or not name else f"There is no rule {name[:100]!r}; tried is the first one."
    configured = configured or config.rules[0]
    rule = configured
    if not problem:
        try:
            rule = _changed(configured, threshold, windows)
        except DriftlineError as error:
            problem = str(error)
        except ValueError:
            problem = (
                f"The threshold came as {threshold!r}, for as {windows!r}; allowed are a number and a whole number."
            )
    view = views.try_rule(config.name, rule)
    low, high = _ends(view)
    fired = sorted(_fired(view, zone), key=lambda one: one.start, reverse=True)
    return Trial(
        view=view,
        threshold=exact(rule.threshold),
        low=exact(low),
        high=exact(high),
        step=exact(_step(low, high)),
        drawing=_drawing(view, zone),
        of=str(view.slice.words),
        fired=tuple(fired[:ALERTS_SHOWN]),
        left_out=max(len(fired) - ALERTS_SHOWN, 0),
        verdict=_compared(view),
        text=rule_text(rule),
        problem=problem,
    )


def _changed(rule: Rule, threshold: str, windows: str) -> Rule:
    """Return the rule with what was asked for; raises `ValueError` or `UsageError` where that makes no sense."""
    changes: dict[str, float | int] = {}
    if threshold:
        changes[rule.comparison] = float(threshold) + 0.0
    if windows:
        changes["for_windows"] = min(int(windows), _MOST_WINDOWS)
    return replace(rule, **changes)


def _ends(view: TriedView) -> tuple[float, float]:
    """Return the ends of the slider: those of the measure, or all that was seen and some more."""
    low, high = bounds_of(view.rule.measure)
    seen = [view.rule.threshold, view.configured.threshold]
    seen += [one.verdict.value for one in view.windows if one.verdict.value is not None]
    least, most = min(seen), max(seen)
    room = (most - least) / 4 or abs(most) / 4 or 1.0
    return (
        min(low, least) if low is not None else least - room,
        max(high, most) if high is not None else most + room,
    )


def _step(low: float, high: float) -> float:
    """Return the step of the slider: a power of ten, or five of them, of which about `_STEPS` reach across."""
    rough = (high - low) / _STEPS
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 and math.isfinite(rough) else 0.01
    return next(power * part for part in (1, 2, 5, 10) if power * part >= rough * 0.999)


def _compared(view: TriedView) -> str:
    before, after = (len(one.alerts) for one in (view.before, view.after))
    if view.rule == view.configured:
        return f"As it is, it fires {_times(before)} {_a_year(view.before)}in {_windows(view)}."
    change = "as often as it is" if before == after else f"as it is, it fires {_times(before)}"
    would = "It would never have fired" if not after else f"It would have fired {_times(after)}"
    return f"{would} {_a_year(view.after)}in {_windows(view)}; {change}."


def _times(alerts: int) -> str:
    return {0: "never", 1: "once"}.get(alerts, f"{alerts} times")


def _a_year(found: Backtest) -> str:
    """Say how often that is in a year, where the history is long enough to say so."""
    if not found.per_year or found.start is None or found.end is None or found.end - found.start < _LONG_ENOUGH:
        return ""
    return f"({number(found.per_year)} a year) "


def _windows(view: TriedView) -> str:
    if (number := view.after.windows) < 2:
        return "the newest judged window" if number else "no window yet"
    return f"the newest {number} judged windows"


def _fired(view: TriedView, zone: ZoneInfo) -> Iterator[Fired]:
    now, other = ({(one.window.start, one.slice): one for one in found.alerts} for found in (view.before, view.after))
    for key in now.keys() | other.keys():
        one = other.get(key) or now[key]
        until = "goes on" if one.until is None else page_span(one.window.start, one.until, zone)
        value = "–" if one.value is None else beside(one.value, one.threshold)
        span = page_span(one.window.start, one.window.end, zone)
        yield Fired(span, one.window.start.isoformat(), until, one.slice, value, key in now, key in other)


def _drawing(view: TriedView, zone: ZoneInfo) -> Markup:
    """Draw the history of the rule with both thresholds, and where it would have fired."""
    levels = [
        lines.Level(
            view.rule.threshold,
            f"{'tried' if view.rule != view.configured else 'threshold'} {exact(view.rule.threshold)}",
        )
    ]
    if view.rule.threshold != view.configured.threshold:
        levels.append(lines.Level(view.configured.threshold, f"now {exact(view.configured.threshold)}"))
    words = str(view.slice.words)
    end = view.windows[-1].window.end if view.windows else None
    shades = [
        lines.Shade(
            one.window.start,
            one.until or end,
            one.severity,
            f"Fires: {page_span(one.window.start, one.until or end, zone)}",
        )
        for one in view.after.alerts
        if one.slice == words and end is not None
    ]
    return lines.line_chart(
        [_point(one, zone) for one in view.windows],
        name="plot-tried",
        label=f"{view.rule.measure} over time, and when {view.rule.condition} would have fired. {_compared(view)}",
        zone=zone,
        levels=levels,
        shades=shades,
        bounds=bounds_of(view.rule.measure),
        height=HEIGHT,
    )


def _point(one: JudgedWindow, zone: ZoneInfo) -> lines.Point:
    said = one.verdict
    parts = [page_span(one.window.start, one.window.end, zone)]
    parts.append(f"{number(said.value)}" if said.value is not None else "no value")
    if said.low is not None and said.high is not None:
        parts.append(f"95 % interval {from_to(said.low, said.high)}")
    parts += [f"n = {said.n:,}", "not judged" if said.state is State.NODATA else said.state.value, said.reason]
    kind: lines.Kind = "breach" if said.state is State.BREACH else "judged" if said.state is State.OK else "provisional"
    return lines.Point(one.window.start, one.window.end, said.value, said.low, said.high, " · ".join(parts), kind)
