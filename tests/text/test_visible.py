"""What strangers write, made visible: sign by sign the same, at the cost of one step a run."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline import text as words
from driftline.text import acts, visible, visible_lines

OBEYED = "\x00\x07\n\r\t\x1b\x7f\x85\u2028\u2029\u202e\u2066\ud83d\ude00"


@given(st.text(st.sampled_from(OBEYED + "a\\模 🌧"), max_size=30))
@example("\ud83d\ude00")  # two halves that stand together are not one sign
@example("\\\x1b\\x1b")
def test_a_run_is_escaped_as_its_signs_are_one_by_one(text: str) -> None:
    assert visible(text) == "".join(map(visible, text))
    assert visible_lines(text) == "".join(map(visible_lines, text))
    assert visible(visible(text)) == visible(text) and not acts(visible(text))
    visible(text).encode()  # halves could not be


def test_ten_thousand_signs_in_a_row_are_escaped_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, escaped = list[str](), words._escaped
    monkeypatch.setattr(words, "_escaped", lambda signs: steps.append(signs[0]) or escaped(signs))
    assert visible("\x01" * 10_000 + "b" + "\n" * 10_000) == r"\x01" * 10_000 + "b" + r"\n" * 10_000
    assert visible_lines("\x01" * 10_000 + "\n") == r"\x01" * 10_000 + "\n"
    assert len(steps) == 3
