"""However processes come, go and look: what there is to share is shared evenly in the end, and then nothing moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftline.service.shares import moves

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=6)


@given(COUNTS, st.integers(0, 12), st.randoms(use_true_random=False))
def test_shares_come_to_rest_and_are_even(counts: list[int], free: int, random: object) -> None:
    total, moved = sum(counts) + free, True
    rounds = 0
    while moved:
        moved = False
        order = [*range(len(counts))]
        random.shuffle(order)  # type: ignore[attr-defined]
        for one in order:
            by = moves(counts[one], [each for index, each in enumerate(counts) if index != one], free)
            counts[one] += by
            free -= by
            moved |= by != 0
        rounds += 1
        assert rounds < 50
    assert (free, sum(counts)) == (0, total)
    assert max(counts) - min(counts) <= 1


@given(st.integers(0, 50), COUNTS, st.integers(0, 50))
def test_nobody_takes_more_than_there_is_or_gives_what_it_has_not(mine: int, others: list[int], free: int) -> None:
    by = moves(mine, others, free)
    assert -mine <= by <= free
    assert by >= 0 or not free  # what is free finds its holder before more is moved


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6))
def test_a_newcomer_moves_no_more_than_its_share(counts: list[int]) -> None:
    given_away = sum(-moves(mine, [0], 0) for mine in counts)
    assert given_away <= sum(mine // 2 for mine in counts)
