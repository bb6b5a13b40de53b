"""Load functions that users wrote: ``file.py:function``, or ``module:function``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from driftline.errors import UsageError, did_you_mean


def load_function(text: str, example: str = "model.py:predict") -> Callable[[Any], object]:
    """Import ``file.py:function`` or ``module:function``, which takes a frame of rows; raises `UsageError`."""
    place, module, name = load_named(text, example)
    return plain_function(module, place, name)


def load_named(text: str, example: str) -> tuple[str, ModuleType, str]:
    """Import the file or module of a text such as ``example``; return its place, the module, and the function's name.

    Raises `UsageError` if the text has another form, or the import fails.
    """
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise UsageError(
            f"{text!r} does not name a function; write FILE.py:FUNCTION or MODULE:FUNCTION, such as {example!r}"
        )
    return place, _load_file(Path(place)) if is_file(place) else _load_module(place), name


def is_file(place: str) -> bool:
    """Return whether a place is a file and not a module."""
    return place.endswith(".py") or "/" in place or Path(place).is_file()


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.py")])
        raise UsageError(f"there is no file {str(path)!r} in {Path.cwd()}.{near}")
    _refuse_endless(path)
    _importable(path.resolve().parent)
    name = path.stem if path.stem not in sys.modules else f"_driftline_watched_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} is not a Python file; it ends with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _execute(lambda: spec.loader.exec_module(module) if spec.loader else None, str(path))
    return module


def _refuse_endless(path: Path) -> None:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if line := endless_loop(source):
        raise UsageError(
            f"{str(path)!r} has a loop without end at its top level (line {line}) and would never be loaded; its "
            "function is called again and again anyway: take the loop out, or put it under `if __name__ == '__main__':`"
        )


def _load_module(name: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UsageError(
            f"there is no module {name!r}; it is looked for in {Path.cwd()} and among what is installed. "
            f"For a file, write its name with .py, such as '{name}.py:evaluate'"
        )
    if found.origin is not None and found.origin.endswith(".py"):
        _refuse_endless(Path(found.origin))
    loaded: list[ModuleType] = []
    _execute(lambda: loaded.append(importlib.import_module(name)), name)
    return loaded[0]


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _execute(load: Callable[[], object], place: str) -> None:
    """Run the user's top-level code; whatever it raises, also by sys.exit(), is a mistake in that code."""
    try:
        load()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{place} cannot be loaded: {type(error).__name__}: {error}") from error


def plain_function(module: ModuleType, place: str, name: str) -> Callable[..., object]:
    """Return a function of a module by its name; raises `UsageError` with the nearest name if there is none."""
    if not hasattr(module, name):
        known = sorted(
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
        )
        listed = ", ".join(known) or "none"
        raise UsageError(f"{place} has no function {name!r}; it has: {listed}.{did_you_mean(name, known)}")
    function = getattr(module, name)
    if not callable(function):
        kind = type(function).__name__
        raise UsageError(
            f"{name!r} in {place} is a value ({kind}), not a function; wrap it: def evaluate(): return {name}"
        )
    if inspect.iscoroutinefunction(function):
        raise UsageError(f"{name!r} in {place} is async; give a plain function that calls asyncio.run({name}())")
    checked: Callable[..., object] = function
    return checked


def endless_loop(source: bytes) -> int | None:
    """Return the line of an endless loop that runs when a script is loaded; None if there is none, or it is not Python.

    >>> endless_loop(b"import time\\nwhile True:\\n    time.sleep(3600)\\n")
    2
    >>> endless_loop(b"while True:\\n    if input(): break\\n"), endless_loop(b"def f():\\n    while 1: pass\\n")
    (None, None)
    >>> endless_loop(b"def main():\\n    while True: pass\\nmain()\\n")
    2
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # loading it reports the error
    return next((one.lineno for one in _run_at_the_top(tree) if _is_endless(one)), None)


def _run_at_the_top(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that certainly run when a script is loaded, those of functions that it calls then, too."""
    functions = {one.name: one for one in tree.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for one in _top_level(tree.body):
        yield one
        called = one.value if isinstance(one, ast.Expr) else None
        if isinstance(called, ast.Call) and _name_of(called) == "run" and len(called.args) == 1:
            called = called.args[0]  # asyncio.run(main())
        if isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id in functions:
            yield from _top_level(functions[called.func.id].body)


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that certainly run when these do, up to one that returns."""
    for one in body:
        if isinstance(one, ast.Return):
            return
        yield one
        if isinstance(one, (ast.With, ast.Try)):
            yield from _top_level(one.body)


def _is_endless(loop: ast.stmt) -> bool:
    if isinstance(loop, ast.While):
        always = isinstance(loop.test, ast.Constant) and bool(loop.test.value)
    else:
        always = isinstance(loop, ast.For) and isinstance(loop.iter, ast.Call) and _counts_on(loop.iter)
    return always and not any(
        isinstance(one, (ast.Break, ast.Raise, ast.Return, ast.Call)) and _leaves(one) for one in ast.walk(loop)
    )


def _counts_on(iterated: ast.Call) -> bool:
    """Return whether a loop runs over `itertools.count()`, which never ends."""
    called = iterated.func
    owner = called.value if isinstance(called, ast.Attribute) else None
    return _name_of(iterated) == "count" and (
        owner is None or (isinstance(owner, ast.Name) and owner.id == "itertools")
    )


def _name_of(call: ast.Call) -> str:
    called = call.func
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _leaves(one: ast.Break | ast.Raise | ast.Return | ast.Call) -> bool:
    """Return whether a statement or call may end the loop: breaks, errors and returns may, and calls of exit."""
    return not isinstance(one, ast.Call) or _name_of(one) in ("exit", "quit", "_exit", "abort")
