"""MLflow as the registry: aliases say which version is champion; the files of a version are in an MLflow run.

MLflow numbers versions itself; our name is in the tag ``driftline.version``. It changes one alias at a time and has no
compare-and-set, so if two services promote at the same moment, both may believe that they have won. The steps here are
ordered so that they can be repeated after a crash.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from driftline.errors import ConflictError, DataError, UnavailableError, UnknownNameError, UsageError
from driftline.retrain.registry.registry import (
    CHAMPION,
    PREVIOUS,
    FileRecord,
    Version,
    checked_file,
    checked_name,
    folder_name,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_VERSION, _DIGEST, _DECISION = "driftline.version", "driftline.digest", "driftline.decision"
_FILES, _RECORD = "files", "version.json"
_ROLLED_BACK = "rolled_back"
_EXPERIMENT = "driftline"


class MLflowRegistry:
    """Keeps versions and aliases in an MLflow server. ``cache`` is a folder for files that are fetched from it.

    Raises `UsageError` if MLflow's client is not installed; every method raises `UnavailableError` if the server cannot
    be reached or refuses the call.
    """

    def __init__(self, url: str, cache: Path) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UsageError(
                "the registry is an MLflow, whose client is not installed; run: python -m pip install mlflow-skinny"
            ) from error
        self._client: MlflowClient = MlflowClient(tracking_uri=url, registry_uri=url)
        self._cache = cache

    # ---- versions ---------------------------------------------------------------------------------------------------

    def register(self, version: Version, files: Mapping[str, Path]) -> Version:
        """See `Registry.register`."""
        checked_name(version.model, "model")
        folder_name(version.version)  # refuses an empty name
        named = {checked_file(name): path for name, path in files.items()}
        version = msgspec.structs.replace(version, files={name: _record(path) for name, path in named.items()})
        digest = hashlib.sha256(msgspec.json.encode(version.files, order="sorted")).hexdigest()
        with _asking():
            if (known := self._find(version.model, version.version)) is not None:
                if known.tags.get(_DIGEST) != digest:
                    raise ConflictError(
                        f"{version.model} has a version {version.version} with other files; give the new one a name of "
                        "its own"
                    )
                return self._read(known)
            if not self._client.search_registered_models(f"name='{version.model}'"):
                self._client.create_registered_model(version.model)
            run = self._client.create_run(
                self._experiment(), run_name=f"{version.model} {version.version}", tags={_VERSION: version.version}
            )
            with tempfile.TemporaryDirectory() as folder:
                for name, path in named.items():
                    target = Path(folder) / _FILES / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
                (Path(folder) / _RECORD).write_bytes(msgspec.json.encode(version))
                self._client.log_artifacts(run.info.run_id, folder)
            decision = msgspec.json.decode(version.contest) or {}
            self._client.create_model_version(
                version.model,
                f"{run.info.artifact_uri}/{_FILES}",
                run.info.run_id,
                tags={_VERSION: version.version, _DIGEST: digest, _DECISION: str(decision.get("decision", ""))},
            )
            self._client.set_terminated(run.info.run_id)
        return version

    def versions(self, model: str) -> list[Version]:
        """See `Registry.versions`; versions that Driftline did not register are left out."""
        with _asking():
            found = [self._read(one) for one in self._all(model) if _VERSION in one.tags]
        return sorted(found, key=lambda one: (one.created_at, one.version))

    def version(self, model: str, version: str) -> Version:
        """See `Registry.version`."""
        with _asking():
            known = self._all(model)
            for one in known:
                if one.tags.get(_VERSION) == version:
                    return self._read(one)
        names = [str(one.tags[_VERSION]) for one in known if _VERSION in one.tags]
        raise UnknownNameError(f"version of {model}", version, names)

    def path(self, model: str, version: str) -> Path:
        """See `Registry.path`; files are fetched once, and checked against their hashes each time.

        Raises `DataError` if a file is not as it was registered.
        """
        known = self.version(model, version)
        target = self._cache / model / folder_name(version)
        if not target.exists():
            found = self._find(model, version)
            assert found is not None  # it was just there
            target.parent.mkdir(parents=True, exist_ok=True)
            with _asking(), tempfile.TemporaryDirectory(dir=target.parent) as folder:
                if known.files:
                    self._client.download_artifacts(str(found.run_id), _FILES, folder)
                (Path(folder) / _FILES).mkdir(exist_ok=True)
                (Path(folder) / _FILES).rename(target)
        for name, record in known.files.items():
            if not (target / name).is_file() or _record(target / name) != record:
                raise DataError(f"{target / name} is not the file that was registered; remove {target}, and ask again")
        return target

    # ---- aliases ----------------------------------------------------------------------------------------------------

    def aliases(self, model: str) -> dict[str, str]:
        """See `Registry.aliases`."""
        with _asking():
            return {alias: name for alias, (name, _) in self._aliases(model).items()}

    def promote(self, model: str, version: str, expected: str | None) -> dict[str, str]:
        """See `Registry.promote`; but two promotions at the same moment may both succeed."""
        self.version(model, version)
        with _asking():
            now = self._aliases(model)
            if now.get(CHAMPION, ("", ""))[0] == version:
                return self.aliases(model)
            self._expect(model, now, expected)
            new = self._find(model, version)
            assert new is not None  # it was just there
            if expected is not None:
                self._client.set_registered_model_alias(model, PREVIOUS, now[CHAMPION][1])
            self._client.set_registered_model_alias(model, CHAMPION, str(new.version))
            if _ROLLED_BACK in now:
                self._client.delete_registered_model_alias(model, _ROLLED_BACK)
        return self.aliases(model)

    def roll_back(self, model: str, expected: str) -> dict[str, str]:
        """See `Registry.roll_back`."""
        with _asking():
            now = self._aliases(model)
            if now.get(_ROLLED_BACK, ("", ""))[0] == expected and PREVIOUS not in now:
                return self.aliases(model)
            if PREVIOUS not in now:
                self._expect(model, now, expected)
                raise ConflictError(f"{model} has no champion before {expected}; there is nothing to roll back to")
            half_done = now[CHAMPION] == now[PREVIOUS]
            if not half_done:
                self._expect(model, now, expected)
                self._client.set_registered_model_alias(model, CHAMPION, now[PREVIOUS][1])
            gone = self._find(model, expected)
            if gone is not None:
                self._client.set_registered_model_alias(model, _ROLLED_BACK, str(gone.version))
            self._client.delete_registered_model_alias(model, PREVIOUS)
        return self.aliases(model)

    @staticmethod
    def _expect(model: str, now: Mapping[str, tuple[str, str]], expected: str | None) -> None:
        champion = now[CHAMPION][0] if CHAMPION in now else None
        if champion != expected:
            raise ConflictError(f"the champion of {model} is {champion}, not {expected}; look again")

    # ---- asking the server ------------------------------------------------------------------------------------------

    def _aliases(self, model: str) -> dict[str, tuple[str, str]]:
        """Return, by alias, our name of the version and MLflow's number of it."""
        found = self._client.search_registered_models(f"name='{model}'")
        if not found:
            return {}
        names = {str(one.version): str(one.tags.get(_VERSION, one.version)) for one in self._all(model)}
        return {alias: (names[str(number)], str(number)) for alias, number in dict(found[0].aliases).items()}

    def _all(self, model: str) -> list[ModelVersion]:
        checked_name(model, "model")
        return list(self._client.search_model_versions(f"name='{model}'"))

    def _find(self, model: str, version: str) -> ModelVersion | None:
        return next((one for one in self._all(model) if one.tags.get(_VERSION) == version), None)

    def _read(self, known: ModelVersion) -> Version:
        with tempfile.TemporaryDirectory() as folder:
            path = self._client.download_artifacts(str(known.run_id), _RECORD, folder)
            return msgspec.json.decode(Path(path).read_bytes(), type=Version)

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(_EXPERIMENT)
        return str(known.experiment_id) if known is not None else str(self._client.create_experiment(_EXPERIMENT))


@contextmanager
def _asking() -> Iterator[None]:
    """Turn every error of the server into `UnavailableError`, so that the caller tries again later."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, ConnectionError) as error:
        text: Any = getattr(error, "message", error)
        raise UnavailableError(f"MLflow: {' '.join(str(text).split())[:300]}") from error


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
