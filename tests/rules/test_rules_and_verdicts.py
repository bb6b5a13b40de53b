"""Rules, the expressions that write them, and the verdict on one measure."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.errors import UsageError
from driftline.rules import Coverage, Rule, Severity, State, interval_confidence, judge, parse_expression
from driftline.statistics.measure import Measure

FINITE = st.floats(allow_nan=False, allow_infinity=False)
UNIT = st.floats(0, 1)
NAMES = st.from_regex(r"[A-Za-z_][\w.]{0,20}", fullmatch=True)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    below = draw(st.booleans())
    threshold = draw(FINITE)
    return Rule(
        name=draw(st.text(min_size=1).filter(str.strip)),
        measure=draw(NAMES),
        below=threshold if below else None,
        above=None if below else threshold,
        for_windows=draw(st.integers(1, 999_999)),
        severity=draw(st.sampled_from(list(Severity))),
        inclusive=draw(st.booleans()),
    )


# ---- rule -----------------------------------------------------------------------------------------------------


def test_a_rule_says_its_title_and_condition() -> None:
    rule = Rule("recall-low", "recall", below=0.6, for_windows=3, severity=Severity.PAGE)
    assert rule.title == "Model recall below threshold!"
    assert rule.condition == "recall < 0.6"
    assert rule.expression == "recall < 0.6 for 3"
    assert (rule.comparison, rule.threshold) == ("below", 0.6)
    assert Rule("slow", "mae", above=5).title == "Model mae above threshold!"


def test_a_rule_is_frozen_and_takes_its_severity_as_text() -> None:
    rule = Rule("a", "accuracy", below=0.75, severity="page")  # type: ignore[arg-type]
    assert rule.severity is Severity.PAGE
    with pytest.raises(AttributeError, match="immutable"):
        rule.below = 0.8  # type: ignore[misc]


def test_severities_are_in_order_of_urgency() -> None:
    assert sorted(Severity, key=lambda severity: severity.rank) == ["page", "warning", "info"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"below": None}, "neither of `below` and `above` came"),
        ({"above": 0.9}, "both of `below` and `above` came"),
        ({"below": math.nan}, "finite"),
        ({"below": math.inf}, "finite"),
        ({"for_windows": 0}, "for_windows came as 0; it is 1 or more"),
        ({"severity": "urgent"}, "one of page, warning, info"),
        ({"confidence": 0.5}, "between 0.5 and 1"),
        ({"confidence": 1.0}, "between 0.5 and 1"),
        ({"min_samples": -1}, "min_samples came as -1"),
        ({"min_coverage": 1.5}, "min_coverage came as 1.5; it is a share from 0 to 1"),
        ({"min_coverage": math.nan}, "min_coverage came as nan"),
        ({"measure": "roc auc"}, "'roc auc' is not the name of a measure"),
        ({"name": " "}, "without a name"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Rule(**{"name": "a", "measure": "accuracy", "below": 0.75, **arguments})  # type: ignore[arg-type]


# ---- expression -----------------------------------------------------------------------------------------------


@given(rules())
def test_an_expression_reads_back_as_its_rule(rule: Rule) -> None:
    again = parse_expression(rule.expression, name=rule.name, severity=rule.severity)
    assert again == rule
    assert parse_expression(rule.expression).name == rule.expression


@given(rules(), st.lists(st.sampled_from([" ", "\t", "\u00a0", "  "]), min_size=4, max_size=4))
def test_spaces_do_not_matter(rule: Rule, spaces: list[str]) -> None:
    text = f"{spaces[0]}{rule.measure}{spaces[1]}{rule.operator}{spaces[2]}{rule.threshold!r}{spaces[3]}"
    assert parse_expression(text).condition == rule.condition


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("accuracy < 0.75", "accuracy < 0.75"),
        ("accuracy<.75", "accuracy < 0.75"),
        ("accuracy < 75%", "accuracy < 0.75"),
        ("accuracy < 7.1 %", "accuracy < 0.071"),
        ("drift.psi >= 1e-3", "drift.psi >= 0.001"),
        ("mae ≥ 5", "mae >= 5"),
        ("bias ＜ −2.5", "bias < -2.5"),
        ("recall ≤ 60% for 3", "recall <= 0.6 for 3"),
        ("for < 1 for 1", "for < 1"),
    ],
)
def test_what_people_type(text: str, expression: str) -> None:
    assert parse_expression(text).expression == expression


@pytest.mark.parametrize(
    "text",
    [
        "",
        "accuracy",
        "accuracy < ",
        "accuracy == 0.75",
        "accuracy < nan",
        "accuracy < 0,75",
        "0.75 > accuracy",
        "1x < 2",
        "accuracy < 0.75 for",
        "accuracy < 0.75 for x",
        "accuracy < 0.75for 2",
        "a < 1; b < 2",
    ],
)
def test_what_is_no_expression_says_what_one_is(text: str) -> None:
    with pytest.raises(UsageError, match="is not an alert expression; write MEASURE < NUMBER"):
        parse_expression(text)


def test_an_expression_with_numbers_out_of_range_is_refused_by_the_rule() -> None:
    with pytest.raises(UsageError, match="finite"):
        parse_expression("a < 1e999")
    with pytest.raises(UsageError, match="for_windows"):
        parse_expression("a < 1 for 0")


@given(st.text())
def test_any_other_text_is_a_usage_error_and_nothing_else(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_expression(text)


# ---- verdict --------------------------------------------------------------------------------------------------


def _measure(rule: Rule, value: float, low: float, high: float, n: int = 100) -> Measure:
    return Measure(rule.measure, value, low, high, n, interval_confidence(rule))


BELOW = Rule("low", "accuracy", below=0.75)
ABOVE = Rule("high", "mae", above=0.75)


@given(st.lists(UNIT, min_size=3, max_size=3).map(sorted))
def test_a_breach_is_a_bound_beyond_the_threshold(numbers: list[float]) -> None:
    low, value, high = numbers
    assert (judge(BELOW, _measure(BELOW, value, low, high)).state is State.BREACH) == (high < 0.75)
    assert (judge(ABOVE, _measure(ABOVE, value, low, high)).state is State.BREACH) == (low > 0.75)


@given(st.lists(UNIT, min_size=3, max_size=3).map(sorted), st.floats(0, 1))
def test_below_and_above_are_mirrors(numbers: list[float], threshold: float) -> None:
    low, value, high = numbers
    below, above = Rule("b", "m", below=threshold), Rule("a", "m", above=-threshold)
    one = judge(below, _measure(below, value, low, high))
    other = judge(above, _measure(above, -value, -high, -low))
    assert one.state is other.state


@given(UNIT, st.floats(0, 1))
def test_without_an_interval_the_value_is_compared(value: float, threshold: float) -> None:
    rule = Rule("b", "m", below=threshold, min_samples=0)
    assert (judge(rule, Measure("m", value)).state is State.BREACH) == (value < threshold)


def test_the_threshold_itself_is_a_breach_only_when_inclusive() -> None:
    at = Measure("accuracy", 0.75, n=10)
    assert judge(BELOW, at).state is State.OK
    assert judge(replace(BELOW, inclusive=True), at).state is State.BREACH
    assert judge(replace(ABOVE, measure="accuracy", inclusive=True), at).state is State.BREACH


@given(
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.floats()),
    st.integers(0, 50),
    st.integers(0, 50),
)
def test_a_verdict_never_holds_nan_and_always_has_a_reason(
    value: float | None, low: float | None, high: float | None, n: int, min_samples: int
) -> None:
    rule = replace(BELOW, min_samples=min_samples)
    verdict = judge(rule, Measure("accuracy", value, low, high, n, interval_confidence(rule)))
    assert all(x is None or math.isfinite(x) for x in (verdict.value, verdict.low, verdict.high))
    assert verdict.reason
    usable = value is not None and math.isfinite(value) and n >= min_samples
    assert (verdict.state is State.NODATA) == (not usable)


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        (
            Measure("accuracy", 0.48, 0.3, 0.62, 24, 0.9),
            "accuracy is 0.48; its upper bound 0.62 (95 %, n = 24) lies below 0.75",
        ),
        (
            Measure("accuracy", 0.72, 0.6, 0.79, 31, 0.9),
            "accuracy is 0.72, below 0.75, but chance may explain it: its upper bound 0.79 (95 %, n = 31) is not",
        ),
        (Measure("accuracy", 0.83, 0.8, 0.86, 500, 0.9), "accuracy is 0.83, not below 0.75"),
        (Measure("accuracy", 0.74999999, n=5), "accuracy is 0.74999999, below 0.75"),
        (Measure("accuracy", n=0, problem="no labels yet"), "accuracy cannot be had: no labels yet"),
        (Measure("accuracy", 0.1, n=0), "accuracy rests on 0 rows; this rule judges from 1 on"),
    ],
)  # fmt: skip
def test_the_reason_is_in_words(measure: Measure, reason: str) -> None:
    assert judge(BELOW, measure).reason == reason


def test_an_interval_of_another_confidence_is_refused() -> None:
    with pytest.raises(UsageError, match=r"confidence 0\.95; judge takes .* = 0\.9"):
        judge(BELOW, Measure("accuracy", 0.7, 0.6, 0.8, 10, 0.95))


@given(st.floats(0.51, 0.999))
def test_the_interval_leaves_the_rules_error_on_each_side(confidence: float) -> None:
    two_sided = interval_confidence(replace(BELOW, confidence=confidence))
    assert (1 - two_sided) / 2 == pytest.approx(1 - confidence)


# ---- labels that are not there yet -----------------------------------------------------------------------------


MEASURES = st.sampled_from(["accuracy", "mae", "label_drift", "label_coverage", "missing_ratio", "prediction_drift"])


@given(MEASURES, UNIT, st.integers(0, 500), st.integers(0, 500), UNIT)
def test_coverage_only_ever_takes_a_verdict_away(
    measure: str, least: float, labelled: int, more: int, value: float
) -> None:
    rule = Rule("low", measure, below=0.5, min_coverage=least)
    number = Measure(measure, value, n=100, confidence=interval_confidence(rule))
    coverage = Coverage(labelled, labelled + more)
    plain, found = judge(rule, number), judge(rule, number, coverage)
    waits = measure in ("accuracy", "mae", "label_drift") and coverage.share < least
    assert found.state is (State.NODATA if waits else plain.state)
    assert (found.value, found.n) == (plain.value, plain.n)
    assert found.reason.startswith(str(coverage)) if waits else found == plain


@given(st.sampled_from(["below", "above"]), UNIT, st.tuples(UNIT, UNIT, UNIT).map(sorted), UNIT)
def test_what_is_shown_changes_no_verdict(side: str, threshold: float, wide: list[float], narrow: float) -> None:
    low, middle, high = wide
    rule = Rule("a", "accuracy", **{side: threshold})  # type: ignore[arg-type]
    own = Measure("accuracy", middle, low, high, 50, interval_confidence(rule))
    shown = Measure("accuracy", middle, min(low, narrow), max(high, narrow), 50)
    plain, found = judge(rule, own), judge(rule, own, shown=shown)
    assert (found.low, found.high) == (shown.low, shown.high)
    assert (found.bound, found.confidence) == (high if side == "below" else low, rule.confidence)
    assert (found.state, found.reason, found.bound) == (plain.state, plain.reason, plain.bound)
