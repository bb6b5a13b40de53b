"""Alarms: what is said of a window, and the episodes that people see, each of windows with evidence near each other."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from driftline.detection.findings import Finding, Subject
from driftline.detection.suspicion import Suspicion, suspect
from driftline.events import Window


class Outcome(enum.StrEnum):
    """What is said of a window."""

    LEARNING = "learning"
    OK = "ok"
    ALARM = "alarm"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Episode:
    """An alarm: from the first window with evidence until ``quiet`` windows without. ``number`` counts from 1.

    ``named`` are the subjects that somebody was told of, and ``kinds`` the kinds of change.
    """

    number: int
    opened: Window
    last: Window
    named: tuple[Subject, ...] = ()
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectorVerdict:
    """What is said of one window.

    ``chance`` is how often chance does as much within one budget's period, over everything: an alarm is below 0.5; None
    where nothing was judged. ``findings`` come by falling evidence. ``episode`` is the alarm that is
    open after the window. It ``notifies`` where the alarm opens, or names what it has not named yet; ``closed`` is the
    alarm that ended with this window.
    """

    window: Window
    outcome: Outcome
    chance: float | None = None
    findings: tuple[Finding, ...] = ()
    suspicion: Suspicion | None = None
    episode: Episode | None = None
    opens: bool = False
    notifies: bool = False
    closed: Episode | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarm that is open, how many windows ago there was evidence (None: never), and how many alarms there were."""

    quiet: int | None = None
    episode: Episode | None = None
    episodes: int = 0

    def after(
        self, window: Window, findings: Sequence[Finding], chance: float | None, *, closes_after: int, reason: str = ""
    ) -> tuple[Alarms, DetectorVerdict]:
        """Open, go on with or close the alarm, by what was found in one more window, the surest first.

        ``closes_after`` is how many windows without evidence end an alarm, at least 1.
        """
        before = self.episode
        if not findings:
            quiet = None if self.quiet is None else self.quiet + 1
            closes = before is not None and quiet is not None and quiet >= closes_after
            episode = None if closes else before
            ended = before if closes else None
            verdict = DetectorVerdict(window, Outcome.OK, chance, episode=episode, closed=ended, reason=reason)
            return replace(self, quiet=quiet, episode=episode), verdict
        suspicion = suspect(findings)
        told = [one for one in findings if one not in suspicion.muted]
        base = Episode(self.episodes + 1, window, window) if before is None else before
        subjects = [one.subject for one in told if one.subject not in base.named]
        kinds = sorted({one.change for one in told} - {*base.kinds})
        episode = replace(base, last=window, named=(*base.named, *subjects), kinds=(*base.kinds, *kinds))
        opens = before is None
        verdict = DetectorVerdict(
            window,
            Outcome.ALARM,
            chance,
            tuple(findings),
            suspicion,
            episode,
            opens,
            opens or bool(subjects) or bool(kinds),
            reason=reason,
        )
        return Alarms(0, episode, episode.number), verdict
