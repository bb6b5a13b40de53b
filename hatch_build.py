"""Compiles the inner loops of the sketches where there is a C compiler; without one, Driftline is pure Python."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fno-trapping-math", "-fPIC", "-shared", "-fvisibility=hidden")


class KernelBuildHook(BuildHookInterface[Any]):
    """Puts ``kernel.library`` beside ``kernel.c``, and into the wheel, which is then one of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a failure is told and makes a wheel without the library."""
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
