"""The page of rules says what each says now, and what another threshold would have fired."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.config.load import parse
from driftline.rules import Rule, Severity
from driftline.views.values import DetectorView
from driftline.web.ui.rules import ALERTS_SHOWN, SLICES_SHOWN, in_words
from tests.web.ui.fabricate import MODEL, RULE, Fake, alerts_over, fake, firing, hostile, window_view
from tests.web.ui.test_pages import Elements, client, plain

PAGE = f"/models/{MODEL}/rules"


def seen_of(made: Fake, query: str = "") -> Elements:
    answer = client(made).get(PAGE + query)
    assert answer.status_code == 200
    return Elements(answer.text)


def tried(seen: Elements) -> dict[str, str]:
    """What the page says was tried."""
    [found] = [each for each in seen.having("id") if each["id"] == "tried"]
    return found


# ---- what the rules say ---------------------------------------------------------------------------------------------


def test_each_rule_says_its_words_its_state_and_how_often_it_fired() -> None:
    made = firing()
    seen = seen_of(made)
    said = plain(seen.words)
    assert "accuracy-low" in said and "accuracy < 0.75" in said
    assert (
        "Fires when accuracy is below 0.75 with 95 % confidence; not judged with fewer than 50 % of the labels." in said
    )
    assert "What each rule says of Oct 2015, the newest judged window" in said
    assert [each["data-fired"] for each in seen.having("data-fired")] == [str(len(made.alerts(MODEL)))]
    assert "1 now" in said
    assert [each["data-state"] for each in seen.having("data-state")] == ["breach"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            Rule("a", "mae", above=2.0, for_windows=3),
            "fires when mae is above 2 with 95 % confidence in 3 windows in a row",
        ),
        (Rule("a", "recall", below=0.5, segment="all"), "each segment by itself"),
        (Rule("a", "recall", below=0.5, version="each"), "each version by itself"),
        (Rule("a", "recall", below=0.5, version="v2"), "of version v2"),
        (Rule("a", "recall", below=0.5, min_samples=30), "not judged with fewer than 30 rows"),
        (Rule("a", "recall", below=0.5, clear=0.6), "ends when it is back at 0.6"),
        (Rule("a", "recall", below=0.5, keep_firing_for=2), "ends after 3 good windows in a row"),
    ],
)
def test_what_is_unusual_of_a_rule_is_said(rule: Rule, words: str) -> None:
    assert words in list(in_words(rule))
    assert words not in list(in_words(Rule("a", "roc_auc", below=0.1)))


def test_a_rule_on_many_slices_shows_the_breaches_first_and_counts_the_rest() -> None:
    view = window_view(3, 0.8)
    [one] = view.verdicts
    many = [replace(one, version=f"v{place:02}", state="breach" if place == 17 else "ok") for place in range(20)]
    rule = replace(RULE, version="each")
    made = fake([type(view)(view.summary, many)], rules=(rule,))
    seen = seen_of(made)
    states = [each["data-state"] for each in seen.having("data-state")]
    assert states == ["breach"] + ["ok"] * (SLICES_SHOWN - 1)
    assert f"and {20 - SLICES_SHOWN} more" in plain(seen.words) and "version = v17" in plain(seen.words)


def test_the_detector_has_its_budget_there() -> None:
    made = firing()
    made.shown[MODEL] = replace(made.shown[MODEL], detector=DetectorView("alarm", "wind moved.", "1 per 90d", 3))
    said = plain(seen_of(made).words)
    assert "at most 1 per 90d false alarms" in said and "Alarms so far: 3." in said and "wind moved." in said
    made.shown[MODEL] = replace(made.shown[MODEL], detector=DetectorView("off", "alerts.budget is none", None, 0))
    assert "Off: alerts.budget is none." in plain(seen_of(made).words)


def test_without_rules_it_says_how_to_add_one() -> None:
    seen = seen_of(fake(rules=()))
    assert (
        "No rules" in plain(seen.words)
        and "measure: accuracy, below: 0.75" in seen.words
        and not [each for each in seen.having("id") if each["id"] == "tried"]
    )


# ---- another threshold ----------------------------------------------------------------------------------------------


def test_as_it_is_the_history_is_what_has_fired() -> None:
    made = firing()
    seen = seen_of(made)
    alerts = made.alerts(MODEL)
    assert tried(seen)["data-alerts"] == str(len(alerts))
    assert [each["data-fires"] for each in seen.having("data-fires")] == [
        one.window.start.isoformat() for one in alerts
    ]
    said = plain(seen.words)
    assert f"As it is, it fires {len(alerts)} times" in said and "As tried" not in said


def test_how_many_windows_were_judged_is_said() -> None:
    made = firing()
    judged = made.of_windows[MODEL]
    for number, words in ((0, "in no window yet."), (1, "in the newest judged window."), (2, "the newest 2 judged")):
        made.of_windows[MODEL] = judged[:number]
        assert words in plain(seen_of(made).words)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100), st.integers(1, 3))
def test_what_it_says_would_have_fired_is_what_such_a_rule_fires(percent: int, windows: int) -> None:
    rule = replace(RULE, below=percent / 100, for_windows=windows)
    made = firing()
    seen = seen_of(made, f"?rule={rule.name}&threshold={percent / 100}&for={windows}")
    again = [window_view(at, view.summary.performance["accuracy"].value, rules=(rule,)) for at, view in
             enumerate(made.of_windows[MODEL][:34])]  # fmt: skip
    expected = [one.window.start.isoformat() for one in alerts_over(again, rule)]
    rows = [each for each in seen.having("data-fires", "data-tried") if each["data-tried"] == "true"]
    assert [each["data-fires"] for each in rows] == expected
    assert tried(seen)["data-alerts"] == str(len(expected))


def test_what_changes_is_said_and_drawn() -> None:
    seen = seen_of(firing(), "?rule=accuracy-low&threshold=0.4&for=2")
    said = plain(seen.words)
    assert "as it is, it fires 4 times" in said and "As tried" in said
    labels = [each for each in seen.having("class") if each["class"] == "threshold-label"]
    assert len(labels) == 2 and "tried 0.4" in said and "now 0.75" in said
    assert "It would never have fired" in plain(seen_of(firing(), "?rule=accuracy-low&threshold=0").words)


def test_the_text_of_the_rule_is_read_as_what_was_tried() -> None:
    text = client(firing()).get(f"{PAGE}?rule=accuracy-low&threshold=0.6&for=3").text
    [entry] = re.findall(r'<code id="rule-text">(.*?)</code>', text, flags=re.DOTALL)
    indented = "\n".join(f"        {line}" for line in entry.splitlines())
    frame = f"models:\n  m:\n    reference: {{path: r.parquet}}\n    alerts:\n      rules:\n{indented}\n"
    [rule] = parse(frame, Path("driftline.yaml")).models["m"].rules
    assert rule == Rule("accuracy-low", "accuracy", below=0.6, for_windows=3, severity=Severity.PAGE)


def test_the_slider_reaches_over_the_measure() -> None:
    [slide] = list(seen_of(firing()).having("data-low"))
    assert (slide["data-low"], slide["data-high"], slide["data-step"]) == ("0", "1", "0.005")
    rule = Rule("loss", "log_loss", above=1.5)
    views = [window_view(at, 0.8, rules=(rule,)) for at in range(3)]
    [slide] = list(seen_of(fake(views, rules=(rule,))).having("data-low"))
    assert float(slide["data-low"]) == 0.0 and float(slide["data-high"]) > 1.5


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?rule=accuracy-low&threshold=abc", "The threshold came as 'abc'"),
        ("?rule=accuracy-low&threshold=nan", "the threshold came as nan; it is a finite number"),
        ("?rule=accuracy-low&threshold=1e999", "it is a finite number"),
        ("?rule=accuracy-low&for=0", "for_windows came as 0; it is 1 or more"),
        ("?rule=accuracy-low&for=1.5", "for as '1.5'"),
        ("?rule=%3Cb%3E&threshold=0.5", "There is no rule '<b>'"),
    ],
)
def test_what_makes_no_sense_is_said_and_not_tried(query: str, problem: str) -> None:
    seen = seen_of(firing(), query)
    assert problem in plain(seen.words)
    assert tried(seen)["data-threshold"] == "0.75"


def test_an_end_that_contradicts_the_threshold_is_said() -> None:
    rule = replace(RULE, clear=0.8)
    made = fake([window_view(3, 0.3, rules=(rule,))], rules=(rule,))
    assert "clear came as 0.8" in plain(seen_of(made, "?rule=accuracy-low&threshold=0.9").words)


def test_many_alerts_are_counted_and_no_window_is_no_fault() -> None:
    views = [window_view(at, 0.9 if at % 2 else 0.2) for at in range(2 * ALERTS_SHOWN + 10)]
    seen = seen_of(fake(views, alerts_over(views)))
    assert len(seen.having("data-fires")) == ALERTS_SHOWN and "5 older ones are not shown" in plain(seen.words)
    said = plain(seen_of(fake()).words)
    assert "not judged yet" in said and "No window has been judged by this rule yet." in said


def test_names_are_text_and_the_page_is_in_order() -> None:
    made = hostile()
    bad = next(iter(made.shown))
    answer = client(made).get(f"/models/{quote(bad, safe='')}/rules?rule={quote(bad)}&threshold=0.1")
    seen = Elements(answer.text)
    assert answer.status_code == 200 and bad in seen.words
    assert not [tag for tag, _ in seen.found if tag in ("img", "style", "iframe")]
    assert [each["src"] for tag, each in seen.found if tag == "script"] == ["/static/page.js", "/static/rules.js"]
    ids = [each["id"] for each in seen.having("id")]
    assert len(ids) == len(set(ids))
    named = {each["for"] for tag, each in seen.found if tag == "label"}
    assert {each["id"] for tag, each in seen.found if tag in ("input", "select")} == named
    assert client(made).get("/models/nobody/rules").status_code == 404
