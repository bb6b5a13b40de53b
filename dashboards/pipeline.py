"""What must work before any measure means something: events in, processed, people told."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.blocks import (
    GREEN,
    YELLOW,
    Panel,
    answering,
    board,
    failing_models,
    lines,
    longest_silence,
    messages_waiting,
    now,
    number,
    query,
    rows,
    several,
    stacked,
    variable,
)

_MODEL = 'model=~"$model"'
_PUSHED = f"driftline_remote_write_windows_total{{{_MODEL}}}"


def dashboard() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "driftline-pipeline",
        "Driftline / Pipeline health",
        "Events that wait, were refused or repeated, labels without predictions, notifications, and Driftline itself.",
        [several(variable("model", "Models that are shown", "driftline_worker_failing"))],
        [
            ("Now", _now()),
            ("Events", _events()),
            ("Labels", _labels()),
            ("Notifications", _notifications()),
            ("Driftline", _driftline()),
        ],
    )


def _now() -> list[Panel]:
    return [
        answering(4),
        failing_models(_MODEL, 4),
        number(
            "Events waiting",
            "Events that are stored durably and wait to be processed.",
            "none",
            now(f"sum(driftline_ingest_queue_events{{{_MODEL}}})", "waiting"),
        ),
        longest_silence(_MODEL, 4),
        number(
            "Invalid events",
            "Events refused or set aside per second: below, by reason.",
            "cps",
            now(f"sum(rate(driftline_invalid_events_total{{{_MODEL}}}[$__rate_interval])) or vector(0)", "invalid"),
            steps=((None, GREEN), (1e-9, YELLOW)),
        ),
        messages_waiting(4),
    ]


def _events() -> list[Panel]:
    return [
        stacked(
            lines(
                "Events processed",
                "Predictions and labels processed per second, each once.",
                "cps",
                query(f"sum(rate(driftline_predictions_total{{{_MODEL}}}[$__rate_interval]))", "predictions"),
                query(f"sum(rate(driftline_labels_total{{{_MODEL}}}[$__rate_interval]))", "first labels"),
                query(f"sum(rate(driftline_label_corrections_total{{{_MODEL}}}[$__rate_interval]))", "corrections"),
            ).min(0)
        ),
        lines(
            "Events waiting",
            "Durable events that wait to be processed. While a line rises, the worker cannot keep up, or fails.",
            "none",
            query(f"sum by (model) (driftline_ingest_queue_events{{{_MODEL}}})", "{{model}}"),
        ).min(0),
        stacked(
            lines(
                "Invalid events",
                "Events refused or set aside per second, by kind and field. A new line is most often a changed schema.",
                "cps",
                query(
                    f"sum by (model, reason) (rate(driftline_invalid_events_total{{{_MODEL}}}[$__rate_interval]))",
                    "{{model}} {{reason}}",
                ),
                query(
                    f"sum by (model) (rate(driftline_poisoned_events_total{{{_MODEL}}}[$__rate_interval]))",
                    "{{model}} failed in the worker",
                ),
            ).min(0)
        ),
        lines(
            "Repeated events",
            "Events per second that repeat a known one. Senders that try again cause them, and they do no harm.",
            "cps",
            query(
                f"sum by (model) (rate(driftline_duplicate_events_total{{{_MODEL}}}[$__rate_interval]))", "{{model}}"
            ),
        ).min(0),
        lines(
            "Age of the last event",
            "Time since the last processed event came.",
            "s",
            query(f"time() - max by (model) (driftline_last_event_timestamp_seconds{{{_MODEL}}})", "{{model}}"),
        ).min(0),
        lines(
            "Age of the last judgement",
            "How long no window has been judged. With windows of a day it may reach some days.",
            "s",
            query(f"time() - max by (model) (driftline_last_evaluation_timestamp_seconds{{{_MODEL}}})", "{{model}}"),
        ).min(0),
        lines(
            "Models that fail",
            "1 while a model's events cannot be processed. Nothing of them is lost meanwhile.",
            "none",
            query(f"max by (model) (driftline_worker_failing{{{_MODEL}}})", "{{model}}"),
            width=24,
            height=6,
        )
        .min(0)
        .max(1),
    ]


def _labels() -> list[Panel]:
    return [
        lines(
            "Labels without a prediction",
            "Labels whose prediction has not come. While a line only rises, both sides do not agree on ids.",
            "none",
            query(f"sum by (model) (driftline_labels_waiting{{{_MODEL}}})", "{{model}}"),
            width=8,
        ).min(0),
        lines(
            "Corrections",
            "Labels per second that replaced another: their windows are judged again.",
            "cps",
            query(
                f"sum by (model) (rate(driftline_label_corrections_total{{{_MODEL}}}[$__rate_interval]))", "{{model}}"
            ),
            width=8,
        ).min(0),
        lines(
            "Label coverage",
            "Share of the newest judged window's predictions that are labelled.",
            "percentunit",
            query(f"max by (model) (driftline_label_coverage_ratio{{{_MODEL}}})", "{{model}}"),
            width=8,
        )
        .min(0)
        .max(1),
    ]


def _notifications() -> list[Panel]:
    return [
        lines(
            "By result",
            "Notifications that a channel accepted, that the receiver refused for good, or that expired.",
            "none",
            query(
                "sum by (channel, result) (increase(driftline_notifications_total[$__rate_interval]))",
                "{{channel}} {{result}}",
            ),
            width=8,
        ).min(0),
        lines(
            "Waiting",
            "Notifications that a channel has not accepted yet; they are sent again.",
            "none",
            query("sum by (channel) (driftline_notifications_waiting)", "{{channel}}"),
            width=8,
        ).min(0),
        lines(
            "Failed attempts",
            "Failed attempts; each is repeated, after longer and longer waits.",
            "none",
            query(
                "sum by (channel) (increase(driftline_notification_failures_total[$__rate_interval]))", "{{channel}}"
            ),
            width=8,
        ).min(0),
    ]


def _driftline() -> list[Panel]:
    return [
        rows(
            "Models and versions",
            "Models and versions with their tasks; a version is listed once a prediction of it has come.",
            "none",
            [("", now(f"max by (model, task, version) (driftline_model_info{{{_MODEL}}})", "model"))],
            labels=["model", "task", "version"],
            width=12,
        ),
        lines(
            "Series left out",
            "Series of features left out of /metrics to stay within the budget, which `prometheus.max_series` sets.",
            "none",
            query(f"sum by (model) (driftline_series_dropped{{{_MODEL}}})", "{{model}}"),
        ).min(0),
        lines(
            "Releases",
            "Services by their release: when was another one installed?",
            "none",
            query("count by (version) (driftline_build_info)", "{{version}}"),
        ).min(0),
        lines(
            "Windows pushed",
            "Windows accepted or refused by the receiver of remote write. No data: `prometheus.remote_write` is off.",
            "none",
            query(
                f"sum by (model, result) (increase({_PUSHED}[$__rate_interval]))",
                "{{model}} {{result}}",
            ),
        ).min(0),
    ]
