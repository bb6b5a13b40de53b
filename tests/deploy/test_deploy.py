"""What `deploy/` has is accepted by those that read it: Driftline's loader and command line, schemas, real programs."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from driftline.cli import serve, token
from driftline.config.load import load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
CONFIGS = sorted(DEPLOY.rglob("driftline.yaml"))
ROLES = {"api", "worker", "notify"}
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(one) for one in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def serves(words: list[str]) -> dict[str, Any]:
    """The options of a call, as the command line of `driftline` reads them."""
    [name, *rest] = words
    if name == "token":
        group = token.command.make_context("token", rest)
        found, create, words = token.command.resolve_command(group, [*group._protected_args, *group.args])
        assert found == "create" and create is not None
        return group.params | create.make_context("create", words, parent=group).params
    assert name == "serve"
    return serve.command.make_context("serve", rest).params


# ---- configurations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_a_configuration_loads_and_its_lines_are_for_programs(path: Path) -> None:
    config = load(path)
    assert config.models and config.log.is_json and config.storage.is_absolute()
    assert config.auth.required or path.parent.name != "systemd"


def test_there_is_one_for_each_way() -> None:
    assert [one.parent.name for one in CONFIGS] == ["compose", "base", "systemd"]


# ---- systemd --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)
def test_systemd_takes_the_unit_and_finds_it_well_guarded(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "driftline.service").read_text()
    [command] = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert serves(command.split()[1:])["config_path"] == Path("/etc/driftline/driftline.yaml")
    unit = tmp_path / "driftline.service"
    unit.write_text(text.replace("/opt/driftline/bin/driftline", str(Path(sys.executable).parent / "driftline")))
    assert run("systemd-analyze", "verify", unit) == ""
    told = run("systemd-analyze", "security", "--offline=true", unit)
    [exposure] = re.findall(r"Overall exposure level for driftline.service: ([0-9.]+)", told)
    assert float(exposure) < 2.5, told


# ---- containers -----------------------------------------------------------------------------------------------------


def test_the_image_serves_as_nobody_special_what_its_command_says() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    [command] = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    options = serves(yaml.safe_load(command))
    assert (options["host"], options["port"]) == ("0.0.0.0", 8000)
    assert "USER 10001:10001" in text and "EXPOSE 8000" in text
    assert all("--require-hashes" in line for line in text.splitlines() if "--requirement" in line)


def test_the_schema_of_compose_accepts_the_file() -> None:
    run(
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        DEPLOY / "compose/compose.yaml",
    )


def test_compose_publishes_on_loopback_only_and_has_no_secret_in_it() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"driftline", "postgres", "prometheus", "alertmanager", "grafana"}
    for name, one in services.items():
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", ())), name
        assert one["read_only"] and one["cap_drop"] == ["ALL"], name
        assert set(one.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert not [key for key in one.get("environment", {}) if "PASSWORD" in key and not key.endswith("_FILE")], name
        for volume in one["volumes"]:
            place = volume.partition(":")[0]
            assert (
                not place.startswith("./")
                or place.startswith(("./monitoring/", "./references"))
                or (DEPLOY / "compose" / place).exists()
            ), volume
    assert all(one["file"].startswith("./secrets/") for one in COMPOSE["secrets"].values())
    config = load(DEPLOY / "compose" / "driftline.yaml")
    assert config.database.removeprefix("file:/run/secrets/") in services["driftline"]["secrets"]


@pytest.fixture(scope="module")
def monitoring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside which compose would run, with what the two commands of the page write."""
    folder = tmp_path_factory.mktemp("compose")
    run(sys.executable, "-m", "driftline", "export", "prometheus", "monitoring", cwd=folder)
    run(sys.executable, "-m", "driftline", "export", "grafana", "monitoring", cwd=folder)
    return folder


def test_what_compose_mounts_is_what_two_commands_write(monitoring: Path) -> None:
    for one in COMPOSE["services"].values():
        for volume in one["volumes"]:
            if volume.startswith("./monitoring/"):
                assert (monitoring / volume.partition(":")[0]).exists(), volume


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
def test_prometheus_takes_its_configuration(monitoring: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("dl_x")
    shutil.copy(monitoring / "monitoring" / "driftline.rules.yml", tmp_path)
    text = (DEPLOY / "compose" / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics-token", str(tmp_path / "token")))
    assert "SUCCESS: 1 rule files found" in run("promtool", "check", "config", tmp_path / "prometheus.yml")


# ---- proxies --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is missing: apt-get install caddy")
def test_caddy_takes_its_configuration() -> None:
    told = run("caddy", "validate", "--adapter", "caddyfile", "--config", DEPLOY / "proxies" / "Caddyfile")
    assert "Valid configuration" in told


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_a_proxy_replaces_what_a_client_says_who_it_is(name: str) -> None:
    """Each way to Driftline sets the header or takes it away."""
    text = (DEPLOY / "proxies" / name).read_text()
    reached = len(re.findall(r"proxy_pass http://driftline;|reverse_proxy 127.0.0.1:8000", text))
    assert len(re.findall(r"proxy_set_header X-Forwarded-User|-X-Forwarded-User", text)) == reached == 2
    [said] = re.findall(r"^#\s+(auth: .*)$", text, re.MULTILINE)
    assert yaml.safe_load(said)["auth"]["proxy"]["header"] == "X-Forwarded-User"


# ---- Kubernetes -----------------------------------------------------------------------------------------------------


def resources(folder: Path = BASE) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.yaml")):
        if path.name not in ("driftline.yaml", "kustomization.yaml"):
            yield from yaml.safe_load_all(path.read_text())


def deployments() -> dict[str, dict[str, Any]]:
    found = [one for one in resources() if one["kind"] == "Deployment"]
    return {one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]: one for one in found}


@pytest.mark.parametrize(
    "resource",
    [*resources(), *resources(DEPLOY / "kubernetes")],
    ids=lambda one: f"{one['kind']}-{one['metadata']['name']}",
)
@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_the_schema_of_kubernetes_accepts_a_resource_and_no_other_key(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)
    wrong = copy.deepcopy(resource) | {"spek": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_base_names_what_is_there() -> None:
    base = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    there = {path.name for path in BASE.glob("*.yaml")} - {"driftline.yaml", "kustomization.yaml"}
    assert set(base["resources"]) == there and len(base["resources"]) == len(there)
    [generated] = base["configMapGenerator"]
    assert all((BASE / name).exists() for name in generated["files"])
    assert (
        base["images"][0]["newTag"]
        == re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    )


def test_each_role_is_a_deployment_whose_command_is_one() -> None:
    assert set(deployments()) == ROLES
    for role, one in deployments().items():
        [container] = one["spec"]["template"]["spec"]["containers"]
        words = list(container["args"])
        at = words.index("--role")
        assert words[at + 1] == role
        if not any("--role" in known.opts for known in serve.command.params if isinstance(known, click.Option)):
            del words[at : at + 2]
        assert serves(words)["port"] == container["ports"][0]["containerPort"]


def test_each_pod_is_guarded_bounded_and_asked() -> None:
    for role, one in deployments().items():
        pod = one["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")} == {"/health"}
        assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert {"requests", "limits"} <= set(container["resources"]), role
        assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
        mounts = [one["mountPath"] for one in container["volumeMounts"]]
        config = load(BASE / "driftline.yaml")
        for path in (str(config.storage), config.database.removeprefix("file:"), "/tmp/x"):
            assert any(path.startswith(f"{mount}/") for mount in mounts), path


def test_what_selects_pods_finds_some_and_those_of_several_are_not_all_disrupted() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in deployments().values()]
    own = {"app.kubernetes.io/name": "driftline"}  # the base gives it to all
    for one in resources():
        spec = one.get("spec", {})
        selector = spec["selector"] if one["kind"] == "Service" else spec.get("selector", {}).get("matchLabels")
        if selector:
            assert any(selector.items() <= (own | known).items() for known in labels), one["metadata"]["name"]
        if one["kind"] == "PodDisruptionBudget":
            role = selector["app.kubernetes.io/component"]
            assert deployments()[role]["spec"]["replicas"] > spec["minAvailable"]


def test_the_first_token_is_made_by_the_command_line_that_there_is() -> None:
    [job] = resources(DEPLOY / "kubernetes")
    options = serves(job["spec"]["template"]["spec"]["containers"][0]["args"])
    assert (options["role"], options["name"]) == ("admin", "ADMIN-NAME")
