"""What the pages cost with a fleet: 500 models of 100 features and 365 windows each, beside a file of the same server.

    python -m benchmarks.pages [--quick] [--write] [--keep FOLDER]

The state is written as a worker leaves it: summaries, briefs and verdicts of every window, profiles of five models.
Then a real ``driftline serve`` answers. For each page: the time to the first byte, the processor time of the service,
and what is sent; in Chromium, the time until it is drawn. Each is the median of several, and stands beside the same of
`/static/page.css`: on a machine with other work, the ratio is to be believed and the milliseconds are not. At last ten
tabs refresh for a minute, and the memory of the service is told. `--write` puts it into docs/performance.md.
"""

from __future__ import annotations

import argparse
import http.client
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import psutil

from benchmarks.between import between, measured_now
from benchmarks.history import History, fill, store_alert, write_config
from driftline import clock
from driftline.config.load import load
from driftline.events import WHOLE
from driftline.monitoring.summary import MeasureView, WindowSummary, brief_of
from driftline.service.runtime import Service
from driftline.store.counters import SHOWN
from driftline.store.tables import BRIEFS, EPOCH

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- pages: python -m benchmarks.pages --write -->", "<!-- end of pages -->"
WHOLE_FLEET, QUICK_FLEET = History(500, 365, 100), History(30, 40, 20)
WITH_PROFILES = 5
TIMES = 15
TABS, MINUTE = 10, 60.0
FILE = "/static/page.css"
PAGES = {
    "the fleet": "/",
    "the fleet, one state": "/?state=ok",
    "a model": "/models/m000",
    "a model without rows in the log": "/models/m009",
    "its quarantine": "/models/m000/quarantine",
    "the system": "/system",
    "the changes": "/audit",
}
_MEASURES = {"accuracy": 0.95, "precision": 0.93, "recall": 0.91, "f1": 0.92, "roc_auc": 0.96, "log_loss": 0.3}
CHROMIUM = "/usr/bin/chromium"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a page costs: milliseconds to the first byte, and of the service's processor, and bytes that are sent."""

    first_byte: float
    processor: float
    unchanged: float
    sent: int
    unpacked: int


# ---- the fleet ------------------------------------------------------------------------------------------------------


def make(folder: Path, fleet: History) -> None:
    """Write the configuration and the state of a fleet."""
    path = write_config(folder, fleet)
    path.write_text(_in_teams(path.read_text(), fleet.models))
    service = Service(load(path))
    try:
        names = list(service.models)
        for name in names[:WITH_PROFILES]:
            fill(service.state, service.models[name], fleet.windows)
        with service.state.work() as work:
            store_alert(work, names[0], fleet.windows - 3)
        with service.state.read() as read:
            summaries = [msgspec.msgpack.decode(one, type=WindowSummary) for one in read.summaries.between(names[0])]
    finally:
        service.stop()
    _insert(Path(service.config.storage) / "state.db", names, summaries)


def _in_teams(text: str, models: int) -> str:
    """Give each model a team and tags."""
    for place in range(models):
        more = f"    team: team-{place % 12:02}\n    tags: [tier-{place % 3}, region-{place % 7}]\n"
        text = text.replace(f"  m{place:03}:\n", f"  m{place:03}:\n{more}")
    return text


def _insert(file: Path, names: Sequence[str], summaries: Sequence[WindowSummary]) -> None:
    """Insert the same windows of the other models, with values of their own, and with their verdicts and counters."""
    encode = msgspec.msgpack.Encoder().encode
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA synchronous=OFF")
        columns = [row[1] for row in database.execute("PRAGMA table_info(judgements)")]
        told = database.execute("SELECT * FROM judgements WHERE model = ? AND current", [names[0]]).fetchall()
        counters = database.execute("SELECT name, key, value FROM counters WHERE model = ?", [names[0]]).fetchall()
        rng = np.random.default_rng(1)
        for place, name in enumerate(names):
            moved = [_moved(one, float(by)) for one, by in zip(summaries, rng.beta(2, 20, len(summaries)), strict=True)]
            starts = [(one.start - EPOCH).total_seconds() * 1e6 for one in moved]
            briefs = [(name, int(start), encode(brief_of(one))) for start, one in zip(starts, moved, strict=True)]
            database.executemany(f"INSERT OR REPLACE INTO {BRIEFS.name} VALUES (?, ?, ?)", briefs)
            rows = [(name, int(start), WHOLE.text, encode(one)) for start, one in zip(starts, moved, strict=True)]
            database.executemany(
                "INSERT OR REPLACE INTO summaries (model, start, slice, body) VALUES (?, ?, ?, ?)", rows
            )
            if place < WITH_PROFILES:
                continue
            marks = ", ".join("?" * (len(columns) - 1))
            at = columns.index("model")
            copies = [(*row[1:at], name, *row[at + 1 :]) for row in told]
            database.executemany(f"INSERT INTO judgements ({', '.join(columns[1:])}) VALUES ({marks})", copies)
            database.executemany(
                "INSERT OR REPLACE INTO counters (model, name, key, value) VALUES (?, ?, ?, ?)",
                [(name, *one) for one in [*counters, (SHOWN, "", len(rows))]],
            )
            database.commit()  # so that what was written can leave the write-ahead log
        _fire(database, names)
        database.execute("UPDATE models SET last_arrival = ?", [int((clock.now() - EPOCH).total_seconds() * 1e6)])
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _moved(summary: WindowSummary, by: float) -> WindowSummary:
    """Return a summary with measures and labels that came late: the rows of this history have no labels."""
    seen = {
        name: MeasureView(value - by, value - by - 0.04, value - by + 0.03, 1200) for name, value in _MEASURES.items()
    }
    coverage = msgspec.structs.replace(summary.coverage, value=1.0 - by)
    late = ((86_400, summary.predictions // 2), (3 * 86_400, summary.predictions - summary.predictions // 2))
    return msgspec.structs.replace(
        summary,
        performance=seen,
        coverage=coverage,
        labelled=summary.predictions,
        label_delays=tuple(one for one in late if one[1]),
    )


def _fire(database: sqlite3.Connection, names: Sequence[str]) -> None:
    """Have every twentieth model fire, as the first one did."""
    asked = database.execute("SELECT * FROM alerts")
    columns = [one[0] for one in asked.description]
    first = dict(zip(columns, asked.fetchone(), strict=True))
    marks = ", ".join("?" * len(columns))
    for place, name in enumerate(names[::20]):
        severity = ("page", "warning", "info")[place % 3]
        row = first | {"id": f"{place:016x}", "model": name, "severity": severity, "status": "firing", "ended_at": None}
        database.execute(f"INSERT INTO alerts ({', '.join(columns)}) VALUES ({marks})", [row[one] for one in columns])


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run the service of a folder; give its address and its process."""
    command = [sys.executable, "-m", "driftline", "serve", "--port", "0"]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            raise SystemExit((folder / "serve.log").read_text()[-2000:])
        seen = psutil.Process(process.pid)
        _wait_idle(found[0])
        yield found[0], seen
    finally:
        process.terminate()
        process.wait(60)


def _wait_idle(address: str) -> None:
    until = clock.monotonic_seconds() + 120
    while clock.monotonic_seconds() < until:
        if msgspec.json.decode(_ask(address, "/ready")[1])["idle"]:
            return
        time.sleep(0.2)
    raise SystemExit("the service does not come to rest")


# ---- measuring ------------------------------------------------------------------------------------------------------


def _ask(address: str, path: str, **headers: str) -> tuple[float, bytes, Mapping[str, str], int]:
    """Ask on a connection of its own; give the milliseconds to the first byte, the body, the headers, the status."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.connect()
    began = time.perf_counter()
    connection.request(
        "GET", path, headers={"Accept": "text/html", **{k.replace("_", "-"): v for k, v in headers.items()}}
    )
    answer = connection.getresponse()
    taken = (time.perf_counter() - began) * 1000
    body = answer.read()
    connection.close()
    return taken, body, {name.lower(): value for name, value in answer.getheaders()}, answer.status


def _median_of(ask: Callable[[], float], process: psutil.Process) -> tuple[float, float]:
    """The median time of several, and the processor time of the service for one."""
    ask()
    before = sum(process.cpu_times()[:2])
    taken = [ask() for _ in range(TIMES)]
    return statistics.median(taken), (sum(process.cpu_times()[:2]) - before) * 1000 / TIMES


def cost(address: str, path: str, process: psutil.Process) -> Cost:
    """What a page costs, and what it costs to say that it has not changed."""
    _, unpacked, _, status = _ask(address, path)
    _, body, headers, _ = _ask(address, path, Accept_Encoding="gzip")
    if status != 200 or headers.get("content-encoding") != "gzip":
        raise SystemExit(f"{path}: {status} {headers}")
    first, processor = _median_of(lambda: _ask(address, path, Accept_Encoding="gzip")[0], process)

    def again() -> float:
        taken, _, _, status = _ask(address, path, Accept_Encoding="gzip", If_None_Match=headers["etag"])
        return taken if status == 304 else float("nan")

    _, unchanged = _median_of(again, process)
    return Cost(first, processor, unchanged, len(body), len(unpacked))


_WHEN_DRAWN = """async () => {
  for (;;) {
    const [drawn] = performance.getEntriesByName("first-contentful-paint");
    const loaded = performance.getEntriesByType("navigation")[0].loadEventEnd;
    if (drawn && loaded) return Math.max(drawn.startTime, loaded);
    await new Promise((done) => setTimeout(done, 5));
  }
}"""


def drawn(browser: Any, address: str, path: str) -> float:
    """The milliseconds until a page is loaded and the browser has drawn it, the median of several."""
    taken = []
    for _ in range(max(3, TIMES // 3)):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address + path, wait_until="load")
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        taken.append(_when_drawn(page))
        page.close()
    return statistics.median(taken)


def _when_drawn(page: Any) -> float:
    return float(page.evaluate(_WHEN_DRAWN))


def memory_of_tabs(browser: Any, address: str, process: psutil.Process, seconds: float) -> list[int]:
    """The bytes that the service holds before, while and after ten tabs refresh the fleet."""
    with ExitStack() as open_tabs:
        for _ in range(TABS):
            page = browser.new_page()
            open_tabs.callback(page.close)
            page.goto(address + "/")
        seen = [process.memory_info().rss]
        for _ in range(6):
            time.sleep(seconds / 6)
            seen.append(process.memory_info().rss)
    return seen


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the page if asked to."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="What the pages cost with a fleet.")
    parser.add_argument("--quick", action="store_true", help="a small fleet; only prints")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the state, and is taken again if it has one")
    given = parser.parse_args(arguments)
    fleet = QUICK_FLEET if given.quick else WHOLE_FLEET
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "driftline.yaml").exists():
            make(folder, fleet)
        from tests.web.ui.test_browser import ARGUMENTS

        with serving(folder) as (address, process), sync_playwright() as playwright:
            _, cold = _ask(address, "/")[0], process.memory_info().rss
            costs = {what: cost(address, path, process) for what, path in {"a file": FILE, **PAGES}.items()}
            browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
            times = {what: drawn(browser, address, path) for what, path in {"a file": FILE, **PAGES}.items()}
            held = memory_of_tabs(browser, address, process, 6.0 if given.quick else MINUTE)
            browser.close()
    lines = said(fleet, costs, times, [cold, *held])
    sys.stdout.write("\n".join(lines) + "\n")
    if given.write and not given.quick:
        PAGE.write_text(between(PAGE.read_text(), BEGIN, END, [*lines, "", measured_now()]))


# ---- saying it ------------------------------------------------------------------------------------------------------


def said(fleet: History, costs: Mapping[str, Cost], times: Mapping[str, float], held: Sequence[int]) -> list[str]:
    """The table, and the memory."""
    file = costs["a file"]
    lines = [
        f"{fleet.models:,} models of {fleet.features} features and {fleet.windows:,} windows:",
        "",
        "| | first byte, ms | × file | processor, ms | if unchanged, ms | drawn, ms | × file | gzip, kB | HTML, kB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for what, one in costs.items():
        ratio = one.first_byte / file.first_byte
        drawn_ratio = times[what] / times["a file"]
        lines.append(
            f"| {what} | {one.first_byte:.1f} | {ratio:.1f} | {one.processor:.1f} | {one.unchanged:.1f} "
            f"| {times[what]:.0f} | {drawn_ratio:.1f} | {one.sent / 1000:.1f} | {one.unpacked / 1000:.0f} |"
        )
    megabytes = ", ".join(f"{one / 1e6:.0f}" for one in held)
    return [
        *lines,
        "",
        f"Memory of the service after the first page, and while {TABS} tabs refresh, MB: {megabytes}.",
    ]


if __name__ == "__main__":
    main()
