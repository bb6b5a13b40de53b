"""What comes in: predictions and labels, the schema that they are checked against, and windows of event time.

Rows are parsed and checked here, once, at the edge; everything behind this package trusts them.
"""

from driftline.events.missing import MISSING_TEXTS, is_missing, missing_numbers
from driftline.events.parsing import (
    ALL_VERSIONS,
    Label,
    ParsedLabels,
    ParsedPredictions,
    Prediction,
    TimesRead,
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
from driftline.events.windows import Window, WindowSpec, parse_duration

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
