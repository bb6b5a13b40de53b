"""Build what the API and the page show from the state, and from nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
from msgspec import structs

from driftline.alerts.message import AlertView, StepView
from driftline.alerts.view import OfModel, alert_view
from driftline.config.load import Config
from driftline.detection import Cadence
from driftline.errors import UnknownNameError, UsageError
from driftline.events import WHOLE, Schema, Segment, Slice
from driftline.monitoring.explanation import Explanation, explain_alert
from driftline.monitoring.guesses import ModelGuesses
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import WindowSummary
from driftline.retrain.views import RequestView, all_requests
from driftline.rules import Rule
from driftline.rules import State as VerdictState
from driftline.rules.backtest import BUDGET
from driftline.sketches import decode
from driftline.store.alerts import AlertRow, model_of_alert
from driftline.store.audit import AuditRow
from driftline.store.counters import ALARMS, INVALID, SHOWN, VERDICTS
from driftline.store.inbox import Inbox, QuarantinedRow
from driftline.store.judgements import Judgement
from driftline.store.log import EventLog, log_of
from driftline.store.marks import Mark, mark_of_alert, mark_of_model
from driftline.store.models import ModelRow
from driftline.store.overview import KnownModel, Overview
from driftline.store.retention import Cut, Hold, gone_words, held_words
from driftline.store.state import State, Work
from driftline.store.windows import KNOWN_WINDOWS
from driftline.text.numbers import count as number
from driftline.views.delays import LabelDelayView, label_delay
from driftline.views.features import FeatureView, feature_view, features_in
from driftline.views.fleet import FleetReader, FleetRow
from driftline.views.known import as_known_then
from driftline.views.lines import VersionLine, version_lines
from driftline.views.rules import RulesView, TriedView, rules_of, try_on_history
from driftline.views.segment_features import SegmentReader, wanted
from driftline.views.segments import SegmentsChanged, segments_changed
from driftline.views.stored import measures_of_reference, schema_of
from driftline.views.story import NOTICES_SHOWN, AlertStory, notices_of, receivers_of, segments_of, suspicion_of
from driftline.views.values import (
    DetectorView,
    ModelDetail,
    ModelView,
    SegmentsView,
    VerdictView,
    WindowView,
    verdict_view,
)

_REQUESTS_SHOWN = 20
_MOST_EXPLAINED = 500
_MOST_BESIDE = 50
_summary = msgspec.msgpack.Decoder(WindowSummary)
_DETECTOR_STATES = {VerdictState.OK: "ok", VerdictState.BREACH: "alarm", VerdictState.NODATA: "learning"}


@dataclass(frozen=True, slots=True)
class _Retained:
    """What is no longer kept of models, and what keeps it."""

    holds: Mapping[str, Hold]
    cuts: Mapping[str, Cut]
    forgotten: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, read: Work) -> _Retained:
        return cls(read.retention.holds(), read.retention.cuts(), read.retention.forgotten_windows())

    def notes(self, model: str) -> Iterator[str]:
        """Say it of a model."""
        if (hold := self.holds.get(model)) is not None:
            yield f"Held {held_words(hold)}: nothing of it is deleted"
        if (cut := self.cuts.get(model)) is not None:
            yield f"{gone_words(cut).capitalize()}; their windows keep their counts and values"
        if model in self.forgotten:
            windows, rows = (number(one) for one in self.forgotten[model])
            yield f"Rows were forgotten: {rows} of {windows} windows, which count them still"


class Views:
    """Reads the state for people and programs."""

    def __init__(
        self,
        config: Config,
        tasks: dict[str, str],
        state: State,
        inbox: Inbox,
        guesses: Mapping[str, ModelGuesses] | None = None,
        models: Mapping[str, MonitoredModel] | None = None,
    ) -> None:
        """Read of this state; ``models`` are those that this process has opened, whose logs have been looked at."""
        self._config, self._tasks, self._state, self._inbox = config, tasks, state, inbox
        self._guesses, self._opened = guesses or {}, models or {}
        self._segments = SegmentReader(self._log)
        self._beside: dict[tuple[str, datetime, tuple[str, ...]], tuple[int | None, list[FeatureView]]] = {}
        self._explained: dict[str, tuple[object, Explanation]] = {}  # by alert, with what it rests on
        self._usual: dict[str, tuple[bytes, Mapping[str, float]]] = {}
        self._since_start: dict[str, int] = {}
        self._delays: dict[str, tuple[tuple[datetime, int | None], LabelDelayView | None]] = {}
        self._fleet = FleetReader(config, tasks, state, inbox)

    def model_config(self, model: str) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""
        if model not in self._config.models:
            raise UnknownNameError("model", model, self._config.models)
        return self._config.models[model]

    def fleet(self, models: Collection[str] = ()) -> list[FleetRow]:
        """Return what is shown of these models, or of all of them, in a list; see `FleetReader.rows`."""
        return self._fleet.rows(models)

    def fleet_mark(self) -> tuple[int, ...]:
        """Return what is another whenever `fleet` may say something else."""
        return self._fleet.mark()

    def model_mark(self, model: str) -> Mark:
        """Return what is another whenever the pages of a model may say something else."""
        with self._state.read() as read:
            return self._configured(model), mark_of_model(read.connection, model, requests=_REQUESTS_SHOWN)

    def alert_mark(self, id: str) -> Mark:
        """Return what is another whenever the page of an alert may say something else; empty for an unknown one."""
        with self._state.read() as read:
            model = model_of_alert(read.connection, id)
            if model is None:
                return ()
            of_model = mark_of_model(read.connection, model, requests=_REQUESTS_SHOWN)
            return self._configured(model), of_model, mark_of_alert(read.connection, id, notices=NOTICES_SHOWN)

    def _configured(self, model: str) -> int:
        """Return a number of what is known of a model since the start, and of who is told of it."""
        if model not in self._since_start:
            config, tasks = self._config, self._tasks.get(model)
            said = (config.models.get(model), tasks, self._guesses.get(model), config.notify, model in config.retrain)
            self._since_start[model] = zlib.crc32(repr(said).encode())
        return self._since_start[model]

    def schema(self, model: str) -> Schema | None:
        """Return the shape of a model's events; None where no service has opened it yet."""
        with self._state.read() as read:
            stored = read.models.get(model)
        return None if stored is None else decode(stored.schema, Schema)

    def models(self) -> list[ModelView]:
        """Return all models, in the order of the configuration."""
        waiting = self._inbox.waiting_events()
        with self._state.read() as read:
            overview = Overview(read.connection)
            known, counters = overview.models(), overview.counters()
            retention = _Retained.of(read)
            labels, firing = overview.waiting_labels(), overview.firing()
            return [
                self._model(
                    read,
                    name,
                    known.get(name),
                    counters.get(name, {}),
                    waiting_labels=labels.get(name, 0),
                    waiting_events=waiting.get(name, 0),
                    firing=firing.get(name, 0),
                    retained=retention,
                )
                for name in self._config.models
            ]

    def model(self, model: str) -> ModelDetail:
        """Return one model; raises `UnknownNameError` for an unknown one."""
        self.model_config(model)
        with self._state.read() as read:
            known, counters = Overview(read.connection).models(model).get(model), read.counters.of(model)
            view = self._model(
                read,
                model,
                known,
                counters,
                waiting_labels=read.waiting_labels.count(model),
                waiting_events=self._inbox.waiting_events().get(model, 0),
                firing=len(read.alerts.find(model, status="firing")),
                retained=_Retained.of(read),
            )
            delay = None
            if known is not None and known.watermark is not None and view.labels:
                delay = self._label_delay(read, model, known.watermark, counters.get((SHOWN, "")))
        return ModelDetail(**structs.asdict(view), label_delay=delay)

    def _label_delay(self, read: Work, model: str, watermark: datetime, shown: int | None) -> LabelDelayView | None:
        """Return how late labels come; read anew where event time has gone on, or what is shown of a window changed."""
        before = self._delays.get(model)
        if before is None or before[0] != (watermark, shown):
            before = self._delays[model] = ((watermark, shown), label_delay(read, model, watermark))
        return before[1]

    def windows(
        self,
        model: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        version: str | None = None,
        newest: int | None = None,
        segment: str | None = None,
    ) -> list[WindowView]:
        """Return the windows that start in [start, end), in order of time; of one version or of all together.

        ``newest`` limits their number to the newest ones. ``segment`` is written as ``season:winter``. Verdicts are in
        the order of the rules: a window of all rows has the verdicts on every slice, one of a version those on all rows
        and its own, and one of a segment its own. Raises the errors of `slice`.
        """
        slice = self.slice(model, version=version, segment=segment)
        rules = [rule.name for rule in self.model_config(model).rules]
        with self._state.read() as read:
            bodies = read.summaries.between(model, start=start, end=end, slice=slice, newest=newest)
            summaries = [_summary.decode(body) for body in bodies]
            judged: list[Judgement] = []
            if summaries:
                first, last = summaries[0].start, summaries[-1].end
                only = slice if slice.segment is not None else None
                judged = read.judgements.find(model, rules=rules, slice=only, start=first, end=last)
            cut, lost = read.retention.cut(model), dict[datetime, int]()
            for (begin, of), rows in read.retention.forgotten(model).items():
                if slice.version in (None, of):
                    lost[begin] = lost.get(begin, 0) + rows
        verdicts: dict[datetime, list[VerdictView]] = {}
        for one in sorted(judged, key=lambda one: (rules.index(one.rule), one.slice)):
            if slice == WHOLE or one.slice.covers(slice):
                verdicts.setdefault(one.window_start, []).append(verdict_view(one))
        gone = {one.start: gone_words(cut) for one in summaries if cut is not None and one.start < cut.before}
        return [
            WindowView(one, verdicts.get(one.start, []), lost.get(one.start, 0), gone.get(one.start, ""))
            for one in summaries
        ]

    def as_known_then(self, model: str, windows: Sequence[WindowView], slice: Slice = WHOLE) -> list[WindowView]:
        """Return windows of a slice with the values at their first judgement; see `driftline.views.known`."""
        if not windows:
            return []
        rules = {rule.name: rule for rule in self.model_config(model).rules if rule.judges(slice)}
        first, last = windows[0].summary.start, windows[-1].summary.end
        with self._state.read() as read:
            known = read.judgements.first(model, rules, slice=slice, start=first, end=last)
        return as_known_then(windows, [(one, verdict_view(one)) for one in known], rules)

    def newest_judged(self, model: str) -> list[WindowView]:
        """Return the newest window that was judged, if there is one: the state of a model is derived from it."""
        self.model_config(model)
        with self._state.read() as read:
            start = read.windows.newest_settled_start(model)
        return [] if start is None else self.windows(model, start=start, end=start + timedelta(microseconds=1))

    def reference_measures(self, model: str) -> Mapping[str, float]:
        """Return the measures of the reference that have a value; computed once for a reference."""
        config = self.model_config(model)
        with self._state.read() as read:
            fingerprint = read.models.fingerprint(model)
            known = self._usual.get(model)
            if fingerprint is None or (known is not None and known[0] == fingerprint):
                return {} if known is None else known[1]
            stored = read.models.get(model)
        found = {} if stored is None else measures_of_reference(stored, config)
        self._usual[model] = (fingerprint, found)
        return found

    def version_lines(self, model: str, start: datetime, end: datetime, *, most_windows: int) -> list[VersionLine]:
        """Return a line a version, where several have answered in [start, end)."""
        with self._state.read() as read:
            return version_lines(read, model, start, end, most_windows=most_windows)

    def segments(self, model: str) -> list[WindowSummary]:
        """Return the segments of the newest judged window, sorted; empty before the first."""
        with self._state.read() as read:
            newest = read.windows.newest_settled_start(model)
            found = {} if newest is None else Overview(read.connection).summaries({model: newest}).get(model, {})
        return [_summary.decode(body) for slice, body in sorted(found.items()) if slice.segment is not None]

    def slice(self, model: str, *, version: str | None = None, segment: str | None = None) -> Slice:
        """Return the slice of a version, of a segment, or of all rows.

        Raises `UnknownNameError`, which names the known ones, for an unknown model, a version without predictions, a
        column without segments, and a value that has no segment; `UsageError` for both a version and a segment.
        """
        columns = self.model_config(model).columns.segments
        if version and not segment:
            with self._state.read() as read:
                versions = read.counters.versions(model)
            if version not in versions:
                raise UnknownNameError(f"version of {model}", version, versions)
        if not segment:
            return Slice(version or None)
        if version:
            raise UsageError("both `version` and `segment` came; segments are of all versions together, give one")
        name = max((one for one in columns if segment.startswith(f"{one}:")), key=len, default=None)
        if name is None:
            came, colon, _ = segment.partition(":")
            if not colon:
                raise UsageError(f"segment={segment} came; write a column and its value, such as season:winter")
            raise UnknownNameError("column of segments", came, columns)
        value, known = segment.removeprefix(f"{name}:"), self._guesses.get(model, ModelGuesses()).segments.get(name)
        if known is not None and value not in known:
            raise UnknownNameError(f"value of {name}", value, known)
        return Slice(segment=Segment(name, value))

    def segments_changed(
        self,
        model: str,
        *,
        measure: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest: int = 1,
    ) -> SegmentsChanged:
        """Say which segments became worse; see `driftline.views.segments.segments_changed`, also for what it raises."""
        config = self.model_config(model)
        with self._state.read() as read:
            return segments_changed(read, config, measure=measure, start=start, end=end, newest=newest)

    def feature(
        self,
        model: str,
        feature: str,
        *,
        window: datetime | None = None,
        against: datetime | None = None,
        segment: str | None = None,
    ) -> FeatureView:
        """Show one feature; see `driftline.views.features.feature_view`, also for what it raises.

        Of a ``segment``, written as ``season:winter``, the rows of the windows that are shown are read; see
        `driftline.views.segment_features`. Raises the errors of `slice` as well.
        """
        config, chosen = self.model_config(model), self.slice(model, segment=segment).segment
        with self._state.read() as read:
            found = feature_view(read, config, feature, window=window, against=against)
            if chosen is None or found.now is None:
                return replace(found, segment=chosen)
            asked = wanted(read, config, found, chosen)
        return self._segments.narrowed(found, asked)

    def _log(self, stored: ModelRow) -> EventLog:
        """Return the log of a model to read from: the one that this process has opened, if it has."""
        if stored.model in self._opened:
            return self._opened[stored.model].log
        return EventLog(log_of(self._config.blobs, stored.model), schema_of(stored), writer=False)

    def changes(self, *, limit: int, before: int | None = None, model: str | None = None) -> list[AuditRow]:
        """Return who changed what, when and why, the newest first; ``before`` the change of an id."""
        with self._state.read() as read:
            return read.audit.newest(limit, before=before, model=model)

    def quarantined(
        self, model: str, *, most: int, before: int | None = None, row_bytes: int | None = None
    ) -> list[QuarantinedRow]:
        """Return the newest rows of a model that were set aside; see `Inbox.quarantined`."""
        return self._inbox.quarantined(model, most=most, before=before, row_bytes=row_bytes)

    def refused(self, model: str) -> dict[str, int]:
        """Return how many rows of a model were refused or set aside so far, by kind of reason."""
        with self._state.read() as read:
            counters = read.counters.of(model)
        return {reason: number for (name, reason), number in sorted(counters.items()) if name == INVALID and number}

    def requests(self, model: str) -> list[RequestView]:
        """Return the newest requests for challengers for a model."""
        return all_requests(self._state, model, most=_REQUESTS_SHOWN)

    def alerts(
        self,
        model: str | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[AlertView]:
        """Return alerts, the newest window first: at most ``limit``, of those that follow the alert ``before``.

        Raises `UnknownNameError` for an unknown model or ``before``.
        """
        if model is not None:
            self.model_config(model)
        with self._state.read() as read:
            last = _known_alert(read, before) if before is not None else None
            return self._alert_views(read, read.alerts.find(model, status=status, before=last, most=limit))

    def alert(self, id: str) -> AlertView:
        """Return one alert; raises `UnknownNameError` for an unknown one."""
        with self._state.read() as read:
            return self._alert_views(read, [_known_alert(read, id)])[0]

    def explanation(self, id: str) -> Explanation:
        """Explain one alert; raises `UnknownNameError` for an unknown one, and if its model is not configured.

        It is judged again where a verdict of its model, or what people said of it, is another than the last time.
        """
        with self._state.read() as read:
            row = _known_alert(read, id)
            config = self.model_config(row.model)
            said = len(read.feedback.of(row.model)) if row.rule == BUDGET else 0
            rests_on = row, read.counters.of(row.model).get((VERDICTS, "")), said
            known = self._explained.get(id)
            if known is not None and known[0] == rests_on and not config.measures:
                return known[1]
            stored = read.models.get(row.model)
            log = self._log(stored) if config.measures and stored is not None else None
            found = explain_alert(config, read, row, log)
        if len(self._explained) >= _MOST_EXPLAINED:
            self._explained.clear()
        self._explained[id] = (rests_on, found)
        return found

    def story(self, id: str) -> AlertStory:
        """Return what there is to say of an alert besides itself; raises `UnknownNameError` for an unknown one."""
        with self._state.read() as read:
            row = _known_alert(read, id)
            found = AlertStory(
                suspicion=suspicion_of(read, row),
                notices=notices_of(read, id),
                receivers=receivers_of(read, self._config.notify, row),
                segments=segments_of(read, row),
                retrains=row.model in self._config.retrain,
            )
        requests = all_requests(self._state, row.model, most=_REQUESTS_SHOWN) if found.retrains else []
        return structs.replace(found, requests=[one for one in requests if one.asked_at >= row.fired_at])

    def features_in(self, model: str, start: datetime, names: Sequence[str]) -> list[FeatureView]:
        """Return some features in the window that starts at a moment, beside the reference; those that are known there.

        What was read last is kept until a verdict of the model is another one.
        """
        config, key = self.model_config(model), (model, start, tuple(names))
        with self._state.read() as read:
            rests_on = read.counters.of(model).get((VERDICTS, ""))
            known = self._beside.get(key)
            if known is not None and known[0] == rests_on:
                return known[1]
            found = features_in(read, config, start, names)
        if len(self._beside) >= _MOST_BESIDE:
            self._beside.clear()
        self._beside[key] = (rests_on, found)
        return found

    def rules(self, model: str) -> RulesView:
        """Return what the rules of a model say of its newest judged window, and how often they have fired."""
        config = self.model_config(model)
        with self._state.read() as read:
            return rules_of(read, config)

    def try_rule(self, model: str, rule: Rule) -> TriedView:
        """Return what a configured rule has fired, and what it would have by another threshold, ``for`` or end.

        Raises `UnknownNameError` for a model or the name of a rule that is not configured.
        """
        config = self.model_config(model)
        with self._state.read() as read:
            return try_on_history(read, config, rule)

    def _alert_views(self, read: Work, rows: Sequence[AlertRow]) -> list[AlertView]:
        steps = read.alerts.transitions(row.id for row in rows)
        judged, about = read.judgements.of_alerts(rows), told_of(self._config)
        return [
            alert_view(
                row,
                [StepView(step.at, step.kind, step.reason) for step in steps.get(row.id, [])],
                judged.get(row.id, []),
                about,
            )
            for row in rows
        ]

    def _model(
        self,
        read: Work,
        name: str,
        known: KnownModel | None,
        counters: Mapping[tuple[str, str], int],
        *,
        waiting_labels: int,
        waiting_events: int,
        firing: int,
        retained: _Retained,
    ) -> ModelView:
        totals: dict[str, int] = {}
        for (counter, _), value in counters.items():
            totals[counter] = totals.get(counter, 0) + value
        rules: tuple[Rule, ...] = self._config.models[name].rules
        guesses = self._guesses.get(name, ModelGuesses())
        windows = totals.get(KNOWN_WINDOWS)
        return ModelView(
            name=name,
            task=self._tasks[name],
            predictions=totals.get("predictions", 0),
            labels=totals.get("labels", 0),
            corrected_labels=totals.get("corrected_labels", 0),
            duplicate_events=totals.get("duplicate_events", 0),
            invalid_events=totals.get("invalid_events", 0),
            waiting_labels=waiting_labels,
            waiting_events=waiting_events,
            windows=read.windows.count(name) if windows is None else windows,
            watermark=known.watermark if known is not None else None,
            firing=firing,
            versions=sorted(key for (counter, key), value in counters.items() if counter == "predictions" and value),
            rules=[rule.words for rule in rules],
            positive=guesses.positive,
            notes=[*guesses.notes, *retained.notes(name)],
            hold=retained.holds.get(name),
            team=self._config.models[name].team,
            tags=list(self._config.models[name].tags),
            docs=self._config.models[name].docs,
            segments=[SegmentsView(column, list(values)) for column, values in guesses.segments.items()],
            detector=_detector_view(read, self._config.models[name], totals.get(ALARMS, 0)),
        )


def _detector_view(read: Work, config: ModelConfig, alarms: int) -> DetectorView:
    """Return the detector's state in the newest window that it judged, or in a day's where these are shorter."""
    if config.budget is None:
        return DetectorView("off", "alerts.budget is none", None, alarms)
    cadence = Cadence(config.window)
    found = read.judgements.newest(config.name, BUDGET, cadence.singles_a_day if cadence.below_a_day else 1)
    if not found:
        return DetectorView("learning", "no window was judged yet", str(config.budget), alarms)
    newest = next((one for one in reversed(found) if one.state == VerdictState.BREACH), found[-1])
    state = _DETECTOR_STATES[VerdictState(newest.state)]
    return DetectorView(state, newest.reason, str(config.budget), alarms)


def _known_alert(read: Work, id: str) -> AlertRow:
    row = read.alerts.get(id)
    if row is None:
        raise UnknownNameError("alert", id, ())
    return row


def told_of(config: Config) -> dict[str, OfModel]:
    """Return what is told of each model with its alerts."""
    return {name: OfModel(model.window.timezone, model.docs) for name, model in config.models.items()}
