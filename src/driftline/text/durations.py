"""Write durations for people, such as "2 hours 1 minute", and for `driftline.yaml`, such as "90min"."""

from __future__ import annotations

from datetime import timedelta

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def lengths(*seconds: float) -> tuple[str, ...]:
    """Write durations that are shown side by side, in seconds, 0 or more: different ones have different texts.

    >>> lengths(7260.0, 7200.0), lengths(0.0), lengths(93784.0), lengths(20.5, 20.0)
    (('2 hours 1 minute', '2 hours'), ('0 seconds',), ('1 day 2 hours',), ('20.5 seconds', '20 seconds'))
    """
    for units in (2, 4):
        texts = tuple(_length(one, units) for one in seconds)
        if len(set(texts)) == len(set(seconds)):
            return texts
    return tuple(f"{one!r} seconds" for one in seconds)


def length(span: timedelta | float) -> str:
    """Write a duration of 0 or more; a number is in seconds.

    >>> length(timedelta(days=1)), length(timedelta(hours=36)), length(timedelta(seconds=90)), length(0.5)
    ('1 day', '1 day 12 hours', '1 minute 30 seconds', '0.5 seconds')
    """
    return lengths(span.total_seconds() if isinstance(span, timedelta) else float(span))[0]


def about(span: timedelta) -> str:
    """Write a duration in the largest unit that it has at least two of; in whole minutes where it is shorter.

    >>> about(timedelta(hours=49)), about(timedelta(hours=30)), about(timedelta(minutes=90)), about(timedelta(0, 60))
    ('2 days', '30 hours', '90 minutes', '1 minute')
    """
    for size, name in _UNITS[:2]:
        if span.total_seconds() >= 2 * size:
            return f"{span.total_seconds() / size:.0f} {name}s"
    minutes = f"{span.total_seconds() / 60:.0f}"
    return f"{minutes} minute{'' if minutes == '1' else 's'}"


def written(span: timedelta) -> str:
    """Write a duration as the configuration and the commands read it (`driftline.events.parse_duration`).

    >>> [written(timedelta(seconds=s)) for s in (3600, 90, 0.25, 86400, 5400)]
    ['1h', '90s', '0.25s', '1d', '90min']
    """
    for unit, size in (("w", timedelta(weeks=1)), ("d", timedelta(days=1)), ("h", timedelta(hours=1))):
        if not span % size:
            return f"{span // size}{unit}"
    minutes, rest = divmod(span, timedelta(minutes=1))
    seconds = f"{span.total_seconds():.6f}".rstrip("0").rstrip(".")
    return f"{seconds}s" if rest else f"{minutes}min"


def _length(seconds: float, units: int) -> str:
    left, found = round(seconds, 1 if seconds < 60 else None), list[str]()
    for size, name in _UNITS:
        count, left = divmod(left, size)
        found += [f"{count:g} {name}{'s' if count != 1 else ''}"] if count else []
    found += [f"{left:g} second{'s' if left != 1 else ''}"] if left or not found else []
    return " ".join(found[:units])
