"""Texts that fit, whatever they are made of."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline.alerts.channels.wording import cleaned, facts, line, link, sentences, shorten, span
from driftline.alerts.message import (
    GOING_ON,
    MOST_LINES,
    Acknowledgement,
    Event,
    Message,
    Newest,
    Notice,
    Span,
    describe_alert,
    number_lines,
    told,
)
from driftline.text import visible
from driftline.text.durations import lengths
from tests.alerts.channels.conftest import DAY, NOW, WINDOW, message, messages, notice, notices, texts, units, view


@given(texts, st.integers(1, 400))
def test_a_shortened_text_fits_and_is_the_beginning(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert units(short) <= limit
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))
    if units(text) <= limit:
        assert short == text


@given(texts, st.integers(1, 400))
def test_a_line_is_one_is_not_empty_and_fits(text: str, limit: int) -> None:
    one = line(text, limit)
    assert one and len(one.splitlines()) == 1 and units(one) <= limit
    assert one.isprintable() or not text.isprintable()


@given(texts)
def test_cleaned_text_can_be_cleaned_again(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once
    assert not set(once) & set("\x00\x07\r\x1b\u202e\u2066\u2028")


def test_cleaning_leaves_ordinary_text_alone() -> None:
    assert cleaned("Grüße,\n\t日本語 52 % → 0 % ⚠️") == "Grüße,\n\t日本語 52 % → 0 % ⚠️"


@given(st.none() | st.floats(), st.none() | st.floats(), st.floats(allow_nan=False, allow_infinity=False))
@example(0.74996, None, 0.75)
@example(120_999.6, 121_000.4, 121_000.0)
@example(0.0, -0.0, 5e-324)
def test_numbers_of_an_alert_are_never_nan_and_differ_in_words_where_they_differ(
    value: float | None, now: float | None, threshold: float
) -> None:
    """Whoever is told of a value beyond a threshold sees that it is another number, and reads the exact threshold."""
    one = view(value=value, low=None, high=None, value_now=now, threshold=threshold)
    said = told(one)
    for number, text in ((value, said.value), (now, said.value_now)):
        assert (text == "no value") == (number is None or not math.isfinite(number))
        assert "nan" not in text and "inf" not in text
        if text != "no value":
            assert (text == said.threshold) == (number == threshold)
    assert float(said.threshold.replace(",", "")) == threshold
    assert said.interval == ""
    assert f"{said.value}, n = 1200, threshold {said.threshold}" in "".join(describe_alert(one))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://driftline.example/alerts/1?a=b", True),
        ("http://127.0.0.1:8000/", True),
        ("HTTPS://Wiki.Example/churn", True),
        ("javascript:alert(1)", False),
        ("https://a.example/ b", False),
        ("https://a.example/\n", False),
        ("https://a.example/<b>", False),
        ("https://" + "a" * 3000, False),
        ("", False),
    ],
)
def test_a_link_is_one_of_the_web(url: str, shown: bool) -> None:
    assert link(url) == (url if shown else "")


def test_a_span_has_times_where_it_does_not_go_from_midnight_to_midnight() -> None:
    assert span(WINDOW) == "2024-03-01 to 2024-03-02"
    hour = Span(WINDOW.start, WINDOW.start + timedelta(hours=1))
    assert span(hour) == "2024-03-01 00:00 to 01:00 UTC"
    assert span(hour, "Asia/Tokyo") == "2024-03-01 09:00 to 10:00 JST"


def test_facts_of_an_alert() -> None:
    assert facts(notice()) == [
        ("Measure", "accuracy 0.512 [0.45, 0.57]"),
        ("Threshold", "0.75"),
        ("Window", "2024-03-01 to 2024-03-02"),
        ("n", "1200"),
    ]
    assert ("As known now", "0.9") in facts(notice(Event.CORRECTED, value_now=0.9))
    assert facts(notice(value=None, low=None, high=None))[0] == ("Measure", "accuracy no value")


@given(notices)
def test_facts_are_lines_that_are_not_empty(one: Notice) -> None:
    for name, value in facts(one):
        assert name and len(value.splitlines()) == 1 and units(value) < 300
    assert all(sentence.strip() for sentence in sentences(one))


def test_what_fires_says_what_changed_and_what_ended_says_why() -> None:
    assert sentences(notice()) == ["Input rain changed: 52 % → 0 % (gone).", "Other inputs stable: wind."]
    assert sentences(notice(findings=None)) == []
    assert sentences(notice(Event.RESOLVED, "accuracy is 0.9 again")) == ["accuracy is 0.9 again"]
    taken = Acknowledgement("ann", NOW - DAY, "looking into it")
    assert sentences(notice(Event.REPEATED, findings=None, acknowledged=taken)) == [
        "Acknowledged by ann: looking into it"
    ]


# ---- what people read ---------------------------------------------------------------------------------------------


def test_numbers_that_differ_from_the_threshold_are_told_apart_from_it_and_it_stands_as_it_was_written() -> None:
    near = view(value=0.9442, low=0.937, high=0.95021, bound=0.949, confidence=0.95, threshold=0.95)
    assert number_lines(near) == ["accuracy 0.944 [0.937, 0.95021], upper bound 0.949 (95 %), n = 1200, threshold 0.95"]
    large = view(measure="mae", value=121400.0, low=121389.0, high=121848.0, threshold=120000.0)
    assert number_lines(large) == ["mae 121,400 [121,389, 121,848], n = 1200, threshold 120,000"]


def test_the_bound_stands_there_only_where_the_interval_holds_the_threshold() -> None:
    above = view(measure="mae", value=0.8, low=0.74, high=0.9, bound=0.76, confidence=0.9, threshold=0.75)
    assert ", lower bound 0.76 (90 %), " in number_lines(above)[0]
    assert "bound" not in number_lines(view(bound=0.56, confidence=0.95))[0]


def test_a_model_that_nothing_arrives_of_is_told_in_lengths_of_time() -> None:
    stale = view(measure="hours_since_last_event", rule="monitor-stale", value=0.0058, threshold=1 / 180, n=0)
    assert number_lines(stale) == ["no event for 20.9 seconds, threshold 20 seconds"]
    assert number_lines(view(measure="hours_since_last_event", value=49.5, threshold=48.0)) == [
        "no event for 2 days 1 hour, threshold 2 days"
    ]
    shown = facts(notice(measure="hours_since_last_event", value=49.5, threshold=48.0))
    assert shown == [("No event for", "2 days 1 hour"), ("Threshold", "2 days"), ("Since", "2024-03-01")]


NEWEST = Newest(Span(WINDOW.start + 2 * DAY, WINDOW.end + 2 * DAY), 0.41, 0.36, 0.46, 900)


def test_what_goes_on_is_told_with_the_newest_numbers_and_with_those_of_its_beginning() -> None:
    goes_on = notice(Event.REPEATED, newest=NEWEST)
    assert describe_alert(goes_on.alert)[1:4] == [
        "churn: accuracy-low: window 2024-03-03 to 2024-03-04",
        "accuracy 0.41 [0.36, 0.46], n = 900, threshold 0.75",
        "when it fired, window 2024-03-01 to 2024-03-02: accuracy 0.512 [0.45, 0.57], n = 1200",
    ]
    assert facts(goes_on) == [
        ("Measure", "accuracy 0.41 [0.36, 0.46]"),
        ("When it fired", "0.512 [0.45, 0.57]"),
        ("Threshold", "0.75"),
        ("Window", "2024-03-03 to 2024-03-04"),
        ("n", "900"),
    ]


def test_the_newest_numbers_have_their_own_bound() -> None:
    near = msgspec.structs.replace(NEWEST, low=0.7, high=0.76, value=0.73, bound=0.749)
    assert number_lines(view(newest=near, bound=0.56, confidence=0.95))[0] == (
        "accuracy 0.73 [0.7, 0.76], upper bound 0.749 (95 %), n = 900, threshold 0.75"
    )


def test_of_what_is_over_and_of_what_is_as_it_was_the_newest_window_is_not_told() -> None:
    as_it_was = msgspec.structs.replace(NEWEST, window=WINDOW, value=0.51234)
    assert view(newest=as_it_was).latest is view(newest=NEWEST, status="resolved").latest is None
    assert view(newest=NEWEST).latest == NEWEST


def test_the_most_severe_alert_of_a_message_comes_first_and_each_alerts_notices_in_order() -> None:
    several = [
        notice(id="note", severity="info"),
        notice(id="page"),
        notice(Event.RESOLVED, id="page"),
        notice(id="look", severity="warning"),
        notice(Event.REOPENED, id="page", title="Again!"),
    ]
    found = message(*several)
    assert [(one.alert.id, one.event.value) for one in found.notices] == [
        ("page", "fired"),
        ("page", "resolved"),
        ("page", "reopened"),
        ("look", "fired"),
        ("note", "fired"),
    ]
    assert (found.alert.id, found.title) == ("page", "churn: ⚠️ Alert: Model accuracy below threshold! (and 4 more)")


def test_a_correction_says_what_is_known_now() -> None:
    said = message(notice(Event.CORRECTED, "judged again", value_now=0.9))
    assert said.text.splitlines()[2:] == ["judged again", "accuracy was 0.512; as known now: 0.9"]


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=3))
def test_lengths_that_differ_differ_in_words(seconds: list[float]) -> None:
    assert len(set(lengths(*seconds))) == len(set(seconds))


@given(messages)
def test_strangers_make_no_lines_of_their_own_and_act_on_nothing(one: Message) -> None:
    lines = one.text.split("\n")
    sentences_of = [len(notice.alert.findings.sentences) if notice.alert.findings else 0 for notice in one.notices]
    ended = [notice.event in (Event.RESOLVED, Event.CORRECTED) for notice in one.notices]
    own = sum(3 if over else 3 + count for count, over in zip(sentences_of, ended, strict=True))
    own += sum(notice.event is Event.CORRECTED for notice in one.notices)  # and one on what is known now
    own += sum(notice.event is Event.CHANGED for notice in one.notices)  # a line on what was changed
    own += sum(bool(notice.alert.docs) for notice in one.notices if notice.event in GOING_ON)
    whole = own + len(one.notices) - 1  # an empty line between two
    if all(notice.event is Event.OVER for notice in one.notices):  # a title, a line for each, and how many more
        whole = 1 + min(len(one.notices), MOST_LINES) + (len(one.notices) > MOST_LINES)
    assert len(lines) == whole
    for shown in (one.title, *lines, *(said for each in one.notices for said in sentences(each))):
        assert visible(shown) == shown


def test_a_message_names_the_model_first_and_the_hours_of_a_short_window_in_its_zone() -> None:
    start = datetime(2024, 3, 1, 6, 30, tzinfo=UTC)
    window = Span(start, start + timedelta(hours=6))
    found = message(notice(model="churn", timezone="Asia/Kolkata", window=window, span=window, newest=None))
    first, where, *_ = found.text.splitlines()
    assert first == found.title == "churn: ⚠️ Alert: Model accuracy below threshold!"
    assert where == "accuracy-low: window 2024-03-01 12:00 to 18:00 IST"
    assert ("Window", "2024-03-01 12:00 to 18:00 IST") in facts(found.notices[0])


def test_a_long_name_does_not_hide_what_happened() -> None:
    found = message(notice(model="m" * 5_000))
    assert "⚠️ Alert: Model accuracy below threshold!" in found.title and len(found.title) < 200
