"""The site of the documentation, as far as that takes no generator; `make docs` builds it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import driftline
import driftline.client

ROOT = Path(__file__).parents[1]
OUTSIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES = {str(path.relative_to(ROOT)) for path in (*OUTSIDE, *(ROOT / "docs").rglob("*.md"))}


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_conf", ROOT / "docs" / "site" / "conf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_stands_in_the_side_bar_once(conf: ModuleType) -> None:
    listed = [page for entries in conf.nav().values() for _, page in entries]
    assert sorted(listed) == sorted(PAGES - {"docs/index.md"})


def test_a_pattern_takes_the_pages_in_order_and_its_readme_first(conf: ModuleType) -> None:
    decisions = [page for _, page in conf.nav()["About Driftline"] if "decisions" in page]
    assert decisions[:2] == ["docs/decisions/README.md", "docs/decisions/0001-layers.md"]
    assert decisions[1:] == sorted(decisions[1:])


def test_the_side_bar_follows_the_front_page_and_no_other(conf: ModuleType) -> None:
    front, other = ["# Front"], ["# Other"]
    conf._with_nav(None, "docs/index", front)
    conf._with_nav(None, "docs/check", other)
    assert other == ["# Other"]
    assert front[0].startswith("# Front\n\n```{toctree}\n:hidden:\n:caption: Start\n\n/README.md\n/docs/demo.md\n")
    assert "\nAlerts </docs/notifications.md>\n" in front[0]
    assert front[0].count("```") == 2 * len(conf.nav())


def test_the_site_has_the_colours_of_the_product(conf: ModuleType) -> None:
    light, dark = (conf.html_theme_options[f"{ground}_css_variables"] for ground in ("light", "dark"))
    assert light["color-brand-primary"] == "#0b5f7d"
    assert light.keys() == dark.keys()
    assert {name for name in light if light[name] == dark[name]} == {"font-stack", "font-stack--monospace"}


def test_every_public_name_is_in_the_reference_once() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    named = re.findall(r"^\.\. auto(?:function|class|exception):: (\S+)$", page, flags=re.MULTILINE)
    assert len(named) == len(set(named))
    short = {name.rpartition(".")[2] for name in named}
    assert set(driftline.__all__) | set(driftline.client.__all__) <= short
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__


@pytest.mark.parametrize(
    ("text", "suffix", "found"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ".html", ["https://cdn.example/x.js"]),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', ".html", ["//fonts.example/a.css"]),
        ('<img srcset="HTTP://example.com/a.png 2x">', ".html", ["HTTP://example.com/a.png 2x"]),
        ('<a href="https://example.com">there</a><img src="_images/a.png"><script src>', ".html", []),
        ('@import "https://fonts.example/a.css";', ".css", ["https://fonts.example/a.css"]),
        ("a { background: url('https://example.com/a.png') }", ".css", ["https://example.com/a.png"]),
        ("a { background: url(data:image/svg+xml;utf8,x) url(../b.png) }", ".css", []),
    ],
)
def test_what_a_browser_would_load_from_elsewhere_is_found(
    conf: ModuleType, tmp_path: Path, text: str, suffix: str, found: list[str]
) -> None:
    assert conf.foreign(text, suffix) == found
    (tmp_path / f"page{suffix}").write_text(text)
    assert list(conf.loaded_from_elsewhere(tmp_path)) == [f"page{suffix} loads {one}" for one in found]
