"""The pictures of the tutorials: one on each page, made by `python -m pictures`, small, with nothing else in them."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from pictures.__main__ import (
    CHROMIUM,
    COLOURS,
    IMAGES,
    OPTIONS,
    ROOT,
    Mark,
    follow,
    marks,
    own_ports,
    pages_with_pictures,
    save,
)

TUTORIALS = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
MOST_BYTES = 80_000


def chunks(picture: bytes) -> Iterator[bytes]:
    """The kinds of chunks in a PNG."""
    at = 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        yield picture[at + 4 : at + 8]
        at += 12 + length


def test_there_are_six_tutorials_with_pictures_and_the_command_knows_them_all() -> None:
    assert [page.name[:2] for page in TUTORIALS] == ["01", "02", "03", "04", "05", "06"]
    assert pages_with_pictures() == TUTORIALS
    made = [mark.name for page in TUTORIALS for mark in marks(page.read_text())]
    assert [name for name in made if name.count("-") == 1] == [f"tutorial-{number}.png" for number in range(1, 7)]
    assert sorted(path.name for path in IMAGES.glob("tutorial-*")) == sorted(made)
    assert all(f"-{int(page.name[:2])}" in mark.name for page in TUTORIALS for mark in marks(page.read_text()))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_a_picture_stands_below_its_mark_is_small_and_says_nothing_else(page: Path) -> None:
    text = page.read_text()
    wanted = marks(text)
    shown = re.findall(r"-->\n!\[([^\]]{30,})\]\(\.\./images/([^)]+)\)", text)
    assert [name for _, name in shown] == [mark.name for mark in wanted]
    for mark in wanted:
        picture = (IMAGES / mark.name).read_bytes()
        assert len(picture) < MOST_BYTES
        assert {*chunks(picture)} <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
        with Image.open(io.BytesIO(picture)) as read:
            assert read.size == (mark.width, mark.height)


def test_every_picture_of_the_documentation_is_shown_somewhere() -> None:
    text = "".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    assert [path.name for path in IMAGES.iterdir() if f"images/{path.name})" not in text] == []


@pytest.mark.parametrize(
    "text", ["picture: a.png b 1x1", "<!-- picture: a.svg b 1x1 -->", "<!-- picture: ../a.png b 1x1 -->", ""]
)
def test_what_is_no_mark_is_none(text: str) -> None:
    assert marks(text) == []


def test_a_picture_keeps_its_points_in_few_colours(tmp_path: Path) -> None:
    noisy = Image.effect_noise((64, 64), 80).convert("RGB")
    noisy.save(screenshot := io.BytesIO(), "PNG", dpi=(72, 72))
    save(screenshot.getvalue(), tmp_path / "few.png")
    with Image.open(tmp_path / "few.png") as few:
        assert few.size == (64, 64) and len(few.getcolors() or []) <= COLOURS
    assert b"pHYs" not in {*chunks((tmp_path / "few.png").read_bytes())}


def test_a_verdict_of_a_few_points_keeps_its_colour(tmp_path: Path) -> None:
    red, teal = (179, 27, 27), (8, 95, 124)
    page = Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * turn) for turn in range(3)])
    page.paste((244, 245, 247), (0, 200, 256, 256))
    page.paste(red, (10, 10, 18, 14))
    page.paste(teal, (200, 30, 206, 36))
    page.save(screenshot := io.BytesIO(), "PNG")
    save(screenshot.getvalue(), tmp_path / "few.png")
    with Image.open(tmp_path / "few.png") as few:
        shown = few.convert("RGB")
        for colour, place in ((red, (12, 12)), (teal, (202, 32))):
            assert max(abs(a - b) for a, b in zip(colour, shown.getpixel(place), strict=True)) < 20  # type: ignore[arg-type]
        assert shown.getpixel((40, 240)) == (244, 245, 247)


def test_ports_that_are_seen_are_those_of_the_page_where_they_are_free() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert own_ports({port: "1234"}) == {port: "1234"}
    assert own_ports({port: "1234"}) == {port: port}


PAGE = """\
```python
from pathlib import Path

Path("report.html").write_text("<body style='background: #f00'></body>")
```

<!-- picture: red.png report.html 40x30 -->

```python
Path("report.html").write_text("<body style='background: #00f'></body>")
```

<!-- picture: blue.png report.html 30x40 -->
"""


def test_a_page_is_followed_and_photographed_where_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    assert marks(PAGE) == [Mark("red.png", "report.html", 40, 30), Mark("blue.png", "report.html", 30, 40)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        made = follow(tmp_path / "page.md", tmp_path, browser)
        browser.close()
    seen = []
    for path in made:
        with Image.open(path) as picture:
            seen.append((path.name, picture.size, picture.convert("RGB").getpixel((20, 20))))
    assert seen == [("red.png", (40, 30), (255, 0, 0)), ("blue.png", (30, 40), (0, 0, 255))]


def test_a_picture_may_be_of_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "```python\n"
        "from pathlib import Path\n\n"
        "Path('first.html').write_text(\"<a href='other'></a><a href='second.html'></a>\")\n"
        "Path('second.html').write_text(\"<body style='background: #0f0'></body>\")\n"
        "```\n\n"
        "<!-- picture: green.png first.html>second 20x20 -->\n"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        [made] = follow(tmp_path / "page.md", tmp_path, browser)
        browser.close()
    with Image.open(made) as picture:
        assert picture.convert("RGB").getpixel((10, 10)) == (0, 255, 0)
