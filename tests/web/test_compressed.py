"""Pages, their files and JSON are sent compressed, each encoding with a tag of its own; nothing else is."""

from __future__ import annotations

import gzip
from typing import Any

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from driftline.web.access import masked, unmasked
from driftline.web.compressed import LEAST_BYTES, Compressed, chosen

UNPACK = {"gzip": gzip.decompress, "zstd": lambda body: bytes(cramjam.zstd.decompress(body)), None: lambda body: body}
TEXT = b"".join(b"<p>%d</p>" % place for place in range(20_000))
SMALL = TEXT[: LEAST_BYTES - 1]


def client() -> TestClient:
    """An application of answers of several kinds."""

    async def page(request: Any) -> Response:
        if request.headers.get("if-none-match") == '"x"':
            return Response(status_code=304, headers={"ETag": '"x"'})
        return Response(TEXT, media_type="text/html", headers={"ETag": '"x"', "Vary": "Cookie"})

    async def small(request: Any) -> Response:
        return Response(SMALL, media_type="application/json")

    async def exposition(request: Any) -> Response:
        return Response(TEXT, media_type="text/plain")

    async def packed(request: Any) -> Response:
        return Response(gzip.compress(TEXT), media_type="text/html", headers={"Content-Encoding": "gzip"})

    async def parts(request: Any) -> Response:
        return StreamingResponse(iter([TEXT, TEXT]), media_type="text/html")

    routes = [Route(f"/{one.__name__}", one) for one in (page, small, exposition, packed, parts)]
    made = Starlette(routes=routes)
    made.add_middleware(Compressed)
    return TestClient(made)


def asked(path: str, encoding: str, **headers: str) -> tuple[Any, bytes]:
    """The answer, and its body as it was sent."""
    with client().stream("GET", path, headers={"Accept-Encoding": encoding, **headers}) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br, zstd", "zstd"), ("gzip", "gzip"), ("gzip;q=0.5, zstd;q=0.2", "gzip"), ("identity", None)],
)
def test_a_page_comes_as_the_browser_takes_it_and_once(accepted: str, encoding: str | None) -> None:
    answer, body = asked("/page", accepted)
    assert UNPACK[encoding](body) == TEXT and int(answer.headers["content-length"]) == len(body)
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Cookie, Accept-Encoding"
    tag = answer.headers["etag"]
    assert tag == (f'"x-{encoding}"' if encoding else '"x"')
    again, nothing = asked("/page", accepted, **{"If-None-Match": tag})
    assert (again.status_code, nothing, again.headers["etag"]) == (304, b"", tag)
    assert encoding is None or len(body) < len(TEXT) / 4


def test_what_is_small_or_packed_or_in_parts_or_of_another_kind_goes_as_it_is() -> None:
    for path, body in (("/small", SMALL), ("/exposition", TEXT), ("/parts", TEXT + TEXT)):
        answer, came = asked(path, "gzip")
        assert came == body and "content-encoding" not in answer.headers
    assert gzip.decompress(asked("/packed", "zstd, gzip")[1]) == TEXT


@given(st.text(max_size=60))
def test_no_header_breaks_the_choice(accepted: str) -> None:
    assert chosen(accepted) in (None, *UNPACK)


@given(st.binary(max_size=40), st.text(max_size=40))
def test_a_masked_secret_is_read_again_and_anything_else_is_none(secret: bytes, text: str) -> None:
    assert unmasked(masked(secret.hex())) == secret.hex()
    assert set(unmasked(text)) <= set("0123456789abcdef")


def test_two_answers_hold_no_text_of_the_secret_in_common() -> None:
    secret = "5f" * 32
    one, other = masked(secret), masked(secret)
    assert one[:64] != other[:64] and one[64:] != other[64:] and secret not in (one[:64], one[64:])
