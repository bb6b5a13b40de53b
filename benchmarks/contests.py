"""How often does a contest promote what is no better, and how often what is? Simulated, so that the truth is known.

python -m benchmarks.contests [--contests N] [--equal]

*Equal* challengers are right as often as the champion, independently of it. With *day effects* one of the two is right
more often on some days and less on others, as weather or a campaign would have it: rows of a day depend on each other.
*Better by 2 points* is right two points more often (of a regression: has an error 10 % smaller). *Few positives* finds
half of the positive rows, and is right in 99 % of the others. *Held against it* are equal challengers of which the
segments' gate says that they are significantly worse in one of four segments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from driftline.events import Task
from driftline.rules.contest import judge_contest
from driftline.rules.contestants import Entry, Rows, Settings

DAY = 86_400.0
CLASSES = np.array(["a", "b", "c"])

Made = tuple[Entry, Entry, Rows]


def classifiers(
    rng: np.random.Generator,
    n: int,
    *,
    classes: int,
    better: float = 0.0,
    effect: float = 0.0,
    scored: bool = False,
    days: int = 30,
    segments: int = 0,
) -> Made:
    """Two classifiers that are right in 80 % of n rows of 30 days, the second ``better`` more often."""
    names = CLASSES[:classes]
    truth = rng.choice(names, n)
    seconds = np.sort(rng.random(n)) * days * DAY
    day = (seconds / DAY).astype(int)
    rows = Rows(
        Task.BINARY if classes == 2 else Task.MULTICLASS,
        truth,
        seconds,
        {"segment": rng.integers(0, segments, n).astype(np.str_)} if segments else {},
        classes=tuple(names.tolist()),
        positive="b" if classes == 2 else None,
    )
    entries = []
    for version, right in (("v1", 0.8), ("v2", 0.8 + better)):
        luck = rng.normal(0, effect, days + 1)[day] if effect else 0.0
        other = names[(np.searchsorted(names, truth) + rng.integers(1, classes, n)) % classes]
        said = np.where(rng.random(n) < right + luck, truth, other)
        scores = {}
        if scored:
            gap = 1.19 + 6 * (right - 0.8)  # d' of an AUC of 0.8, and of one that is two points above it
            latent = rng.normal(0, 1, n) + gap * (truth == "b")
            scores = {"b": 1 / (1 + np.exp(-(gap * latent - gap**2 / 2)))}
            said = np.where(scores["b"] > 0.5, "b", "a")
        entries.append(Entry(version, said, np.ones(n, np.bool_), scores))
    return entries[0], entries[1], rows


def regressions(rng: np.random.Generator, n: int, *, better: float = 0.0, effect: float = 0.0) -> Made:
    """Two regressions with heavy-tailed errors, the second's smaller by a tenth for two points of ``better``."""
    truth = rng.normal(0, 10, n)
    seconds = np.sort(rng.random(n)) * 30 * DAY
    day = (seconds / DAY).astype(int)
    entries = []
    for version, scale in (("v1", 2.0), ("v2", 2.0 * (1 - 5 * better))):
        luck = np.exp(rng.normal(0, effect, 31))[day] if effect else 1.0
        entries.append(Entry(version, truth + rng.standard_t(4, n) * scale * luck, np.ones(n, np.bool_)))
    return entries[0], entries[1], Rows(Task.REGRESSION, truth, seconds)


def rare(rng: np.random.Generator, n: int, *, positives: int, timed: bool) -> Made:
    """Two classifiers that find half of a few positive rows."""
    truth = np.where(rng.permutation(n) < positives, "b", "a")
    entries = []
    for version in ("v1", "v2"):
        right = rng.random(n) < np.where(truth == "b", 0.5, 0.99)
        score = np.clip(0.5 + np.where(truth == "b", 0.1, -0.1) + rng.normal(0, 0.15, n), 0, 1)
        said = np.where(right, truth, np.where(truth == "b", "a", "b"))
        entries.append(Entry(version, said, np.ones(n, np.bool_), {"b": score}))
    seconds = np.arange(n) * 30 * DAY / n if timed else None
    return *entries, Rows(Task.BINARY, truth, seconds, classes=("a", "b"), positive="b")


KINDS: dict[str, Callable[..., Made]] = {
    "binary, accuracy": partial(classifiers, classes=2),
    "binary, ROC AUC": partial(classifiers, classes=2, scored=True),
    "multiclass, accuracy": partial(classifiers, classes=3),
    "regression, MAE": regressions,
}
SIZES = (500, 1000, 2000, 5000)
DAYS, FEW = (3, 7, 30), (200, 1000)
RARE = ("recall", "balanced_accuracy", "f1", "precision", "roc_auc")


def promoted(
    make: Callable[..., Made],
    contests: int,
    n: int,
    settings: Settings | None = None,
    **how: float,
) -> float:
    """The share of contests that promote."""
    rng = np.random.default_rng(1)
    asked = settings or Settings()
    found = [judge_contest(*make(rng, n, **how), asked).decision == "promote" for _ in range(contests)]
    return sum(found) / contests


def held_against(contests: int, n: int, **how: float) -> float:
    """The share of equal challengers that are told to be worse in a segment."""
    rng = np.random.default_rng(2)
    closed = 0
    for _ in range(contests):
        found = judge_contest(*classifiers(rng, n, classes=2, segments=4, **how), Settings(measure="accuracy"))  # type: ignore[arg-type]
        closed += any(gate.name == "segments" and gate.passed is False for gate in found.gates)
    return closed / contests


def of_days(contests: int) -> Iterator[str]:
    """Rows of a table: equal challengers on few days that differ, and what the segments' gate says of them."""
    yield "| equal, day effects | " + " | ".join(f"{days} days" for days in DAYS) + " |"
    yield "|---|" + "---|" * len(DAYS)
    settings = Settings(measure="accuracy")
    for n in FEW:
        for effect in (0.05, 0.1):
            shares = [
                promoted(classifiers, contests, n, settings, classes=2, effect=effect, days=days) for days in DAYS
            ]
            yield f"| promoted, n = {n}, day effect ± {effect:.0%} | {' | '.join(f'{share:.1%}' for share in shares)} |"
    shares = [held_against(contests, 1000, effect=0.1, days=days) for days in DAYS]
    yield f"| worse in a segment, n = 1000, day effect ± 10% | {' | '.join(f'{share:.1%}' for share in shares)} |"


def of_positives(contests: int) -> Iterator[str]:
    """Rows of a table: equal challengers with few positives, by measure; of few the gate says hold."""
    yield "| promoted although equal, positives | " + " | ".join(RARE) + " |"
    yield "|---|" + "---|" * len(RARE)
    for n, positives in ((200, 4), (1000, 10), (1000, 30), (1000, 50)):
        for timed in (False, True):
            shares = [
                promoted(rare, contests, n, Settings(measure=measure), positives=positives, timed=timed)
                for measure in RARE
            ]
            what = "by days" if timed else "no times"
            yield f"| {positives} of {n}, {what} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def main() -> None:
    """Measure, and print the tables of docs/gate.md."""
    parser = argparse.ArgumentParser(description="False promotions and power of the contest.")
    parser.add_argument("--contests", type=int, default=1000)
    parser.add_argument("--equal", action="store_true", help="only equal challengers: few days, few positives")
    given = parser.parse_args()
    out = sys.stdout.write
    for line in (*of_days(given.contests), "", *of_positives(given.contests), ""):
        out(f"{line}\n".replace("%", " %"))
    if given.equal:
        return
    out("| promoted although equal | n = 500 | n = 2000 | with day effects, n = 2000 |\n|---|---|---|---|\n")
    for kind, make in KINDS.items():
        equal = [promoted(make, given.contests, n) for n in (500, 2000)]
        effect = "–" if "AUC" in kind else f"{promoted(make, given.contests, 2000, effect=0.1):.1%}"
        out(f"| {kind} | {' | '.join(f'{share:.1%}' for share in equal)} | {effect} |\n".replace("%", " %"))
    out("\n| promoted, better by 2 points | " + " | ".join(f"n = {n}" for n in SIZES) + " |\n|---|---|---|---|---|\n")
    for kind, make in KINDS.items():
        power = [promoted(make, given.contests, n, better=0.02) for n in SIZES]
        out(f"| {kind} | {' | '.join(f'{share:.0%}' for share in power)} |\n".replace("%", " %"))


if __name__ == "__main__":
    main()
