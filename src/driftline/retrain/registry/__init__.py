"""Registries: versions of models, and which of them is champion."""

from driftline.retrain.registry.bucket import BlobRegistry
from driftline.retrain.registry.folder import FolderRegistry
from driftline.retrain.registry.mlflow import MLflowRegistry
from driftline.retrain.registry.registry import CHAMPION, PREVIOUS, FileRecord, Registry, Version

__all__ = [
    "CHAMPION",
    "PREVIOUS",
    "BlobRegistry",
    "FileRecord",
    "FolderRegistry",
    "MLflowRegistry",
    "Registry",
    "Version",
]
