"""What a model's windows are profiled with and judged by, whichever door its rows come through."""

from __future__ import annotations

from dataclasses import dataclass

from driftline.events import Schema
from driftline.monitoring.options import ModelConfig
from driftline.profiles import Reference


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """A model's configuration, the schema of its rows, and the reference that they are compared with."""

    config: ModelConfig
    schema: Schema
    reference: Reference

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name
