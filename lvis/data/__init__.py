"""Synthetic clips, footage, video files and pipes, shards, webdataset, and the DataModules that feed training."""

import gc
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lvis.data.synthetic import Clip, SyntheticVideos, synthetic_clip

if TYPE_CHECKING:
    from lvis.data.footage import Footage
    from lvis.data.footage_module import FootageDataModule
    from lvis.data.module import VideoDataModule
    from lvis.data.shard_module import ShardDataModule
    from lvis.data.webdataset_module import WebDatasetModule

__all__ = [
    "Clip",
    "Footage",
    "FootageDataModule",
    "ShardDataModule",
    "SyntheticVideos",
    "VideoDataModule",
    "WebDatasetModule",
    "synthetic_clip",
]

# PyAV's scaler has threads that a forked child lacks: a frame that is garbage when a loader's worker is
# forked would make the worker wait for them for ever when it collects it
os.register_at_fork(before=gc.collect)

_MODULES = {
    "Footage": "lvis.data.footage",
    "FootageDataModule": "lvis.data.footage_module",
    "ShardDataModule": "lvis.data.shard_module",
    "VideoDataModule": "lvis.data.module",
    "WebDatasetModule": "lvis.data.webdataset_module",
}


def __getattr__(name: str) -> Any:
    # Restoring a file needs this package too, and should not wait for Lightning.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
