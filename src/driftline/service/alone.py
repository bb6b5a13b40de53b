"""What a command does with the data of a service, whether one runs beside it or not."""

from __future__ import annotations

import time
from datetime import timedelta

from driftline import clock
from driftline.config.load import Config
from driftline.errors import InUseError
from driftline.monitoring.forgetting import ForgetBody, ForgettingView, ask_to_forget, view_of
from driftline.service.keeping import EventKeeper
from driftline.service.runtime import Service
from driftline.store.database import open_database
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
        try:
            service = Service(config, alone=True)
        except InUseError:
            time.sleep(_LOOK_SECONDS)
        else:
            _forget_here(service, model)
        with state.read() as read:
            row = read.forgettings.get(asked.id)
        if row.done_at is not None or row.note or steady() >= end:
            return view_of(row)


def _forget_here(service: Service, model: str) -> None:
    """Do what is asked of one model, without a worker."""
    try:
        keeper = EventKeeper(service.config)
        while keeper.step(service.models[model], service.state_of(model), asked=True):
            pass
    finally:
        service.stop()
