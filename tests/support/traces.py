"""Looks for a text in the bytes of every file below a folder: as it stands, and inside of what is compressed."""

from __future__ import annotations

from pathlib import Path

import polars as pl


def files_with(folder: Path, *texts: str) -> list[str]:
    """The files that have one of the texts in them, by their path below the folder, or that are named so."""
    return sorted(
        str(one.relative_to(folder))
        for one in folder.rglob("*")
        if any(text in one.name for text in texts) or (one.is_file() and _has(one, texts))
    )


def _has(file: Path, texts: tuple[str, ...]) -> bool:
    content = file.read_bytes()
    if file.suffix == ".parquet" or ".parquet" in file.suffixes:
        content += repr(pl.read_parquet(file).to_dicts()).encode()
    return any(text.encode() in content for text in texts)
