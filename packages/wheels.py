"""Builds what is published, into dist/: a source distribution and, from it, all wheels: `make wheels`.

Zig's C compiler makes the loops for each of them, against the oldest C library that manylinux_2_17 promises; so one
machine builds all wheels, and no container is needed. A wheel without the loops, or with those of another machine, is
an error here, while `pip install .` without a compiler makes a pure one.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MACHINES = {"x86_64": 62, "aarch64": 183}
"""The platforms, by their names and by the numbers that stand in an ELF header."""
LIBRARY = "driftline/sketches/kernel.library"


def compiler(machine: str) -> str:
    """Return the command that compiles C for a machine; what it makes names no path of this one."""
    return f"{sys.executable} -m ziglang cc -target {machine}-linux-gnu.2.17 -mcpu=baseline -g0 -s"


def tag(machine: str) -> str:
    """Return the platform in the name of a wheel."""
    return f"manylinux_2_17_{machine}"


def problems(wheel: Path, machine: str) -> list[str]:
    """Return what is wrong with a wheel for a machine."""
    found = [] if wheel.name.endswith(f"-py3-none-{tag(machine)}.whl") else [f"is not called py3-none-{tag(machine)}"]
    with zipfile.ZipFile(wheel) as archive:
        [about] = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        if "Root-Is-Purelib: false\n" not in about or f"Tag: py3-none-{tag(machine)}\n" not in about:
            found.append("says in WHEEL that it is for another platform")
        if not any(".dist-info/sboms/" in name for name in archive.namelist()):
            found.append("has no bill of materials")
        if LIBRARY not in archive.namelist():
            return [*found, "has no compiled loops"]
        head = archive.read(LIBRARY)[:20]
    kind, number = struct.unpack("<HH", head[16:20]) if head[:6] == b"\x7fELF\x02\x01" else (0, 0)
    if (kind, number) != (3, MACHINES[machine]):  # 3: a shared library
        found.append(f"has loops for the machine {number} and not {MACHINES[machine]}")
    return found


def audited(wheel: Path, machine: str) -> bool:
    """Return whether auditwheel finds nothing in the wheel that its tag does not promise."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f'consistent with the following platform tag: "{tag(machine)}"' in " ".join(told.split())


def main() -> int:
    """Build and check all; return the exit code."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    hatchling = [sys.executable, "-m", "hatchling", "build", "-d", str(ROOT / "dist")]
    subprocess.run([*hatchling, "-t", "sdist"], cwd=ROOT, check=True)
    [made] = (ROOT / "dist").iterdir()
    unpacked = ROOT / "build" / "wheels"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", made, "-C", unpacked], check=True)  # Python's own is safe from 3.11.4 on
    [source] = unpacked.iterdir()
    subprocess.run(hatchling, cwd=source / "packages" / "sdk", check=True)
    wrong = []
    for machine in MACHINES:
        environment = {**os.environ, "CC": compiler(machine), "_PYTHON_HOST_PLATFORM": tag(machine)}
        subprocess.run([*hatchling, "-t", "wheel"], cwd=source, env=environment, check=True)
        [wheel] = (ROOT / "dist").glob(f"*{machine}.whl")
        wrong += [f"{wheel.name} {problem}" for problem in problems(wheel, machine)]
        if not audited(wheel, machine):
            wrong.append(f"{wheel.name} needs more than its tag promises")
    print(*wrong or [f"dist/{path.name}" for path in sorted((ROOT / "dist").iterdir())], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
