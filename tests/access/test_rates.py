"""Rates: over any span nobody gets more than their rate and one batch, and who waits as told is let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.access.rates import Accounts, RateLimitError, per_second
from driftline.errors import UsageError


@pytest.mark.parametrize(
    "rate", ["", "0/s", "1", "1/h", "-1/s", "1.5/s", "1e3/s", "1/s ", "9999999999/s", "1/S", "١/s"]
)
def test_a_rate_that_is_none_is_refused_in_words(rate: str) -> None:
    with pytest.raises(UsageError, match="1000/s, 30/min"):
        per_second(rate)


rates = st.builds(lambda events, unit: f"{events}/{unit}", st.integers(1, 500), st.sampled_from(["s", "min"]))
asked = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 300)), max_size=60)


@given(rates, asked)
def test_nobody_gets_more_than_their_rate_and_their_last_batch(rate: str, asked: list[tuple[float, int]]) -> None:
    """Before each batch that is taken, what was taken so far is within the rate of the time that has passed."""
    accounts, now, taken = Accounts(), 0.0, 0
    events = per_second(rate)
    for wait, batch in asked:
        now += wait
        try:
            accounts.enter("a", rate, now)
        except RateLimitError:
            continue
        accounts.charge("a", batch - 1)
        assert taken + 1 <= max(1.0, events) + now * events + 1e-6
        taken += batch


@given(rates, st.integers(1, 100_000))
def test_who_waits_as_told_is_let_in_and_not_much_earlier(rate: str, batch: int) -> None:
    accounts = Accounts()
    accounts.enter("a", rate, 0.0)
    accounts.charge("a", batch - 1)
    try:
        accounts.enter("a", rate, 0.0)
    except RateLimitError as error:
        wait = error.wait_seconds
    else:
        return
    if wait > 1:
        with pytest.raises(RateLimitError):
            accounts.enter("a", rate, wait - 1.001)
    accounts.enter("a", rate, wait + 1e-6)


def test_names_have_accounts_of_their_own_and_those_that_are_full_are_forgotten() -> None:
    accounts = Accounts(most=100)
    for number in range(10_000):
        accounts.enter(str(number), "1/s", float(number))
    assert len(accounts) <= 101
    accounts.charge("never seen", 5)
    assert "never seen" not in accounts._left
