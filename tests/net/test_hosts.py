"""Host and Origin: a server answers only to its names, and only its own pages write."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.net.hosts import Hosts

OURS = Hosts.of(["driftline.example", "[fd00::7]"], "https://proxy.example:8443/driftline")
PORTS = st.sampled_from(["", ":80", ":8000", ":65535"])


@given(st.integers(1, 2**24 - 2).map(lambda last: str(ipaddress.ip_address(127 * 2**24 + last))), PORTS)
def test_every_address_of_loopback_is_ours(address: str, port: str) -> None:
    assert OURS.refuse("GET", [address + port], []) is None


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "localhost.", "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]", "driftline.example:443",
     "Driftline.Example.", "proxy.example", "proxy.example:8443", "[fd00::7]:80"],
)  # fmt: skip
def test_names_of_ours_in_every_spelling(host: str) -> None:
    assert OURS.refuse("GET", [host], []) is None
    assert OURS.refuse("POST", [host], []) is None  # programs send no Origin


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:8000",
     "evil.example#localhost", "localhost@evil.example", "evil.example@localhost", "localhost:8000@evil.example",
     "localhost:", "localhost:x",
     "localhost:99999", "localhost:8000:8000", "localhost/", "//localhost", "http://localhost", " localhost",
     "localhost ",
     "local\thost", "localhost,evil.example", "0.0.0.0", "0", "10.0.0.1", "[::]", "[::1", "::1", "[::1]x", "[evil]",
     "[::1%25lo]", "127.1", "0x7f.1", "2130706433", "localhost..",
     ".localhost", "sub.localhost", "driftline.example.evil",
     "xdriftline.example", "localho\u017ft", "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "BREW"])
def test_any_other_name_is_misdirected(host: str, method: str) -> None:
    refusal = OURS.refuse(method, [host], [])
    assert refusal is not None
    assert refusal.status == 421


def test_one_host_is_named_no_more_and_no_less() -> None:
    for hosts in ([], ["localhost", "localhost"], ["localhost", "evil.example"]):
        refusal = OURS.refuse("GET", hosts, [])
        assert refusal is not None
        assert refusal.status == 421


@given(st.text(max_size=20))
def test_any_text_is_ours_only_if_its_name_is(host: str) -> None:
    if OURS.refuse("GET", [host], []) is None:
        name = host.lower().rpartition(":")[0] or host.lower()
        assert name.strip("[].").startswith(("127.", "localhost", "::1", "driftline.example", "proxy.example", "fd00"))


@pytest.mark.parametrize(
    ("host", "origin", "may"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("localhost", "http://localhost", True),
        ("localhost:80", "http://LOCALHOST", True),
        ("localhost:443", "https://localhost", True),
        ("[::1]:8000", "http://[::1]:8000", True),
        ("driftline.example", "https://driftline.example", True),
        ("127.0.0.1:8000", "https://proxy.example:8443", True),
        ("127.0.0.1:8000", "http://localhost:8000", False),  # another origin, which may be another program's page
        ("127.0.0.1:8000", "http://127.0.0.1:3000", False),
        ("127.0.0.1:8000", "http://127.0.0.1", False),
        ("127.0.0.1:8000", "null", False),
        ("127.0.0.1:8000", "", False),
        ("127.0.0.1:8000", "http://evil.example", False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000@evil.example", False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000.evil.example", False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/", False),
        ("127.0.0.1:8000", "file://127.0.0.1:8000", False),
        ("127.0.0.1:8000", "127.0.0.1:8000", False),
    ],
)
def test_only_our_own_pages_write(host: str, origin: str, may: bool) -> None:
    for method in ("POST", "DELETE", "PUT", "PATCH", "OPTIONS"):
        refusal = OURS.refuse(method, [host], [origin])
        assert (refusal is None) is may
        assert refusal is None or refusal.status == 403
    assert OURS.refuse("GET", [host], [origin]) is None
    assert OURS.refuse("POST", [host], [origin, origin]) is not None


def test_a_refusal_says_what_came_and_acts_on_nothing() -> None:
    refusal = OURS.refuse("GET", ["evil\x1b[31m.example"], [])
    assert refusal is not None
    assert "evil\\x1b[31m.example" in refusal.message
    assert "hosts" in refusal.message
