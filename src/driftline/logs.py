"""The lines of a service's log: text for people, or one JSON object a line for programs; and what a line is about.

The section ``log`` of driftline.yaml is here too. A line has no control characters, whatever came from outside.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from driftline.text import short, visible

REQUESTS = "driftline.requests"
"""The logger that has a line for each request that was answered."""

FACTS = "facts"
"""The attribute of a record that has more keys of its JSON object."""

_INDENT = "    "
_GIVEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_ID_BITS = 64
_request: ContextVar[str] = ContextVar("request", default="")
_model: ContextVar[str] = ContextVar("model", default="")


class LogSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How lines of the log are written, and from which level on. ``info`` adds a line for each request."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "warning"

    @property
    def is_json(self) -> bool:
        """Whether programs read the log."""
        return self.format == "json"

    @property
    def least(self) -> int:
        """The number of the level."""
        return logging.getLevelNamesMapping()[self.level.upper()]


# ---- what a line is about -------------------------------------------------------------------------------------------


def request_id(given: list[str], bits: Callable[[int], int] = secrets.randbits) -> str:
    """Return the id that a client gave its request, where it is one id and fit for a log; otherwise a new one.

    ``bits`` returns a random number of so many bits; who knows an id may no more than who does not.

    >>> request_id(["a1b2-c3"]), len(request_id([])), len(request_id(["two", "ids"])), len(request_id(["a b"]))
    ('a1b2-c3', 16, 16, 16)
    """
    if len(given) == 1 and _GIVEN.fullmatch(given[0]):
        return given[0]
    return f"{bits(_ID_BITS):0{_ID_BITS // 4}x}"


def begin_request(id: str) -> None:
    """Say that what this task does from now on, also in threads, is for a request."""
    _request.set(id)


def current_request() -> str:
    """Return the id of the request that is worked on; empty where it is none."""
    return _request.get()


def name_model(model: str) -> None:
    """Say which model the request is of."""
    _model.set(short(model))


@contextmanager
def about_model(model: str) -> Iterator[None]:
    """Say that what is done here is of a model; empty for none."""
    before = _model.set(model)
    try:
        yield
    finally:
        _model.reset(before)


# ---- lines ----------------------------------------------------------------------------------------------------------


def text_line(record: logging.LogRecord) -> str:
    """Return a record as a line for people; its traceback stands indented below."""
    request = f" (request {_request.get()})" if _request.get() else ""
    lines = [f"{record.levelname} {record.name}: {visible(record.getMessage())}{request}"]
    return "\n".join([*lines, *(_INDENT + line for line in _trace(record))])


def json_line(record: logging.LogRecord) -> str:
    """Return a record as one JSON object in one line; its traceback is the text ``exception``."""
    trace = _trace(record)
    found = {
        "time": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": visible(record.getMessage()),
        "model": visible(_model.get()),
        "request_id": _request.get(),
        **{key: visible(value) if isinstance(value, str) else value for key, value in _facts(record).items()},
        "exception": "\n".join(trace),
    }
    kept = {key: value for key, value in found.items() if value not in ("", None)}
    return msgspec.json.encode(kept).decode()


def said_as_json(text: str, level: int = logging.INFO) -> str:
    """Return what a service says at its start, or to people, as a line of the log."""
    return json_line(logging.LogRecord("driftline", level, "", 0, "%s", (text,), None))


def said_by_library(text: str) -> str:
    """Return what a library has written on stderr, past all loggers, as a line of the log."""
    return said_as_json(text, logging.ERROR)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, FACTS, {})
    return facts


def _trace(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    return [visible(line) for line in logging.Formatter().formatException(record.exc_info).split("\n")]
