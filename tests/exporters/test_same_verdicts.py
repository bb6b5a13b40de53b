"""A stream through a real Driftline that a real Prometheus scrapes: exported rules fire when its own alerts do."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import yaml

from driftline.config.load import load
from driftline.exporters.prometheus_files import yaml_text
from driftline.exporters.prometheus_rules import ModelAlerts, groups_of
from driftline.rules.backtest import BUDGET
from tests.support.churn import MODEL
from tests.support.served import post, serving, wait_until_idle
from tests.support.servers import Prometheus, until

START, HOUR = datetime(2024, 3, 1, tzinfo=UTC), timedelta(hours=1)
KINDS = "abcdefgh"
ROWS = 80

CONFIG = """
models:
  churn:
    columns: {prediction: prediction, label: label, features: [x], segments: [zone]}
    reference: {path: reference.parquet}
    window: 1h
    labels: {expected_within: 2h, accepted_for: 30d}
    alerts:
      rules:
        - {name: once, measure: accuracy, below: 0.6}
        - {name: twice, measure: accuracy, below: 0.6, for: 2, severity: page}
        - {name: 'lasting "low" {{ $value }}', measure: accuracy, below: 0.6, keep_firing_for: 1}
        - {name: level, measure: accuracy, below: 0.75, confidence: 0.8, min_samples: 50, clear: 0.8}
        - {name: said, measure: prediction_drift, above: 1, severity: page}
        - {name: truth, measure: label_drift, above: 1, for: 2}
        - {name: moved, measure: drifted_features_ratio, above: 0.5}
        - {name: gaps, measure: missing_ratio, above: 0.2}
        - {name: zones, measure: accuracy, below: 0.6, segment: all, for: 2}
        - {name: north, measure: accuracy, below: 0.6, segment: {zone: north}}
        - {name: versions, measure: accuracy, below: 0.6, version: each}
storage: ./data
"""


class Hour:
    """What one hour of the stream is like; the others are as the reference."""

    def __init__(
        self,
        right: float = 0.9,
        kinds: str = KINDS,
        gaps: float = 0.0,
        versions: str = "1",
        north: float | None = None,
    ) -> None:
        self.right, self.kinds, self.gaps, self.versions = right, kinds, gaps, versions
        self.north = right if north is None else north

    def rows(self, number: int, rng: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        predictions, labels = [], []
        for at in range(ROWS):
            time = (START + number * HOUR + at * HOUR / ROWS).isoformat()
            label = rng.choice(self.kinds)
            zone = "north" if at % 2 else "south"
            said = label if rng.random() < (self.north if zone == "north" else self.right) else rng.choice(KINDS)
            x = None if rng.random() < self.gaps else rng.random()
            row = {"id": f"{number}-{at}", "time": time, "version": rng.choice(self.versions)}
            predictions.append({**row, "features": {"x": x, "zone": zone}, "prediction": said})
            labels.append({"id": row["id"], "time": time, "label": label})
        return predictions, labels


GOOD, BAD, SILENT = Hour(), Hour(right=0.2), None
STREAM: tuple[Hour | None, ...] = (
    GOOD,
    BAD,  # one bad hour, and then nobody asks the model for two
    SILENT,
    SILENT,
    GOOD,
    BAD,
    SILENT,
    BAD,  # two judged ones in a row
    GOOD,
    Hour(kinds="ab"),
    Hour(kinds="ab", gaps=0.6),
    Hour(right=0.2, versions="12"),  # two versions of which each has few rows
    Hour(right=0.72),
    Hour(right=1.0, north=0.3),  # two hours in which one zone alone is bad
    Hour(right=1.0, north=0.3),
    GOOD,
    GOOD,
)


@contextmanager
def scraped(folder: Path) -> Iterator[tuple[str, Callable[[], set[Named]]]]:
    """A served model; its address, and a look at what Prometheus makes of what it says now."""
    rng = random.Random(3)
    labels = rng.choices(KINDS, k=2000)
    said = [label if rng.random() < 0.9 else rng.choice(KINDS) for label in labels]
    zones = ["north", "south"] * 1000
    frame = pl.DataFrame({"x": [rng.random() for _ in labels], "zone": zones, "prediction": said, "label": labels})
    frame.write_parquet(folder / "reference.parquet")
    (folder / "driftline.yaml").write_text(CONFIG)
    model = load(folder / "driftline.yaml").models[MODEL]
    rules = groups_of([ModelAlerts(MODEL, HOUR, model.stale_after, model.rules)])
    with serving(folder / "driftline.yaml") as (_, address):
        config = {
            "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "driftline", "static_configs": [{"targets": [address.removeprefix("http://")]}]}
            ],
        }
        (folder / "prometheus").mkdir()
        (folder / "prometheus" / "rules.yml").write_text(yaml_text({"groups": rules}))
        prometheus = Prometheus(folder / "prometheus", yaml.safe_dump(config))

        def ask(path: str, **query: str) -> Any:
            return httpx.get(f"{prometheus.url}/api/v1/{path}", params=query, trust_env=False, verify=False).json()[
                "data"
            ]

        def look() -> list[set[Named]]:
            now = datetime.now(UTC).timestamp()

            def scraped_since() -> bool:
                found = ask("query", query="timestamp(driftline_ingest_queue_events)")["result"]
                return bool(found) and float(found[0]["value"][1]) > now

            until(scraped_since, "Prometheus has scraped what is new")
            kept = datetime.now(UTC)  # a slow scrape is dated when it began: what was judged meanwhile was the old one
            until(
                lambda: datetime.fromisoformat(ask("rules")["groups"][0]["lastEvaluation"]) > kept,
                "Prometheus has judged it",
            )
            found = {named(one["labels"]) for one in ask("alerts")["alerts"] if one["state"] == "firing"}
            [up] = ask("query", query="min_over_time(up[2s])")["result"]
            return [found] if up["value"][1] == "1" else []  # a scrape that took too long leaves no alert

        def firing() -> set[Named]:
            return until(look, "Prometheus has scraped in time")[0]  # type: ignore[no-any-return]

        try:
            yield address, firing
            [budget] = ask("query", query="driftline_alarm_budget")["result"]
            [alarms] = ask("query", query="driftline_alarms_total")["result"]
            assert budget["metric"]["model"] == alarms["metric"]["model"] == MODEL
            assert float(budget["value"][1]) == pytest.approx(365.25 / 90) and float(alarms["value"][1]) >= 0
        finally:
            prometheus.stop()


Named = tuple[str, str, str]
"""An alert: its rule, segment and version; the last two are empty where it has none."""


def named(labels: dict[str, str]) -> Named:
    return labels["rule"], labels.get("segment", ""), labels.get("version", "")


def own(address: str) -> set[Named]:
    """The alerts of its rules that a service itself says are firing; none is exported for its detector."""
    asked: dict[str, Any] = {"params": {"status": "firing"}, "trust_env": False, "verify": False}
    found = httpx.get(f"{address}/api/v1/alerts", **asked).json()["alerts"]
    alerts = [one for one in found if one["rule"] != BUDGET]
    segments = ["{column}={value}".format(**one["segment"]) if one["segment"] else "" for one in alerts]
    return {(one["rule"], part, one["version"] or "") for one, part in zip(alerts, segments, strict=True)}


def over_their_threshold(address: str) -> set[str]:
    """Outputs whose exposed distance is over its threshold, by any version."""
    found: dict[str, dict[str, float]] = {}
    for line in httpx.get(f"{address}/metrics", trust_env=False, verify=False).text.splitlines():
        for output in ("prediction", "label"):
            for what in ("score", "threshold"):
                if line.startswith(f"driftline_{output}_drift_{what}{{"):
                    key = f"{output} {line.partition('{')[2].rpartition('}')[0]}"
                    found.setdefault(key, {})[what] = float(line.rpartition(" ")[2])
    return {key.partition(" ")[0] for key, one in found.items() if "score" in one and one["score"] > one["threshold"]}


def test_hour_by_hour_both_have_the_same_alerts(tmp_path: Path) -> None:
    rng, seen = random.Random(1), set[Named]()
    with scraped(tmp_path) as (address, firing):
        for number, hour in enumerate(STREAM):
            if hour is None:
                continue
            predictions, labels = hour.rows(number, rng)
            assert post(address, "predictions", predictions)
            assert post(address, "labels", labels)
            wait_until_idle(address)
            assert firing() == own(address), f"before hour {number} ended"
            seen |= own(address)
            if number < 9:  # nothing has moved so far but what chance explains
                assert over_their_threshold(address) == set()
        mended = (START + 16 * HOUR).isoformat()  # late labels make an hour bad that was good
        assert post(address, "labels", [{"id": f"15-{at}", "time": mended, "label": "a"} for at in range(ROWS)])
        wait_until_idle(address)
        assert firing() == own(address)
        assert ("once", "", "") in own(address)
    whole = {"once", "twice", 'lasting "low" {{ $value }}', "level", "said", "truth", "moved", "gaps"}
    parts = {("zones", f"zone={zone}", "") for zone in ("north", "south")} | {("north", "zone=north", "")}
    assert seen == {(name, "", "") for name in whole} | parts | {("versions", "", number) for number in "12"}
