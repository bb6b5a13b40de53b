"""Read a service's state from the command line, whether the service runs or not."""

from __future__ import annotations

from pathlib import Path

from driftline.alerts.message import AlertView
from driftline.config.load import Config
from driftline.errors import UsageError
from driftline.events import Schema
from driftline.monitoring.explanation import Explanation
from driftline.sketches import decode
from driftline.store.addresses import is_server, without_secrets
from driftline.store.database import has_state, open_database
from driftline.store.inbox import Inbox
from driftline.store.state import State
from driftline.views.reader import Views
from driftline.views.values import ModelView


def open_state(config: Config, *, or_folder: bool = False) -> State:
    """Open the state of a service, whether it runs or not; raises `UsageError` if there is none.

    With ``or_folder`` an existing folder is enough: an empty state is created there.
    """
    if not (or_folder and Path(config.storage).is_dir()):
        require_storage(config)
    return State(open_database(config.database))


def require_storage(config: Config, *, or_log: bool = False) -> None:
    """Raise `UsageError` for a folder without a service's state: a mistyped name must not look like one without alerts.

    With ``or_log`` a log of events is enough, because the state can be rebuilt from it.
    """
    if has_state(config.database) or (or_log and _has_log(config)):
        return
    if is_server(config.database):
        raise UsageError(
            f"no `driftline serve` has run with {without_secrets(config.database)}: it is empty. Start one"
        )
    state = config.database.partition(":///")[2]
    raise UsageError(
        f"no `driftline serve` has run in {config.blobs.root}: there is no {state}. "
        "Start one, or name its folder with --data"
    )


def _has_log(config: Config) -> bool:
    if config.bucket is None:
        return (Path(config.storage) / "log").exists()
    return bool(config.blobs.list("log"))


def read_alerts(config: Config, model: str | None = None) -> list[AlertView]:
    """Read the alerts of a service, whether it runs or not, the newest window first; of one model or of all."""
    state = open_state(config)
    return Views(config, {}, state, Inbox(open_database(config.database))).alerts(model)


def read_explanation(config: Config, alert: str) -> Explanation:
    """Explain an alert of a service, whether it runs or not; see `Views.explanation`."""
    state = open_state(config)
    return Views(config, {}, state, Inbox(open_database(config.database))).explanation(alert)


def read_models(config: Config) -> list[ModelView]:
    """Read the summaries of a service's models, whether it runs or not, in the order of the configuration.

    A model that no service has opened yet has the task of the configuration, or none.
    """
    state = open_state(config)
    tasks: dict[str, str] = {}
    with state.read() as read:
        for name, one in config.models.items():
            stored = read.models.get(name)
            if stored is not None:
                tasks[name] = decode(stored.schema, Schema).task.value
            else:
                tasks[name] = one.task.value if one.task is not None else ""
    return Views(config, tasks, state, Inbox(open_database(config.database))).models()
