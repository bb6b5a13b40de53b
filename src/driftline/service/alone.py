"""What a command does with the data of a service, whether one runs beside it or not."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta

from driftline import clock
from driftline.config.load import Config
from driftline.errors import InUseError
from driftline.monitoring.forgetting import ForgetBody, ForgettingView, ask_to_forget, view_of
from driftline.service.keeping import EventKeeper
from driftline.service.runtime import Service
from driftline.store.database import is_shared, open_database
from driftline.store.leases import Leases
from driftline.store.state import State

_LOOK_SECONDS = 0.2


def forget(config: Config, model: str, body: ForgetBody, patience: timedelta) -> ForgettingView:
    """Ask to forget rows, and return how the request stands when it is over, or after so long a time.

    A service that runs in the same folder does it; where none does, it is done here.
    Raises what `ask_to_forget` does.
    """
    state, steady = State(open_database(config.database)), clock.steady()
    asked = ask_to_forget(state, config.models[model], body, clock.now())
    end = steady() + patience
    while True:
        if not _is_worked_on(config, state):
            with suppress(InUseError):
                _forget_here(Service(config, alone=True), model)
        with state.read() as read:
            row = read.forgettings.get(asked.id)
        if row.done_at is not None or row.note or steady() >= end:
            return view_of(row)
        time.sleep(_LOOK_SECONDS)


def _is_worked_on(config: Config, state: State) -> bool:
    """Tell whether another process works on the models; of a folder nobody knows before it is locked.

    To open a service only to find that out, as often as this is asked, would be much work for the database.
    """
    if not is_shared(config.database):
        return False
    with state.read() as read:
        return Leases(read.connection).any_held()


def _forget_here(service: Service, model: str) -> None:
    """Do what is asked of one model, without a worker."""
    try:
        keeper = EventKeeper(service.config)
        while keeper.step(service.models[model], service.state_of(model), asked=True):
            pass
    finally:
        service.stop()
