"""The bill of materials in the wheel: CycloneDX that its own library accepts, with every dependency in its version."""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from hatch_build import bill_of_materials

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "service.lock"


@pytest.fixture(scope="module")
def bill(wheel: Path) -> str:
    """The document as it stands in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [one for one in archive.namelist() if "/sboms/" in one]
        assert re.fullmatch(r"driftline-[0-9.]+\.dist-info/sboms/driftline\.cdx\.json", name)
        return archive.read(name).decode()


def test_the_library_of_cyclonedx_accepts_it(bill: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    wrong = json.loads(bill)
    del wrong["components"][0]["name"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(wrong)) is not None


def test_it_has_every_dependency_of_the_base_install_in_the_locked_version(bill: str) -> None:
    document = json.loads(bill)
    known = {(one["name"], one["version"]) for one in document["components"]}  # two versions of some, by Python
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    names = {re.split(r"[<>=!~\[; ]", one)[0].lower() for one in wanted}
    assert len(names) > 15 and names <= {name for name, _ in known}
    assert known == set(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", LOCK.read_text(), re.MULTILINE))
    assert document["metadata"]["component"]["version"] == project["version"]
    refs = {one["bom-ref"] for one in document["components"]}
    assert len(refs) == len(known) and set(document["dependencies"][0]["dependsOn"]) == refs


def test_the_same_lock_gives_the_same_bill_and_another_gives_another() -> None:
    lock = LOCK.read_text()
    first, again = (bill_of_materials(lock, "1.0") for _ in range(2))
    other = bill_of_materials(lock.replace("click==", "klick=="), "1.0")
    assert first == again
    assert other["serialNumber"] != first["serialNumber"]


def test_the_wheel_is_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {one for one in archive.namelist() if one.endswith(".py")}
    package = ROOT / "src"
    assert names == {str(one.relative_to(package)) for one in package.rglob("*.py")}


def test_the_lock_of_the_service_is_of_what_is_tested() -> None:
    tested = (ROOT / "requirements" / "dev.lock").read_text()
    assert {line for line in LOCK.read_text().splitlines() if "==" in line} <= set(tested.splitlines())
