"""What is behind an alarm, by what moved and what did not: broken data explain drift, drift explains performance."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from driftline.detection.findings import Finding
from driftline.detection.series import Role
from driftline.text import listed

_MOST_NAMES = 3


class SuspectedKind(enum.StrEnum):
    """What an alarm looks like."""

    PIPELINE_FAULT = "pipeline_fault"
    INPUT_DRIFT = "input_drift"
    LABEL_FAULT = "label_fault"
    CONCEPT_DRIFT = "concept_drift"
    SEGMENT = "segment"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The suspected kind, None where the findings fit none; the findings that speak for it; those that it explains,
    which are muted; and the ``reason`` in words.
    """

    kind: SuspectedKind | None
    evidence: tuple[Finding, ...]
    muted: tuple[Finding, ...] = ()
    reason: str = ""


def suspect(findings: Sequence[Finding]) -> Suspicion:
    """Say what some findings look like, at least one, by falling evidence."""
    whole = [one for one in findings if one.segment is None]
    if not whole:
        segments = {one.segment for one in findings}
        words = findings[0].segment.words if findings[0].segment is not None else ""
        if len(segments) == 1:
            return Suspicion(SuspectedKind.SEGMENT, tuple(findings), reason=f"only rows with {words} moved")
        return Suspicion(SuspectedKind.SEGMENT, tuple(findings), reason="only segments moved, not the whole")
    if faults := _faults(whole):
        gone = {one.subject for one in faults}
        muted = tuple(one for one in findings if one.subject not in gone and _is_consequence(one))
        names = sorted({one.column for one in faults})
        return Suspicion(
            SuspectedKind.PIPELINE_FAULT, tuple(faults), muted, f"broken data: {listed(names, _MOST_NAMES)}"
        )
    by_role = {role: [one for one in whole if one.role is role] for role in Role}
    features, labels = by_role[Role.FEATURE], by_role[Role.LABEL]
    if labels and not features and not by_role[Role.PREDICTION]:
        reason = "the labels moved; inputs and predictions did not"
        return Suspicion(SuspectedKind.LABEL_FAULT, (*labels, *by_role[Role.PERFORMANCE]), reason=reason)
    if by_role[Role.PERFORMANCE] and not features:
        reason = "performance moved; the inputs did not"
        return Suspicion(SuspectedKind.CONCEPT_DRIFT, (*by_role[Role.PERFORMANCE], *labels), reason=reason)
    if features:
        names = [one.column for one in features]
        return Suspicion(
            SuspectedKind.INPUT_DRIFT, tuple(features), reason=f"the inputs moved: {listed(names, _MOST_NAMES)}"
        )
    return Suspicion(None, tuple(whole))


def _faults(whole: Sequence[Finding]) -> list[Finding]:
    """The findings that broken data make; what is merely new counts only where nothing has more evidence."""
    sure = [one for one in whole if one.is_surely_pipeline]
    if sure or whole[0].is_pipeline:
        return [one for one in whole if one.is_pipeline]
    return []


def _is_consequence(finding: Finding) -> bool:
    """Whether broken data would make it: drift of any column, and of performance."""
    return not finding.is_pipeline
