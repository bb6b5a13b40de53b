"""Replays three years of days through a running service, over HTTP, as the SDK of a live model would."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx

from driftline.client import Monitor
from driftline.demo.weather import Day, WeatherModel
from driftline.errors import UnavailableError

MODEL = "seattle-weather"
VERSION = "2012"
_ZONE = ZoneInfo("America/Los_Angeles")
_LABEL_DELAY_DAYS = (1, 5)
_SEED = 2013
_PATIENCE_SECONDS = 60.0
_STEP_DAYS = 14


class Replay:
    """Sends days to a service: predictions on their day, labels one to five days later, corrections at the end."""

    def __init__(self, address: str, model: WeatherModel) -> None:
        self._address, self._model = address, model
        self._monitor = Monitor(MODEL, url=address, version=VERSION)
        self._http = httpx.Client(base_url=address, trust_env=False, timeout=30.0)
        self._ids: dict[date, str] = {}
        self._delays = random.Random(_SEED)

    def run(self, days: Sequence[Day], progress: Callable[[int], None]) -> None:
        """Replay the days in order; ``progress`` is called with how many are done."""
        due: defaultdict[date, list[Day]] = defaultdict(list)
        for start in range(0, len(days), _STEP_DAYS):
            step = days[start : start + _STEP_DAYS]
            self._predict(step)
            for day in step:
                due[day.date + timedelta(days=self._delays.randint(*_LABEL_DELAY_DAYS))].append(day)
                for known in due.pop(day.date, []):
                    self._label(known, known.weather, day.date)
            self._settle()
            progress(start + len(step))
        for when, late in sorted(due.items()):
            for known in late:
                self._label(known, known.weather, when)
        self._settle()
        progress(len(days))

    def correct(self, days: Sequence[Day], when: date) -> int:
        """Send the corrected label of each day whose label was wrong; return how many."""
        wrong = [day for day in days if day.corrected != day.weather]
        for day in wrong:
            self._label(day, day.corrected, when)
        self._settle()
        return len(wrong)

    def close(self) -> None:
        """End the SDK and its connection."""
        self._monitor.close()
        self._http.close()

    def _predict(self, days: Sequence[Day]) -> None:
        began = time.perf_counter()
        predicted = self._model.predict(days)
        latency_seconds = time.perf_counter() - began
        for day, (prediction, score) in zip(days, predicted, strict=True):
            self._ids[day.date] = self._monitor.log(
                day.features,
                prediction=prediction,
                score=score,
                id=f"seattle-{day.date}",
                time=_noon(day.date),
                latency_seconds=latency_seconds,
            )

    def _label(self, day: Day, label: str, when: date) -> None:
        self._monitor.label(self._ids[day.date], label, time=_noon(when))

    def _settle(self) -> None:
        """Wait until everything sent so far is acknowledged, processed and judged."""
        if not self._monitor.flush(_PATIENCE_SECONDS):
            raise UnavailableError(f"the service at {self._address} took no events: {self._monitor.stats.last_error}")
        give_up, pause = time.perf_counter() + _PATIENCE_SECONDS, 0.01
        while time.perf_counter() < give_up:
            answer = self._http.get("/ready").json()
            if answer["problems"]:
                raise UnavailableError(f"the service has trouble: {answer['problems']}")
            if answer["idle"]:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        raise UnavailableError(f"the service at {self._address} did not work its events in within a minute")


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=_ZONE).astimezone(UTC)
