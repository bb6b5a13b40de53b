"""Lazy imports: a package's public names are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def imported_on_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package that imports each public name from its module when it is first used.

    ``homes`` names the module of each public name. A name that is not among them raises `AttributeError`.

    >>> imported_on_use("driftline.text", {"cause": "driftline.text"})("effect")
    Traceback (most recent call last):
        ...
    AttributeError: module 'driftline.text' has no attribute 'effect'; public: cause
    """

    def import_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; public: {', '.join(sorted(homes))}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return import_name
