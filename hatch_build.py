"""Compiles the inner loops of the sketches where there is a C compiler; without one, Driftline is pure Python.

Writes the software bill of materials that stands in the wheel: what it is installed and tested with, from its lock.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import uuid
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fno-trapping-math", "-fPIC", "-shared", "-fvisibility=hidden")
LOCK, SBOM = "requirements/service.lock", "build/driftline.cdx.json"
_PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]+?))? \\$", re.MULTILINE)
_NAMES = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


def bill_of_materials(lock: str, version: str) -> dict[str, Any]:
    """Return a CycloneDX 1.6 document of a lock's packages; the same lock and version give the same document."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{found['name']}@{found['version']}",
            "name": found["name"],
            "version": found["version"],
            "purl": f"pkg:pypi/{found['name']}@{found['version']}",
            "properties": [{"name": "driftline:marker", "value": found["marker"]}] if found["marker"] else [],
        }
        for found in _PIN.finditer(lock)
    ]
    own = f"pkg:pypi/driftline@{version}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMES, own + lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "driftline",
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": [one["bom-ref"] for one in components]}],
    }


def write_bill(root: Path, version: str) -> Path:
    """Write the bill of materials below ``build``, and return its path."""
    target = root / SBOM
    target.parent.mkdir(exist_ok=True)
    document = bill_of_materials((root / LOCK).read_text(), version)
    target.write_text(json.dumps(document, indent=2) + "\n")
    return target


class KernelBuildHook(BuildHookInterface[Any]):
    """Puts ``kernel.library`` beside ``kernel.c``, and into the wheel, which is then one of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the bill, and compile; a failure is told and makes a wheel without the library."""
        if version != "editable":
            write_bill(Path(self.root), self.metadata.version)
            build_data["sbom_files"].append(SBOM)
        folder = Path(self.root, "src", "driftline", "sketches")
        source, target = folder / "kernel.c", folder / "kernel.library"
        target.unlink(missing_ok=True)
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
        if sys.platform == "win32" or shutil.which(compiler[0]) is None:
            self.app.display_warning(f"no C compiler ({compiler[0]}): Driftline will be slower, not different")
            return
        part = target.with_suffix(f".{os.getpid()}.part")  # two builds in one tree do not meet
        done = subprocess.run([*compiler, *FLAGS, "-o", part, source], capture_output=True, text=True, check=False)
        if done.returncode:
            part.unlink(missing_ok=True)
            self.app.display_warning(f"kernel.c was not compiled, Driftline will be slower:\n{done.stderr}")
            return
        part.replace(target)
        build_data["artifacts"].append("src/driftline/sketches/kernel.library")
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")


if __name__ == "__main__":  # make sbom
    from hatchling.metadata.core import ProjectMetadata
    from hatchling.plugin.manager import PluginManager

    here = Path(__file__).parent
    print(write_bill(here, ProjectMetadata(str(here), PluginManager()).version))
