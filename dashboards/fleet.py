"""All models on one page: which one needs somebody?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.common import TableSortByFieldState
from grafana_foundation_sdk.models import dashboard as models

from dashboards.blocks import (
    ACTUAL,
    AT,
    BAD_FROM_ONE,
    SEVERITIES,
    WIDTH,
    Panel,
    answering,
    board,
    coloured,
    failing_models,
    lines,
    link_to_model,
    longest_silence,
    messages_waiting,
    most,
    now,
    number,
    of_column,
    query,
    red_from_one,
    rows,
    several,
    stacked,
    variable,
)

_MODEL = 'model=~"$model"'
_MEASURED = f"{_MODEL},{ACTUAL}"


def dashboard() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "driftline-fleet",
        "Driftline / Fleet",
        "All models: alerts, performance with its interval, drift, label coverage, and when the last event came.",
        [
            several(variable("model", "Models that are shown", "driftline_worker_failing")),
            variable("metric", "Measure that is drawn over time", f"driftline_performance{{{_MEASURED}}}"),
        ],
        [
            ("Now", [*_now(), _models(), _in_breach()]),
            ("Performance", _performance()),
            ("Drift and labels", _drift()),
            ("Alerts and notifications", _alerts()),
        ],
    )


def _now() -> list[Panel]:
    return [
        answering(3),
        number(
            "Alerts firing",
            "Alerts that fire, by severity. Those that are silenced, explained by another or acknowledged count too.",
            "none",
            now(f"sum by (severity) (driftline_alerts{{{_MODEL}}})", "{{severity}}"),
            steps=BAD_FROM_ONE,
            width=6,
        ),
        number(
            "Of these muted",
            "Firing alerts without notifications: silenced, explained by another alert, or acknowledged.",
            "none",
            now(f"sum(driftline_alerts_muted{{{_MODEL}}})", "muted"),
            width=3,
        ),
        number(
            "Rules in breach",
            "Rules whose newest judged window is a breach, with or without an alert.",
            "none",
            now(f'sum(driftline_monitor_state{{{_MODEL},state="breach"}})', "breach"),
            steps=BAD_FROM_ONE,
            width=3,
        ),
        failing_models(_MODEL, 3),
        longest_silence(_MODEL, 3),
        messages_waiting(3),
    ]


def _in_breach() -> Panel:
    panel = rows(
        "Which rules",
        "Rules whose newest judged window is a breach. Nothing here: no rule is in breach.",
        "none",
        [("", now(f'max by (model, monitor) (driftline_monitor_state{{{_MODEL},state="breach"}}) == 1', "breach"))],
        labels=["model", "monitor"],
        width=8,
    )
    return panel.override_by_name("model", [link_to_model("model")])


def _models() -> Panel:
    panel = rows(
        "Models",
        "Each model at this moment. Event and judgement: how long ago, by the clock. Window: event time at which the"
        " newest judged window ended. A click on a model opens its dashboard.",
        "none",
        [
            ("firing", now(f"sum by (model) (driftline_alerts{{{_MODEL}}})", "firing")),
            ("in breach", now(f'sum by (model) (driftline_monitor_state{{{_MODEL},state="breach"}})', "in breach")),
            ("drifted", now(f"max by (model) (driftline_drifted_features_ratio{{{_MODEL}}})", "drifted")),
            ("labelled", now(f"max by (model) (driftline_label_coverage_ratio{{{_MODEL}}})", "labelled")),
            (
                "event",
                now(f"time() - max by (model) (driftline_last_event_timestamp_seconds{{{_MODEL}}})", "event"),
            ),
            (
                "judgement",
                now(f"time() - max by (model) (driftline_last_evaluation_timestamp_seconds{{{_MODEL}}})", "judgement"),
            ),
            (
                "window",
                now(f"1000 * max by (model) (driftline_window_end_timestamp_seconds{{{_MODEL}}})", "window"),
            ),
        ],
        labels=["model"],
        width=16,
    )
    units = {
        "drifted": "percentunit",
        "labelled": "percentunit",
        "event": "s",
        "judgement": "s",
        "window": "dateTimeAsIso",
    }
    for name, unit in units.items():
        panel = of_column(panel, name, unit=unit)
    for name in ("firing", "in breach"):
        panel = red_from_one(panel, name)
    return panel.override_by_name("model", [link_to_model("model")]).sort_by(
        [TableSortByFieldState().display_name("firing").desc(True)]
    )


def _performance() -> list[Panel]:
    by = "max by (model, version, metric)"
    labels = ["model", "version", "metric"]
    table = rows(
        "Performance and its interval",
        "Measures of each version's newest judged window, with the 95 % interval and the labelled rows they rest on."
        " A threshold inside of the interval is no finding: chance alone explains it.",
        "none",
        [
            ("value", now(f"{by} (driftline_performance{{{_MEASURED}}})", "value")),
            ("lower", now(f"{by} (driftline_performance_ci_lower{{{_MEASURED}}})", "lower")),
            ("upper", now(f"{by} (driftline_performance_ci_upper{{{_MEASURED}}})", "upper")),
            ("rows", now(f"{by} (driftline_performance_samples{{{_MEASURED}}})", "rows")),
        ],
        labels=labels,
        width=12,
        height=10,
    )
    for name in ("value", "lower", "upper"):
        table = of_column(table, name, decimals=3)
    drawn = lines(
        "$metric of each version",
        "The measure chosen above, of the newest judged window; the smallest ones, where there are many.",
        "none",
        query(
            most(f'max by (model, version) (driftline_performance{{{_MEASURED},metric="$metric"}}{AT})', of="bottomk"),
            "{{model}} {{version}}",
        ),
        height=10,
    ).decimals(3)
    return [table.override_by_name("model", [link_to_model("model")]), drawn]


def _drift() -> list[Panel]:
    return [
        lines(
            "Features that drifted",
            "Share of the judged features with a distance above the threshold that chance does not explain.",
            "percentunit",
            query(
                most(f"max by (model, version) (driftline_drifted_features_ratio{{{_MODEL}}}{AT})"),
                "{{model}} {{version}}",
            ),
        )
        .min(0)
        .max(1),
        lines(
            "Label coverage",
            "Share of the newest judged window's predictions that are labelled. If low, performance rests on few rows.",
            "percentunit",
            query(most(f"max by (model) (driftline_label_coverage_ratio{{{_MODEL}}}{AT})", of="bottomk"), "{{model}}"),
        )
        .min(0)
        .max(1),
        lines(
            "Age of the last event",
            "Time since the last processed event came. It rises steadily while nothing comes.",
            "s",
            query(
                most(f"time() - max by (model) (driftline_last_event_timestamp_seconds{{{_MODEL}}}{AT})"), "{{model}}"
            ),
        ).min(0),
        lines(
            "Predictions",
            "Predictions processed per second, each id once.",
            "cps",
            query(
                most(f"sum by (model) (rate(driftline_predictions_total{{{_MODEL}}}[$__rate_interval]{AT}))"),
                "{{model}}",
            ),
        ).min(0),
    ]


def _alerts() -> list[Panel]:
    firing = lines(
        "Alerts firing",
        "How many alerts fire, by severity.",
        "none",
        query(f"sum by (severity) (driftline_alerts{{{_MODEL}}})", "{{severity}}"),
    )
    return [
        coloured(stacked(firing), SEVERITIES).min(0),
        lines(
            "Transitions of alerts",
            "Alerts that fired, resolved, opened again or were corrected. The points are exemplars and have"
            " the id of an alert, for `driftline ack`. Prometheus keeps them with --enable-feature=exemplar-storage.",
            "none",
            query(
                f"sum by (kind) (increase(driftline_alert_transitions_total{{{_MODEL}}}[$__rate_interval]))", "{{kind}}"
            ).exemplar(True),
        ).min(0),
        lines(
            "Notifications",
            "Notifications by result: delivered, refused by the receiver, or expired. Of all models.",
            "none",
            query(
                "sum by (channel, result) (increase(driftline_notifications_total[$__rate_interval]))",
                "{{channel}} {{result}}",
            ),
            width=WIDTH // 2,
        ).min(0),
        lines(
            "Notifications waiting",
            "Notifications not accepted yet. They are sent again; a line that stays means that a channel is away.",
            "none",
            query("sum by (channel) (driftline_notifications_waiting)", "{{channel}}"),
            width=WIDTH // 2,
        ).min(0),
    ]
