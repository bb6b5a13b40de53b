"""Evidence: what travels of a contest, and that nothing is lost on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.rules.evidence import Evidence, Said, evidence_of
from tests.rules.test_contest import binary, regression

GOOD = {"label": ["a", "b"], "champion": {"prediction": ["a", "b"]}, "challenger": {"prediction": ["b", None]}}


def test_it_is_the_same_after_it_has_travelled_and_has_every_row() -> None:
    old, new, rows = binary(n=50)
    found = evidence_of(old, new, rows, [f"r{number}" for number in range(50)])
    again = msgspec.json.decode(msgspec.json.encode(found), type=Evidence)
    assert again == found
    assert again.champion.prediction == old.predictions.tolist()
    assert again.challenger.score == {"1": new.scores["1"].tolist()}
    assert (again.label, again.segments) == (rows.labels.tolist(), {"region": rows.segments["region"].tolist()})
    assert again.seconds == rows.seconds.tolist()  # type: ignore[union-attr]


def test_rows_that_the_champion_was_not_asked_for_do_not_travel() -> None:
    old, new, rows = binary(n=50)
    asked = np.arange(50) % 2 == 0
    found = evidence_of(replace(old, asked=asked, answered=asked), new, rows, [str(number) for number in range(50)])
    assert found.id == [str(number) for number in range(0, 50, 2)]
    assert len(found.label) == len(found.challenger.prediction) == len(found.seconds or []) == 25


@given(st.integers(0, 100), st.sets(st.integers(0, 29), max_size=5))
def test_what_is_no_number_travels_as_none(seed: int, bad: set[int]) -> None:
    old, new, rows = regression(seed, n=30)
    said = old.predictions.astype(np.float64).copy()
    said[sorted(bad)] = np.nan
    found = evidence_of(replace(old, predictions=said), new, rows)
    assert [number for number, one in enumerate(found.champion.prediction) if one is None] == sorted(bad)
    assert b"nan" not in msgspec.json.encode(found).lower()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"label": ["a"]}, "champion.prediction has 2 values, label has 1"),
        ({"challenger": {"prediction": []}}, "challenger.prediction has 0 values, label has 2"),
        ({"champion": {"prediction": ["a", "b"], "score": {"a": [0.1]}}}, "champion.score of 'a' has 1 values"),
        ({"label": ["a", None]}, "row 1 has no label"),
        ({"id": ["1", "1"]}, "an id came twice"),
        ({"seconds": [1.0]}, "seconds has 1 values"),
        ({"segments": {"region": ["n"]}}, "segment 'region' has 1 values"),
        ({"decision": "promote"}, "unknown field `decision`"),
        ({"label": [["a"], "b"]}, "Expected `bool | int | float | str | null`"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_what_it_is(change: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why.replace("|", r"\|").replace("(", r"\(")):
        msgspec.json.decode(json.dumps(GOOD | change), type=Evidence)
    assert msgspec.json.decode(json.dumps(GOOD), type=Evidence).challenger == Said(["b", None])
