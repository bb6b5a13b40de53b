"""The contest rests on what the champion itself answered: not on its predecessor's answers, nor on another's word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from driftline.config.load import load
from driftline.errors import DamagedError, DataError
from driftline.net.bodies import read_body
from driftline.retrain.answers import rows_of
from driftline.retrain.registry import Version
from driftline.retrain.reported import read_report, reported_contest, require_evidence
from driftline.retrain.requests import AskBody, ask_by_person
from driftline.retrain.runners.runner import Predictions, Report, Result
from driftline.rules.contest import Contest, judge_contest
from driftline.rules.contestants import Settings
from driftline.rules.evidence import evidence_of
from driftline.service.runtime import Service
from tests.retrain.test_shadow import shadows
from tests.retrain.test_surface import client
from tests.rules.test_contest import binary
from tests.support.churn import MODEL
from tests.support.retraining import NOW, TRAIN, configured, days, loop
from tests.support.steps import deliver, retrained, work

SEVEN_IN_TEN = TRAIN.replace(
    'rows.select("id", prediction=pl.col("plan").replace_strict(learned, default=0))',
    """rows.select("id", prediction=pl.when(pl.int_range(pl.len()) % 10 < 7)
        .then("label").otherwise(1 - pl.col("label")))""",
)
REPLAY = """
    said = rows.select("id", prediction={said})
    said.write_parquet(run / "old.parquet")
    return {{"version": "v3", "predictions": {{"challenger": "said.parquet", "champion": "old.parquet"}}}}
"""


def replaying(said: str, train: str = TRAIN) -> str:
    """A training function that also says what the champion would have said."""
    return train[: train.index("    return {")] + REPLAY.format(said=said)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def one(**options: Any) -> Service:
        quiet = {"when: {alerts: [accuracy-low]}": "when: {}"}
        made.append(Service(load(configured(tmp_path, **options, **quiet))))
        return made[-1]

    yield one
    for service in made:
        service.stop()


def promoted(service: Service, version: str) -> None:
    """Make a version champion by hand."""
    registry = service.loop.registry
    for one, before in (("v1", None), (version, "v1")):
        registry.register(Version(MODEL, one, NOW), {})
        registry.promote(MODEL, one, before)


def judged(service: Service) -> Contest:
    """The contest of a challenger that a person asks for."""
    ask_by_person(*retrained(service), AskBody("ann", "try"), NOW)
    row = loop(service)
    assert row.contest != b"null", row.note
    return msgspec.json.decode(row.contest, type=Contest)


def test_a_challenger_of_70_percent_does_not_beat_a_champion_of_90_by_its_predecessors_answers(
    make: Callable[..., Service],
) -> None:
    service = make(train=SEVEN_IN_TEN)
    promoted(service, "v0")
    days(service, 0, 10)  # v1 is right in 10 %
    days(service, 10, 12, version="v0")  # the champion in 90 %, on one of the five days whose labels are there
    contest = judged(service)
    assert contest.decision == "hold"
    assert contest.reason.startswith("40 labelled rows have an answer of both; 50 are needed. v0 did not answer 160 of")
    days(service, 12, 16, version="v0")
    contest = judged_again(service)
    assert (contest.decision, contest.champion, contest.difference.n) == ("hold", "v0", 200)
    assert contest.difference.second == pytest.approx(0.9)


def judged_again(service: Service) -> Contest:
    """The contest of another challenger, under a new name."""
    path = service.config.retrain[MODEL].folder / "train.py"  # type: ignore[union-attr]
    path.write_text(path.read_text().replace('"version": "v2"', '"version": "v3"'))
    return judged(service)


def test_rows_of_others_alone_hold_and_say_whose_they_are(make: Callable[..., Service]) -> None:
    service = make()
    promoted(service, "v0")
    days(service, 0, 12)
    contest = judged(service)
    assert contest.decision == "hold"
    assert contest.reason.startswith("0 labelled rows have an answer of both; 50 are needed. v0 did not answer 200 of")
    assert contest.reason.endswith("they are left out. Those are of v1.")


def test_who_is_live_now_is_champion_and_not_who_answered_most_rows(make: Callable[..., Service]) -> None:
    service = make()
    days(service, 0, 9)
    days(service, 9, 12, version="v0")
    contest = judged(service)
    assert (contest.champion, contest.rows, contest.difference.n) == ("v0", 200, 80)


def test_what_the_champion_said_as_a_shadow_before_it_was_promoted_counts(make: Callable[..., Service]) -> None:
    service = make(train=SEVEN_IN_TEN)
    promoted(service, "v9")
    days(service, 0, 12)
    deliver(service, "predictions", shadows(6, 12))
    work(service)
    contest = judged(service)
    assert (contest.decision, contest.difference.n) == ("hold", 200)
    assert contest.difference.second == pytest.approx(0.9)


def test_a_run_may_replay_the_champion_where_nobody_knows_what_it_would_have_said(make: Callable[..., Service]) -> None:
    service = make(train=replaying('(pl.col("plan") == "basic").cast(pl.Int64)'))
    promoted(service, "v0")
    days(service, 0, 12)
    contest = judged(service)
    assert (contest.decision, contest.difference.n) == ("hold", 200)
    assert next(gate for gate in contest.gates if gate.name == "rows").reason.endswith(
        "The run replayed v0 for 200 of 200 rows."
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('1 - pl.col("label")', "the replay of v1 says other than v1 did in 20 of 200 rows that it answered"),
        (
            '"prediction").head(150).select("id", prediction="prediction"',
            "the replay of v1 has no answer to 50 of 200 rows; replay them all",
        ),
    ],
)
def test_a_replay_that_the_log_contradicts_fails(make: Callable[..., Service], said: str, why: str) -> None:
    service = make(train=replaying(said))
    days(service, 0, 12)
    ask_by_person(*retrained(service), AskBody("ann", "try"), NOW)
    row = loop(service)
    assert (row.stage, row.note.startswith(why)) == ("failed", True), row.note


@pytest.mark.parametrize("named", [True, False])
def test_a_report_is_judged_as_the_gate_judges_and_by_what_the_log_knows(
    make: Callable[..., Service], named: bool
) -> None:
    """Evidence of rows that nobody logged: the contest is that of its rows, in the ids' own order or in another."""
    service = make()
    model, config = service.models[MODEL], service.config.retrain[MODEL]
    assert config is not None
    old, new, rows = binary(7, n=300)
    old, new = replace(old, scores={}), replace(new, scores={})
    ids = [f"elsewhere-{number}" for number in range(300)]
    evidence = evidence_of(old, new, rows, ids if named else None)
    report = Report(True, result=Result("v2", Predictions("said.parquet")), evidence=evidence)
    logged = pl.DataFrame(
        {
            "id": ["logged"],
            "time": [datetime(2024, 3, 1, tzinfo=UTC)],
            "version": ["v1"],
            "prediction": [1],
            "label": [0],
        }
    )
    require_evidence(model, config, report)
    found = reported_contest(model, config, logged, report, "v1", None)
    settings = Settings(measure="accuracy", least_rows=50)
    assert found.difference == judge_contest(old, new, rows, settings).difference
    assert (found.champion, found.challenger, found.settings.least_rows) == ("v1", "v2", 50)
    assert next(gate for gate in found.gates if gate.name == "rows").reason.endswith(
        "The run replayed v1 for 300 of 300 rows."
    )


def test_a_report_whose_rows_have_times_in_part_is_none(make: Callable[..., Service]) -> None:
    """The log knows when one row was; of the others nobody says so, and days could not be told apart."""
    service = make()
    model, config = service.models[MODEL], service.config.retrain[MODEL]
    assert config is not None
    old, new, rows = binary(n=60)
    evidence = evidence_of(old, new, replace(rows, seconds=None), [f"p{number}" for number in range(60)])
    report = Report(True, result=Result("v2", Predictions("x")), evidence=evidence)
    logged = pl.DataFrame(
        {
            "id": ["p7"],
            "time": [datetime(2024, 3, 1, tzinfo=UTC)],
            "version": ["v1"],
            "prediction": [1],
            "label": [0],
        }
    )
    with pytest.raises(DataError, match="59 of 60 rows of the evidence have no time; give `seconds` of all rows"):
        reported_contest(model, config, logged, report, "v1", None)


def told(service: Service, evidence: dict[str, Any]) -> Contest:
    """The contest of a report of rows that nobody has logged."""
    model, config = service.models[MODEL], service.config.retrain[MODEL]
    assert config is not None
    body = {"ok": True, "result": {"version": "v2", "predictions": {"challenger": "x"}}, "evidence": evidence}
    report = read_body(msgspec.json.encode(body), Report)
    require_evidence(model, config, report)
    logged = pl.DataFrame({"id": ["logged"], "time": [NOW], "version": ["v1"], "prediction": [1], "label": [0]})
    return reported_contest(model, config, logged, report, "v1", None)


def test_a_report_without_rows_is_held_whatever_else_it_says(make: Callable[..., Service]) -> None:
    nothing = {"label": [], "seconds": [], "champion": {"prediction": []}, "challenger": {"prediction": []}}
    found = told(make(), nothing | {"trained_until": 1.0})
    assert (found.decision, found.reason) == ("hold", "0 labelled rows have an answer of both; 50 are needed.")


def test_whole_numbers_and_others_are_numbers_of_one_column(make: Callable[..., Service]) -> None:
    """JSON of other languages writes 1 for 1.0."""
    mixed = {
        "label": [0, 1.0] * 50,
        "champion": {"prediction": [0, 0] * 50},
        "challenger": {"prediction": [0.0, 1] * 50},
    }
    assert told(make(), mixed).decision == "promote"


def test_labels_of_other_classes_promote_nobody(make: Callable[..., Service]) -> None:
    """A job that calls the classes otherwise is right everywhere, with a challenger that says what nobody knows."""
    other = {"label": ["no", "yes"] * 50, "champion": {"prediction": ["no"] * 100}}
    with pytest.raises(DataError, match="the labels of the evidence cannot be trusted: 0 of 100 labels are '1', which"):
        told(make(), other | {"challenger": {"prediction": ["no", "yes"] * 50}})


@pytest.mark.parametrize("kept", [b"", b'{"ok": true, "contest": {}}'])
def test_a_report_that_is_kept_and_cannot_be_read_is_said_so(tmp_path: Path, kept: bytes) -> None:
    assert read_report(tmp_path) is None
    (tmp_path / "report.json").write_bytes(kept)
    with pytest.raises(DataError, match=r"report\.json cannot be read: .*; ask again"):
        read_report(tmp_path)


def test_a_report_without_the_segments_of_the_gates_is_refused(make: Callable[..., Service]) -> None:
    service = make(**{"gates: {least_rows: 50}": "gates: {least_rows: 50, segments: [plan]}"})
    model, config = service.models[MODEL], service.config.retrain[MODEL]
    assert config is not None
    report = Report(True, result=Result("v2", Predictions("x")), evidence=evidence_of(*binary(n=60)))
    with pytest.raises(DataError, match="the evidence has no segment 'plan', by which the gates of churn judge"):
        require_evidence(model, config, report)
    require_evidence(model, config, Report(False, "no GPU"))


@pytest.mark.parametrize("name", ["models:/churn/12", "v1..2"])
def test_a_champion_may_have_a_name_that_is_none_of_a_folder(make: Callable[..., Service], name: str) -> None:
    service = make()
    days(service, 0, 12, version=name, named="v1")
    assert judged(service).champion == name
    aliases = service.loop.registry.aliases(MODEL)
    assert aliases == {"champion": "v2", "previous": name}
    assert not [path for path in service.loop.folder.parent.rglob("*") if path.is_dir() and path.name in ("12", name)]
    service.loop.roll_back(MODEL, "ann", "complaints", NOW)
    assert service.loop.registry.aliases(MODEL)["champion"] == name


def test_days_of_a_contest_are_those_of_the_models_time_zone(make: Callable[..., Service]) -> None:
    """Afternoon and night of one day in California are two days of UTC, and share its luck all the same."""
    times = [datetime(2024, 3, 5, hour, tzinfo=UTC) for hour in (22, 23)] + [datetime(2024, 3, 6, 3, tzinfo=UTC)]
    rows = pl.DataFrame({"time": times, "label": ["0", "1", "0"]})
    schema = make().models[MODEL].schema
    there = np.ones(3, np.bool_)
    for zone, numbers in (("UTC", [0, 0, 1]), ("America/Los_Angeles", [0, 0, 0])):
        found = rows_of(rows, schema, (), timezone=zone).blocks(there)
        assert found is not None and found.tolist() == numbers


def test_damaged_aliases_hold_a_request_up_and_say_so_until_they_are_restored(make: Callable[..., Service]) -> None:
    service = make()
    days(service, 0, 12)
    ask_by_person(*retrained(service), AskBody("ann", "try"), NOW)
    row = loop(service, until=lambda row: row.stage == "promoting")
    [aliases] = service.loop.folder.parent.rglob("aliases.json")
    whole = aliases.read_text()
    aliases.write_text("{")
    for _ in range(3):
        with pytest.raises(DamagedError, match=r"aliases\.json is not what a registry writes"):
            service.loop.step(MODEL, NOW)
    answer = client(service).get(f"/api/v1/models/{MODEL}/champion")
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "DamagedError")
    assert "Traceback" not in answer.text and "\n" not in answer.json()["error"]["message"]
    aliases.write_text(whole)
    assert (loop(service).id, loop(service).stage) == (row.id, "baking")


def test_without_a_champion_and_without_versions_the_model_is_called_unversioned(make: Callable[..., Service]) -> None:
    service = make()
    days(service, 0, 12, version="")
    contest = judged(service)
    assert (contest.champion, contest.difference.n) == ("unversioned", 200)
    assert pl.read_parquet(next(service.loop.folder.glob("*/evaluation.parquet")))["version"].unique().to_list() == [""]
