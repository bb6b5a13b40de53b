"""``@monitor.watch``: turn the arguments and result of a predict function into an event, and remember its id."""

from __future__ import annotations

import functools
import inspect
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from driftline.errors import UsageError, did_you_mean

Predict = TypeVar("Predict", bound=Callable[..., Any])
IdSource = str | Callable[..., object] | None
"""The name of an argument whose value is the id, or a function of the arguments that returns it."""

_Pick = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]


_last_ids: ContextVar[Mapping[int, str | None]] = ContextVar("driftline_last_ids", default={})  # noqa: B039
_keys = itertools.count()


class Calls:
    """The callbacks for the watched calls of one monitor, and the id of the last call.

    ``log`` takes a call's features and result, ``id`` (None: not known) and ``latency_seconds``, and returns the
    event's id; ``count_error`` is called for exceptions.
    """

    def __init__(self, log: Callable[..., str | None], count_error: Callable[[], None]) -> None:
        self.log, self.count_error = log, count_error
        self._key = next(_keys)

    def last_id(self) -> str | None:
        """Return the id of the latest call in this context; None before, and after a call that raised."""
        return _last_ids.get().get(self._key)

    def remember(self, given: str | None) -> None:
        """Remember the id of the latest call in this context."""
        _last_ids.set({**_last_ids.get(), self._key: given})


def watched(function: Predict, source: IdSource, calls: Calls) -> Predict:
    """Return the function with its calls logged: `def` or `async def`, or an object whose ``__call__`` is one."""
    _require_result(function)
    summary = _summary()
    pick_features = _argument(function, "features") or _first
    pick_id = _id_picker(function, source)

    @contextmanager
    def call(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Iterator[list[Any]]:
        features = pick_features(arguments, named)
        with suppress(Exception):  # `log` says what is wrong with them
            features = dict(features) if isinstance(features, Mapping) else features
        given = None
        if pick_id is not None:
            with suppress(Exception):  # then one is made, which `last_id` returns
                given = pick_id(arguments, named)
        calls.remember(None)
        results: list[Any] = []
        began = time.perf_counter()
        try:
            yield results
        except Exception:
            calls.count_error()
            raise
        finally:
            seconds = time.perf_counter() - began
            with suppress(Exception):  # a summary of the user's, with labels perhaps
                summary.observe(seconds)
        calls.remember(calls.log(features, results[0], id=given, latency_seconds=seconds))

    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004

        @functools.wraps(function)
        async def watched_later(*arguments: Any, **named: Any) -> Any:
            with call(arguments, named) as results:
                results.append(await function(*arguments, **named))
            return results[0]

        return watched_later  # type: ignore[return-value]

    @functools.wraps(function)
    def watched_now(*arguments: Any, **named: Any) -> Any:
        with call(arguments, named) as results:
            results.append(function(*arguments, **named))
        return results[0]

    return watched_now  # type: ignore[return-value]


def _require_result(function: Callable[..., Any]) -> None:
    called = getattr(function, "__call__", None)  # noqa: B004 - of an object
    for one in (function, called):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            name = getattr(function, "__name__", type(function).__name__)
            raise UsageError(
                f"{name} is a generator, whose result is not known when it returns; watch a function that returns the "
                "prediction, or call log when it is known"
            )


# ---- arguments ------------------------------------------------------------------------------------------------------


def _first(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    return named["features"] if "features" in named else arguments[0] if arguments else None


def _id_picker(function: Callable[..., Any], source: IdSource) -> _Pick | None:
    if source is None:
        return None
    if callable(source):
        return lambda arguments, named: source(*arguments, **named)
    if not isinstance(source, str):
        raise UsageError(f"id {source!r} came; allowed is the name of an argument, or a function of the arguments")
    picked = _argument(function, source)
    if picked is None:
        known = list(_parameters(function))
        raise UsageError(
            f"id {source!r} came, which is no argument of {getattr(function, '__name__', 'the function')}; it has: "
            f"{', '.join(known) or 'none'}.{did_you_mean(source, known)} For a value among the features, "
            f"write id=lambda features: features[{source!r}]"
        )
    return picked


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    with suppress(TypeError, ValueError):  # some built-in functions do not tell
        return inspect.signature(function).parameters
    return {}


def _argument(function: Callable[..., Any], name: str) -> _Pick | None:
    """Return how to find the argument of a name in a call; None if the function has none."""
    parameters = _parameters(function)
    if name not in parameters:
        takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        return (lambda arguments, named: named.get(name)) if takes_any and name != "features" else None
    one = parameters[name]
    if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
        return None
    place = list(parameters).index(name) if one.kind is not one.KEYWORD_ONLY else -1
    default = None if one.default is one.empty else one.default

    def pick(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        if name in named:
            return named[name]
        return arguments[place] if 0 <= place < len(arguments) else default

    return pick


def _summary() -> Any:
    """Return the summary ``request_processing_seconds``, an existing or a new one; None without prometheus_client."""
    try:
        from prometheus_client import REGISTRY, Summary
    except ImportError:
        return None
    try:
        return Summary("request_processing_seconds", "Time spent processing a request")
    except ValueError:  # registered before, by another monitor or by the user
        return getattr(REGISTRY, "_names_to_collectors", {}).get("request_processing_seconds")
