"""Lines of the log: one each, of JSON or of text, with what they are about and nothing that acts on a reader."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.logs import (
    FACTS,
    LogSection,
    about_model,
    begin_request,
    json_line,
    request_id,
    said_as_json,
    said_by_library,
    text_line,
)
from driftline.text import acts


def record(text: str, error: BaseException | None = None, **facts: object) -> logging.LogRecord:
    known = None if error is None else (type(error), error, error.__traceback__)
    one = logging.LogRecord("driftline", logging.WARNING, "", 0, "%s", (text,), known)
    setattr(one, FACTS, facts)
    return one


def failed(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@given(st.text(), st.text(), st.text())
def test_a_line_is_one_line_of_json_whatever_comes(text: str, path: str, model: str) -> None:
    with about_model(model):
        line = json_line(record(text, failed(text), path=path))
        shown = text_line(record(text, failed(text)))
    assert not acts(line)
    found = json.loads(line)
    assert {"time", "level", "logger", "exception"} <= set(found)
    assert not any(acts(value) for key, value in found.items() if key != "exception")
    first, *trace = shown.split("\n")
    assert not acts(first) and trace and all(line.startswith("    ") and not acts(line) for line in trace)


def test_a_line_says_when_what_and_about_what() -> None:
    seen: list[dict[str, object]] = []

    def work() -> None:  # a thread has a context of its own
        begin_request("r-1")
        with about_model("churn"):
            seen.append(json.loads(json_line(record("the disk is full", status=503))))
        seen.append(json.loads(json_line(record("over"))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    about, after = seen
    assert abs(datetime.fromisoformat(str(about.pop("time"))) - datetime.now(UTC)) < timedelta(minutes=1)
    assert about == {
        "level": "warning",
        "logger": "driftline",
        "message": "the disk is full",
        "model": "churn",
        "request_id": "r-1",
        "status": 503,
    }
    assert "model" not in after
    assert "request_id" not in json.loads(json_line(record("elsewhere")))


def test_what_is_said_past_the_loggers_is_a_line_of_the_log_too() -> None:
    assert json.loads(said_as_json("Driftline serves churn\x1b[2J"))["message"] == "Driftline serves churn\\x1b[2J"
    assert json.loads(said_by_library("panicked"))["level"] == "error"


@pytest.mark.parametrize(
    "given", [[], [""], ["a", "b"], ["a b"], ["x" * 65], ["a\nb"], ["é"], ["-a"], ['a"b'], ["a\x00"], ["a\n"]]
)
def test_an_id_that_is_none_is_replaced(given: list[str]) -> None:
    assert request_id(given) not in given and request_id(given) != request_id(given)


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd8448eb211c80319c", "a-b_c.d:e", "x" * 64])
def test_an_id_that_is_one_is_kept(given: str) -> None:
    assert request_id([given]) == given


def test_levels_are_those_of_python() -> None:
    assert [LogSection(level=one).least for one in ("debug", "info", "warning", "error")] == [10, 20, 30, 40]  # type: ignore[arg-type]
