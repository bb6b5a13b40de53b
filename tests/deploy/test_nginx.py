"""A real nginx with the file of `deploy/proxies`, an OIDC proxy that is made here, and Driftline behind them."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import trustme

from driftline.access.callers import Role
from driftline.access.tokens import create_token
from driftline.config.load import load
from driftline.service.runtime import Service
from tests.support.churn import write_config
from tests.support.served import serving
from tests.support.servers import free_port, until

ROOT = Path(__file__).parents[2]
KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is missing: apt-get install nginx-light")


class SignsIn(BaseHTTPRequestHandler):
    """What oauth2-proxy says to nginx: who has the cookie is ann; everybody else has to sign in."""

    def do_GET(self) -> None:
        is_in = "session=ann" in self.headers.get("Cookie", "")
        self.send_response(202 if self.path == "/oauth2/auth" and is_in else 401)
        if is_in:
            self.send_header("X-Auth-Request-Email", "ann@example.com")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, ssl.SSLContext, str]]:
    """The addresses for people and for programs, whom to trust, and a token."""
    folder = tmp_path_factory.mktemp("nginx")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    example = (ROOT / "deploy" / "proxies" / "nginx.conf").read_text()
    [auth] = re.findall(r"^#\s+(auth: .*)$", example, re.MULTILINE)
    config = write_config(folder, f"{auth}\nurl: https://localhost")
    service = Service(load(config))
    token = create_token(service.state, "scorer", Role.READ, datetime.now(UTC), by="root")
    service.stop()
    oidc = ThreadingHTTPServer(("127.0.0.1", 0), SignsIn)
    threading.Thread(target=oidc.serve_forever, daemon=True).start()
    people, programs = free_port(), free_port()
    with serving(config) as (_, address):
        places = {
            "/etc/driftline/tls": str(folder),
            "127.0.0.1:8000": address.removeprefix("http://"),
            "127.0.0.1:4180": f"127.0.0.1:{oidc.server_port}",
            "listen 443 ssl": f"listen 127.0.0.1:{people} ssl",
            "listen 8443 ssl": f"listen 127.0.0.1:{programs} ssl",
            "driftline.example": "localhost",
        }
        for here, there in places.items():
            assert here in example
            example = example.replace(here, there)
        scratch = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in KINDS)
        whole = f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {scratch} {example} }}"
        (folder / "nginx.conf").write_text(whole)
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors")]
        tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert "test is successful" in tried.stderr, tried.stderr
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            bases = f"https://localhost:{people}", f"https://localhost:{programs}"
            until(lambda: _answers(f"{bases[1]}/health", trusted), "nginx answers", 20)
            yield *bases, trusted, token
        finally:
            process.terminate()
            process.wait(20)
            oidc.shutdown()
            oidc.server_close()


def _answers(address: str, trusted: ssl.SSLContext) -> bool:
    try:
        return httpx.get(address, verify=trusted, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_person_is_who_the_sign_in_says_and_not_who_they_say(proxied: tuple[str, str, ssl.SSLContext, str]) -> None:
    people, _, trusted, _ = proxied
    with httpx.Client(
        base_url=people, verify=trusted, trust_env=False, headers={"X-Forwarded-User": "mallory"}
    ) as client:
        assert client.get("/api/v1/models").status_code == 401
        client.cookies.set("session", "ann")
        page = client.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert 'data-caller="ann@example.com"' in page.text and "mallory" not in page.text
        assert re.fullmatch("[0-9a-f]{32}", page.headers["X-Request-Id"])  # nginx's own
        body = {"match": {"model": "x"}, "for": "1h", "reason": "r"}
        assert client.post("/api/v1/silences", json=body).status_code == 403  # the example gives the role read


def test_a_program_needs_its_token_whoever_it_says_it_is(proxied: tuple[str, str, ssl.SSLContext, str]) -> None:
    _, programs, trusted, token = proxied
    with httpx.Client(
        base_url=programs, verify=trusted, trust_env=False, headers={"X-Forwarded-User": "mallory"}
    ) as client:
        client.cookies.set("session", "ann")
        assert client.get("/api/v1/models").status_code == 401
        assert client.get("/api/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code == 200
