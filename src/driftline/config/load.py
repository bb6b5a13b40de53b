"""``driftline.yaml``: read strictly, every mistake named with file, line and key. The only reader of configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from driftline.access.options import Auth, AuthSection, Proxy, TlsFiles, TlsSection
from driftline.alerts.options import NotifyConfig
from driftline.config.checking import Checker
from driftline.config.keeping import keep_of
from driftline.config.models import model_of
from driftline.config.receivers import receivers_of
from driftline.config.retraining import retraining_of
from driftline.config.schema import DEFAULT_FOLDER, FileSection
from driftline.config.strict_yaml import Key, Reader, SourceFile, section_of, shown
from driftline.environment import is_named
from driftline.errors import UsageError
from driftline.events import class_name
from driftline.exporters.options import PrometheusSection
from driftline.fields import parse_bytes
from driftline.logs import LogSection
from driftline.monitoring.options import ModelConfig
from driftline.net.hosts import host_problem
from driftline.net.limits import Limits, LimitsSection
from driftline.retrain.options import RetrainConfig
from driftline.store.addresses import FORM, SQLITE, is_server, server_problem
from driftline.store.blobs import Blobs, Folder
from driftline.store.hash_key import HashKey
from driftline.store.keep import Keep
from driftline.store.s3 import FORM as S3_FORM
from driftline.store.s3 import Bucket, address_problem, is_bucket

FILE_LIMIT_BYTES = 2**20
_HEADER = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; paths are absolute or relative to the working directory, no longer to the file.

    ``url`` is where people reach this service, for links; empty where it was not said. ``hosts`` are the names under
    which it may be asked besides that and loopback. ``registry`` is the address of an MLflow, None for a folder in the
    storage. ``retrain`` has the models that are retrained. Where events and blobs are in S3, ``bucket`` is its address,
    and ``storage`` only the local folder that this machine needs for its work.
    """

    models: Mapping[str, ModelConfig]
    notify: tuple[NotifyConfig, ...]
    storage: Path
    database: str = field(repr=False)  # it may hold a password
    prometheus: PrometheusSection
    url: str
    registry: str | None = None
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    auth: Auth = field(default_factory=Auth)
    tls: TlsFiles | None = None
    log: LogSection = field(default_factory=LogSection)
    retrain: Mapping[str, RetrainConfig] = field(default_factory=dict)
    keep: Keep = field(default_factory=Keep)
    bucket: str | None = None

    @property
    def blobs(self) -> Blobs:
        """The place of the event log, of registered versions, and of what retraining has read and written."""
        return Folder(self.storage) if self.bucket is None else Bucket.at(self.bucket)

    def at(self, folder: Path) -> Config:
        """Return the same, with events and state in another folder. Raises `UsageError` for a state in PostgreSQL."""
        if is_server(self.database):
            raise UsageError(
                "the state of this configuration is in PostgreSQL: change `storage` and `database` instead"
            )
        key = HashKey(folder)
        models = {name: replace(one, key=key) for name, one in self.models.items()}
        return replace(self, models=models, storage=folder, bucket=None, database=_sqlite(folder / "state.db"))


def load(path: Path) -> Config:
    """Read a configuration file; raise `ConfigError` for whatever is wrong with it."""
    return parse(read_text(path, "write one, or name it with --config"), path)


def read_text(path: Path, advice: str) -> str:
    """Read a file of YAML; raise `ConfigError` where it is not there (with ``advice``), too large, or no UTF-8."""
    file = SourceFile(path)
    try:
        with path.open("rb") as opened:
            data = opened.read(FILE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise file.error((), f"there is no such file; {advice}") from None
    except OSError as error:
        raise file.error((), f"the file cannot be read: {error.strerror}") from error
    if len(data) > FILE_LIMIT_BYTES:
        raise file.error((), f"the file has more than {FILE_LIMIT_BYTES} bytes, the most that is allowed")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"the byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        raise file.error((), reason, line) from error


def parse(text: str, path: Path) -> Config:
    """Read a configuration from text; ``path`` is for messages, and its folder for relative paths."""
    file = SourceFile(path)
    plain = Reader(file, _class_name_at).read(text)
    return _build(Checker(file), section_of(file, plain, FileSection))


def _class_name_at(key: Key, value: Any) -> str | None:
    """The keys of a mapping of scores are classes: ``true`` and ``1.0`` are the class 1."""
    return class_name(value) if key[-2:] == ("columns", "score") and isinstance(value, (bool, float)) else None


def _build(check: Checker, section: FileSection) -> Config:
    storage, bucket = _storage(check, section)
    database = _database(check, section.database, storage)
    key = HashKey(storage, apart=bucket is not None and is_server(database))
    models = {name: replace(model_of(check, ("models", name), one), key=key) for name, one in section.models.items()}
    retrain = {
        name: retraining_of(check, ("models", name, "retrain"), one, one.retrain)
        for name, one in section.models.items()
        if one.retrain is not None
    }
    return Config(
        models=models,
        notify=receivers_of(check, section.notify),
        storage=storage,
        bucket=bucket,
        database=database,
        prometheus=_prometheus(check, section.prometheus),
        url="" if section.url is None else _own_address(check, section.url),
        registry=None if section.registry is None else check.address(("registry",), section.registry),
        hosts=tuple(_host(check, ("hosts", str(index)), one) for index, one in enumerate(section.hosts)),
        limits=_limits(check, ("limits",), section.limits),
        auth=_auth(check, ("auth",), section.auth),
        tls=None if section.tls is None else _tls(check, ("tls",), section.tls),
        log=section.log,
        retrain=retrain,
        keep=keep_of(check, ("keep",), section.keep, models, retrain),
    )


def _host(check: Checker, key: Key, name: str) -> str:
    if problem := host_problem(name):
        raise check.error(key, f"came {shown(name)}; {problem}")
    return name.lower()


def _own_address(check: Checker, url: str) -> str:
    """Return the address of this service; it is in every message, and so it is no secret that stands elsewhere."""
    if is_named(url):
        raise check.error(("url",), f"came {shown(url)}; it is not read from there: write the address itself")
    return check.address(("url",), url).rstrip("/")


def _limits(check: Checker, key: Key, section: LimitsSection) -> Limits:
    return Limits(
        body_bytes=check.checked((*key, "body"), lambda: parse_bytes(section.body)),
        unpacked_bytes=check.checked((*key, "unpacked"), lambda: parse_bytes(section.unpacked)),
        rows=section.rows,
        header_time=check.time_limit((*key, "header_time"), section.header_time),
        body_time=check.time_limit((*key, "body_time"), section.body_time),
        connections=section.connections,
    )


def _auth(check: Checker, key: Key, section: AuthSection) -> Auth:
    if (proxy := section.proxy) is None:
        return Auth(section.required)
    header = proxy.header.lower()
    if _HEADER.fullmatch(header) is None or header in ("authorization", "cookie", "host"):
        reason = f"came {shown(proxy.header)}; allowed is a header of the proxy's own, such as X-Forwarded-User"
        raise check.error((*key, "proxy", "header"), reason)
    addresses = set()
    for index, text in enumerate(proxy.addresses):
        try:
            addresses.add(ipaddress.ip_address(text))
        except ValueError:
            reason = f"came {shown(text)}; allowed is the address from which the proxy asks, such as 127.0.0.1"
            raise check.error((*key, "proxy", "from", str(index)), reason) from None
    return Auth(section.required, Proxy(header, frozenset(addresses), proxy.role))


def _tls(check: Checker, key: Key, section: TlsSection) -> TlsFiles:
    files = []
    for name, text in (("certificate", section.certificate), ("key", section.key)):
        file = check.folder / check.local((*key, name), text)
        if not file.is_file():
            raise check.error((*key, name), f"there is no file {shown(str(file))}")
        files.append(file)
    return TlsFiles(*files)


def _prometheus(check: Checker, section: PrometheusSection) -> PrometheusSection:
    if section.remote_write is not None:
        check.address(("prometheus", "remote_write"), section.remote_write)
    return section


def _storage(check: Checker, section: FileSection) -> tuple[Path, str | None]:
    """Return the folder on this machine, and the address of the bucket where that has the events."""
    if not is_bucket(section.storage):
        if "://" in section.storage:
            scheme = section.storage.partition("://")[0]
            raise check.error(("storage",), f"{shown(scheme)} is not available; allowed are a local path and {S3_FORM}")
        if section.scratch is not None:
            raise check.error(("scratch",), f"is for {S3_FORM} as `storage`; a folder is its own")
        return check.folder / check.local(("storage",), section.storage), None
    if (problem := address_problem(section.storage)) is not None:
        raise check.error(("storage",), problem)
    if section.database is None:
        reason = "is in S3, which keeps no state: say as `database` where that is, sqlite:///FILE or"
        raise check.error(("storage",), f"{reason} {FORM}")
    scratch = section.scratch or DEFAULT_FOLDER
    return check.folder / check.local(("scratch",), scratch), section.storage.rstrip("/")


def _database(check: Checker, database: str | None, storage: Path) -> str:
    if database is None:
        return check.checked(("storage",), lambda: _sqlite(storage / "state.db"))
    if is_server(database):
        if not is_named(database) and (problem := server_problem(database)) is not None:
            raise check.error(("database",), problem)
        return database
    # An address may hold a password: messages do not repeat it.
    scheme, found, name = database.partition(":///")
    if scheme != SQLITE or not found:
        scheme = database.partition(":")[0] if "://" in database else "another database"
        raise check.error(
            ("database",),
            f"{shown(scheme)} is not available; allowed are sqlite:///FILE, {FORM}, env:NAME and file:PATH",
        )
    if not name or name == ":memory:" or "?" in name:
        raise check.error(("database",), "sqlite:/// is followed by the name of a file, without options")
    local = check.local(("database",), name)
    return check.checked(("database",), lambda: _sqlite(check.folder / local))


def _sqlite(file: Path) -> str:
    for part in file.parts:
        if "?" in part:
            raise UsageError(f"{shown(part)} has a `?`, at which the address of the database would end; rename it")
    return f"sqlite:///{file}"
