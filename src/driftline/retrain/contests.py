"""Hold the contest of a run, and register its challenger with the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl

from driftline.errors import DataError
from driftline.monitoring.model import MonitoredModel
from driftline.profiles import canonical
from driftline.retrain.answers import (
    UNVERSIONED,
    answers_in,
    answers_known,
    champion_entry,
    columns_as_written,
    entry_of,
    rows_of,
)
from driftline.retrain.options import RetrainConfig
from driftline.retrain.registry import CHAMPION, Registry, Version
from driftline.retrain.rows import RowsRecord
from driftline.retrain.runners.runner import Result
from driftline.rules.contest import Contest, judge_contest
from driftline.rules.contestants import Settings
from driftline.statistics.catalogue import paired_measures
from driftline.store.retraining import RetrainingRow

_SHOWN_VERSIONS = 3


def hold_contest(
    model: MonitoredModel,
    config: RetrainConfig,
    folder: Path,
    result: Result,
    record: RowsRecord,
    handed_out: pl.DataFrame,
    champion: str,
    since: datetime | None,
) -> Contest:
    """Hold the contest of a run: its challenger against the champion's answers on the rows that were handed out.

    ``since`` is the event time of the champion's promotion, None if Driftline did not promote it.
    """
    columns = columns_as_written(model.config.columns, config.gates.segments)
    evaluation = canonical(handed_out, columns, model.schema)
    # What a shadow was trained on is not known.
    trained_until = record.training.end if record.training.rows else None
    timezone = model.config.window.timezone
    rows = rows_of(evaluation, model.schema, config.gates.segments, trained_until=trained_until, timezone=timezone)
    ids = evaluation["id"]
    said = answers_in(folder / result.predictions.challenger, columns, ids, model.schema)
    replayed = None
    if result.predictions.champion is not None:
        replayed = answers_in(folder / result.predictions.champion, columns, ids, model.schema)
    told = answers_known(champion, evaluation, since, model.log.shadow_rows(champion))
    before = champion_entry(champion, evaluation, told, replayed, model.schema)
    if not before.answered.any():
        others = evaluation["version"].fill_null("").replace("", UNVERSIONED).value_counts(sort=True)
        before = replace(before, origin=f"Those are of {', '.join(others['version'].head(_SHOWN_VERSIONS))}.")
    return judge_contest(
        before,
        entry_of(result.version, said, ids, model.schema),
        rows,
        settings_of(config, model),
    )


def live_since(requests: Sequence[RetrainingRow], version: str) -> datetime | None:
    """Return the event time since which a version is champion; None if no request has promoted it."""
    return max(
        (row.live_from for row in requests if row.version == version and row.live_from is not None), default=None
    )


def settings_of(config: RetrainConfig, model: MonitoredModel) -> Settings:
    """Return a contest's settings; the measure defaults to that of the first rule whose alert asks for challengers."""
    given = {
        name: getattr(config.gates, name)
        for name in ("margin", "improvement", "least_rows", "least_class_rows", "floor", "measure")
    }
    known = {name: value for name, value in given.items() if value is not None}
    return Settings(**{"measure": _measure_of_rules(config, model), **known})


def _measure_of_rules(config: RetrainConfig, model: MonitoredModel) -> str | None:
    known = paired_measures(model.schema.task)
    asking = [rule.measure for rule in model.config.rules if rule.name in config.policy.alerts]
    return next((measure for measure in asking if measure in known), None)


def incumbent(registry: Registry, model: MonitoredModel, handed_out: pl.DataFrame) -> str:
    """Return the version that is champion: by the registry, else the one with most answers in the newest window."""
    if (known := registry.aliases(model.name).get(CHAMPION)) is not None:
        return known
    rows = canonical(handed_out, columns_as_written(model.config.columns, ()), model.schema)
    newest = rows["time"].max()
    assert isinstance(newest, datetime)  # rows of the log have times, and there are some
    rows = rows.filter(pl.col("time") >= model.config.window.window_of(newest).start)
    counts = rows.group_by("version").len().sort("len", "version", descending=True)
    return str(counts[0, "version"] or "") or UNVERSIONED


def register(
    registry: Registry,
    model: MonitoredModel,
    folder: Path,
    result: Result,
    record: RowsRecord,
    contest: Contest,
    request: RetrainingRow,
) -> None:
    """Register the challenger with its contest, and the champion if the registry does not know it yet.

    Raises `DataError` if another request has made a version of that name: the name of a version that was judged before,
    and perhaps rolled back, cannot be used again.
    """
    name, asked_at = model.name, request.asked_at
    for known in registry.versions(name):
        if known.version == result.version and known.data.get("request") != request.id:
            raise DataError(f"there is a version {result.version} of {name} already; each run gives its own a new name")
    if registry.aliases(name).get(CHAMPION) is None:
        registry.register(Version(name, contest.champion, asked_at), {})
        registry.promote(name, contest.champion, None)
    version = Version(
        model=name,
        version=result.version,
        created_at=asked_at,
        signature={feature: kind.value for feature, kind in model.schema.inputs.items()},
        data={**result.data, "request": request.id, "rows": msgspec.to_builtins(record)},
        code=result.code,
        contest=msgspec.Raw(msgspec.json.encode(contest)),
        parent=contest.champion,
    )
    registry.register(version, {artifact: folder / artifact for artifact in result.artifacts})
