"""Model cards: what is known, nothing else, and no text of others becomes markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from driftline.cli.card import command
from driftline.errors import UnknownNameError
from driftline.reports.model_card import CardEvent, CardMeasure, CardRows, ModelCard, html, markdown
from driftline.retrain.cards import model_card
from driftline.service.runtime import Service
from tests.retrain.test_surface import client
from tests.support.churn import MODEL
from tests.support.retraining import days, loop

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECTIONS = ["Data", "Inputs", "Performance", "Contest", "Drift and alerts since", "History", "Files"]


def test_the_card_of_a_champion_that_won_its_place(lived: Callable[..., Service], tmp_path: Path) -> None:
    service = lived()
    loop(service)
    days(service, 12, 15, version="v2")
    config = ["--config", str(tmp_path / "driftline.yaml")]
    text = CliRunner().invoke(command, [MODEL, *config], catch_exceptions=False).output
    assert text.startswith(
        "# churn, version v2\n\nbinary model, champion. Registered 2026-01-01 00:00 UTC. Before it was v1. Code: abc."
    )
    assert re.findall("^## (.+)$", text, re.MULTILINE) == SECTIONS
    for part in (
        "| learned from | 2024-03-02 | 2024-03-07 | 200 |",
        "| plan | categorical |",
        "| accuracy | 0.9 | 0.7",
        "**promote**: On 200 rows its accuracy is better",
        "- ✓ better: On 200 rows",
        "- 2026-01-01 00:00 UTC: baking by driftline. v2 is champion in place of v1, on probation",
        "| model.json | 22 |",
        "No alert since it is live.",
    ):
        assert part in text, part
    page = client(service).get(f"/api/v1/models/{MODEL}/card")
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>churn, version v2</h1>" in page.text
    written = tmp_path / "card.html"
    CliRunner().invoke(command, [MODEL, "v2", "--html", str(written), *config], catch_exceptions=False)
    assert written.read_text() == page.text


def test_a_version_that_was_only_seen_says_what_is_not_known(make: Callable[..., Service]) -> None:
    service = make()
    days(service, 0, 3, flipped=False)
    text = markdown(model_card(MODEL, None, "binary", service.state, service.loop.registry))
    assert text.startswith("# churn, version v1\n\nbinary model.\n")
    for part in (
        "was not trained by Driftline",
        "Not recorded.",
        "It has entered by no contest.",
        "None are kept here.",
    ):
        assert part in text
    assert "| accuracy | 0.9 |" in text


def test_a_card_says_no_alert_only_of_what_has_answered_and_one_that_goes_on_speaks_of_both(
    lived: Callable[..., Service],
) -> None:
    service = lived()
    loop(service)
    card = lambda version: markdown(model_card(MODEL, version, "binary", service.state, service.loop.registry))  # noqa: E731
    assert "Alerts: not known, it has answered in no window." in card("v2")
    assert "accuracy-low, firing" in card("v1")
    days(service, 12, 15, version="v2", flipped=False)
    assert "accuracy-low, firing" in card("v2")


def test_the_card_of_a_champion_without_a_name_speaks_of_what_came_without_one(make: Callable[..., Service]) -> None:
    service = make()
    days(service, 0, 12, version="", named="v1")
    loop(service)
    text = markdown(model_card(MODEL, "unversioned", "binary", service.state, service.loop.registry))
    assert "accuracy-low, firing" in text and "| accuracy | 0.1 |" in text


def test_what_nobody_knows(make: Callable[..., Service]) -> None:
    service = make()
    with pytest.raises(UnknownNameError, match="unknown version of churn 'v9'"):
        model_card(MODEL, "v9", "binary", service.state, service.loop.registry)
    assert client(service).get(f"/api/v1/models/{MODEL}/card").status_code == 404
    assert client(service).get("/api/v1/models/nobody/card").status_code == 404


def test_an_empty_card_has_all_sections_and_no_number() -> None:
    text = markdown(ModelCard("m", "v", "binary"))
    assert re.findall("^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert "Alerts: not known" in text and "Alerts: not known" in html(ModelCard("m", "v", "binary"))
    assert not re.search(r"\d", text.replace("95", ""))
    assert "Not measured" in html(ModelCard("m", "v", "binary"))


HOSTILE = st.sampled_from(
    ["<script>alert(1)</script>", "a | b", "**x**", "[x](javascript:alert(1))", "a\n# b", "`", "\\|"]
)


@given(HOSTILE | st.text(max_size=30), st.none() | st.floats(allow_nan=False))
def test_no_text_becomes_markup(text: str, value: float | None) -> None:
    card = ModelCard(
        text,
        text,
        text,
        code=text,
        status=text,
        rows=[CardRows(text, NOW, NOW, 3)],
        signature=[(text, text)],
        files=[(text, 1, "0")],
        window=(NOW, NOW),
        measures=[CardMeasure(text, value, value, value, 3, text)],
        decision="hold",
        reason=text,
        gates=[(text, None, text)],
        segments=[(text, value, None, 3)],
        drift=[text],
        alerts=[CardEvent(NOW, text, text)],
        history=[CardEvent(NOW, text, text, text)],
    )
    said = markdown(card)
    assert re.findall("^## (.+)$", said, re.MULTILINE) == SECTIONS
    plain = markdown(ModelCard("m", "v", "t", signature=[("a", "b")], window=(NOW, NOW)))
    assert said.count("\n# ") == plain.count("\n# ") == 0
    page = html(card)
    assert "<script" not in page and page.count("<section>") == len(SECTIONS)
    assert not re.search(r"(?<!\\)\[x\]\(", said)
