"""The secret by which ids and values are hashed, so that nobody finds out by trial which ones they were."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from driftline.environment import environment
from driftline.errors import ConfigError, StorageError, UsageError
from driftline.store.durable import make_folder, sync_file
from driftline.text import cause

VARIABLE, FILE = "DRIFTLINE_HASH_KEY", "hash.key"
_LEAST, _BYTES = 16, 32


@dataclass(slots=True)
class HashKey:
    """The key of a service: the variable ``DRIFTLINE_HASH_KEY``, or a file of its folder that is made when needed.

    None is made where processes that share the key may have no folder in common (``apart``): each would make its own.
    """

    folder: Path
    apart: bool = False
    _key: bytes | None = field(default=None, init=False, repr=False)

    def digest(self, text: str) -> bytes:
        """Return the keyed hash of a text (HMAC-SHA256), 32 bytes."""
        if self._key is None:
            self._key = self._read()
        return hmac.digest(self._key, text.encode(errors="surrogatepass"), hashlib.sha256)

    def shown(self, text: str) -> str:
        """Return the first half of it in hexadecimal digits: a name that stands for the text, equal for equal texts."""
        return self.digest(text)[:16].hex()

    def _read(self) -> bytes:
        if said := environment().get(VARIABLE):
            if len(said) < _LEAST:
                raise UsageError(f"{VARIABLE} is shorter than {_LEAST} characters; take a long random text")
            return said.encode(errors="surrogateescape")
        path = self.folder / FILE
        if self.apart and not path.exists():
            raise ConfigError(
                f"processes that share the database and the bucket have to hash alike: set {VARIABLE} for each of them "
                f"to the same long random text, or bring {path} from where it is"
            )
        try:
            return self._of_file(path)
        except OSError as error:
            raise StorageError(f"the key {path} cannot be read or made: {cause(error)}; or set {VARIABLE}") from error

    @staticmethod
    def _of_file(path: Path) -> bytes:
        if not path.exists():
            make_folder(path.parent.absolute())
            beside = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(beside, path)  # of two that make one, the first wins
            except FileExistsError:
                pass
            finally:
                beside.unlink()
            sync_file(path.parent)
        key = path.read_text().strip()
        if len(key) < _LEAST:
            raise UsageError(f"the key in {path} is shorter than {_LEAST} characters; bring back the one from a backup")
        return key.encode()
