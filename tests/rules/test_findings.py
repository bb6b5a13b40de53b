"""What an alert says of columns: the loudest first, none left out, however many there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftline.rules.findings import ColumnFinding, findings_of

NAMES = st.text("abcdefgz", min_size=1, max_size=3)
FINDINGS = st.builds(
    ColumnFinding,
    judged=st.just(True),
    drifted=st.booleans(),
    changes=st.just(("median 0 → 1",)),
    reason=st.just(""),
    severity=st.floats(0, 1e6),
)


def moved(severity: float) -> ColumnFinding:
    return ColumnFinding(True, True, ("median 0 → 1",), "", severity)


@given(st.dictionaries(NAMES, FINDINGS, max_size=12))
def test_the_largest_effects_are_named_first_and_the_others_counted(inputs: dict[str, ColumnFinding]) -> None:
    found = findings_of(inputs, None, None)
    loud = [inputs[name].severity for name in found.inputs_changed]
    assert loud == sorted(loud, reverse=True)
    assert {*found.inputs_changed, *found.inputs_stable} == inputs.keys()
    named = [sentence.split()[1] for sentence in found.sentences if sentence.startswith("Input ")]
    assert tuple(named) == found.inputs_changed[: len(named)]
    rest = len(loud) - len(named)
    said = [sentence for sentence in found.sentences if "more input" in sentence]
    assert said == ([f"{rest} more {'inputs' if rest > 1 else 'input'} changed."] if rest else [])


def test_one_that_is_left_is_an_input_and_not_inputs() -> None:
    names = "abcdefz"
    found = findings_of({name: moved(500.0 if name == "z" else 3.0) for name in names}, None, None)
    assert found.inputs_changed == ("z", *"abcdef")
    assert found.sentences[0].startswith("Input z changed")
    assert findings_of({name: moved(1.0) for name in "abcdef"}, None, None).sentences[-1] == "1 more input changed."
