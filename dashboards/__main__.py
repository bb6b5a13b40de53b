"""``python -m dashboards``: write the JSON that is shipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import feature, fleet, model, pipeline, retraining

FOLDER = Path(__file__).parents[1] / "src" / "driftline" / "exporters" / "grafana" / "dashboards"


_NOISE = {"auto", "auto_count", "auto_min"}
_HIDDEN = "inControlsMenu"


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file."""
    for module in (fleet, model, feature, pipeline, retraining):
        made = module.dashboard()
        plain = _without_noise(json.loads(json.dumps(made, cls=JSONEncoder)))
        text = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False)
        yield f"{made.uid}.json", f"{text}\n"


def _without_noise(value: Any) -> Any:
    """Leave out what the SDK writes unasked: it would hide links and annotations in a menu, and means nothing else."""
    if isinstance(value, dict):
        return {key: _without_noise(part) for key, part in value.items() if key not in _NOISE and part != _HIDDEN}
    return [_without_noise(part) for part in value] if isinstance(value, list) else value


def main() -> None:
    """Write all files, and remove those of dashboards that are no more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = dict(texts())
    for path in FOLDER.glob("*.json"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
