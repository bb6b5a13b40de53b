"""From the section ``retrain`` of a model to its checked options."""

from __future__ import annotations

from driftline.config.checking import Checker
from driftline.config.schema import ModelSection
from driftline.config.strict_yaml import Key, shown
from driftline.errors import did_you_mean
from driftline.fields import parse_bytes
from driftline.retrain.options import RetrainConfig, RetrainSection, RunSection, TellSection
from driftline.retrain.policy import Policy
from driftline.retrain.runners import KINDS
from driftline.statistics.catalogue import paired_measures


def retraining_of(check: Checker, key: Key, model: ModelSection, section: RetrainSection) -> RetrainConfig:
    """Check what is said of retraining one model."""
    known = [rule.name for rule in model.alerts.rules]
    for index, name in enumerate(section.when.alerts):
        if name not in known:
            reason = f"{shown(name)} is not a rule of this model; its rules: {', '.join(known) or 'none'}."
            raise check.error((*key, "when", "alerts", str(index)), reason + did_you_mean(name, known))
    measure = section.gates.measure
    measures = paired_measures(model.task)
    if measure is not None and model.task is not None and measure not in measures:
        reason = f"{shown(measure)} is not a measure of a {model.task} model; known: {', '.join(measures)}."
        raise check.error((*key, "gates", "measure"), reason + did_you_mean(measure, measures))
    if section.gates.margin is not None and section.gates.improvement is not None:
        reason = "came with `improvement`; a challenger is either not worse by a margin, or better by an improvement"
        raise check.error((*key, "gates", "margin"), reason)
    policy = Policy(
        alerts=tuple(section.when.alerts),
        every=check.optional_duration((*key, "when", "every"), section.when.every),
        new_labels=section.when.new_labels,
        cooldown=check.duration((*key, "cooldown"), section.cooldown),
        most_a_day=section.most_a_day,
        least_labels=section.least_labels,
    )
    run = _runner(check, (*key, "run"), section.run)
    return RetrainConfig(
        policy=policy,
        run=run,
        time_limit=check.duration((*key, "run", "time_limit"), run.most_time),
        memory_bytes=check.checked((*key, "run", "memory"), lambda: parse_bytes(run.memory)),
        train_on=check.duration((*key, "train_on"), section.train_on),
        evaluate_on=check.duration((*key, "evaluate_on"), section.evaluate_on),
        auto=section.approval == "auto",
        gates=section.gates,
        bake=check.duration((*key, "bake"), section.bake),
        bake_windows=section.bake_windows,
        tell=_tell(check, (*key, "tell"), section.tell),
        folder=check.folder,
    )


def _tell(check: Checker, key: Key, section: TellSection | None) -> TellSection | None:
    if section is not None:
        check.address((*key, "url"), section.url)
    return section


def _runner(check: Checker, key: Key, section: RunSection) -> RunSection:
    given = [kind for kind in KINDS if getattr(section, kind) is not None]
    if len(given) != 1:
        came = " and ".join(given) or "none"
        raise check.error(key, f"came {came} of {', '.join(KINDS)}; a runner is exactly one of them")
    [kind] = given
    if isinstance(address := getattr(getattr(section, kind), "url", None), str):
        check.address((*key, kind, "url"), address)
    return section
