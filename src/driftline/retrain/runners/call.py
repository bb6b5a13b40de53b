"""Call the user's function that trains a challenger, in a process of its own. It imports nothing of Driftline."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

RESULT = "result.json"


def call(target: str, project: Path) -> None:
    """Call a function with the working folder; write what it returns into ``result.json``.

    It may return None if it wrote the file itself. Exits with a message if there is no such function, or if it returns
    anything but a mapping that can be written as JSON.
    """
    run = Path.cwd()
    result = _function(target, project)(run)
    if result is None:
        return
    if not isinstance(result, Mapping):
        sys.exit(f"{target} returned a {type(result).__name__}; return what is to stand in {RESULT}, or nothing")
    try:
        text = json.dumps(dict(result))  # NaN is read as null
    except (TypeError, ValueError) as error:
        sys.exit(f"what {target} returned cannot be written as JSON: {error}")
    part = run / f".{RESULT}.part"
    part.write_text(text, encoding="utf-8")
    part.replace(run / RESULT)


def _function(target: str, project: Path) -> Callable[[Path], object]:
    place, _, name = target.rpartition(":")
    if place.endswith(".py"):
        file = project / place
        sys.path.insert(0, str(file.parent))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None or not file.is_file():
            sys.exit(f"there is no file {file}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module  # where pickle looks for its classes
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, str(project))
        module = importlib.import_module(place)
    function = getattr(module, name, None)
    if not callable(function):
        sys.exit(f"{place} has no function {name!r}")
    if inspect.iscoroutinefunction(function):
        sys.exit(f"{target} is async; give a plain function that calls asyncio.run({name}(…))")
    found: Callable[[Path], object] = function
    return found


if __name__ == "__main__":
    call(sys.argv[1], Path(sys.argv[2]))
