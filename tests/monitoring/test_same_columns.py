"""What a column is does not depend on the door: the same rows through `check` and through the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import driftline
from driftline.checks.report import Report
from driftline.config.load import load
from driftline.errors import EventError
from driftline.events import Kind, parse_predictions
from driftline.monitoring.guesses import guesses_of
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.summary import WindowSummary
from driftline.profiles import Columns
from driftline.profiles.parts import vectors_of
from driftline.retrain.rows import named, typed
from driftline.service.runtime import Service
from tests.support.steps import deliver, work

COUNT = 300
FIRST = datetime(2024, 1, 1)
CONFIG = """
models:
  m:
    task: binary
    columns: {prediction: p, label: y}
    reference: {path: reference.parquet}
    window: 1d
storage: ./data
"""

Make = Callable[[np.random.Generator, bool], list[Any] | pl.Series]


def hours(rng: np.random.Generator, moved: bool) -> list[datetime]:
    at = rng.integers(0, 90 * 24, COUNT)
    return [FIRST + timedelta(hours=int(hour // 24 * 24 + hour % (6 if moved else 24))) for hour in at]


def vectors(rng: np.random.Generator, moved: bool) -> list[list[float]]:
    return rng.normal(2.0 if moved else 0.0, 1.0, (COUNT, 4)).tolist()


def sentences(rng: np.random.Generator, moved: bool) -> list[str]:
    words = ["snow", "ice", "wind", "cold"] if moved else ["the", "cat", "sat", "on", "a", "mat", "today", "again"]
    return [" ".join(rng.choice(words, rng.integers(4, 9))) + f" number {n}" for n in range(COUNT)]


def some(values: list[Any], rng: np.random.Generator) -> list[Any]:
    return [None if rng.random() < 0.1 else value for value in values]


MATRIX: dict[str, Make] = {
    "ints": lambda rng, moved: rng.integers(20 if moved else 0, 50, COUNT).tolist(),
    "floats": lambda rng, moved: rng.normal(1.0 if moved else 0.0, 1.0, COUNT).tolist(),
    "single floats": lambda rng, moved: pl.Series(rng.normal(1.0 if moved else 0.0, 1.0, COUNT), dtype=pl.Float32),
    "whole floats": lambda rng, moved: rng.integers(5 if moved else 0, 30, COUNT).astype(float).tolist(),
    "bools": lambda rng, moved: (rng.random(COUNT) < (0.9 if moved else 0.4)).tolist(),
    "categories": lambda rng, moved: rng.choice(["a", "b"] if moved else ["a", "b", "c"], COUNT).tolist(),
    "category type": lambda rng, moved: pl.Series(
        rng.choice(["u", "v"], COUNT, p=[0.1, 0.9] if moved else [0.5, 0.5])
    ).cast(pl.Categorical),
    "codes": lambda rng, moved: rng.choice([531110, 532230, 722110, 812990][moved:], COUNT).tolist(),
    "dates as texts": lambda rng, moved: [f"{time:%Y-%m-%d}" for time in hours(rng, moved)],
    "times as texts": lambda rng, moved: [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in hours(rng, moved)],
    "datetimes": hours,
    "datetimes with gaps": lambda rng, moved: some(hours(rng, moved), rng),
    "zoned": lambda rng, moved: [time.replace(tzinfo=UTC) for time in hours(rng, moved)],
    "dates": lambda rng, moved: [time.date() for time in hours(rng, moved)],
    "free text": sentences,
    "free text with gaps": lambda rng, moved: some(sentences(rng, moved), rng),
    "vectors": vectors,
    "vectors with gaps": lambda rng, moved: some(vectors(rng, moved), rng),
    "ragged vectors": lambda rng, moved: [
        one[: 3 if rng.random() < (0.5 if moved else 0.1) else 4] for one in vectors(rng, moved)
    ],
    "whole vectors": lambda rng, moved: rng.integers(3 if moved else 0, 9, (COUNT, 3)).tolist(),
    "constant": lambda rng, moved: [7.0] * COUNT,
    "constant text": lambda rng, moved: ["x"] * COUNT,
    "all null": lambda rng, moved: pl.Series([None] * COUNT, dtype=pl.Null),
    "no text": lambda rng, moved: pl.Series([None] * COUNT, dtype=pl.String),
    "gaps": lambda rng, moved: some(rng.normal(0, 1, COUNT).tolist(), rng),
    "mixed": lambda rng, moved: [str(n % 7) if n % (2 if moved else 3) else "none of them" for n in range(COUNT)],
    "structs": lambda rng, moved: [{"a": int(n)} for n in rng.integers(0, 9, COUNT)],
}


def rows(seed: int, *, moved: bool) -> pl.DataFrame:
    """A column of each kind, and what a binary model said."""
    rng = np.random.default_rng(seed)
    columns = {name: make(rng, moved) for name, make in MATRIX.items()}
    return pl.DataFrame({**columns, "p": rng.integers(0, 2, COUNT), "y": rng.integers(0, 2, COUNT)})


def serve(folder: Path, reference: pl.DataFrame, current: pl.DataFrame, config: str = CONFIG) -> Service:
    """A service that has read the current rows as JSON, all in one window."""
    reference.write_parquet(folder / "reference.parquet")
    (folder / "driftline.yaml").write_text(config)
    service = Service(load(folder / "driftline.yaml"))
    time = datetime(2024, 6, 1, tzinfo=UTC)
    events = [
        {"id": str(at), "time": time.isoformat(), "features": row, "prediction": said}
        for at, (row, said) in enumerate(zip(current.drop("p", "y").to_dicts(), current["p"], strict=True))
    ]
    labels = [{"id": str(at), "label": label, "time": time.isoformat()} for at, label in enumerate(current["y"])]
    for kind, sent in (("predictions", events), ("labels", labels)):
        plain = msgspec.json.decode(msgspec.json.encode(sent))
        deliver(service, kind, plain[: COUNT // 2])  # type: ignore[arg-type]
        deliver(service, kind, plain[COUNT // 2 :])  # type: ignore[arg-type]
    work(service)
    return service


def summary_of(service: Service) -> WindowSummary:
    """What is shown of the one window."""
    with service.state.read() as read:
        stored = read.summaries.get("m", datetime(2024, 6, 1, tzinfo=UTC))
    assert stored is not None
    return msgspec.msgpack.decode(stored, type=WindowSummary)


@pytest.fixture(scope="module", params=[False, True], ids=["as before", "moved"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("doors")
    reference, current = rows(1, moved=False), rows(2, moved=request.param)
    service = serve(folder, reference, current)
    current.write_parquet(folder / "current.parquet")
    report = driftline.check(
        folder / "reference.parquet",
        folder / "current.parquet",
        task="binary",
        prediction="p",
        label="y",
        multivariate="none",
    )
    yield report, service, summary_of(service)
    service.stop()


@pytest.mark.parametrize("name", MATRIX)
def test_a_column_is_the_same_through_both_doors(both: tuple[Report, Service, WindowSummary], name: str) -> None:
    report, service, summary = both
    found, served = report.columns[name], summary.drift.get(name)
    assert service.models["m"].schema.features[name].value == found.kind
    if found.kind == Kind.UNSUPPORTED:
        assert served is None
        return
    assert served is not None
    assert (served.measure, served.value, served.threshold) == (
        found.drift.measure or "",
        found.drift.value,
        found.drift.threshold,
    )
    assert served.p_value == found.drift.p_value
    assert (served.missing_reference, served.missing_current) == (found.missing.reference, found.missing.current)
    assert served.drifted == found.drift.drifted
    assert served.changes == found.changes or not served.drifted


def test_rows_for_retraining_have_the_types_of_the_reference(both: tuple[Report, Service, WindowSummary]) -> None:
    service = both[1]
    model = service.models["m"]
    logged = model.log.window_rows(model.config.window.window_of(datetime(2024, 6, 1, tzinfo=UTC)), "")
    given = pl.read_parquet(model.config.reference)
    found = typed(named(logged, model.schema, Columns(prediction="p", label="y")), dict(given.schema))
    for name in ("vectors", "vectors with gaps", "ragged vectors", "whole vectors", "ints", "codes"):
        assert found[name].dtype == given[name].dtype, name


def test_a_rebuild_gives_the_same_bytes(both: tuple[Report, Service, WindowSummary]) -> None:
    _, service, _ = both
    assert rebuild(service.models["m"], service.state).differing == ()


# ---- events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("came", [[1.0, "2"], {"a": 1.0}, "1 2 3", 7, [[1.0]], [True]])
def test_what_is_no_list_of_numbers_is_refused(both: tuple[Report, Service, WindowSummary], came: Any) -> None:
    row = {"id": "x", "features": {"vectors": came}, "prediction": 1}
    with pytest.raises(EventError, match="this feature is an embedding: a list of numbers, or null"):
        deliver(both[1], "predictions", [row])


def test_free_text_may_be_long_and_categories_not(both: tuple[Report, Service, WindowSummary]) -> None:
    schema, long = both[1].models["m"].schema, "a long story " * 1000
    rows = [{"id": name, "features": {name: long}, "prediction": 1} for name in ("free text", "categories")]
    parsed = parse_predictions(rows, schema, arrived=datetime.now(UTC))
    assert [one.features["free text"] for one in parsed.good] == [long]
    [(refused, _)] = parsed.refused
    assert refused.field == "features.categories"


def test_codes_that_nobody_named_are_said_to_be_guessed(both: tuple[Report, Service, WindowSummary]) -> None:
    model = both[1].models["m"]
    assert model.schema.codes == ("codes",)
    notes = guesses_of(model.config, model.schema, model.reference).notes
    assert any(note.startswith("codes read as codes, not quantities") for note in notes)


def test_a_column_that_becomes_codes_is_judged_from_the_same_log(tmp_path: Path) -> None:
    reference, current = (rows(seed, moved=False).select("codes", "p", "y") for seed in (1, 2))
    found = {}
    for said in ("categorical: [], ", ""):
        (tmp_path / "driftline.yaml").write_text(CONFIG.replace("{prediction", "{" + said + "prediction"))
        if said:
            serve(tmp_path, reference, current, (tmp_path / "driftline.yaml").read_text()).stop()
        service = Service(load(tmp_path / "driftline.yaml"))
        rebuild(service.models["m"], service.state)
        work(service)
        drift = summary_of(service).drift["codes"]
        found[said] = service.models["m"].schema.features["codes"], drift.measure
        service.stop()
    assert [*found.values()] == [(Kind.NUMERIC, "wasserstein"), (Kind.CATEGORICAL, "js")]
    report = driftline.check(reference, current, task="binary", prediction="p", label="y", multivariate="none")
    assert drift.value == report.columns["codes"].drift.value


@given(st.lists(st.none() | st.lists(st.none() | st.floats(allow_infinity=False, allow_nan=False))), st.booleans())
def test_vectors_come_back_from_their_json_bit_for_bit(vectors: list[Any], broken: bool) -> None:
    texts = [None if one is None else msgspec.json.encode(one).decode() for one in vectors]
    bad = ['{"a":1}', "[", '["x"]'] if broken else []
    found = vectors_of(pl.Series([*texts, *bad], dtype=pl.String))
    assert found.to_list() == [*vectors, *[None] * len(bad)]
