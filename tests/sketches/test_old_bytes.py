"""What an earlier release stored can be read by this one, and merged with what it makes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from driftline.errors import CodecError
from driftline.events import Kind, Schema, Task
from driftline.profiles import Classification, NumericColumn, Reference, Regression, WindowProfile
from driftline.sketches import decode, encode

RELEASES = sorted((Path(__file__).parent.parent / "data" / "states").glob("*.json"))


def stored(path: Path) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in json.loads(path.read_text()).items()}


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_states_of_earlier_releases_are_read_and_merge(path: Path) -> None:
    states = stored(path)
    window = decode(states["window"], WindowProfile)
    assert (window.predictions, window.labelled) == (4, 3)
    number = window.features.columns["number"]
    assert isinstance(number, NumericColumn)
    assert (number.missing, number.nan, number.largest) == (1, 1, 1.5)
    assert isinstance(window.performance, Classification)
    assert window.performance.confusion == {("rain", "rain"): 1, ("sun", "rain"): 1, ("sun", "sun"): 1}
    regression = decode(states["regression"], WindowProfile).performance
    assert isinstance(regression, Regression) and regression.count == 2
    assert decode(states["reference"], Reference).profile.predictions == 4
    assert decode(states["schema"], Schema) == Schema(
        Task.BINARY, {"name": Kind.CATEGORICAL, "number": Kind.NUMERIC}, ("rain", "sun"), "rain"
    )
    twice = decode(encode(window), WindowProfile).merge(window)
    assert (twice.predictions, twice.labelled) == (8, 6)


def test_bytes_of_a_later_release_say_so() -> None:
    later = bytearray(encode(NumericColumn()))
    later[4] += 1  # one field more in the array of fields
    with pytest.raises(CodecError, match="in this release"):
        decode(bytes(later) + b"\xc0", NumericColumn)
