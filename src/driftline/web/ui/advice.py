"""Say what to do next about an alert: short, and by what is suspected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from driftline.alerts.message import AlertView
from driftline.rules.backtest import BUDGET
from driftline.rules.topic import STALENESS, Topic, topic_of
from driftline.templating import url_segment
from driftline.text import listed
from driftline.web.ui.asked import feature_query

KINDS = {
    "pipeline_fault": ("Pipeline fault", "the data that arrive look broken"),
    "input_drift": ("Input drift", "the inputs are not what the model knows"),
    "label_fault": ("Label fault", "the labels moved, and nothing else did"),
    "concept_drift": ("Concept drift", "the same inputs have other outcomes"),
    "segment": ("Drift of a segment", "only some of the rows moved"),
}
"""The suspected kinds (see `SuspectedKind`), each with what it means."""

_LABEL_COVERAGE = "label_coverage"
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: in words, with a page that helps (``path`` below the service's address) or a command."""

    text: str
    path: str = ""
    link: str = ""
    command: str = ""


def steps_for(alert: AlertView, kind: str, columns: Sequence[str], *, retrains: bool) -> list[Step]:
    """Return what to do next.

    ``kind`` is what is suspected, empty for nothing, ``columns`` are the features that moved most, and ``retrains``
    says whether a challenger can be asked for.
    """
    if alert.status == "corrected":
        return [Step("Nothing: by the labels and events that came later, it was no breach. Ask why they were late.")]
    found = [Step("It is over. These help to find out why it was.")] if alert.status == "resolved" else []
    found += _first(alert, kind, columns)
    if kind in ("input_drift", "concept_drift", "segment") or _is_performance(alert, kind):
        found.append(_challenger(alert, retrains=retrains))
    if alert.rule == BUDGET and alert.status == "firing":
        found.append(Step("If all is well as it is, say so below: the detector learns from it, or leaves it out."))
    return found


def _is_performance(alert: AlertView, kind: str) -> bool:
    return not kind and alert.rule != BUDGET and topic_of(alert.measure) is Topic.PERFORMANCE


def _first(alert: AlertView, kind: str, columns: Sequence[str]) -> Iterator[Step]:
    if alert.measure == STALENESS:
        yield Step("See whether the program that sends predictions runs, and what it logs.")
        yield Step("Ask the service whether it takes events.", command="driftline doctor")
        return
    if alert.measure == _LABEL_COVERAGE:
        yield Step("See whether the job that sends labels runs, and whether their ids are those of the predictions.")
        return
    if kind == "pipeline_fault":
        of = f" {listed(columns, _MOST_NAMES)}" if columns else " these columns"
        yield Step(f"Ask who supplies{of} what was changed: an export, a join, a unit, a code for missing values.")
        yield from _pictures(alert, columns)
        yield _check()
    elif kind == "label_fault":
        yield Step("Compare a few labels of this window with their source, before anything is trained on them.")
        yield Step(
            "Send corrected labels with the same ids: the window is judged again, and the alert becomes corrected.",
            command=f"driftline send {_argument(alert.model)} labels.parquet --kind labels",
        )
    elif kind == "concept_drift":
        yield Step(
            "Look where it became worse: a segment, a version, or all rows.", _of(alert, "/segments"), "Segments"
        )
    elif kind == "segment":
        yield Step("Compare the segments, and ask who sends these rows.", _of(alert, "/segments"), "Segments")
    elif kind == "input_drift" or topic_of(alert.measure) is Topic.DRIFT:
        yield Step("Look at what moved, beside the reference: is it the world, or the way it is measured?")
        yield from _pictures(alert, columns)
        yield _check()
    elif topic_of(alert.measure) is Topic.PIPELINE:
        yield Step("Ask who supplies the data what was changed: an export, a join, a code for missing values.")
        yield from _pictures(alert, columns)
    elif topic_of(alert.measure) is Topic.PERFORMANCE:
        yield Step(
            "Look where it became worse: a segment, a version, or all rows.", _of(alert, "/segments"), "Segments"
        )
        yield from _pictures(alert, columns)
    else:
        yield Step("Look at the windows before and after it.", _of(alert, ""), alert.model)


def _pictures(alert: AlertView, columns: Sequence[str]) -> Iterator[Step]:
    query = feature_query(alert.window.start, alert.slice.segment)
    for column in columns[:_MOST_NAMES]:
        yield Step("Both distributions of", _of(alert, f"/features/{url_segment(column)}{query}"), column)


def _challenger(alert: AlertView, *, retrains: bool) -> Step:
    if retrains and alert.status == "firing":
        return Step("If the model no longer fits, ask for a challenger below: it is judged before it is promoted.")
    if retrains:
        command = f"driftline retrain {_argument(alert.model)}"
        return Step("If the model no longer fits, ask for a challenger.", command=command)
    return Step(
        "If the model no longer fits, train a new one; with the key retrain in driftline.yaml it can be asked for here."
    )


def _check() -> Step:
    return Step("Compare files of good rows and of these rows.", command="driftline check good.parquet now.parquet")


def _of(alert: AlertView, path: str) -> str:
    return f"/models/{url_segment(alert.model)}{path}"


def _argument(text: str) -> str:
    """Quote a name for a shell.

    >>> _argument("churn"), _argument("it's")
    ('churn', "'it'\\\\''s'")
    """
    if text and all(sign.isalnum() or sign in "-_./" for sign in text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"
