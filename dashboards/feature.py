"""One feature of a model: how far is it from the reference, and is it there at all?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.blocks import board, dashed, firing, line_at, lines, now, number, query, variable

_MODEL = 'model="$model"'
_FEATURE = f'{_MODEL},feature="$feature"'
_TIMES = (
    f"max by (version, method) (driftline_drift_score{{{_FEATURE}}} / (driftline_drift_threshold{{{_FEATURE}}} > 0))"
)


def dashboard() -> models.Dashboard:
    """Return the dashboard."""
    distance = lines(
        "Distance from the reference",
        "Of each version's newest judged window, with its threshold. The methods' units differ.",
        "none",
        query(f"max by (version, method) (driftline_drift_score{{{_FEATURE}}})", "{{version}} {{method}}"),
        query(
            f"max by (version, method) (driftline_drift_threshold{{{_FEATURE}}})", "threshold {{version}} {{method}}"
        ),
    )
    return board(
        "driftline-feature",
        "Driftline / Feature",
        "One feature of a model: its distance from the reference against the threshold, and its missing values.",
        [
            variable("model", "The model that is shown", "driftline_worker_failing"),
            variable("feature", "The feature that is shown", f"driftline_drift_score{{{_MODEL}}}"),
        ],
        [
            (
                "Now",
                [
                    number(
                        "Distance, in units of the threshold",
                        "1 is the threshold. It does not show whether the distance is significant.",
                        "none",
                        now(_TIMES, "{{version}} {{method}}"),
                        steps=((None, "green"), (1.0, "red")),
                        width=12,
                    ).decimals(2),
                    number(
                        "Missing values",
                        "Share of the newest judged window's values that are missing.",
                        "percentunit",
                        now(f"max(driftline_feature_missing_ratio{{{_FEATURE}}})", "missing"),
                        width=6,
                    ),
                    number(
                        "Features that drifted",
                        "Share of all features of the model's newest judged window that drifted: is it this one alone?",
                        "percentunit",
                        now(f"max(driftline_drifted_features_ratio{{{_MODEL}}})", "drifted"),
                        width=6,
                    ),
                ],
            ),
            (
                "Over time",
                [
                    dashed(distance, "/^threshold/").min(0).decimals(3),
                    line_at(
                        lines(
                            "Distance, in units of the threshold",
                            "Comparable between features and methods: above the line, the threshold is exceeded.",
                            "none",
                            query(_TIMES, "{{version}} {{method}}"),
                        )
                        .min(0)
                        .decimals(2),
                        1.0,
                    ),
                    lines(
                        "Missing values",
                        "Share of the newest judged window's values that are missing, of all versions.",
                        "percentunit",
                        query(f"max(driftline_feature_missing_ratio{{{_FEATURE}}})", "missing"),
                        width=24,
                    )
                    .min(0)
                    .max(1),
                ],
            ),
        ],
        annotations=[firing(_MODEL)],
    )
