"""Render the report of a check for a terminal: the verdict, the columns that drifted most, performance, notes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from driftline.lookalikes import shown_all
from driftline.reports.drawn import Profiles, bars_for
from driftline.reports.words import (
    RULE_STATES,
    classes_of,
    cleaned,
    fallen,
    figures_of,
    has_moved,
    is_compared,
    problems,
    segments_of,
    split_words,
)
from driftline.results.check import (
    CheckReport,
    ColumnReport,
    ComparedMeasure,
    DependenceReport,
    Drift,
    MeasureReport,
    Performance,
    RuleReport,
)
from driftline.rules import State
from driftline.text.numbers import effect, level, percent, percents

ROWS_SHOWN = 20
_SPARK_BARS = 10
_BLOCKS, _PLAIN_BLOCKS = " ▁▂▃▄▅▆▇█", " .:-=+*#%"
_PLAIN_CHARACTERS = str.maketrans({"→": "->", "≥": ">=", "–": "-", "…": "...", "\N{REPLACEMENT CHARACTER}": "?"})
_SHORT = {"wasserstein": "shift"}
_EFFECT_WORDS = {
    "wasserstein": "shift {} SD",
    "js": "js {}",
    "missing": "missing {}",
    "unseen": "unseen {}",
}
_ALERTS_SHOWN, _PARTS_SHOWN, _PAIRS_SHOWN, _NAME_SHOWN, _WORDS_SHOWN = 12, 10, 3, 80, 200


@dataclass(frozen=True, slots=True)
class Characters:
    """The characters of an encoding, in which texts and sparklines are written; an unknown one counts as ASCII."""

    encoding: str = "utf-8"

    @property
    def blocks(self) -> str:
        """Nine characters, from an empty block to a full one."""
        return _BLOCKS if _writes(self.encoding, _BLOCKS) else _PLAIN_BLOCKS

    def text(self, text: str, style: str = "", *, keep: str = "", longest: int = 0) -> Text:
        """Return a text cleaned, cut to the ``longest`` length if it is not 0, and in characters of the encoding."""
        if longest and len(text) > longest:
            text = text[: longest - 1] + "…"
        text = cleaned(text, keep=keep)
        if not _writes(self.encoding, text):
            encoding = self.encoding if _writes(self.encoding, "") else "ascii"
            text = text.translate(_PLAIN_CHARACTERS).encode(encoding, "backslashreplace").decode(encoding)
        return Text(text, style)

    def spark(self, shares: Sequence[float], tallest: float) -> str:
        """Return a sparkline: a block for each share; every share above 0 is visible.

        >>> shares = [0.0, 0.01, 0.5, 1.0]
        >>> Characters().spark(shares, 1.0), Characters("ascii").spark(shares, 1.0)
        (' ▁▄█', ' .=%')
        """
        blocks = self.blocks
        last = len(blocks) - 1
        return "".join(blocks[max(round(share / tallest * last), 1) if share > 0 else 0] for share in shares)


@functools.lru_cache(maxsize=256)
def _writes(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def renderables(report: CheckReport, profiles: Profiles, *, encoding: str = "utf-8") -> Iterator[RenderableType]:
    """Yield the parts of a report for a terminal, top to bottom; ``profiles`` are those of its columns.

    Only characters of the ``encoding`` are used.
    """
    characters = Characters(encoding)
    yield from _verdict(report, profiles, characters)
    yield from _columns([*report.columns.values()], profiles, characters)
    yield from _performance(report, characters)
    yield from _rules(report.rules, characters)
    yield from _parts(segments_of(report), "segments", "segment", characters)
    for change in report.segment_changes:
        if has_moved(change) and (words := split_words(change)):
            yield characters.text(words)
    yield from _parts(classes_of(report), "classes", "class", characters)
    yield from _dependence(report.dependence, characters)
    yield from _remarks(report, characters)


def _verdict(report: CheckReport, profiles: Profiles, characters: Characters) -> Iterator[RenderableType]:
    count = len(report.alerts)
    verdict = f"ALERT: {count} alert{'s' if count > 1 else ''} found" if count else "OK: no alert"
    yield Text(verdict, "bold red" if count else "bold green")
    drifted = sum(_drifted(column) for column in report.columns.values())
    rows = report.rows
    yield Text(
        f"{rows.current:,} current rows against {rows.reference:,} of the reference; "
        f"{drifted} of {len(report.columns)} columns drifted"
    )
    silent = sum(rule.state is State.NODATA for rule in report.rules)
    if silent:
        yield Text(f"{silent} of {len(report.rules)} rules could not be judged, see below", "yellow")
    if report.positive is not None and report.positive.doubt:
        yield characters.text(report.positive.doubt, "bold yellow")
    told = ("performance", "rule")
    alerts = [alert for alert in report.alerts if alert.kind in told or alert.column not in profiles]
    for alert in alerts[:_ALERTS_SHOWN]:
        yield characters.text(alert.message, "red")
    if len(alerts) > _ALERTS_SHOWN:
        yield Text(f"and {len(alerts) - _ALERTS_SHOWN} more such alerts; --json and --html have them all")
    if report.guesses:
        yield characters.text(f"guessed: {'; '.join(report.guesses)}", "dim")


# ---- columns -----------------------------------------------------------------------------------------------


def _drifted(column: ColumnReport) -> bool:
    return column.drift.drifted


def _columns(columns: Sequence[ColumnReport], profiles: Profiles, characters: Characters) -> Iterator[RenderableType]:
    shown = [column for column in columns if column.drift.value is None or _drifted(column)]
    quiet = len(columns) - len(shown)
    told = shown_all(column.column for column in columns)
    if shown:
        table = _table(("column", "reference", "current", "drift", "what changed"))
        for column in shown[:ROWS_SHOWN]:
            before, now = _sparks(column, profiles, characters)
            table.add_row(
                characters.text(_named(column, told), "red" if _drifted(column) else "dim", longest=_NAME_SHOWN),
                Text(before, "dim"),
                Text(now),
                characters.text(_size(column.drift)),
                _words(column, characters),
            )
        yield Text()
        yield table
        if smallest := _least_effects(shown[:ROWS_SHOWN]):
            yield Text(f"minimum effect sizes (--floor): {', '.join(smallest)}", "dim")
    if len(shown) > ROWS_SHOWN:
        yield Text(f"and {len(shown) - ROWS_SHOWN} more; --json and --html have them all")
    if quiet:
        count = "column" if quiet == 1 and shown else "1 column" if quiet == 1 else f"{quiet} columns"
        yield Text(f"{'The other ' if shown else ''}{count}: no drift")


def _named(column: ColumnReport, told: Mapping[str, str]) -> str:
    name = told[column.column]
    return name if column.role == "feature" else f"{name} ({column.role})"


def _words(column: ColumnReport, characters: Characters) -> Text:
    """List what changed, one change a line, after the part of the column that drifted unless the changes name it."""
    drift = column.drift
    lines = [line for line in column.changes if line] or [column.problem or drift.reason]
    part = drift.part
    if part and not any(line.startswith(part) for line in lines):
        lines = [f"{part}:", *lines]
    return Text("\n").join([characters.text(line, longest=_WORDS_SHOWN) for line in lines])


def _sparks(column: ColumnReport, profiles: Profiles, characters: Characters) -> tuple[str, str]:
    bars = bars_for(column, profiles, _SPARK_BARS)
    if bars is None:
        return "", ""
    return characters.spark(bars.reference, bars.tallest), characters.spark(bars.current, bars.tallest)


def _size(drift: Drift) -> str:
    if drift.value is None:
        return "yes" if drift.drifted else "–"
    measure = drift.measure or ""
    return f"{_SHORT.get(measure, measure)} {effect(drift.value)}"


def _least_effects(columns: Sequence[ColumnReport]) -> list[str]:
    """List the minimum effect size of each measure in the table."""
    drifts = [column.drift for column in columns if column.drift.value is not None]
    floors = {drift.measure: drift.threshold for drift in drifts if drift.threshold is not None}
    return [words.format(effect(floors[name])) for name, words in _EFFECT_WORDS.items() if name in floors]


# ---- performance and relations -----------------------------------------------------------------------------


def _performance(report: CheckReport, characters: Characters) -> Iterator[RenderableType]:
    if report.performance is None:
        return
    known = {name: measure for name, measure in report.performance.items() if measure.value is not None}
    yield Text()
    if known:
        table = _table(("measure", "current", _interval_of(known.values()), "rows", "reference", ""), right=True)
        for name, measure in known.items():
            said, style = ("worse", "red") if measure.worse else ("", "")
            table.add_row(Text(name), *_figures(measure, characters), said, style=style)
        yield table
    for problem in problems(report.performance):
        yield characters.text(problem, "dim")
    coverage = report.label_coverage
    if coverage is not None and coverage.value is not None and coverage.value < 1:
        yield Text(f"{percent(coverage.value)} of the current rows have a label")


def _rules(rules: Sequence[RuleReport], characters: Characters) -> Iterator[RenderableType]:
    """List the rules; the reason of a breach is with the alerts, so that only its condition is repeated here."""
    if not rules:
        return
    table = _table(("rule", "severity", "verdict", "why"))
    for rule in rules:
        state = rule.state
        why = rule.condition if state is State.BREACH else rule.reason
        table.add_row(
            characters.text(rule.rule, "red" if state is State.BREACH else "", longest=_NAME_SHOWN),
            Text(rule.severity),
            Text(RULE_STATES[state], "yellow" if state is State.NODATA else ""),
            characters.text(why, longest=_WORDS_SHOWN),
        )
    yield Text()
    yield table


def _parts(
    parts: Sequence[tuple[str, Performance]], kind: str, word: str, characters: Characters
) -> Iterator[RenderableType]:
    """List segments or classes with a measure that is worse than on the reference, worst first."""
    if not parts:
        return
    worse = fallen(parts)
    compared = sum(is_compared(measures) for _, measures in parts)
    yield Text()
    if not worse:
        nothing = "none is worse than on the reference" if compared else "the reference has nothing to compare with"
        yield Text(f"{len(parts)} {word if len(parts) == 1 else kind}: {nothing}; --json and --html tell them apart")
        return
    interval = _interval_of(part.measure for part in worse)
    table = _table((word, "worse in", "current", interval, "rows", "reference"), right=True)
    for part in worse[:_PARTS_SHOWN]:
        table.add_row(
            characters.text(part.where, longest=_NAME_SHOWN), Text(part.name), *_figures(part.measure, characters)
        )
    yield table
    if len(worse) > _PARTS_SHOWN:
        yield Text(f"and {len(worse) - _PARTS_SHOWN} more that are worse; --json and --html have them all")
    if compared > len(worse):
        yield Text(f"{compared - len(worse)} of {len(parts)} {kind}: no worse than on the reference")
    if compared < len(parts):
        yield Text(f"{len(parts) - compared} of {len(parts)} {kind}: nothing to compare on both sides")


def _interval_of(measures: Iterable[MeasureReport]) -> str:
    return f"{level(next(iter(measures)).confidence)} interval"


def _figures(measure: ComparedMeasure, characters: Characters) -> tuple[Text, ...]:
    """Return the cells of a measure: its value, interval, number of rows, and the reference's value."""
    value, low, high, before = figures_of(measure)
    cells = (value, "–" if "–" in (low, high) else f"{low} to {high}", f"{measure.n:,}", before)
    return tuple(characters.text(cell) for cell in cells)


def _dependence(dependence: DependenceReport | None, characters: Characters) -> Iterator[RenderableType]:
    """List the pairs of columns whose relation changed; a single one is in the alert already."""
    if dependence is None or not dependence.drifted or len(dependence.pairs) < 2:
        return
    table = _table(("relation", "reference", "current"), right=True)
    for pair in dependence.pairs[:_PAIRS_SHOWN]:
        names = characters.text(" and ".join(shown_all(pair.labels).values()), longest=2 * _NAME_SHOWN)
        table.add_row(names, effect(pair.reference), effect(pair.current))
    yield Text()
    yield table
    if len(dependence.pairs) > _PAIRS_SHOWN:
        yield Text("and more; --json and --html have them")


def _remarks(report: CheckReport, characters: Characters) -> Iterator[RenderableType]:
    repeated = report.duplicates
    said = any("repeat" in words for words in (*report.notes, *(alert.message for alert in report.alerts)))
    repeats = not said and bool(repeated.reference or repeated.current)
    if repeats or report.notes:
        yield Text()
    if repeats:
        shares = (share for share in (repeated.reference, repeated.current) if share is not None)
        yield characters.text(f"repeated rows: {' → '.join(percents(*shares))}")
    for note in report.notes:
        yield characters.text(f"note: {note}", "yellow")


def _table(names: tuple[str, ...], *, right: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, name in enumerate(names):
        drawn = name in ("reference", "current") and not right
        table.add_column(
            name,
            justify="right" if right and at and name not in ("", "worse in") else "left",
            overflow="fold",
            no_wrap=drawn,
            min_width=_SPARK_BARS if drawn else None,
            ratio=1 if name == "what changed" else None,
        )
    return table
