"""Sums by block: bounded, exact in any order and split, and refused where bytes are hostile."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
import polars as pl
import pytest

from driftline.errors import CodecError, UsageError
from driftline.profiles import Classification
from driftline.profiles.blocks import DAY, MOST_BLOCKS, MOST_CLASSES, Blocks, Keys, keys_of
from driftline.sketches import decode, encode


def made(rng: np.random.Generator, rows: int, hours: int, classes: int = 3) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    label = rng.integers(0, classes, rows)
    sums = {f"l {name}": (label == name).astype(np.int64) for name in range(classes)}
    return rng.integers(0, hours, rows), {**sums, "e": rng.integers(-(2**30), 2**30, rows)}


@pytest.mark.parametrize("hours", [100, 3_000, 200_000])
@pytest.mark.parametrize("order", ["sorted", "mixed"])
def test_any_split_in_any_order_has_the_same_bytes(hours: int, order: str) -> None:
    rng = np.random.default_rng(hours)
    numbers, sums = made(rng, 9_000, hours)
    if order == "sorted":
        numbers = np.sort(numbers)
    whole = Blocks.of(Keys(1, numbers), sums)
    assert len(whole.numbers) <= MOST_BLOCKS
    assert int(whole.sum_of("n").sum()) == 9_000
    assert int(whole.sum_of("e").sum()) == int(sums["e"].sum())
    cuts = np.sort(rng.integers(0, 9_000, 5))
    parts = [
        Blocks.of(Keys(1, part), {name: np.split(values, cuts)[at] for name, values in sums.items()})
        for at, part in enumerate(np.split(numbers, cuts))
    ]
    for arranged in (parts, parts[::-1], [parts[at] for at in rng.permutation(len(parts))]):
        assert encode(reduce(Blocks.merge, arranged, Blocks())) == encode(whole)
    assert decode(encode(whole), Blocks) == whole


def test_rows_in_mixed_order_are_summed_as_they_come() -> None:
    rng = np.random.default_rng(3)
    numbers, flags = rng.integers(0, 50, 200_000), rng.random(200_000) < 0.3
    held: list[int] = []

    def kept(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        held.extend(len(values) for values in sums.values())
        return dict(sums)

    found = Blocks.of(Keys(0, numbers), {"right": flags}, made_of=kept)
    assert found.sum_of("n").tolist() == np.bincount(numbers).tolist()
    assert found.sum_of("right").tolist() == np.bincount(numbers[flags]).tolist()
    assert max(held) <= 4 * 50  # of each 65,536 rows, not of each row


@pytest.mark.parametrize("classes", [2, 4, 5, 12, MOST_CLASSES, MOST_CLASSES + 1])
def test_every_class_is_counted_by_block_however_many_there_are(classes: int) -> None:
    rng = np.random.default_rng(classes)
    numbers, label, said = rng.integers(0, 9, 900), *rng.integers(0, classes, (2, 900))
    names = [pl.Series([f"k{at:02}" for at in side]) for side in (label, said)]
    blocks = Classification.of(*names, keys=Keys(0, numbers)).blocks
    assert blocks.sum_of("right").tolist() == np.bincount(numbers[label == said], minlength=9).tolist()
    for at in range(classes):
        rows = {"l": label == at, "p": said == at, "h": (label == at) & (said == at)}
        for part, there in rows.items():
            counted = np.bincount(numbers[there], minlength=9) if classes <= MOST_CLASSES else np.zeros(9)
            assert blocks.sum_of(f"{part} k{at:02}").tolist() == counted.tolist()


def test_blocks_are_as_short_as_they_can_be() -> None:
    assert Blocks.of(Keys(1, np.arange(MOST_BLOCKS)), {}).span == 1
    assert Blocks.of(Keys(1, np.arange(MOST_BLOCKS + 1)), {}).span == 3
    assert Blocks.of(Keys(1, DAY * np.arange(90)), {}).span == 1
    assert Blocks.of(Keys(1, np.arange(DAY * 90)), {}).span == DAY


def test_more_classes_than_are_kept_leave_none() -> None:
    one, other = (
        Blocks.of(Keys(1, np.arange(9)), {f"l {at}": np.ones(9, np.int64) for at in some})
        for some in (range(MOST_CLASSES), range(MOST_CLASSES, MOST_CLASSES + 1))
    )
    assert not any(name.startswith("l ") for name in one.merge(other).names)
    assert one.merge(other).merge(one) == one.merge(other.merge(one))
    assert one.merge(one).names == one.names


def test_blocks_of_time_and_of_clusters_are_no_blocks_together() -> None:
    time, cluster = (Blocks.of(Keys(span, np.arange(9)), {}) for span in (1, 0))
    mixed = time.merge(cluster)
    assert not len(mixed.numbers)
    assert mixed == cluster.merge(time) == mixed.merge(time) == cluster.merge(mixed)
    assert mixed == Blocks.of(Keys(1, np.arange(9)), {}, unit=2.0).merge(time)
    assert Blocks().merge(time) == time


def test_clusters_are_the_same_however_they_are_batched() -> None:
    names = pl.Series(["a", None, "b", "a"])
    numbers = keys_of(names, None).numbers.tolist()
    assert numbers[0] == numbers[3] != numbers[2]
    assert keys_of(names.slice(2), pl.Series([0, 0]).cast(pl.Datetime("us", "UTC"))).numbers.tolist() == numbers[2:]
    assert keys_of(None, None) is None


@pytest.mark.parametrize("known", ["clusters", "times"])
def test_rows_without_cluster_or_time_are_of_no_block(known: str) -> None:
    there = np.arange(60) % 3 > 0
    if known == "clusters":
        series = pl.Series([f"customer {at % 9}" if yes else None for at, yes in enumerate(there)])
        found, some = (keys_of(one, None) for one in (series, series.filter(pl.Series(there))))
    else:
        hours = pl.Series([at * 3_600_000_000 if yes else None for at, yes in enumerate(there)], dtype=pl.Int64)
        series = hours.cast(pl.Datetime("us", "UTC"))
        found, some = (keys_of(None, one) for one in (series, series.filter(pl.Series(there))))
    flags = np.arange(60) % 2 == 0
    assert Blocks.of(found, {"right": flags}) == Blocks.of(some, {"right": flags[there]})
    assert Blocks.of(found.where(~there), {"right": flags[~there]}) == Blocks()


def test_classes_of_rows_without_a_block_are_none_of_the_blocks() -> None:
    names = pl.Series([f"k{at}" for at in range(MOST_CLASSES + 3)])
    clusters = pl.Series(["one"] * MOST_CLASSES + [None] * 3)
    parts = [
        Classification.of(names[some], names[some], keys=keys_of(clusters[some], None))
        for some in (slice(None), slice(MOST_CLASSES), slice(MOST_CLASSES, None))
    ]
    assert parts[0].blocks == parts[1].merge(parts[2]).blocks
    assert "l k1" in parts[0].blocks.names


@pytest.mark.parametrize(
    "hostile",
    [
        {"sums": np.ones(3, np.int64)},
        {"numbers": np.array([2, 1]), "sums": np.ones(2, np.int64)},
        {"numbers": np.array([0, 2**40]), "sums": np.ones(2, np.int64)},
        {"names": ("n", "n"), "numbers": np.array([0]), "sums": np.ones(2, np.int64)},
        {"span": 5},
        {"span": 2**70},
        {"unit": float("nan")},
        {"unit": 0.0},
        {"numbers": np.arange(MOST_BLOCKS + 1), "sums": np.ones(MOST_BLOCKS + 1, np.int64)},
    ],
    ids=str,
)
def test_what_is_no_blocks_is_refused(hostile: dict[str, object]) -> None:
    fields = {"span": 1, "unit": 1.0, "names": ("n",), "numbers": np.array([0]), "sums": np.ones(1, np.int64)} | hostile
    with pytest.raises(UsageError):
        Blocks(**fields)
    good = encode(Blocks.of(Keys(1, np.arange(3)), {}))
    for at in range(4, len(good)):
        try:
            decode(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :], Blocks)
        except CodecError:
            continue
