"""A check in a terminal: the verdict, the worst columns with both distributions, performance, and what else is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from driftline.export.bars import bars_of
from driftline.profiles import Column
from driftline.statistics.drift import number, percent

ROWS_SHOWN = 20
_SPARK_BARS = 10
_BLOCKS, _PLAIN_BLOCKS = " ▁▂▃▄▅▆▇█", " .:-=+*#%"
_SHORT = {"wasserstein": "shift"}
_SEGMENTS_SHOWN, _PAIRS_SHOWN = 10, 3


def renderables(
    report: Mapping[str, Any],
    profiles: Mapping[str, tuple[Column | None, Column | None]],
    *,
    plain: bool = False,
) -> Iterator[RenderableType]:
    """The parts of a report's page in a terminal, top to bottom, from its JSON document and its columns' profiles.

    ``plain`` draws with signs of ASCII.
    """
    count = len(report["alerts"])
    verdict = f"ALERT: {count} alert{'s' if count > 1 else ''} found" if count else "OK: no alert"
    yield Text(verdict, "bold red" if count else "bold green")
    drifted = sum(bool(column["drift"] and column["drift"]["drifted"]) for column in report["columns"])
    rows = report["rows"]
    yield Text(
        f"{rows['current']:,} current rows against {rows['reference']:,} of the reference; "
        f"{drifted} of {len(report['columns'])} columns drifted"
    )
    for alert in report["alerts"]:
        if alert["kind"] == "performance" or alert["column"] not in profiles:
            yield Text(cleaned(alert["message"]), "red")
    yield from _columns(report["columns"], profiles, plain=plain)
    yield from _performance(report)
    yield from _segments(report["segments"])
    yield from _dependence(report["dependence"])
    for note in report["notes"]:
        yield Text(f"note: {cleaned(note)}", "yellow")


def spark(shares: Sequence[float], tallest: float, *, plain: bool = False) -> str:
    """A row of blocks as high as the shares; what is above 0 is seen.

    >>> spark([0.0, 0.01, 0.5, 1.0], 1.0), spark([0.0, 0.01, 0.5, 1.0], 1.0, plain=True)
    (' ▁▄█', ' .=%')
    """
    blocks = _PLAIN_BLOCKS if plain else _BLOCKS
    last = len(blocks) - 1
    return "".join(blocks[max(round(share / tallest * last), 1) if share > 0 else 0] for share in shares)


def cleaned(text: str, *, keep: str = "") -> str:
    """Names come from strangers: nothing in them moves the cursor or rings the bell."""
    return "".join(letter if letter.isprintable() or letter in keep else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _columns(
    columns: Sequence[Mapping[str, Any]],
    profiles: Mapping[str, tuple[Column | None, Column | None]],
    *,
    plain: bool,
) -> Iterator[RenderableType]:
    shown = [column for column in columns if column["drift"] is None or column["drift"]["drifted"]]
    quiet = len(columns) - len(shown)
    if shown:
        table = _table(("column", "reference", "current", "drift", "what changed"))
        for column in shown[:ROWS_SHOWN]:
            drift = column["drift"]
            before, now = _sparks(column, profiles, plain=plain)
            words = "\n".join(column["changes"]) or column["problem"] or (drift or {}).get("reason") or ""
            table.add_row(
                Text(cleaned(column["column"]), "red" if drift else "dim"),
                Text(before, "dim"),
                Text(now),
                _drift(drift),
                Text(cleaned(words, keep="\n")),
            )
        yield Text()
        yield table
    if len(shown) > ROWS_SHOWN:
        yield Text(f"and {len(shown) - ROWS_SHOWN} more; --json and --html have them all")
    if quiet:
        count = "column" if quiet == 1 and shown else "1 column" if quiet == 1 else f"{quiet} columns"
        yield Text(f"{'The other ' if shown else ''}{count}: no drift")


def _sparks(
    column: Mapping[str, Any], profiles: Mapping[str, tuple[Column | None, Column | None]], *, plain: bool
) -> tuple[str, str]:
    before, now = profiles.get(column["column"], (None, None))
    bars = bars_of(before, now, part=(column["drift"] or {}).get("part"), bars=_SPARK_BARS)
    if bars is None:
        return "", ""
    return spark(bars.reference, bars.tallest, plain=plain), spark(bars.current, bars.tallest, plain=plain)


def _drift(drift: Mapping[str, Any] | None) -> str:
    if drift is None:
        return "–"
    if drift["value"] is None:
        return "yes"
    return f"{_SHORT.get(drift['measure'], drift['measure'])} {drift['value']:.2f}"


def _performance(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    if report["performance"] is None:
        return
    table = _table(("measure", "current", "95 % interval", "rows", "reference"), right=True)
    problems = []
    for name, measure in report["performance"].items():
        if measure["value"] is None:
            problems.append(f"{name}: {measure['problem']}")
            continue
        before = measure["reference"]
        table.add_row(
            name,
            _figure(measure["value"]),
            f"{_figure(measure['low'])} to {_figure(measure['high'])}",
            f"{measure['n']:,}",
            "–" if before is None or before["value"] is None else _figure(before["value"]),
        )
    yield Text()
    if table.row_count:
        yield table
    for problem in problems:
        yield Text(cleaned(problem), "dim")
    coverage = report["label_coverage"]
    if coverage is not None and coverage["value"] is not None and coverage["value"] < 1:
        yield Text(f"{percent(coverage['value'])} of the current rows have a label")


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else number(value)


def _segments(segments: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """The segments by how much worse than the reference they are, by their first measure."""
    rows = []
    for segment in segments:
        name, measure = next(iter(segment["performance"].items()), ("", None))
        if measure is None or measure["value"] is None:
            continue
        before = (measure["reference"] or {}).get("value")
        rows.append((-abs(measure["value"] - before) if before is not None else 1.0, segment, name, measure, before))
    if not rows:
        return
    rows.sort(key=lambda row: row[0])
    table = _table(("segment", rows[0][2], "95 % interval", "rows", "reference"), right=True)
    for _, segment, _, measure, before in rows[:_SEGMENTS_SHOWN]:
        table.add_row(
            Text(cleaned(f"{segment['column']} = {segment['value']}")),
            _figure(measure["value"]),
            f"{_figure(measure['low'])} to {_figure(measure['high'])}",
            f"{measure['n']:,}",
            "–" if before is None else _figure(before),
        )
    yield Text()
    yield table
    if len(rows) > _SEGMENTS_SHOWN:
        yield Text(f"and {len(rows) - _SEGMENTS_SHOWN} more segments, which changed less")


def _dependence(dependence: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    if dependence is None or not dependence["drifted"] or len(dependence["pairs"]) < 2:
        return
    table = _table(("relation", "reference", "current"), right=True)
    for pair in dependence["pairs"][:_PAIRS_SHOWN]:
        table.add_row(
            Text(cleaned(" and ".join(pair["columns"]))), f"{pair['reference']:.2f}", f"{pair['current']:.2f}"
        )
    yield Text()
    yield table


def _table(names: tuple[str, ...], *, right: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, name in enumerate(names):
        drawn = name in ("reference", "current") and not right
        table.add_column(
            name,
            justify="right" if right and at else "left",
            overflow="fold",
            no_wrap=drawn,
            min_width=_SPARK_BARS if drawn else None,
            ratio=1 if name == "what changed" else None,
        )
    return table
