"""From the entries of ``notify`` to checked receivers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from driftline.alerts.channels import KINDS, kind_of
from driftline.alerts.options import NotifyConfig, NotifySection
from driftline.config.checking import Checker
from driftline.config.strict_yaml import Key, shown

_SHORTEST_REPEAT = timedelta(minutes=1)


def receivers_of(check: Checker, sections: Iterable[NotifySection]) -> tuple[NotifyConfig, ...]:
    """Check all receivers."""
    found: list[NotifyConfig] = []
    for index, section in enumerate(sections):
        one = _receiver(check, ("notify", str(index)), section, index + 1)
        if one.name in [other.name for other in found]:
            reason = f"{shown(one.name)} is the name of two receivers; give one of them another `name`"
            raise check.error(("notify", str(index)), reason)
        found.append(one)
    return tuple(found)


def _receiver(check: Checker, key: Key, section: NotifySection, number: int) -> NotifyConfig:
    given = [kind for kind in KINDS if getattr(section, kind) is not None]
    if len(given) != 1:
        came = " and ".join(given) or "none"
        raise check.error(key, f"came {came} of {', '.join(KINDS)}; a receiver is exactly one of them")
    [kind] = given
    for owner in KINDS:
        for extra in kind_of(owner).more:
            if getattr(section, extra) is not None and kind != owner:
                raise check.error((*key, extra), f"is for {owner} only; leave it out")
    for name in kind_of(kind).addresses:
        if (address := getattr(section, name)) is not None:
            check.address((*key, name), address)
    repeat = check.optional_duration((*key, "repeat"), section.repeat)
    if repeat is not None and (why := kind_of(kind).no_repeat):
        raise check.error((*key, "repeat"), why)
    if repeat is not None and repeat < _SHORTEST_REPEAT:
        raise check.error((*key, "repeat"), f"came {shown(section.repeat)}; allowed is 1min or more")
    holds = kind_of(kind).holds
    if section.digest and holds:
        reason = f"{kind} is for what goes on; what is over goes to other receivers, leave it out"
        raise check.error((*key, "digest"), reason)
    digest = not holds if section.digest is None else section.digest
    name = section.name or f"{kind}-{number}"
    return NotifyConfig(name, kind, section, tuple(section.severity), tuple(section.models), repeat, digest)
