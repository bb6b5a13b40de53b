"""Brings the files of a run, or of `driftline gate`, into a contest, and its winner into the registry."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from driftline.errors import ConflictError, DataError, StorageError
from driftline.events import Schema, Task
from driftline.monitoring.model import MonitoredModel
from driftline.profiles import Columns, canonical
from driftline.profiles.alike import Table
from driftline.profiles.frame import SCORE, SEGMENT
from driftline.profiles.reading import as_written, read_alone
from driftline.retrain.facts import fault_of_labels
from driftline.retrain.options import RetrainConfig
from driftline.retrain.registry import CHAMPION, Registry, Version
from driftline.retrain.rows import RowsRecord, named
from driftline.retrain.runners.runner import Report, Result
from driftline.rules.contest import Contest, Entry, Rows, Settings, judge_contest
from driftline.rules.evidence import Evidence, Value
from driftline.sources.files import open_rows, whole
from driftline.statistics.catalogue import paired_measures
from driftline.statistics.influence import Floats, Texts
from driftline.store.retraining import RetrainingRow
from driftline.text import cause

UNVERSIONED = "unversioned"
"""What a version without a name is called."""

_MOST_SEGMENT_VALUES = 50
_SHOWN_VERSIONS = 3
_REPLAY_OTHERWISE = 0.01
_REPLAY_ERROR = 1e-3
_EARLIEST_SECONDS, _LATEST_SECONDS = -62_135_596_800, 253_402_300_800
"""The years 1 to 9999."""

_REPORT = "report.json"


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
    """The contest of a run: its challenger against what the champion answered on the rows that were handed out.

    ``since`` is the event time of the champion's promotion, None where it was none of ours.
    """
    columns = _as_written(model.config.columns, config.gates.segments)
    evaluation = canonical(handed_out, columns, model.schema)
    # Nobody says what a shadow learned from.
    trained_until = record.training.end if record.training.rows else None
    timezone = model.config.window.timezone
    rows = rows_of(evaluation, model.schema, config.gates.segments, trained_until=trained_until, timezone=timezone)
    ids = evaluation["id"]
    said = _answers(folder / result.predictions.challenger, columns, ids, model.schema)
    replayed = None
    if result.predictions.champion is not None:
        replayed = _answers(folder / result.predictions.champion, columns, ids, model.schema)
    told = _told(champion, evaluation, since, model.log.shadow_rows(champion))
    before = _champion_entry(champion, evaluation, told, replayed, model.schema)
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
    """The event time since which a version is champion; None where no request made it so."""
    return max(
        (row.live_from for row in requests if row.version == version and row.live_from is not None), default=None
    )


def _told(champion: str, logged: pl.DataFrame, since: datetime | None, shadow: pl.DataFrame) -> pl.DataFrame:
    """What the log knows that the champion said of its rows: live, else as a shadow.

    What another version answered is no word of it. Where no row carries a version, the champion has answered since it
    was promoted.
    """
    version = pl.col("version").fill_null("").replace("", UNVERSIONED)
    own = version == (champion or UNVERSIONED)
    if len(logged) and (logged["version"].fill_null("") == "").all():
        own = own | (pl.lit(value=True) if since is None else pl.col("time") >= since)
    told = [_spoken(logged.filter(own))]
    if len(shadow):
        told.append(_spoken(shadow.join(logged.select("id"), on="id", how="semi")))
    return pl.concat(told, how="diagonal_relaxed").unique("id", keep="first", maintain_order=True)


def _champion_entry(
    champion: str, evaluation: pl.DataFrame, known: pl.DataFrame, replayed: pl.DataFrame | None, schema: Schema
) -> Entry:
    """What the champion said of the rows of a contest: what the log knows, else what the run's replay of it says.

    Raises `DataError` for a replay that leaves rows out, or that says other than the champion did.
    """
    origin = ""
    if replayed is not None:
        replayed = _spoken(replayed.join(evaluation.select("id"), on="id", how="semi"))
        _require_like(replayed, known, champion, len(evaluation), schema)
        more = replayed.join(known, on="id", how="anti")
        known = pl.concat([known, more], how="diagonal_relaxed")
        if len(more):
            origin = f"The run replayed {champion} for {len(more)} of {len(evaluation)} rows."
    return replace(entry_of(champion, known, evaluation["id"], schema), origin=origin)


def _spoken(rows: pl.DataFrame) -> pl.DataFrame:
    said = [name for name in rows.columns if name in ("id", "prediction", "latency_seconds") or name.startswith(SCORE)]
    return rows.select(said)


def _require_like(replayed: pl.DataFrame, known: pl.DataFrame, champion: str, rows: int, schema: Schema) -> None:
    """Refuse a replay that leaves rows out, or that says other than the champion said where the log knows it."""
    if (gone := rows - len(replayed)) > 0:
        raise DataError(
            f"the replay of {champion} has no answer to {gone} of {rows} rows; replay them all, or leave "
            "`predictions.champion` out"
        )
    both = known.select("id", said="prediction").join(replayed.select("id", again="prediction"), on="id")
    if schema.task is Task.REGRESSION:
        said, again = (both[name].cast(pl.Float64).to_numpy() for name in ("said", "again"))
        other = int((~np.isclose(said, again, rtol=_REPLAY_ERROR, equal_nan=True)).sum())
    else:
        other = int((both["said"].cast(pl.String) != both["again"].cast(pl.String)).sum())
    if other > _REPLAY_OTHERWISE * len(both):
        raise DataError(
            f"the replay of {champion} says other than {champion} did in {other} of {len(both)} rows that it answered; "
            "replay the same version, on the same features"
        )


def require_evidence(model: MonitoredModel, config: RetrainConfig, report: Report) -> None:
    """Refuse a report that is ok, and has nothing that a contest could be held by. Raises `DataError`."""
    if not report.ok:
        return
    if report.result is None or report.evidence is None:
        raise DataError(
            "a report that is ok has a `result`, and the `evidence` that `driftline gate --evidence` writes"
        )
    for name in config.gates.segments:
        if name not in report.evidence.segments:
            raise DataError(
                f"the evidence has no segment {name!r}, by which the gates of {model.name} judge; add --segment {name}"
            )
    _evidence_frames(report.evidence, model.schema)


def reported_contest(
    model: MonitoredModel,
    config: RetrainConfig,
    handed_out: pl.DataFrame,
    report: Report,
    champion: str,
    since: datetime | None,
) -> Contest:
    """The contest of a run elsewhere, held here: by the rows that it reported, and the gates that are configured.

    Of a row whose id the log knows, the label, the time and what the champion answered are those of the log. Raises
    `DataError` for labels that no world has.
    """
    assert report.result is not None and report.evidence is not None  # or it would have been refused
    evaluation, replayed, said = _evidence_frames(report.evidence, model.schema)
    mine = _known_rows(model, handed_out, [] if report.evidence.id is None else evaluation["id"].to_list())
    evaluation = _as_logged(evaluation, mine)
    if fault := fault_of_labels(model, Counter(evaluation["label"].cast(pl.String).to_list())):
        raise DataError(f"the labels of the evidence cannot be trusted: {fault}")
    rows = rows_of(evaluation, model.schema, config.gates.segments, timezone=model.config.window.timezone)
    trained_until = report.evidence.trained_until
    told = _told(champion, mine, since, model.log.shadow_rows(champion))
    before = _champion_entry(champion, evaluation, told, replayed, model.schema)
    return judge_contest(
        before,
        entry_of(report.result.version, said, evaluation["id"], model.schema),
        replace(rows, trained_until=trained_until),
        settings_of(config, model),
    )


def _known_rows(model: MonitoredModel, handed_out: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    """What the log has of rows with these ids: as they were handed out, else as they are now, also without a label."""
    columns = _as_written(model.config.columns, ())
    logged = canonical(handed_out, columns, model.schema)
    mine = logged.filter(pl.col("id").is_in(ids))
    others = model.log.rows_of(sorted({*ids}.difference(mine["id"])))
    if not len(others):
        return mine
    more = canonical(named(others, model.schema, model.config.columns), columns, model.schema)
    return pl.concat([mine, more], how="diagonal_relaxed")


def _as_logged(evaluation: pl.DataFrame, mine: pl.DataFrame) -> pl.DataFrame:
    """The rows of a report with the labels and times that the log has of them.

    Raises `DataError` where only some of them have times: days could not be told apart from what is left.
    """
    true = mine.select("id", true="label", at=pl.col("time").cast(pl.Datetime("us", "UTC")))
    said = pl.col("time") if "time" in evaluation.columns else pl.lit(None, pl.Datetime("us", "UTC"))
    found = evaluation.join(true, on="id", how="left", maintain_order="left").with_columns(
        label=pl.coalesce("true", "label"), time=pl.coalesce(pl.col("at"), said)
    )
    if 0 < (gone := found["time"].null_count()) < len(found):
        raise DataError(f"{gone} of {len(found)} rows of the evidence have no time; give `seconds` of all rows")
    return found.drop("true", "at")


def _evidence_frames(evidence: Evidence, schema: Schema) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The labelled rows, and what the champion and the challenger said of them, in the canonical layout."""
    n = len(evidence.label)
    ids = evidence.id if evidence.id is not None else [f"row {number}" for number in range(n)]
    target = Columns(label="label", prediction="prediction", id="id", time="time", segments=tuple(evidence.segments))
    rows = {"id": ids, "label": _column(evidence.label, "label")}
    if evidence.seconds is not None:
        if not all(_EARLIEST_SECONDS <= moment < _LATEST_SECONDS for moment in evidence.seconds):
            raise DataError("the evidence has `seconds` that are no moments; they count from 1970, in UTC")
        moments = pl.Series(evidence.seconds, dtype=pl.Float64) * 1e6
        rows["time"] = moments.cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    segments = {name: pl.Series(values, dtype=pl.String) for name, values in evidence.segments.items()}
    labelled = canonical(pl.DataFrame({**segments, **rows}), target, schema)
    if unread := labelled["label"].null_count():
        raise DataError(f"{unread} of {n} labels of the evidence are no {schema.task} labels; leave such rows out")
    told = []
    for who, said in evidence.said.items():
        scores = {f"score of {name}": pl.Series(values, dtype=pl.Float64) for name, values in said.score.items()}
        columns = Columns(id="id", prediction="prediction", score={name: f"score of {name}" for name in said.score})
        answers = {"id": ids, "prediction": _column(said.prediction, f"{who}.prediction"), **scores}
        frame = canonical(pl.DataFrame(answers), columns, schema)
        if said.latency_seconds and n:
            latency = [*said.latency_seconds[:n], *([None] * (n - len(said.latency_seconds)))]
            frame = frame.with_columns(pl.Series("latency_seconds", latency, pl.Float64))
        told.append(frame)
    return labelled, told[0], told[1]


def _column(values: list[Value], name: str) -> pl.Series:
    try:
        if {int, float} <= {type(one) for one in values} <= {int, float, type(None)}:  # 1 and 2.5 are of one kind
            return pl.Series(name, [None if one is None else float(one) for one in values], pl.Float64)
        return pl.Series(name, values)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the evidence has values of several types in {name}: {error}") from error


def write_report(folder: Path, report: Report) -> None:
    """Keep the report of a run in its folder; raises `ConflictError` for a second one."""
    unfinished = folder / f".{_REPORT}.{secrets.token_hex(4)}"
    try:
        unfinished.write_bytes(msgspec.json.encode(report))
        os.link(unfinished, folder / _REPORT)
    except FileExistsError as error:
        raise ConflictError("this run has been reported already; the first report counts") from error
    except OSError as error:
        raise StorageError(f"the report cannot be kept in {folder}: {cause(error)}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def read_report(folder: Path) -> Report | None:
    """What a run elsewhere has reported; None before. Raises `DataError` for one that an earlier release has kept."""
    try:
        return msgspec.json.decode((folder / _REPORT).read_bytes(), type=Report)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise DataError(f"the report in {folder / _REPORT} cannot be read: {error}; ask again") from error


def settings_of(config: RetrainConfig, model: MonitoredModel) -> Settings:
    """The settings of a configuration; the measure is by default that of the rule that asks for challengers."""
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
    """The version that is champion: by the registry, or else the one that answered most of the newest window."""
    if (known := registry.aliases(model.name).get(CHAMPION)) is not None:
        return known
    rows = canonical(handed_out, _as_written(model.config.columns, ()), model.schema)
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
    """Register the challenger with its contest, and the champion where the registry does not know it yet.

    Raises `DataError` where another request has made a version of that name: what was judged once, and perhaps rolled
    back, does not come again under its name.
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


# ---- frames to a contest -------------------------------------------------------------------------------------------


def rows_of(
    evaluation: pl.DataFrame,
    schema: Schema,
    segments: Sequence[str],
    *,
    trained_until: datetime | None = None,
    timezone: str = "UTC",
) -> Rows:
    """The rows of a contest from canonical rows with ``label``, and where there are such ``time`` and segments.

    Days are those of the time zone.
    """
    label = evaluation["label"]
    seconds = days = None
    if "time" in evaluation.columns and not evaluation["time"].null_count():
        local = evaluation["time"].dt.convert_time_zone(timezone).dt.date()
        days = local.cast(pl.Int32).cast(pl.Int64).to_numpy()
        seconds = evaluation["time"].dt.epoch("us").to_numpy() / 1e6
    found = {}
    for name in segments:
        if SEGMENT + name not in evaluation.columns:
            raise DataError(f"the rows have no column {name!r} to make segments of")
        values = evaluation[SEGMENT + name].cast(pl.String).fill_null("missing")
        if values.n_unique() > _MOST_SEGMENT_VALUES:
            raise DataError(f"{name!r} has {values.n_unique()} values; {_MOST_SEGMENT_VALUES} segments are the most")
        found[name] = values.to_numpy().astype(np.str_)
    return Rows(
        task=schema.task,
        labels=_plain(label, schema),
        seconds=seconds,
        segments=found,
        classes=tuple({*schema.classes, *label.unique().to_list()}) if schema.task is not Task.REGRESSION else (),
        positive=schema.positive,
        trained_until=None if trained_until is None else trained_until.astimezone(UTC).timestamp(),
        days=days,
    )


def entry_of(version: str, answers: pl.DataFrame, ids: pl.Series, schema: Schema) -> Entry:
    """What a version says of the rows with these ids, from canonical rows with ``id`` and ``prediction``."""
    if "prediction" not in answers.columns:
        raise DataError(f"the predictions of {version} have no column of predictions")
    if answers["id"].is_duplicated().any():
        twice = answers["id"].filter(answers["id"].is_duplicated())[0]
        raise DataError(f"the predictions of {version} have the id {twice!r} twice")
    asked = ids.is_in(answers["id"].implode())
    aligned = ids.to_frame("id").join(answers, on="id", how="left", maintain_order="left")
    said = aligned["prediction"]
    scores = {
        name.removeprefix(SCORE): aligned[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in aligned.columns
        if name.startswith(SCORE) and aligned[name].null_count() < len(aligned)
    }
    latency = aligned["latency_seconds"].drop_nulls() if "latency_seconds" in aligned.columns else pl.Series([])
    return Entry(
        version=version,
        predictions=_plain(said, schema),
        answered=said.is_not_null().to_numpy(),
        scores=scores,
        latency_seconds=latency.cast(pl.Float64).to_numpy(),
        asked=asked.to_numpy(),
    )


def _plain(values: pl.Series, schema: Schema) -> Texts | Floats:
    if schema.task is Task.REGRESSION:
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values.cast(pl.String).fill_null("").to_numpy().astype(np.str_)


def _as_written(columns: Columns, segments: Sequence[str]) -> Columns:
    """The columns under which `driftline.retrain.rows` has written the rows."""
    return replace(
        columns,
        id=columns.id or "id",
        time=columns.time or "time",
        version=columns.version or "version",
        prediction=columns.prediction or "prediction",
        label=columns.label or "label",
        segments=tuple(segments),
    )


def _answers(path: Path, columns: Columns, ids: pl.Series, schema: Schema) -> pl.DataFrame:
    """What a file says of rows, in the canonical layout; its ids are read as those of the rows are written."""
    opened = open_rows(path, columns.missing)
    parts = replace(columns, features=(), segments=(), time=None)
    tables = [Table(pl.DataFrame({columns.id: ids})), Table(opened.sample(), opened.typed)]
    _, texts = as_written(tables, parts)
    found, _ = read_alone(whole(opened.retyped(texts) if texts else opened), parts)
    if columns.id not in found.columns:
        raise DataError(
            f"{path.name} has no column {columns.id!r}, by which its rows are found; it has {found.columns}"
        )
    return canonical(found, columns, schema)
