"""Keep the number of series below a limit, by leaving out features and segments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from driftline.exporters.samples import LATENCY_BUCKETS_SECONDS, STATES, ModelMetrics, PerformanceSample


def within(models: Sequence[ModelMetrics], most_series: int) -> list[ModelMetrics]:
    """Leave out features and segments until there are at most ``most_series`` series; models say how many are left out.

    Series about neither always stay, even if they exceed the limit. The rest of the limit is shared equally by the
    models; what a model does not need of its share goes to the others. A model keeps its segments, by name, and then
    the features furthest beyond their threshold: in steps of a quarter of it, and by name within a step, so that small
    changes do not make series come and go.
    """
    needed = [_series_of_features(one) + _series_of(one.segments) for one in models]
    left = most_series - sum(_other_series(one) for one in models)
    if sum(needed) <= left:
        return list(models)
    shares = _shares(needed, max(left, 0))
    return [
        one if need <= share else _limited(one, share) for one, need, share in zip(models, needed, shares, strict=True)
    ]


def _shares(needed: Sequence[int], budget: int) -> list[int]:
    shares = [0] * len(needed)
    open_ones = sorted(range(len(needed)), key=lambda place: needed[place])
    while open_ones:
        place = open_ones.pop(0)
        shares[place] = min(needed[place], budget // (len(open_ones) + 1))
        budget -= shares[place]
    return shares


def _limited(model: ModelMetrics, share: int) -> ModelMetrics:
    series: dict[str, int] = dict.fromkeys(model.missing, 1)
    worst: dict[str, float] = dict.fromkeys(model.missing, 0.0)
    for sample in model.drift:
        series[sample.feature] = series.get(sample.feature, 0) + _present(sample.score, sample.threshold)
        beyond = (sample.score or 0.0) / sample.threshold if sample.threshold else 0.0
        worst[sample.feature] = max(worst.get(sample.feature, 0.0), beyond)
    of_segments: dict[str, int] = {}
    for one in model.segments:
        of_segments[one.segment] = of_segments.get(one.segment, 0) + _series_of([one])
    told, room = set(), share
    for segment in sorted(of_segments):
        if of_segments[segment] > room:
            break
        told.add(segment)
        room -= of_segments[segment]
    kept = set()
    for feature in sorted(series, key=lambda name: (-math.floor(min(worst[name], 1e6) * 4), name)):
        if series[feature] > room:
            break
        kept.add(feature)
        room -= series[feature]
    return model._replace(
        drift=[sample for sample in model.drift if sample.feature in kept],
        missing={name: value for name, value in model.missing.items() if name in kept},
        segments=[sample for sample in model.segments if sample.segment in told],
        series_dropped=sum(number for name, number in series.items() if name not in kept)
        + sum(number for name, number in of_segments.items() if name not in told),
    )


def _series_of_features(model: ModelMetrics) -> int:
    return len(model.missing) + sum(_present(one.score, one.threshold) for one in model.drift)


def _other_series(model: ModelMetrics) -> int:
    per_measure = _series_of(model.performance)
    outputs = sum(_present(one.score, one.threshold) for one in model.output_drift)
    latency = len(LATENCY_BUCKETS_SECONDS) + 3 if model.latency is not None else 0
    mappings = (
        model.predictions,
        model.predictions,  # once more in the model's info
        model.invalid,
        model.alerts,
        model.breaches,
        model.transitions,
        model.drifted_features,
        model.pushed_windows,
        model.retraining_runs,
        model.retraining_open,
    )
    mapped = sum(len(one) for one in mappings)
    return per_measure + outputs + latency + mapped + len(STATES) * len(model.monitors) + _FEW


def _series_of(samples: Iterable[PerformanceSample]) -> int:
    return sum(1 + _present(one.value, one.low, one.high) for one in samples)


def _present(*values: float | None) -> int:
    return sum(value is not None for value in values)


_FEW = 17  # families with one series for each model
