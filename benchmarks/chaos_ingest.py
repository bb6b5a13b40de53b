"""A service that is killed again and again while four writers send: what it acknowledged is there, each event once.

python -m benchmarks.chaos_ingest [--kills N] [--minutes N] [--seed N] [--postgresql [--workers N] [--apis N]] [--s3]
                                  [--keep] [--forget]

Real processes of ``driftline serve`` are killed with SIGKILL at random moments, are paused by SIGSTOP for longer than
their leases are valid, and find the disk full (no file may grow); requests are torn. With ``--postgresql`` the state is
in a real PostgreSQL, which is killed and started again, and with ``--workers`` the service is several processes. With
``--s3`` log and blobs are in moto's server, behind a proxy that answers 500 and 503, hangs, cuts connections, and loses
answers of what was done.

Three writers post predictions and labels as JSON, NDJSON and Arrow, in batches of 1 to 50, some with an
Idempotency-Key that they send again until it is acknowledged; a fourth is the SDK with a spill folder, which may lose
nothing at all. Labels are corrected later, and one column is stored as a hash. With ``--keep`` events are kept for a
day of event time, which goes six times as fast; with ``--forget`` somebody has ids forgotten all the time.

In the end the log must have every acknowledged event that is neither forgotten nor too old, none twice, each with its
newest label, and no other; each window must count what the log has of it, and what was forgotten; a rebuild must find
no difference; and no notice of an alert may have come to its receiver in two messages with different keys.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

import driftline
from benchmarks.chaos_faults import REST_SECONDS, Service
from benchmarks.chaos_verdict import START, WRONG, Acknowledged, Pace, doubled, rebuild, verify, windows_at
from driftline.store.blobs import Blobs, Folder
from driftline.store.s3 import Bucket
from tests.support.postgresql import PostgreSQL
from tests.support.receiver import Server as Hook
from tests.support.receiver import serving as receiving
from tests.support.s3 import S3

WRITERS = ("json", "ndjson", "arrow", "sdk")
"""Each has a model of its own."""

SPELL_EVENTS = 240
"""So many events a model is right, and then wrong: it alerts again and again."""

CORRECTED = 100
"""So many of the newest labels are still corrected."""

FORGOTTEN_AT_ONCE = 5
SENT_SECONDS = 300.0
KEPT_SHORT = Pace(timedelta(seconds=60), timedelta(hours=1), "12h", "1d")


def write_config(folder: Path, database: str, storage: str, hook: str, pace: Pace) -> None:
    """Models with two inputs, one of them hashed, and short windows."""
    rows = {"x": [float(i % 9) for i in range(300)], "sky": ["sun", "rain", "fog"] * 100}
    targets = {"prediction": [i % 2 for i in range(300)], "label": [i // 2 % 2 for i in range(300)]}
    pl.DataFrame(rows | targets).write_parquet(folder / "reference.parquet")
    window = f"{pace.window // timedelta(minutes=1)}min"
    model = {
        "window": window,
        "columns": {"prediction": "prediction", "label": "label", "store": {"sky": "hash"}},
        "labels": {"expected_within": window, "accepted_for": pace.accepted_for},
        "reference": {"path": "reference.parquet"},
        "alerts": {"budget": "none", "rules": [{"name": "accuracy-low", "measure": "accuracy", "below": 0.75}]},
    }
    config = {
        "models": dict.fromkeys(WRITERS, model),
        "notify": [{"webhook": hook}],
        "database": database,
        "storage": storage,
        "keep": {"events": pace.keep},
    }
    (folder / "driftline.yaml").write_text(json.dumps(config))


def body_of(rows: list[dict[str, Any]], form: str) -> tuple[bytes, str]:
    """A batch in one of the forms that the service takes."""
    if form == "json":
        return json.dumps(rows).encode(), "application/json"
    if form == "ndjson":
        return "\n".join(map(json.dumps, rows)).encode(), "application/x-ndjson"
    flat = [{**{f"feature.{k}": v for k, v in row.pop("features", {}).items()}, **row} for row in map(dict, rows)]
    stream = io.BytesIO()
    pl.DataFrame(flat).write_ipc_stream(stream)
    return stream.getvalue(), "application/vnd.apache.arrow.stream"


class Writer:
    """Posts batches of one model, in one form, until told to stop; notes what was acknowledged."""

    def __init__(
        self, addresses: list[str], form: str, known: Acknowledged, stop: threading.Event, pace: Pace, seed: int
    ) -> None:
        self._addresses, self._form, self._known, self._stop, self._pace = addresses, form, known, stop, pace
        self._rng, self._client = random.Random(seed), httpx.Client(trust_env=False, timeout=3)
        self._surely = 1.0 if pace.keep != "forever" else 0.5  # what is deleted can be counted only if it was there

    def run(self) -> None:
        """Post one batch after the other."""
        number = 0
        while not self._stop.is_set():
            size = self._rng.choice((1, 3, 50))
            self._batch(range(number, number + size))
            number += size
            if self._rng.random() < 0.3:
                self._correct(number)

    def _batch(self, numbers: range) -> None:
        rng, known = self._rng, self._known
        times = {f"{self._form}-{one}": START + self._pace.event * one for one in numbers}
        rows = [
            {
                "id": id,
                "prediction": _said(number),
                "features": {"x": rng.random() * 9, "sky": rng.choice(("sun", "rain", "fog"))},
                "time": times[id].isoformat(),
            }
            for number, id in zip(numbers, times, strict=True)
        ]
        known.sent.update(times)
        if not self._post("predictions", rows, surely=rng.random() < self._surely):
            return
        known.predictions.update(times)
        if labelled := {id: _truth(id) for id in times if rng.random() < 0.7}:
            self._label(labelled, numbers.stop, surely=rng.random() < self._surely)

    def _correct(self, number: int) -> None:
        """Say of some of the newest labels that they were wrong."""
        newest = [*self._known.labels.items()][-CORRECTED:]
        corrected = {id: 1 - label for id, label in newest if label is not None and self._rng.random() < 0.03}
        if corrected:
            self._label(corrected, number, surely=True)

    def _label(self, labels: dict[str, int], number: int, *, surely: bool) -> None:
        time = (START + self._pace.event * number + timedelta(seconds=60)).isoformat()
        rows = [{"id": id, "label": label, "time": time} for id, label in labels.items()]
        acknowledged = self._post("labels", rows, surely=surely)
        self._known.labels.update(labels if acknowledged else dict.fromkeys(labels))
        if acknowledged:
            self._known.labelled.update(labels)

    def _post(self, kind: str, rows: list[dict[str, Any]], *, surely: bool) -> bool:
        """Whether a batch was acknowledged. ``surely``: it is sent again under one key until it is."""
        body, content = body_of(rows, self._form)
        headers = {"Content-Type": content}
        if surely:
            headers["Idempotency-Key"] = uuid.UUID(int=self._rng.getrandbits(128)).hex
        while True:
            address = f"{self._rng.choice(self._addresses)}/api/v1/models/{self._form}/{kind}"
            try:
                answer = self._client.post(address, content=body, headers=headers)
            except httpx.HTTPError:
                if not surely or self._stop.is_set():
                    return False
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                return True
            require_busy(answer)
            time.sleep(0.1)


def require_busy(answer: httpx.Response) -> None:
    """Have nothing said that does not mean that it can be sent again."""
    if answer.status_code not in (429, 503):
        raise SystemExit(f"{answer.status_code}: {answer.text}")


def _said(number: int) -> int:
    """What the model says of an event, of which `_truth` says the truth."""
    return (number + number // SPELL_EVENTS) % 2


def _truth(id: str) -> int:
    return int(id.rpartition("-")[2]) % 2


def log_by_sdk(monitor: driftline.Monitor, known: Acknowledged, stop: threading.Event) -> None:
    """Log one event after the other, as a model server does."""
    number = 0
    while not stop.is_set():
        one = monitor.log({"x": number % 9, "sky": "sun"}, prediction=number % 2, id=f"sdk-{number}")
        known.sent[str(one)] = None
        number += 1
        time.sleep(0.005)


def noting(work: Callable[[], None], failed: list[str]) -> None:
    """Write, and note what ended it: a writer that has ended shows nothing more."""
    try:
        work()
    except (Exception, SystemExit) as error:
        failed.append(f"{type(error).__name__}: {error}")
        raise


def ask_to_forget(
    addresses: list[str], known: dict[str, Acknowledged], stop: threading.Event, rng: random.Random
) -> None:
    """Have a few ids forgotten every other second: of what was just sent, and of what is in the log for long."""
    with httpx.Client(trust_env=False, timeout=10) as client:
        while not stop.wait(rng.uniform(0.2, 3.0)):
            model = rng.choice(WRITERS[:3])
            there = sorted(known[model].predictions.copy())
            ids = rng.sample(there, min(rng.randint(1, FORGOTTEN_AT_ONCE), len(there)))
            known[model].forgotten.update(ids)
            while ids:
                try:
                    address = f"{rng.choice(addresses)}/api/v1/models/{model}/forget"
                    answer = client.post(address, json={"ids": ids})
                except httpx.HTTPError:
                    time.sleep(0.2)
                    continue
                if answer.status_code == 202:
                    break
                require_busy(answer)
                time.sleep(0.2)


def wait_until_forgotten(address: str) -> int:
    """Wait until nothing is left to be forgotten; how many requests there were, as far as they are shown."""
    give_up, number = time.perf_counter() + REST_SECONDS, 0
    for model in WRITERS:
        while True:
            path = f"{address}/api/v1/models/{model}/forgettings"
            asked = httpx.get(path, timeout=30, trust_env=False).json()["forgettings"]
            if all(one["state"] == "done" for one in asked):
                break
            if time.perf_counter() > give_up:
                raise SystemExit(f"not everything is forgotten: {asked}")
            time.sleep(0.2)
        number += len(asked)
    return number


def main() -> int:
    """Kill, verify and print; 1 where something was lost, came twice or differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many faults")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no further faults after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--workers", type=int, default=0, help="0: one process does everything")
    parser.add_argument("--apis", type=int, default=2)
    parser.add_argument("--s3", action="store_true", help="log and blobs in S3, which fails too")
    parser.add_argument("--keep", action="store_true", help="keep events for a day of event time")
    parser.add_argument("--forget", action="store_true", help="have ids forgotten all the time")
    options = parser.parse_args()
    if options.workers and not options.postgresql:
        parser.error("--workers needs --postgresql")
    server, s3 = PostgreSQL() if options.postgresql else None, S3() if options.s3 else None
    try:
        with receiving() as hook:
            return run(options, server, s3, hook)
    finally:
        if server is not None:
            server.remove()
        if s3 is not None:
            s3.close()


def storage_of(folder: Path, s3: S3 | None) -> Blobs:
    """Return where log and blobs are; whoever asks for them in S3 meets its proxy."""
    if s3 is None:
        return Folder(folder / "driftline-data")
    s3.announce(DRIFTLINE_HASH_KEY=uuid.uuid4().hex)
    return Bucket.at(s3.address())


def run(options: argparse.Namespace, server: PostgreSQL | None, s3: S3 | None, hook: Hook) -> int:
    """Kill, verify and print; see `main`."""
    rng, pace = random.Random(options.seed), KEPT_SHORT if options.keep else Pace()
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
    storage = storage_of(folder, s3)
    database = f"sqlite:///{folder}/state.db" if server is None else server.new_database()
    write_config(folder, database, storage.root, hook.url, pace)
    service, stop = Service(folder, options, WRITERS, server, s3), threading.Event()
    service.start()
    known = {name: Acknowledged() for name in WRITERS}
    addresses = [one.address for one in service.apis]
    monitor = driftline.Monitor("sdk", url=addresses[0], spill=folder / "spill")
    works = [Writer(addresses, form, known[form], stop, pace, i).run for i, form in enumerate(WRITERS[:3])]
    works.append(lambda: log_by_sdk(monitor, known["sdk"], stop))
    if options.forget:
        works.append(lambda: ask_to_forget(addresses, known, stop, rng))
    failed: list[str] = []
    writers = [threading.Thread(target=noting, args=(work, failed)) for work in works]
    try:
        for writer in writers:
            writer.start()
        enough_at = time.perf_counter() + options.minutes * 60
        for kill in range(options.kills):
            if time.perf_counter() > enough_at:
                break
            service.live()
            service.fault()
            if (kill + 1) % 10 == 0:
                acknowledged = sum(len(one.predictions) for one in known.values())
                sys.stderr.write(f"{kill + 1} faults, {acknowledged} acknowledged\n")
        service.heal()
        stop.set()
        for writer in writers:
            writer.join()
        monitor.flush(SENT_SECONDS)
        monitor.close(60)
        service.rest()
    except BaseException:
        stop.set()
        service.kill()
        raise
    known["sdk"].predictions = set(known["sdk"].sent)  # whatever becomes of the service
    requests = wait_until_forgotten(addresses[0]) if options.forget else 0
    found: Counter[str] = Counter()
    for name in WRITERS:
        found.update(verify(storage, name, known[name], windows_at(addresses[0], name), pace))
    ended = service.stop()
    differing = sum(rebuild(folder, name) for name in WRITERS)
    report = {
        **found,
        "requests to forget": requests,
        "writers that ended by themselves": len(failed),
        "why": failed,
        "messages": len(hook.taken),
        "alerts told twice": len(doubled(hook.taken)),
        "windows that rebuild found to differ": differing,
        "SIGTERM": ended,
        "faults": dict(sorted(service.happened.items())),
        "SDK": str(monitor.stats),
        "folder": str(folder),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return int(any(report[name] for name in WRONG) or any(ended))


if __name__ == "__main__":
    raise SystemExit(main())
