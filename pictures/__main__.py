"""Follow pages of the documentation, and photograph what they say at the marked places.

A mark names the picture, what to look at (an address, or a file that the page has written), and how large:

    <!-- picture: tutorial-1.png http://127.0.0.1:8000/ 900x640 -->

An address that is not known before is that of a link: ``http://127.0.0.1:8000/models/rain>/alerts/`` is where the first
link to an alert leads on the page of a model.
"""

from __future__ import annotations

import argparse
import io
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
MARK = re.compile(
    r"^<!-- picture: (?P<name>[\w-]+\.png) (?P<place>\S+) (?P<width>\d+)x(?P<height>\d+) -->$", re.MULTILINE
)
COLOURS = 128
CHROMIUM = "/usr/bin/chromium"
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Mark(NamedTuple):
    """A place in a page that wants a picture."""

    name: str
    place: str
    width: int
    height: int


def marks(text: str) -> list[Mark]:
    """Return the marks of a page, in order.

    >>> marks("<!-- picture: a.png report.html 900x600 -->")
    [Mark(name='a.png', place='report.html', width=900, height=600)]
    """
    return [_mark(found) for found in MARK.finditer(text)]


def pages_with_pictures() -> list[Path]:
    """Return the pages that have a mark."""
    return [page for page in sorted((ROOT / "docs").rglob("*.md")) if marks(page.read_text())]


def follow(page: Path, images: Path, browser: Any) -> list[Path]:
    """Run a page from top to bottom, as the tests do, and take its pictures; return their paths."""
    from sybil import Document, Example, Region, Sybil
    from sybil.parsers.markdown import CodeBlockParser

    import conftest

    made: list[Path] = []

    def photograph(example: Example) -> None:
        mark: Mark = example.parsed
        place = conftest.with_ports(mark.place, example.namespace)
        tab = browser.new_page(viewport={"width": mark.width, "height": mark.height})
        place, _, link = place.partition(">")
        tab.goto(place if "://" in place else Path(place).resolve().as_uri(), wait_until="networkidle")
        if link:
            tab.goto(tab.locator(f'a[href^="{link}"]').first.evaluate("link => link.href"), wait_until="networkidle")
        save(tab.screenshot(), images / mark.name)
        tab.close()
        made.append(images / mark.name)

    def pictures(document: Document) -> Iterator[Region]:
        for found in MARK.finditer(document.text):
            yield Region(found.start(), found.end(), _mark(found), photograph)

    blocks = (
        CodeBlockParser("python", conftest.run_python),
        CodeBlockParser("console", conftest.run_console),
        pictures,
    )
    document = Sybil(parsers=blocks).parse(page)
    conftest.enter(document.namespace)
    document.namespace["_ports"] = own_ports(document.namespace["_ports"])
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        conftest.leave(document.namespace)
    return made


def save(screenshot: bytes, path: Path) -> None:
    """Store a picture in few colours, of which pages have no more, and without anything beside its points."""
    from PIL import Image

    with Image.open(io.BytesIO(screenshot)) as opened:
        picture = opened.convert("RGB")
    # What much of a page is in stays nearly as it is; what a verdict is in, though few points are, finds its like.
    usual = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)[: COLOURS // 2]
    spread = picture.quantize(COLOURS - len(usual), Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in usual for part in colour] + (spread or []))  # type: ignore[attr-defined]
    few = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    few.save(path, "PNG", optimize=True)


def own_ports(free: dict[str, str]) -> dict[str, str]:
    """Return the ports by the names that pages have for them: the same where they are free, for they are seen."""
    return {name: name if _is_free(int(name)) else port for name, port in free.items()}


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _mark(found: re.Match[str]) -> Mark:
    return Mark(found["name"], found["place"], int(found["width"]), int(found["height"]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures of the pages that are named, or of all."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m pictures", description="Make the pictures of pages.")
    parser.add_argument("pages", nargs="*", type=Path, help="all pages with pictures, if left out")
    pages = [page.resolve() for page in parser.parse_args(arguments).pages] or pages_with_pictures()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for page in pages:
            for picture in follow(page, IMAGES, browser):
                sys.stdout.write(f"{picture.name}  {picture.stat().st_size / 1000:.0f} kB  ({page.name})\n")
        browser.close()


if __name__ == "__main__":
    main()
