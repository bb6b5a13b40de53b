"""Who may ask for what: every route by every role, the page's sign-in, and a proxy that signs people in."""

from __future__ import annotations

import html
import ipaddress
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import trustme
from fastapi.testclient import TestClient

from driftline import clock
from driftline.access.callers import Role
from driftline.access.options import Auth, Proxy
from driftline.access.tokens import create_token, revoke_token
from driftline.config.load import load
from driftline.errors import UsageError
from driftline.service.runtime import Service
from driftline.store.retraining import Retraining, RetrainingRow
from driftline.web import access
from driftline.web.access import Gate
from driftline.web.app import create_app
from driftline.web.server import Server
from tests.support.alert_rows import alert_row
from tests.support.churn import MODEL, prediction, write_config

ROOT = "root"
OPEN = {"/health", "/ready", "/sign-in", "/sign-out", "/static/{path:path}"}
EVENTS = {"/api/v1/models/{model}/predictions", "/api/v1/models/{model}/labels"}
OF_NO_MODEL = {"/api/docs", "/api/openapi.json"}
PAGE = {"Accept": "text/html"}
TOKENS_ALONE = Auth()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(load(write_config(tmp_path_factory.mktemp("access"))))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def tokens(service: Service) -> dict[str, str]:
    now = datetime.now(UTC)
    made = {role.value: create_token(service.state, role.value, role, now, by=ROOT) for role in Role}
    made["limited"] = create_token(service.state, "limited", Role.ADMIN, now, models=[MODEL], by=ROOT)
    made["elsewhere"] = create_token(service.state, "elsewhere", Role.ADMIN, now, models=["other"], by=ROOT)
    made["expired"] = create_token(
        service.state, "expired", Role.ADMIN, now - timedelta(days=2), lasts=timedelta(days=1), by=ROOT
    )
    return made


def client_of(service: Service, auth: Auth = TOKENS_ALONE, at: str = "127.0.0.1") -> TestClient:
    app = create_app(service, Gate(service.state, auth, required=True))
    return TestClient(app, client=(at, 5000), follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture
def client(service: Service) -> TestClient:
    return client_of(service)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def routes(service: Service) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for one in create_app(service).routes:
        inner = getattr(one, "original_router", None)  # a router that the application includes
        for route in [one] if inner is None else inner.routes:
            found += [(method, route.path) for method in route.methods]
    return sorted(found)


def roles_of(method: str, path: str) -> set[str]:
    """Who may, by the contract: *write* posts events and nothing else, *read* every GET, *admin* all."""
    if path in OF_NO_MODEL or path == "/":  # which shows to each the models that they may see
        return {"read", "admin", "limited", "elsewhere"}
    everybody = {"admin", "read"} if method == "GET" else {"admin", "write"} if path in EVENTS else {"admin"}
    return everybody | {"limited"} if "{model" in path else everybody


def test_each_route_refuses_who_lacks_the_role_and_no_other(service: Service, tokens: dict[str, str]) -> None:
    client, seen = client_of(service), 0
    for method, path in routes(service):
        address = re.sub(r"\{model(:path)?\}", MODEL, path)
        address = re.sub(r"\{\w+(:path)?\}", "nothing", address)
        answers = {
            name: client.request(method, address, headers=bearer(token) | {"Content-Type": "application/json"})
            for name, token in {**tokens, "unknown": "dl_" + "a" * 43}.items()
        }
        answers["nobody"] = client.request(method, address)
        said = {name: answer.status_code for name, answer in answers.items()}
        if path in OPEN:
            assert not {401, 403} & (set(said.values()) - {401 if path == "/sign-in" else 0}), (method, path, said)
            continue
        seen += 1
        assert {name for name, status in said.items() if status == 401} == {"nobody", "unknown", "expired"}, (
            path,
            said,
        )
        allowed = {name for name, status in said.items() if status not in (401, 403)}
        assert allowed == roles_of(method, path), (method, path, said)
        for answer in answers.values():
            assert answer.status_code < 500, (method, path, answer.text)
            if answer.status_code in (401, 403):
                assert set(answer.json()["error"]) == {"type", "message"}
        assert answers["nobody"].headers["WWW-Authenticate"] == "Bearer"
    assert seen > 35


def test_each_route_that_is_not_open_counts_and_refuses_who_has_used_their_rate(service: Service) -> None:
    now = datetime.now(UTC)
    token = create_token(service.state, "slow", Role.ADMIN, now, rate="1/min", by=ROOT)
    client, seen = client_of(service), 0
    assert client.get("/api/v1/models", headers=bearer(token)).status_code == 200
    for method, path in routes(service):
        address = re.sub(r"\{model(:path)?\}", MODEL, path)
        answer = client.request(method, re.sub(r"\{\w+(:path)?\}", "nothing", address), headers=bearer(token))
        assert (answer.status_code == 429) is (path not in OPEN), (method, path, answer.text)
        if path not in OPEN:
            seen += 1
            assert 50 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.json()["error"]["type"] == "RateLimitError"
    assert seen > 35


def test_a_batch_costs_its_rows_and_others_do_not_pay_for_it(
    service: Service, client: TestClient, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: 100.0)
    token = create_token(service.state, "fast", Role.WRITE, datetime.now(UTC), rate="100/s", by=ROOT)
    path, many = f"/api/v1/models/{MODEL}/predictions", [prediction(f"r{i}", 0.1, said=1) for i in range(1000)]
    assert client.post(path, json=many, headers=bearer(token)).status_code == 202
    refused = client.post(path, json=many[:1], headers=bearer(token))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert client.post(path, json=many[:1], headers=bearer(tokens["write"])).status_code == 202


def test_bad_rows_and_batches_of_none_cost_their_rate_too(service: Service) -> None:
    path = f"/api/v1/models/{MODEL}/predictions"
    client, bodies = client_of(service), {"bad": [{"id": str(at)} for at in range(1000)], "none": []}
    for name, status in (("bad", 422), ("none", 202)):
        token = create_token(service.state, name, Role.WRITE, datetime.now(UTC), rate="10/min", by=ROOT)
        found = [client.post(path, json=bodies[name], headers=bearer(token)).status_code for _ in range(3)]
        assert found == [status, 429, 429]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "bearer", "Token x", "Bearer \N{SNOWMAN}".encode().decode("latin-1")],
)
def test_other_credentials_are_refused(client: TestClient, header: str) -> None:
    answer = client.get("/api/v1/models", headers={"Authorization": header.encode("latin-1")})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_two_tokens_are_none(client: TestClient, tokens: dict[str, str]) -> None:
    both = [("Authorization", f"Bearer {tokens['read']}"), ("Authorization", f"Bearer {tokens['admin']}")]
    assert client.get("/api/v1/models", headers=both).status_code == 401


def test_a_revoked_token_is_refused_within_a_second(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    token = create_token(service.state, "leaver", Role.READ, datetime.now(UTC), by=ROOT)
    monkeypatch.setattr(access, "_BELIEVED_FOR", timedelta(0))
    client = client_of(service)
    assert client.get("/api/v1/models", headers=bearer(token)).status_code == 200
    revoke_token(service.state, "leaver", datetime.now(UTC), by=ROOT)
    answer = client.get("/api/v1/models", headers=bearer(token))
    assert (answer.status_code, "was revoked" in answer.text) == (401, True)


def test_a_token_is_looked_up_once_a_second(
    service: Service, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []
    known = access.caller_of
    monkeypatch.setattr(access, "caller_of", lambda *given: looked_up.append(given) or known(*given))
    client = client_of(service)
    for _ in range(20):
        assert client.get("/api/v1/models", headers=bearer(tokens["read"])).status_code == 200
    assert len(looked_up) <= 2


def test_nobody_is_asked_where_nothing_is_required(service: Service) -> None:
    client = TestClient(create_app(service))
    assert client.get("/api/v1/models", headers=bearer("whatever")).status_code == 200
    answer = client.post("/api/v1/silences", json={"match": {"model": "x"}, "by": "ann", "reason": "r", "for": "1h"})
    assert (answer.status_code, answer.json()["by"]) == (201, "ann")


def test_a_limited_token_reaches_the_alerts_and_the_retraining_of_its_model(
    service: Service, client: TestClient, tokens: dict[str, str]
) -> None:
    now = datetime.now(UTC)
    row = RetrainingRow("r1", MODEL, "manual", "why", "ann", now, now, "failed", now, "why", 0)
    with service.state.work() as work:
        Retraining(work.connection).add(row, busy=[])
        work.alerts.put(alert_row("a1", now - timedelta(days=1), now))
    for path in ("/api/v1/retraining/r1", "/api/v1/alerts/a1", "/api/v1/alerts/a1/explanation", "/alerts/a1"):
        mine, other = (client.get(path, headers=bearer(tokens[name])) for name in ("limited", "elsewhere"))
        assert (mine.status_code in (200, 303, 404, 409), other.status_code) == (True, 403), (path, mine.text)
    said = client.post("/api/v1/alerts/a1/ack", json={"reason": "mine"}, headers=bearer(tokens["limited"]))
    assert (said.status_code, said.json()["acknowledged"]["by"]) == (200, "limited")


# ---- names ----------------------------------------------------------------------------------------------------------


def test_who_has_signed_in_says_it_under_their_own_name(
    service: Service, client: TestClient, tokens: dict[str, str]
) -> None:
    body: dict[str, Any] = {"match": {"model": "x"}, "reason": "why not", "for": "1h"}
    headers = bearer(tokens["admin"])
    silence = client.post("/api/v1/silences", json=body, headers=headers).json()
    assert silence["by"] == "admin"
    assert client.post("/api/v1/silences", json=body | {"by": "admin"}, headers=headers).status_code == 201
    refused = client.post("/api/v1/silences", json=body | {"by": "bob"}, headers=headers)
    assert (refused.status_code, "leave it out" in refused.text) == (403, True)
    assert (
        client.post(
            "/api/v1/silences", content="[1", headers=headers | {"Content-Type": "application/json"}
        ).status_code
        == 400
    )
    assert client.delete(f"/api/v1/silences/{silence['id']}", headers=headers).status_code == 200
    changes = client.get("/api/v1/audit?limit=3", headers=bearer(tokens["read"])).json()["changes"]
    assert [(one["by"], one["action"]) for one in changes] == [
        ("admin", "end silence"),
        ("admin", "silence"),
        ("admin", "silence"),
    ]
    assert changes[0]["subject"] == silence["id"]
    for before in ("0", "-1", "9" * 30, "x", "1.5"):
        for path in ("/api/v1/audit", "/audit"):
            assert client.get(f"{path}?before={before}", headers=bearer(tokens["read"])).status_code == 400
    older = client.get(f"/api/v1/audit?before={changes[-1]['id']}", headers=bearer(tokens["read"])).json()["changes"]
    assert older and all(one["id"] < changes[-1]["id"] for one in older)


# ---- the page -------------------------------------------------------------------------------------------------------


def test_a_browser_signs_in_acts_and_signs_out(client: TestClient, tokens: dict[str, str]) -> None:
    asked = f"/models/{MODEL}?windows=all"
    led = client.get(asked, headers=PAGE)
    assert (led.status_code, led.headers["location"]) == (303, "/sign-in?next=%2Fmodels%2Fchurn%3Fwindows%3Dall")
    form = client.get(led.headers["location"], headers=PAGE)
    assert (form.status_code, "form-action 'self'" in form.headers["content-security-policy"]) == (200, True)
    wrong = client.post("/sign-in", data={"token": "dl_wrong", "next": asked})
    assert (wrong.status_code, "not known" in wrong.text, "set-cookie" in wrong.headers) == (401, True, False)
    entered = client.post("/sign-in", data={"token": f" {tokens['admin']}\n", "next": asked})
    assert (entered.status_code, entered.headers["location"]) == (303, asked)
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    page = client.get(asked, headers=PAGE)
    assert page.status_code == 200 and "Sign out" in page.text and 'data-caller="admin"' in page.text
    csrf = re.findall(r'data-csrf="([0-9a-f]{128})"', page.text)[0]
    body = {"match": {"model": "x"}, "reason": "r", "for": "1h"}
    assert client.post("/api/v1/silences", json=body).status_code == 403
    assert client.post("/api/v1/silences", json=body, headers={"X-CSRF-Token": "0" * 128}).status_code == 403
    again = client.get(asked, headers=PAGE)
    assert again.headers["etag"] == page.headers["etag"] and csrf not in again.text
    assert client.post("/api/v1/silences", json=body, headers={"X-CSRF-Token": csrf}).json()["by"] == "admin"
    assert client.get("/audit", headers=PAGE).text.count("data-change=") > 3
    out = client.post("/sign-out")
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
    assert client.get("/", headers=PAGE).status_code == 303


def test_a_reader_sees_no_buttons_and_a_limited_one_its_model(service: Service, tokens: dict[str, str]) -> None:
    reader = client_of(service)
    reader.post("/sign-in", data={"token": tokens["read"]})
    assert 'class="reader"' in reader.get("/", headers=PAGE).text
    limited = client_of(service)
    entered = limited.post("/sign-in", data={"token": tokens["limited"]})
    assert entered.headers["location"] == "/"
    assert limited.get(f"/models/{MODEL}", headers=PAGE).status_code == 200
    first = limited.get("/", headers=PAGE).text
    assert f'data-model="{MODEL}"' in first and "/system" not in first and "/audit" not in first
    refused = limited.get("/system", headers=PAGE)
    assert (refused.status_code, "this is of all models" in refused.text, "Sign out" in refused.text) == (
        403,
        True,
        True,
    )
    for page in (first, limited.get(f"/models/{MODEL}", headers=PAGE).text, refused.text):
        for link in set(re.findall(r'href="(/[^"]*)"', page)):
            assert limited.get(link, headers=PAGE).status_code == 200, link
    other = client_of(service)
    other.post("/sign-in", data={"token": tokens["elsewhere"]})
    page = other.get("/", headers=PAGE).text
    assert "data-model" not in page and "No models yet" in page


@pytest.mark.parametrize("passed_on", ["/monitor", ""])
@pytest.mark.parametrize("name", ["age", "50% é→ü ?#&/x"])
def test_a_sign_in_leads_back_under_a_prefix_and_to_any_name(
    service: Service, tokens: dict[str, str], passed_on: str, name: str
) -> None:
    app = create_app(service, Gate(service.state, TOKENS_ALONE, required=True))
    client = TestClient(app, root_path="/monitor", follow_redirects=False)
    asked = f"/models/{MODEL}/features/{quote(name)}?window=a%26b"
    led = client.get(f"{passed_on}{asked}", headers=PAGE).headers["location"]
    assert led.startswith("/monitor/sign-in?next=%2Fmodels%2F")
    [next] = parse_qs(urlsplit(led).query)["next"]
    form = client.get(led, headers=PAGE).text
    assert 'action="/monitor/sign-in"' in form and f'value="{html.escape(next)}"' in form
    entered = client.post(f"{passed_on}/sign-in", data={"token": tokens["admin"], "next": next})
    assert (entered.status_code, entered.headers["location"]) == (303, f"/monitor{asked}")
    typed = client.post(f"{passed_on}/sign-in", data={"token": tokens["admin"], "next": "/é→"})
    assert typed.headers["location"] == "/monitor/%C3%A9%E2%86%92"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nothing/<b>", 404, "Nothing is at /nothing/&lt;b&gt;"),
        ("/audit?before=x", 400, "before"),
        (f"/models/{MODEL}/quarantine?before=1e99", 400, "before"),
        ("/api/nothing", 404, "Nothing is at /api/nothing"),
    ],
)
def test_what_goes_wrong_is_told_a_browser_by_a_page_and_a_program_in_json(
    service: Service, path: str, status: int, words: str
) -> None:
    client = TestClient(create_app(service), raise_server_exceptions=False)
    page, told = client.get(path, headers=PAGE), client.get(path)
    assert (page.status_code, told.status_code) == (status, status)
    assert (
        page.headers["content-type"].startswith("text/html")
        and "default-src" in page.headers["content-security-policy"]
    )
    assert words in page.text and page.text.count("<h1") == 1 and "<script" not in page.text
    assert set(told.json()["error"]) == {"type", "message"}
    assert client.get("/api/v1/alerts/none", headers=PAGE).json()["error"]["type"] == "UnknownNameError"


def test_a_form_of_who_has_been_signed_out_is_answered_with_a_page(client: TestClient) -> None:
    answer = client.post("/alerts/a1", data={"action": "acknowledge"}, headers=PAGE)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "Sign in first" in answer.text and 'href="/sign-in"' in answer.text


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", "", "/\n/evil"])
def test_a_sign_in_leads_nowhere_else(client: TestClient, tokens: dict[str, str], next: str) -> None:
    entered = client.post("/sign-in", data={"token": tokens["admin"], "next": next})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"token=" + b"a" * 100_000, b"&".join([b"a=b"] * 100)])
def test_a_form_that_is_none_signs_nobody_in(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/sign-in", content=body, headers=headers).status_code == 401


# ---- a proxy --------------------------------------------------------------------------------------------------------


def test_a_proxy_is_believed_from_its_own_address_only(service: Service, tokens: dict[str, str]) -> None:
    proxy = Proxy("x-forwarded-user", frozenset([ipaddress.ip_address("127.0.0.1")]), Role.ADMIN)
    ann = {"X-Forwarded-User": "ann@example.com", "X-Forwarded-For": "127.0.0.1"}
    body = {"match": {"model": "x"}, "reason": "r", "for": "1h"}
    near, far = (client_of(service, Auth(proxy=proxy), at) for at in ("127.0.0.1", "192.0.2.1"))
    assert near.post("/api/v1/silences", json=body, headers=ann).json()["by"] == "ann@example.com"
    assert far.post("/api/v1/silences", json=body, headers=ann).status_code == 401
    for named in ([], [("X-Forwarded-User", "")], [("X-Forwarded-User", "a"), ("X-Forwarded-User", "b")]):
        assert near.get("/api/v1/models", headers=named).status_code == 401
    assert near.get("/api/v1/models", headers={"X-Forwarded-User": "a" * 201}).status_code == 401
    reads = client_of(service, Auth(proxy=Proxy(proxy.header, proxy.addresses, Role.READ)))
    assert reads.get("/api/v1/models", headers=ann).status_code == 200
    assert reads.post("/api/v1/silences", json=body, headers=ann).status_code == 403
    assert client_of(service).get("/api/v1/models", headers=ann).status_code == 401  # no proxy is configured


# ---- the server -----------------------------------------------------------------------------------------------------


class _Beyond:
    """A socket that is bound beyond this machine, or to an address; nobody listens on it."""

    def __init__(self, address: str = "0.0.0.0") -> None:
        self._address = address

    def getsockname(self) -> tuple[str, int]:
        return self._address, 80

    def listen(self, backlog: int) -> None:
        pass

    def close(self) -> None:
        pass


def test_beyond_loopback_an_admin_is_needed_and_a_token_always(tmp_path: Path) -> None:
    config = load(write_config(tmp_path))
    with pytest.raises(UsageError, match="driftline token create NAME --role admin"):
        Server(config, _Beyond(), print)  # type: ignore[arg-type]
    made = driftline(tmp_path, "token", "create", "ann", "--role", "admin")
    told: list[str] = []
    server = Server(load(write_config(tmp_path)), _Beyond(), told.append)  # type: ignore[arg-type]
    client = TestClient(server._uvicorn.config.app, base_url="http://192.0.2.7")
    assert client.get("/api/v1/models").status_code == 401
    assert client.get("/api/v1/models", headers=bearer(made.strip())).status_code == 200
    assert client.get("/api/v1/models", headers={"Host": "evil.example"}).status_code == 421
    assert any("in clear" in line for line in told)
    server._service.stop()


@pytest.mark.parametrize("refused", ["driftline.web.server.BoundedServer", "driftline.service.jobs.Job.start"])
def test_a_server_that_cannot_begin_leaves_its_folder_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """At once, not only when it is collected as garbage."""
    config = load(write_config(tmp_path))

    def refuse(*_: object) -> None:
        raise ChildProcessError("not today")

    monkeypatch.setattr(refused, refuse)
    monkeypatch.setattr("driftline.web.server._SIGNALS", ())
    with pytest.raises(ChildProcessError) as kept:
        Server(config, _Beyond("127.0.0.1"), print).run()  # type: ignore[arg-type]
    Service(config).stop()
    assert kept.traceback  # which holds what had begun


def driftline(folder: Path, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "driftline", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout or done.stderr


def test_a_story_of_tokens_over_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    config = write_config(tmp_path)
    config.write_text(config.read_text() + "auth: {required: true}\ntls: {certificate: server.pem, key: server.pem}\n")
    writer = driftline(
        tmp_path, "token", "create", "scorer", "--role", "write", "--model", MODEL, "--by", "ann"
    ).strip()
    said = driftline(tmp_path, "token", "create", "other", "--role", "read", "--model", "churm", code=2)
    assert "Did you mean 'churn'?" in said
    command = [sys.executable, "-m", "driftline", "serve", "--config", str(config), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"https://\S+", process.stdout.readline())
        assert found is not None
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with httpx.Client(base_url=found[0], verify=context, trust_env=False) as client:
            rows = [prediction("a", 0.1, said=1)]
            assert client.post(f"/api/v1/models/{MODEL}/predictions", json=rows).status_code == 401
            sent = client.post(f"/api/v1/models/{MODEL}/predictions", json=rows, headers=bearer(writer))
            assert sent.status_code == 202
            assert client.get("/ready").status_code == 200
            reader = driftline(tmp_path, "token", "create", "ann", "--role", "read", "--by", "root").strip()
            entered = client.post("/sign-in", data={"token": reader})
            assert "Secure" in entered.headers["set-cookie"]
            assert client.get("/", headers=PAGE).status_code == 200
            driftline(tmp_path, "token", "revoke", "scorer", "--by", "root")
    finally:
        process.kill()
        process.communicate()
    listed = driftline(tmp_path, "token", "list")
    assert writer not in listed and re.search(r"scorer +write +churn .* revoked", listed) and "good" in listed
    audit = driftline(tmp_path, "audit")
    said = driftline(tmp_path, "token", "create", "x", "--role", "read", "--limit", "fast", code=2)
    assert said.startswith("driftline: the limit 'fast' came") and said.count("\n") == 1
    assert [line.split()[3:6] for line in audit.splitlines()[1:]] == [
        ["root", "revoke", "token"],
        ["root", "create", "token"],
        ["ann", "create", "token"],
    ]
