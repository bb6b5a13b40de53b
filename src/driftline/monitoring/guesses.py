"""What the service assumes about a model where its configuration does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftline.events import Schema
from driftline.lookalikes import shown
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.positive import positive_view
from driftline.monitoring.segments import segment_notes, values_of
from driftline.profiles import Reference
from driftline.profiles.frame import other_class
from driftline.profiles.usual_names import unplayed, unplayed_words
from driftline.rules.contest import PositiveView
from driftline.statistics import measures
from driftline.statistics.doubt import doubt_of, doubtful


@dataclass(frozen=True, slots=True)
class ModelGuesses:
    """The positive class of a binary model, None of others, and other notes for the user.

    ``segments`` are the values that rows can have in each column that defines segments.
    """

    positive: PositiveView | None = None
    notes: tuple[str, ...] = ()
    segments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def lines(self, model: str) -> list[str]:
        """Lines for who starts the service: the doubt, the guess of the class, and the notes."""
        found = self.positive
        doubt = [found.doubt] if found is not None and found.doubt else []
        guessed = found is not None and found.guessed
        guess = [f"positive class {found.words}; `positive:` says otherwise"] if found is not None and guessed else []
        return [f"{shown(model)}: {words}" for words in (*doubt, *guess, *self.notes)]


def guesses_of(config: ModelConfig, schema: Schema, reference: Reference) -> ModelGuesses:
    """Return what was guessed of a model from its configuration, its schema and its reference."""
    columns, doubt = config.columns, ""
    if schema.positive is not None:
        found = measures(reference.profile.performance, positive=schema.positive, names=["roc_auc"])
        if doubtful(None, found.get("roc_auc")):
            other = other_class(schema.positive, schema)
            said = config.positive is not None
            doubt = doubt_of(found["roc_auc"], schema.positive, other, columns.score, said=said).for_file
            doubt = f"on the reference, {doubt}"
    unsaid = unplayed(columns, schema.features)
    target = columns.label or columns.prediction
    notes = []
    if config.task is None and target is not None:
        notes.append(f"task {schema.task.value}, guessed by the reference's {shown(target)}; `task:` says otherwise")
    if schema.codes:
        notes.append(
            f"{', '.join(map(shown, schema.codes))} read as codes, not quantities; `categorical:` says which are"
        )
    notes += [unplayed_words(unsaid, "`columns: {{{part}: {column}}}`")] if unsaid else []
    notes += segment_notes(config, schema)
    return ModelGuesses(positive_view(schema, columns, config.positive, doubt), tuple(notes), values_of(schema))
