"""Synthetic clips, video files and pipes, shards, and the DataModules that feed training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lvis.data.synthetic import Clip, SyntheticVideos, synthetic_clip

if TYPE_CHECKING:
    from lvis.data.module import VideoDataModule
    from lvis.data.shard_module import ShardDataModule

__all__ = ["Clip", "ShardDataModule", "SyntheticVideos", "VideoDataModule", "synthetic_clip"]

_MODULES = {"VideoDataModule": "lvis.data.module", "ShardDataModule": "lvis.data.shard_module"}


def __getattr__(name: str) -> Any:
    # Restoring a file needs this package too, and should not wait for Lightning.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
