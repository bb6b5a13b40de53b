"""Retraining: what asked for challengers, how did they end, and what waits for a person?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.blocks import BAD_FROM_ONE, WIDTH, board, firing, lines, now, number, query, rows, several, variable

_MODEL = 'model=~"$model"'
_SHORT = "Where Prometheus knows less than 30 days, all that there have been."
_RUNS = f"driftline_retraining_runs_total{{{_MODEL}}}"


def dashboard() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "driftline-retraining",
        "Driftline / Retraining",
        "Requests for challengers: what asked for them, how they ended, and what waits for a person.",
        [several(variable("model", "Models that are shown", "driftline_worker_failing"))],
        [
            (
                "Now",
                [
                    number(
                        "Waiting for approval",
                        "Challengers that have won their contest; a person has to approve or refuse them.",
                        "none",
                        now(f'sum(driftline_retraining_open{{{_MODEL},stage="waiting"}}) or vector(0)', "waiting"),
                        steps=((None, "green"), (1.0, "orange")),
                        width=6,
                    ),
                    number(
                        "On probation",
                        "Recent champions: a performance alert on windows since the promotion rolls them back.",
                        "none",
                        now(f'sum(driftline_retraining_open{{{_MODEL},stage="baking"}}) or vector(0)', "on probation"),
                        width=6,
                    ),
                    number(
                        "Rolled back, last 30 days",
                        f"Promotions that were undone: by a performance alert, or by a person. {_SHORT}",
                        "none",
                        now(_last_month('result="rolled back"'), "rolled back"),
                        steps=BAD_FROM_ONE,
                        width=6,
                    ),
                    number(
                        "Failed, last 30 days",
                        f"Requests without a contest: a step failed, ran too long, or left no predictions. {_SHORT}",
                        "none",
                        now(_last_month('result="failed"'), "failed"),
                        steps=BAD_FROM_ONE,
                        width=6,
                    ),
                ],
            ),
            (
                "Requests",
                [
                    lines(
                        "Unfinished requests",
                        "By stage. One that stays at running for long hangs, or was handed over and is not reported.",
                        "none",
                        query(f"sum by (stage) (driftline_retraining_open{{{_MODEL}}})", "{{stage}}"),
                    ).min(0),
                    lines(
                        "Finished requests",
                        "How many finished, by result.",
                        "none",
                        query(f"sum by (result) (increase({_RUNS}[$__rate_interval]))", "{{result}}"),
                    ).min(0),
                    rows(
                        "By model, trigger and result",
                        "All finished requests since Driftline has known the model. Alerts that ask often and"
                        " are held each time point at a fault that training does not mend.",
                        "none",
                        [
                            (
                                "requests",
                                now(f"sum by (model, trigger, result) (last_over_time({_RUNS}[5m]))", "requests"),
                            )
                        ],
                        labels=["model", "trigger", "result"],
                        width=WIDTH,
                    ),
                ],
            ),
        ],
        annotations=[firing(_MODEL)],
    )


def _last_month(result: str) -> str:
    # Not increase(): the first one begins its series, and increase() does not see beginnings.
    series = f"driftline_retraining_runs_total{{{_MODEL},{result}}}"
    before = f"sum(last_over_time({series}[5m] offset 30d))"
    return f"(sum(last_over_time({series}[5m])) or vector(0)) - ({before} or vector(0))"
