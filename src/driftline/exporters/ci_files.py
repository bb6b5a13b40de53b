"""Write files with which GitHub Actions or GitLab CI train a challenger on Driftline's request, and judge it."""

from __future__ import annotations

import functools
import json
import re
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Literal, get_args

from driftline.errors import UnknownNameError, UsageError
from driftline.exporters.files import File
from driftline.templating import environment

if TYPE_CHECKING:
    import jinja2

System = Literal["github", "gitlab"]

RUN = "driftline-run"
"""The run's folder in a job, relative to the checked-out repository."""

_SCRIPT = "driftline_ci.py"
_MODEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PYTHON = re.compile(r"3\.\d{1,2}(\.\d{1,2})?")
_LONGEST_MINUTES = 6 * 60


@dataclass(frozen=True, slots=True)
class Training:
    """What a job does for a model. Raises `UsageError` for values that the files cannot hold.

    ``install`` and ``train`` are lines of shell; they run in the checked-out repository, with the run's folder in
    ``DRIFTLINE_RUN``. ``install`` has to install Driftline too. ``champion``, ``challenger`` and ``data`` are what
    ``driftline gate`` compares, ``label`` is the column of labels in ``data``, and ``options`` are more words for the
    command. The job may take ``minutes``, 1 to 360.
    """

    model: str
    train: str = "python train.py"
    install: str = "python -m pip install -r requirements.txt"
    python: str = "3.12"
    champion: str = f"{RUN}/champion.parquet"
    challenger: str = f"{RUN}/challenger.parquet"
    data: str = f"{RUN}/evaluation.parquet"
    label: str = "label"
    options: Sequence[str] = ()
    minutes: int = 60

    def __post_init__(self) -> None:
        if not _MODEL.fullmatch(self.model):
            raise UsageError(
                f"the model came as {self.model!r}; a name is a small letter or digit, then up to 63 small letters, "
                "digits and . _ -"
            )
        if not _PYTHON.fullmatch(self.python):
            raise UsageError(f"the version of Python came as {self.python!r}; write one such as 3.12")
        if not 1 <= self.minutes <= _LONGEST_MINUTES:
            raise UsageError(f"{self.minutes} minutes came; a job takes 1 to {_LONGEST_MINUTES}")
        words = {
            "--champion": self.champion,
            "--challenger": self.challenger,
            "--data": self.data,
            "--label": self.label,
        }
        words |= {f"the option {word!r} of the gate": word for word in self.options}
        for what, text in words.items():
            _check(text, what, text.isprintable() and bool(text))
        for what, text in (("--train", self.train), ("--install", self.install)):
            _check(text, what, bool(text.strip()) and all(line.isprintable() for line in _lines(text)))


def _check(text: str, what: str, fits: bool) -> None:
    if not fits or "${{" in text:
        raise UsageError(f"{what} came as {text!r}; write printable text, without ${{{{: the job evaluates it")


def _lines(text: str) -> list[str]:
    return [line.replace("\t", " ") for line in text.strip("\n").split("\n")]


def ci_files(system: str, training: Training) -> list[File]:
    """Return the files for ``github`` or ``gitlab``; the same arguments give the same files.

    Raises `UnknownNameError` for another system.
    """
    if system not in FILES:
        raise UnknownNameError("CI system", system, FILES)
    return [File(name.format(model=training.model), make(training)) for name, make in FILES[system].items()]


def _github(training: Training) -> str:
    return _render("github/workflow.yml", training, options="\n".join(_options(training)))


def _options(training: Training) -> list[str]:
    return [f"--label={training.label}", *training.options]


def _gitlab(training: Training) -> str:
    words = [
        *_options(training),
        "--json",
        "--html",
        f"{RUN}/report/gate.html",
        "--evidence",
        f"{RUN}/report/evidence.json",
        "--",
    ]
    gate = shlex.join([*words, training.champion, training.challenger, training.data])
    return _render("gitlab/driftline.gitlab-ci.yml", training, gate=gate, image=f"python:{training.python}")


def _shipped(*path: str) -> Callable[[Training], str]:
    return lambda _: _folder().joinpath(*path).read_text(encoding="utf-8")


FILES: Mapping[str, Mapping[str, Callable[[Training], str]]] = {
    "github": {
        ".github/workflows/driftline-retrain-{model}.yml": _github,
        ".github/actions/driftline-gate/action.yml": _shipped("github", "action.yml"),
        f".github/actions/driftline-gate/{_SCRIPT}": _shipped(_SCRIPT),
    },
    "gitlab": {
        ".gitlab/driftline-{model}.gitlab-ci.yml": _gitlab,
        f".gitlab/{_SCRIPT}": _shipped(_SCRIPT),
    },
}
"""The files of each system: their names, and the function that writes each."""

assert set(FILES) == set(get_args(System))


def _render(name: str, training: Training, **more: str) -> str:
    text: str = (
        _environment()
        .get_template(name)
        .render(
            model=training.model,
            python=training.python,
            minutes=training.minutes,
            install="\n".join(_lines(training.install)),
            train="\n".join(_lines(training.train)),
            champion=training.champion,
            challenger=training.challenger,
            data=training.data,
            **more,
        )
    )
    return text


@functools.cache
def _environment() -> jinja2.Environment:
    made = environment(
        "driftline.exporters",
        "ci",
        # GitHub uses {{ }} itself.
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    made.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    # YAML takes the indentation of a block from its first line: that must not have more of its own.
    made.filters["lines"] = lambda text, depth: textwrap.indent(textwrap.dedent(text).lstrip(), " " * depth)
    return made


def _folder() -> Traversable:
    return resources.files("driftline.exporters") / "ci"
