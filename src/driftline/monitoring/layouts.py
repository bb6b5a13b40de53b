"""The layout of a configured model: how its rows are read and profiled on any machine, decided by its reference."""

from __future__ import annotations

import polars as pl

from driftline.monitoring.hiding import opened
from driftline.monitoring.model import read_reference
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.setup import ModelSetup
from driftline.profiles.layout import Layout, readings_of


def layout_of_model(config: ModelConfig, sample: pl.DataFrame | None = None) -> Layout:
    """Read a model's reference, and return how its rows are profiled by window; errors as of `read_reference`.

    ``sample`` are the first of the rows that are to be profiled, as they came: they show how times and numbers are
    written, where that may be otherwise than in the reference.
    """
    schema, reference, _ = read_reference(config)
    return layout_of_setup(ModelSetup(config, schema, reference), sample)


def layout_of_setup(setup: ModelSetup, sample: pl.DataFrame | None = None) -> Layout:
    """Return how the rows of a model are profiled whose reference has been read; see `layout_of_model`."""
    config = setup.config
    samples = [*([] if sample is None else [sample]), opened(config.reference, config).sample()]
    return Layout(
        config.columns,
        setup.schema,
        setup.reference.grids,
        setup.reference.anchors,
        config.window if config.columns.time is not None else None,
        readings_of(samples, config.columns, setup.schema),
        tuple(sorted(name for name, how in config.store.items() if how == "hash" and name != config.columns.id)),
    )
