"""The detector: a pure fold over windows that keeps to a budget of false alarms, over all series of a model together.

``step`` takes a state and one more window and gives the next state and what
is said of the window. A state is a plain value: encode it, and the fold goes on from there as if it had never stopped.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from driftline.detection.alarms import Alarms, DetectorVerdict, Episode, Outcome
from driftline.detection.baseline import Baseline, Learnable, learn, level_variance
from driftline.detection.findings import Finding, Subject, finding_of
from driftline.detection.scores import Evidence, WindowScores, evidence, normal_scores
from driftline.detection.series import Series, Values, is_informative
from driftline.errors import UsageError
from driftline.events import Window
from driftline.sketches import encode

LEAST_WINDOWS = 7
"""Fewer windows are not learnt from."""
LOOKBACKS = (1, 2, 4, 7, 14, 28)

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a detector spends its budget.

    ``budget`` is in windows for one false alarm; ``share`` is the part of it that this detector may spend, 0 to 1.
    ``period`` is the number of slots of the season, 1 for none. ``reserve`` is what the budget is divided by, for what
    the model of day effects gets wrong. An alarm closes after ``quiet`` windows. At most ``most_windows`` are learnt
    from: the first quarter, and the newest; the last ``hold_back`` not yet, and after every so many it is learnt again.
    A ``rolling`` baseline is that of the newest ones alone, also of those in an alarm: it follows what drifts slowly.
    ``words`` are what the windows are called.
    """

    budget: float = 90.0
    share: float = 1.0
    period: int = 7
    lookbacks: tuple[int, ...] = LOOKBACKS
    reserve: float = 2.0
    quiet: int = 7
    most_windows: int = 112
    hold_back: int = max(LOOKBACKS)
    rolling: bool = False
    words: str = "windows"

    def __post_init__(self) -> None:
        if not (self.budget > 0 and 0 < self.share <= 1 and self.period >= 1 and self.reserve >= 1 and self.lookbacks):
            raise UsageError(
                f"{self}: a budget, a share up to 1, a period, a reserve from 1 on and lookbacks are needed"
            )

    @property
    def threshold(self) -> float:
        """What -log p of a series has to pass, over the logarithm of its weight."""
        return math.log(self.reserve * self.budget * len(self.lookbacks) / self.share)


class Use(enum.StrEnum):
    """What a window is good for."""

    LEARN = "learn"
    """Judged, and learnt from later."""
    JUDGE = "judge"
    """Judged, and not learnt from: an incident, or maintenance."""
    SKIP = "skip"
    """Neither: a day that is no ordinary one."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesWindow:
    """The values of the J series in one window: ``y`` and effective rows ``n``, each shape (J,).

    ``slot`` is its place in the season, 0 to period - 1. Labels are in where it is ``labelled``: until then it says
    nothing of performance, label and coverage, and comes again when they are.
    """

    window: Window
    slot: int
    y: _Floats
    n: _Floats
    labelled: bool = True
    use: Use = Use.LEARN


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """A window that may be learnt from: ``position`` counts windows, ``at`` also the gaps between them.

    In a state that is stored its values are left out: these are stored with the window.
    """

    position: int
    at: int
    slot: int
    start: datetime
    y: _Floats
    n: _Floats
    use: Use = Use.LEARN


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """A new normal that was accepted: the values of the windows before a position are moved ``by`` so much, shape (J,),
    where these are held against newer ones.
    """

    before: int
    by: _Floats


@dataclass(frozen=True, slots=True, eq=False)
class DetectorState:
    """All that the detector knows after some windows. Encode it with `driftline.sketches.encode`; equal by value.

    ``positions`` counts all windows and ``steps`` those judged; ``learnt_until`` is the position before which windows
    were learnt from. ``recent`` are the scores of the series that every window speaks of, ``recent_labelled`` those of
    the series that rest on labels, for the last windows whose labels are in. ``quiet`` counts windows since the last
    evidence, None without any; ``disturbed_since`` is the position of the first window of that alarm. ``moves`` are in
    the ``history`` already.
    """

    reference: int
    positions: int
    steps: int
    at: int
    end: datetime
    baseline: Baseline
    learnt_until: int
    history: tuple[Remembered, ...]
    recent: tuple[WindowScores, ...] = ()
    recent_labelled: tuple[WindowScores, ...] = ()
    quiet: int | None = None
    disturbed_since: int = 0
    episode: Episode | None = None
    episodes: int = 0
    moves: tuple[Move, ...] = ()

    def without_values(self) -> DetectorState:
        """The same without the values of its history, which windows that are stored give back: `with_values`."""
        nothing = np.zeros(0)
        return replace(self, history=tuple(replace(one, y=nothing, n=nothing) for one in self.history))

    @property
    def bare(self) -> list[datetime]:
        """The starts of the windows of the history whose values were left out, in order of time."""
        return [one.start for one in self.history if not len(one.n)]

    def with_values(self, values: Mapping[datetime, SeriesWindow | Remembered]) -> DetectorState:
        """The same with the values of its history, by the start of the window.

        A window that is not stored any more is forgotten.
        """
        history = []
        for one in self.history:
            found = values.get(one.start)
            if len(one.n):
                history.append(one)
            elif found is not None:
                y = found.y
                for move in self.moves:
                    y = y + move.by if one.position < move.before else y
                history.append(replace(one, y=y, n=found.n))
        return replace(self, history=tuple(history))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DetectorState):
            return NotImplemented
        return encode(self) == encode(other)

    __hash__ = None  # type: ignore[assignment]  # arrays inside: equal by value, not hashable


@dataclass(frozen=True)
class Detector:
    """Judges windows of the given series; see `SeriesMap.series`. It holds no state."""

    series: tuple[Series, ...]
    settings: Settings = field(default_factory=Settings)

    @functools.cached_property
    def _clocks(self) -> tuple[_Ints, _Ints]:
        """The places of the series that every window speaks of, and of those that rest on labels."""
        late = np.array([one.role.rests_on_labels for one in self.series], np.bool_)
        return np.flatnonzero(~late), np.flatnonzero(late)

    @functools.cached_property
    def _sides(self) -> _Ints:
        return np.array([one.side for one in self.series], np.int64)

    @functools.cached_property
    def _log_weights(self) -> _Floats:
        with np.errstate(divide="ignore"):
            weights: _Floats = np.log(np.array([one.weight for one in self.series]))
        return weights

    def start(self, reference: Sequence[SeriesWindow]) -> DetectorState:
        """Learn from the reference windows, in order of time; at least `LEAST_WINDOWS`, those left out do not count."""
        kept, at = [], 0
        for position, one in enumerate(reference):
            at += 1 if position and reference[position - 1].window.end == one.window.start else 2
            kept.append(Remembered(position, at, one.slot, one.window.start, one.y, one.n, one.use))
        usable = [one for one in kept if one.use is Use.LEARN]
        if len(usable) < LEAST_WINDOWS:
            raise UsageError(f"{len(usable)} reference windows came; at least {LEAST_WINDOWS} are needed to learn from")
        return DetectorState(
            reference=len(reference),
            positions=len(reference),
            steps=0,
            at=at,
            end=reference[-1].window.end,
            baseline=self._learn(usable[-self.settings.most_windows :] if self.settings.rolling else usable),
            learnt_until=len(reference),
            history=tuple(kept),
        )

    def step(self, state: DetectorState, window: SeriesWindow) -> tuple[DetectorState, DetectorVerdict]:
        """Judge one more window, later than all before; return the next state and what is said of the window."""
        if len(window.y) != len(self.series):
            raise UsageError(f"{len(window.y)} values came; the detector has {len(self.series)} series")
        at = state.at + (1 if window.window.start == state.end else 2)
        if window.use is Use.SKIP:
            said = DetectorVerdict(window.window, Outcome.SKIPPED, episode=state.episode, reason="no ordinary day")
            return replace(state, at=at, end=window.window.end), said
        scores = normal_scores(state.baseline, Values(window.y, window.n), window.slot)
        always, late = self._clocks
        longest = max(self.settings.lookbacks)
        recent = (*state.recent, scores.of(always))[-longest:]
        labelled = state.recent_labelled
        if window.labelled and len(late):
            labelled = (*labelled, scores.of(late))[-longest:]
        found = self._evidence(state.baseline, recent, labelled if window.labelled else ())
        remembered = Remembered(state.positions, at, window.slot, window.window.start, window.y, window.n, window.use)
        after = replace(
            state,
            positions=state.positions + 1,
            steps=state.steps + 1,
            at=at,
            end=window.window.end,
            history=self._trimmed((*state.history, remembered)),
            recent=recent,
            recent_labelled=labelled,
        )
        findings, chance = self._findings(found, state.baseline, window.slot)
        after, verdict = self._judged(after, window.window, findings, chance)
        return self._learnt_again(after), verdict

    def fold(
        self, state: DetectorState, windows: Iterable[SeriesWindow]
    ) -> tuple[DetectorState, list[DetectorVerdict]]:
        """Judge windows one after the other. Law: folding on from any state on the way gives the same."""
        verdicts = []
        for window in windows:
            state, verdict = self.step(state, window)
            verdicts.append(verdict)
        return state, verdicts

    def accept(self, state: DetectorState, since: datetime) -> DetectorState:
        """Take the windows from ``since`` on, at least `LEAST_WINDOWS`, for the new normal.

        Earlier ones keep their variation and season, moved to the new level; an open alarm ends, and recent evidence is
        forgotten. Series of which the new windows say nothing stay as they are.
        """
        new = [one for one in state.history if one.start >= since]
        if len(new) < LEAST_WINDOWS:
            raise UsageError(
                f"{len(new)} windows since {since.isoformat()} came; a new normal needs at least {LEAST_WINDOWS}"
            )
        baseline, n = state.baseline, np.array([one.n for one in new])
        season = np.array([baseline.season_at(one.slot) for one in new])
        says = is_informative(n)
        precision = np.where(says, 1 / (baseline.tau_squared + 1 / n), 0.0)
        residual = np.array([one.y for one in new]) - baseline.level - season
        moved = says.any(axis=0)
        move = np.where(moved, (precision * residual).sum(axis=0) / np.where(moved, precision.sum(axis=0), 1.0), 0.0)
        first = new[0].position
        history = tuple(replace(one, y=one.y + move) if one.position < first else one for one in state.history)
        usable = [one for one in history if one.use is Use.LEARN or one.position >= first]
        learnt = self._learn(usable[-self.settings.most_windows :])
        of_tau, of_rows = level_variance(learnt.rho, n)
        learnt = replace(
            learnt,
            level_of_tau=np.where(moved, of_tau, learnt.level_of_tau),
            level_of_rows=np.where(moved, of_rows, learnt.level_of_rows),
        )
        return replace(
            state,
            baseline=learnt,
            learnt_until=state.positions,
            history=history,
            moves=(*state.moves, Move(first, move)),
            recent=(),
            recent_labelled=(),
            quiet=None,
            episode=None,
        )

    # ---- evidence ------------------------------------------------------------------------------------------

    def _evidence(
        self, baseline: Baseline, recent: Sequence[WindowScores], labelled: Sequence[WindowScores]
    ) -> Evidence:
        """Of all series; of those that rest on labels there is none where these are not in."""
        count = len(self.series)
        log_chance, lookback, shift = np.zeros(count), np.ones(count, np.int64), np.zeros(count)
        for places, windows in zip(self._clocks, (recent, labelled), strict=True):
            if len(places) and windows:
                found = evidence(windows, baseline.rho[places], self._sides[places], self.settings.lookbacks)
                log_chance[places], lookback[places], shift[places] = found.log_chance, found.lookback, found.shift
        return Evidence(log_chance, lookback, shift)

    def _findings(self, found: Evidence, baseline: Baseline, slot: int) -> tuple[list[Finding], float]:
        """What has more evidence than its share of the budget asks for, and the chance of the best.

        Of each subject the best, and the best of what broken data make: a column that drifts for months must not hide
        that its values go missing.
        """
        if not self.series:
            return [], math.inf
        excess = -found.log_chance + self._log_weights - self.settings.threshold
        usual = baseline.level + baseline.season_at(slot)
        best: dict[tuple[Subject, bool], Finding] = {}
        for place in np.argsort(-excess, kind="stable").tolist():
            if excess[place] <= 0:
                break
            series = self.series[place]
            chance = math.exp(-float(excess[place])) / self.settings.reserve
            lookback, shift = int(found.lookback[place]), float(found.shift[place])
            finding = finding_of(series, float(usual[place]), shift, lookback=lookback, chance=chance)
            best.setdefault((series.subject, finding.is_surely_pipeline), finding)
        return list(best.values()), _chance(float(excess.max()), self.settings.reserve)

    # ---- alarms --------------------------------------------------------------------------------------------

    def _judged(
        self, state: DetectorState, window: Window, findings: list[Finding], chance: float
    ) -> tuple[DetectorState, DetectorVerdict]:
        """Open, go on with or close the alarm; what follows an alarm closely is disturbed by it."""
        alarms, verdict = Alarms(state.quiet, state.episode, state.episodes).after(
            window, findings, chance, closes_after=self.settings.quiet, reason=self._learning(state)
        )
        disturbed_since = state.disturbed_since
        if findings and (state.quiet is None or state.quiet > self.settings.quiet):
            disturbed_since = state.positions - 1
        after = replace(
            state,
            quiet=alarms.quiet,
            disturbed_since=disturbed_since,
            episode=alarms.episode,
            episodes=alarms.episodes,
        )
        return after, verdict

    def _learning(self, state: DetectorState) -> str:
        """What is not known yet; empty where all is."""
        needed = 2 * self.settings.period
        if self.settings.period == 1 or state.baseline.season_is_learnt:
            return ""
        return f"season not learnt yet: learning, {min(state.positions, needed)} of {needed} {self.settings.words}"

    # ---- learning ------------------------------------------------------------------------------------------

    def may_learn_next(self, state: DetectorState) -> bool:
        """Whether the next step may learn again, for which it needs the values of the history."""
        return (state.steps + 1) % self._learns_every(state) == 0

    def _learns_every(self, state: DetectorState) -> int:
        """After so many steps it is learnt again."""
        hold_back, settled = self.settings.hold_back, state.baseline.windows >= self.settings.most_windows // 2
        return hold_back if settled else max(hold_back // 2, 1)

    def _learn(self, windows: Sequence[Remembered]) -> Baseline:
        learnable = Learnable(
            np.array([one.y for one in windows]),
            np.array([one.n for one in windows]),
            np.array([one.at for one in windows]),
            np.array([one.slot for one in windows]),
        )
        return learn(learnable, [one.kind for one in self.series], self.settings.period)

    def _learnt_again(self, state: DetectorState) -> DetectorState:
        """Learn from windows that are not held back, and from none since an alarm that is open began."""
        if state.steps % self._learns_every(state):
            return state
        most, end = self.settings.most_windows, state.positions - self.settings.hold_back
        if not self.settings.rolling and state.quiet is not None and state.quiet < self.settings.quiet:
            end = min(end, state.disturbed_since - self.settings.quiet)
        end = max(end, state.reference)
        if end == state.learnt_until:
            return state
        usable = [one for one in state.history if one.position < end and one.use is Use.LEARN]
        if len(usable) > most:
            first = 0 if self.settings.rolling else most // 4
            usable = [*usable[:first], *usable[first - most :]]
        if len(usable) <= state.baseline.windows and len(usable) < most:
            return state
        return replace(state, baseline=self._learn(usable), learnt_until=end)

    def _trimmed(self, history: tuple[Remembered, ...]) -> tuple[Remembered, ...]:
        """The windows that can still be learnt from: the first ones, and the newest from before the longest alarm that
        has not been waited for yet.
        """
        hold_back, most = self.settings.hold_back, self.settings.most_windows
        first, newest = most // 4, most - most // 4 + 2 * hold_back + self.settings.quiet
        return history if len(history) <= first + newest else (*history[:first], *history[-newest:])


def _chance(excess: float, reserve: float) -> float:
    """How often chance has so much evidence in a budget's period, over everything."""
    return math.exp(min(-excess, 700.0)) / reserve
