"""The text of a rule is read as that rule, whatever it is called."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from driftline.config.load import parse
from driftline.config.rule_text import rule_text
from driftline.events import Segment
from driftline.rules import Rule, Severity

FRAME = """
models:
  churn:
    columns: {{prediction: p, label: y, segments: [season, "a: b"]}}
    reference: {{path: reference.parquet}}
    alerts:
      rules:
{entry}
"""
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
NUMBERS = st.floats(-1e9, 1e9).map(lambda number: number + 0.0)
SEGMENTS = st.builds(Segment, st.sampled_from(["season", "a: b"]), NAMES) | st.just("all")


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    side, number = draw(st.sampled_from(["below", "above"])), draw(NUMBERS)
    of = draw(st.sampled_from(["whole", "segment", "version"]))
    clear = number + 1.0 if side == "below" else number - 1.0
    return Rule(
        draw(NAMES.filter(lambda name: name != "budget")),
        draw(st.sampled_from(["accuracy", "label_coverage"])),
        **{side: number},  # type: ignore[arg-type]
        for_windows=draw(st.integers(1, 9)),
        severity=draw(st.sampled_from(Severity)),
        confidence=draw(st.sampled_from([0.95, 0.9, 0.999])),
        min_samples=draw(st.integers(0, 10**9)),
        clear=draw(st.none() | st.just(clear)),
        keep_firing_for=draw(st.integers(0, 9)),
        segment=draw(SEGMENTS) if of == "segment" else "none",
        version=draw(st.just("each") | NAMES) if of == "version" else "all",
    )


def loaded(rule: Rule) -> Rule:
    entry = "\n".join(f"        {line}" for line in rule_text(rule).splitlines())
    [found] = parse(FRAME.format(entry=entry), Path("driftline.yaml")).models["churn"].rules
    return found


@given(rules())
@example(Rule("no", "accuracy", below=0.7, version="1"))
@example(Rule("1e3", "accuracy", above=1e-9, segment=Segment("a: b", "true")))
@example(Rule("'\"#: {", "accuracy", below=0.7, severity=Severity.PAGE))
def test_a_rule_is_read_as_it_was_written(rule: Rule) -> None:
    assert loaded(rule) == rule


def test_only_what_is_unusual_is_written() -> None:
    assert rule_text(Rule("low", "accuracy", below=0.5)) == "- name: low\n  measure: accuracy\n  below: 0.5"
