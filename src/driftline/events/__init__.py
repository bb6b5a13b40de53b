"""What comes in: predictions and labels, the schema that they are checked against, and windows of event time.

Rows are parsed and checked here, once, at the edge; everything behind this package trusts them. Public names are
imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftline.lazy import imported_on_use

if TYPE_CHECKING:
    from driftline.events.missing import MISSING_TEXTS, is_missing, missing_numbers
    from driftline.events.parsing import (
        Label,
        ParsedLabels,
        ParsedPredictions,
        Prediction,
        event_schemas,
        parse_labels,
        parse_predictions,
        refusal_reason,
        require_all_good,
    )
    from driftline.events.schema import (
        Kind,
        PositiveGuess,
        Schema,
        Task,
        class_name,
        guess_positive,
        positive_class,
    )
    from driftline.events.slices import MISSING_VALUE, OTHER_VALUES, WHOLE, Segment, Slice, slice_of
    from driftline.events.values import ALL_VERSIONS, TimesRead
    from driftline.events.windows import Window, WindowSpec, parse_duration
else:
    __getattr__ = imported_on_use(
        __name__,
        {
            "ALL_VERSIONS": "driftline.events.values",
            "Kind": "driftline.events.schema",
            "Label": "driftline.events.parsing",
            "MISSING_TEXTS": "driftline.events.missing",
            "MISSING_VALUE": "driftline.events.slices",
            "OTHER_VALUES": "driftline.events.slices",
            "ParsedLabels": "driftline.events.parsing",
            "ParsedPredictions": "driftline.events.parsing",
            "PositiveGuess": "driftline.events.schema",
            "Prediction": "driftline.events.parsing",
            "Schema": "driftline.events.schema",
            "Segment": "driftline.events.slices",
            "Slice": "driftline.events.slices",
            "Task": "driftline.events.schema",
            "TimesRead": "driftline.events.values",
            "WHOLE": "driftline.events.slices",
            "Window": "driftline.events.windows",
            "WindowSpec": "driftline.events.windows",
            "class_name": "driftline.events.schema",
            "event_schemas": "driftline.events.parsing",
            "guess_positive": "driftline.events.schema",
            "is_missing": "driftline.events.missing",
            "missing_numbers": "driftline.events.missing",
            "parse_duration": "driftline.events.windows",
            "parse_labels": "driftline.events.parsing",
            "parse_predictions": "driftline.events.parsing",
            "positive_class": "driftline.events.schema",
            "refusal_reason": "driftline.events.parsing",
            "require_all_good": "driftline.events.parsing",
            "slice_of": "driftline.events.slices",
        },
    )

__all__ = [
    "ALL_VERSIONS",
    "MISSING_TEXTS",
    "MISSING_VALUE",
    "OTHER_VALUES",
    "WHOLE",
    "Kind",
    "Label",
    "ParsedLabels",
    "ParsedPredictions",
    "PositiveGuess",
    "Prediction",
    "Schema",
    "Segment",
    "Slice",
    "Task",
    "TimesRead",
    "Window",
    "WindowSpec",
    "class_name",
    "event_schemas",
    "guess_positive",
    "is_missing",
    "missing_numbers",
    "parse_duration",
    "parse_labels",
    "parse_predictions",
    "positive_class",
    "refusal_reason",
    "require_all_good",
    "slice_of",
]
