"""The interface of runners, which get challengers trained: the request to them, and what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Protocol

import msgspec

from driftline.errors import DataError, UsageError
from driftline.retrain.policy import Trigger
from driftline.rules.evidence import Evidence

REQUEST, RESULT = "request.json", "result.json"
MOST_FILES = 1_000

_RESULT_BYTES = 1_000_000
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


class Request(msgspec.Struct, frozen=True):
    """A request for a challenger. In its JSON, in ``request.json`` and sent to others, ``id`` is called ``request_id``.

    ``callback`` is the address to which a remote run posts its `Report`; empty without one. Raises `UsageError` for an
    id that is not 1 to 64 letters, digits, ``_`` and ``-``, because it becomes part of names on other servers.
    """

    id: str = msgspec.field(name="request_id")
    model: str
    trigger: Trigger
    reason: str
    asked_at: datetime
    callback: str = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise UsageError(
                f"the id of a request came as {self.id!r}; it is 1 to 64 letters, digits, _ and -, "
                "and begins with a letter or digit"
            )

    def payload(self) -> dict[str, str]:
        """Return the request as a mapping of names to texts."""
        fields: dict[str, str] = msgspec.to_builtins(self)
        return fields


class Predictions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files of predictions for the rows of ``evaluation.parquet``.

    Without a file of the champion's, its answers in the log count.
    """

    challenger: str
    champion: str | None = None


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a run's ``result.json``. All files are in the run's folder, and named relative to it.

    ``data`` describes the training data, and ``code`` the code that was run, such as a commit; both are only shown.
    """

    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z._+-]{0,99}\Z")]
    predictions: Predictions
    artifacts: Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST_FILES)] = ()
    data: dict[str, Any] = {}
    code: Annotated[str, msgspec.Meta(max_length=500)] = ""


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a remote run posts to the request's callback. ``evidence`` is what ``driftline gate --evidence`` wrote.

    It has no verdict, because the contest is held where the gates are configured. ``request_id`` may be missing if
    reports are not signed.
    """

    ok: bool
    reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    result: Result | None = None
    evidence: Evidence | None = None
    link: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run on this machine. ``reason`` says in words why it is not ``ok``, and is empty if it is.

    ``exit_code`` is that of the last step that ran, negative for a signal; it and ``seconds`` (of wall-clock time) are
    None if they are not known. ``log`` need not exist. ``result`` is None unless the run is ``ok``.
    """

    ok: bool
    reason: str
    exit_code: int | None
    seconds: float | None
    log: Path
    result: Result | None


class Handle(Protocol):
    """A run on this machine. It outlives the process that started it; `Runner.start` finds it again."""

    def outcome(self) -> Outcome | None:
        """Return the outcome; None while the run is going on."""
        ...

    def stop(self) -> None:
        """Stop the run soon. Its outcome will say so; a run that is over stays as it is."""
        ...


class Runner(Protocol):
    """Gets a challenger trained, here or elsewhere."""

    def start(self, request: Request, folder: Path) -> Handle | None:
        """Start the run of a request in its folder, or find the run that was started there: no request runs twice.

        Returns None if the run is handed over to another server, which reports later; once that has taken it, starting
        again sends nothing. Raises `UnavailableError` if that server did not take it, which the caller tries again, and
        `StorageError` if the folder cannot be used.
        """
        ...


class RunOptions(Protocol):
    """The configuration of runs; see `driftline.retrain.options.RetrainConfig`."""

    @property
    def run(self) -> Any:
        """The section `run`."""
        ...

    @property
    def time_limit(self) -> timedelta:
        """The longest time that a run may take."""
        ...

    @property
    def memory_bytes(self) -> int:
        """The most memory that a process of a run on this machine may have."""
        ...

    @property
    def folder(self) -> Path:
        """The folder of the configuration file."""
        ...


@dataclass(frozen=True, slots=True)
class RunnerKind:
    """A kind of runners.

    ``option`` is the type of the value of its key in `run`. ``open`` makes a runner from that value and the whole
    `retrain` section; it raises `UsageError` if a secret is missing. ``elsewhere`` says whether another server trains
    and reports.
    """

    option: Any
    open: Callable[[Any, RunOptions], Runner]
    elsewhere: bool = True


def wait_for(handle: Handle, pause: Callable[[], object]) -> Outcome:
    """Wait until a run is over and return its outcome; ``pause`` is called between two checks."""
    while (outcome := handle.outcome()) is None:
        pause()
    return outcome


def read_result(folder: Path, *, most_bytes: int = 4_000_000_000) -> Result:
    """Read a run's ``result.json``, and check the files that it names.

    They must be in the run's folder, with at most ``most_bytes`` in all. A folder among the artifacts stands for all
    files in it. Raises `DataError`, which says what is wrong.
    """
    path = folder / RESULT
    try:
        with path.open("rb") as file:
            text = file.read(_RESULT_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"the run left no {RESULT} in its folder") from None
    except OSError as error:
        raise DataError(f"{RESULT} cannot be read: {error.strerror}") from error
    if len(text) > _RESULT_BYTES:
        raise DataError(f"{RESULT} has more than {_RESULT_BYTES} bytes; large things go into files that it names")
    result = decode_result(text)
    result = msgspec.structs.replace(result, artifacts=tuple(_files_of(folder, result.artifacts)))
    names = [result.predictions.challenger, *filter(None, [result.predictions.champion]), *result.artifacts]
    if (size := sum(_size(folder, name) for name in names)) > most_bytes:
        raise DataError(f"the files that {RESULT} names have {size} bytes in all; {most_bytes} is the most")
    return result


def decode_result(text: bytes) -> Result:
    """Decode the JSON of a result, with null for NaN and infinity, without checking its files; raises `DataError`."""
    try:
        return msgspec.json.decode(text, type=Result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if (found := _without_nan(text)) is not None:
            return found
        raise DataError(f"{RESULT} is not as it should be: {error}") from error


def _without_nan(text: bytes) -> Result | None:
    """Decode a result with NaN or infinity, which Python's `json` writes although JSON has none; None if invalid."""
    if not any(word in text for word in (b"NaN", b"Infinity")):
        return None
    try:
        return msgspec.convert(json.loads(text, parse_constant=lambda _: None), Result)
    except (ValueError, RecursionError):  # msgspec's error is a ValueError
        return None


def _files_of(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """Yield the files that artifacts name, in order, a folder's files in its place; `DataError` for too many."""
    count = 0
    for name in names:
        within = [name]
        if PurePosixPath(name).parts and not Path(name).is_absolute() and "\0" not in name and _is_folder(folder, name):
            within = sorted(
                path.relative_to(folder).as_posix() for path in (folder / name).rglob("*") if not path.is_dir()
            )
        count += len(within)
        if count > MOST_FILES:
            raise DataError(f"{RESULT} names more than {MOST_FILES} files as artifacts; put them into an archive")
        yield from within


def _is_folder(folder: Path, name: str) -> bool:
    try:
        path, whole = (folder / name).resolve(strict=True), folder.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return False
    return path != whole and path.is_relative_to(whole) and (folder / name).is_dir()


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a run named; raises `DataError` if there is none, or only outside the folder."""
    path = folder / name
    try:
        # A link may lead out as well as `..` does.
        fits = bool(name) and path.resolve(strict=True).is_relative_to(folder.resolve(strict=True)) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # no such file; a name with NUL, or too long; links in a circle
        fits = False
    if not fits or Path(name).is_absolute():
        raise DataError(f"{RESULT} names {_short(name)}, which is no file in the run's folder")
    return path


def _size(folder: Path, name: str) -> int:
    try:
        return inside(folder, name).stat().st_size
    except OSError as error:
        raise DataError(f"{_short(name)} cannot be read: {error.strerror}") from error


def _short(name: str) -> str:
    return repr(name) if len(name) <= 100 else repr(name[:100]) + "…"


def check_words(words: Sequence[str], what: str) -> None:
    """Raise `UsageError` for a command that is not a list of one or more words."""
    if not words or isinstance(words, str) or not words[0] or any("\0" in word for word in words):
        raise UsageError(f"{what} came as {words!r}; write a list of words, such as [python, train.py]")
