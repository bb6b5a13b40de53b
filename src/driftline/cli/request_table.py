"""What ``driftline challengers`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from driftline.retrain.request import Stage
from driftline.retrain.views import RequestView
from driftline.text import visible
from driftline.text.moments import moment

_STYLES = {
    Stage.WAITING: "bold yellow",
    Stage.PROMOTED: "green",
    Stage.BAKING: "green",
    Stage.FAILED: "red",
    Stage.ROLLED_BACK: "red",
}


def print_requests(requests: Sequence[RequestView]) -> None:
    """Print a request: what asked for it and when, and where it is and why."""
    console = Console(highlight=False)
    for one in requests:
        versions = f", {visible(one.version)} against {visible(one.champion)}" if one.champion else ""
        head = Text.assemble(
            one.id, "  ", (one.stage, _STYLES.get(Stage(one.stage), "bold")), f"  {one.model}{versions}"
        )
        console.print(head)
        asked = f"{moment(one.asked_at)}, {one.trigger}, by {one.by}: {one.reason}"
        for line in (asked, one.note) if one.note != one.reason else (asked,):
            console.print(Padding(Text(visible(line)), (0, 0, 0, 4)))
