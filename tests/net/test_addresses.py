"""What is an address: whatever passes can be asked, and says nothing that a reader would take for its end."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline.errors import UsageError
from driftline.net.addresses import is_address, is_host_and_port, require_address

NEAR = st.lists(
    st.sampled_from(
        ["http", "https", "://", "host", "[::1]", ":", "8000", "0", "/", "?", "#", "@", "\\", " ", "ö", "\n"]
    ),
    max_size=8,
).map("".join)


@given(NEAR | st.text())
@example("http://host:99999/")
@example("http://[::1/")
@example("https://user:secret@host/path?key=1")
def test_what_passes_is_an_address_for_the_client_that_asks(text: str) -> None:
    if not is_address(text):
        assert not is_address(text, plain=True)
        return
    url = httpx.URL(text)
    assert url.scheme in ("http", "https") and url.host
    assert not set(text) & set(' \t\n"\\<>')


@given(NEAR)
def test_to_a_plain_address_a_path_can_be_added(text: str) -> None:
    if is_address(text, plain=True):
        assert httpx.URL(f"{text.rstrip('/')}/api").path.endswith("/api")


@pytest.mark.parametrize("text", ["localhost", "host:0", "host:65536", "http://host:80", "[::1]", "a b:1", ""])
def test_a_host_without_a_port_that_can_be_had_is_none(text: str) -> None:
    assert not is_host_and_port(text)


def test_an_address_that_is_none_is_not_repeated_for_it_may_hold_a_password() -> None:
    with pytest.raises(UsageError, match="the address of Airflow is none") as refused:
        require_address("http://user:secret@host path", "Airflow")
    assert "secret" not in str(refused.value)
