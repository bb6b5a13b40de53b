"""The registry in a real MLflow server: `make mlflow` installs one and runs this; elsewhere it is skipped."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftline.environment import quiet_mlflow
from driftline.errors import ConflictError, DataError, UnavailableError, UnknownNameError, UsageError
from driftline.retrain.registry import MLflowRegistry, Version
from tests.support.servers import free_port, until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVER = Path(os.environ.get("MLFLOW", Path(__file__).parents[3] / ".bench" / "mlflow" / "bin" / "mlflow"))


def test_without_the_client_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow.tracking", None)
    with pytest.raises(UsageError, match="python -m pip install mlflow-skinny"):
        MLflowRegistry("http://127.0.0.1:9", tmp_path)


needs_server = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None or not SERVER.exists(), reason="needs MLflow: make mlflow"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    quiet_mlflow()
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [str(SERVER), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    environment = os.environ | {"PATH": f"{SERVER.parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)

    def ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        until(ready, "MLflow is ready", 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.fixture
def registry(url: str, tmp_path: Path) -> MLflowRegistry:
    return MLflowRegistry(url, tmp_path / "cache")


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    return f"m{abs(hash(request.node.name)) % 10**9}"


def version(model: str, name: str, **changes: Any) -> Version:
    return Version(model, name, NOW, **changes)


@needs_server
def test_versions_and_their_files_come_back(registry: MLflowRegistry, model: str, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)) * 500)
    files = {"deep/weights.bin": tmp_path / "weights.bin"}
    contest = msgspec.Raw(b'{"decision":"promote"}')
    stored = registry.register(version(model, "2026-01", code="abc", parent="old", contest=contest), files)
    assert registry.version(model, "2026-01") == stored
    assert registry.register(version(model, "2026-01", code="abc", parent="old", contest=contest), files) == stored
    assert (registry.path(model, "2026-01") / "deep" / "weights.bin").read_bytes() == files[
        "deep/weights.bin"
    ].read_bytes()
    (registry.path(model, "2026-01") / "deep" / "weights.bin").write_bytes(b"")
    with pytest.raises(DataError, match="is not the file that was registered"):
        registry.path(model, "2026-01")
    (tmp_path / "weights.bin").write_bytes(b"others")
    with pytest.raises(ConflictError, match="with other files"):
        registry.register(version(model, "2026-01"), files)
    registry.register(msgspec.structs.replace(version(model, "2025-12"), created_at=NOW - timedelta(days=9)), {})
    assert [one.version for one in registry.versions(model)] == ["2025-12", "2026-01"]
    assert list(registry.path(model, "2025-12").iterdir()) == []
    with pytest.raises(UnknownNameError, match="known: 2025-12, 2026-01"):
        registry.version(model, "2027")
    assert registry.versions(f"{model}-other") == []


@needs_server
def test_aliases_are_what_mlflow_shows(registry: MLflowRegistry, model: str, url: str) -> None:
    from mlflow.tracking import MlflowClient

    for name in ("v1", "v2", "v3"):
        registry.register(version(model, name), {})
    assert registry.aliases(model) == {}
    assert registry.promote(model, "v1", None) == {"champion": "v1"}
    with pytest.raises(ConflictError, match=r"the champion of .* is v1, not v3"):
        registry.promote(model, "v2", "v3")
    assert registry.promote(model, "v2", "v1") == {"champion": "v2", "previous": "v1"}
    assert registry.promote(model, "v2", "v1") == {"champion": "v2", "previous": "v1"}  # done already
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    assert client.get_model_version_by_alias(model, "champion").tags["driftline.version"] == "v2"
    with pytest.raises(ConflictError):
        registry.roll_back(model, "v3")
    assert registry.roll_back(model, "v2") == {"champion": "v1", "rolled_back": "v2"}
    assert registry.roll_back(model, "v2") == {"champion": "v1", "rolled_back": "v2"}  # done already
    with pytest.raises(ConflictError, match="nothing to roll back to"):
        registry.roll_back(model, "v1")
    assert registry.promote(model, "v3", "v1") == {"champion": "v3", "previous": "v1"}


@needs_server
@pytest.mark.parametrize("step", range(4))
def test_what_breaks_off_is_done_by_doing_it_again(
    registry: MLflowRegistry, model: str, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Each change of an alias fails once; asked again, it ends where it should."""
    for name in ("v1", "v2"):
        registry.register(version(model, name), {})
    registry.promote(model, "v1", None)
    client, calls = registry._client, 0

    def failing(real: Any) -> Any:
        def call(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise KeyboardInterrupt
            return real(*args)

        return call

    for name in ("set_registered_model_alias", "delete_registered_model_alias"):
        monkeypatch.setattr(client, name, failing(getattr(client, name)))

    def twice(ask: Any) -> Any:
        try:
            return ask()
        except KeyboardInterrupt:
            return ask()

    assert twice(lambda: registry.promote(model, "v2", "v1")) == {"champion": "v2", "previous": "v1"}
    assert twice(lambda: registry.roll_back(model, "v2")) == {"champion": "v1", "rolled_back": "v2"}


@needs_server
def test_a_server_that_is_away_is_away(tmp_path: Path) -> None:
    quiet_mlflow()
    away = MLflowRegistry("http://127.0.0.1:9", tmp_path)
    with pytest.raises(UnavailableError, match="MLflow: "):
        away.aliases("churn")


@needs_server
def test_the_loop_promotes_in_mlflow(url: str, tmp_path: Path) -> None:
    from driftline.config.load import load
    from driftline.retrain.controller import open_registry
    from driftline.service.runtime import Service
    from tests.support.retraining import configured, days, loop

    path = configured(tmp_path)
    path.write_text(path.read_text() + f"\nregistry: {url}\n")
    service = Service(load(path))
    try:
        days(service, 0, 12)
        row = loop(service)
        assert (row.stage, row.version) == ("baking", "v2")
        again = open_registry(service.config.registry, service.config.storage)
        assert again.aliases("churn") == {"champion": "v2", "previous": "v1"}
        assert (again.path("churn", "v2") / "model.json").exists()
    finally:
        service.stop()
