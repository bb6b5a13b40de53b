"""Keys of S3 from any names: every tool takes them as they are, and none encodes them once too often.

A blank, an umlaut or a ``%`` in a key is written in three ways by three libraries, which then do not find one
another's files.
"""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[^0-9A-Za-z._-]")
_ENCODED = re.compile(r"(?:![0-9A-F]{2})+")
_LONGEST, _KEPT_OF_LONG = 200, 100


def key_of(name: str) -> str:
    """Return the key of a name: letters, digits and ``. _ -`` stay, the bytes of the rest are written as ``!20``.

    Different names get different keys. A part that would become too long ends with its hash instead.

    >>> key_of("a b/ü"), key_of("churn-1.2_x"), key_of("50%!")
    ('a!20b/!C3!BC', 'churn-1.2_x', '50!25!21')
    """
    return "/".join(_part(one) for one in name.split("/"))


def name_of(key: str) -> str:
    """Return the name of a key; one that was too long keeps its hash.

    >>> name_of("a!20b/!C3!BC")
    'a b/ü'
    """
    return _ENCODED.sub(_decoded, key)


def _part(name: str) -> str:
    found = _PLAIN.sub(lambda sign: "".join(f"!{byte:02X}" for byte in _bytes(sign[0])), name)
    if len(found) <= _LONGEST:
        return found
    return f"{found[:_KEPT_OF_LONG]}!!{hashlib.sha256(_bytes(name)).hexdigest()}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("!", "")).decode("utf-8", "replace")
