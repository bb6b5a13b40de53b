"""Write files for Prometheus and Alertmanager: configuration, rules, and unit tests of the rules."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from driftline.errors import UsageError
from driftline.exporters.files import File
from driftline.exporters.prometheus_rules import ModelAlerts, duration, groups_of, unit_tests
from driftline.net.addresses import is_host_and_port
from driftline.rules.topic import Topic
from driftline.statistics.catalogue import measures_about
from driftline.templating import environment

if TYPE_CHECKING:
    import jinja2

_CONFIGURED = """
  # What driftline.yaml says of its models; export again when it changes. Driftline counts the judged windows in a row
  # in which a rule is in breach, by the bound of an interval and with late labels; these rules only ask whether there
  # are `for` or more. So they fire, and end, with Driftline's own alerts.
"""
_TESTS = """\
# Unit tests of driftline.rules.yml. Written by `driftline export prometheus`.
# Run: promtool test rules driftline.rules.test.yml
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The HOST:PORT of Driftline and Alertmanager as Prometheus sees them; raises `UsageError` for anything else."""

    target: str
    alertmanager: str

    def __post_init__(self) -> None:
        for name, address in (("target", self.target), ("alertmanager", self.alertmanager)):
            if not is_host_and_port(address):
                raise UsageError(f"--{name} came as {address!r}; write HOST:PORT, such as 127.0.0.1:8000")


def prometheus_files(
    models: Sequence[ModelAlerts], addresses: Addresses, *, pushed_after: timedelta | None = None
) -> list[File]:
    """Return all files; the same arguments give the same files.

    ``pushed_after`` is the greatest age of a sample that Driftline pushes by remote write; None if it pushes none.
    """
    configured = groups_of(models)
    fixed = (_templates() / "driftline.rules.yml").read_text(encoding="utf-8")
    cases = yaml.safe_load((_templates() / "cases.yml").read_text(encoding="utf-8"))
    rules = fixed + (_CONFIGURED + textwrap.indent(yaml_text(configured), "  ") if configured else "")
    tests = unit_tests(yaml.safe_load(fixed)["groups"], cases, models)
    days = 0 if pushed_after is None else math.ceil(pushed_after / timedelta(days=1))
    return [
        File(
            "prometheus.yml",
            _render(
                "prometheus.yml",
                target=addresses.target,
                alertmanager=addresses.alertmanager,
                out_of_order=duration(86_400 * days) if days else "",
            ),
        ),
        File("driftline.rules.yml", rules),
        File("driftline.rules.test.yml", _TESTS + yaml_text(tests)),
        File(
            "alertmanager.yml",
            _render(
                "alertmanager.yml",
                severities=_SEVERITIES,
                models=[f"model={_matched(one.model)}" for one in models],
                inhibitions=_inhibitions(),
            ),
        ),
    ]


# ---- Alertmanager ------------------------------------------------------------------------------------------

_SEVERITIES = (
    ("page", 'severity=~"page|critical"', "10s", "4h"),
    ("warning", 'severity="warning"', "1m", "1d"),
    ("info", 'severity="info"', "5m", "7d"),
)
"""Each severity with its matcher, how long the first alert of a group waits for others, and when it is repeated."""

_PIPELINE = "|".join((*measures_about(Topic.PIPELINE), "missing[.].+", "worker_failing", "model_absent"))
_DRIFT = "|".join((*measures_about(Topic.DRIFT), "drift[.].+", "feature_drift"))
_BESIDE = "|".join(
    (
        *measures_about(Topic.OPERATION),
        *measures_about(Topic.ALARM),
        "ingest_queue_events",
        "invalid_events_ratio",
        "notifications",
        "up",
    )
)
"""Measures of the rule file that neither explain others nor are explained by them, except among each other."""


class _Inhibition(NamedTuple):
    comment: str
    source: list[str]
    target: list[str]
    equal: list[str]


def _inhibitions() -> list[_Inhibition]:
    """Return which alerts mute which; `test_no_alerts_mute_each_other` checks that there is no circle.

    An alert on one segment explains neither one on all rows nor one on another segment.
    """
    pipeline, drift = f'measure=~"{_PIPELINE}"', f'measure=~"{_DRIFT}"'
    explained, performance = (
        [f'measure!~"{_PIPELINE}|{_BESIDE}"', 'measure!=""'],
        [f'measure!~"{_PIPELINE}|{_DRIFT}|{_BESIDE}"', 'measure!=""'],
    )
    page, lesser = 'severity=~"page|critical"', 'severity=~"warning|info"'
    own, prometheus, whole = 'alert_id!=""', 'alert_id=""', 'segment=""'
    as_severe: tuple[tuple[str, str, list[str]], ...] = (
        ("A page", page, []),
        ("a warning", 'severity="warning"', [lesser]),
        ("an info", 'severity="info"', ['severity="info"']),
    )
    topics = (
        ("of the pipeline over performance and drift", [pipeline], explained),
        ("of performance over drift", performance, [drift]),
    )
    rows = [
        (
            "Where Driftline is not scraped, Prometheus knows nothing.",
            ['measure="up"'],
            ['measure!="up"', prometheus],
            [],
        ),
        *(
            (f"{who} {what}.", [severity, whole, *source], [*lesser_ones, *target], ["model"])
            for what, source, target in topics
            for who, severity, lesser_ones in as_severe
        ),
        ("Page over warning and info, of the pipeline,", [page, whole, pipeline], [lesser, pipeline], ["model"]),
        ("of performance,", [page, whole, *performance], [lesser, *performance], ["model"]),
        ("of drift,", [page, drift], [lesser, drift], ["model"]),
        (
            "and of what stands beside these.",
            [page, f'measure=~"{_BESIDE}"'],
            [lesser, f'measure=~"{_BESIDE}"'],
            ["model", "measure"],
        ),
        (
            "Driftline's own alert over the one that Prometheus makes of its metrics,",
            [own],
            [prometheus, 'measure!=""'],
            ["model", "measure", "severity", "segment"],
        ),
        ("and over the forwarded count of alerts.", [own], [prometheus, 'measure=""'], ["model", "severity"]),
        (
            "A forwarded page over lesser ones, and over drift that Prometheus sees.",
            [page, 'measure=""'],
            [lesser, prometheus, f'measure=~"|{_DRIFT}"'],
            ["model"],
        ),
    ]
    service = 'service="driftline"'
    return [_Inhibition(text, [service, *source], [service, *target], equal) for text, source, target, equal in rows]


def _matched(text: str) -> str:
    """Quote a text for a matcher of Alertmanager."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# ---- text --------------------------------------------------------------------------------------------------


def yaml_text(value: Any, *, flow: bool = False) -> str:
    """Write a value as YAML: as a block, or with ``flow`` in one line."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=math.inf, default_flow_style=flow
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes a list that occurs twice in full each time, not as a reference."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return True, so that PyYAML writes no references."""
        return True


def _render(name: str, **values: Any) -> str:
    return _environment().get_template(name).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    made = environment("driftline.exporters", "templates/prometheus")
    made.filters["yaml"] = lambda value: yaml_text(value, flow=True).strip()
    return made


def _templates() -> Traversable:
    return resources.files("driftline.exporters") / "templates" / "prometheus"
