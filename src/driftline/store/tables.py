"""The tables of the state database. `driftline.store.migrations` creates them; a test holds the two together.

Times are stored as whole microseconds since 1970 (`Moment`), so that SQLite and PostgreSQL keep and compare them alike.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from driftline.events import Slice, slice_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware moment in UTC, as whole microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """To the database."""
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        """From the database."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class SliceText(sa.types.TypeDecorator[Slice]):
    """Which rows of a window are meant, as the text of a `Slice`: empty for all of them."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Slice | None, dialect: Any) -> str | None:
        """To the database."""
        return None if value is None else value.text

    def process_result_value(self, value: str | None, dialect: Any) -> Slice | None:
        """From the database."""
        return None if value is None else slice_of(value)


class NamesText(sa.types.TypeDecorator[tuple[str, ...]]):
    """Names, as the text of a JSON array."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Any) -> str | None:
        """To the database."""
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Any) -> tuple[str, ...] | None:
        """From the database."""
        return None if value is None else msgspec.json.decode(value, type=tuple[str, ...])


class _WithoutNul(sa.types.TypeDecorator[str]):
    """Text of PostgreSQL, which has no NUL character: a person may have written one, or asked for one."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """To the database."""
        return value if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


METADATA = sa.MetaData()
_TEXT = sa.String().with_variant(_WithoutNul(), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER

INBOX = sa.Table(
    "inbox",
    METADATA,
    sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("model", _TEXT, nullable=False),
    sa.Column("kind", _TEXT, nullable=False),  # predictions | labels
    sa.Column("arrived_at", Moment, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # MessagePack of checked events
    sa.Index("inbox_by_model", "model", "seq", "kind", "events"),
    sqlite_autoincrement=True,  # a number is never given twice, even after the newest row is gone
)

ATTEMPTS = sa.Table(
    "attempts",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),  # the oldest inbox row, with which the batch begins
    sa.Column("tried", sa.Integer, nullable=False),  # how often it was begun and not finished
)

RECEIPTS = sa.Table(
    "receipts",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("key", _TEXT, primary_key=True),  # the sender's Idempotency-Key
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("accepted", sa.Integer, nullable=False),
    sa.Column("arrived_at", Moment, nullable=False),
)

QUARANTINE = sa.Table(
    "quarantine",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("model", _TEXT, nullable=False, index=True),
    sa.Column("kind", _TEXT, nullable=False),
    sa.Column("arrived_at", Moment, nullable=False),
    sa.Column("row_index", sa.Integer, nullable=False),
    sa.Column("field", _TEXT, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("row", sa.LargeBinary, nullable=False),  # JSON as it came
)

KNOWN_RUNS = sa.Table(
    "known_runs",
    METADATA,
    sa.Column("number", _SERIAL, primary_key=True, autoincrement=True),  # of two runs with an id the higher is right
    sa.Column("model", _TEXT, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bits", sa.Integer, nullable=False),  # so many first bits of a key are the number of its part
    sa.Column("oldest", Moment, nullable=False),  # when its ids came, or their event time, where that is later
    sa.Column("newest", Moment, nullable=False),
    sa.Index("known_runs_by_model", "model", "number"),
    sqlite_autoincrement=True,  # a number is never given twice: what was read of a run is kept by it
)

KNOWN_PARTS = sa.Table(
    "known_parts",
    METADATA,
    sa.Column("run", sa.BigInteger, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # the rows of a run whose keys begin so, column by column
)

WAITING_LABELS = sa.Table(
    "waiting_labels",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("time", Moment, nullable=False),
    sa.Column("label", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

MODELS = sa.Table(
    "models",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),  # of what the profiles depend on; another one: rebuild
    sa.Column("rules", sa.LargeBinary, nullable=False),  # likewise of the rules; another one: judge again
    sa.Column("schema", sa.LargeBinary, nullable=False),
    sa.Column("reference", sa.LargeBinary, nullable=False),
    sa.Column("watermark", Moment),  # the latest event time seen
    sa.Column("latency", sa.LargeBinary),
    sa.Column("last_arrival", Moment),  # wall-clock time of the newest event that was processed
    sa.Column("log_marks", sa.LargeBinary),  # MessagePack: where each table of the log stood then; null: not known
    sa.Index("models_by_arrival", "model", "last_arrival"),  # spares a search the references, which stand in the rows
)

COUNTERS = sa.Table(
    "counters",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("key", _TEXT, primary_key=True),  # version, reason, channel, or empty
    sa.Column("value", sa.BigInteger, nullable=False),
)

WINDOWS = sa.Table(
    "windows",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("start", Moment, primary_key=True),
    sa.Column("version", _TEXT, primary_key=True),
    sa.Column("end", Moment, nullable=False),
    sa.Column("predictions", sa.BigInteger, nullable=False),
    sa.Column("labelled", sa.BigInteger, nullable=False),
    sa.Column("profile", sa.LargeBinary, nullable=False),
    sa.Column("labels_changed", sa.Boolean, nullable=False),  # the labelled part is older than the log
    sa.Column("settled", sa.Boolean, nullable=False),  # closed, labels in or overdue, judged since the last change
    sa.Column(
        "pushed", sa.Boolean, nullable=False, server_default=sa.false()
    ),  # its measures have gone out by remote write since it was settled
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),  # how often it was settled
    sa.Column("assess_at", Moment),  # the watermark from which on there is something to judge; null: at once
    sa.Column("segments", sa.LargeBinary),  # the profiles of its segments; null where the model has none
    # They spare a search the profiles, which stand in the rows.
    sa.Index("windows_to_assess", "model", "settled", "start", "assess_at"),
    sa.Index("windows_by_labels_changed", "model", "labels_changed", "start"),
    sa.Index("windows_to_push", "model", "pushed", "settled", "start", "version"),
)

SUMMARIES = sa.Table(
    "summaries",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("start", Moment, primary_key=True),
    sa.Column("slice", SliceText, primary_key=True),  # all rows, those of a version, or those of a segment
    sa.Column("body", sa.LargeBinary, nullable=False),  # MessagePack of what people are shown of the window
)

BRIEFS = sa.Table(
    "briefs",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("start", Moment, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # MessagePack of the summary of all rows without its columns
    sqlite_with_rowid=False,
)

DETECTORS = sa.Table(
    "detectors",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),  # of what the series depend on; another one: from anew
    sa.Column("begins", Moment, nullable=False),  # windows from here on are judged; it learnt from those before
    sa.Column("from_reference", sa.Boolean, nullable=False),  # or from the first windows of production
    sa.Column("learnt", sa.LargeBinary, nullable=False),  # the encoded detector with what it learnt first
    sa.Column("so_far", sa.LargeBinary, nullable=False),  # what it learnt until the last day, not for good
)

DETECTIONS = sa.Table(
    "detections",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("start", Moment, primary_key=True),
    sa.Column("values", sa.LargeBinary, nullable=False),  # the encoded values of the series in the window
    sa.Column("said", sa.LargeBinary),  # MessagePack of what was found in it; null where nothing was
)

DETECTOR_STATES = sa.Table(
    "detector_states",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("part", _TEXT, primary_key=True),  # of whole windows, or of those shorter than a day
    sa.Column("start", Moment, primary_key=True),  # of the last window that the state knows of
    sa.Column("kept", sa.Boolean, nullable=False),  # or only until a newer window is judged
    sa.Column("state", sa.LargeBinary, nullable=False),
)

FEEDBACK = sa.Table(
    "feedback",
    METADATA,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("model", _TEXT, nullable=False),
    sa.Column("kind", _TEXT, nullable=False),  # accept, expected, missed, ignore, incident
    sa.Column("since", Moment),  # event time, as until
    sa.Column("until", Moment),
    sa.Column("column", _TEXT, nullable=False),  # empty where it is about none, as alert
    sa.Column("alert", _TEXT, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("by", _TEXT, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("applied", sa.Boolean, nullable=False),  # windows were judged by it
    sa.Index("feedback_by_model", "model"),
)

JUDGEMENTS = sa.Table(
    "judgements",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("model", _TEXT, nullable=False),
    sa.Column("rule", _TEXT, nullable=False),
    sa.Column("window_start", Moment, nullable=False),
    sa.Column("window_end", Moment, nullable=False),
    sa.Column("judged_at", Moment, nullable=False),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("threshold", sa.Float, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False),  # what is known now; the others are what was known then
    sa.Column("bound", sa.Float),  # what the rule compared, at its own one-sided confidence
    sa.Column("confidence", sa.Float),
    sa.Column("slice", SliceText, nullable=False, server_default=""),
    sa.Index("judgements_by_window", "model", "rule", "window_start"),
)

ALERTS = sa.Table(
    "alerts",
    METADATA,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("model", _TEXT, nullable=False, index=True),
    sa.Column("rule", _TEXT, nullable=False),
    sa.Column("measure", _TEXT, nullable=False),
    sa.Column("severity", _TEXT, nullable=False),
    sa.Column("title", _TEXT, nullable=False),
    sa.Column("status", _TEXT, nullable=False),  # firing | resolved | corrected
    sa.Column("started_at", Moment, nullable=False),  # event time: start of the first bad window
    sa.Column("last_end", Moment, nullable=False),  # event time: end of the last bad window
    sa.Column("window_start", Moment, nullable=False),  # the window at which it fired
    sa.Column("window_end", Moment, nullable=False),
    sa.Column("value", sa.Float),  # as it was known when it fired
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("threshold", sa.Float, nullable=False),
    sa.Column("worst", sa.Float),
    sa.Column("findings", sa.LargeBinary, nullable=False),  # JSON: what changed, what did not
    sa.Column("fired_at", Moment, nullable=False),  # wall-clock time
    sa.Column("ended_at", Moment),
    sa.Column("acknowledged_by", _TEXT, nullable=False, server_default=""),  # empty: by nobody
    sa.Column("acknowledged_at", Moment),
    sa.Column("acknowledged_reason", _TEXT, nullable=False, server_default=""),
    sa.Column("muted", _TEXT, nullable=False, server_default=""),  # why nobody is told of it now; empty: they are
    sa.Column("bound", sa.Float),
    sa.Column("confidence", sa.Float),
    sa.Column("slice", SliceText, nullable=False, server_default=""),
    sa.Index("alerts_by_status", "status"),
)

TRANSITIONS = sa.Table(
    "transitions",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("alert", _TEXT, nullable=False, index=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("kind", _TEXT, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
)

NOTIFICATIONS = sa.Table(
    "notifications",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("channel", _TEXT, nullable=False),
    sa.Column("model", _TEXT, nullable=False, server_default=""),  # what is told of one model may go out in one message
    sa.Column("alert", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # JSON of a notice
    sa.Column("batch", sa.BigInteger),  # the first notice of the message that it was tried in: it is tried so again
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("refusals", sa.Integer, nullable=False, server_default="0"),  # those attempts that the receiver refused
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("last_error", _TEXT, nullable=False),
    sa.Column("state", _TEXT, nullable=False),  # waiting | delivered | refused | expired
    sa.Index("notifications_by_state", "state", "channel", "id"),
    sa.Index("notifications_by_alert", "alert", "id"),
)

TOLD = sa.Table(
    "told",
    METADATA,
    sa.Column("channel", _TEXT, primary_key=True),
    sa.Column("alert", _TEXT, primary_key=True),
    sa.Column("event", _TEXT, nullable=False),  # what the channel was told last
    sa.Column("at", Moment, nullable=False),
)

SILENCES = sa.Table(
    "silences",
    METADATA,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("match", sa.LargeBinary, nullable=False),  # JSON: field of an alert to a pattern
    sa.Column("starts_at", Moment, nullable=False),
    sa.Column("ends_at", Moment, nullable=False),
    sa.Column("by", _TEXT, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("digest", _TEXT, nullable=False, unique=True),  # SHA-256 of the token, which is stored nowhere
    sa.Column("role", _TEXT, nullable=False),  # read, write, admin
    sa.Column("models", NamesText, nullable=False),  # empty for all models
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("revoked_at", Moment),
    sa.Column("rate", _TEXT),  # such as 1000/s; none for no limit
)

AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("by", _TEXT, nullable=False),
    sa.Column("action", _TEXT, nullable=False),
    sa.Column("model", _TEXT, nullable=False),  # empty where it is about none, as subject
    sa.Column("subject", _TEXT, nullable=False),  # the id or name of what was changed
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("request", _TEXT, nullable=False, server_default=""),  # the id of the HTTP request; empty for a command
)

RETRAINING = sa.Table(
    "retraining",
    METADATA,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("model", _TEXT, nullable=False),
    sa.Column("trigger", _TEXT, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("by", _TEXT, nullable=False),  # a person, or "driftline"
    sa.Column("asked_at", Moment, nullable=False),  # wall-clock time
    sa.Column("event_time", Moment, nullable=False),  # the model's event time then
    sa.Column("stage", _TEXT, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),  # wall-clock time of the newest step
    sa.Column("note", _TEXT, nullable=False),  # why it is at this stage, in words
    sa.Column("labels", sa.BigInteger, nullable=False),  # how many labels the model had had then
    sa.Column("version", _TEXT, nullable=False),  # of the challenger; empty until there is one
    sa.Column("champion", _TEXT, nullable=False),  # the version that it is judged against; empty until then
    sa.Column("contest", sa.LargeBinary, nullable=False),  # JSON of the contest; null until it was held
    sa.Column("live_from", Moment),  # event time of the promotion
    # JSON of the rows that were handed out, with their hash; null before
    sa.Column("rows", sa.LargeBinary, nullable=False, server_default="null"),
    sa.Index("retraining_by_model", "model", "asked_at"),
    sa.Index("retraining_by_stage", "stage"),
)

RETRAINING_STEPS = sa.Table(
    "retraining_steps",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("request", _TEXT, nullable=False, index=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("stage", _TEXT, nullable=False),
    sa.Column("by", _TEXT, nullable=False),
    sa.Column("note", _TEXT, nullable=False),
)

RETRAINING_TOLD = sa.Table(
    "retraining_told",
    METADATA,
    sa.Column("request", _TEXT, primary_key=True),
    sa.Column("stage", _TEXT, primary_key=True),  # the webhook took the word of it, or refused it for good
)

RETRAINING_ATTEMPTS = sa.Table(
    "retraining_attempts",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("failed", sa.Integer, nullable=False),  # attempts to tell its webhook, since one that was taken
    sa.Column("due_at", Moment, nullable=False),  # wall-clock time of the next one
)

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", _TEXT, primary_key=True),  # what it is for: "model NAME", or a task that one process does
    sa.Column("holder", _TEXT, nullable=False),  # the process that has it; empty for none
    sa.Column("token", sa.BigInteger, nullable=False),  # one more each time that it is taken
    sa.Column("expires_at", Moment, nullable=False),  # by the clock of the database
)

PROCESSES = sa.Table(
    "processes",
    METADATA,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("role", _TEXT, nullable=False),  # all, api, worker, notify
    sa.Column("host", _TEXT, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("storage", _TEXT, nullable=False),  # as this machine has it
    sa.Column("started_at", Moment, nullable=False),  # by the clock of the database, as the next
    sa.Column("said_at", Moment, nullable=False),  # its newest sign of life
    sa.Column("expires_at", Moment, nullable=False),  # until when it is taken for alive without being heard of again
    sa.Column("status", sa.LargeBinary, nullable=False),  # JSON: problems, warnings, whether it is idle
)

CHANNELS = sa.Table(
    "channels",
    METADATA,
    sa.Column("channel", _TEXT, primary_key=True),
    sa.Column("memory", sa.LargeBinary, nullable=False),  # what is known of its receiver
)

CUTS = sa.Table(
    "cuts",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("before", Moment, nullable=False),  # event time: no event of before it is taken or kept
    sa.Column("period", _TEXT, nullable=False),  # of `keep.events` then, such as 400d
    sa.Column("at", Moment, nullable=False),  # wall-clock time
    sa.Column("finished", sa.Boolean, nullable=False),  # log and ids have none of them any more
)

HOLDS = sa.Table(
    "holds",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("by", _TEXT, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

FORGOTTEN_ROWS = sa.Table(
    "forgotten_rows",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("start", Moment, primary_key=True),  # of the window that they were in
    sa.Column("version", _TEXT, primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
)

FORGOTTEN_IDS = sa.Table(
    "forgotten_ids",
    METADATA,
    sa.Column("model", _TEXT, primary_key=True),
    sa.Column("digest", sa.LargeBinary, primary_key=True),  # keyed: what comes of the id later is known by it
    sa.Column("at", Moment, nullable=False),  # wall-clock time
)

FORGETTINGS = sa.Table(
    "forgettings",
    METADATA,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("model", _TEXT, nullable=False),
    sa.Column("by", _TEXT, nullable=False),
    sa.Column("reason", _TEXT, nullable=False),
    sa.Column("asked_at", Moment, nullable=False),
    sa.Column("ids", sa.LargeBinary),  # MessagePack of whose rows go; null once they are gone
    sa.Column("number", sa.BigInteger, nullable=False),  # of ids
    sa.Column("state", _TEXT, nullable=False),  # waiting | erasing | cleaning | done | stopped
    sa.Column("note", _TEXT, nullable=False),  # why it waits or was stopped, in words
    sa.Column("done_at", Moment),
    sa.Column("found", sa.LargeBinary),  # JSON of how many rows were erased, by where they were
    sa.Index("forgettings_by_state", "state", "model"),
)
