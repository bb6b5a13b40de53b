"""Handle the reports of runs elsewhere: keep them in the run's folder, check them, and hold the contest here."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl

from driftline.errors import ConflictError, DataError, StorageError
from driftline.events import Schema
from driftline.monitoring.model import MonitoredModel
from driftline.profiles import Columns, canonical
from driftline.retrain.answers import answers_known, champion_entry, columns_as_written, entry_of, rows_of
from driftline.retrain.contests import settings_of
from driftline.retrain.facts import fault_of_labels
from driftline.retrain.options import RetrainConfig
from driftline.retrain.rows import named
from driftline.retrain.runners.runner import Report
from driftline.rules.contest import Contest, judge_contest
from driftline.rules.evidence import Evidence, Value
from driftline.text import cause

_EARLIEST_SECONDS, _LATEST_SECONDS = -62_135_596_800, 253_402_300_800
"""The years 1 to 9999."""
REPORT = "report.json"


def require_evidence(model: MonitoredModel, config: RetrainConfig, report: Report) -> None:
    """Raise `DataError` for a report of success without the evidence that a contest needs."""
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
    """Hold the contest of a run elsewhere: on the rows that it reported, by the configured gates.

    For a row whose id is in the log, label, time and the champion's answer are those of the log. Raises `DataError` for
    labels that cannot be trusted.
    """
    assert report.result is not None and report.evidence is not None  # or it would have been refused
    evaluation, replayed, said = _evidence_frames(report.evidence, model.schema)
    mine = _known_rows(model, handed_out, [] if report.evidence.id is None else evaluation["id"].to_list())
    evaluation = _as_logged(evaluation, mine)
    if fault := fault_of_labels(model, Counter(evaluation["label"].cast(pl.String).to_list())):
        raise DataError(f"the labels of the evidence cannot be trusted: {fault}")
    rows = rows_of(evaluation, model.schema, config.gates.segments, timezone=model.config.window.timezone)
    trained_until = report.evidence.trained_until
    told = answers_known(champion, mine, since, model.log.shadow_rows(champion))
    before = champion_entry(champion, evaluation, told, replayed, model.schema)
    return judge_contest(
        before,
        entry_of(report.result.version, said, evaluation["id"], model.schema),
        replace(rows, trained_until=trained_until),
        settings_of(config, model),
    )


def _known_rows(model: MonitoredModel, handed_out: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    """Return the log's rows with these ids, as they were handed out, else as they are now, even without a label."""
    columns = columns_as_written(model.config.columns, ())
    logged = canonical(handed_out, columns, model.schema)
    mine = logged.filter(pl.col("id").is_in(ids))
    others = model.log.rows_of(sorted({*ids}.difference(mine["id"])))
    if not len(others):
        return mine
    more = canonical(named(others, model.schema, model.config.columns), columns, model.schema)
    return pl.concat([mine, more], how="diagonal_relaxed")


def _as_logged(evaluation: pl.DataFrame, mine: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a report with the labels and times of the log, where that has them.

    Raises `DataError` if only some rows have times, because the others' days are then unknown.
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
    """Return the labelled rows, and the answers of champion and challenger, in the canonical layout.

    Raises `DataError` for times, labels and values that cannot be used.
    """
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
    """Store the report of a run in its folder; raises `ConflictError` for a second one, `StorageError` for the disk."""
    unfinished = folder / f".{REPORT}.{secrets.token_hex(4)}"
    try:
        unfinished.write_bytes(msgspec.json.encode(report))
        os.link(unfinished, folder / REPORT)
    except FileExistsError as error:
        raise ConflictError("this run has been reported already; the first report counts") from error
    except OSError as error:
        raise StorageError(f"the report cannot be kept in {folder}: {cause(error)}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def is_kept(folder: Path, report: Report) -> bool:
    """Return whether this report is the one stored in a run's folder; raises `StorageError` for the disk."""
    try:
        return (folder / REPORT).read_bytes() == msgspec.json.encode(report)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"the report in {folder / REPORT} cannot be read: {cause(error)}") from error


def read_report(folder: Path) -> Report | None:
    """Return the report of a run elsewhere; None before it has come.

    Raises `DataError` for one that an earlier release stored in another form.
    """
    try:
        return msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise DataError(f"the report in {folder / REPORT} cannot be read: {error}; ask again") from error
