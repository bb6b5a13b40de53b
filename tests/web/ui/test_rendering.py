"""Templates are compiled beside the start of a service, so that no page waits for it."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from driftline.web.ui.rendering import compile_templates
from tests.web.ui.fabricate import firing
from tests.web.ui.test_pages import PAGE, client


def test_no_page_compiles_a_template_that_was_compiled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_templates()

    def compile_one(*_: Any, **__: Any) -> Any:
        raise AssertionError("a template is compiled anew")

    monkeypatch.setattr(jinja2.Environment, "compile", compile_one)
    views = firing()
    for path in ("/", PAGE, f"/alerts/{views.alerts()[0].id}", "/models/none"):
        assert client(views).get(path, headers={"Accept": "text/html"}).status_code in (200, 404)
