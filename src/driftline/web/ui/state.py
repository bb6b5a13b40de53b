"""Summarise the state of a model in words, and say what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from driftline.alerts.message import AlertView
from driftline.events import Slice
from driftline.monitoring.options import ModelConfig
from driftline.rules import Rule
from driftline.text.durations import length
from driftline.text.moments import page_moment
from driftline.views.values import ModelView, WindowView

NO_LABELS, NO_RULES = "No labels yet", "No rules"
"""What a page calls it where a model has none: it then shows lines to copy."""

Tone = Literal["page", "warning", "info", "ok", "unknown", "pending", "resolved", "corrected"]


@dataclass(frozen=True, slots=True)
class Headline:
    """The state of a model in words; ``tone`` picks icon and colour."""

    tone: Tone
    text: str
    detail: str


class Counted(Protocol):
    """How much came of a model."""

    @property
    def predictions(self) -> int:
        """The number of predictions."""

    @property
    def labels(self) -> int:
        """The number of labels."""


class Said(Protocol):
    """What a rule said of a window."""

    @property
    def rule(self) -> str:
        """The name of the rule."""

    @property
    def state(self) -> str:
        """The state of the verdict."""

    @property
    def reason(self) -> str:
        """Why it is so, in words."""

    @property
    def slice(self) -> Slice:
        """The rows that it is on."""


class Fired(Protocol):
    """An alert that fires."""

    @property
    def severity(self) -> str:
        """How urgent it is."""

    @property
    def title(self) -> str:
        """What it is called."""


def headline(
    model: ModelView, rules: Sequence[Rule], windows: Sequence[WindowView], alerts: Sequence[AlertView]
) -> Headline:
    """Summarise the state of a model; *All well* only if every rule is ok on the newest judged window."""
    judged = [one for one in windows if one.verdicts and one.summary.stage == "judged"]
    firing = [one for one in alerts if one.status == "firing"]
    verdicts = judged[-1].verdicts if judged else None
    return headline_of(model, rules, verdicts, firing, drifted=_drifted(judged[-1]) if judged else "")


def headline_of(
    model: Counted,
    rules: Sequence[Rule],
    verdicts: Sequence[Said] | None,
    firing: Iterable[Fired],
    *,
    drifted: str = "",
) -> Headline:
    """Return the same from the ``verdicts`` on the newest judged window, None before the first."""
    if urgent := sorted(firing, key=lambda one: severity_rank(one.severity)):
        more = f" and {len(urgent) - 1} more" if len(urgent) > 1 else ""
        return Headline(severity(urgent[0].severity), f"Firing: {urgent[0].title}{more}", "")
    if not model.predictions:
        return Headline("unknown", "No events yet", "Nothing is known about this model.")
    if not rules:
        return Headline("unknown", NO_RULES, "Nothing can alert: this model has no rule.")
    if not model.labels:
        return Headline("unknown", NO_LABELS, "Performance is not known without them.")
    if verdicts is None:
        return Headline("unknown", "No window judged yet", "The first verdict comes when a window has closed.")
    return _newest(verdicts, rules, drifted)


def _newest(said: Sequence[Said], rules: Sequence[Rule], drifted: str) -> Headline:
    known = {rule.name: rule for rule in rules}
    verdicts = [one for one in said if one.rule in known]
    breach = next((one for one in verdicts if one.state == "breach"), None)
    judged = {one.rule for one in verdicts if one.state != "nodata"}  # a rule may judge several segments
    silent = [rule for rule in rules if rule.name not in judged]
    if breach is not None:
        text = f"Pending: {breach.slice.titled(known[breach.rule].expression)}"
        return Headline("pending", text, f"{breach.reason}; not for long enough to alert.")
    if silent:
        why = next((one.reason for one in verdicts if one.rule == silent[0].name), "")
        reason = why or "it has not been judged yet"
        return Headline("unknown", "Not known", f"{silent[0].words}: {reason}.")
    return Headline("ok", "All well", f"Every rule holds in the newest judged window.{drifted}")


def _drifted(window: WindowView) -> str:
    """Say how many columns drifted, since no rule alerts on that; empty if none did."""
    one = window.summary
    columns = [*one.drift.values(), one.prediction_drift, one.label_drift]
    drifted = sum(column is not None and column.drifted for column in columns)
    return f" {drifted} of {len(columns)} columns drifted from the reference." if drifted else ""


def severity(name: str) -> Tone:
    """Return the tone of a severity; an unknown one counts as a warning."""
    for tone in SEVERITIES:
        if tone == name:
            return tone
    return "warning"


SEVERITIES: tuple[Tone, ...] = ("page", "warning", "info")


def severity_rank(name: str) -> int:
    """Return 0 for the most urgent severity; sort by it."""
    return SEVERITIES.index(severity(name))


def missing(
    model: ModelView, config: ModelConfig, windows: Sequence[WindowView], zone: ZoneInfo
) -> Iterable[tuple[str, str]]:
    """Say what is missing, and what to do about it."""
    address = f"/api/v1/models/{model.name}"
    if not model.predictions:
        yield "No events yet", "Predictions come over HTTP or from Python; the lines below send the first ones."
        return
    if not model.labels:
        yield (
            NO_LABELS,
            f"Send true labels to POST {address}/labels, with the id of the prediction, such as:",
        )
    if not any(one.summary.stage == "judged" for one in windows):
        newest = windows[-1].summary if windows else None
        until = f" (now: until event time passes {page_moment(newest.end, zone)})" if newest is not None else ""
        patience = length(config.labels.expected_within)
        yield (
            "No window judged yet",
            f"A window is open for {config.window.words}{until}, then waits for its labels for at most {patience}.",
        )
    if not config.rules:
        yield NO_RULES, "Nothing can alert. Add a rule, such as this one, to driftline.yaml."
