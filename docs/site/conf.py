"""Makes a site of the pages in docs/ and of the docstrings of the public names: `make docs`.

The root of the repository is the source, so that a link means the same here and where the repository is shown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_NAV = Path(__file__).with_name("nav.yaml")
_STATIC = ROOT / "src" / "driftline" / "web" / "ui" / "static"

project = "Driftline"
author = "the authors of Driftline"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

root_doc = "docs/index"
include_patterns = ["docs/**.md", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "dist", "src", "tests"]  # not even looked through
extensions = ["myst_parser", "sphinx.ext.autodoc"]

myst_heading_anchors = 6
suppress_warnings = ["misc.highlighting_failure"]  # a page may show JSON with `…` in it
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
default_role = "py:obj"  # `Name` in a docstring; what is not public stays as it is written


def nav(root: Path = ROOT) -> dict[str, list[tuple[str | None, str]]]:
    """Return the pages of each part, by their path from ``root``, with a short name where one is given."""
    parts: dict[str, list[tuple[str | None, str]]] = {}
    for part, entries in yaml.safe_load(_NAV.read_text()).items():
        parts[part] = []
        for entry in entries:
            title, pattern = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
            found = sorted(root.glob(pattern), key=lambda path: (path.stem not in {"README", "index"}, path.name))
            parts[part] += [(title, str(path.relative_to(root))) for path in found]
    return parts


def colours(sheet: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the colours of the product's own pages, for light and for dark ground."""
    blocks = re.findall(r":root \{(.*?)\}", sheet, flags=re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): ([^;]+);", block)) for block in blocks)
    return light, {**light, **dark}


def _theme(colour: dict[str, str]) -> dict[str, str]:
    return {
        "color-brand-primary": colour["series"],
        "color-brand-content": colour["link"],
        "color-brand-visited": colour["link"],
        "color-foreground-primary": colour["text"],
        "color-foreground-secondary": colour["quiet"],
        "color-foreground-muted": colour["quiet"],
        "color-foreground-border": colour["rule"],
        "color-background-primary": colour["surface"],
        "color-background-secondary": colour["ground"],
        "color-background-hover": colour["neutral-ground"],
        "color-background-border": colour["rule"],
        "color-api-name": colour["series"],
        "color-api-pre-name": colour["quiet"],
        "color-inline-code-background": colour["neutral-ground"],
        "color-code-background": colour["sunken"],
        "color-highlight-on-target": colour["info-ground"],
        "font-stack": 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif',
        "font-stack--monospace": colour["mono"],
    }


_light, _dark = colours((_STATIC / "page.css").read_text())

html_theme = "furo"
html_title = "Driftline"
html_favicon = html_logo = str(_STATIC / "icon.svg")
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "front.html"}
templates_path = ["."]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_domain_indices = False
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
html_theme_options = {
    "light_css_variables": _theme(_light),
    "dark_css_variables": _theme(_dark),
    "top_of_page_buttons": [],
}


def _with_nav(_app: Any, page: str, source: list[str]) -> None:
    """Put the side bar behind the text of the front page, where the page itself does not show it."""
    if page != root_doc:
        return
    for part, entries in nav().items():
        lines = [f"{title} </{path}>" if title else f"/{path}" for title, path in entries]
        source[0] += "\n".join(["\n\n```{toctree}", ":hidden:", f":caption: {part}", "", *lines, "```\n"])


class _Resources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.found += [value or "" for name, value in attrs if name in {"src", "srcset", "href", "poster", "data"}]


def foreign(text: str, suffix: str) -> list[str]:
    """Return the addresses of other hosts that a browser loads with a page or a style sheet; links are not loaded."""
    if suffix == ".css":
        found = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", text)
    else:
        page = _Resources()
        page.feed(text)
        found = page.found
    return [one for one in found if re.match(r"(https?:)?//", one, flags=re.IGNORECASE)]


def loaded_from_elsewhere(folder: Path) -> Iterator[str]:
    """Yield what a built site would load from other hosts, with the file that says so."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".html", ".css", ".svg"}:
            for one in foreign(path.read_text(encoding="utf-8"), path.suffix):
                yield f"{path.relative_to(folder)} loads {one}"


def _finish(app: Any, failed: Exception | None) -> None:
    """The site works without a network: refuse one that does not."""
    from sphinx.errors import ExtensionError

    if failed is None and (found := list(loaded_from_elsewhere(Path(app.outdir)))):
        raise ExtensionError("\n".join(found))


def setup(app: Any) -> None:
    """Tell Sphinx what is done here beside what the settings say."""
    app.connect("source-read", _with_nav)
    app.connect("build-finished", _finish)
