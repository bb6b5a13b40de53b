"""The life of a request, as a picture and as rows of the database."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from driftline.errors import ConflictError, UnknownNameError
from driftline.retrain.request import BUSY, FOLLOWING, OPEN, Stage
from driftline.store.database import open_database
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.store.state import State

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request(id: str, model: str = "churn") -> RetrainingRow:
    return RetrainingRow(id, model, "manual", "to try it", "ann", NOW, NOW, Stage.ASKED.value, NOW, "", 0)


def reachable(start: Stage) -> Iterator[Stage]:
    seen, ahead = set[Stage](), [start]
    while ahead:
        if (one := ahead.pop()) not in seen:
            seen.add(one)
            ahead += FOLLOWING[one]
            yield one


def test_every_stage_can_be_reached_and_every_life_ends() -> None:
    assert set(reachable(Stage.ASKED)) == set(Stage)
    for stage in Stage:
        assert any(one.over for one in reachable(stage))
    order = list(Stage)
    assert all(order.index(after) > order.index(stage) for stage in Stage for after in FOLLOWING[stage])


def test_only_what_was_promoted_can_be_rolled_back_and_only_what_ran_be_promoted() -> None:
    for stage in (Stage.HELD, Stage.REFUSED, Stage.FAILED):
        assert stage.over
    for late in (Stage.PROMOTING, Stage.BAKING, Stage.ROLLED_BACK):
        without = {stage for stage in _without(Stage.RAN) if stage is not Stage.RAN}
        assert late not in without


def _without(gone: Stage) -> set[Stage]:
    seen, ahead = set[Stage](), [Stage.ASKED]
    while ahead:
        if (one := ahead.pop()) not in seen and one is not gone:
            seen.add(one)
            ahead += FOLLOWING[one]
    return seen


def test_a_champion_on_probation_keeps_no_request_out() -> None:
    assert set(OPEN) - set(BUSY) == {Stage.BAKING}


def test_unknown_requests_are_named() -> None:
    state = State(open_database("sqlite://"))
    with state.read() as read, pytest.raises(UnknownNameError, match="unknown request 'r9'"):
        Retraining(read.connection).row("r9")


class Requests(RuleBasedStateMachine):
    """Two workers move requests at random; the rows say what happened."""

    @initialize()
    def start(self) -> None:
        self.state = State(open_database("sqlite://"))
        self.stages: dict[str, Stage] = {}
        self.at = NOW

    @rule(model=st.sampled_from(["churn", "fraud"]))
    def ask(self, model: str) -> None:
        id = f"{model}-{len(self.stages)}"
        busy = [one for one, stage in self.stages.items() if one.startswith(model) and stage in BUSY]
        with self.state.work() as work:
            if busy:
                with pytest.raises(ConflictError, match=busy[0]):
                    Retraining(work.connection).add(request(id, model), busy=BUSY)
            else:
                Retraining(work.connection).add(request(id, model), busy=BUSY)
                self.stages[id] = Stage.ASKED

    @rule(number=st.integers(0, 9), believed=st.sampled_from(list(Stage)), data=st.data())
    def move(self, number: int, believed: Stage, data: st.DataObject) -> None:
        if not self.stages or not FOLLOWING[believed]:
            return
        id = sorted(self.stages)[number % len(self.stages)]
        after = data.draw(st.sampled_from(sorted(FOLLOWING[believed])))
        self.at += timedelta(seconds=1)
        with self.state.work() as work:
            moved = Retraining(work.connection).move(
                id, believed.value, after.value, self.at, by="driftline", note="so", version="v2"
            )
        assert moved is (self.stages[id] is believed)
        if moved:
            self.stages[id] = after

    @invariant()
    def the_rows_are_what_happened(self) -> None:
        with self.state.read() as read:
            known = Retraining(read.connection)
            rows, steps = {row.id: row for row in known.rows()}, known.steps(self.stages)
            counts = known.counts()
        assert {id: row.stage for id, row in rows.items()} == self.stages
        assert sum(sum(by.values()) for by in counts.values()) == len(self.stages)
        for id, taken in steps.items():
            assert [taken[0].stage, taken[-1].stage] == [Stage.ASKED.value, self.stages[id].value]
            for one, after in itertools.pairwise(taken):
                assert Stage(after.stage) in FOLLOWING[Stage(one.stage)]
            assert (rows[id].version == "v2") is (len(taken) > 1)


Requests.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestRequests = Requests.TestCase
