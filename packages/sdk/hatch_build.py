"""Makes the package ``driftline_sdk`` from ``src/driftline/client``, and the little that it needs of the rest."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "driftline_sdk"
SHARED = ("errors.py", "lookalikes.py", "py.typed")
"""Files of ``src/driftline`` that the SDK takes with it."""
_IMPORTED = re.compile(r"\bdriftline\.(client\b\.?|(?=errors\b|lookalikes\b))")


def renamed(text: str) -> str:
    """Return a module's text with its imports from the SDK's own package.

    >>> renamed("from driftline.client import Monitor")
    'from driftline_sdk import Monitor'
    >>> renamed("from driftline.client.ids import new_id; from driftline.errors import UsageError")
    'from driftline_sdk.ids import new_id; from driftline_sdk.errors import UsageError'
    >>> renamed('getLogger("driftline"), "driftline.yaml"')
    'getLogger("driftline"), "driftline.yaml"'
    """
    return _IMPORTED.sub(lambda found: NAME + ("" if found[1] == "client" else "."), text)


class SdkBuildHook(BuildHookInterface[Any]):
    """Puts the modules into the wheel and the source distribution, from the tree or from such a distribution."""

    _made: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to be packed."""
        if Path(self.root, NAME).is_dir():  # a source distribution, which has them
            return
        self._made = tempfile.mkdtemp()
        source = Path(self.root).parents[1] / "src" / "driftline"
        for file in (*(source / "client").glob("*.py"), *(source / name for name in SHARED)):
            Path(self._made, file.name).write_text(renamed(file.read_text()))
        build_data["force_include"][self._made] = NAME

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was made for the build."""
        if self._made is not None:
            shutil.rmtree(self._made)
