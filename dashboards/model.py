"""One model and one of its versions: how good is it, what changed, and does it run?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.blocks import (
    ACTUAL,
    AT,
    BAD_FROM_ONE,
    MOST,
    SEVERITIES,
    WIDTH,
    Panel,
    band,
    bars,
    board,
    coloured,
    dashed,
    firing,
    line_at,
    lines,
    most,
    now,
    number,
    query,
    several,
    spread,
    stacked,
    state_of_rules,
    states,
    variable,
    yes_or_no,
)

_MODEL = 'model="$model"'
_VERSION = f'{_MODEL},version="$version"'
_FARTHEST = 10
_SCORE, _THRESHOLD = f"driftline_drift_score{{{_VERSION}}}", f"driftline_drift_threshold{{{_VERSION}}}"
_MISSING = f"max by (feature) (driftline_feature_missing_ratio{{{_MODEL}}}{AT})"


def dashboard() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "driftline-model",
        "Driftline / Model",
        "One model: performance with its interval, rules, drift, label coverage, traffic and latency.",
        [
            variable("model", "The model that is shown", "driftline_worker_failing"),
            variable(
                "version",
                "The version that is shown; the newest name comes first",
                f"driftline_predictions_total{{{_MODEL}}}",
                newest_first=True,
            ),
            several(variable("metric", "Measures that are shown", f"driftline_performance{{{_VERSION},{ACTUAL}}}")),
        ],
        [
            ("Now", [*_now(), _each_rule()]),
            ("Performance", _performance()),
            ("Alerts", _alerts()),
            ("Drift", _drift()),
            ("Traffic", _traffic()),
        ],
        annotations=[firing(_MODEL)],
    )


def _now() -> list[Panel]:
    return [
        number(
            "Alerts firing",
            "Alerts of this model that fire, by severity.",
            "none",
            now(f"sum by (severity) (driftline_alerts{{{_MODEL}}})", "{{severity}}"),
            steps=BAD_FROM_ONE,
            width=5,
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
            "Rules whose newest judged window is a breach.",
            "none",
            now(f'sum(driftline_monitor_state{{{_MODEL},state="breach"}})', "breach"),
            steps=BAD_FROM_ONE,
            width=3,
        ),
        yes_or_no(
            number(
                "Fails",
                "Whether this model's events cannot be processed at the moment; then nothing here is current.",
                "none",
                now(f"max(driftline_worker_failing{{{_MODEL}}})", "failing"),
                steps=BAD_FROM_ONE,
                width=3,
            )
        ),
        number(
            "Label coverage",
            "Share of the newest judged window's predictions that are labelled.",
            "percentunit",
            now(f"max(driftline_label_coverage_ratio{{{_MODEL}}})", "coverage"),
            width=3,
        ),
        number(
            "Last event",
            "Time since the last processed event came.",
            "s",
            now(f"time() - max(driftline_last_event_timestamp_seconds{{{_MODEL}}})", "age"),
            width=3,
        ),
        number(
            "Newest judged window",
            "Event time at which the newest judged window ended: the newest data in performance and drift.",
            "dateTimeAsIso",
            now(f"1000 * max(driftline_window_end_timestamp_seconds{{{_MODEL}}})", "end"),
        ),
    ]


def _performance() -> list[Panel]:
    one = f'{_VERSION},{ACTUAL},metric=~"$metric"'
    measure = lines(
        "$metric",
        "The measure of the newest judged window, with its 95 % interval. A threshold inside of the band is no finding:"
        " chance alone explains it.",
        "none",
        query(f"max(driftline_performance{{{one}}})", "value"),
        query(f"max(driftline_performance_ci_lower{{{one}}})", "lower end"),
        query(f"max(driftline_performance_ci_upper{{{one}}})", "upper end"),
        width=WIDTH,
    )
    measure = band(measure, low="lower end", high="upper end").decimals(3)
    every = f'{_MODEL},{ACTUAL},metric=~"$metric"'
    return [
        measure.repeat("metric").repeat_direction("h").max_per_row(3),
        lines(
            "All versions",
            "The same measures of every version: a challenger beside its champion.",
            "none",
            query(f"max by (version, metric) (driftline_performance{{{every}}})", "{{metric}} {{version}}"),
            width=8,
        ).decimals(3),
        lines(
            "Labelled rows",
            "Rows that each measure of the newest judged window rests on.",
            "none",
            query(f"max by (metric) (driftline_performance_samples{{{one}}})", "{{metric}}"),
            width=8,
        ).min(0),
        lines(
            "Label coverage",
            "Share of the newest judged window's predictions that are labelled, of all versions.",
            "percentunit",
            query(f"max(driftline_label_coverage_ratio{{{_MODEL}}})", "labelled"),
            width=8,
        )
        .min(0)
        .max(1),
    ]


def _each_rule() -> Panel:
    return states(
        "State of each rule",
        "Verdicts on the newest judged window. A breach that lasts as long as the rule asks is an alert.",
        query(state_of_rules(_MODEL), "{{monitor}}"),
    )


def _alerts() -> list[Panel]:
    alerts = lines(
        "Alerts firing",
        "How many alerts of this model fire, by severity.",
        "none",
        query(f"sum by (severity) (driftline_alerts{{{_MODEL}}})", "{{severity}}"),
        width=8,
    )
    return [
        coloured(stacked(alerts), SEVERITIES).min(0),
        lines(
            "Transitions of alerts",
            "Alerts that fired, resolved, opened again or were corrected by late labels; exemplars have their ids.",
            "none",
            query(
                f"sum by (kind) (increase(driftline_alert_transitions_total{{{_MODEL}}}[$__rate_interval]))", "{{kind}}"
            ).exemplar(True),
            width=8,
        ).min(0),
        dashed(
            lines(
                "Alarms of the detector",
                "Alarms of the detector, and its budget of false alarms a year.",
                "none",
                query(f"max(increase(driftline_alarms_total{{{_MODEL}}}[$__rate_interval]))", "alarms"),
                query(f"max(driftline_alarm_budget{{{_MODEL}}})", "budget a year"),
                width=8,
            )
            .min(0)
            .decimals(1),
            "/^budget/",
        ),
    ]


def _drift() -> list[Panel]:
    measured = [
        dashed(
            lines(
                f"{name.capitalize()} drift",
                f"Distance of the {name}s from the reference, and its threshold.",
                "none",
                query(f"max by (method) (driftline_{name}_drift_score{{{_VERSION}}})", "{{method}}"),
                query(f"max by (method) (driftline_{name}_drift_threshold{{{_VERSION}}})", "threshold {{method}}"),
                width=8,
            )
            .min(0)
            .decimals(3),
            "/^threshold/",
        )
        for name in ("prediction", "label")
    ]
    return [
        bars(
            "Features farthest from the reference",
            "Distance in units of the threshold: 1 is the threshold. Whether chance explains a distance is"
            " not in it; the share of drifted features and Driftline's page take account of that.",
            "none",
            now(f"topk({MOST}, max by (feature) ({_SCORE} / ({_THRESHOLD} > 0)))", "{{feature}}"),
            steps=((None, "green"), (1.0, "red")),
        ).decimals(2),
        line_at(
            lines(
                "Their way there",
                f"The {_FARTHEST} features that are farthest from the reference now, in units of their threshold.",
                "none",
                query(
                    most(f"max by (feature) ({_SCORE}{AT} / ({_THRESHOLD}{AT} > 0))", count=_FARTHEST), "{{feature}}"
                ),
            )
            .min(0)
            .decimals(2),
            1.0,
        ),
        *measured,
        lines(
            "Features that drifted",
            "Share of the judged features with a distance above the threshold that chance does not explain.",
            "percentunit",
            query(f"max(driftline_drifted_features_ratio{{{_VERSION}}})", "drifted"),
            width=8,
        )
        .min(0)
        .max(1),
        lines(
            "Missing values",
            f"Share of missing values of the {_FARTHEST} features with the most now.",
            "percentunit",
            query(most(_MISSING, count=_FARTHEST), "{{feature}}"),
            width=WIDTH,
        )
        .min(0)
        .max(1),
    ]


def _traffic() -> list[Panel]:
    buckets = f"sum by (le) (rate(driftline_prediction_latency_seconds_bucket{{{_MODEL}}}[$__rate_interval]))"
    return [
        stacked(
            lines(
                "Predictions",
                "Predictions processed per second, by version.",
                "cps",
                query(
                    f"sum by (version) (rate(driftline_predictions_total{{{_MODEL}}}[$__rate_interval]))", "{{version}}"
                ),
            ).min(0)
        ),
        lines(
            "Labels",
            "Labels processed per second: first labels, and those that replaced another.",
            "cps",
            query(f"sum(rate(driftline_labels_total{{{_MODEL}}}[$__rate_interval]))", "first labels"),
            query(f"sum(rate(driftline_label_corrections_total{{{_MODEL}}}[$__rate_interval]))", "corrections"),
        ).min(0),
        lines(
            "Latency",
            "How long the model took to predict, as the events say: quantiles, interpolated within a bucket.",
            "s",
            *(
                query(f"histogram_quantile({share}, {buckets})", name)
                for share, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
            ),
        ).min(0),
        spread(
            "Latency, all of it",
            "Predictions by how long the model took.",
            query(
                f"sum by (le) (increase(driftline_prediction_latency_seconds_bucket{{{_MODEL}}}[$__rate_interval]))",
                "{{le}}",
            ),
        ),
    ]
