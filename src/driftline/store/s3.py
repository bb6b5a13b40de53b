"""Blobs in S3, or in what speaks its language: MinIO, Ceph, R2. The answer to a PUT says that it is durable.

Credentials come from the environment or AWS's own file, never from the configuration. A write that must be the first
is a conditional one (``If-None-Match``), of Delta Lake's commits too: of two writers at once, one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from driftline.environment import s3_settings
from driftline.errors import DriftlineError, StorageError, UsageError
from driftline.store.blobs import Blob, checked
from driftline.store.keys import key_of, name_of
from driftline.text import short

if TYPE_CHECKING:
    from obstore.store import S3Store

FORM = "s3://BUCKET/PREFIX"
"""How the address of a bucket, or of a part of it, is written."""

PART_BYTES = 8 << 20
_REGION = {"aws_region": "us-east-1"}
_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._=+-]+)*)/?")
_LENGTH = 250
_STATUS = re.compile(r"status code\W*(\d{3}(?: [A-Z][A-Za-z]+)*)")
_DECORATION = re.compile(r"\x1b\[\d*m|↳")
_HIDDEN = re.compile(r"<(AWSAccessKeyId|StringToSign\w*|SignatureProvided|CanonicalRequest\w*)>.*?</\1>", re.DOTALL)
_WORDS = (
    (r"NoSuchBucket", "there is no such bucket; create it, or mend `storage`"),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken",
        "S3 does not know the credentials, or they have expired; mend AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (
        r"169\.254\.\d+\.\d+|missing credential|no credentials",
        "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (r"AccessDenied|code\W+403", "S3 refuses it (403): these credentials may not do that"),
    (r"RequestTimeTooSkewed", "the clocks of this machine and of S3 differ too much; synchronise this one's"),
    (r"SlowDown|code\W+429", "S3 has too much to do, and asks to be asked less"),
    (r"code\W+4(12|09)|precondition failed|already exists", "another writer was there before"),
    (r"timed out|TimedOut|timeout while|deadline", "S3 did not answer in time"),
    (
        r"Connection refused|dns error|tcp connect|client error \(Connect\)|connection reset|os error 111",
        "S3 cannot be reached; it is away, or AWS_ENDPOINT_URL leads elsewhere",
    ),
    (r"certificate|invalid peer|UnknownIssuer", "the certificate of S3 is not one that this machine trusts"),
    (r"connection closed|IncompleteMessage|error decoding|end of file|unexpected EOF", "S3 broke the answer off"),
)
"""What the texts of errors mean, the first that fits."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long S3 may take: for one request, for a connection, and how often and how long it is asked again."""

    request: timedelta = timedelta(seconds=20)
    connection: timedelta = timedelta(seconds=5)
    retries: int = 2
    retrying: timedelta = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The blobs of a bucket whose names begin with a prefix, which is empty or ends with no ``/``."""

    bucket: str
    prefix: str = ""
    patience: Patience = Patience()
    lasting: bool = True
    _opened: list[S3Store] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def at(cls, address: str, patience: Patience | None = None) -> Bucket:
        """Return the place at an address; raise `UsageError` for one that is none."""
        if (problem := address_problem(address)) is not None:
            raise UsageError(problem)
        bucket, _, prefix = address.removeprefix("s3://").rstrip("/").partition("/")
        return cls(bucket, prefix, Patience() if patience is None else patience)

    @property
    def root(self) -> str:
        """See `Blobs.root`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def table_options(self) -> dict[str, str]:
        """See `Blobs.table_options`; another writer's commit is not overwritten."""
        return {
            **self._settings(),
            "aws_conditional_put": "etag",
            "max_retries": str(self.patience.retries),
            "retry_timeout": _text(self.patience.retrying),
        }

    @property
    def scan_options(self) -> dict[str, Any]:
        """See `Blobs.scan_options`."""
        retries = {"max_retries": self.patience.retries, "retry_timeout": _text(self.patience.retrying)}
        return {**self._settings(), **retries}

    def within(self, name: str) -> Bucket:
        """See `Blobs.within`."""
        return replace(self, prefix=self._key(name))

    def uri(self, name: str) -> str:
        """See `Blobs.uri`."""
        return f"s3://{self.bucket}/{self._key(name)}"

    def put(self, name: str, content: bytes | Path) -> None:
        """See `Blobs.put`; what is large goes in parts."""
        key = self._key(name)
        with self._told("written"):
            self._store().put(key, content)

    def put_new(self, name: str, content: bytes | Path) -> bool:
        """See `Blobs.put_new`."""
        from obstore.exceptions import AlreadyExistsError

        key = self._key(name)
        with self._told("written"):
            try:
                self._store().put(key, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def swap(self, name: str, content: bytes, tag: str | None) -> bool:
        """See `Blobs.swap`."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if tag is None:
            return self.put_new(name, content)
        key = self._key(name)
        with self._told("written"):
            try:
                self._store().put(key, content, mode={"e_tag": tag}, use_multipart=False)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return False
        return True

    def get(self, name: str) -> bytes:
        """See `Blobs.get`."""
        return self.tagged(name)[0]

    def tagged(self, name: str) -> tuple[bytes, str]:
        """See `Blobs.tagged`."""
        key = self._key(name)
        with self._told("read"):
            found = self._store().get(key)
            return bytes(found.bytes()), found.meta["e_tag"] or ""

    def stream(self, name: str) -> Iterator[bytes]:
        """See `Blobs.stream`; each part is a request of its own, so that a long file has as much time as it takes."""
        key = self._key(name)
        with self._told("read"):
            size = self._store().head(key)["size"]
        for start in range(0, size, PART_BYTES):
            with self._told("read"):
                part = self._store().get_range(key, start=start, end=min(start + PART_BYTES, size))
            yield bytes(part)

    def find(self, name: str) -> Blob | None:
        """See `Blobs.find`."""
        key = self._key(name)
        with self._told("read"):
            try:
                found = self._store().head(key)
            except FileNotFoundError:
                return None
        return Blob(name, found["size"], found["last_modified"])

    def list(self, folder: str = "") -> list[Blob]:
        """See `Blobs.list`."""
        key = self._key(folder) if folder else self.prefix
        with self._told("read"):
            found = [one for part in self._store().list(key or None) for one in part]
        begin = len(self.prefix) + 1 if self.prefix else 0
        return sorted(Blob(name_of(one["path"][begin:]), one["size"], one["last_modified"]) for one in found)

    def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        key = self._key(name)
        with self._told("written"):
            try:
                self._store().delete(key)
            except FileNotFoundError:
                return

    def words(self, error: BaseException) -> str:
        """See `Blobs.words`."""
        return said(error)

    def _key(self, name: str) -> str:
        key = key_of(checked(name))
        return f"{self.prefix}/{key}" if self.prefix else key

    def _settings(self) -> dict[str, str]:
        times = {"timeout": _text(self.patience.request), "connect_timeout": _text(self.patience.connection)}
        return {**_REGION, **s3_settings(), **times}

    def _store(self) -> S3Store:
        if not self._opened:
            try:
                from obstore.store import S3Store
            except ImportError as error:
                raise UsageError("storage in S3 needs one more package: pip install 'driftline[s3]'") from error
            settings = {**_REGION, **s3_settings()}
            plain = settings.pop("aws_allow_http", "") == "true"
            store = S3Store(
                self.bucket,
                config=settings,  # type: ignore[arg-type]
                client_options={
                    "timeout": self.patience.request,
                    "connect_timeout": self.patience.connection,
                    "allow_http": plain,
                },
                retry_config={"max_retries": self.patience.retries, "retry_timeout": self.patience.retrying},
            )
            self._opened.append(store)
        return self._opened[0]

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            from obstore.exceptions import BaseError
        except ImportError as error:
            raise UsageError("storage in S3 needs one more package: pip install 'driftline[s3]'") from error
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise StorageError(f"{self.root} cannot be {what}: {said(error)}") from error
        except (BaseError, OSError) as error:
            raise StorageError(f"{self.root} cannot be {what}: {said(error)}") from error


def is_bucket(address: str) -> bool:
    """Whether an address is meant as one in S3."""
    return address.startswith("s3://")


def address_problem(address: str) -> str | None:
    """Why a text is no address of blobs in S3, or None.

    >>> address_problem("s3://company-ml/driftline")
    >>> address_problem("s3://company-ml/a b")
    "came 's3://company-ml/a b'; write s3://BUCKET/PREFIX, of letters, digits and . _ = + -"
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or any(part in (".", "..") for part in found[2].split("/")):
        shown = address if "@" not in address else "an address with an @"  # which may stand behind a password
        return f"came {short(shown, 100)!r}; write {FORM}, of letters, digits and . _ = + -"
    return None


def said(error: BaseException) -> str:
    """Say what an error of S3 means, in one line, without anything secret.

    >>> said(OSError("Error performing PUT http://s3/b/k - Server returned non-2xx status code: 502 Bad Gateway: …"))
    'S3 answers 502 Bad Gateway'
    """
    if isinstance(error, DriftlineError):
        return str(error)
    text = " ".join(_DECORATION.sub(" ", f"{error} {error.__cause__ or ''}").split())
    text = _HIDDEN.sub("", unquote(text))
    for pattern, words in _WORDS:
        if re.search(pattern, text, re.IGNORECASE):
            return words
    if found := _STATUS.search(text):
        return f"S3 answers {found[1].strip()}"
    return short(text, _LENGTH)


def reach(place: Bucket) -> str | None:
    """Say why a place cannot be read now, or None: one small question, for a service that asks again and again."""
    try:
        place.find("driftline")
    except StorageError as error:
        return str(error)
    return None


def probe(place: Bucket, name: str) -> str | None:
    """Say why a place cannot be used, or None: write a blob of this name, once only, read it and take it away."""
    content = b"driftline doctor"
    try:
        if not place.put_new(name, content):
            return f"{place.uri(name)} is in the way; delete it"
        again = place.put_new(name, content)
        read = place.get(name)
        place.delete(name)
    except StorageError as error:
        return str(error)
    except FileNotFoundError:
        return f"{place.root} does not have what was just written to it"
    if again:
        return f"{place.root} takes no conditional writes (If-None-Match): two writers would overwrite one another"
    return None if read == content else f"{place.root} gives other bytes than were written"


def _text(time: timedelta) -> str:
    return f"{int(time.total_seconds() * 1000)}ms"
